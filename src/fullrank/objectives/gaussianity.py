"""Objectives that prevent collapse by giving the embedding a known distribution."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fullrank.errors import ShapeError


def epps_pulley(x: Float[Tensor, "n slices"], *, t_max: float = 5.0, num_points: int = 17) -> Float[Tensor, " slices"]:
    """How far each column is from a standard normal, by its characteristic function (Epps and Pulley, Biometrika 1983).

    T = n * integral over [-t_max, t_max] of |phi_n(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt, phi_n(t) = (1/n) sum_j exp(i t x_j), by
    the trapezoid rule at ``num_points`` (odd) points: SIGReg's form (Balestriero and LeCun, 2025, algorithm 1). Computed for
    t >= 0 and doubled, because the integrand is even; the authors' later code and lightly count only those points, so that
    their 17 are 33 here. Range [0, 7.5 n); for normal samples 1.06 on average, whatever n is.
    At complete collapse it depends on the point: 0.41 n at the origin, more elsewhere.

    >>> round(epps_pulley(torch.zeros(1, 1), t_max=1.0, num_points=3).item(), 4)  # (1 - e^-0.5)^2 e^-0.5
    0.0939
    """
    if num_points < 3 or num_points % 2 == 0:
        raise ShapeError(f"num_points must be odd and at least 3. Got {num_points}. 17 is usual.")
    with torch.autocast(x.device.type, enabled=False):
        t = torch.linspace(0.0, t_max, num_points // 2 + 1, dtype=x.dtype, device=x.device)
        normal = (-0.5 * t.square()).exp()
        angles = x[..., None] * t  # [n, slices, points]
        error = (angles.cos().mean(0) - normal).square() + angles.sin().mean(0).square()
        return 2 * len(x) * torch.trapezoid(error * normal, t, dim=-1)


class LeJEPATerms(NamedTuple):
    """The two terms of LeJEPA, unweighted."""

    prediction: Tensor
    sigreg: Tensor


def lejepa(
    z: Float[Tensor, "n views d"],
    slices: Float[Tensor, "d slices"],
    *,
    num_global: int,
    t_max: float = 5.0,
    num_points: int = 17,
) -> LeJEPATerms:
    """Prediction of the global views' mean, and sketched isotropic Gaussian regularisation (Balestriero and LeCun, 2025,
    arXiv 2511.08544, algorithms 1 and 2).

    Prediction: mean over records, views and dimensions of (mu_n - z_nv)^2, mu_n the mean embedding of the first ``num_global``
    views (the text sums over dimensions; the algorithm, which lambda belongs to, takes the mean). SIGReg: the mean over views
    and over ``slices`` (unit columns) of ``epps_pulley`` of the embeddings along a slice. At complete collapse the first is 0
    and the second depends on the point.

    >>> [round(term.item(), 3) for term in lejepa(torch.zeros(2, 2, 3), torch.eye(3), num_global=2)]  # 0.409 n
    [0.0, 0.818]
    """
    centre = z[:, :num_global].mean(dim=1, keepdim=True)
    with torch.autocast(z.device.type, enabled=False):
        # view by view: angles are the largest tensor of the method
        distances = [epps_pulley(view @ slices, t_max=t_max, num_points=num_points).mean() for view in z.unbind(dim=1)]
    return LeJEPATerms((centre - z).square().mean(), torch.stack(distances).mean())
