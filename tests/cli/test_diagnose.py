"""`fullrank diagnose`: a verdict from a lone file, from a run, from weights and data; and the mistakes a person makes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fullrank.checkpoint.save import BEST, keep_copy
from fullrank.cli import main
from fullrank.engine.loop import train

N, D = 300, 32
RNG = np.random.default_rng(0)
DIRECTION = RNG.normal(size=D)
PLANTED = {
    "healthy": RNG.normal(size=(N, D)),
    "complete": DIRECTION + 1e-3 * RNG.normal(size=(N, D)),
    "dimensional": RNG.normal(size=(N, 2)) @ RNG.normal(size=(2, D)),
    "cluster": RNG.normal(size=(8, D))[RNG.integers(0, 8, N)] + 0.05 * RNG.normal(size=(N, D)),
    "mean_shift": RNG.normal(size=(N, D)) + 5.0,
}


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["diagnose", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def save(folder: Path, x: np.ndarray, name: str = "features.npy") -> Path:
    np.save(folder / name, x)
    return folder / name


def verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    code, out, err = run(capsys, *words, "--json", tmp_path / "out.json")
    assert code == 0, err
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["sentence"] in out
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", PLANTED)
def test_a_lone_file_gets_its_verdict(tmp_path, capsys, kind):
    file = save(tmp_path, PLANTED[kind].astype(np.float32))
    found = verdict(tmp_path, capsys, file, "--resamples", "10")
    assert (found["verdict"], found["confidence"]) == (kind, 1.0)
    numbers = found["evidence"]["representation"]
    assert (numbers["n"], numbers["d"]) == (N, D)
    assert (found["levers"] == []) == (kind == "healthy")


def test_time_needs_the_records_of_the_rows(tmp_path, capsys):
    record = np.repeat(np.arange(N // 4), 4)
    file = save(tmp_path, RNG.normal(size=(N // 4, D))[record] + 1e-2 * RNG.normal(size=(N, D)))
    assert verdict(tmp_path, capsys, file, "--resamples", "0")["verdict"] == "healthy"
    records = save(tmp_path, record, "record.npy")
    found = verdict(tmp_path, capsys, file, "--records", records, "--resamples", "5")
    assert found["verdict"] == "temporal"
    assert found["evidence"]["representation"]["within_share"] < 0.005


def test_what_a_file_holds_and_the_std_that_it_should_have_decide(tmp_path, capsys):
    file = save(tmp_path, 0.003 * RNG.normal(size=(N, D)))
    embedding = (file, "--space", "embedding", "--resamples", "0")
    assert verdict(tmp_path, capsys, *embedding)["verdict"] == "healthy"
    assert verdict(tmp_path, capsys, *embedding, "--healthy-std", "1")["verdict"] == "complete"


def test_a_method_names_its_levers(tmp_path, capsys):
    file = save(tmp_path, PLANTED["complete"])
    first = verdict(tmp_path, capsys, file, "--method", "vicreg", "--resamples", "0")["levers"][0]
    assert first.startswith("raise --method.variance-weight")


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A run of VICReg without its variance term on twelve videos, with features."""
    folder = tmp_path_factory.mktemp("runs") / "collapsed"
    videos = request.getfixturevalue("video_folder")
    flags = [*request.getfixturevalue("small_flags"), "--method.variance-weight", "0", "--max-steps", "4"]
    assert main(["train", "vicreg.video", "--data.path", str(videos), "--out", str(folder), *flags]) == 0
    return folder


def test_a_run_tells_its_guard_that_is_off(tmp_path, capsys, collapsed):
    found = verdict(tmp_path, capsys, collapsed, "--resamples", "4")
    assert set(found["kinds"]) == {"representation", "embedding"}
    if found["verdict"] in ("complete", "dimensional"):
        assert "is off: --method.variance-weight (now 0.0)" in found["levers"][0]
    assert found["evidence"]["embedding"]["healthy_std"] == 1.0


def test_weights_and_data_and_the_best_checkpoint(tmp_path, capsys, collapsed, video_folder):
    keep_copy(collapsed, BEST)
    found = verdict(tmp_path, capsys, collapsed / BEST, "--data.path", video_folder, "--resamples", "0")
    assert found["evidence"]["representation"]["n"] == 12 * 4, "four clips of each video, so that time is seen"
    assert "within_share" in found["evidence"]["representation"]
    assert not list(collapsed.glob("*features-*"))


def test_a_space_of_a_table_is_judged_as_that_space_with_its_records(tmp_path, capsys, collapsed):
    whole = verdict(tmp_path, capsys, collapsed / "features", "--resamples", "0")
    part = verdict(tmp_path, capsys, f"{collapsed / 'features'}#embedding", "--resamples", "0")
    assert part["space"] == "embedding"
    assert part["kinds"]["embedding"] == whole["kinds"]["embedding"]
    assert part["evidence"]["embedding"] == whole["evidence"]["embedding"]


@pytest.mark.parametrize("kind", ["cluster", "mean_shift", "dimensional", "complete", "healthy"])
def test_spectrum_says_the_same(tmp_path, capsys, kind):
    file = save(tmp_path, PLANTED[kind])
    found = verdict(tmp_path, capsys, file, "--resamples", "0")
    assert main(["spectrum", str(file), "--json", str(tmp_path / "spectrum.json")]) == 0
    assert found["sentence"] in capsys.readouterr().out
    assert json.loads((tmp_path / "spectrum.json").read_text())["diagnosis"]["verdict"] == kind


def test_a_run_without_features_says_what_to_do(tmp_path, capsys, memory_source, vicreg_settings):
    train(vicreg_settings(out=tmp_path / "run", max_steps=1), source=memory_source())
    code, _, err = run(capsys, tmp_path / "run")
    assert code == 2
    assert "add --data.path" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "must be given features, a run or a checkpoint first"),
        (["nowhere.npy"], "Got nothing there"),
        (["nan.npy"], "NaN or infinity in 1 row: 7"),
        (["one.npy"], "at least 2 rows"),
        (["good.npy", "--records", "good.npy"], "whole numbers"),
        (["good.npy", "--records", "few.npy"], "a number for each of the 300 rows. Got [3]"),
        (["good.npy", "--method", "vicregg"], "Did you mean 'vicreg'?"),
        ([".", "--records", "few.npy"], "--records is for a plain file"),
        (["good.npy", "--num-clips", "3"], "--num-clips is for features that are made here"),
        (["good.npy", "--layout", "moco"], "--layout is for features that are made here"),
        (["good.npy", "--healthy-std", "1"], "--healthy-std is of an embedding"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    good = RNG.normal(size=(N, D))
    save(tmp_path, good, "good.npy")
    save(tmp_path, good[:1], "one.npy")
    save(tmp_path, np.arange(3), "few.npy")
    bad = good.copy()
    bad[7, 3] = np.nan
    save(tmp_path, bad, "nan.npy")
    code, out, err = run(capsys, *words)
    assert code == 2
    assert said in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
