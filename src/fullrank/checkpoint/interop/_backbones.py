"""Backbones of ours from state dicts with our keys: their settings are read off keys and shapes."""

import re
from typing import Any

from torch import Tensor, nn

from fullrank.backbones.build import backbone_factory, load_weights
from fullrank.backbones.resnet import BLOCKS
from fullrank.backbones.transformer import SIZES
from fullrank.checkpoint.interop._layout import State, floats
from fullrank.config import BackboneConfig
from fullrank.errors import CheckpointError

WHOLE_FILE = "Copy the file again, or name its layout with --layout."
HOW_TO_TRAIN = ("weights", "drop_path", "zero_init_residual")
"""settings of a backbone that no file decides"""


def flags_of(config: BackboneConfig, beside: BackboneConfig) -> str:
    """The flags of `fullrank train` that make a recipe's backbone ``beside`` that of ``config``; empty where they agree.

    >>> flags_of(BackboneConfig(name="vit", class_token=False), BackboneConfig(width=0.5))
    '--backbone.name vit --backbone.width 1.0 --backbone.no-class-token'
    """
    flags = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if name in HOW_TO_TRAIN or value == getattr(beside, name):
            continue
        word = name.replace("_", "-")
        flags.append(f"--backbone.{'' if value else 'no-'}{word}" if isinstance(value, bool) else f"--backbone.{word} {value}")
    return " ".join(flags)


def blocks_of(state: State, stage: str) -> int:
    """How many blocks ``stage`` ("layer1", "blocks") has."""
    numbers = [int(found[1]) for key in state if (found := re.match(rf"{stage}\.(\d+)\.", key))]
    return max(numbers, default=-1) + 1


def resnet(state: State, temporal: str | None = None) -> nn.Module:
    """The ResNet of these keys (torchvision's); ``temporal`` where shapes cannot tell."""
    counts = tuple(blocks_of(state, f"layer{i}") for i in (1, 2, 3, 4))
    deep = "layer1.0.conv3.weight" in state
    depths = [depth for depth, blocks in BLOCKS.items() if blocks == counts and deep == (depth == 50)]
    if not depths:
        raise CheckpointError(
            f"The backbone must be a ResNet of depth {', '.join(map(str, BLOCKS))}. Got one with {counts} blocks"
            f"{' of three convolutions' if deep else ''}."
        )
    conv1 = state.get("conv1.weight", state.get("conv1.3.weight"))
    if conv1 is None:
        raise CheckpointError("The backbone must have a first convolution, conv1.weight. Got none.")
    first = state.get("conv1.weight", state.get("conv1.0.weight"))
    assert_shape(first, (4, 5), "conv1.weight")
    stem = "cifar" if first.shape[-1] == 3 else "imagenet"  # type: ignore[union-attr]
    settings = {"depth": depths[0], "width": conv1.shape[0] / 64, "stem": stem, "temporal": temporal or _temporal(state)}
    return made({"name": "resnet", **settings}, state, in_channels=first.shape[1])  # type: ignore[union-attr]


def _temporal(state: State) -> str:
    if "conv1.weight" not in state:
        return "r2plus1d"
    if state["conv1.weight"].ndim == 4:
        return "2d"
    if state["conv1.weight"].shape[2] == 5:
        return "i3d"
    return "c2d" if state["layer3.0.conv1.weight"].shape[2] == 1 else "slow"


def assert_shape(tensor: Any, dims: tuple[int, ...], name: str) -> None:
    """``CheckpointError`` unless ``tensor`` has one of these numbers of axes."""
    if tensor is None or tensor.ndim not in dims:
        got = "nothing" if tensor is None else str(list(tensor.shape))
        raise CheckpointError(f"{name} must have {' or '.join(map(str, dims))} axes. Got {got}.")


def _width(state: State) -> tuple[str, int]:
    """(name of the size of this width, width of the tokens)."""
    weight = state.get("patch_embed.proj.weight")
    assert_shape(weight, (4, 5), "patch_embed.proj.weight")
    width = int(weight.shape[0])  # type: ignore[union-attr]
    sizes = {dim: name for name, (dim, _, _) in SIZES.items()}
    if width not in sizes:
        raise CheckpointError(f"The transformer must be {', '.join(map(str, sizes))} wide. Got {width}.")
    return sizes[width], width


def vit(state: State, *, heads: int | None = None, positions: str = "learned", max_frames: int = 16) -> nn.Module:
    """The ViT of these keys; the number of its heads is in no shape."""
    size, _ = _width(state)
    weight = state["patch_embed.proj.weight"]
    frames = weight.shape[2] if weight.ndim == 5 else 1
    side = weight.shape[-1]
    first = 1 if "cls_token" in state else 0
    if "pos_embed" in state:
        assert_shape(state["pos_embed"], (3,), "pos_embed")
        places = state["pos_embed"].shape[1] - first
        per_frame = places // (max_frames // frames) if frames > 1 else places
        pixels = round(per_frame**0.5) * side
    else:
        pixels = 224
    settings = {
        "name": "vit",
        "size": size,
        "layers": blocks_of(state, "blocks"),
        "heads": heads,
        "patch_pixels": side,
        "patch_frames": frames,
        "image_pixels": pixels,
        "max_frames": max_frames if frames > 1 else 1,
        "positions": positions,
        "class_token": first == 1,
    }
    return made(settings, state, in_channels=weight.shape[1])


def timesformer(state: State) -> nn.Module:
    """The TimeSformer of these keys; heads as its width's."""
    size, _ = _width(state)
    weight = state["patch_embed.proj.weight"]
    for key in ("pos_embed", "time_embed"):
        assert_shape(state.get(key), (3,), key)
    side = weight.shape[-1]
    settings = {
        "name": "timesformer",
        "size": size,
        "layers": blocks_of(state, "blocks"),
        "patch_pixels": side,
        "image_pixels": round((state["pos_embed"].shape[1] - 1) ** 0.5) * side,
        "max_frames": state["time_embed"].shape[1],
    }
    return made(settings, state, in_channels=weight.shape[1])


def s3d(state: State) -> nn.Module:
    """S3D, or S3D-G where there are gates."""
    return made({"name": "s3d", "gating": any(".gating_b" in key for key in state)}, state)


def made(settings: dict[str, Any], state: State, in_channels: int = 3) -> nn.Module:
    """The backbone of these settings with the tensors of ``state``, which must fit exactly; it remembers the settings.

    A fixed table of positions that the codebase computes anew may be missing.
    """
    config = BackboneConfig(**settings)
    backbone = backbone_factory(config)("student", in_channels)
    if isinstance(table := getattr(backbone, "pos_embed", None), Tensor) and not isinstance(table, nn.Parameter):
        state = {"pos_embed": table, **state}
    load_weights(backbone, floats(state), "its backbone", WHOLE_FILE)
    backbone.config = config  # type: ignore[assignment]
    return backbone
