"""The population of the diagnosis: its kinds, its seeds, and the tables made of what was said."""

import importlib.util
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
