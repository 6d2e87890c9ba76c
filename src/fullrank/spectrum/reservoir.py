"""A uniform sample of rows of stated size and seed, filled in the pass that makes the spectrum."""

import numpy as np
from numpy.typing import NDArray

from fullrank.draws import uniform
from fullrank.errors import SettingError, ShapeError

ROWS = 4096
"""rows kept by default: measures of pairs of rows cost the square of it"""


class Reservoir:
    """At most ``rows`` of the rows seen, each as likely as any other, without replacement.

    Each row draws a number from (seed, its position), and the rows with the smallest stay. So the sample is a function of
    the seed and the data alone: not of batches, nor of the order in which parts are merged. With groups (the clips of a
    video, the views of an image) the number is the group's, and only whole groups are given back. Memory: twice ``rows``.

    >>> r = Reservoir(3, seed=0)
    >>> r.update(np.arange(10.0)[:, None]); len(r.contents()[0])
    3
    """

    def __init__(self, rows: int = ROWS, seed: int = 0):
        if rows < 2:
            raise SettingError(f"a reservoir must keep at least 2 rows. Got {rows}.")
        self.rows, self.seed, self.seen = rows, seed, 0
        self._kept: NDArray[np.float64] | None = None
        self._tickets: NDArray[np.float64] = np.zeros(0)
        self._positions: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._groups: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._least_dropped = 2.0

    def update(self, x: NDArray[np.float64], groups: NDArray[np.int64] | None = None, *, first: int | None = None) -> None:
        """Add rows [n, d]; ``first``: position of the first of them in the whole, by default the rows seen so far."""
        start = self.seen if first is None else first
        positions = np.arange(start, start + len(x), dtype=np.int64)
        self.seen += len(x)
        owners = positions if groups is None else np.asarray(groups, dtype=np.int64)
        if len(owners) != len(x):
            raise ShapeError(f"groups must name the group of each row. Got {len(owners)} for {len(x)} rows.")
        tickets = uniform(self.seed, 0, owners, "reservoir", 1)[:, 0]
        near = tickets < self._least_dropped
        self._least_dropped = min(self._least_dropped, tickets[~near].min(initial=2.0))
        self._add(np.asarray(x)[near], tickets[near], positions[near], owners[near])

    def merge(self, other: "Reservoir") -> "Reservoir":
        """Add what ``other`` has kept of other rows of the same whole (its updates were told their ``first``)."""
        if (other.rows, other.seed) != (self.rows, self.seed):
            raise SettingError("reservoirs must have the same size and seed to be merged. Got different ones.")
        self.seen += other.seen
        self._least_dropped = min(self._least_dropped, other._least_dropped)
        if other._kept is not None:
            self._add(other._kept, other._tickets, other._positions, other._groups)
        return self

    def contents(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """(rows [m, d], their positions [m], their groups [m]) in order of position; m <= ``rows``, whole groups only."""
        if self._kept is None:
            raise ShapeError("a reservoir must have seen rows to give some back. Got none.")
        whole = np.flatnonzero(self._tickets < self._least_dropped)
        order = whole[np.argsort(self._positions[whole])]
        return self._kept[order], self._positions[order], self._groups[order]

    def _add(
        self,
        rows: NDArray[np.float64],
        tickets: NDArray[np.float64],
        positions: NDArray[np.int64],
        groups: NDArray[np.int64],
    ) -> None:
        kept = rows if self._kept is None else np.concatenate([self._kept, rows])
        tickets = np.concatenate([self._tickets, tickets])
        stay = np.flatnonzero(tickets < self._least_dropped)
        if len(stay) > self.rows:
            order = stay[np.argsort(tickets[stay], kind="stable")]
            self._least_dropped = float(tickets[order[self.rows]])
            stay = order[: self.rows]
        self._kept, self._tickets = kept[stay], tickets[stay]
        self._positions = np.concatenate([self._positions, positions])[stay]
        self._groups = np.concatenate([self._groups, groups])[stay]
