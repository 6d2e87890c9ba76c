"""Parameters of the papers' tables: 31.8M (Slow R50), 15.4M (R(2+1)D-18), 9.1M (S3D-G); where ours differ, why."""

import pytest
from torch import nn

from fullrank.backbones.resnet import ResNet
from fullrank.backbones.s3d import S3D

KINETICS_CLASSES, UCF_CLASSES = 400, 101


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_slow_r50_is_31_8_million_with_the_classifier_of_ucf101() -> None:
    """The table's column is finetuning on UCF101; the backbone alone has 31.6 million, with Kinetics-400's classes 32.5."""
    backbone = ResNet(50, temporal="slow")
    assert count(backbone) == 31_634_496
    assert round((count(backbone) + count(nn.Linear(2048, UCF_CLASSES))) / 1e6, 1) == 31.8
    assert count(backbone) + count(nn.Linear(2048, KINETICS_CLASSES)) == 32_454_096


def test_s3d_g_is_9_1_million() -> None:
    assert round(count(S3D(gating=True)) / 1e6, 1) == 9.1
    assert count(S3D(gating=True)) == 9_098_000
    assert count(S3D(gating=False)) == 7_910_048


def test_r2plus1d_is_15_4_million_where_the_middle_is_not_widened() -> None:
    """Tran et al. (CVPR 2018) widen the middle of each pair until it has as many parameters as the 3D convolution it replaces.

    That network, torchvision's and ours, has 31.5 million. The table's 15.4 belong to pairs whose middle is as wide as their
    output: counted here from ours, pair by pair.
    """
    backbone = ResNet(18, temporal="r2plus1d")
    assert count(backbone) + count(nn.Linear(512, KINETICS_CLASSES)) == 31_505_325  # what torchvision's own page says
    pairs = [part for part in backbone.modules() if isinstance(part, nn.Sequential) and _is_pair(part)]
    assert len(pairs) == 17
    narrow = count(backbone) - sum(map(count, pairs)) + sum(map(_unwidened, pairs))
    assert round(narrow / 1e6, 1) == 15.4


def _is_pair(part: nn.Sequential) -> bool:
    return len(part) == 4 and isinstance(part[0], nn.Conv3d) and isinstance(part[3], nn.Conv3d)


def _unwidened(pair: nn.Sequential) -> int:
    space, time = pair[0], pair[3]
    out = time.out_channels
    per_place = space.kernel_size[1] * space.kernel_size[2]
    return out * space.in_channels * per_place + 2 * out + out * out * time.kernel_size[0]


@pytest.mark.parametrize(("depth", "temporal", "million"), [(50, "c2d", 23.5), (50, "i3d", 27.2)])
def test_kin_of_the_slow_r50(depth, temporal, million) -> None:
    assert round(count(ResNet(depth, temporal=temporal)) / 1e6, 1) == million
