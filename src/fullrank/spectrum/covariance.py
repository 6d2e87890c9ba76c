"""The spectrum of features, from one pass over them: float64 sums of x and x x^T, then one eigendecomposition.

Memory is O(min(n, d)^2), whatever the other is. Sums are taken about the mean of the first batch, so that a large common
mean costs no digits. numpy's ``x.T @ x`` is a symmetric rank-k product (half the work of a general one; torch's is not).

What the squared matrix costs: eigenvalues are exact to about max(n, d) * 2.2e-16 of the largest. Singular values are their
square roots, so only those above 1.5e-8 * sqrt(max(n, d)) of the largest can be told from rounding: half the digits of a
singular value decomposition of the features themselves. Eigenvalues under that floor are set to 0. Measured on rank 128 in
1,024 dimensions: without the floor the rounding of the other 896 raises the effective rank by 1e-4, with it the value is that
of the decomposition to 1e-11. Features that have real directions so far below the largest lose them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fullrank.errors import DataError, ShapeError
from fullrank.spectrum.files import read_features
from fullrank.types import Spectrum

Array = NDArray[np.generic]
"""[n, d] of numbers: float16, float32, float64 or integers; in memory or memory-mapped"""

_BLOCK_BYTES = 1 << 25
_TINY = 1e-12
"""rows with a smaller norm stay (nearly) zero when normalised, as in torch.nn.functional.normalize"""


class Moments:
    """Streaming first and second moments of rows of width ``d``; mergeable across batches, files and processes.

    The result does not depend on how rows are cut into batches, up to rounding (1e-10 of the two-pass result).

    >>> m = Moments(2)
    >>> m.update(np.array([[1.0, 0.0], [-1.0, 0.0]])); m.update(np.array([[0.0, 2.0], [0.0, -2.0]]))
    >>> m.spectrum().eigenvalues.tolist()
    [2.0, 0.5]
    """

    def __init__(self, d: int, *, normalized: bool = False):
        if d < 1:
            raise ShapeError(f"features must have at least one dimension. Got d = {d}.")
        self.d, self.n, self.normalized = d, 0, normalized
        self._shift: NDArray[np.float64] = np.zeros(d)
        self._sum: NDArray[np.float64] = np.zeros(d)
        self._outer: NDArray[np.float64] = np.zeros((d, d))

    def update(self, x: Array | Tensor) -> None:
        """Add rows [n, d]; ``DataError`` names the rows that are not finite (counted over all updates)."""
        rows = _float64(x, self.d, self.n)
        if len(rows) == 0:
            return
        if self.normalized:
            rows = unit_rows(rows)
        if self.n == 0:
            self._shift = rows.mean(axis=0)
        rows = rows - self._shift
        self._sum += rows.sum(axis=0)
        self._outer += rows.T @ rows
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
        delta = other._shift - self._shift
        cross = np.outer(other._sum, delta)
        self._outer += other._outer + cross + cross.T + other.n * np.outer(delta, delta)
        self._sum += other._sum + other.n * delta
        self.n += other.n
        return self

    @property
    def mean(self) -> NDArray[np.float64]:
        """[d]: mean of the rows seen."""
        return self._shift + self._sum / max(self.n, 1)

    def covariance(self) -> NDArray[np.float64]:
        """[d, d]: (1/n) sum (x - mean)(x - mean)^T."""
        _need_two(self.n)
        about = self._sum / self.n
        return self._outer / self.n - np.outer(about, about)

    def spectrum(self, centred: bool = True) -> Spectrum:
        """Eigenvalues of the covariance, or of the second moment (1/n) sum x x^T where not ``centred``."""
        matrix = self.covariance()
        variance = np.clip(np.diagonal(matrix).copy(), 0.0, None)
        if not centred:
            matrix += np.outer(self.mean, self.mean)
        values = _descending(matrix, self.n, self.mean if centred else None)
        return Spectrum(
            eigenvalues=values,
            n=self.n,
            d=self.d,
            centred=centred,
            normalized=self.normalized,
            mean=self.mean,
            variance=variance,
        )


def spectrum_of(
    x: Array | Tensor | str | Path, *, centred: bool = True, normalized: bool = False, block_rows: int | None = None
) -> Spectrum:
    """The spectrum of features [n, d]: an array, a tensor, a .npy file or the folder of a feature table.

    ``normalized`` divides each row by its length first. Files are read in blocks of ``block_rows`` rows (by default 32
    MiB), never whole, unless n <= d: then the n x n matrix of inner products, which has the same eigenvalues, is the
    smaller one.

    Raises ``DataError`` where rows are not finite (it names them), where there is one row only, or where the file is
    missing or is no array; ``ShapeError`` where the array is not [n, d].

    >>> s = spectrum_of(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> s.eigenvalues.tolist(), s.bound
    ([4.5, 0.5], 2)
    """
    return spectra_of(x, (centred,), normalized=normalized, block_rows=block_rows)[0]


def spectra_of(
    x: Array | Tensor | str | Path,
    centred: tuple[bool, ...],
    *,
    normalized: bool = False,
    block_rows: int | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> list[Spectrum]:
    """``spectrum_of`` for each entry of ``centred``, from one pass; ``on_rows`` is told how many rows each block had."""
    features = load_features(x)
    n, d = features.shape
    _need_two(n)
    if n <= d:
        rows = _float64(features, d)
        if on_rows:
            on_rows(n)
        return _wide(unit_rows(rows) if normalized else rows, centred, normalized)
    moments = Moments(d, normalized=normalized)
    for block in blocks(features, block_rows):
        moments.update(block)
        if on_rows:
            on_rows(len(block))
    return [moments.spectrum(each) for each in centred]


def load_features(x: Array | Tensor | str | Path) -> Array:
    """[n, d]; a path is read by ``files.read_features``: arrays and tensors of most kinds, or a feature table's folder."""
    if isinstance(x, str | Path):
        x = read_features(x)
    elif isinstance(x, Tensor):
        x = x.detach().cpu().double().numpy()
    if x.ndim != 2:
        raise ShapeError(f"features must be [n, d]. Got {x.ndim} axes: {list(x.shape)}. Flatten or average the others first.")
    if x.dtype.kind not in "fiu":
        raise ShapeError(f"features must be real numbers. Got {x.dtype}.")
    return x


def blocks(x: Array, block_rows: int | None = None) -> Iterator[Array]:
    """Consecutive rows of ``x`` [n, d], so many at a time (by default 32 MiB in float64)."""
    step = block_rows or max(1, min(len(x), _BLOCK_BYTES // (8 * x.shape[1])))
    for start in range(0, len(x), step):
        yield x[start : start + step]


def unit_rows(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row of [n, d] divided by its length; a row of zeros stays zero."""
    length = np.sqrt(np.einsum("nd,nd->n", x, x))
    unit: NDArray[np.float64] = x / np.maximum(length, _TINY)[:, None]
    return unit


def _wide(x: NDArray[np.float64], centred: tuple[bool, ...], normalized: bool) -> list[Spectrum]:
    """N <= d: (1/n) X X^T has the same eigenvalues as (1/n) X^T X, but for zeros."""
    n, d = x.shape
    mean = x.mean(axis=0)
    about = x - mean
    variance = np.mean(about**2, axis=0)
    inner = about @ about.T
    along = about @ mean
    spectra = []
    for each in centred:
        matrix = inner if each else inner + along[:, None] + along[None, :] + mean @ mean
        values = np.zeros(d)
        values[:n] = _descending(matrix / n, d, mean if each else None)
        spectra.append(
            Spectrum(eigenvalues=values, n=n, d=d, centred=each, normalized=normalized, mean=mean, variance=variance)
        )
    return spectra


def _descending(matrix: NDArray[np.float64], other: int, mean: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Eigenvalues, largest first; what rounding alone can make is 0.

    ``other`` is the length that was summed over. Two floors: that of the product and the solver,
    max(n, d) eps lambda_1; and, where a mean was taken off, that of rows which are exact to a few eps of it: without the
    second, equal rows would have a rank.
    """
    values = np.linalg.eigvalsh(matrix)[::-1]
    eps = float(np.finfo(np.float64).eps)
    floor = max(other, len(matrix)) * eps * max(float(values[0]), 0.0)
    if mean is not None:
        floor = max(floor, (4.0 * eps) ** 2 * float(mean @ mean))
    return np.where(values > floor, values, 0.0)


def _float64(x: Array | Tensor, d: int, first_row: int = 0) -> NDArray[np.float64]:
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


def _need_two(n: int) -> None:
    if n < 2:
        raise DataError(f"a spectrum needs at least 2 rows of features. Got {n}.")
