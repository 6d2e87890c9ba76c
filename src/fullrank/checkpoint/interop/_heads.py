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

    A norm without a scale is one without (``affine=False``). ``CheckpointError`` where a layer is neither, or does not fit to
    the one before.
    """
    modules: list[nn.Module] = []
    width: int | None = None
    for name, tensors in layers_of(state).items():
        weight = tensors.get("weight")
        if weight is not None and weight.ndim >= 2:
            if modules:
                modules.append(nn.ReLU() if activation == "relu" else nn.GELU())
            modules.append(_linear(name, weight, tensors.get("bias"), width))
            width = len(weight)
        elif "running_mean" in tensors:
            modules.append(_norm(name, tensors, width))
        else:
            raise CheckpointError(
                f"A head must be made of linear layers and batch norms. Got {name or 'a tensor'} with {', '.join(tensors)}."
            )
    return nn.Sequential(*modules)


def _linear(name: str, weight: Tensor, bias: Tensor | None, width: int | None) -> nn.Linear:
    rows = weight.flatten(1)
    if rows.shape[1] != (width or rows.shape[1]) or (bias is not None and bias.shape != rows.shape[:1]):
        raise _misfit(name, f"[n, {width or 'd'}] with a bias [n]", [weight] if bias is None else [weight, bias])
    made = nn.Linear(rows.shape[1], rows.shape[0], bias=bias is not None)
    made.weight.data = rows.float()
    if bias is not None:
        made.bias.data = bias.float()
    return made


def _norm(name: str, tensors: Mapping[str, Tensor], width: int | None) -> nn.BatchNorm1d:
    own = {leaf: tensor.float() if tensor.is_floating_point() else tensor for leaf, tensor in tensors.items()}
    made = nn.BatchNorm1d(len(own["running_mean"].flatten()), affine="weight" in own)
    expected = made.state_dict()
    if width not in (None, made.num_features) or any(
        leaf not in expected or tensor.shape != expected[leaf].shape for leaf, tensor in own.items()
    ):
        raise _misfit(name, f"a batch norm of {width or made.num_features}", list(own.values()))
    made.load_state_dict({**expected, **own})
    return made


def _misfit(name: str, wanted: str, got: list[Tensor]) -> CheckpointError:
    shapes = " and ".join(str(list(tensor.shape)) for tensor in got)
    return CheckpointError(
        f"layer {name or 'of one layer'} of a head must be {wanted}, to fit to the one before. Got {shapes}."
    )


def check_width(module: nn.Module | None, width: int, name: str) -> int:
    """What a head that takes ``width`` numbers gives; ``CheckpointError`` where it takes others. None gives what it takes."""
    weights = [] if module is None else [tensor for tensor in module.parameters() if tensor.ndim == 2]
    if isinstance(module, WeightNormScores):
        weights = [module.weight_v]
    if weights and weights[0].shape[1] != width:
        raise CheckpointError(f"the {name} must take the {width} numbers that it is given. Got one for {weights[0].shape[1]}.")
    return len(weights[-1]) if weights else width


class Scores(nn.Module):
    """Linear scores of unit vectors: normalize(z) W^T, the rows of W as they are stored (SwAV)."""

    def __init__(self, weight: Tensor):
        super().__init__()
        if weight.ndim != 2:
            raise _misfit("prototypes", "[prototypes, d]", [weight])
        self.weight = nn.Parameter(weight.float())

    def forward(self, z: Tensor) -> Tensor:
        """[batch, d] -> [batch, prototypes]."""
        return F.normalize(z, dim=1) @ self.weight.T


class WeightNormScores(nn.Module):
    """DINO's last layer: normalize(z) W^T, row k of W = g_k v_k / ||v_k||."""

    def __init__(self, weight_g: Tensor, weight_v: Tensor):
        super().__init__()
        if weight_v.ndim != 2 or weight_g.shape != (len(weight_v), 1):
            raise _misfit("last_layer", "[n, d] with lengths [n, 1]", [weight_v, weight_g])
        self.weight_g, self.weight_v = nn.Parameter(weight_g.float()), nn.Parameter(weight_v.float())

    def forward(self, z: Tensor) -> Tensor:
        """[batch, d] -> [batch, prototypes]."""
        weight = self.weight_g * self.weight_v / torch.linalg.vector_norm(self.weight_v, dim=1, keepdim=True)
        return F.normalize(z, dim=1) @ weight.T  # type: ignore[no-any-return]
