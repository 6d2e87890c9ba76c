"""The spectrum of features, from one pass over them: float64 sums of x and x x^T, then one eigendecomposition.

Memory is O(min(n, d)^2), whatever the other is (``moments.py``).

What the squared matrix costs: eigenvalues are exact to about max(n, d) * 2.2e-16 of the largest. Singular values are their
square roots, so only those above 1.5e-8 * sqrt(max(n, d)) of the largest can be told from rounding: half the digits of a
singular value decomposition of the features themselves. Eigenvalues under that floor are set to 0. Measured on rank 128 in
1,024 dimensions: without the floor the rounding of the other 896 raises the effective rank by 1e-4, with it the value is that
of the decomposition to 1e-11. Features that have real directions so far below the largest lose them.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fullrank.errors import ShapeError
from fullrank.spectrum.files import read_features
from fullrank.spectrum.moments import Array, Moments, as_float64, descending, need_two, unit_rows
from fullrank.spectrum.reservoir import Reservoir
from fullrank.types import Spectrum

__all__ = ["Array", "Form", "Moments", "Source", "blocks", "load_features", "spectra_of", "spectrum_of", "unit_rows"]

Form = tuple[bool, bool]
"""(centred, L2-normalised): what a spectrum is of"""
Source = Array | Tensor | str | Path
"""features: an array or tensor [n, d], a file that ``files.read_features`` reads, or the folder of a feature table"""

_BLOCK_BYTES = 1 << 25


def spectrum_of(
    x: Source,
    *,
    centred: bool = True,
    normalized: bool = False,
    block_rows: int | None = None,
    float32_blocks: bool = False,
) -> Spectrum:
    """The spectrum of features [n, d]: an array, a tensor, a file or the folder of a feature table.

    ``normalized`` divides each row by its length first. Files are read in blocks of ``block_rows`` rows (by default 32
    MiB), never whole, unless n <= d: then the n x n matrix of inner products, which has the same eigenvalues, is the
    smaller one. ``float32_blocks`` (of more rows than dimensions): twice as fast, to 1e-6 of the largest eigenvalue
    (``Moments``).

    Raises ``DataError`` where rows are not finite (it names them), where there is one row only, or where the file is
    missing or is no array; ``ShapeError`` where the array is not [n, d].

    >>> s = spectrum_of(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> s.eigenvalues.tolist(), s.bound
    ([4.5, 0.5], 2)
    """
    form = (centred, normalized)
    return spectra_of(x, [form], block_rows=block_rows, float32_blocks=float32_blocks)[form]


def spectra_of(
    x: Source,
    forms: Sequence[Form],
    *,
    block_rows: int | None = None,
    float32_blocks: bool = False,
    on_rows: Callable[[int], None] | None = None,
    reservoir: Reservoir | None = None,
    groups: NDArray[np.int64] | None = None,
) -> dict[Form, Spectrum]:
    """``spectrum_of`` in each of several forms, from one pass, that fills ``reservoir`` too (``groups``: of each row).

    ``on_rows`` is told how many rows each block had.
    """
    features = load_features(x)
    n, d = features.shape
    need_two(n)
    units = dict.fromkeys(form[1] for form in forms) if n > d else ()
    moments = {unit: Moments(d, normalized=unit, float32_blocks=float32_blocks) for unit in units}
    rows, first = np.zeros((0, d)), 0
    for block in [features] if n <= d else blocks(features, block_rows):
        rows = as_float64(block, d, first)
        if reservoir is not None:
            reservoir.update(rows, None if groups is None else groups[first : first + len(rows)])
        for each in moments.values():
            each.update(rows)
        first += len(rows)
        if on_rows:
            on_rows(len(rows))
    if n <= d:
        return _wide(rows, forms)
    return {(centred, unit): moments[unit].spectrum(centred) for centred, unit in forms}


def load_features(x: Source) -> Array:
    """[n, d]; a path is read by ``files.read_features``: arrays and tensors of most kinds, or a feature table's folder."""
    if isinstance(x, str | Path):
        x = read_features(x)
    elif isinstance(x, Tensor):
        x = x.detach().cpu().double().numpy()
    if x.ndim != 2:
        raise ShapeError(f"features must be [n, d]. Got {x.ndim} axes: {list(x.shape)}. Flatten or average the others first.")
    if x.dtype.kind not in "fiu":
        raise ShapeError(f"features must be real numbers. Got {x.dtype}.")
    if not x.shape[1]:
        raise ShapeError(f"features must have at least one dimension. Got {list(x.shape)}.")
    return x


def blocks(x: Array, block_rows: int | None = None) -> Iterator[Array]:
    """Consecutive rows of ``x`` [n, d], so many at a time (by default 32 MiB in float64)."""
    step = block_rows or max(1, min(len(x), _BLOCK_BYTES // (8 * x.shape[1])))
    for start in range(0, len(x), step):
        yield x[start : start + step]


def _wide(x: NDArray[np.float64], forms: Sequence[Form]) -> dict[Form, Spectrum]:
    """n <= d: (1/n) X X^T has the same eigenvalues as (1/n) X^T X, but for zeros."""  # noqa: D403
    spectra = {}
    for unit in dict.fromkeys(form[1] for form in forms):
        rows = unit_rows(x) if unit else x
        mean = rows.mean(axis=0)
        about = rows - mean
        variance = np.mean(about**2, axis=0)
        inner = about @ about.T
        along = about @ mean
        for centred in (form[0] for form in forms if form[1] == unit):
            matrix = inner if centred else inner + along[:, None] + along[None, :] + mean @ mean
            spectra[centred, unit] = _padded(matrix, x.shape, centred, unit, mean, variance)
    return spectra


def _padded(
    matrix: NDArray[np.float64],
    shape: tuple[int, ...],
    centred: bool,
    unit: bool,
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> Spectrum:
    n, d = shape
    values = np.zeros(d)
    values[:n] = descending(matrix / n, d, mean if centred else None)
    return Spectrum(eigenvalues=values, n=n, d=d, centred=centred, normalized=unit, mean=mean, variance=variance)
