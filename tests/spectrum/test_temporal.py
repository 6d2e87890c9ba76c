"""Variance between and within videos: exact, equal to a loop over videos, and what a collapse in time looks like."""

import numpy as np
import pytest

from fullrank.errors import DataError, ShapeError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.measures import effective_rank
from fullrank.spectrum.temporal import Grouped, group_means, grouped

RNG = np.random.default_rng(0)
VIDEOS, CLIPS, D = 40, 5, 12


def uneven(d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """Features far from 0 and videos of one to six clips, in no order."""
    record = np.repeat(RNG.integers(0, 10_000, 30), RNG.integers(1, 7, 30))
    record = RNG.permutation(record)
    own = RNG.normal(size=(10_000, d))[record]
    return 50.0 + own + 0.3 * RNG.normal(size=(len(record), d)), record


def by_loop(x: np.ndarray, record: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """C_total, C_between, C_within as the equations say, video by video."""
    m = x.mean(axis=0)
    total, between, within = (np.zeros((x.shape[1], x.shape[1])) for _ in range(3))
    for row in x:
        total += np.outer(row - m, row - m) / len(x)
    for name in np.unique(record):
        rows = x[record == name]
        own = rows.mean(axis=0)
        between += len(rows) / len(x) * np.outer(own - m, own - m)
        for row in rows:
            within += np.outer(row - own, row - own) / len(x)
    return total, between, within


def parts(found: Grouped) -> list[np.ndarray]:
    return [each.eigenvalues for each in (found.total, found.between, found.within)]


@pytest.mark.parametrize("d", [D, 300], ids=["streamed", "wider than long"])
def test_the_spectra_are_those_of_a_loop_over_videos(d: int) -> None:
    x, record = uneven(d)
    found = grouped(x, record)
    for mine, matrix in zip(parts(found), by_loop(x, record), strict=True):
        np.testing.assert_allclose(mine, np.linalg.eigvalsh(matrix)[::-1], atol=1e-10)


def test_the_law_of_total_covariance_holds_in_every_direction() -> None:
    x, record = uneven()
    turn = np.linalg.qr(RNG.normal(size=(D, D)))[0]
    for basis in (np.eye(D), turn):  # variances in a turned basis are covariances in the first
        found = grouped(x @ basis, record)
        np.testing.assert_allclose(found.total.variance, found.between.variance + found.within.variance, atol=1e-10)
    assert found.within_share == pytest.approx(found.within.eigenvalues.sum() / found.total.eigenvalues.sum(), abs=1e-10)


def test_unit_rows_are_normalised_before_any_mean() -> None:
    x, record = uneven()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    for mine, other in zip(parts(grouped(x, record, normalized=True)), parts(grouped(unit, record)), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-12)
    assert grouped(x, record, normalized=True).within.normalized


def clips(own: np.ndarray, change: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (own[:, None] + change).reshape(-1, D), np.repeat(np.arange(VIDEOS), CLIPS)


def test_a_collapse_in_time_shows_within_and_not_between() -> None:
    own = RNG.normal(size=(VIDEOS, D))
    along = RNG.normal(size=(VIDEOS, CLIPS, 1)) * np.eye(D)[0]
    found = grouped(*clips(own, along))
    assert effective_rank(found.within) == pytest.approx(1.0)
    assert effective_rank(found.between) > 0.8 * D
    assert grouped(*clips(own, np.zeros((VIDEOS, CLIPS, D)))).within_share < 1e-12


def test_rows_that_know_no_video_have_the_share_of_chance() -> None:
    record = np.repeat(np.arange(4000), 2)
    found = grouped(RNG.normal(size=(8000, 3)), record)
    assert found.chance_share == pytest.approx(4000 / 7999)
    assert found.within_share == pytest.approx(found.chance_share, abs=0.01)


def test_bounds_are_those_of_the_degrees_of_freedom() -> None:
    found = grouped(RNG.normal(size=(9, 20)), np.repeat([0, 1, 2], 3))
    assert [each.bound for each in (found.total, found.between, found.within)] == [8, 2, 6]
    for each in (found.total, found.between, found.within):
        assert np.count_nonzero(each.eigenvalues > 1e-12) == each.bound


def test_the_total_is_the_spectrum_of_the_rows_and_means_are_means() -> None:
    x, record = uneven()
    np.testing.assert_allclose(grouped(x, record).total.eigenvalues, spectrum_of(x).eigenvalues, atol=1e-12)
    _, member = np.unique(record, return_inverse=True)
    np.testing.assert_allclose(group_means(x, member)[3], x[member == 3].mean(axis=0))


def test_equal_rows_have_no_share() -> None:
    found = grouped(np.ones((6, 2)), np.array([0, 0, 1, 1, 2, 2]))
    assert (found.within_share, found.total.bound) == (0.0, 2)


@pytest.mark.parametrize(
    ("record", "kind", "words"),
    [
        (np.arange(6), DataError, "several clips a record.*--num-clips"),
        (np.zeros(6, int), DataError, "at least two of them"),
        (np.arange(5), ShapeError, "every row must have a group"),
    ],
)
def test_what_cannot_be_taken_apart_is_said(record: np.ndarray, kind: type[Exception], words: str) -> None:
    x = RNG.normal(size=(6, 2))
    with pytest.raises(kind, match=words):
        grouped(x, record)


def test_rows_that_are_not_finite_are_named() -> None:
    x = RNG.normal(size=(6, 2))
    x[4, 1] = np.nan
    with pytest.raises(DataError, match="row: 4"):
        grouped(x, np.array([0, 0, 1, 1, 2, 2]))
