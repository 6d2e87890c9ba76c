"""VideoMAE (MCG-NJU/VideoMAE), pre-training files: the encoder; its position table is not in the file."""

from typing import Any

import torch
from torch import Tensor, nn

from fullrank.checkpoint.interop._backbones import vit
from fullrank.checkpoint.interop._layout import Layout, Parts, State
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation


def whole_biases(state: State) -> State:
    """One bias for query, key and value: the key's, which the file lacks, is 0."""
    found = {key: tensor for key, tensor in state.items() if not key.endswith(("attn.q_bias", "attn.v_bias"))}
    for key, query in state.items():
        if key.endswith("attn.q_bias"):
            value = state[key.replace("q_bias", "v_bias")]
            found[key.replace("q_bias", "qkv.bias")] = torch.cat([query, torch.zeros_like(query), value])
    return found


def _last_block(network: Network, pixels: Tensor) -> Tensor:
    maps = network.backbone.maps(pixels)  # type: ignore[operator]
    return list(maps.values())[-2].mean((2, 3, 4))  # type: ignore[no-any-return]


def first_token(network: Network, pixels: Tensor) -> Tensor:
    """Of the patches, after the last norm: [batch, d]."""
    return network.backbone.tokens(pixels)[:, 0]  # type: ignore[operator, no-any-return]


def last_token(network: Network, pixels: Tensor) -> Tensor:
    """Of the patches, after the last norm: [batch, d]."""
    return network.backbone.tokens(pixels)[:, -1]  # type: ignore[operator, no-any-return]


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    backbone = vit(whole_biases(parts["backbone"]), positions="sincos_flat")
    more = {"mean_before_norm": _last_block, "token_0": first_token, "token_last": last_token}
    return Network(backbone, more=more)


LAYOUTS = (
    Layout(
        name="videomae",
        codebase="MCG-NJU/VideoMAE",
        method="VideoMAE",
        parts={r"encoder\.": "backbone"},
        dropped={
            r"(decoder\.|mask_token|encoder_to_decoder\.)": "decoder: it paints what was hidden, features do not need it",
        },
        needs=(r"encoder\.patch_embed\.proj\.weight", r"encoder\.blocks\.0\.attn\.q_bias"),
        build=_build,
        # Kinetics-400's: every fourth of the video's own frames, 5 segments of 3 crops (run_class_finetuning.py)
        preparation=Preparation(
            num_frames=16,
            sampling_rate=4,
            frames_per_second=0.0,
            short_side=224,
            antialias=False,
            clips=5,
            crops=3,
        ),
    ),
)
