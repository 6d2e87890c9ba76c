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


def test_every_method_has_its_recipes():
    for method in methods():
        have = {name.split(".")[1] for name in NAMES if name.startswith(method + ".")}
        assert {"tiny", "moving_digits"} <= have, method
        assert have & {"video", "images"}, f"{method} has no recipe for a folder of one's own"


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


def test_unknown_recipes_name_the_nearest():
    with pytest.raises(SettingError, match="Did you mean 'vicreg.video'"):
        recipe("vicreg.vidoe")
    with pytest.raises(SettingError, match="Unknown recipe 'nothing'"):
        recipe("nothing")
