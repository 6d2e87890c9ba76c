"""The ResNet family: depths 18, 34 and 50, on frames (2d) or on clips (Slow, C2D, I3D, R(2+1)D, and DPC's 2d3d).

2D: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385, with the stride of a
bottleneck on its 3x3 convolution ("v1.5", as torchvision). Slow: the slow pathway of Feichtenhofer, Fan, Malik, He, "SlowFast
Networks for Video Recognition", ICCV 2019, arXiv 1812.03982, table 1: the first convolution of each block has a temporal
kernel of 1, 1, 3, 3 in the four stages, and time is never strided. C2D and I3D: Wang, Girshick, Gupta, He, "Non-local Neural
Networks", CVPR 2018, arXiv 1711.07971, section 4, with PySlowFast's kernels: time is halved once, by a pool behind the first
stage. R(2+1)D: Tran, Wang, Torresani, Ray, LeCun, Paluri, "A Closer Look at Spatiotemporal Convolutions", CVPR 2018, arXiv
1711.11248, as torchvision: each 3D convolution is one in space and one in time. 2d3d: Han, Xie, Zisserman, "Video
Representation Learning by Dense Predictive Coding", ICCV Workshops 2019, arXiv 1909.04656, as in its code: every 3x3
convolution of the last two stages is 3x3x3 and halves time where it halves space, the last stage is as wide as the third, and
the last block ends without a ReLU (its map is what DPC predicts).

The keys of the state dict are torchvision's (conv1, bn1, layer1.0.conv1, layer2.0.downsample.0, ...), without fc, in all.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fullrank.backbones.conv import Conv2d, Conv3d
from fullrank.errors import SettingError, ShapeError

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""{depth: residual blocks of each stage}"""
EXPANSION = 4
"""channels that leave a bottleneck block, as a multiple of those of its 3x3 convolution"""
STAGES = ("layer1", "layer2", "layer3", "layer4")
Temporal = Literal["2d", "slow", "c2d", "i3d", "r2plus1d", "2d3d"]
TIME_KERNELS: dict[str, tuple[tuple[int, ...], ...]] = {
    "2d": ((1,), (1,), (1,), (1,)),
    "slow": ((1,), (1,), (3,), (3,)),
    "c2d": ((1,), (1,), (1,), (1,)),
    "i3d": ((3,), (3, 1), (3, 1), (1, 3)),
    "r2plus1d": ((3,), (3,), (3,), (3,)),
    "2d3d": ((1,), (1,), (3,), (3,)),
}
"""{temporal: for each stage, temporal kernels of its blocks in turn}, of the convolutions that have one"""
STEM_TIME_KERNEL = {"i3d": 5}
TIME_STRIDED = {"r2plus1d": (1, 2, 3), "2d3d": (2, 3)}
"""stages that halve time where they halve space"""
TIME_POOLED = ("c2d", "i3d")
"""time is halved by a pool behind the first stage"""


def _conv(
    ndim: int, c_in: int, c_out: int, kernel: int, stride: int = 1, time_kernel: int = 1, time_stride: int = 1
) -> nn.Module:
    """Convolution without bias that keeps the size at stride 1."""
    pad = kernel // 2
    if ndim == 2:
        return Conv2d(c_in, c_out, kernel, stride, pad, bias=False)
    sizes = (time_kernel, kernel, kernel), (time_stride, stride, stride), (time_kernel // 2, pad, pad)
    return Conv3d(c_in, c_out, *sizes, bias=False)


def _norm(ndim: int, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if ndim == 2 else nn.BatchNorm3d(channels)


def _conv2plus1d(c_in: int, c_out: int, middle: int, stride: int, time_stride: int) -> nn.Module:
    """3x3x3 as 1x3x3, norm, ReLU, 3x1x1."""
    space = Conv3d(c_in, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
    time = Conv3d(middle, c_out, (3, 1, 1), (time_stride, 1, 1), (1, 0, 0), bias=False)
    return nn.Sequential(space, nn.BatchNorm3d(middle), nn.ReLU(inplace=True), time)


class _FramePool(nn.Module):
    """Max-pool 3x3 stride 2 of every frame.

    For clips, frames are pooled as pictures: max_pool3d is cast to float32 by CPU autocast, which would also keep the
    shortcuts of the whole first stage in float32, and is five times slower there. Folding is free in channels last.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 4:
            return nn.functional.max_pool2d(x, 3, 2, 1)
        frames = nn.functional.max_pool2d(x.transpose(1, 2).flatten(0, 1), 3, 2, 1)
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)  # type: ignore[no-any-return]


def _time_kernels(temporal: str, stage: int, block: int, bottleneck: bool) -> tuple[int, ...]:
    """Temporal kernels of the convolutions of a block: one on the first, or (2d3d) on every 3x3."""
    pattern = TIME_KERNELS[temporal][stage]
    k = pattern[block % len(pattern)]
    if temporal == "2d3d":
        return (1, k, 1) if bottleneck else (k, k)
    return (k, 1, 1)


class _Block(nn.Module):
    """A residual block: relu(shortcut(x) + convolutions(x)); two 3x3, or 1x1, 3x3 and 1x1 with four times the channels.

    ``time_kernels`` are the temporal kernels of its convolutions; ``last_relu`` off: what is put out may be negative;
    ``factorised``: two 3x3x3, each as one in space and one in time with as many weights (paper, section 3.5).
    """

    def __init__(
        self,
        ndim: int,
        c_in: int,
        planes: int,
        stride: int,
        time_kernels: tuple[int, ...],
        bottleneck: bool,
        time_stride: int = 1,
        last_relu: bool = True,
        factorised: bool = False,
    ):
        super().__init__()
        c_out, k = planes * EXPANSION if bottleneck else planes, time_kernels
        if bottleneck:
            convs = [
                (c_in, planes, 1, 1, k[0], 1),
                (planes, planes, 3, stride, k[1], time_stride),
                (planes, c_out, 1, 1, k[2], 1),
            ]
        else:
            convs = [(c_in, planes, 3, stride, k[0], time_stride), (planes, planes, 3, 1, k[1], 1)]
        self.num_convs, self.last_relu = len(convs), last_relu
        middle = c_in * planes * 27 // (c_in * 9 + 3 * planes)  # of both, by the first's widths, as torchvision
        for i, conv in enumerate(convs, start=1):
            whole = _conv2plus1d(conv[0], conv[1], middle, conv[3], conv[5]) if factorised else _conv(ndim, *conv)
            self.add_module(f"conv{i}", whole)
            self.add_module(f"bn{i}", _norm(ndim, conv[1]))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(_conv(ndim, c_in, c_out, 1, stride, 1, time_stride), _norm(ndim, c_out))

    def last_norm(self) -> nn.Module:
        return self.get_submodule(f"bn{self.num_convs}")

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.num_convs + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = self.relu(y) if i < self.num_convs else y
        y = y + (x if self.downsample is None else self.downsample(x))
        return self.relu(y) if self.last_relu else y


def fold_time(pixels: Float[Tensor, "batch channels time height width"]) -> Float[Tensor, "frames channels height width"]:
    """Frames as separate pictures, time first: all records' frame 0, then all records' frame 1, ...

    Time comes first so that consecutive rows stay consecutive records: a batch norm over fixed groups of rows
    (``fullrank.batch_norm``) then normalises over records, never over the frames of one. Free for one frame.
    """
    return pixels[:, :, 0] if pixels.shape[2] == 1 else pixels.permute(2, 0, 1, 3, 4).flatten(0, 1)


def unfold_time(rows: Tensor, time: int) -> Tensor:
    """Undo ``fold_time`` for anything made of frames: [time * batch, channels, ...] -> [batch, channels, time, ...]."""
    return rows.unflatten(0, (time, -1)).movedim(0, 2)  # type: ignore[no-any-return]


def to_channels_last(module: nn.Module) -> nn.Module:
    """Store every convolution's weight channels last (2D and 3D), in place; the ResNet then runs in that layout.

    The function computed is the same. On a CPU with bf16 autocast it makes a training step 1.5 to 2 times as fast as plain
    float32, more for larger networks (benchmarks/backbones.py). State dicts are interchangeable: loading keeps the layout.
    """
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for part in module.modules():
        weight = getattr(part, "weight", None)
        if isinstance(part, nn.modules.conv._ConvNd) and isinstance(weight, nn.Parameter) and weight.ndim in formats:
            weight.data = weight.data.contiguous(memory_format=formats[weight.ndim])
    return module


class ResNet(nn.Module):
    """pixels [batch, channels, time, height, width] -> representation [batch, embed_dim].

    Args:
        depth: 18, 34 or 50.
        width: factor on the channels of every stage (1.0: 64, 128, 256, 512; times 4 at the block ends of depth 50).
        stem: "imagenet": 7x7 stride 2 and max-pool; "cifar": 3x3 stride 1 without a pool, for small pictures.
        temporal: "2d": each frame apart, and the frames' features averaged; all others: 3D convolutions. "slow" keeps time;
            "c2d" and "i3d" halve it (rounded down) behind the first stage; "r2plus1d" (depths 18 and 34) halves it (rounded
            up) before each of the last three stages and has a stem of its own without a pool; "2d3d" halves it before each of
            the last two, and its stages are 64, 128, 256, 256 wide.
        in_channels: channels of the pixels.
        zero_init_residual: start every block as its shortcut (the last norm's scale is 0; Goyal et al., 2017, arXiv
            1706.02677, section 5.1). Off, as in torchvision and in PySlowFast's self-supervised configurations; the
            authors' code of Barlow Twins, VICReg and SimSiam turns it on.

    Initialisation: Kaiming normal over fan-out (as torchvision and PySlowFast), norms 1 and 0.
    """

    def __init__(
        self,
        depth: int = 18,
        width: float = 1.0,
        stem: Literal["imagenet", "cifar"] = "imagenet",
        temporal: Temporal = "2d",
        *,
        in_channels: int = 3,
        zero_init_residual: bool = False,
    ):
        super().__init__()
        _check(depth, width, stem, temporal)
        self.in_channels, self.temporal = in_channels, temporal
        base, ndim = round(64 * width), 2 if temporal == "2d" else 3
        bottleneck = depth == 50
        self.conv1, self.maxpool = _stem(ndim, in_channels, base, stem, temporal)
        self.bn1, self.relu = _norm(ndim, base), nn.ReLU(inplace=True)
        self.time_pool = nn.MaxPool3d((2, 1, 1)) if temporal in TIME_POOLED else nn.Identity()
        c_in, stages = base, []
        predictive, factorised = temporal == "2d3d", temporal == "r2plus1d"
        for i, count in enumerate(BLOCKS[depth]):
            planes, layers = base * 2 ** (min(i, 2) if predictive else i), []
            for j in range(count):
                kernels = _time_kernels(temporal, i, j, bottleneck)
                stride = 2 if i > 0 and j == 0 else 1
                time_stride = stride if i in TIME_STRIDED.get(temporal, ()) else 1
                last_relu = not (predictive and i == 3 and j == count - 1)
                layers.append(_Block(ndim, c_in, planes, stride, kernels, bottleneck, time_stride, last_relu, factorised))
                c_in = planes * EXPANSION if bottleneck else planes
            stages.append(nn.Sequential(*layers))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.embed_dim = c_in
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(part, _Block):
                nn.init.zeros_(part.last_norm().weight)  # type: ignore[arg-type]

    def _start(self, pixels: Tensor) -> Tensor:
        if pixels.ndim != 5 or pixels.shape[1] != self.in_channels:
            raise ShapeError(
                f"the ResNet's pixels must be [batch, {self.in_channels}, time, height, width]. Got {list(pixels.shape)}. "
                "An image has one frame: pixels.unsqueeze(2)."
            )
        x = fold_time(pixels) if self.temporal == "2d" else pixels
        # The layout follows the weights (to_channels_last): otherwise every convolution would reorder one of the two.
        first: Any = self.layer1[0]
        inner: Any = first.conv2[0] if isinstance(first.conv2, nn.Sequential) else first.conv2
        if not inner.weight.is_contiguous():
            x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.channels_last_3d)
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))  # type: ignore[no-any-return]

    def _stage(self, name: str, x: Tensor) -> Tensor:
        x = getattr(self, name)(x)
        pooled = name == STAGES[0] and x.ndim == 5 and x.shape[2] > 1  # a picture keeps its only frame
        return self.time_pool(x) if pooled else x

    def forward(self, pixels: Float[Tensor, "batch channels time height width"]) -> Float[Tensor, "batch embed_dim"]:
        """The last stage averaged over time and space, in float32 or wider whatever the autocast; contiguous.

        ``ShapeError`` where the pixels are not five-dimensional or have other channels.
        """
        x = self._start(pixels)
        for stage in STAGES:
            x = self._stage(stage, x)
        wide = torch.promote_types(x.dtype, torch.float32)
        h = x.mean(dim=tuple(range(2, x.ndim)), dtype=wide)
        if self.temporal == "2d" and pixels.shape[2] > 1:
            h = unfold_time(h, pixels.shape[2]).mean(2)
        return h.contiguous()

    def maps(self, pixels: Float[Tensor, "batch channels time height width"]) -> dict[str, Tensor]:
        """{"layer1": [batch, channels, time, height, width], ... "layer4"}: what the four stages put out."""
        x, found = self._start(pixels), {}
        for stage in STAGES:
            x = self._stage(stage, x)
            found[stage] = unfold_time(x, pixels.shape[2]) if self.temporal == "2d" else x
        return found


def _stem(ndim: int, in_channels: int, width: int, stem: str, temporal: str) -> tuple[nn.Module, nn.Module]:
    """First convolution and pool."""
    if temporal == "r2plus1d":
        middle = 45 * width // 64
        space = nn.Conv3d(in_channels, middle, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False)
        time = Conv3d(middle, width, (3, 1, 1), 1, (1, 0, 0), bias=False)
        return nn.Sequential(space, nn.BatchNorm3d(middle), nn.ReLU(inplace=True), time), nn.Identity()
    kernel = STEM_TIME_KERNEL.get(temporal, 1)
    if stem == "imagenet":
        return _conv(ndim, in_channels, width, 7, 2, kernel), _FramePool()
    return _conv(ndim, in_channels, width, 3, 1, kernel), nn.Identity()


def _check(depth: int, width: float, stem: str, temporal: str) -> None:
    for name, got, known in (
        ("depth", depth, tuple(BLOCKS)),
        ("stem", stem, ("imagenet", "cifar")),
        ("temporal", temporal, tuple(TIME_KERNELS)),
    ):
        if got not in known:
            raise SettingError(f"{name} of the ResNet must be one of {', '.join(map(str, known))}. Got {got!r}.")
    if temporal == "r2plus1d" and (depth == 50 or stem != "imagenet"):
        raise SettingError(
            f"temporal 'r2plus1d' of the ResNet must go with depth 18 or 34 and its own stem. Got depth {depth}, stem {stem!r}."
        )
    if round(64 * width) < 1:
        raise SettingError(f"width of the ResNet must leave at least one of 64 channels. Got {width}; try 0.25.")
