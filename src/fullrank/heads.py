"""Heads: what sits on a backbone during training only."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(dims: Sequence[int], *, batch_norm: bool = True, last_batch_norm: bool = False) -> nn.Sequential:
    """Linear layers of widths ``dims`` (input first) with BatchNorm and ReLU between them.

    A layer that BatchNorm follows has no bias. ``last_batch_norm`` adds a BatchNorm without scale and shift at the end
    (SimCLR's and SimSiam's last layer).
    """
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(zip(dims[:-1], dims[1:], strict=True)):
        last = i == len(dims) - 2
        normed = last_batch_norm if last else batch_norm
        layers.append(nn.Linear(d_in, d_out, bias=not normed))
        if normed:
            layers.append(nn.BatchNorm1d(d_out, affine=not last))
        if not last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Prototypes(nn.Module):
    """Unit vectors that embeddings are scored against: logits = normalize(z) @ C^T (SwAV, section 3)."""

    def __init__(self, dim: int, count: int):
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, dim), dim=1))

    def forward(self, z: Tensor) -> Tensor:
        """[n, dim] -> [n, count]; computed in float32."""
        with torch.autocast(z.device.type, enabled=False):
            return F.normalize(z.float(), dim=1) @ self.weight.T

    @torch.no_grad()
    def normalize_(self) -> None:
        """Put the vectors back on the unit sphere (after each optimizer step)."""
        self.weight.copy_(F.normalize(self.weight, dim=1))
