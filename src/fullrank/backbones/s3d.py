"""S3D and S3D-G: an Inception network whose 3D convolutions are separated into space and time, with or without feature gating.

Xie, Sun, Huang, Tu, Murphy, "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification",
ECCV 2018, arXiv 1712.04851, figures 5 and 11; in the form of CoCLR (Han, Xie, Zisserman, NeurIPS 2020, arXiv 2010.09709): the
stem strides time too, norms have epsilon 1e-5, and the last gate's weights go with each branch. Keys are the paper's names of
the layers (Conv_1a, Mixed_3b, ...).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fullrank.backbones.conv import Conv3d
from fullrank.errors import ShapeError

MIXED: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], int]] = {
    "Mixed_3b": (64, (96, 128), (16, 32), 32),
    "Mixed_3c": (128, (128, 192), (32, 96), 64),
    "Mixed_4b": (192, (96, 208), (16, 48), 64),
    "Mixed_4c": (160, (112, 224), (24, 64), 64),
    "Mixed_4d": (128, (128, 256), (24, 64), 64),
    "Mixed_4e": (112, (144, 288), (32, 64), 64),
    "Mixed_4f": (256, (160, 320), (32, 128), 128),
    "Mixed_5b": (256, (160, 320), (32, 128), 128),
    "Mixed_5c": (384, (192, 384), (48, 128), 128),
}
"""channels of the four branches: 1x1; 1x1 then 3x3x3; 1x1 then 3x3x3; pool then 1x1"""
STAGES = {
    "block1": ("Conv_1a",),
    "block2": ("MaxPool_2a", "Conv_2b", "Conv_2c"),
    "block3": ("MaxPool_3a", "Mixed_3b", "Mixed_3c"),
    "block4": ("MaxPool_4a", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e", "Mixed_4f"),
    "block5": ("MaxPool_5a", "Mixed_5b", "Mixed_5c"),
}


class _Conv(nn.Module):
    """1x1x1 convolution, norm, ReLU."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv, self.bn = nn.Conv3d(c_in, c_out, 1, bias=False), nn.BatchNorm3d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()  # type: ignore[no-any-return]


class _SeparableConv(nn.Module):
    """1 x k x k, norm, ReLU, then k x 1 x 1, norm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1):
        super().__init__()
        k, pad = kernel, kernel // 2
        self.conv1 = Conv3d(c_in, c_out, (1, k, k), (1, stride, stride), (0, pad, pad), bias=False)
        self.bn1 = nn.BatchNorm3d(c_out)
        self.conv2 = Conv3d(c_out, c_out, (k, 1, 1), (stride, 1, 1), (pad, 0, 0), bias=False)
        self.bn2 = nn.BatchNorm3d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()  # type: ignore[no-any-return]


class _Gate(nn.Module):
    """x * sigmoid(W mean(x) + b), the mean over time and space (paper, section 4.4)."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc(x.mean((2, 3, 4))))[:, :, None, None, None]


class _Mixed(nn.Module):
    """Four branches side by side, each gated where ``gating``."""

    def __init__(self, c_in: int, widths: tuple[int, tuple[int, ...], tuple[int, ...], int], gating: bool):
        super().__init__()
        one, (reduce1, out1), (reduce2, out2), pooled = widths
        self.c_out = one + out1 + out2 + pooled
        self.branch0 = nn.Sequential(_Conv(c_in, one))
        self.branch1 = nn.Sequential(_Conv(c_in, reduce1), _SeparableConv(reduce1, out1, 3))
        self.branch2 = nn.Sequential(_Conv(c_in, reduce2), _SeparableConv(reduce2, out2, 3))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), _Conv(c_in, pooled))
        self.gating = gating
        if gating:
            self.gating_b0, self.gating_b1 = _Gate(one), _Gate(out1)
            self.gating_b2, self.gating_b3 = _Gate(out2), _Gate(pooled)

    def forward(self, x: Tensor) -> Tensor:
        found = [branch(x) for branch in (self.branch0, self.branch1, self.branch2, self.branch3)]
        if self.gating:
            gates = (self.gating_b0, self.gating_b1, self.gating_b2, self.gating_b3)
            found = [gate(part) for gate, part in zip(gates, found, strict=True)]
        return torch.cat(found, dim=1)


class S3D(nn.Module):
    """pixels [batch, channels, time, height, width] -> representation [batch, 1024], the last stage averaged.

    Args:
        gating: S3D-G, with feature gating behind every branch.
        in_channels: channels of the pixels.

    Time is divided by 8 and space by 32, so that pixels must have at least 8 frames and 32 pixels a side. Initialisation:
    convolutions normal with standard deviation 0.01 cut at two of them, as the paper's code; norms 1 and 0.
    """

    def __init__(self, *, gating: bool = False, in_channels: int = 3):
        super().__init__()
        self.in_channels, self.embed_dim = in_channels, 1024
        self.Conv_1a = _SeparableConv(in_channels, 64, 7, 2)
        self.Conv_2b, self.Conv_2c = _Conv(64, 64), _SeparableConv(64, 192, 3)
        self.MaxPool_2a = self.MaxPool_3a = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.MaxPool_4a, self.MaxPool_5a = nn.MaxPool3d(3, 2, 1), nn.MaxPool3d(2, 2)
        c_in = 192
        for name, widths in MIXED.items():
            mixed = _Mixed(c_in, widths, gating)
            self.add_module(name, mixed)
            c_in = mixed.c_out
        for part in self.modules():
            if isinstance(part, nn.Conv3d):
                nn.init.trunc_normal_(part.weight, std=0.01, a=-0.02, b=0.02)

    def forward(self, pixels: Float[Tensor, "batch channels time height width"]) -> Float[Tensor, "batch embed_dim"]:
        """Mean over time and space of the last stage, in float32 or wider; contiguous. ``ShapeError`` as ``maps``."""
        x = self.maps(pixels)["block5"]
        return x.mean((2, 3, 4), dtype=torch.promote_types(x.dtype, torch.float32)).contiguous()

    def maps(self, pixels: Float[Tensor, "batch channels time height width"]) -> dict[str, Tensor]:
        """{"block1": [batch, channels, time, height, width], ... "block5"}; ``ShapeError`` where the pixels are too small."""
        if pixels.ndim != 5 or pixels.shape[1] != self.in_channels or pixels.shape[2] < 8 or min(pixels.shape[3:]) < 32:
            raise ShapeError(
                f"S3D's pixels must be [batch, {self.in_channels}, time, height, width] with at least 8 frames of 32 x 32. "
                f"Got {list(pixels.shape)}; raise data.num_frames or the crop."
            )
        x, found = pixels, {}
        if not self.Conv_2c.conv1.weight.is_contiguous():  # the layout follows the weights (resnet.to_channels_last)
            x = x.contiguous(memory_format=torch.channels_last_3d)
        for stage, names in STAGES.items():
            for name in names:
                x = getattr(self, name)(x)
            found[stage] = x
        return found
