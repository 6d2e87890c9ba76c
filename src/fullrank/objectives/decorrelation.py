"""Objectives that prevent collapse by the second moments of the embedding."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from fullrank.errors import NonFiniteError, ShapeError


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

    c(Z) = (1/d) sum_{i != j} C(Z)_ij^2 with C = (Z - mean)^T (Z - mean) / (n - 1) (Bardes et al., eq. 3 and 4). The weight 1
    belongs to this form; without the 1/d, as some texts print it, the term is d times as large. Range [0, inf); at complete
    collapse 0.

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
    variance term is the mean over the two branches, as in the authors' code (the paper's equation, and solo-learn, sum them);
    the covariance term is their sum, as in both. At complete collapse (0, gamma - sqrt(epsilon), 0).

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


def vicreg_across(
    first: Float[Tensor, "n first_views d"],
    second: Float[Tensor, "n second_views d"],
    pairs: Sequence[tuple[int, int]],
    *,
    target_std: float = 1.0,
    epsilon: float = 1e-4,
) -> VICRegTerms:
    """The three terms of two branches that are no copies of each other (Bardes et al., eq. 6 and section 5: other networks,
    other modalities).

    ``pairs`` of (view of the first, view of the second branch) are pulled together; variance and covariance keep each branch
    spread by itself. Means as in ``vicreg``, which this is where both branches hold one view. At complete collapse
    (0, gamma - sqrt(epsilon), 0); where each branch collapses to a point of its own the first is their squared distance / d.

    >>> [round(term.item(), 4) for term in vicreg_across(torch.ones(4, 1, 3), torch.zeros(4, 1, 3), [(0, 0)])]
    [1.0, 0.99, 0.0]
    """
    if not pairs or len(first) < 2:
        raise ShapeError(f"vicreg_across must see at least 2 records and 1 pair. Got {len(first)} and {len(pairs)}.")
    views = (*first.unbind(dim=1), *second.unbind(dim=1))
    return VICRegTerms(
        torch.stack([invariance(first[:, i], second[:, j]) for i, j in pairs]).mean(),
        torch.stack([variance(view, target_std=target_std, epsilon=epsilon) for view in views]).mean(),
        2 * torch.stack([covariance(view) for view in views]).mean(),
    )


class BarlowTwinsTerms(NamedTuple):
    """The two terms of Barlow Twins, unweighted."""

    invariance: Tensor
    redundancy: Tensor


def barlow_twins(z0: Float[Tensor, "n d"], z1: Float[Tensor, "n d"], *, epsilon: float = 1e-5) -> BarlowTwinsTerms:
    """Distance of the cross-correlation of two views to the identity (Zbontar et al., ICML 2021, eq. 1 and 2).

    C_ij = (1/n) sum_b a_bi b_bj with a and b standardised along the batch; terms sum_i (1 - C_ii)^2 and
    sum_{i != j} C_ij^2. Standardised as BatchNorm does it, with the biased variance + ``epsilon``, as the authors' code
    (the paper's equation has no epsilon). Range [0, 4 d] and [0, d (d - 1)]; at complete collapse (d, 0): without variance
    nothing correlates.

    >>> z = torch.tensor([[1.0, 1.0], [-1.0, -1.0]])
    >>> [round(term.item(), 3) for term in barlow_twins(z, z)]
    [0.0, 2.0]
    >>> [term.item() for term in barlow_twins(torch.ones(4, 3), torch.ones(4, 3))]
    [3.0, 0.0]
    """
    n = len(z0)
    if n < 2:
        raise ShapeError(f"barlow_twins must see at least 2 records. Got {n}; raise the batch size.")
    with torch.autocast(z0.device.type, enabled=False):
        a, b = ((z - z.mean(0)) * (z.var(0, correction=0) + epsilon).rsqrt() for z in (z0, z1))
        correlation = a.T @ b / n
        diagonal = correlation.diagonal()
        return BarlowTwinsTerms((1 - diagonal).square().sum(), correlation.square().sum() - diagonal.square().sum())


def whiten(v: Float[Tensor, "*parts n d"], *, epsilon: float = 0.0) -> Float[Tensor, "*parts n d"]:
    """Centred rows whose covariance is the identity, by Cholesky (Ermolov et al., ICML 2021, section 3).

    z = L^-1 (v - mean), L L^T = (1 - epsilon) Cov(v) + epsilon I, Cov with n - 1; for each of the leading ``parts`` apart. With
    epsilon 0 and n <= d, or where rows are linearly dependent, there is no such L: ``NonFiniteError``. At complete collapse
    with an epsilon all rows are 0.

    >>> z = whiten(torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 3.0], [0.0, -3.0]]))
    >>> (z.T @ z / 3).round(decimals=4).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    n, d = v.shape[-2:]
    with torch.autocast(v.device.type, enabled=False):
        centred = v - v.mean(dim=-2, keepdim=True)
        covariance = centred.mT @ centred / (n - 1)
        eye = torch.eye(d, dtype=v.dtype, device=v.device)
        factor, failed = torch.linalg.cholesky_ex((1 - epsilon) * covariance + epsilon * eye)
        if bool(failed.any()):
            raise NonFiniteError(
                f"the covariance of rows that are whitened must have full rank, {d}. Got {n} rows that do not have it; raise "
                "epsilon (1e-6), or the rows whitened together, or take a narrower embedding."
            )
        white: Tensor = torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT
        return white


def normalized_mse(z: Float[Tensor, "n views d"], *, epsilon: float = 1e-12) -> Float[Tensor, ""]:
    """Squared distance of L2-normalised views of a record: 2 - 2 cos, the mean over records and all pairs of views.

    What W-MSE minimises after whitening (Ermolov et al., ICML 2021, section 3); by itself it has the constant as its
    minimum. A row shorter than ``epsilon`` is not lengthened. Range [0, 4]; at complete collapse 0.

    >>> round(normalized_mse(torch.tensor([[[3.0, 0.0], [0.0, 2.0]]])).item(), 4)
    2.0
    """
    if z.shape[1] < 2:
        raise ShapeError(f"normalized_mse must see at least 2 views. Got {z.shape[1]}.")
    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(z, dim=-1, eps=epsilon)
        pairs = [(unit[:, i] * unit[:, j]).sum(dim=-1) for i, j in combinations(range(z.shape[1]), 2)]
        return 2 - 2 * torch.stack(pairs).mean()


def w_mse(v: Float[Tensor, "n views d"], order: Int64[Tensor, "parts size"], *, epsilon: float = 0.0) -> Float[Tensor, ""]:
    """Mean squared distance of whitened, L2-normalised views of a record (Ermolov et al., ICML 2021, section 3).

    ``order`` deals the records into parts; in each part the rows of each view are whitened by themselves, as in the authors'
    code; then 2 - 2 cos, the mean over records and over all pairs of views. Whitening runs in float64. Range [0, 4]. At
    complete collapse 2 with an epsilon (whitened rows are 0, without a direction), and without one a ``NonFiniteError``.

    >>> v = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 3.0], [0.0, -3.0]])[:, None].expand(4, 2, 2)
    >>> round(w_mse(v, torch.tensor([[0, 1, 2, 3]])).item(), 6)
    0.0
    """
    with torch.autocast(v.device.type, enabled=False):
        z = whiten(v.double()[order].transpose(1, 2), epsilon=epsilon)  # [parts, views, size, d]
        # Whitened rows have a squared norm of about d: what is below 0.01 is the rounding of a collapsed batch.
        return normalized_mse(z.transpose(1, 2).flatten(0, 1), epsilon=1e-2).to(v.dtype)


class TiCoTerms(NamedTuple):
    """The two terms of TiCo, unweighted."""

    invariance: Tensor
    covariance: Tensor


def second_moment(z: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """(1/n) sum_i z_i z_i^T of the L2-normalised rows: TiCo's B, a covariance that is not centred; its trace is 1.

    At complete collapse of rank one.

    >>> second_moment(torch.tensor([[2.0, 0.0], [0.0, 5.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(z, dim=-1)
        return unit.T @ unit / len(z)


def tico(z: Float[Tensor, "n d"], target: Float[Tensor, "n d"], memory: Float[Tensor, "d d"]) -> TiCoTerms:
    """Transformation invariance and covariance contrast (Zhu et al., 2022, arXiv 2206.10698, algorithm 1).

    (1/2n) sum_i ||z_i - z'_i||^2 = 1 - mean cos(z_i, z'_i), and (1/n) sum_i z_i^T C z_i, with z L2-normalised, z' the
    teacher's, and C = beta C_old + (1 - beta) B the memory of second moments up to this batch. Neither z' nor C carries a
    gradient (as in lightly). Ranges [0, 2] and [0, 1] (the largest eigenvalue of C); the second is 1/d where z is spread
    evenly, and at complete collapse, once C has forgotten what was before, 1.

    >>> z = torch.tensor([[3.0, 0.0]])
    >>> [term.item() for term in tico(z, z, second_moment(z))]
    [0.0, 1.0]
    """
    with torch.autocast(z.device.type, enabled=False):
        unit, other = F.normalize(z, dim=-1), F.normalize(target.detach(), dim=-1)
        return TiCoTerms(1 - (unit * other).sum(dim=-1).mean(), ((unit @ memory.detach()) * unit).sum(dim=-1).mean())
