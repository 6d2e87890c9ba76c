"""torchvision: supervised networks, and every file that holds nothing but a ResNet with torchvision's keys.

Those are the released backbones of VICReg and of Barlow Twins too (``resnet50.pth``): their keys are the same, without fc.
"""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts, renamed
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation

R2PLUS1D = {
    r"stem\.4\.": "bn1.",
    r"stem\.": "conv1.",
    r"(layer\d\.\d+\.)conv(\d)\.1\.": r"\1bn\2.",
    r"(layer\d\.\d+\.conv\d)\.0\.": r"\1.",
}


def _resnet(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    classifier = head(parts["classifier"]) if "classifier" in parts else None
    return Network(resnet(parts["backbone"]), classifier=classifier)


def _r2plus1d(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    classifier = head(parts["classifier"]) if "classifier" in parts else None
    return Network(resnet(renamed(parts["backbone"], R2PLUS1D)), classifier=classifier)


def _method(parts: Parts, settings: dict[str, Any]) -> str:
    return "supervised" if "classifier" in parts else "a backbone alone (VICReg's, Barlow Twins' or another's)"


LAYOUTS = (
    Layout(
        name="torchvision",
        codebase="torchvision, or a released ResNet with its keys",
        method="supervised",
        methods=_method,
        parts={r"(?=(conv1|bn1|layer\d)\.)": "backbone", r"fc\.": "classifier"},
        needs=(r"conv1\.weight", r"layer1\.0\.conv1\.weight", r"layer4\."),
        build=_resnet,
        preparation=Preparation(),
    ),
    Layout(
        name="torchvision_r2plus1d",
        codebase="torchvision",
        method="supervised",
        parts={r"(?=(stem|layer\d)\.)": "backbone", r"fc\.": "classifier"},
        needs=(r"stem\.0\.weight", r"layer1\.0\.conv1\.0\.0\.weight"),
        build=_r2plus1d,
        preparation=Preparation(
            num_frames=16,
            frames_per_second=15.0,
            exact_size=(128, 171),
            crop=112,
            antialias=False,
            mean=(0.43216, 0.394666, 0.37645),
            std=(0.22803, 0.22145, 0.216989),
        ),
    ),
)
