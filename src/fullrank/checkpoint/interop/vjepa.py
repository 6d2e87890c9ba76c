"""V-JEPA (facebookresearch/jepa): the target encoder is evaluated; the context encoder is the second copy."""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import vit
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.checkpoint.interop.videomae import first_token, last_token
from fullrank.types import Preparation

MORE = {"token_0": first_token, "token_last": last_token}


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    if "backbone" not in parts:
        return Network(vit(parts["context_backbone"], positions="sincos"), more=MORE)
    context = Network(vit(parts["context_backbone"], positions="sincos")) if "context_backbone" in parts else None
    return Network(vit(parts["backbone"], positions="sincos"), more=MORE, second=context, second_name="context")


LAYOUTS = (
    Layout(
        name="vjepa",
        codebase="facebookresearch/jepa",
        method="V-JEPA",
        parts={r"target_encoder/backbone\.": "backbone", r"encoder/backbone\.": "context_backbone"},
        dropped={r"predictor/": "predictor of hidden tokens; features do not need it"},
        needs=(r"(target_)?encoder/backbone\.patch_embed\.proj\.weight",),
        build=_build,
        preparation=Preparation(num_frames=16, sampling_rate=4, rule="pyslowfast", antialias=False),
    ),
)
