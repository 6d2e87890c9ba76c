"""Kendall's tau is scipy's, its interval covers what it should, and runs of one method are not many methods."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from fullrank.errors import DataError
from fullrank.spectrum.kendall import DRAWS, kendall, tau_b
from fullrank.spectrum.scored_runs import read_scored_runs

RNG = np.random.default_rng(0)


def test_the_value_is_scipys_with_ties_too() -> None:
    for _ in range(20):
        x, y = RNG.integers(0, 6, (2, 25)).astype(float)
        assert kendall(x, y).value == pytest.approx(kendalltau(x, y).statistic, abs=1e-12)


def test_the_interval_is_of_draws_written_out() -> None:
    """The equation counts each run as often as it was drawn; here the draws are lists of runs, as the definition has it."""
    x, y = RNG.integers(0, 5, (2, 12)).astype(float)
    groups = [f"method {i // 3}" for i in range(12)]
    rng, taus = np.random.default_rng(7), []
    for _ in range(DRAWS):
        rows = np.concatenate([3 * i + np.arange(3) for i in rng.integers(0, 4, 4)])
        taus.append(kendalltau(x[rows], y[rows]).statistic)
    found = kendall(x, y, groups, seed=7)
    assert (found.low, found.high) == pytest.approx(np.nanquantile(taus, [0.025, 0.975]), abs=1e-12)
    assert tau_b(x, y) == found.value


def test_the_interval_is_reproducible_and_narrows() -> None:
    x = RNG.normal(size=200)
    y = x + RNG.normal(size=200)
    few, many = kendall(x[:20], y[:20], seed=1), kendall(x, y, seed=1)
    assert few == kendall(x[:20], y[:20], seed=1)
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_copies_of_runs_don_t_make_it_surer() -> None:
    x, y = RNG.normal(size=(2, 12))
    copies = [np.repeat(values, 5) for values in (x, y)]
    groups = [f"method {i}" for i in np.repeat(np.arange(12), 5)]
    once, grouped, alone = kendall(x, y), kendall(*copies, groups), kendall(*copies)
    assert grouped.num_units == once.num_units == 12
    assert (alone.high - alone.low) < 0.6 * (grouped.high - grouped.low)


@pytest.mark.parametrize(
    ("x", "words"), [([1.0, 2, 3], "at least 4 runs. Got 3"), ([1.0, 1, 1, 1, 1], "differ"), ([1.0, 2, 3, np.nan], "finite")]
)
def test_what_has_no_order_is_said(x: list[float], words: str) -> None:
    with pytest.raises(DataError, match=words):
        kendall(np.array(x), np.arange(len(x), dtype=float))


def rows() -> list[dict[str, Any]]:
    plain = {"method": "byol", "digit knn": 0.5, "seed": 1, "ranks": {"representation": {"n": 9, "d": 4, "cev_auc": 0.7}}}
    pinned = {"method": "dino", "knn": 0.25, "measures": {"embedding": {"nesum": {"value": 2.5, "n": 9}}}}
    return [plain, pinned, {"method": "no measures", "knn": 0.1}]


@pytest.mark.parametrize("wrapped", [lambda r: r, lambda r: {"results": r}, lambda r: {"results": {"cifar10": r}}])
def test_runs_are_found_wherever_they_stand(tmp_path: Path, wrapped: Any) -> None:
    (tmp_path / "runs.json").write_text(json.dumps(wrapped(rows())))
    byol, dino = read_scored_runs(tmp_path / "runs.json")
    assert (byol.group, byol.accuracies, byol.measures) == ("byol", {"digit knn": 0.5}, {"representation cev_auc": 0.7})
    assert (dino.accuracies, dino.measures) == ({"knn": 0.25}, {"embedding nesum": 2.5})


def test_a_row_may_be_of_one_space(tmp_path: Path) -> None:
    row = {
        "encoder": "trained",
        "space": "embedding",
        "measures": {"std": 1.0, "n": 9},
        "digit_knn": 0.3,
        "digit_knn_interval": [0, 1],
    }
    (tmp_path / "runs.json").write_text(json.dumps([row]))
    (run,) = read_scored_runs(tmp_path / "runs.json")
    assert (run.group, run.accuracies, run.measures) == ("trained", {"digit_knn": 0.3}, {"embedding std": 1.0})


def test_files_without_runs_are_refused(tmp_path: Path) -> None:
    for name, text, words in (("a", "[]", "Got none"), ("b", "no", "must be JSON"), ("c", None, "Got nothing there")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=words):
            read_scored_runs(tmp_path / name)
