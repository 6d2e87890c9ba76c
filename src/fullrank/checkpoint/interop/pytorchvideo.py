"""PyTorchVideo (facebookresearch/pytorchvideo): torch hub's slow_r50 and its kin, supervised on Kinetics-400."""

import re
from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation

POOL = (8, 7, 7)
LETTERS = {"a": "1", "b": "2", "c": "3"}


def ours(key: str) -> str:
    """A key of PyTorchVideo's ResNet in our names.

    >>> ours("blocks.0.norm.weight"), ours("blocks.3.res_blocks.2.branch2.norm_b.bias")
    ('bn1.weight', 'layer3.2.bn2.bias')
    """
    if found := re.fullmatch(r"blocks\.0\.(conv|norm)\.(\w+)", key):
        return f"{'conv1' if found[1] == 'conv' else 'bn1'}.{found[2]}"
    if found := re.fullmatch(r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch2\.(conv|norm)_([abc])\.(\w+)", key):
        kind = "conv" if found[3] == "conv" else "bn"
        return f"layer{found[1]}.{found[2]}.{kind}{LETTERS[found[4]]}.{found[5]}"
    if found := re.fullmatch(r"blocks\.([1-4])\.res_blocks\.(\d+)\.branch1_(conv|norm)\.(\w+)", key):
        return f"layer{found[1]}.{found[2]}.downsample.{0 if found[3] == 'conv' else 1}.{found[4]}"
    return key


def theirs(key: str) -> str:
    """A key of our ResNet in PyTorchVideo's names: the inverse of ``ours``.

    >>> theirs("layer3.2.bn2.bias"), ours(theirs("layer1.0.downsample.0.weight"))
    ('blocks.3.res_blocks.2.branch2.norm_b.bias', 'layer1.0.downsample.0.weight')
    """
    if found := re.fullmatch(r"(conv|bn)1\.(\w+)", key):
        return f"blocks.0.{'conv' if found[1] == 'conv' else 'norm'}.{found[2]}"
    if found := re.fullmatch(r"layer(\d)\.(\d+)\.(conv|bn)(\d)\.(\w+)", key):
        kind, letter = "conv" if found[3] == "conv" else "norm", "abc"[int(found[4]) - 1]
        return f"blocks.{found[1]}.res_blocks.{found[2]}.branch2.{kind}_{letter}.{found[5]}"
    if found := re.fullmatch(r"layer(\d)\.(\d+)\.downsample\.([01])\.(\w+)", key):
        kind = "conv" if found[3] == "0" else "norm"
        return f"blocks.{found[1]}.res_blocks.{found[2]}.branch1_{kind}.{found[4]}"
    return key


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    """The pool belongs to a file with a head; one without (as of `fullrank convert`) is averaged over the whole map."""
    backbone = resnet({ours(key): tensor for key, tensor in parts["backbone"].items()})
    if "classifier" not in parts:
        return Network(backbone)
    return Network(backbone, classifier=head(parts["classifier"]), pool=POOL)


def _method(parts: Parts, settings: dict[str, Any]) -> str:
    return "supervised" if "classifier" in parts else "a backbone alone"


LAYOUTS = (
    Layout(
        name="pytorchvideo",
        codebase="facebookresearch/pytorchvideo",
        method="supervised",
        methods=_method,
        parts={r"blocks\.5\.proj\.": "classifier", r"(?=blocks\.[0-4]\.)": "backbone"},
        needs=(r"blocks\.0\.conv\.weight", r"blocks\.1\.res_blocks\.0\."),
        build=_build,
        preparation=Preparation(
            num_frames=8,
            sampling_rate=8,
            rule="pytorchvideo",
            crop=256,
            antialias=False,
            mean=(0.45, 0.45, 0.45),
            std=(0.225, 0.225, 0.225),
            clips=10,
            crops=3,
        ),
    ),
)
