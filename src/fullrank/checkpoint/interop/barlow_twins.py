"""Barlow Twins (facebookresearch/barlowtwins), ``checkpoint.pth``: linear layers without biases, and the loss's own norm."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    norm = head(parts["embedding_norm"])
    return Network(resnet(parts["backbone"]), projector=head(parts["projector"]), embedding_norm=norm)


LAYOUTS = (
    Layout(
        name="barlow_twins",
        codebase="facebookresearch/barlowtwins",
        method="Barlow Twins",
        parts={r"backbone\.": "backbone", r"projector\.": "projector", r"bn\.": "embedding_norm"},
        needs=(r"backbone\.conv1\.weight", r"projector\.0\.weight", r"bn\.running_mean"),
        build=_build,
        preparation=Preparation(),
    ),
)
