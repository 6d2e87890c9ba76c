"""Which data `fullrank extract` encodes, what it says of them, and that it replaces no features of something else."""

import json
import shutil
from pathlib import Path

import pytest

from fullrank.cli import main
from fullrank.cli.extract import data_of
from fullrank.config import DataConfig
from fullrank.errors import SettingError
from fullrank.features.extract import extract
from fullrank.features.write import stamp

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


@pytest.fixture(scope="module")
def run(tmp_path_factory, video_folder, small_flags):
    folder = tmp_path_factory.mktemp("extract") / "run"
    flags = ["--data.path", str(video_folder), "--out", str(folder), "--max-steps", "1", "--no-report"]
    assert main(["train", "vicreg.video", *flags, *small_flags]) == 0
    return folder


def _extract(run, data, out, *more):
    argv = ["extract", str(run), "--data.path", str(data), "--data.num-workers", "0", "--out", str(out), *more]
    return main([*argv, "--json", f"{out}.json"])


def test_records_are_those_that_could_be_read_and_the_others_are_named(run, video_folder, tmp_path, capsys):
    mixed = tmp_path / "mixed"
    shutil.copytree(video_folder, mixed)
    (mixed / "left" / "zero.mp4").write_bytes(b"")
    assert _extract(run, mixed, tmp_path / "f", "--num-clips", "2") == 0
    said, found = capsys.readouterr().out, json.loads((tmp_path / "f.json").read_text())
    assert "24 rows of 12 records" in said
    assert "left out: left/zero.mp4: " in said
    assert (found["rows"], found["records"], len(found["skipped"])) == (24, 12, 1)
    assert isinstance(found["representation"], int)
    assert isinstance(found["embedding"], int)


def test_features_of_something_else_are_kept_and_the_same_are_unchanged(run, video_folder, tmp_path, capsys):
    out, other = tmp_path / "f", tmp_path / "other"
    assert _extract(run, video_folder, out) == 0
    before = stamp(out)
    assert "unchanged" not in capsys.readouterr().out
    assert _extract(run, video_folder, out) == 0
    assert "unchanged: the table was there already" in capsys.readouterr().out
    shutil.copytree(video_folder / "left", other)
    for data, more, what in ((other, (), "other data"), (video_folder, ("--num-clips", "2"), "other settings")):
        assert _extract(run, data, out, *more) == 2
        said = capsys.readouterr().err
        assert said.startswith("fullrank: --out must be a new folder or hold features of the same run, data and settings. Got ")
        assert f"{out}, with features of vicreg.video ({what}); choose another folder, or delete it." in said
    assert stamp(out) == before
    assert len(extract(run, video_folder / "left", out).record) == 6, "training refreshes the features of its own run"
