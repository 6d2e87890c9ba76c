"""BYOL's PyTorch ports: sthalles/PyTorch-BYOL and yaox12/BYOL-PyTorch. DeepMind's own files are JAX pickles and are not read.

Both keep the encoder as a sequence of a ResNet's children; the projector is spelt projetion in both.
"""

from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import head
from fullrank.checkpoint.interop._layout import Layout, Parts, renamed
from fullrank.checkpoint.interop._network import Network
from fullrank.types import Preparation

CHILDREN = {
    r"0\.": "conv1.",
    r"1\.": "bn1.",
    r"4\.": "layer1.",
    r"5\.": "layer2.",
    r"6\.": "layer3.",
    r"7\.": "layer4.",
}


def _build(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    second = None
    if "target_backbone" in parts:
        projector = head(parts["target_projector"])
        second = Network(resnet(renamed(parts["target_backbone"], CHILDREN)), projector=projector, normalizes=True)
    return Network(
        resnet(renamed(parts["backbone"], CHILDREN)),
        projector=head(parts["projector"]),
        predictor=head(parts["predictor"]) if "predictor" in parts else None,
        normalizes=True,
        second=second,
        second_name="target",
    )


LAYOUTS = (
    Layout(
        name="byol_sthalles",
        codebase="sthalles/PyTorch-BYOL",
        method="BYOL",
        parts={
            r"online_network_state_dict/encoder\.": "backbone",
            r"online_network_state_dict/projetion\.net\.": "projector",
            r"target_network_state_dict/encoder\.": "target_backbone",
            r"target_network_state_dict/projetion\.net\.": "target_projector",
        },
        needs=(r"online_network_state_dict/encoder\.", r"online_network_state_dict/projetion\."),
        build=_build,
        preparation=Preparation(),
    ),
    Layout(
        name="byol_yaox12",
        codebase="yaox12/BYOL-PyTorch",
        method="BYOL",
        parts={
            r"online_network\.encoder\.": "backbone",
            r"online_network\.projetion\.": "projector",
            r"target_network\.encoder\.": "target_backbone",
            r"target_network\.projetion\.": "target_projector",
            r"predictor\.predictor\.": "predictor",
        },
        needs=(r"online_network\.encoder\.", r"online_network\.projetion\."),
        build=_build,
        preparation=Preparation(),
    ),
)
