"""Objectives that prevent collapse by the second moments of the embedding."""

from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fullrank.errors import ShapeError


class VICRegTerms(NamedTuple):
    """The three terms of VICReg, unweighted."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def invariance(z0: Float[Tensor, "n d"], z1: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean squared distance of two embeddings, over samples and dimensions.

    s(Z, Z') = (1/n) sum_i ||z_i - z'_i||^2 (Bardes et al., ICLR 2022, eq. 5), divided by d as in the authors' code, which
    the published weights 25, 25, 1 belong to. Range [0, inf); at collapse 0.

    >>> invariance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.0]])).item()
    0.5
    """
    return (z0 - z1).square().mean()


def variance(z: Float[Tensor, "n d"], *, target_std: float = 1.0, epsilon: float = 1e-4) -> Float[Tensor, ""]:
    """How far the standard deviations lie below ``target_std``.

    v(Z) = (1/d) sum_k max(0, gamma - sqrt(Var(z^k) + epsilon)) (Bardes et al., eq. 1 and 2; unbiased variance).
    Range [0, gamma - sqrt(epsilon)]; at complete collapse gamma - sqrt(epsilon) = 0.99.

    >>> round(variance(torch.zeros(4, 3)).item(), 4)
    0.99
    """
    return (target_std - (z.var(dim=0) + epsilon).sqrt()).clamp_min(0.0).mean()


def covariance(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Sum of the squared off-diagonal covariances over the number of dimensions.

    c(Z) = (1/d) sum_{i != j} C(Z)_ij^2 with C = (Z - mean)^T (Z - mean) / (n - 1) (Bardes et al., eq. 3 and 4).
    Range [0, inf); at complete collapse 0.

    >>> covariance(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item()
    4.0
    """
    n, d = z.shape
    with torch.autocast(z.device.type, enabled=False):
        centred = z - z.mean(dim=0)
        c = centred.T @ centred / (n - 1)
    return (c.square().sum() - c.diagonal().square().sum()) / d


def vicreg(z: Float[Tensor, "n views d"], *, target_std: float = 1.0, epsilon: float = 1e-4) -> VICRegTerms:
    """The three terms over all pairs of views (Bardes et al., eq. 6).

    Each term is the mean over the pairs (i, j) of views: of s(Z_i, Z_j), of (v(Z_i) + v(Z_j)) / 2, and of c(Z_i) + c(Z_j). The
    variance term is the mean over the two branches, as in the authors' code (the paper's equation sums them); the
    covariance term is their sum, as in both. At complete collapse (0, gamma - sqrt(epsilon), 0).

    >>> [round(term.item(), 4) for term in vicreg(torch.ones(4, 2, 3))]
    [0.0, 0.99, 0.0]
    """
    views = z.unbind(dim=1)
    if len(views) < 2 or z.shape[0] < 2:
        raise ShapeError(f"vicreg must see at least 2 records with at least 2 views each. Got {z.shape[0]} and {len(views)}.")
    return VICRegTerms(
        torch.stack([invariance(z0, z1) for z0, z1 in combinations(views, 2)]).mean(),
        torch.stack([variance(view, target_std=target_std, epsilon=epsilon) for view in views]).mean(),
        2 * torch.stack([covariance(view) for view in views]).mean(),
    )
