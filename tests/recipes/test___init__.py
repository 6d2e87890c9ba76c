"""Every recipe: it builds, survives flags and JSON, and its settings can be trained with."""

import json

import pytest
import tyro

from fullrank.config import RunConfig
from fullrank.errors import SettingError
from fullrank.methods._method import available as methods
from fullrank.methods._method import load_method
from fullrank.recipes import available, recipe

NAMES = tuple(available())
IMAGES = ("images", "cifar10", "imagenet")


def method_of(name):
    return load_method(name.split(".")[0])


ALWAYS = {"tiny", "moving_digits", "video", "images", "cifar10"}
"""of every method: the conformance suite, the embedded world, any folder, a benchmark"""
FIRST = ("vicreg", "simclr", "moco_v2", "byol", "swav")
"""with recipes for the large data sets too"""
ON_VIDEO = ("simclr", "moco_v2", "byol", "swav", "cvrl", "svt", "brave", "dpc", "mae")
"""their papers pre-train on Kinetics-400 (MAE's with tubelets: VideoMAE)"""
EXCEPT = {"dpc": ({"images", "cifar10"}, "it predicts the blocks that follow in time, and a picture has none")}
"""{method: (recipes that it cannot have, why)}"""


def required(method):
    names = set(ALWAYS)
    names |= {"imagenet", "kinetics400"} if method in FIRST else set()
    names |= {"kinetics400"} if method in ON_VIDEO else set()
    return names - EXCEPT.get(method, (set(), ""))[0]


@pytest.mark.parametrize("method", tuple(methods()))
def test_every_method_has_its_recipes(method):
    have = {name.split(".")[1] for name in NAMES if name.startswith(method + ".")}
    assert required(method) <= have


def test_exceptions_are_real():
    for method, (names, why) in EXCEPT.items():
        assert why
        assert not names & {name.split(".")[1] for name in NAMES if name.startswith(method + ".")}


@pytest.mark.parametrize("name", NAMES)
def test_flags_and_json_bring_the_same_settings_back(name):
    config = recipe(name)
    assert isinstance(config, RunConfig)
    assert type(config.method) is method_of(name).Config
    unchanged = tyro.cli(type(config), default=config, args=[])
    assert unchanged == config
    again = type(config).model_validate_json(config.model_dump_json())
    assert again == config
    assert type(again.method) is type(config.method)
    assert again.method.model_dump() == config.method.model_dump()


@pytest.mark.parametrize("name", NAMES)
def test_a_flag_changes_its_setting_and_nothing_else(name):
    config = recipe(name)
    field = "label-names" if method_of(name).needs_labels else "augmentation.min-scale"
    value = "other" if method_of(name).needs_labels else "0.01"
    changed = tyro.cli(type(config), default=config, args=["--data.batch-size", "6", f"--method.{field}", value])
    before, after = json.loads(config.model_dump_json()), json.loads(changed.model_dump_json())
    assert after["data"].pop("batch_size") == 6
    before["data"].pop("batch_size")
    if method_of(name).needs_labels:
        assert after["method"].pop("label_names") == ["other"]
        before["method"].pop("label_names")
    else:
        assert after["method"]["augmentation"].pop("min_scale") == 0.01
        before["method"]["augmentation"].pop("min_scale")
    assert after == before


@pytest.mark.parametrize("name", NAMES)
def test_settings_fit_each_other(name):
    config = recipe(name)
    plan = method_of(name).views(config.method)
    for group in plan.groups:
        assert group.augmentation.size_pixels <= config.data.canvas_pixels, "a crop larger than the canvas is only blur"
        assert group.augmentation.size_pixels >= 16
    shown = name.split(".")[1]
    if shown.startswith(IMAGES):
        assert config.data.num_frames == 1
        assert config.backbone.temporal == "2d"
        assert plan.num_clips == 1
    else:
        assert config.data.num_frames > 1
        assert config.backbone.name != "resnet" or config.backbone.temporal != "2d"
        if "rho" in type(config.method).model_fields and plan.num_frames is None:  # else it cuts views out of a span
            assert plan.num_clips >= 2
    if shown in ("tiny", "moving_digits"):
        assert config.data.name == "moving_digits"
        assert max(plan.groups[0].augmentation.flip_prob) == 0.0, "a flip changes which motion it is"
    if shown.startswith("cifar10"):
        assert config.data.name == "cifar10"
        assert max(plan.groups[0].augmentation.blur_prob) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_docstring_says_source_command_and_what_was_measured(name):
    import importlib

    method, function = name.split(".")
    text = getattr(importlib.import_module(f"fullrank.recipes.{method}"), function).__doc__
    first = text.split("\n")[0]
    assert first.endswith(".")
    assert len(first) < 110
    assert "Settings:" in text
    assert f"`fullrank train {name}" in text
    assert "easured" in text


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        ("simclr.cifar10", 0.06 * 512 / 128),
        ("moco_v2.cifar10", 0.06 * 512 / 128),
        ("byol.cifar10", 0.06 * 512 / 128),
        ("swav.cifar10", 1e-3 * 512 / 128),
        ("vicreg.cifar10", 0.3),
        ("simclr.imagenet", 4.8),
        ("moco_v2.imagenet", 0.03),
        ("byol.imagenet", 3.2),
        ("swav.imagenet", 4.8),
        ("vicreg.imagenet", 1.6),
        ("simclr.kinetics400", 1.2),
        ("moco_v2.kinetics400", 0.1),
        ("byol.kinetics400", 0.6),
        ("swav.kinetics400", 0.6),
        ("supervised.cifar10", 0.1),
    ],
)
def test_learning_rates_are_those_of_the_source_at_its_batch(name, rate):
    config = recipe(name)
    assert config.optimizer.base_learning_rate * config.data.batch_size / 256 == pytest.approx(rate)


def test_kinetics400_follows_the_published_yaml_files():
    for name, rho in (("simclr", 4), ("moco_v2", 4), ("byol", 2), ("swav", 2)):
        config = recipe(f"{name}.kinetics400")
        crop = config.method.augmentation
        assert config.method.rho == rho
        assert (config.epochs, config.optimizer.warmup_epochs) == (200.0, 35.0)
        assert (config.backbone.depth, config.data.num_frames, config.data.frames_per_second) == (50, 8, 30 / 8)
        assert (crop.size_pixels, crop.min_scale, crop.max_scale) == (224, 0.2, 0.766)
        assert (crop.brightness, crop.contrast, crop.saturation, crop.hue) == (0.6, 0.6, 0.6, 0.15)


@pytest.mark.parametrize(
    ("name", "batch", "rate", "epochs", "frames", "rate_of_frames"),
    [
        ("cvrl", 1024, 0.32, 200.0, 16, 25 / 2),  # cvrl_pretrain_k600_200ep.yaml; K400 for 200 epochs in its README
        ("svt", 32, 5e-4 * 32 / 256, 100.0, 8, 7.5),  # train_ssl.py, scripts/train.sh: 4 GPUs x 8
        ("brave", 512, 1.0, 640.0, 16, 25 / 2),  # brave/models/brave/config.py: LARS, 300000 steps
        ("dpc", 128, 1e-3, 300.0, 8, 10.0),  # README, dpc/main.py; eight blocks of five frames come from the method
        ("mae", 1024, 1.5e-4 * 1024 / 256, 800.0, 16, 30 / 4),  # VideoMAE: run_mae_pretraining.py, pretrain.sh
    ],
)
def test_kinetics400_of_the_video_papers(name, batch, rate, epochs, frames, rate_of_frames):
    config = recipe(f"{name}.kinetics400")
    data = config.data
    assert config.optimizer.base_learning_rate * data.batch_size / 256 == pytest.approx(rate)
    assert (data.batch_size, config.epochs) == (batch, epochs)
    assert (data.num_frames, data.frames_per_second) == (frames, rate_of_frames)


def test_unknown_recipes_name_the_nearest():
    with pytest.raises(SettingError, match="Did you mean 'vicreg.video'"):
        recipe("vicreg.vidoe")
    with pytest.raises(SettingError, match=r"Unknown recipe 'vicrg'. Did you mean 'vicreg'\?"):
        recipe("vicrg")
    with pytest.raises(SettingError, match="Unknown recipe 'nothing'"):
        recipe("nothing")


def test_the_name_of_a_method_tells_its_recipes_with_those_for_ones_own_data_first():
    said = (
        r"must be named METHOD.SETTING. Got vicreg; it has vicreg.video, vicreg.images, .*vicreg.tiny \(tiny is for tests\)\.$"
    )
    with pytest.raises(SettingError, match=said):
        recipe("vicreg")
