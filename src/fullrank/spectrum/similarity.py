"""How alike two tables of features of the same rows are."""

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import ShapeError

Rows = NDArray[np.float64]
"""[n, d]"""


def linear_cka(x: Rows, y: Rows) -> float:
    """Linear centred kernel alignment of two tables [n, d], [n, k] of the same rows.

    ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) of centred columns (Kornblith, Norouzi, Lee and Hinton, ICML 2019, arXiv
    1905.00414, section 3). Range 0 (nothing in common) to 1 (equal but for rotation and scale); biased upwards for n below the
    widths: two independent tables of n <= d rows approach 1. A table whose rows are all equal gives 0. Invariant to rotation,
    shift and scale of each table and to a common order of rows, not to other linear maps.

    >>> x = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    >>> round(linear_cka(x, 3 * x[:, ::-1] + 1), 6)
    1.0
    """
    if len(x) != len(y):
        raise ShapeError(
            f"the two tables must have the same rows. Got {len(x)} and {len(y)}; take the features of the same data."
        )
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    if len(x) < min(x.shape[1], y.shape[1]):
        a, b = a @ a.T, b @ b.T
        shared, own = float(np.sum(a * b)), float(np.linalg.norm(a) * np.linalg.norm(b))
    else:
        shared = float(np.linalg.norm(a.T @ b) ** 2)
        own = float(np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    return min(shared / own, 1.0) if own > 0 else 0.0
