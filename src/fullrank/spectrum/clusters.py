"""Do rows sit at a few points? From the lengths of the links that join all of them, because a spectrum cannot tell.

K points far apart have a rank of K - 1 and look like few directions; more points than dimensions have a full spectrum. Links
tell both from rows that are spread, whose links grow in length without a gap: those between points are far longer than those
within one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import ShapeError
from fullrank.spectrum.moments import Array, unit_rows

ROWS = 512
"""that are looked at, drawn once; more would cost the square"""
ROWS_A_POINT = 8
"""on average, at least: with fewer, near duplicates would be points"""
MIN_ROWS = 2 * ROWS_A_POINT
SHARE = 0.9
"""of the rows must sit at points for a gap to be one between points"""
_CANDIDATES = 8
"""gaps that are looked at, the widest first"""
_BLOCK = 4096
"""rows that are compared at a time"""
_FLOOR = 1e-6
"""of the longest link: shorter ones are rounding"""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Where rows sit."""

    points: int
    """K, how many; 1 where there is no gap, or all rows are equal"""
    gap: float
    """the shortest link between points / the longest within one; 1 where there are no points. At most 1e6"""
    share: float
    """of the rows that sit at points: groups of three rows and a 128th of all, at least"""


def clusters(x: Array, *, rows: int = ROWS, seed: int = 0) -> Clusters:
    """The widest gap in the lengths of the minimum spanning tree of the unit rows of ``x`` [n, d].

    The tree of single linkage (Gower and Ross, 1969): its K - 1 longest links removed, K groups remain. K goes up to one in
    eight rows, so that records seen twice are no points; at most ``rows`` rows are looked at, drawn by ``seed``, so K is at
    most 64 of 512. Scale,
    rotation and order change nothing (but for the draw); a common direction hides nothing, since lengths are compared with
    lengths. Isotropic rows have a gap near 1, as have rows on a line; points that differ three times as much as their rows have
    about 2. Below 16 rows nothing can be said: one point.

    >>> found = clusters(np.repeat(np.eye(3), 8, axis=0) + 1e-3 * np.arange(24)[:, None])
    >>> found.points, found.share, found.gap > 10
    (3, 1.0, True)
    >>> clusters(np.random.default_rng(0).normal(size=(200, 20))).gap < 1.5
    True
    """
    if x.ndim != 2:
        raise ShapeError(f"features must be [n, d]. Got {x.ndim} axes: {list(x.shape)}.")
    if len(x) > rows:
        x = x[np.sort(np.random.default_rng(seed).permutation(len(x))[:rows])]
    rows_as_they_are = np.asarray(x, dtype=np.float64)
    found = _of(unit_rows(rows_as_they_are))
    if found.points == 2:  # opposite directions: two points, or a line through the origin
        found = min(found, _of(rows_as_they_are), key=lambda each: each.gap)
    return found


def _of(x: NDArray[np.float64]) -> Clusters:
    n, nothing = len(x), Clusters(points=1, gap=1.0, share=0.0)
    if n < MIN_ROWS:
        return nothing
    lengths, pairs = _tree(x)
    order = np.argsort(-lengths, kind="stable")
    lengths, pairs = lengths[order], pairs[order]
    if lengths[0] <= 0.0:
        return nothing
    lengths = np.maximum(lengths, _FLOOR * lengths[0])
    gaps = lengths[: n // ROWS_A_POINT - 1] / lengths[1 : n // ROWS_A_POINT]
    for cut in np.argsort(-gaps, kind="stable")[:_CANDIDATES]:
        sizes = np.bincount(_groups(n, pairs[cut + 1 :]))
        large = sizes[sizes >= max(3, n // 128)]
        if len(large) > 1 and large.sum() >= SHARE * n:
            return Clusters(points=len(large), gap=float(gaps[cut]), share=float(large.sum() / n))
    return nothing


def repeated(x: Array) -> Clusters | None:
    """All rows of [n, d] are exactly one of K, with K from 2 to n / 8: K points, however many; else None.

    ``clusters`` looks at 512 rows, in which it can see 64 points at most.

    >>> repeated(np.repeat(np.eye(100), 20, axis=0))
    Clusters(points=100, gap=1000000.0, share=1.0)
    >>> repeated(np.repeat(np.eye(100), 2, axis=0)) is None
    True
    """
    most, seen = len(x) // ROWS_A_POINT, set[int]()
    for start in range(0, len(x), _BLOCK):
        seen.update(hash(row.tobytes()) for row in np.ascontiguousarray(x[start : start + _BLOCK]))
        if len(seen) > most:
            return None
    return Clusters(points=len(seen), gap=1 / _FLOOR, share=1.0) if len(seen) > 1 else None


def cluster_measures(x: Array, record: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """{"clusters", "cluster_gap", "clustered_ratio"} of rows [n, d]; of the first row of each ``record`` where it is given."""
    if record is not None:
        x = x[np.sort(np.unique(record, return_index=True)[1])]
    found = repeated(x) or clusters(x)
    return {"clusters": found.points, "cluster_gap": found.gap, "clustered_ratio": found.share}


def _tree(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Minimum spanning tree of the rows (Prim, 1957): lengths [n - 1], and which rows they join [n - 1, 2]."""
    n = len(x)
    x = x - x.mean(axis=0)  # rows that share a direction keep their digits
    squares = np.einsum("nd,nd->n", x, x)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2.0 * (x @ x.T), 0.0)
    near, parent = apart[0].copy(), np.zeros(n, dtype=np.int64)
    near[0] = np.inf
    lengths, pairs = np.empty(n - 1), np.empty((n - 1, 2), dtype=np.int64)
    inside = np.zeros(n, dtype=bool)
    inside[0] = True
    for i in range(n - 1):
        new = int(np.argmin(near))
        lengths[i], pairs[i] = near[new], (parent[new], new)
        inside[new] = True
        closer = (apart[new] < near) & ~inside
        parent[closer] = new
        near = np.where(inside, np.inf, np.minimum(near, apart[new]))
    return np.sqrt(lengths), pairs


def _groups(n: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n]: the number of the group of each row, joined by ``pairs``."""
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs.tolist():
        parent[root(a)] = root(b)
    return np.array([root(i) for i in range(n)], dtype=np.int64)
