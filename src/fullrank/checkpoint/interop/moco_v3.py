"""MoCo v3 (facebookresearch/moco-v3): ResNet-50 with the projector as fc, or a ViT (small: 12 heads) with it as head."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet, vit
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts, State
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation

VIT_HEADS = 12
"""of ViT-S too (main_moco.py's vit_small), where others have 6"""


def _backbone(state: State) -> nn.Module:
    return vit(state, heads=VIT_HEADS, positions="sincos") if "pos_embed" in state else resnet(state)


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    second = None
    if "momentum_backbone" in parts:
        projector = head(parts["momentum_projector"])
        second = Network(_backbone(parts["momentum_backbone"]), projector=projector, normalizes=True)
    return Network(
        _backbone(parts["backbone"]),
        projector=head(parts["projector"]) if "projector" in parts else None,
        predictor=head(parts["predictor"]) if "predictor" in parts else None,
        normalizes=True,
        second=second,
    )


LAYOUTS = (
    Layout(
        name="moco_v3",
        codebase="facebookresearch/moco-v3",
        method="MoCo v3",
        parts={
            r"base_encoder\.(fc|head)\.": "projector",
            r"base_encoder\.": "backbone",
            r"momentum_encoder\.(fc|head)\.": "momentum_projector",
            r"momentum_encoder\.": "momentum_backbone",
            r"predictor\.": "predictor",
        },
        needs=(r"base_encoder\.",),
        build=_build,
        preparation=Preparation(),
    ),
)
