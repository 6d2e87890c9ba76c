"""`fullrank report`: prints the verdict and the path, and refuses what is no run."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullrank.cli import main
from fullrank.spectrum.measures import measure_all


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "first"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"fullrank": "0.1.0", "recipe": "simclr.tiny", "method": "simclr", "settings": {}})
    )
    losses = [{"step": i, "loss": 1 / i, "losses": {"contrast": 1 / i}} for i in range(1, 9)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in losses))
    rows = np.random.default_rng(0).normal(size=(200, 16))
    full = {"step": 8, "kind": "full", "spaces": {"representation": measure_all(rows, eigenvalues=256)}}
    (folder / "spectrum.jsonl").write_text(json.dumps(full) + "\n")
    return folder


def test_it_prints_verdict_and_path_and_writes_into_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr().out
    assert "first: healthy. The representation is healthy: effective rank" in said
    assert str(run / "report.html") in said
    assert "fullrank report" in (run / "report.html").read_text()


def test_several_runs_and_an_own_place(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "both.html"
    assert main(["report", "--out", str(out), "--title", "Mine & yours", str(run), str(run)]) == 0
    assert "<h1>Mine &amp; yours</h1>" in out.read_text()


def test_json_holds_what_was_printed(run: Path, tmp_path: Path) -> None:
    assert main(["report", str(run), "--json", str(tmp_path / "x.json")]) == 0
    result = json.loads((tmp_path / "x.json").read_text())
    assert result["report"] == str(run / "report.html")
    assert result["runs"]["first"]["verdict"] == "healthy"
    assert result["runs"]["first"]["measures"]["representation"]["n"] == 200


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ([], "must be given at least one run folder"),
        (["nowhere"], "must be an existing folder"),
        (["."], "must be a run folder"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_code_2(
    args: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *args]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
