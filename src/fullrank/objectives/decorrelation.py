"""Objectives that prevent collapse by the second moments of the embedding."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


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
    centred = z - z.mean(dim=0)
    c = centred.T @ centred / (n - 1)
    return (c.square().sum() - c.diagonal().square().sum()) / d


def vicreg(
    z0: Float[Tensor, "n d"], z1: Float[Tensor, "n d"], *, target_std: float = 1.0, epsilon: float = 1e-4
) -> VICRegTerms:
    """The three terms of one pair of views (Bardes et al., eq. 6).

    The variance term is the mean over the two branches, as in the authors' code (the paper's equation sums them); the
    covariance term is their sum, as in both.
    """
    return VICRegTerms(
        invariance(z0, z1),
        (variance(z0, target_std=target_std, epsilon=epsilon) + variance(z1, target_std=target_std, epsilon=epsilon)) / 2,
        covariance(z0) + covariance(z1),
    )
