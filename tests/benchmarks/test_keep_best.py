"""What a measure's choice of a checkpoint lacks, from rows as runs give them, and the script itself on a tiny world."""

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("keep_best_benchmark", BENCHMARKS / "keep_best.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("_result", None)


def moment(step: int, accuracy: float, *, rank: float, auc: float, probe: float, kind: str = "healthy") -> dict[str, Any]:
    measures = {name: rank for name in ("rankme", "lidar", "effective_rank", "participation_ratio", "nesum")}
    accuracies = {f"{label} {how}": accuracy for label in ("digit", "motion") for how in ("linear", "knn")}
    accuracies |= {f"{label} probe": probe for label in ("digit", "motion")}
    kinds = {"representation": kind, "embedding": "healthy"}
    alarm = kind == "cluster"
    return {
        "step": step,
        "alarm": alarm,
        **accuracies,
        "measures": {"representation": {**measures, "cev_auc": auc, "n": 90}},
        "kinds": kinds,
    }


def run(method: str = "simclr", rate: float = 1.0, seed: int = 0, **kinds: str) -> dict[str, Any]:
    """The best is the second moment; rank chooses the third, CEV-AUC the first, the probe the second."""
    moments = [
        moment(10, 0.5, rank=3.0, auc=0.6, probe=0.4, kind=kinds.get("first", "healthy")),
        moment(20, 0.75, rank=4.0, auc=0.7, probe=0.6),
        moment(30, 0.25, rank=5.0, auc=0.8, probe=0.3, kind=kinds.get("third", "healthy")),
        moment(40, 0.625, rank=2.0, auc=0.9, probe=0.6),
    ]
    return {"method": method, "rate": rate, "seed": seed, "moments": moments, "diverged": None, "seconds": 9.0, "hardware": "x"}


def test_measures_choose_as_keep_best_does(script: ModuleType) -> None:
    assert script.place(run(), ("rankme", "representation"), "motion") == 2
    assert script.place(run(), ("cev_auc", "representation"), "motion") == 0, "the smallest"
    assert script.place(run(), ("rankme", "embedding"), "motion") is None, "there is none"
    assert script.place(run(), (script.PROBE, "-"), "motion") == 1, "of equals the first"
    assert script.place(run(), (script.LAST, "-"), "motion") == 3


def test_what_is_collapsed_is_not_kept(script: ModuleType) -> None:
    assert script.place(run(third="dimensional"), ("rankme", "representation"), "motion") == 1
    assert script.place(run(third="dimensional"), ("rankme", "representation"), "motion", every=True) == 2
    assert script.place(run(first="complete"), ("cev_auc", "representation"), "motion") == 1
    assert script.place(run(third="mean_shift"), ("rankme", "representation"), "motion") == 2, "a shift is no collapse"
    every = run()
    for each in every["moments"]:
        each["kinds"]["embedding"] = "cluster"
    assert script.place(every, ("rankme", "representation"), "motion") == 3, "nothing was kept: the last checkpoint"


def test_regret_is_what_lacks_to_the_best_moment(script: ModuleType) -> None:
    assert script.regret(run(), ("rankme", "representation"), "digit") == (50.0, 0.0)
    assert script.regret(run(), (script.PROBE, "-"), "digit") == (0.0, 1.0)
    assert script.regret(run(), (script.LAST, "-"), "digit") == (12.5, 0.0)
    assert script.regret(run(), (script.ANY, "-"), "digit") == (75.0 - 53.125, 0.25)


def test_an_interval_is_of_methods_and_not_of_their_seeds(script: ModuleType) -> None:
    assert script.spread([1.0, 3.0], ["simclr", "simclr"]) == "2.0 (2.0 to 2.0)", "one method"
    assert script.spread([1.0, 3.0, 3.0], ["simclr", "byol", "byol"]) == "2.3 (1.0 to 3.0)"


def test_the_table_is_in_order_of_regret(script: ModuleType) -> None:
    rows = [run(), run(rate=4.0), run(method="byol", third="cluster")]
    short = run(method="dino") | {"diverged": "the loss is NaN"}
    short["moments"] = short["moments"][:1]
    found = script.table([*rows, short], "motion", script.WORLD, 40)
    lines = {(line[0], line[1]): line[2:] for line in found["rows"]}
    assert found["rows"][0][:3] == [script.PROBE, "-", "0.0 (0.0 to 0.0)"]
    assert [line[0] for line in found["rows"]][-5:] == [f"`{name}`" for name in script.MEASURES if name != "cev_auc"]
    # 50, 50, and 0 where the third moment is collapsed; the last checkpoint lacks 12.5
    assert lines["`rankme`", "representation"] == [
        "33.3 (0.0 to 50.0)",
        "-20.8 (-37.5 to 12.5)",
        "25.0",
        "50.0",
        "50.0",
        "1 of 3",
        "33.3 (0.0 to 50.0)",
    ]
    assert ("`rankme`", "embedding") not in lines
    assert all(len(line) == len(found["header"]) for line in found["rows"])
    assert "1 of 12 moments (the alarm stood at 1 of these and at 0 others); in 0 runs all of them" in found["note"]
    assert "1 runs diverged: of them the moments before count; 1 had none to choose." in found["note"]
    assert "75 % at the best moment, 62 % at the end" in found["note"]


def test_the_figure_marks_what_was_chosen(script: ModuleType) -> None:
    drawn = script.figure([run(), run(rate=4.0), run(seed=1), run(method="byol")])
    assert [panel.get_title() for panel in drawn.axes if panel.get_visible()] == ["simclr", "byol"]
    panel = drawn.axes[0]
    assert [list(curve.get_ydata()) for curve in panel.lines if len(curve.get_xdata()) > 1] == [[50.0, 75.0, 25.0, 62.5]] * 2
    marked = {(curve.get_marker(), *curve.get_xdata()) for curve in panel.lines if len(curve.get_xdata()) == 1}
    assert marked == {("^", 30), ("D", 30), ("s", 20)}


def test_a_tiny_study_runs_each_case_once(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "MOMENTS", 4)
    monkeypatch.setattr(script, "PROBE_EPOCHS", 2)

    def call(*more: str) -> dict[str, Any]:
        words = ["--tiny", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "x.json"), *more]
        monkeypatch.setattr(sys, "argv", ["keep_best.py", *words])
        script.main()
        return dict(json.loads((tmp_path / "x.json").read_text(encoding="utf-8")))

    first = call("--figure", str(tmp_path / "x.svg"))
    assert (tmp_path / "x.svg").read_text(encoding="utf-8").startswith("<?xml")
    rows = first["results"]
    assert [(row["method"], row["rate"], row["seed"]) for row in rows] == [("simclr", 1.0, 0), ("simclr", 4.0, 0)]
    assert [moment["step"] for moment in rows[0]["moments"]] == [1, 2, 3, 4]
    ranks = [[moment["measures"]["representation"]["rankme"] for moment in row["moments"]] for row in rows]
    assert [len(set(each)) for each in ranks] == [4, 4], "each moment has weights of its own"
    assert ranks[0][-1] != ranks[1][-1], "the rates differ"
    assert rows[0]["moments"][0]["measures"]["embedding"]["n"] == 40 * script.NUM_CLIPS, "training videos choose"
    assert set(first["tables"]) == {"keep-best-motion", "keep-best-digit"}
    assert len(first["tables"]["keep-best-motion"]["rows"]) == 2 * len(script.MEASURES) + 3
    assert {file.suffix for file in (tmp_path / "work").glob("simclr*")} == {".json"}, "runs and features are gone"
    monkeypatch.setattr(script, "train", None)
    assert call()["results"] == rows, "nothing is trained again"


def test_steps_must_have_ten_parts(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["keep_best.py", "--steps", "25"])
    with pytest.raises(SystemExit):
        script.main()
    assert "--steps must be a multiple of 10. Got 25." in capsys.readouterr().err
