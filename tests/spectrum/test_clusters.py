"""Rows at a few points are told from rows that are spread, along a line too, and the tree is that of another library."""

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from fullrank.errors import ShapeError
from fullrank.spectrum.clusters import MIN_ROWS, _tree, cluster_measures, clusters
from fullrank.spectrum.thresholds import THRESHOLDS

RNG = np.random.default_rng(0)
N, D = 400, 24


def at_points(k: int, noise: float, n: int = N, d: int = D) -> np.ndarray:
    return RNG.normal(size=(k, d))[RNG.integers(0, k, n)] + noise * RNG.normal(size=(n, d))


def test_the_links_are_those_of_another_minimum_spanning_tree() -> None:
    x = RNG.normal(size=(120, 5)) + 3.0
    lengths, pairs = _tree(x)
    expected = minimum_spanning_tree(cdist(x, x)).tocoo()
    np.testing.assert_allclose(np.sort(lengths), np.sort(expected.data), atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=1), lengths, atol=1e-10)


@pytest.mark.parametrize("k", [2, 5, 20, 30])
def test_planted_points_are_counted_more_than_dimensions_too(k: int) -> None:
    found = clusters(at_points(k, 0.03))
    assert found.points == k
    assert found.gap > 4
    assert found.share == 1.0


@pytest.mark.parametrize(
    "x",
    [
        RNG.normal(size=(N, D)),
        RNG.normal(size=(N, D)) / np.arange(1, D + 1),
        RNG.normal(size=(N, 1)) @ RNG.normal(size=(1, D)),
        RNG.normal(size=(N, 2)) @ RNG.normal(size=(2, D)),
        RNG.standard_t(3.0, size=(N, D)),
        RNG.normal(size=(N, D)) + 10.0,
        np.repeat(RNG.normal(size=(N // 4, D)), 4, axis=0),
        at_points(10, 1.0),
    ],
    ids=["isotropic", "power law", "line", "plane", "heavy tails", "shifted", "each row four times", "soft classes"],
)
def test_spread_rows_are_no_points(x: np.ndarray) -> None:
    assert clusters(x).gap < THRESHOLDS["embedding"].cluster_gap


def test_scale_rotation_and_a_common_direction_change_nothing() -> None:
    x = at_points(6, 0.05)
    turn = np.linalg.qr(RNG.normal(size=(D, D)))[0]
    for changed in (1e-6 * x, 1e6 * x @ turn, x + 3.0):
        assert clusters(changed).points == 6


def test_two_points_that_are_opposite_are_not_a_line() -> None:
    v = RNG.normal(size=D)
    signs = np.where(RNG.uniform(size=N) < 0.1, 1.0, -1.0)[:, None]
    assert clusters(signs * v + 1e-3 * RNG.normal(size=(N, D))).points == 2


def test_equal_or_few_rows_say_nothing() -> None:
    for x in (np.ones((N, D)), np.zeros((N, D)), at_points(2, 0.01, n=MIN_ROWS - 1)):
        assert (clusters(x).points, clusters(x).gap) == (1, 1.0)
    with pytest.raises(ShapeError, match="must be"):
        clusters(np.ones(5))


def test_rows_that_are_exactly_equal_are_points_however_many() -> None:
    """Of 512 rows no more than 64 points can be seen."""
    x = RNG.normal(size=(100, D))[RNG.integers(0, 100, 20_000)]
    assert cluster_measures(x) == {"clusters": 100, "cluster_gap": 1e6, "clustered_ratio": 1.0}
    assert clusters(x).gap < THRESHOLDS["embedding"].cluster_gap
    assert cluster_measures(np.repeat(x[:100], 4, axis=0))["cluster_gap"] < THRESHOLDS["embedding"].cluster_gap


def test_of_clips_one_of_each_record_is_looked_at() -> None:
    record = np.repeat(np.arange(60), 10)
    x = RNG.normal(size=(60, D))[record] + 1e-3 * RNG.normal(size=(600, D))
    assert cluster_measures(x)["cluster_gap"] > 10
    assert cluster_measures(x, record)["cluster_gap"] < 1.5
