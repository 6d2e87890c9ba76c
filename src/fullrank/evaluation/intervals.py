"""How sure an accuracy is: Wilson's interval for a share, Student's for a mean over seeds or groups."""

import math
from collections.abc import Sequence
from statistics import NormalDist

from fullrank.errors import SettingError

Interval = tuple[float, float]


def wilson(correct: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a share ``correct / n`` of independent trials (Wilson, 1927): low and high, both in [0, 1].

    With p = correct / n and z the normal quantile of ``confidence``::

        (p + z^2 / 2n  +-  z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    It stays inside [0, 1] and has a width at p = 0 and p = 1, where the usual p +- z sqrt(p (1 - p) / n) has none. It
    holds the sampling of the test records only, not the seed of the training.

    >>> [round(x, 3) for x in wilson(9, 10)]
    [0.596, 0.982]
    """
    if n < 1 or not 0 <= correct <= n:
        raise SettingError(f"an interval must be of 0 <= correct <= n trials, n >= 1. Got {correct} of {n}.")
    z, p = _normal_quantile(confidence), correct / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return (0.0 if correct == 0 else max(low, 0.0), 1.0 if correct == n else min(high, 1.0))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, Interval]:
    """Mean of independent runs (seeds, left-out groups) and its interval mean +- t_{n-1} s / sqrt(n) (Student, 1908).

    One value has no interval: the bounds are NaN.

    >>> mean, (low, high) = mean_interval([0.50, 0.52, 0.54])
    >>> round(mean, 3), round(low, 3), round(high, 3)
    (0.52, 0.47, 0.57)
    """
    if not values:
        raise SettingError("a mean must be of at least one value. Got none.")
    mean, n = math.fsum(values) / len(values), len(values)
    if n == 1:
        return mean, (math.nan, math.nan)
    from scipy.stats import t

    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    _normal_quantile(confidence)
    half = float(t.ppf(0.5 + confidence / 2, n - 1)) * spread / math.sqrt(n)
    return mean, (mean - half, mean + half)


def _normal_quantile(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise SettingError(f"confidence must be in (0, 1). Got {confidence}. 95 % is 0.95.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
