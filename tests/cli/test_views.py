"""`fullrank views` draws what training would see."""

import json

import numpy as np
import pytest
from PIL import Image

from fullrank.cli import main
from fullrank.methods.simclr import SimCLR
from fullrank.types import MaskSpec, TileSpec, ViewPlan, ViewSpec


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_views_of_a_folder_of_images(pictures, tmp_path, capsys):
    out, result = tmp_path / "views.png", tmp_path / "views.json"
    args = ["--method.augmentation.size-pixels", "32", "--records", "3", "--json", str(result)]
    assert main(["views", "simclr.images", "--data.path", str(pictures), "--out", str(out), *args]) == 0
    said = json.loads(result.read_text())
    assert said["groups"] == {"view": [3, 2, 3, 1, 32, 32]}
    assert len(said["records"]) == 3
    assert said["names"] == [f"{record}.png" for record in said["records"]]
    shown = capsys.readouterr().out
    assert all(f"record {record}: {record}.png" in shown for record in said["records"])
    assert Image.open(out).size[0] > 2 * 96


def test_the_gallery_of_operators(pictures, tmp_path):
    out = tmp_path / "operators.png"
    assert main(["views", "simclr.images", "--data.path", str(pictures), "--gallery", "--out", str(out)]) == 0
    assert Image.open(out).size[0] > 5 * 160


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "views must be given a recipe"),
        (["--out", "x.png"], "views must be given a recipe first. Got --out"),
        (["simclr.image"], "Did you mean 'simclr.images'"),
        (["simclr.images", "--records", "0"], "--records must be a whole number of at least 1. Got 0"),
        (["simclr.images", "--out", "views.txt"], "--out must be the name of a picture. Got views.txt"),
        (["simclr.images"], "--data.path must be given"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(args, sentence, capsys):
    assert main(["views", *args]) == 2
    assert sentence in capsys.readouterr().err


def plan_of(**spec):
    return classmethod(lambda cls, cfg: ViewPlan(groups=(ViewSpec(name="view", augmentation=cfg.augmentation, **spec),)))


def test_masks_and_tiles_are_drawn_and_told(pictures, tmp_path, monkeypatch):
    out, result = tmp_path / "views.png", tmp_path / "views.json"
    args = ["views", "simclr.images", "--data.path", str(pictures), "--out", str(out), "--records", "3", "--json", str(result)]
    monkeypatch.setattr(SimCLR, "views", plan_of(tiles=TileSpec(grid=2, permutations=24)))
    assert main([*args, "--method.augmentation.size-pixels", "32"]) == 0
    said = json.loads(result.read_text())
    assert said["groups"] == {"view": [3, 4, 3, 1, 14, 14]}
    assert np.shape(said["targets"]["permutation:view"]) == (3, 1)
    monkeypatch.setattr(SimCLR, "views", plan_of(mask=MaskSpec(ratio=0.75, patch_pixels=8)))
    assert main([*args, "--method.augmentation.size-pixels", "32"]) == 0
    assert json.loads(result.read_text())["hidden_patches"] == {"view": 12}


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [({"num_frames": 3}, "raise --data.num-frames to 3"), ({"stream": "flow"}, "--data.cache must be given. Got none")],
)
def test_a_plan_that_cannot_be_made_is_refused_before_data_are_touched(tmp_path, monkeypatch, capsys, spec, sentence):
    monkeypatch.setattr(SimCLR, "views", plan_of(**spec))
    assert main(["views", "simclr.images", "--data.path", str(tmp_path / "nowhere"), "--data.num-frames", "1"]) == 2
    assert sentence in capsys.readouterr().err


def test_flow_of_videos_is_drawn(video_folder, tmp_path, monkeypatch):
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    monkeypatch.setattr(SimCLR, "views", plan_of(stream="flow"))
    out, cache = tmp_path / "flow.png", tmp_path / "cache"
    args = ["--data.cache", str(cache), "--data.num-frames", "4", "--method.augmentation.size-pixels", "32", "--records", "2"]
    assert main(["views", "simclr.images", "--data.path", str(video_folder), "--out", str(out), *args]) == 0
    assert len(Image.open(out).convert("RGB").getcolors(10**6)) > 20
