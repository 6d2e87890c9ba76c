"""Measures that need the rows themselves: of a reservoir of them, in float64."""

from math import inf, log

import numpy as np
import torch
from numpy.typing import NDArray

from fullrank.errors import DataError
from fullrank.objectives.gaussianity import epps_pulley
from fullrank.spectrum.moments import unit_rows

Rows = NDArray[np.float64]
"""[n, d]"""

_BLOCK = 512
"""rows whose distances to all others are held at a time"""


def coherence(x: Rows) -> float:
    """max_i ||u_i||^2 n / r: how much one row owns of the directions, u_i the rows of the left singular vectors of rank r.

    Tsitsulin, Munkhoeva and Perozzi (2023, arXiv 2305.16562), from compressed sensing. Of features as they are, not centred;
    r counts the singular values above the rounding of their squares, where they take min(n, d). Range 1 (all rows alike) to
    n / r (a direction that one row has alone); n <= d rows of full rank give 1 whatever they are; all rows zero gives 0. At a
    complete collapse 1 too: it tells outliers, not collapse. Invariant to any invertible map of the dimensions, and to order.

    >>> round(coherence(np.array([[1.0, 0], [1, 0], [1, 0], [0, 2]])), 6)  # the last row has a direction alone
    2.0
    """
    values, vectors = np.linalg.eigh(x.T @ x if x.shape[1] <= len(x) else x @ x.T)
    used = values > max(x.shape) * np.finfo(np.float64).eps * max(float(values[-1]), 0.0)
    rank = int(used.sum())
    if not rank:
        return 0.0
    left: Rows = vectors[:, used] if x.shape[1] > len(x) else x @ (vectors[:, used] / np.sqrt(values[used]))
    return float(np.max(np.einsum("nr,nr->n", left, left))) * len(x) / rank


def uniformity(x: Rows, *, t: float = 2.0) -> float:
    """Log of the mean over pairs of different rows of exp(-t ||u_i - u_j||^2), u the unit rows.

    Wang and Isola (ICML 2020, arXiv 2005.10242), t = 2. Uncentred, normalised. Range from about -2t = -4 (evenly spread in many
    dimensions; healthy) to 0 (all directions equal, or all rows zero; complete collapse). Invariant to rotation, order, and
    the scale of each row.

    >>> round(uniformity(np.array([[1.0, 0], [-1, 0]])), 6)  # distance 2
    -8.0
    """
    unit = unit_rows(x)
    lengths = np.einsum("nd,nd->n", unit, unit)  # 1, but of a row of zeros, which has no direction
    n, total = len(unit), 0.0
    for start in range(0, n, _BLOCK):
        cosine = unit[start : start + _BLOCK] @ unit.T
        squares = np.clip(lengths[start : start + _BLOCK, None] + lengths - 2.0 * cosine, 0.0, None)
        squares[np.arange(len(squares)), start + np.arange(len(squares))] = inf  # not a pair
        total += float(np.exp(-t * squares).sum())
    return log(total / (n * (n - 1)))


def two_nn(x: Rows) -> float:
    """Intrinsic dimension by the two nearest neighbours: [(1/n) sum_i log(r_i2 / r_i1)]^(-1).

    Facco, d'Errico, Rodriguez and Laio (Scientific Reports 2017): the maximum-likelihood form, of all distances (the authors'
    figure fits the lower 90 % instead). Equal rows count once. Of features as they are. Range (0, inf): about the number of
    dimensions that rows fill locally, too low above some ten of them for any n at hand; fewer than three different rows
    have dimension 0. No bound tells health: read it beside the width. Invariant to rotation, shift, scale and order.

    Raises ``DataError`` where all rows have their two nearest neighbours equally far (a lattice).

    >>> round(two_nn(np.array([[0.0], [1.0], [3.0]])), 4)  # ratios 3, 2, 3/2: 3 / log 9
    1.3654
    """
    rows = np.unique(x, axis=0)
    if len(rows) < 3:
        return 0.0
    rows = rows - rows.mean(axis=0)
    squares = np.einsum("nd,nd->n", rows, rows)
    total = 0.0
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        distance = squares[start : start + _BLOCK, None] + squares - 2.0 * (block @ rows.T)
        distance[np.arange(len(block)), start + np.arange(len(block))] = inf
        nearest = np.argpartition(distance, 1, axis=1)[:, :2]
        # From the differences: the expanded squares lose half the digits of a small distance.
        two = np.sort([np.linalg.norm(block - rows[nearest[:, k]], axis=1) for k in (0, 1)], axis=0)
        total += float(np.log(two[1] / two[0]).sum())
    if not total > 0:
        raise DataError("TwoNN must have rows whose two nearest neighbours differ in distance. Got a lattice; it has no value.")
    return len(rows) / total


def sigreg(x: Rows, *, slices: int = 256, seed: int = 0) -> float:
    """SIGReg: how far features are from a standard normal, seen along random directions.

    The mean over ``slices`` random unit directions a of Epps and Pulley's statistic of a . z (``epps_pulley``; Balestriero and
    LeCun, 2025, arXiv 2511.08544). Of features as they are: neither centred nor scaled, since both are part of the test. Range
    [0, 7.5 n): 1.06 for standard normal rows (healthy for LeJEPA; other methods have other scales), 0.41 n where all rows are
    0, more elsewhere. Of other features it grows with n, so compare at equal n. Invariant to order; to rotation on average.

    >>> round(sigreg(np.zeros((10, 4))), 2)
    4.09
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(x.shape[1], slices, generator=generator, dtype=torch.float64)
    along = torch.from_numpy(np.ascontiguousarray(x)) @ (directions / directions.norm(dim=0))
    parts = [epps_pulley(part) for part in along.split(32, dim=1)]
    return float(torch.cat(parts).mean())


def off_diagonal_correlation(x: Rows) -> float:
    """(1/d) sum_{i != j} R_ij^2, R the correlations of the dimensions: the covariance term of standardised features.

    Bardes, Ponce and LeCun (ICLR 2022) with each dimension divided by its standard deviation, so that scale is out of it;
    Barlow Twins' redundancy term of a view with itself, over d (Zbontar et al., ICML 2021). A dimension that does not vary has
    correlation 0 with all. Range 0 (healthy; by chance (d - 1) / (n - 1)) to d - 1 (all dimensions the same; rank one);
    all rows equal 0. Invariant to shift, to the scale of each dimension and to order, not to rotation.

    >>> round(off_diagonal_correlation(np.array([[1.0, 2.0], [-1.0, -2.0]])), 6)
    1.0
    """
    mean = x.mean(axis=0)
    about = x - mean
    std = np.sqrt(np.mean(about**2, axis=0))
    varies = std > 4 * np.finfo(np.float64).eps * np.linalg.norm(mean)
    scaled = about[:, varies] / std[varies]
    small = scaled.T @ scaled if scaled.shape[1] <= len(x) else scaled @ scaled.T
    return float(max(float(np.sum(small**2)) / len(x) ** 2 - scaled.shape[1], 0.0) / x.shape[1])
