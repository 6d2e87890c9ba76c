"""`fullrank spectrum` on tables, plain files and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullrank.cli import main
from fullrank.spectrum.measures import measure
from fullrank.spectrum.survey import OF_FEATURES
from fullrank.spectrum.temporal import grouped

RNG = np.random.default_rng(0)
HEALTHY = RNG.normal(size=(200, 16)).astype(np.float32)
COLLAPSED = (RNG.normal(size=8) + 0.004 * RNG.normal(size=(200, 8))).astype(np.float32)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "tables" / "mine"
    folder.mkdir(parents=True)
    np.save(folder / "representation.npy", HEALTHY)
    np.save(folder / "embedding.npy", COLLAPSED)
    return folder


def test_a_plain_file_gives_every_measure_and_a_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "features.npy", HEALTHY)
    out = tmp_path / "out.json"
    assert main(["spectrum", str(tmp_path / "features.npy"), "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result["measures"]) == set(OF_FEATURES)
    json.dumps(result, allow_nan=False)
    rank = result["measures"]["effective_rank"]
    assert rank["value"] == pytest.approx(measure(HEALTHY, "effective_rank"))
    assert (rank["n"], rank["d"], rank["centred"], rank["normalized"]) == (200, 16, True, False)
    assert result["diagnosis"]["verdict"] == "healthy"
    printed = capsys.readouterr().out
    assert "The representation is healthy: effective rank" in printed
    assert f"{rank['value']:.1f}" in printed


def test_a_table_gives_both_spaces_and_a_figure(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "other.npy", HEALTHY[:, :5])
    figure, out = tmp_path / "figure.svg", tmp_path / "out.json"
    argv = ["spectrum", str(table), str(tmp_path / "other.npy"), "--labels", "mine", "narrow", "--out", str(figure)]
    assert main([*argv, "--json", str(out)]) == 0
    assert figure.read_text().startswith("<?xml")
    result = json.loads(out.read_text())["inputs"]
    assert list(result) == ["mine", "narrow"]
    assert result["mine"]["space"] == "representation"
    assert result["mine"]["measures"]["std"]["d"] == 16
    assert result["mine"]["embedding"]["measures"]["std"]["d"] == 8
    assert result["mine"]["diagnosis"]["verdict"] == "complete"
    assert result["mine"]["diagnosis"]["space"] == "embedding"
    assert result["narrow"]["diagnosis"]["verdict"] == "healthy"
    assert "mine: The embedding has collapsed completely" in capsys.readouterr().out


def test_a_table_alone_has_its_representation_at_the_top(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["spectrum", str(table), "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["measures"]["effective_rank"]["value"] == pytest.approx(measure(HEALTHY, "effective_rank"))
    assert result["embedding"]["measures"]["effective_rank"]["value"] == pytest.approx(measure(COLLAPSED, "effective_rank"))
    assert result["measures"]["lidar"]["value"] is None
    assert "groups" in result["measures"]["lidar"]["why"]


def test_records_intervals_and_named_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", HEALTHY)
    np.save(tmp_path / "records.npy", np.repeat(np.arange(100), 2))
    out = tmp_path / "out.json"
    argv = ["spectrum", str(tmp_path / "x.npy"), "--records", str(tmp_path / "records.npy"), "--bootstrap", "20", "--seed", "3"]
    assert main([*argv, "--reservoir", "100", "--measures", "lidar", "rankme", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert (result["reservoir"], result["bootstrap"]) == ({"rows": 100, "seed": 3}, 20)
    lidar = result["measures"]["lidar"]
    assert lidar["n"] == 100
    assert lidar["bound"] == 16
    low, high = result["measures"]["rankme"]["interval"]
    assert low < result["measures"]["rankme"]["value"] < high
    assert result["measures"]["rankme"]["n"] == 200
    printed = capsys.readouterr().out
    assert "lidar" in printed
    assert f"{low:.4g} to {high:.4g}" in printed


def test_a_long_number_is_printed_and_no_dash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    half = RNG.normal(size=(1501, 4))
    np.save(tmp_path / "x.npy", np.concatenate([half, -half]))  # whose rows cancel: the mean cosine is -1 / (n - 1)
    assert main(["spectrum", str(tmp_path / "x.npy"), "--measures", "mean_cosine"]) == 0
    assert f"{-1 / 3001:.6g}" in capsys.readouterr().out


def test_few_rows_are_warned_of(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", HEALTHY[:20])
    out = tmp_path / "out.json"
    assert main(["spectrum", str(tmp_path / "x.npy"), "--json", str(out)]) == 0
    assert "below n = 2d" in json.loads(out.read_text())["warnings"][0]


def test_the_scale_that_a_method_fixes_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "z.npy", 0.004 * HEALTHY)
    argv = ["spectrum", str(tmp_path / "z.npy"), "--space", "embedding"]
    assert main(argv) == 0
    assert "The embedding is healthy" in capsys.readouterr().out
    assert main([*argv, "--healthy-std", "1"]) == 0
    assert "The embedding has collapsed completely: std 0.004 (healthy 1)" in capsys.readouterr().out


def test_lines_fit_a_narrow_terminal(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spectrum", str(table)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith(("input", "mine  "))]
    assert len(rows) == 3
    assert max(map(len, rows)) <= 80


def test_clips_are_taken_apart_by_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows that differ within their video in one direction only; the numbers are those of ``grouped``."""
    video = np.repeat(np.arange(40), 5)
    own = np.random.default_rng(1).normal(size=(40, 6))[video]
    x = own + np.random.default_rng(2).normal(size=(200, 1)) * np.eye(6)[0]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "video.npy", video)
    argv = [
        "spectrum",
        str(tmp_path / "x.npy"),
        "--time",
        "--out",
        str(tmp_path / "time.svg"),
        "--json",
        str(tmp_path / "o.json"),
    ]
    assert main([*argv, "--records", str(tmp_path / "video.npy")]) == 0
    found = json.loads((tmp_path / "o.json").read_text())["time"]["x"]["spaces"]["representation"]
    expected = grouped(x, video)
    assert found["within_share"] == pytest.approx(expected.within_share)
    assert found["within"]["effective_rank"] == pytest.approx(1.0)
    assert (found["between"]["n"], found["rows"], found["labels"]) == (40, 200, {})
    assert (tmp_path / "time.svg").exists()
    assert f"{100 * expected.within_share:.1f} % (chance 80 %)" in capsys.readouterr().out
    assert main(argv) == 2
    assert "which video each clip is of" in capsys.readouterr().err


def with_nan() -> np.ndarray:
    x = HEALTHY.copy()
    x[[3, 7], 2] = np.nan
    return x


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (with_nan(), "2 rows: 3, 7"),
        (HEALTHY[:1], "at least 2 rows"),
        (HEALTHY[:, None], "3 axes"),
        (HEALTHY[0], "1 axes"),
        (np.array([["a", "b"]]), "real numbers"),
    ],
)
def test_bad_arrays_end_with_one_sentence(
    array: np.ndarray, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "bad.npy", array)
    assert main(["spectrum", str(tmp_path / "bad.npy")]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "bad.npy" in message
    assert len(message.splitlines()) == 1


def test_other_mistakes_end_with_one_sentence(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").touch()
    for argv, words in (
        ([str(tmp_path / "text.npy")], "text.npy must be an array"),
        ([str(tmp_path / "missing.npy")], "nothing there"),
        ([str(tmp_path)], "representation.npy"),
        ([str(tmp_path / "run")], "fullrank extract"),
        ([str(table), "--out", "figure.jpg"], ".pdf, .svg, .png"),
        ([str(table), "--labels", "a", "b"], "2 for 1 inputs"),
        ([str(table), str(table)], "twice"),
        ([str(table), "--healthy-std", "0"], "above 0"),
        ([str(table), "--measures", "effectiv_rank"], "Did you mean 'effective_rank'"),
        ([str(table), "--bootstrap", "3"], "at least 20"),
        ([str(table), "--reservoir", "1"], "at least 2"),
        ([str(table), "--records", "r.npy"], "one plain file"),
        ([], "Got none"),
    ):
        assert main(["spectrum", *argv]) == 2, argv
        message = capsys.readouterr().err
        assert words in message
        assert len(message.splitlines()) == 1
