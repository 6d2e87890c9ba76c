"""Intervals of measures, by resampling the rows of a reservoir."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import SettingError

LEVEL = 0.95
Draw = tuple[NDArray[np.int64], NDArray[np.int64] | None]
"""(positions of the drawn rows, their groups)"""


def resamples(
    m: int, replicates: int, seed: int, *, groups: NDArray[np.int64] | None = None, different: bool = False
) -> Iterator[Draw]:
    """``replicates`` draws of m rows with replacement; with ``groups`` whole groups are drawn, each draw a group of its own.

    Rows of one record are no independent samples: without their groups an interval is about half as wide as it should be.
    ``different``: half of the rows (or groups) without replacement, for what equal rows would break. Their value varies as
    much as that of all m does: the variance is sigma^2 (1 / (m/2) - 1/m) = sigma^2 / m.
    """
    if replicates < 20:
        raise SettingError(f"a bootstrap must have at least 20 replicates. Got {replicates}; 200 is usual.")
    rng = np.random.default_rng(seed)
    members = None if groups is None else [np.flatnonzero(groups == g) for g in np.unique(groups)]
    for _ in range(replicates):
        if members is not None:
            count = len(members)
            drawn = rng.permutation(count)[: count // 2] if different else rng.integers(0, count, count)
            sizes = [len(members[g]) for g in drawn]
            yield np.concatenate([members[g] for g in drawn]), np.repeat(np.arange(len(drawn)), sizes)
        elif different:
            yield rng.permutation(m)[: m // 2], None
        else:
            yield rng.integers(0, m, m), None


def interval(value: float, replicates: NDArray[np.float64], *, m: int, n: int) -> tuple[float, float]:
    """The basic bootstrap interval (95 %) of a value from n rows, out of replicates of m of them.

    value - s (q_97.5 - mean), value - s (q_2.5 - mean), s = sqrt(m / n), mean and quantiles those of the replicates. It is
    taken about their mean and not about the value, because every measure of repeated rows is biased (a rank sees fewer
    different rows): it says what another n rows would give, not what infinitely many would. A rank goes with its n.

    >>> interval(5.0, np.linspace(0.0, 1.0, 1001), m=100, n=400)
    (4.7625, 5.2375)
    """
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(replicates, [tail, 100 - tail])
    middle, scale = float(replicates.mean()), float(np.sqrt(m / n))
    return float(value - scale * (high - middle)), float(value - scale * (low - middle))
