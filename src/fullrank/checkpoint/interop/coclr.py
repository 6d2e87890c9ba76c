"""CoCLR and InfoNCE with S3D or S3D-G (TengdaHan/CoCLR). Every layer stands in the file under two names."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import s3d
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation

ALIASES = r"encoder_[qk]\.0\.block\d\."


def _copy(parts: Parts, prefix: str, second: Network | None = None) -> Network:
    return Network(s3d(parts[f"{prefix}backbone"]), projector=head(parts[f"{prefix}projector"]), normalizes=True, second=second)


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    return _copy(parts, "", _copy(parts, "momentum_") if "momentum_backbone" in parts else None)


LAYOUTS = (
    Layout(
        name="coclr",
        codebase="TengdaHan/CoCLR",
        method="CoCLR or InfoNCE",
        parts={
            r"encoder_q\.0\.(?!block\d)": "backbone",
            r"encoder_q\.(?!0\.)": "projector",
            r"encoder_k\.0\.(?!block\d)": "momentum_backbone",
            r"encoder_k\.(?!0\.)": "momentum_projector",
        },
        dropped={
            ALIASES: "the same tensors under their second name",
            r"sampler\.": "CoCLR's second network, of the other stream",
            r"queue": "queue of keys; only training needs it",
        },
        needs=(r"encoder_q\.0\.Conv_1a\.",),
        build=_build,
        preparation=Preparation(num_frames=32, frames_per_second=0.0, short_side=128, crop=128),
    ),
)
