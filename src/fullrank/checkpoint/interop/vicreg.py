"""VICReg (facebookresearch/vicreg), ``model.pth``: backbone and expander. ``resnet50.pth`` is torchvision's layout."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    return Network(resnet(parts["backbone"]), projector=head(parts["projector"]))


LAYOUTS = (
    Layout(
        name="vicreg",
        codebase="facebookresearch/vicreg",
        method="VICReg",
        parts={r"backbone\.": "backbone", r"projector\.": "projector"},
        needs=(r"backbone\.conv1\.weight", r"projector\.0\.bias"),
        build=_build,
        preparation=Preparation(),
    ),
)
