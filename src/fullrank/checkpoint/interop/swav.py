"""SwAV (facebookresearch/swav): the network is flat, its heads beside its layers."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import Scores, head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    return Network(
        resnet(parts["backbone"]),
        projector=head(parts["projector"]),
        scores=Scores(parts["prototypes"]["weight"]) if "prototypes" in parts else None,
        scores_beside=True,
        normalizes=True,
    )


LAYOUTS = (
    Layout(
        name="swav",
        codebase="facebookresearch/swav",
        method="SwAV",
        parts={
            r"(?=(conv1|bn1|layer\d)\.)": "backbone",
            r"projection_head\.": "projector",
            r"prototypes\.(?=weight$)": "prototypes",
        },
        dropped={r"queue$": "queue of embeddings; only training needs it"},
        needs=(r"conv1\.weight", r"projection_head\."),
        build=_build,
        preparation=Preparation(),
    ),
)
