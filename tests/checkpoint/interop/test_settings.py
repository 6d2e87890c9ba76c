"""PySlowFast's YAML files, and what follows from them: keys that stand twice, numbers that YAML 1.1 takes for strings."""

import pytest
import torch

from fullrank.backbones.resnet import ResNet
from fullrank.checkpoint.imported import load_imported
from fullrank.checkpoint.interop import dpc
from fullrank.checkpoint.interop._settings import number, numbers, read_yaml, section
from fullrank.checkpoint.interop.pyslowfast import preparation
from fullrank.errors import CheckpointError, SettingError

CFG = """
DATA:
  NUM_FRAMES: 16
  SAMPLING_RATE: '4'
  TEST_CROP_SIZE: 112
  TRAIN_CROP_SIZE: 96
  TRAIN_JITTER_SCALES: [128, 160]
  MEAN: [0.5, 5e-1, 0.5]
MODEL:
  ARCH: slow_c2d
  ARCH: slow
SOLVER:
  WEIGHT_DECAY: 1e-6
TEST:
"""


def test_the_last_of_two_keys_counts_and_strings_are_numbers() -> None:
    found = read_yaml(CFG)
    assert found["MODEL"] == {"ARCH": "slow"}
    assert found["SOLVER"]["WEIGHT_DECAY"] == "1e-6"
    assert number(found["SOLVER"]["WEIGHT_DECAY"]) == 1e-6
    how = preparation({"cfg": CFG})
    assert (how.num_frames, how.sampling_rate, how.crop, how.short_side, how.crop_is_short_side) == (16, 4, 112, 128, True)
    assert how.mean == (0.5, 0.5, 0.5)
    assert (how.clips, how.crops) == (10, 3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("DATA: 3", "DATA must be a mapping. Got 3"),
        ("DATA: {NUM_FRAMES: many}", "must be a number. Got 'many'"),
        ("DATA: {MEAN: 0.45}", "list of 3 numbers or more. Got 0.45"),
        ("- a", "must be a YAML mapping. Got list"),
        ("a: [", "must be YAML"),
        ("!!python/object/apply:os.system [ls]", "must be YAML"),
    ],
)
def test_what_is_no_such_file_is_a_sentence(text, sentence) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        preparation({"cfg": text})


def test_sections_and_lists() -> None:
    assert section({}, "DATA") == {}
    assert numbers(("1e-1", 2, 3), 2) == (0.1, 2.0)


def linear_evaluation(tmp_path):
    """A narrow Slow R50 with a classifier in PySlowFast's layout, without settings."""
    torch.manual_seed(0)
    leaf = {"conv1": "a", "conv2": "b", "conv3": "c", "bn1": "a_bn", "bn2": "b_bn", "bn3": "c_bn"}
    state = {}
    for key, tensor in ResNet(50, 1 / 16, temporal="slow").state_dict().items():
        if not key.startswith("layer"):
            state[f"s1.pathway0_stem.{key.split('1.')[0]}.{key.split('.')[1]}"] = tensor
            continue
        stage, block, part, *rest = key.split(".")
        where = f"s{int(stage[-1]) + 1}.pathway0_res{block}"
        name = {"0": "branch1", "1": "branch1_bn"}[rest[0]] if part == "downsample" else f"branch2.{leaf[part]}"
        state[f"{where}.{name}.{rest[-1]}"] = tensor
    state |= {"head.projection.weight": torch.randn(5, 128), "head.projection.bias": torch.zeros(5)}
    torch.save({"model_state": state}, tmp_path / "linear.pyth")
    return tmp_path / "linear.pyth"


def test_a_settings_file_decides_frames_pool_and_crop(tmp_path) -> None:
    file = linear_evaluation(tmp_path)
    assert load_imported(file).network.pool == (8, 7, 7)
    (tmp_path / "cfg.yaml").write_text(CFG)
    encoder = load_imported(file, config=tmp_path / "cfg.yaml")
    assert encoder.network.pool == (16, 3, 3)
    assert encoder.preparation.crop == 112
    (tmp_path / "cfg.yaml").write_text("a: [")
    with pytest.raises(SettingError, match="--config .*must be YAML"):
        load_imported(file, config=tmp_path / "cfg.yaml")


def test_dpcs_pictures_are_those_of_its_depth() -> None:
    small, large = dpc.preparation({"net": "resnet18"}), dpc.preparation({"net": "resnet34"})
    assert (small.short_side, small.crop) == (150, 128)
    assert (large.short_side, large.crop) == (256, 224)
