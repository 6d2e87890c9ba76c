"""`fullrank views` draws what training would see."""

import json

import numpy as np
import pytest
from PIL import Image

from fullrank.cli import main


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        Image.fromarray(rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_views_of_a_folder_of_images(pictures, tmp_path):
    out, result = tmp_path / "views.png", tmp_path / "views.json"
    args = ["--method.augmentation.size-pixels", "32", "--records", "3", "--json", str(result)]
    assert main(["views", "simclr.images", "--data.path", str(pictures), "--out", str(out), *args]) == 0
    said = json.loads(result.read_text())
    assert said["groups"] == {"view": [3, 2, 3, 1, 32, 32]}
    assert len(said["records"]) == 3
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
