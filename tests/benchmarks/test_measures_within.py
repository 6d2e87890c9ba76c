"""Measures against accuracy within one method: the tables, from rows as runs give them, and one pass from runs on."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
OWN = ("_population", "_result", "diagnosis", "measures_and_accuracy", "measures_within")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("measures_within")
    for name in OWN:
        sys.modules.pop(name, None)


def row(method: str, setting: str, seed: int, rank: float, accuracy: float) -> dict:
    accuracies = {f"{label} {kind}": accuracy for label in ("motion", "digit") for kind in ("knn", "linear")}
    measures = {"representation": {"effective_rank": rank, "std": 1.0}}
    chance = {"motion": 0.125, "digit": 0.1}
    return {"method": method, "setting": setting, "seed": seed, **accuracies, "chance": chance, "measures": measures}


def test_settings_are_means_over_seeds_and_the_measure_chooses_one(script: ModuleType) -> None:
    ranks = {"grid 0 1": 2.0, "grid 1 1": 10.0, "grid 5 1": 30.0, "grid 25 1": 20.0, "grid 100 1": 15.0}
    accuracies = {"grid 0 1": 0.1, "grid 1 1": 0.2, "grid 5 1": 0.4, "grid 25 1": 0.5, "grid 100 1": 0.3}
    rows = [
        row("vicreg", name, seed, rank + (-9 if seed else 9), accuracies[name] + (0.05 if seed else -0.05))
        for name, rank in ranks.items()
        for seed in (0, 1)
    ]
    found = script.grid_table(rows, "motion")
    assert found["header"][3] == "settings"
    ((space, name, tau, count, chosen),) = found["rows"]  # the std is the same in all settings and orders none
    assert (space, name, count) == ("representation", "`effective_rank`", 5)
    assert tau.startswith("+0.80 ("), "of ten pairs one is the wrong way round"
    assert chosen == "5 / 1: 40"
    assert "10 runs of 5 settings: the best is 25 / 1: 50, their mean 30, the worst 10; chance 12." in found["note"]
    assert script.grid_table(rows[:6], "motion") is None, "three settings are too few"


def test_a_measure_that_falls_with_accuracy_chooses_its_smallest(script: ModuleType) -> None:
    rows = [row("vicreg", f"grid {i} 1", 0, 10.0 - i, 0.1 * i) for i in range(6)]
    (line,) = script.grid_table(rows, "digit")["rows"]
    assert line[2].startswith("-1.00")
    assert line[-1] == "5 / 1: 50"


def test_tau_within_methods_does_not_see_differences_between_them(script: ModuleType) -> None:
    rows = []
    for number, (method, sign) in enumerate((("byol", 1), ("dino", 1), ("simclr", -1))):
        for i in range(6):  # between methods the rank rises with accuracy, whatever it does within them
            rows.append(row(method, f"no {i // 3}", i % 3, 100.0 * number + i, 0.1 + 0.2 * number + sign * 0.01 * i))
    rows += [row("swav", "as it is", seed, float(seed), 0.9 - 0.1 * seed) for seed in range(5)]
    found = script.methods_table(rows)
    (line,) = found["rows"]
    assert line[:2] == ["representation", "`effective_rank`"]
    assert line[2].startswith("+0.33 (")
    assert line[3] == "2 of 3"
    assert "byol, dino, simclr; 18 runs" in found["note"], "five runs of swav are too few"
    assert script.methods_table(rows[:12]) is None, "two methods are too few"


@pytest.mark.slow
def test_it_runs_and_the_drawing_reads_its_file(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["measures_within.py", "--tiny", "--out", str(tmp_path / "x.json")])
    monkeypatch.setattr(script, "PROBE_EPOCHS", 2)
    script.main()
    result = json.loads((tmp_path / "x.json").read_text())
    assert {row["setting"] for row in result["results"]} == {
        f"grid {variance} {covariance}" for variance in (0, 1) for covariance in (0, 1, 25)
    }
    assert all(np.isfinite(value) for row in result["results"] for value in row["measures"]["embedding"].values())
    assert "measures-within-methods" not in result["tables"]
    from fullrank.spectrum.scored_runs import read_scored_runs

    runs = read_scored_runs(tmp_path / "x.json")
    assert len(runs) == 6
    assert set(runs[0].accuracies) == {"motion knn", "motion linear", "digit knn", "digit linear"}
