"""MoCo v1 and v2 (facebookresearch/moco): the projector is the encoder's fc. Published files may hold encoder_q alone."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation


def _copy(parts: Parts, prefix: str, second: Network | None = None) -> Network:
    projector = head(parts[f"{prefix}projector"]) if f"{prefix}projector" in parts else None
    return Network(resnet(parts[f"{prefix}backbone"]), projector=projector, normalizes=True, second=second)


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    return _copy(parts, "", _copy(parts, "momentum_") if "momentum_backbone" in parts else None)


def _method(parts: Parts, settings: dict[str, Any]) -> str:
    return "MoCo v1" if "weight" in parts.get("projector", {}) else "MoCo v2"


LAYOUTS = (
    Layout(
        name="moco",
        codebase="facebookresearch/moco",
        method="MoCo v2",
        methods=_method,
        parts={
            r"encoder_q\.fc\.": "projector",
            r"encoder_q\.": "backbone",
            r"encoder_k\.fc\.": "momentum_projector",
            r"encoder_k\.": "momentum_backbone",
        },
        dropped={r"queue(_ptr)?$": "queue of keys; only training needs it"},
        needs=(r"encoder_q\.conv1\.weight",),
        build=_build,
        preparation=Preparation(),
    ),
)
