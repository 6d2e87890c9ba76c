"""Heads from the keys and shapes of a state dict: the name of a method does not say which layers it has."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.errors import CheckpointError

State = Mapping[str, Tensor]


def layers_of(state: State) -> dict[str, dict[str, Tensor]]:
    """{layer: {"weight": ..., ...}}, by number where they have numbers, else in the order of the file; "" is a single one."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        layer, _, leaf = key.rpartition(".")
        found.setdefault(layer, {})[leaf] = tensor
    numbered = all(name.isdigit() for name in found)
    return dict(sorted(found.items(), key=lambda item: int(item[0]))) if numbered else found


def head(state: State, *, activation: Literal["relu", "gelu"] = "relu") -> nn.Sequential:
    """Linear layers (1x1 convolutions too) and norms in the order of their numbers, an activation before each but the first.

    A norm without a scale is one without (``affine=False``). ``CheckpointError`` where a layer is neither.
    """
    modules: list[nn.Module] = []
    for name, tensors in layers_of(state).items():
        weight = tensors.get("weight")
        if weight is not None and weight.ndim >= 2:
            if modules:
                modules.append(nn.ReLU() if activation == "relu" else nn.GELU())
            modules.append(_linear(weight, tensors.get("bias")))
        elif "running_mean" in tensors:
            modules.append(_norm(tensors))
        else:
            raise CheckpointError(
                f"A head must be made of linear layers and batch norms. Got {name or 'a tensor'} with {', '.join(tensors)}."
            )
    return nn.Sequential(*modules)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    made.weight.data = weight.flatten(1).float()
    if bias is not None:
        made.bias.data = bias.float()
    return made


def _norm(tensors: Mapping[str, Tensor]) -> nn.BatchNorm1d:
    made = nn.BatchNorm1d(len(tensors["running_mean"]), affine="weight" in tensors)
    own = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    made.load_state_dict({**made.state_dict(), **own})
    return made


class Scores(nn.Module):
    """Linear scores of unit vectors: normalize(z) W^T, the rows of W as they are stored (SwAV)."""

    def __init__(self, weight: Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight.float())

    def forward(self, z: Tensor) -> Tensor:
        """[batch, d] -> [batch, prototypes]."""
        return F.normalize(z, dim=1) @ self.weight.T


class WeightNormScores(nn.Module):
    """DINO's last layer: normalize(z) W^T, row k of W = g_k v_k / ||v_k||."""

    def __init__(self, weight_g: Tensor, weight_v: Tensor):
        super().__init__()
        self.weight_g, self.weight_v = nn.Parameter(weight_g.float()), nn.Parameter(weight_v.float())

    def forward(self, z: Tensor) -> Tensor:
        """[batch, d] -> [batch, prototypes]."""
        weight = self.weight_g * self.weight_v / torch.linalg.vector_norm(self.weight_v, dim=1, keepdim=True)
        return F.normalize(z, dim=1) @ weight.T  # type: ignore[no-any-return]
