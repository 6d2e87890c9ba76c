"""Heads: what sits on a backbone during training only."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.errors import SettingError


def mlp(
    dims: Sequence[int],
    *,
    batch_norm: bool = True,
    last_batch_norm: bool = False,
    last_bias: bool = True,
    activation: Literal["relu", "gelu"] = "relu",
) -> nn.Sequential:
    """Linear layers of widths ``dims`` (input first) with BatchNorm (unless ``batch_norm`` is off) and ReLU between them.

    A layer that BatchNorm follows has no bias. ``last_batch_norm`` adds a BatchNorm without scale and shift at the end
    (SimSiam's last layer; SimCLR's authors keep the scale). ``last_bias`` off: no bias in the last layer, for objectives that a
    shift of all embeddings does not change (VICReg's).

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
            layers.append(nn.ReLU(inplace=True) if activation == "relu" else nn.GELU())
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


def dino_projector(dims: Sequence[int], *, batch_norm: bool = False) -> nn.Sequential:
    """DINO's projector: linear layers of widths ``dims`` (input first) with GELU between them, weights N(0, 0.02^2).

    Caron et al., ICCV 2021, appendix C: three layers, no BatchNorm for transformers. ``WeightNormLinear`` comes after it.
    Weights are cut at two units as the authors' code cuts them, which at 0.02 cuts nothing; biases start at 0.
    """
    head = mlp(dims, batch_norm=batch_norm, activation="gelu")
    for layer in head:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head


class WeightNormLinear(nn.Module):
    """Logits of a unit vector: g_k * (v_k / ||v_k||) . (z / ||z||) (Salimans and Kingma, NeurIPS 2016; DINO's last layer).

    ``frozen_magnitude``: g stays 1, so that logits are cosines and no dimension can win by length (DINO: training is
    unstable otherwise). Without it g is trained.

    >>> last = WeightNormLinear(2, 1)
    >>> _ = last.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> round(last(torch.tensor([[2.0, 0.0]])).item(), 4)
    0.6
    """

    def __init__(self, dim: int, count: int, *, frozen_magnitude: bool = True):
        super().__init__()
        if dim < 1 or count < 1:
            raise SettingError(f"A weight-normalised layer must have at least one input and output. Got {dim} and {count}.")
        self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(count, dim), a=5**0.5))
        self.magnitude = nn.Parameter(torch.ones(count, 1), requires_grad=not frozen_magnitude)

    def forward(self, z: Tensor) -> Tensor:
        """[..., dim] -> logits [..., count]; computed in float32."""
        with torch.autocast(z.device.type, enabled=False):
            direction = F.normalize(self.weight, dim=1) * self.magnitude
            return F.normalize(z.to(self.weight.dtype), dim=-1) @ direction.T
