"""What the choice of a measure is worth, from rows as benchmarks write them."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fullrank.spectrum.definitions import MEASURES

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("choices")
    for name in ("choices", "_result"):
        sys.modules.pop(name, None)


def rows(methods: int = 10) -> list[dict]:
    """Accuracy grows with the method's number; the rank does too, the mean cosine does not."""
    return [
        {
            "method": f"method {i}",
            "seed": seed,
            "motion linear": i / methods,
            "measures": {"representation": {"effective_rank": 2.0 + i, "mean_cosine": i / methods, "std": 1.0}},
        }
        for seed in (0, 1)
        for i in range(methods)
    ]


def test_a_measure_that_grows_with_accuracy_chooses_the_best_and_one_against_it_the_worst(script: ModuleType) -> None:
    found = script.table(rows(), ["motion linear"])
    worth = {line[1]: line[2] for line in found["rows"]}
    assert worth == {"`effective_rank`": "1.00", "`mean_cosine`": "-1.00"}, "std has no better side"
    assert found["rows"][0][0] == "representation"
    assert "motion 20" in found["note"]


def test_every_named_measure_exists_and_has_one_side(script: ModuleType) -> None:
    named = [*script.LARGEST, *script.SMALLEST, *script.NEAREST_1]
    assert len(set(named)) == len(named)
    assert set(named) <= set(MEASURES)
    assert not any(MEASURES[name].is_rank for name in named), "ranks are the larger the better already"
    assert script.merit("alpha_req", 1.2) > script.merit("alpha_req", 0.5)


def test_the_interval_holds_the_draw_of_methods(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    noise = [(rng.normal(size=(2, 30)), rng.random((2, 30)))]
    low, high = script.interval(noise)
    assert low < 0.2
    assert high > -0.2
    assert script.interval(noise) == (low, high), "drawn from a seed"


def test_few_methods_are_no_choice(script: ModuleType) -> None:
    assert script.judged(rows(5), "representation", "effective_rank", "motion linear") is None
