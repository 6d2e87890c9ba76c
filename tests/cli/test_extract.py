"""Which data `fullrank extract` encodes: those that are named, or the run's own; clips always as in training."""

from pathlib import Path

import pytest

from fullrank.cli import main
from fullrank.cli.extract import data_of
from fullrank.config import DataConfig
from fullrank.errors import SettingError

OWN = DataConfig(path=Path("training"), limit=100, num_frames=4, canvas_pixels=32, cache=Path("cache"))


def test_nothing_named_is_the_data_of_the_run():
    assert data_of(DataConfig(), OWN) == OWN


def test_another_part_of_the_data_of_the_run():
    assert data_of(DataConfig(split="test", limit=5), OWN) == OWN.model_copy(update={"split": "test", "limit": 5})


def test_other_data_are_cut_as_in_training():
    data = data_of(DataConfig(path=Path("new")), OWN)
    assert (data.path, data.limit, data.cache, data.split) == (Path("new"), None, None, "train")
    assert (data.num_frames, data.canvas_pixels) == (4, 32)


def test_what_would_be_ignored_is_refused():
    with pytest.raises(SettingError, match=r"--data.num-frames must stay as in training \(4\). Got 16; leave it out"):
        data_of(DataConfig(num_frames=16), OWN)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "must be given a run folder first. Got none"),
        (["--out", "f"], "must be given a run folder first. Got --out"),
        (["nowhere", "--out", "f"], "There must be a run folder or a checkpoint at nowhere. Got nothing there"),
        ([__file__, "--out", "f", "--data.path", "."], "must be a checkpoint, weights or an array. It is neither"),
        ([__file__, "--out", "f"], "--data.path must be given for a file of another codebase"),
        ([".", "--out", "f", "--num-crops", "3"], "--num-crops is for files of other codebases"),
    ],
)
def test_mistakes_are_one_sentence(args, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", *args]) == 2
    assert said in capsys.readouterr().err
