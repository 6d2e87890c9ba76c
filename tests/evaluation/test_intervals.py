import math

import numpy as np
import pytest

from fullrank.errors import SettingError
from fullrank.evaluation.intervals import mean_interval, wilson


@pytest.mark.parametrize(("correct", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (812, 1000)])
def test_wilson_bounds_solve_its_equation(correct, n):
    """The bounds are the p at which |correct / n - p| = z sqrt(p (1 - p) / n)."""
    for bound in wilson(correct, n):
        assert abs(correct / n - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / n), abs=1e-6)


def test_wilson_at_the_ends_stays_inside_and_has_a_width():
    assert wilson(0, 20)[0] == 0.0
    assert wilson(0, 20)[1] > 0.1
    assert wilson(20, 20)[1] == 1.0
    assert wilson(20, 20)[0] < 0.9


def test_wilson_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    inside = [low <= 0.3 <= high for low, high in (wilson(int(random.binomial(80, 0.3)), 80) for _ in range(2000))]
    assert 0.93 < np.mean(inside) < 0.97


def test_mean_interval_equals_scipy():
    from scipy import stats

    values = [0.61, 0.63, 0.58, 0.66]
    mean, bounds = mean_interval(values)
    assert mean == pytest.approx(np.mean(values))
    assert bounds == pytest.approx(stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values)))


def test_one_run_has_no_interval():
    mean, (low, high) = mean_interval([0.4])
    assert mean == 0.4
    assert math.isnan(low)
    assert math.isnan(high)


def test_impossible_counts_are_errors():
    for arguments in ((3, 2), (-1, 2), (0, 0)):
        with pytest.raises(SettingError, match="0 <= correct <= n"):
            wilson(*arguments)
    with pytest.raises(SettingError, match="95 % is 0.95"):
        wilson(1, 2, confidence=95)
    with pytest.raises(SettingError, match="at least one value"):
        mean_interval([])
