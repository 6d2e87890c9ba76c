"""PySlowFast (facebookresearch/SlowFast): contrastive_ssl (SimCLR, MoCo, BYOL, SwAV), and supervised or linear models.

Which tensor the reference returns when it is called for features depends on the method: the projection as it is for MoCo and
BYOL, L2-normalised for SimCLR and SwAV. Both are here, under their own names.
"""

import re
from typing import Any

from torch import nn

from fullrank.checkpoint.interop._backbones import resnet
from fullrank.checkpoint.interop._heads import Scores, head
from fullrank.checkpoint.interop._layout import Layout, Parts, State
from fullrank.checkpoint.interop._network import Network
from fullrank.checkpoint.interop._settings import number, numbers, read_yaml, section
from fullrank.types import Preparation

SPATIAL_STRIDE = 32
"""of the whole network"""
BRANCH2 = {"a": "conv1", "b": "conv2", "c": "conv3", "a_bn": "bn1", "b_bn": "bn2", "c_bn": "bn3"}
SHORTCUT = {"branch1": "downsample.0", "branch1_bn": "downsample.1"}
ARCHITECTURES = {"slow": "slow", "c2d": "c2d", "i3d": "i3d"}


def ours(key: str) -> str:
    """A key of PySlowFast's ResNet in our names.

    >>> ours("s1.pathway0_stem.bn.weight"), ours("s4.pathway0_res2.branch2.b_bn.bias"), ours("s2.pathway0_res0.branch1.weight")
    ('bn1.weight', 'layer3.2.bn2.bias', 'layer1.0.downsample.0.weight')
    """
    if found := re.fullmatch(r"s1\.pathway0_stem\.(conv|bn)\.(\w+)", key):
        return f"{found[1]}1.{found[2]}"
    if found := re.fullmatch(r"s([2-5])\.pathway0_res(\d+)\.branch2\.(\w+)\.(\w+)", key):
        return f"layer{int(found[1]) - 1}.{found[2]}.{BRANCH2.get(found[3], found[3])}.{found[4]}"
    if found := re.fullmatch(r"s([2-5])\.pathway0_res(\d+)\.(branch1(?:_bn)?)\.(\w+)", key):
        return f"layer{int(found[1]) - 1}.{found[2]}.{SHORTCUT[found[3]]}.{found[4]}"
    return key


def _backbone(state: State, settings: dict[str, Any]) -> nn.Module:
    architecture = str(section(_cfg(settings), "MODEL").get("ARCH", ""))
    return resnet({ours(key): tensor for key, tensor in state.items()}, ARCHITECTURES.get(architecture))


def _cfg(settings: dict[str, Any]) -> dict[str, Any]:
    return read_yaml(settings.get("cfg"))


def _contrastive(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    second = None
    if "momentum_backbone" in parts:
        second = Network(
            _backbone(parts["momentum_backbone"], settings),
            projector=head(parts["momentum_projector"]) if "momentum_projector" in parts else None,
            normalizes=True,
        )
    network = Network(
        _backbone(parts["backbone"], settings),
        projector=head(parts["projector"]) if "projector" in parts else None,
        predictor=head(parts["predictor"]) if "predictor" in parts else None,
        scores=Scores(parts["prototypes"]["weight"]) if "prototypes" in parts else None,
        scores_beside=True,
        normalizes=True,
        second=second,
    )
    if network.projector is not None:
        returned = "embedding_raw" if _method(parts, settings) in ("MoCo", "BYOL") else "embedding"
        network.more["forward_index_none"] = lambda net, pixels: net(pixels)[returned]
    return network


NAMES = {"simclr": "SimCLR", "moco": "MoCo", "byol": "BYOL", "swav": "SwAV"}


def _method(parts: Parts, settings: dict[str, Any]) -> str:
    """By the settings; without them by what there is, which a stripped file may have lost."""
    if name := NAMES.get(str(section(_cfg(settings), "CONTRASTIVE").get("TYPE", "")).lower()):
        return name
    if "projector" not in parts:
        return "SimCLR, MoCo, BYOL or SwAV, without its head"
    if "prototypes" in parts:
        return "SwAV"
    if "predictor" in parts:
        return "BYOL"
    return "MoCo" if "momentum_backbone" in parts else "SimCLR"


def _supervised(parts: Parts, settings: dict[str, Any]) -> nn.Module:
    """With the pool of ResNetBasicHead: a whole training clip; contrastive models average over the whole map instead.

    A file without the classifier (DETACH_FINAL_FC, or stripped of it) is averaged over the whole map too.
    """
    if "classifier" not in parts:
        return Network(_backbone(parts["backbone"], settings))
    data = section(_cfg(settings), "DATA")
    side = int(number(data.get("TRAIN_CROP_SIZE", 224))) // SPATIAL_STRIDE
    pool = (int(number(data.get("NUM_FRAMES", 8))), side, side)
    return Network(_backbone(parts["backbone"], settings), classifier=head(parts["classifier"]), pool=pool, softmax=True)


def preparation(settings: dict[str, Any]) -> Preparation:
    """From the configuration in the file, where there is one; else of the published 8x8 models."""
    data, test = section(_cfg(settings), "DATA"), section(_cfg(settings), "TEST")
    mean, std = numbers(data.get("MEAN", [0.45] * 3), 3), numbers(data.get("STD", [0.225] * 3), 3)
    (single,) = numbers(data.get("TRAIN_JITTER_SCALES", [256, 320]), 1)
    crop = int(number(data.get("TEST_CROP_SIZE", 256)))
    return Preparation(
        num_frames=int(number(data.get("NUM_FRAMES", 8))),
        sampling_rate=int(number(data.get("SAMPLING_RATE", 8))),
        frames_per_second=number(data.get("TARGET_FPS", 30)),
        rule="pyslowfast",
        short_side=int(single),  # of a single spatial view
        crop_is_short_side=True,
        crop=crop,
        antialias=False,
        mean=mean,  # type: ignore[arg-type]
        std=std,  # type: ignore[arg-type]
        clips=int(number(test.get("NUM_ENSEMBLE_VIEWS", 10))),
        crops=int(number(test.get("NUM_SPATIAL_CROPS", 3))),
    )


_HEAD = r"head\.projection\.(projection\.)?"
_PREDICTOR = r"head\.predictors\.0\.(projection\.)?"

LAYOUTS = (
    Layout(
        name="pyslowfast_contrastive",
        codebase="facebookresearch/SlowFast, contrastive_ssl",
        method="SimCLR, MoCo, BYOL or SwAV",
        methods=_method,
        parts={
            rf"backbone\.{_HEAD}": "projector",
            rf"backbone\.{_PREDICTOR}": "predictor",
            r"backbone\.(?=s\d\.)": "backbone",
            rf"backbone_hist\.{_HEAD}": "momentum_projector",
            r"backbone_hist\.(?=s\d\.)": "momentum_backbone",
            r"swav_prototypes\.": "prototypes",
        },
        dropped={
            r"backbone_hist\.head\.predictors\.": "predictor of the momentum copy, which no method uses",
            r"(queue_x|queue_swav|ptr|iter)$": "queue and counters; only training needs them",
        },
        needs=(r"backbone\.s1\.pathway0_stem\.conv\.weight",),
        build=_contrastive,
        preparation=preparation,
    ),
    Layout(
        name="pyslowfast",
        codebase="facebookresearch/SlowFast",
        method="supervised, or a linear evaluation",
        parts={r"head\.projection\.": "classifier", r"(?=s\d\.)": "backbone"},
        needs=(r"s1\.pathway0_stem\.conv\.weight",),
        build=_supervised,
        preparation=preparation,
    ),
)
