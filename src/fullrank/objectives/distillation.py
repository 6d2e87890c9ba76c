"""Objectives in which a student predicts what a teacher gives."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def regression(prediction: Float[Tensor, "*shape d"], target: Float[Tensor, "*shape d"]) -> Float[Tensor, ""]:
    """Mean squared distance of the L2-normalised prediction and target.

    L = || p/||p|| - t/||t|| ||^2 = 2 - 2 cos(p, t) (Grill et al., NeurIPS 2020, eq. 2), the mean over all leading axes. The
    target carries no gradient: it is detached here. Range [0, 4]; at complete collapse of both sides onto one direction 0,
    which is its minimum too: this objective cannot show a collapse.

    >>> regression(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0]])).item()
    2.0
    >>> regression(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])).item()
    4.0
    """
    with torch.autocast(prediction.device.type, enabled=False):
        return (2 - 2 * (F.normalize(prediction, dim=-1) * F.normalize(target.detach(), dim=-1)).sum(dim=-1)).mean()
