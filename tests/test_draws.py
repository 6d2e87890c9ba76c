import numpy as np
from scipy import stats

from fullrank.draws import permutation, uniform


def test_a_record_draws_the_same_in_any_batch():
    together = uniform(3, 5, [4, 9, 2], "view:global", 7)
    for row, record in enumerate([4, 9, 2]):
        np.testing.assert_array_equal(together[row], uniform(3, 5, [record], "view:global", 7)[0])


def test_longer_draws_begin_with_the_shorter_ones():
    np.testing.assert_array_equal(uniform(0, 0, [1], "a", 9)[:, :4], uniform(0, 0, [1], "a", 4))


def test_numbers_are_uniform_and_independent():
    x = uniform(0, 0, np.arange(2000), "x", 5)
    assert stats.kstest(x.ravel(), "uniform").pvalue > 1e-3
    correlation = np.corrcoef(x.T) - np.eye(5)
    assert np.abs(correlation).max() < 0.1
    for other in (
        uniform(1, 0, np.arange(2000), "x", 5),
        uniform(0, 1, np.arange(2000), "x", 5),
        uniform(0, 0, np.arange(2000), "y", 5),
    ):
        assert abs(np.corrcoef(x.ravel(), other.ravel())[0, 1]) < 0.05


def test_an_epoch_visits_every_record_once_in_another_order():
    first, second = permutation(0, 0, 100), permutation(0, 1, 100)
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()


def test_values_are_pinned_so_that_runs_stay_reproducible():
    assert permutation(0, 0, 6).tolist() == [2, 4, 0, 1, 3, 5]
    np.testing.assert_array_equal(uniform(1, 2, [3], "clip_start", 2), [[0.1979187792132009, 0.49287406977056725]])
