"""Heads: what sits on a backbone during training only."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.errors import SettingError


def mlp(
    dims: Sequence[int], *, batch_norm: bool = True, last_batch_norm: bool = False, last_bias: bool = True
) -> nn.Sequential:
    """Linear layers of widths ``dims`` (input first) with BatchNorm (unless ``batch_norm`` is off) and ReLU between them.

    A layer that BatchNorm follows has no bias. ``last_batch_norm`` adds a BatchNorm without scale and shift at the end
    (SimCLR's and SimSiam's last layer). ``last_bias`` off: no bias in the last layer, for objectives that a shift of all
    embeddings does not change (VICReg's).

    >>> [tuple(p.shape) for p in mlp((4, 8, 2), batch_norm=False).parameters()]
    [(8, 4), (8,), (2, 8), (2,)]
    >>> [type(layer).__name__ for layer in mlp((4, 8, 2))]
    ['Linear', 'BatchNorm1d', 'ReLU', 'Linear']
    """
    if len(dims) < 2 or min(dims) < 1:
        raise SettingError(f"A head must have at least one layer, and every width must be at least 1. Got {tuple(dims[1:])}.")
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(zip(dims[:-1], dims[1:], strict=True)):
        last = i == len(dims) - 2
        normed = last_batch_norm if last else batch_norm
        layers.append(nn.Linear(d_in, d_out, bias=not normed and (last_bias or not last)))
        if normed:
            layers.append(nn.BatchNorm1d(d_out, affine=not last))
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """Unit vectors C that embeddings are scored against: normalize(z) @ C^T (Caron et al., NeurIPS 2020, section 3.1)."""

    def __init__(self, dim: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """[..., dim] -> cosines [..., count]; computed in float32."""
        with torch.autocast(z.device.type, enabled=False):
            return F.normalize(z.to(self.weight.dtype), dim=-1) @ self.weight.T

    @torch.no_grad()
    def normalize_(self) -> None:
        """Put the vectors back on the unit sphere (after each optimizer step)."""
        self.weight.copy_(F.normalize(self.weight, dim=1))
