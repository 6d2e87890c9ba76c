"""DINO (facebookresearch/dino): a released backbone, or student and teacher with their heads; the teacher is evaluated."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.checkpoint.interop._backbones import resnet, vit
from fullrank.checkpoint.interop._heads import WeightNormScores, head
from fullrank.checkpoint.interop._layout import Layout, Parts, State
from fullrank.checkpoint.interop._network import Network
from fullrank.errors import CheckpointError
from fullrank.types import Preparation

PREPARATION = Preparation(interpolation="bicubic")
LAST_BLOCKS = 4
"""whose class tokens the linear evaluation of ViT-S reads"""


def _last_classes(network: Network, pixels: Tensor) -> Tensor:
    return network.backbone.last_classes(pixels, LAST_BLOCKS).flatten(1)  # type: ignore[operator, no-any-return]


def _patch_mean(network: Network, pixels: Tensor) -> Tensor:
    return network.backbone.tokens(pixels)[:, 1:].mean(1)  # type: ignore[operator, no-any-return]


VIT_OUTPUTS: Mapping[str, Callable[[Network, Tensor], Tensor]] = {"cls_last4": _last_classes, "patch_mean": _patch_mean}


def backbone_of(state: State) -> tuple[nn.Module, Mapping[str, Callable[[Network, Tensor], Tensor]]]:
    """A ViT with its further outputs, or a ResNet."""
    return (vit(state), VIT_OUTPUTS) if "pos_embed" in state else (resnet(state), {})


def dino_head(state: State) -> tuple[nn.Module, nn.Module | None]:
    """(head.mlp, the last layer); the last layer with weight normalisation, or merged into one weight."""
    mlp = {key.removeprefix("mlp."): tensor for key, tensor in state.items() if key.startswith("mlp.")}
    last = {key.removeprefix("last_layer."): tensor for key, tensor in state.items() if key.startswith("last_layer.")}
    if not mlp or len(mlp) + len(last) != len(state):
        raise CheckpointError(f"DINO's head must have mlp and last_layer. Got {', '.join(list(state)[:5])}.")
    if "weight" in last:
        last = {"weight_v": last["weight"], "weight_g": torch.linalg.vector_norm(last["weight"], dim=1, keepdim=True)}
    return head(mlp, activation="gelu"), WeightNormScores(last["weight_g"], last["weight_v"]) if last else None


def _copy(parts: Parts, name: str, **others: Any) -> Network:
    backbone, more = backbone_of(parts[f"{name}_backbone"])
    projector, scores = dino_head(parts[f"{name}_head"]) if f"{name}_head" in parts else (None, None)
    return Network(backbone, projector=projector, scores=scores, more=more, **others)


def _full(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    if "teacher_backbone" not in parts:
        return _copy(parts, "student", own_name="student")
    student = _copy(parts, "student") if "student_backbone" in parts else None
    return _copy(parts, "teacher", own_name="teacher", second=student, second_name="student")


def _released(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    backbone, more = backbone_of(parts["backbone"])
    return Network(backbone, more=more)


LAYOUTS = (
    Layout(
        name="dino",
        codebase="facebookresearch/dino",
        method="DINO",
        parts={
            r"teacher/(module\.)?backbone\.": "teacher_backbone",
            r"teacher/(module\.)?head\.": "teacher_head",
            r"student/(module\.)?backbone\.": "student_backbone",
            r"student/(module\.)?head\.": "student_head",
        },
        dropped={r"dino_loss/": "centre of the loss; only training needs it"},
        needs=(r"(teacher|student)/backbone\.", r"(teacher|student)/head\.mlp"),
        build=_full,
        preparation=PREPARATION,
    ),
    Layout(
        name="dino_backbone",
        codebase="facebookresearch/dino",
        method="DINO",
        parts={r"(?=(cls_token|pos_embed|patch_embed\.|blocks\.|norm\.))": "backbone"},
        needs=(r"cls_token", r"pos_embed", r"patch_embed\.proj\.weight", r"norm\.weight"),
        build=_released,
        preparation=PREPARATION,
    ),
)
