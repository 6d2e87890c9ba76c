"""Does a measure order runs as their accuracy does? Kendall's tau with its bootstrap interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from fullrank.errors import DataError

DRAWS = 2000
LEAST = 4
"""runs: below them every order comes by chance often enough (of 4 runs, 1 in 24)"""


@dataclass(frozen=True, kw_only=True)
class Tau:
    """A rank correlation and how sure it is."""

    value: float
    low: float
    high: float
    """95 % percentile interval over bootstrap draws"""
    num_runs: int
    num_units: int
    """what was drawn with replacement: runs, or groups of runs"""


def kendall(
    x: Float[np.ndarray, " runs"], y: Float[np.ndarray, " runs"], groups: Sequence[str] | None = None, *, seed: int = 0
) -> Tau:
    """Kendall's tau-b of two lists of numbers, and its 95 % interval.

    tau_b = (concordant - discordant) / sqrt((pairs - ties in x)(pairs - ties in y)) (Kendall, Biometrika 1945), -1 to 1; 0
    where the orders have nothing to do with each other. The interval is of 2,000 draws with replacement from a seeded
    generator: of runs, or of whole ``groups`` (methods) where runs of one group are alike, because runs of one method with
    three seeds are not three methods. A draw in which all values are tied is left out.

    >>> found = kendall(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.3, 0.2, 0.9]))
    >>> round(found.value, 6), found.num_runs
    (0.666667, 4)

    ``DataError`` below four runs, where values are not finite, or where one side has one value only.
    """
    a, b, value = _checked(x, y)
    units = [np.array([i]) for i in range(len(x))]
    if groups is not None:
        names = np.asarray(groups)
        units = [np.flatnonzero(names == name) for name in dict.fromkeys(groups)]
    rng = np.random.default_rng(seed)
    times = np.zeros((DRAWS, len(x)))  # how often each run is in each draw
    for drawn in times:
        for i, count in enumerate(np.bincount(rng.integers(0, len(units), len(units)), minlength=len(units))):
            drawn[units[i]] = count
    taus = _tau(a, b, times)
    kept = taus[np.isfinite(taus)]
    low, high = np.quantile(kept, [0.025, 0.975]) if len(kept) else (-1.0, 1.0)
    return Tau(value=value, low=float(low), high=float(high), num_runs=len(x), num_units=len(units))


def tau_b(x: Float[np.ndarray, " runs"], y: Float[np.ndarray, " runs"]) -> float:
    """The value of ``kendall`` without its interval, which is what takes time; the same ``DataError``.

    >>> round(tau_b(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, 0.3, 0.2, 0.9])), 6)
    0.666667
    """
    return _checked(x, y)[2]


Signs = NDArray[np.float64]
"""of the differences of all pairs of runs"""


def _checked(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> tuple[Signs, Signs, float]:
    """The signs of both sides, and tau-b."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(x) < LEAST:
        raise DataError(f"a rank correlation needs at least {LEAST} runs. Got {len(x)}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("a rank correlation needs finite values. Got NaN or infinity; leave out runs that diverged.")
    a, b = (np.sign(values[:, None] - values) for values in (x, y))
    value = float(_tau(a, b, np.ones((1, len(x))))[0])
    if not np.isfinite(value):
        raise DataError("a rank correlation needs runs that differ. Got one value in all of them.")
    return a, b, value


def _tau(a: Signs, b: Signs, times: Float[np.ndarray, "draws runs"]) -> Float[np.ndarray, " draws"]:
    """tau-b where each run counts so many times: pairs that are tied in one are 0 there. NaN where all are.

    The sums are of whole numbers, so it is the value of the runs written out so often.
    """

    def pairs(signs: Signs) -> NDArray[np.float64]:
        return np.asarray(((times @ signs) * times).sum(axis=1))

    ties = pairs(a * a) * pairs(b * b)
    taus = np.full(len(times), np.nan)
    np.divide(pairs(a * b), np.sqrt(ties), out=taus, where=ties > 0)
    return taus
