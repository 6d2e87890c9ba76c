"""The population of the diagnosis: its kinds, its seeds, and the tables made of what was said."""

import importlib.util
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("diagnosis_benchmark", BENCHMARKS / "diagnosis.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    for name in ("_population", "_result", spec.name):
        sys.modules.pop(name, None)


def test_every_kind_is_planted_and_a_seed_gives_the_same_rows(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    population = sys.modules["_population"]
    monkeypatch.setattr(population, "SIZES", ((400, 32), (96, 128)))
    first, again, other = (list(population.population(seed)) for seed in (0, 0, 1))
    assert set(Counter(case.kind for case in first)) == set(script.KINDS)
    assert all(np.array_equal(a.features, b.features) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a.features, b.features) for a, b in zip(first, other, strict=True))
    assert all(len(case.record) == len(case.features) for case in first if case.record is not None)


def test_what_is_planted_is_found(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["_population"], "SIZES", ((400, 32),))
    rows = script.planted(5, 0)
    assert [(row.kind, row.name, row.found) for row in rows if row.kind != row.found] == []
    assert script.right(rows) == 1.0


def judged(script: ModuleType, kind: str, found: str, evidence: dict) -> object:
    return script.Judged(kind=kind, name="x", space="embedding", seed=0, evidence=evidence, found=found)


def test_a_table_counts_what_was_said_of_each_kind(script: ModuleType) -> None:
    rows = [judged(script, *pair, {}) for pair in [("healthy", "healthy"), ("healthy", "cluster"), ("complete", "complete")]]
    table = script.confusion_table(rows, "note")
    assert [line[0] for line in table["rows"]] == ["healthy", "complete"]
    assert table["rows"][0][1 + script.KINDS.index("cluster")] == 1
    assert [line[-1] for line in table["rows"]] == ["50 %", "100 %"]
    assert script.right(rows) == 0.75


def test_tuning_finds_the_interval_of_a_threshold(script: ModuleType) -> None:
    base = {"n": 100, "d": 10, "bound": 10, "std": 1.0, "spread": 1.0, "effective_rank": 9.0}
    rows = [judged(script, "healthy", "healthy", base | {"mean_cosine": 0.6})]
    rows += [judged(script, "mean_shift", "healthy", base | {"mean_cosine": 0.75})]
    found = script.tune(rows)["embedding.shift_cosine"]
    assert (found["wrong"], found["wrong_at_best"]) == (1, 0)
    assert 0.6 <= found["best_from"] < found["best_to"] < 0.75


def test_the_runs_are_the_studys_and_a_grid(script: ModuleType) -> None:
    cases = script.run_cases()
    labels = {case.folder: expect for case, expect in cases}
    assert labels["vicreg-as_it_is"] == "healthy"
    assert labels["byol-no_predictor"] == "complete"
    assert labels["vicreg-grid_0_1"] == "complete"
    assert labels["vicreg-grid_25_1"] == "healthy"
    assert labels["vicreg-grid_1_25"] == "", "nobody says what it should be"
    assert len(labels) == len(cases)
    few = [case.folder for case, _ in script.run_cases(["vicreg"], grid=False)]
    assert few == ["vicreg-as_it_is", "vicreg-no_variance_term", "vicreg-no_covariance_term"]
    assert len(script.run_cases(["vicreg"])) == len(few) + 15
    assert not any("grid" in case.folder for case, _ in script.run_cases(["byol"]))


def test_all_cases_of_a_seed_come_before_the_next_and_what_is_there_is_not_run(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fullrank.studies import what_prevents_collapse as study

    cases = study.cases(["byol"])[:3]
    there, done = (2, cases[1].folder), []
    monkeypatch.setattr(
        study,
        "finished",
        lambda case, out, **kwargs: {"verdict": "old"} if (out.name, case.folder) == ("seed2", there[1]) else None,
    )

    def run(folder, *, only, seed, **kwargs):
        done.append((int(folder.name.removeprefix("seed")), only[0].folder))
        assert done[-1][0] == seed
        return {"rows": [{"verdict": "new"}]}

    monkeypatch.setattr(study, "run", run)
    ask = {"seeds": [3, 2], "cases": cases, "steps": 5, "jobs": 1}
    assert script.train_missing(tmp_path, **ask, max_minutes=0.0) == {there: {"verdict": "old"}}
    assert done == []
    rows = script.train_missing(tmp_path, **ask)
    assert done == [(seed, case.folder) for seed in (3, 2) for case in cases if (seed, case.folder) != there]
    assert rows == dict.fromkeys(done, {"verdict": "new"}) | {there: {"verdict": "old"}}


def test_the_note_counts_what_is_missing(script: ModuleType) -> None:
    listed = [{"found": "healthy"}, {"found": "diverged"}]
    assert "missing" not in script.runs_note(1, listed, 2, 300)
    note = script.runs_note(1, listed, 5, 300)
    assert "1 trained runs of 300 steps" in note
    assert "1 others diverged. 3 of 5 runs are missing" in note


@pytest.mark.slow
def test_runs_are_trained_once_and_judged(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.modules["_population"], "SIZES", ((96, 32),))
    monkeypatch.setattr(script, "SWEEPS", {})
    words = ["--runs", str(tmp_path / "runs"), "--methods", "simsiam", "--tiny", "--out", str(tmp_path / "x.json")]
    monkeypatch.setattr(sys, "argv", ["diagnosis.py", *words])
    script.main()
    assert "0 runs are there, 4 are missing" in capsys.readouterr().out
    result = json.loads((tmp_path / "x.json").read_text())
    assert [(row["case"], row["seed"]) for row in result["runs"]] == [
        ("simsiam-as_it_is", 10),
        ("simsiam-no_stop-gradient", 10),
    ]
    assert "2 trained runs of 3 steps" in result["tables"]["diagnosis-runs"]["note"]
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    words[1] = str(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "argv", ["diagnosis.py", *words])
    script.main()
    assert "4 runs are there, 0 are missing" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.json").read_text())["runs"] == result["runs"]
