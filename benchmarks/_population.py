"""Features with a kind of collapse that is known because it was planted: what the diagnosis is tuned and tested on.

Each case is drawn from its seed alone: 128 to 3,000 rows of 16 to 512 dimensions (fewer rows than dimensions too), how much of
what is planted, and a scale. What lies between two kinds (an effective rank of 12 % of its bound, points that are twice as far
apart as their rows) is not planted: there is no right answer to it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
SIZES = ((3000, 64), (2000, 128), (1500, 256), (1000, 512), (600, 32), (400, 64), (300, 16), (256, 256), (200, 512), (128, 128))


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One case."""

    kind: str
    """what a right diagnosis says"""
    name: str
    """how it was made"""
    space: str
    features: Rows
    record: NDArray[np.int64] | None = None


def _isotropic(rng: np.random.Generator, n: int, d: int) -> Rows:
    return rng.normal(size=(n, d))


def _power_law(rng: np.random.Generator, n: int, d: int, low: float = 0.3, high: float = 1.0) -> Rows:
    return rng.normal(size=(n, d)) * np.arange(1, d + 1) ** (-rng.uniform(low, high) / 2) @ _turn(rng, d)


def _turn(rng: np.random.Generator, d: int) -> Rows:
    return np.linalg.qr(rng.normal(size=(d, d)))[0]


def _spread(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Healthy rows of unit variance."""
    x = _isotropic(rng, n, d) if rng.uniform() < 0.5 else _power_law(rng, n, d)
    return x / x.std()


def _heavy(rng: np.random.Generator, n: int, d: int) -> Rows:
    return rng.standard_t(4.0, size=(n, d))


def _soft_classes(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Classes that differ about as much as their rows do: what a good encoder gives."""
    return rng.normal(size=(10, d))[rng.integers(0, 10, n)] * rng.uniform(0.3, 1.0) + _spread(rng, n, d)


def _relu(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Non-negative, with a common direction, as backbones give."""
    return np.maximum(_spread(rng, n, d) + rng.uniform(0.0, 1.0), 0.0)


def _low_rank(rng: np.random.Generator, n: int, d: int) -> Rows:
    r = max(1, int(rng.uniform(0.005, 0.06) * min(n, d)))
    signal = rng.normal(size=(n, r)) @ rng.normal(size=(r, d)) / np.sqrt(r)
    return signal + 10.0 ** rng.uniform(-6, -3) * rng.normal(size=(n, d))


def _rank_one(rng: np.random.Generator, n: int, d: int) -> Rows:
    offset = rng.uniform(0.0, 1.0) * rng.normal(size=d)
    return rng.normal(size=(n, 1)) @ rng.normal(size=(1, d)) + offset + 1e-5 * rng.normal(size=(n, d))


def _dead_directions(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Up to half of the directions are used, evenly."""
    r = max(2, int(rng.uniform(0.15, 0.45) * min(n, d)))
    return rng.normal(size=(n, r)) @ _turn(rng, d)[:r] + 1e-7 * rng.normal(size=(n, d))


def _noisy_directions(rng: np.random.Generator, n: int, d: int) -> Rows:
    """Up to half of the directions are used, evenly, beside noise that raises the effective rank."""
    r = max(2, int(rng.uniform(0.1, 0.45) * min(n, d)))
    return rng.normal(size=(n, r)) @ _turn(rng, d)[:r] + 10.0 ** rng.uniform(-4, -1.5) * rng.normal(size=(n, d))


def _points(rng: np.random.Generator, n: int, d: int) -> Rows:
    """K points, the rows at one at most a quarter as far apart as they."""
    k = int(rng.integers(2, max(3, min(40, n // 24))))
    points = rng.normal(size=(k, d))
    return points[rng.integers(0, k, n)] + 10.0 ** rng.uniform(-3, np.log10(0.15)) * rng.normal(size=(n, d))


def _one_hot(rng: np.random.Generator, n: int, d: int) -> Rows:
    """A softmax that is nearly sure, over few of its places."""
    k = int(rng.integers(3, min(12, d)))
    return np.eye(d)[rng.permutation(d)[:k]][rng.integers(0, k, n)] + 0.02 * np.abs(rng.normal(size=(n, d))) / np.sqrt(d)


def _shifted(rng: np.random.Generator, n: int, d: int) -> Rows:
    cosine = rng.uniform(0.85, 0.96)
    direction = rng.normal(size=d)
    return _isotropic(rng, n, d) + direction / np.linalg.norm(direction) * np.sqrt(d * cosine / (1 - cosine))


def _constant(rng: np.random.Generator, n: int, d: int) -> Rows:
    """One row and noise of full rank, which would be healthy without it."""
    return rng.normal(size=d) + 10.0 ** rng.uniform(-5, -1.1) * _spread(rng, n, d)


def _nearly_constant_relu(rng: np.random.Generator, n: int, d: int) -> Rows:
    return np.abs(rng.normal(size=d)) + 0.1 + 10.0 ** rng.uniform(-5, -2) * _spread(rng, n, d)


def _clips(rng: np.random.Generator, n: int, d: int, residual: Rows) -> tuple[Rows, NDArray[np.int64]]:
    """Healthy videos of four clips each, with a residual [n, d] of unit variance scaled beside them."""
    record = np.repeat(np.arange(n // 4), 4)
    return _spread(rng, n // 4, d)[record] + residual[: len(record)], record


def _still(rng: np.random.Generator, n: int, d: int) -> tuple[Rows, NDArray[np.int64]]:
    """The clips of a video are nearly one."""
    return _clips(rng, n, d, 10.0 ** rng.uniform(-3, -1.7) * rng.normal(size=(n, d)))


def _one_motion(rng: np.random.Generator, n: int, d: int) -> tuple[Rows, NDArray[np.int64]]:
    """The clips of a video differ in one or two directions."""
    r = int(rng.integers(1, 3))
    return _clips(rng, n, d, rng.uniform(0.3, 1.0) * rng.normal(size=(n, r)) @ _turn(rng, d)[:r] * np.sqrt(d / r))


def _moving(rng: np.random.Generator, n: int, d: int) -> tuple[Rows, NDArray[np.int64]]:
    """Healthy: clips differ in many directions."""
    return _clips(rng, n, d, rng.uniform(0.2, 0.8) * rng.normal(size=(n, d)))


PLAIN: tuple[tuple[str, str, str, Callable[[np.random.Generator, int, int], Rows]], ...] = (
    ("healthy", "isotropic", "embedding", _isotropic),
    ("healthy", "power law", "embedding", _power_law),
    ("healthy", "heavy tails", "embedding", _heavy),
    ("healthy", "soft classes", "embedding", _soft_classes),
    ("healthy", "ReLU", "representation", _relu),
    ("dimensional", "low rank", "embedding", _low_rank),
    ("dimensional", "rank one", "embedding", _rank_one),
    ("dimensional", "noisy directions", "embedding", _noisy_directions),
    ("dimensional", "dead directions", "representation", _dead_directions),
    ("cluster", "points", "embedding", _points),
    ("cluster", "one-hot", "embedding", _one_hot),
    ("mean_shift", "shifted", "embedding", _shifted),
    ("mean_shift", "shifted", "representation", _shifted),
    ("complete", "constant and noise", "embedding", _constant),
    ("complete", "constant ReLU", "representation", _nearly_constant_relu),
)
IN_TIME = (
    ("temporal", "still clips", "representation", _still),
    ("temporal", "one motion", "representation", _one_motion),
    ("healthy", "moving clips", "representation", _moving),
)
SMALLEST_IN_TIME = 400
"""rows, so that there are a hundred videos"""


def population(seed: int) -> Iterator[Planted]:
    """Every maker at every size, from one seed."""
    for row, (kind, name, space, make) in enumerate(PLAIN):
        for size, (n, d) in enumerate(SIZES):
            rng = np.random.default_rng([seed, row, size])
            yield Planted(kind=kind, name=name, space=space, features=_scaled(rng, make(rng, n, d)))
    for row, (kind, name, space, make_clips) in enumerate(IN_TIME):
        for size, (n, d) in enumerate(SIZES):
            if n >= SMALLEST_IN_TIME:
                rng = np.random.default_rng([seed, 100 + row, size])
                x, record = make_clips(rng, n, d)
                yield Planted(kind=kind, name=name, space=space, features=_scaled(rng, x), record=record)


SWEPT_N, SWEPT_D = 800, 128
SWEEPS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "rank": ("share of directions that are used, evenly, beside noise of 1 %", "embedding", (0.02, 0.05, 0.1, 0.2, 0.5, 0.7)),
    "power": ("exponent a of eigenvalues 1 / i^a", "embedding", (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)),
    "points": ("noise at 10 points, as a share of what lies between them", "embedding", (0.05, 0.1, 0.2, 0.25, 0.3, 0.5)),
    "shift": ("mean cosine of a shifted embedding", "embedding", (0.5, 0.75, 0.8, 0.85, 0.97, 0.98, 0.99)),
    "clips": ("std within videos / between them", "representation", (0.02, 0.05, 0.07, 0.1, 0.2)),
}
"""{name: (in words, space, amounts)}: from one kind to another, through where there is no right answer"""


def swept(name: str, amount: float, draw: int) -> tuple[Rows, NDArray[np.int64] | None]:
    """One draw of a sweep: features and, for clips, their records."""
    rng = np.random.default_rng([draw, list(SWEEPS).index(name), round(1000 * amount)])
    n, d = SWEPT_N, SWEPT_D
    if name == "rank":
        r = max(1, round(amount * d))
        return rng.normal(size=(n, r)) @ _turn(rng, d)[:r] + 0.01 * np.sqrt(r / d) * rng.normal(size=(n, d)), None
    if name == "power":
        return _power_law(rng, n, d, amount, amount), None
    if name == "points":
        return rng.normal(size=(10, d))[rng.integers(0, 10, n)] + amount * rng.normal(size=(n, d)), None
    if name == "shift":
        direction = rng.normal(size=d)
        return _isotropic(rng, n, d) + direction / np.linalg.norm(direction) * np.sqrt(d * amount / (1 - amount)), None
    return _clips(rng, n, d, amount * rng.normal(size=(n, d)))


def _scaled(rng: np.random.Generator, x: Rows) -> Rows:
    """No verdict without a healthy std may depend on the scale."""
    return x * 10.0 ** rng.uniform(-2, 2)
