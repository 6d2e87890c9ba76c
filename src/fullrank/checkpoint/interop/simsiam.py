"""SimSiam (facebookresearch/simsiam): the projector is the encoder's fc, its last norm has no scale."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    return Network(
        resnet(parts["backbone"]),
        projector=head(parts["projector"]) if "projector" in parts else None,
        predictor=head(parts["predictor"]) if "predictor" in parts else None,
        normalizes=True,
    )


LAYOUTS = (
    Layout(
        name="simsiam",
        codebase="facebookresearch/simsiam",
        method="SimSiam",
        parts={r"encoder\.fc\.": "projector", r"encoder\.": "backbone", r"predictor\.": "predictor"},
        needs=(r"encoder\.conv1\.weight",),
        build=_build,
        preparation=Preparation(),
    ),
)
