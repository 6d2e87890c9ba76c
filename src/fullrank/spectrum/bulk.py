"""Measures of a batch without its few rows that stand apart: what a BatchNorm at the end of a head leaves of a collapse."""

import torch
from torch import Tensor

from fullrank.errors import ShapeError

TRIMMED = 8
"""they leave out one row in so many"""
POWER_STEPS = 4
"""of the power iteration; a leading direction that matters here, with nearly all variance, is found in two"""


def bulk_measures(x: Tensor) -> dict[str, float]:
    """{"trimmed_normalized_std", "leading_share"} of [n, d]: whether all rows but a few are one point.

    A BatchNorm at the end of a projector forbids that all rows of a batch are equal: each dimension has mean 0 and variance 1.
    What is left of a complete collapse then is rank one, some rows at +v and all others at -v; with one row in n opposite,
    sqrt(d) x normalised std is 2 sqrt(n - 1) / n and not 0 (0.35 for 32 rows, far above what the alarm calls a point).

    ``trimmed_normalized_std``: the normalised std without the eighth of the rows (at least one) that are farthest from the mean
    direction. ``leading_share``: lambda_1 / sum_k lambda_k of the centred rows as they are, by power iteration, which never
    exceeds it; the inverse of NESum. At such a collapse 0 and 1; isotropic rows give about 1 / sqrt(d) and 1 / min(n - 1, d).
    A narrow start (all rows near one direction, differing in all others) has the first small and the second not near 1, so only
    both together mean collapse. On the tensor's device, with one transfer at the end. Raises ``ShapeError`` below 3 rows.

    >>> rows = torch.tensor([[3.0, 3.0]] * 15 + [[-45.0, -45.0]])
    >>> {name: round(value, 6) for name, value in bulk_measures(rows).items()}
    {'trimmed_normalized_std': 0.0, 'leading_share': 1.0}
    """
    rows = x.detach().double()
    if rows.ndim != 2 or len(rows) < 3:
        raise ShapeError(f"features must be [n, d] with at least 3 rows. Got {list(rows.shape)}.")
    n = len(rows)
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    nearest = (unit @ unit.mean(dim=0)).topk(n - max(1, n // TRIMMED)).indices
    trimmed = unit[nearest].std(dim=0, correction=0).mean()
    centred = rows - rows.mean(dim=0)
    lengths = centred.square().sum(dim=1)
    direction = centred[lengths.argmax()]
    for _ in range(POWER_STEPS):
        direction = direction / direction.norm().clamp_min(1e-300)
        direction = centred.T @ (centred @ direction)
    direction = direction / direction.norm().clamp_min(1e-300)
    share = (centred @ direction).square().sum() / lengths.sum().clamp_min(1e-300)
    numbers = torch.stack([trimmed, share]).tolist()
    return {"trimmed_normalized_std": numbers[0], "leading_share": min(numbers[1], 1.0)}
