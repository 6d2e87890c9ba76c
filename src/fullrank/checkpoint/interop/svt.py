"""SVT (kahnchana/svt): a TimeSformer as student and teacher with DINO's heads; the teacher is evaluated."""

from typing import Any

from torch import Tensor, nn

from fullrank.checkpoint.interop._backbones import timesformer
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.checkpoint.interop.dino import dino_head
from fullrank.types import Preparation


def _tokens_mean(network: Network, pixels: Tensor) -> Tensor:
    return network.backbone.tokens(pixels)[:, 1:].mean(1)  # type: ignore[operator, no-any-return]


def _copy(parts: Parts, name: str, **others: Any) -> Network:
    projector, scores = dino_head(parts[f"{name}_head"]) if f"{name}_head" in parts else (None, None)
    more = {"tokens_mean": _tokens_mean}
    return Network(timesformer(parts[f"{name}_backbone"]), projector=projector, scores=scores, more=more, **others)


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    if "teacher_backbone" not in parts:
        return _copy(parts, "student")
    student = _copy(parts, "student") if "student_backbone" in parts else None
    return _copy(parts, "teacher", second=student, second_name="student")


LAYOUTS = (
    Layout(
        name="svt",
        codebase="kahnchana/svt",
        method="SVT",
        parts={
            r"teacher/backbone\.": "teacher_backbone",
            r"teacher/head\.": "teacher_head",
            r"student/backbone\.": "student_backbone",
            r"student/head\.": "student_head",
        },
        dropped={
            r"dino_loss/": "centre of the loss; only training needs it",
            r"motion_(student|teacher)/": "second network for motion; the published evaluation does not read it",
        },
        needs=(r"(teacher|student)/backbone\.time_embed",),
        build=_build,
        preparation=Preparation(num_frames=8, sampling_rate=8, rule="pyslowfast", antialias=False),
    ),
)
