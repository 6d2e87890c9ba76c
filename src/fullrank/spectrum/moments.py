"""Sums of x and x x^T over rows, from one pass; mergeable across batches, files, processes and machines.

Memory is O(d^2), whatever n. Sums are float64 and taken about the mean of the first batch, so that a large common mean costs
no digits. numpy's ``x.T @ x`` is a symmetric rank-k product (half the work of a general one; torch's is not).
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank import distributed
from fullrank.errors import DataError, ShapeError
from fullrank.types import Spectrum

Array = NDArray[np.generic]
"""[n, d] of numbers: float16, float32, float64 or integers; in memory or memory-mapped"""

_SMALL = 1e-140
"""a row that is shorter, or longer than its inverse, is divided by its largest entry before it is squared"""
_FLOAT32_FLOOR = 1e-6
"""of the largest eigenvalue: smaller ones of products in float32 are rounding"""
_BLOCK = 1024
"""rows of a d x d matrix that are changed at a time, so that no second matrix is made"""


class Moments:
    """Streaming first and second moments of rows of width ``d``.

    The result does not depend on how rows are cut into batches, up to rounding (1e-10 of the two-pass result).

    ``float32_blocks``: each batch's x^T x is multiplied in float32 and added up in float64, in about half the time. Each
    eigenvalue is then off by at most about 1e-6 of the largest, so a singular value below 1e-3 of the largest says nothing,
    and what float32 alone can make is set to 0.

    >>> m = Moments(2)
    >>> m.update(np.array([[1.0, 0.0], [-1.0, 0.0]])); m.update(np.array([[0.0, 2.0], [0.0, -2.0]]))
    >>> m.spectrum().eigenvalues.tolist()
    [2.0, 0.5]
    """

    def __init__(self, d: int, *, normalized: bool = False, float32_blocks: bool = False):
        if d < 1:
            raise ShapeError(f"features must have at least one dimension. Got d = {d}.")
        self.d, self.n, self.normalized, self.float32_blocks = d, 0, normalized, float32_blocks
        self._shift: NDArray[np.float64] = np.zeros(d)
        self._sum: NDArray[np.float64] = np.zeros(d)
        self._outer: NDArray[np.float64] = np.zeros((d, d))

    def update(self, x: Array | Tensor) -> None:
        """Add rows [n, d]; ``DataError`` names the rows that are not finite (counted over all updates)."""
        rows = as_float64(x, self.d, self.n)
        if len(rows) == 0:
            return
        if self.normalized:
            rows = unit_rows(rows)
        if self.n == 0:
            self._shift = rows.mean(axis=0)
        rows = rows - self._shift
        self._sum += rows.sum(axis=0)
        block = rows.astype(np.float32) if self.float32_blocks else rows
        self._outer += block.T @ block
        self.n += len(rows)

    def merge(self, other: "Moments") -> Self:
        """Add the rows that ``other`` has seen; ``other`` is left as it is."""
        if (other.d, other.normalized) != (self.d, self.normalized):
            raise ShapeError(
                f"moments must have the same width and normalisation to be merged. Got {self.d} and {other.d} dimensions, "
                f"normalised: {self.normalized} and {other.normalized}."
            )
        if other.n == 0:
            return self
        if self.n == 0:
            self._shift = other._shift.copy()
        total, outer = other._about(self._shift)
        self._sum += total
        self._outer += outer
        self.n += other.n
        return self

    def over_processes(self, device: torch.device | str = "cpu") -> "Moments":
        """What all processes have seen together, the same on each; every process must call it, also one without rows.

        Three all-reduces of float64, of d x d numbers at most, on ``device`` (a GPU where the processes talk over NCCL).
        """
        if distributed.world_size() == 1:
            return self
        summed = _Summed(device)
        n = round(float(summed(np.array([float(self.n)]))[0]))
        whole = Moments(self.d, normalized=self.normalized)
        # About one common point, or the sums of different processes could not be added.
        whole._shift = summed(self.n * self.mean) / max(n, 1)
        total, outer = self._about(whole._shift)
        whole._sum, whole._outer, whole.n = summed(total), summed(outer), n
        return whole

    def _about(self, point: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Sums of x - point and of (x - point)(x - point)^T."""
        delta = self._shift - point
        cross = np.outer(self._sum, delta)
        return self._sum + self.n * delta, self._outer + cross + cross.T + self.n * np.outer(delta, delta)

    def save(self, path: str | Path) -> None:
        """Into an .npz file, to be merged on another machine."""
        said = {"n": np.int64(self.n), "normalized": np.bool_(self.normalized)}
        np.savez(path, allow_pickle=False, shift=self._shift, sum=self._sum, outer=self._outer, **said)

    @classmethod
    def load(cls, path: str | Path) -> "Moments":
        """What ``save`` wrote; ``DataError`` where it is another file."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                parts = {name: archive[name] for name in ("n", "normalized", "shift", "sum", "outer")}
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} must be a file that Moments.save wrote. Got something else ({error}).") from None
        moments = cls(len(parts["shift"]), normalized=bool(parts["normalized"]))
        moments.n, moments._shift = int(parts["n"]), parts["shift"]
        moments._sum, moments._outer = parts["sum"], parts["outer"]
        return moments

    @property
    def mean(self) -> NDArray[np.float64]:
        """[d]: mean of the rows seen."""
        return self._shift + self._sum / max(self.n, 1)

    def covariance(self) -> NDArray[np.float64]:
        """[d, d]: (1/n) sum (x - mean)(x - mean)^T."""
        need_two(self.n)
        matrix = self._outer / self.n
        _add_outer(matrix, self._sum / self.n, -1.0)
        return matrix

    def spectrum(self, centred: bool = True) -> Spectrum:
        """Eigenvalues of the covariance, or of the second moment (1/n) sum x x^T where not ``centred``."""
        matrix = self.covariance()
        variance = np.clip(np.diagonal(matrix).copy(), 0.0, None)
        if not centred:
            _add_outer(matrix, self.mean, 1.0)
        values = descending(matrix, self.n, self.mean if centred else None)
        if self.float32_blocks:
            values = np.where(values > _FLOAT32_FLOOR * values[0], values, 0.0)
        return Spectrum(
            eigenvalues=values,
            n=self.n,
            d=self.d,
            centred=centred,
            normalized=self.normalized,
            mean=self.mean,
            variance=variance,
        )


class _Summed:
    """Sum over processes."""

    def __init__(self, device: torch.device | str):
        self.device = device

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        total = distributed.mean(torch.from_numpy(x).to(self.device)) * distributed.world_size()
        return np.asarray(total.cpu().numpy(), dtype=np.float64)


def _add_outer(matrix: NDArray[np.float64], vector: NDArray[np.float64], factor: float) -> None:
    for start in range(0, len(matrix), _BLOCK):
        matrix[start : start + _BLOCK] += (factor * vector[start : start + _BLOCK, None]) * vector


def descending(matrix: NDArray[np.float64], other: int, mean: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Eigenvalues, largest first; what rounding alone can make is 0.

    ``other`` is the length that was summed over. Two floors: that of the product and the solver,
    max(n, d) eps lambda_1; and, where a mean was taken off, that of rows which are exact to a few eps of it: without the
    second, equal rows would have a rank.
    """
    if not np.isfinite(np.trace(matrix)):
        raise DataError(
            "features must be small enough to be squared in float64. Got larger ones; divide them by their largest."
        )
    values = np.linalg.eigvalsh(matrix)[::-1]
    eps = float(np.finfo(np.float64).eps)
    floor = max(other, len(matrix)) * eps * max(float(values[0]), 0.0)
    if mean is not None:
        floor = max(floor, (4.0 * eps) ** 2 * float(mean @ mean))
    return np.where(values > floor, values, 0.0)


def unit_rows(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row of [n, d] divided by its length; a row of zeros stays zero."""
    length = np.sqrt(np.einsum("nd,nd->n", x, x))
    if not ((length > _SMALL) & (length < 1 / _SMALL)).all():  # squares of such entries are no numbers any more
        largest = np.abs(x).max(axis=1, keepdims=True, initial=0.0)
        x = x / np.where(largest > 0.0, largest, 1.0)
        length = np.sqrt(np.einsum("nd,nd->n", x, x))
        length[length == 0.0] = 1.0
    unit: NDArray[np.float64] = x / length[:, None]
    return unit


def as_float64(x: Array | Tensor, d: int, first_row: int = 0) -> NDArray[np.float64]:
    """[n, d] in float64; ``DataError`` names the rows that are not finite, counted from ``first_row``."""
    if isinstance(x, Tensor):
        x = x.detach().cpu().double().numpy()
    if x.ndim != 2 or x.shape[1] != d:
        raise ShapeError(f"features must be [n, {d}]. Got {list(x.shape)}.")
    rows = np.ascontiguousarray(x, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        total = rows.sum()
    if not np.isfinite(total):
        bad = np.flatnonzero(~np.isfinite(rows).all(axis=1)) + first_row
        if len(bad):
            named = ", ".join(str(i) for i in bad[:5]) + (", ..." if len(bad) > 5 else "")
            raise DataError(
                f"features must be finite. Got NaN or infinity in {len(bad)} row{'s' * (len(bad) > 1)}: {named} "
                "(counted from 0). Remove these rows, or look at what made them."
            )
    return rows


def need_two(n: int) -> None:
    """``DataError`` below two rows."""
    if n < 2:
        raise DataError(f"a spectrum needs at least 2 rows of features. Got {n}.")
