"""Intervals cover what another sample of n rows would give."""

import numpy as np
import pytest

from fullrank.errors import SettingError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.intervals import resamples
from fullrank.spectrum.measures import effective_rank, measure
from fullrank.spectrum.survey import survey

MIXING = np.diag(np.arange(1.0, 7.0) ** -1)


def draw(seed: int, n: int = 120) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 6)) @ MIXING


def test_an_interval_covers_the_mean_over_samples_about_as_often_as_it_says() -> None:
    values = np.array([effective_rank(spectrum_of(draw(seed))) for seed in range(1000, 1400)])
    hits = 0
    for seed in range(60):
        found = measure(draw(seed), "effective_rank", bootstrap=60, seed=seed)
        assert found.interval is not None
        hits += found.interval[0] <= values.mean() <= found.interval[1]
    assert 51 <= hits <= 60


def test_its_width_is_that_of_samples_of_n_rows_whatever_the_reservoir() -> None:
    x = draw(0, 2000)
    whole, part = (measure(x, "std", bootstrap=200, rows=rows).interval for rows in (2000, 300))
    assert whole is not None
    assert part is not None
    spread = np.std([measure(draw(seed, 2000), "std") for seed in range(60)])
    for low, high in (whole, part):
        assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.35)


def test_the_seed_decides() -> None:
    x = draw(0)
    first = measure(x, "rankme", bootstrap=20, seed=0)
    assert first.interval == measure(x, "rankme", bootstrap=20, seed=0).interval
    assert first.interval != measure(x, "rankme", bootstrap=20, seed=1).interval
    assert first.document()["interval"] == list(first.interval or ())
    assert first.document()["replicates"] == 20


def test_rows_are_never_repeated_where_that_would_break_a_measure() -> None:
    for name in ("two_nn", "uniformity"):
        found = measure(draw(0), name, bootstrap=40)
        assert found.interval is not None
        assert found.interval[0] < found < found.interval[1]
    for positions, _ in resamples(50, 20, 0, different=True):
        assert len(np.unique(positions)) == len(positions) == 25


def test_groups_are_drawn_whole() -> None:
    groups = np.repeat([0, 1, 2], [2, 3, 4])
    for positions, drawn in resamples(9, 20, 0, groups=groups):
        assert drawn is not None
        assert len(np.unique(drawn)) == 3
        for g in range(3):
            (owner,) = set(groups[positions[drawn == g]])
            assert (groups == owner).sum() == (drawn == g).sum()


def test_rows_of_one_record_are_no_independent_samples() -> None:
    """60 videos of 10 clips: resampled row by row, intervals would cover in about half of the draws what they should."""
    videos = np.repeat(np.arange(60), 10)

    def clips(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return (rng.normal(size=(60, 6))[videos] + 0.5 * rng.normal(size=(600, 6))) @ MIXING

    names = ("std", "effective_rank", "uniformity")
    usual = {name: np.mean([survey(clips(seed)).values[name] for seed in range(500, 530)]) for name in names}
    hits = dict.fromkeys(names, 0)
    for seed in range(30):
        found = survey(clips(seed), groups=videos, bootstrap=40, intervals=names, seed=seed)
        for name in names:
            low, high = found.values[name].interval or (np.nan, np.nan)
            hits[name] += bool(low <= usual[name] <= high)
    assert min(hits.values()) >= 22, hits


def test_a_survey_has_an_interval_of_every_measure() -> None:
    x = np.random.default_rng(1).normal(size=(120, 20))
    found = survey(x, groups=np.arange(120) // 3, bootstrap=20)
    assert not found.absent
    for name, value in found.values.items():
        assert value.replicates == 20
        assert value.interval is not None, name
        assert value.interval[0] <= value <= value.interval[1] + 1e-9, name


def test_a_value_that_not_every_replicate_has_gets_no_interval() -> None:
    found = measure(np.eye(5)[[0, 1, 2, 3, 4] * 2], "condition_number", bootstrap=20)
    assert found.interval is None
    assert found.document()["interval"] is None


def test_too_few_replicates_are_refused() -> None:
    with pytest.raises(SettingError, match="at least 20 replicates. Got 5"):
        measure(draw(0), "std", bootstrap=5)
