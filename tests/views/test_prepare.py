"""Pixels as PySlowFast, PyTorchVideo and torchvision make them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fullrank.errors import SettingError
from fullrank.types import Preparation
from fullrank.views.prepare import prepare, scaled_size

KINETICS = {"mean": (0.45,) * 3, "std": (0.225,) * 3, "short_side": 32, "crop": 32, "antialias": False}


def _fixture(shared: Path):
    folder = shared / "parity"
    if not folder.is_dir():
        pytest.skip("the parity fixtures are absent")
    spec = importlib.util.spec_from_file_location("parity_weights", folder / "weights.py")
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    cases = json.loads((folder / "preprocess_video" / "cases.json").read_text())
    return weights.make_video(cases["video"]), np.load(folder / "preprocess_video" / "expected.npz")


def test_pyslowfast_crops(shared: Path) -> None:
    video, expected = _fixture(shared)
    how = Preparation(num_frames=8, sampling_rate=8, rule="pyslowfast", **KINETICS)
    got = prepare(video[expected["pyslowfast_indices_01"]], how, crops=3)
    for place in range(3):
        assert np.abs(got[place].numpy() - expected[f"pyslowfast_clip_crop{place}"]).max() < 1e-5
    assert torch.equal(prepare(video[expected["pyslowfast_indices_01"]], how)[0], got[1])


def test_pytorchvideo_clip(shared: Path) -> None:
    video, expected = _fixture(shared)
    how = Preparation(num_frames=8, sampling_rate=8, rule="pytorchvideo", **KINETICS)
    got = prepare(video[expected["pytorchvideo_indices_a_64"]], how)
    assert np.abs(got[0].numpy() - expected["pytorchvideo_clip"]).max() < 1e-5


def test_pillow_scales_where_the_codebase_used_it() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (1, 90, 120, 3), dtype=np.uint8)
    how = Preparation(short_side=64, crop=48, interpolation="bicubic")
    small = np.asarray(Image.fromarray(frame[0]).resize((85, 64), Image.Resampling.BICUBIC))[8:56, 18:66]
    want = (small / 255.0 - how.mean) / how.std
    assert np.abs(prepare(frame, how)[0, :, 0].permute(1, 2, 0).numpy() - want).max() < 1e-5


def test_sizes() -> None:
    assert scaled_size(240, 320, Preparation()) == (256, 341)
    assert scaled_size(320, 240, Preparation()) == (341, 256)
    assert scaled_size(256, 300, Preparation()) == (256, 300)
    assert scaled_size(10, 300, Preparation(exact_size=(128, 171))) == (128, 171)


def test_pyslowfasts_short_side_depends_on_the_number_of_crops() -> None:
    how = Preparation(rule="pyslowfast", short_side=64, crop=48, crop_is_short_side=True, antialias=False)
    assert (scaled_size(90, 120, how, crops=1), scaled_size(90, 120, how, crops=3)) == ((64, 85), (48, 64))
    assert prepare(np.zeros((2, 90, 120, 3), np.uint8), how, crops=3).shape == (3, 3, 2, 48, 48)


def test_other_numbers_of_crops_are_refused() -> None:
    with pytest.raises(SettingError, match="1 .* or 3"):
        prepare(np.zeros((1, 8, 8, 3), np.uint8), Preparation(), crops=2)
