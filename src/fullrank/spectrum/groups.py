"""Measures of rows that belong together: the clips of a video, the views of an image."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fullrank.errors import DataError, ShapeError
from fullrank.spectrum.moments import unit_rows
from fullrank.spectrum.ranks import exp_entropy

Rows = NDArray[np.float64]
"""[n, d]"""
Groups = NDArray[np.int64]
"""[n]: number of the group of each row, 0..G-1"""

DELTA, EPSILON = 1e-4, 1e-7


def checked_groups(groups: ArrayLike, n: int) -> Groups:
    """Groups named by numbers or words as 0..G-1; ``ShapeError`` or ``DataError`` where they are none of n rows.

    >>> checked_groups(["b", "a", "b", "a"], 4).tolist()
    [1, 0, 1, 0]
    """
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ShapeError(
            f"groups must name the group of each of the {n} rows. Got shape {list(given.shape)}; give one per row."
        )
    if given.dtype.kind not in "iuUSb":
        raise DataError(f"groups must be whole numbers or words. Got {given.dtype}; give the number of each row's record.")
    names, numbers, counts = np.unique(given, return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.max() < 2:
        what = "one group" if len(names) < 2 else f"{len(names)} groups of one row each"
        raise DataError(
            f"groups must be at least two, and hold several rows. Got {what}; give the same number to all rows of a record."
        )
    return np.asarray(numbers.reshape(n), dtype=np.int64)


def lidar_eigenvalues(x: Rows, groups: Groups, *, delta: float = DELTA) -> Rows:
    """Eigenvalues [d], descending, of Sigma_L = Sigma_w^(-1/2) Sigma_b Sigma_w^(-1/2).

    Sigma_b = (1/(G - 1)) sum_i (mu_i - mu)(mu_i - mu)^T, Sigma_w = (1/(n - G)) sum_ij (z_ij - mu_i)(z_ij - mu_i)^T + delta I,
    mu_i the mean of group i and mu that of the mu_i; with q rows in each of G groups, n - G = G (q - 1), as in the paper.

    >>> lidar_eigenvalues(np.array([[1.0], [3.0], [7.0], [9.0]]), np.array([0, 0, 1, 1]), delta=0.0).round(6).tolist()
    [9.0]
    """
    numbers = checked_groups(groups, len(x))
    counts = np.bincount(numbers)
    means = np.zeros((len(counts), x.shape[1]))
    np.add.at(means, numbers, x)
    means /= counts[:, None]
    within = x - means[numbers]
    between = (means - means.mean(axis=0)) / np.sqrt(len(counts) - 1)
    matrix = within.T @ within / (len(x) - len(counts))
    matrix[np.diag_indices_from(matrix)] += delta
    values, vectors = np.linalg.eigh(matrix)
    if not values[0] > 0:
        raise DataError(
            "LiDAR must have rows that vary within groups in every direction, or delta > 0. Got a singular scatter."
        )
    whitened = between @ (vectors / np.sqrt(values))
    small = whitened.T @ whitened if x.shape[1] <= len(counts) else whitened @ whitened.T
    found = np.clip(np.linalg.eigvalsh(small)[::-1], 0.0, None)
    found[found <= max(small.shape) * np.finfo(np.float64).eps * found[0]] = 0.0
    return np.pad(found, (0, x.shape[1] - len(found)))


def lidar(x: Rows, groups: Groups, *, delta: float = DELTA, epsilon: float = EPSILON) -> float:
    """LiDAR: the effective rank of what tells groups apart, measured in units of the spread within them.

    exp(-sum_k p_k log p_k), p_k = lambda_k / ||lambda||_1 + epsilon, lambda the eigenvalues of Sigma_L
    (``lidar_eigenvalues``; Thilak et al., ICLR 2024, arXiv 2312.04000), delta = 1e-4, epsilon = 1e-7. The groups are those of
    the method's task: the views or clips of one record. Features as they are; a shift takes itself off. Range
    1..min(d, G - 1), and by its epsilon slightly above; healthy is high, dimensional collapse low, all group means equal 0.
    Because delta is absolute it is not quite invariant to scale; it is to rotation, shift, order and the names of groups.
    Take G > d groups, or G - 1 is all that it tells.

    >>> x = np.array([[1.0, 0], [1.2, 0.2], [0, 1], [0.2, 1.2], [-1, -1], [-1.2, -1.2]])
    >>> 1 <= lidar(x, np.array([0, 0, 1, 1, 2, 2])) <= 2
    True
    """
    values = lidar_eigenvalues(x, groups, delta=delta)
    total = float(values.sum())
    return exp_entropy(values / total + epsilon) if total > 0 else 0.0


def lidar_renormalized(x: Rows, groups: Groups) -> float:
    """LiDAR as stable-pretraining computes it: p_k = (lambda_k + epsilon) / sum_j (lambda_j + epsilon), epsilon = 1e-8.

    So its epsilon depends on the scale of Sigma_L, and the p_k sum to 1. Range 1..d; all group means equal gives d there (every
    p_k the same) and 0 here.
    """
    values = lidar_eigenvalues(x, groups)
    return exp_entropy((values + 1e-8) / (values + 1e-8).sum()) if values[0] > 0 else 0.0


def lidar_of_rows(x: Rows, groups: Groups) -> float:
    """LiDAR as reptrix computes it: the spectrum of the covariance of the rows of Sigma_L, as if they were features.

    Its scatters are sums over groups and not means over n - 1, with delta = 1e-6; p_k = lambda_k / ||lambda||_1 + 1e-7. The
    spectrum is about that of Sigma_L squared, so the value is lower; and since columns of Sigma_L are centred, it changes when
    features are rotated.
    """
    numbers = checked_groups(groups, len(x))
    counts = np.bincount(numbers)
    if counts.min() != counts.max():
        raise DataError("this form of LiDAR must have groups of one size. Got several; `lidar` takes them.")
    means = x[np.argsort(numbers, kind="stable")].reshape(len(counts), counts[0], -1).mean(axis=1)
    within = x - means[numbers]
    between = means - means.mean(axis=0)
    scatter = within.T @ within / len(counts) + 1e-6 * np.eye(x.shape[1])
    values, vectors = np.linalg.eigh(scatter)
    root = (vectors / np.sqrt(values)) @ vectors.T
    matrix = root @ (between.T @ between) @ root
    spread = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False) ** 2
    total = float(spread.sum())
    return exp_entropy(spread / total + 1e-7) if total > 0 else 0.0


def alignment(x: Rows, groups: Groups) -> float:
    """Mean squared distance of unit rows of one group: E ||u_i - u_j||^2 over pairs of different rows.

    Wang and Isola (ICML 2020, arXiv 2005.10242), exponent 2; the mean over groups of the mean over a group's pairs.
    Uncentred, normalised. Range 0 to 4: low is healthy, and 0 at a complete collapse too, so read it beside ``uniformity``;
    unrelated rows give 2. Invariant to rotation, order, and the scale of each row.

    >>> x = np.array([[1.0, 0], [0, 1], [1, 0], [1, 0]])
    >>> alignment(x, np.array([0, 0, 1, 1]))  # squared distances 2 and 0
    1.0
    """
    numbers = checked_groups(groups, len(x))
    counts = np.bincount(numbers)
    unit = unit_rows(x)
    sums, lengths = np.zeros((len(counts), x.shape[1])), np.zeros(len(counts))
    np.add.at(sums, numbers, unit)
    np.add.at(lengths, numbers, np.einsum("nd,nd->n", unit, unit))
    several = counts > 1
    # sum over ordered pairs of ||u_i - u_j||^2 = 2 q sum ||u_i||^2 - 2 ||sum u_i||^2
    pairs = 2 * counts * lengths - 2 * np.einsum("gd,gd->g", sums, sums)
    return float(np.mean(np.clip(pairs[several], 0.0, None) / (counts[several] * (counts[several] - 1))))
