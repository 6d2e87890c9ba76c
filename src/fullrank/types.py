"""The nouns: every dataclass that crosses a folder border. Axis order everywhere: batch, views, channels, time, height, width.

They are treated as read-only; those that go through Fabric's wrapper cannot be frozen (it refuses frozen dataclasses).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64, UInt8
from numpy.typing import NDArray
from torch import Tensor

from fullrank.config import Augmentation
from fullrank.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Which frames make a clip, and how large they are kept."""

    num_frames: int
    frames_per_second: float
    canvas_pixels: int
    """short side of the kept frames; smaller frames are kept as they are"""
    span_ratio: float = 1.0
    """in training all clips of a record start within this share of its possible starts, a window drawn anew each time"""


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How another codebase turns a video or an image into pixels for its network.

    A clip covers ``num_frames * sampling_rate`` frames of a video that has ``frames_per_second`` (others are stretched).
    """

    num_frames: int = 1
    sampling_rate: int = 1
    """frames of the video between frames of the clip, at ``frames_per_second``"""
    frames_per_second: float = 30.0
    """0: the video's own, whatever it is"""
    rule: Literal["pyslowfast", "pytorchvideo", "consecutive"] = "consecutive"
    """which frames: pyslowfast: uniformly spaced windows whose last does not touch the end, linspace over a window;
    pytorchvideo: linspace over the frames of a window of that many seconds; consecutive: every ``sampling_rate``-th frame"""
    short_side: int = 256
    """pixels that the short side is scaled to"""
    crop_is_short_side: bool = False
    """with several spatial views the short side is scaled to ``crop`` instead (PySlowFast)"""
    exact_size: tuple[int, int] | None = None
    """(height, width) that frames are scaled to instead, whatever their shape"""
    crop: int = 224
    """side of the square that is cut out"""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    antialias: bool = True
    """as PIL and torchvision do; PySlowFast and PyTorchVideo do not"""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    num_blocks: int = 0
    """DPC: the clip's frames are cut into so many consecutive blocks; 0: they are not"""
    clips: int = 1
    crops: int = 1
    """temporal and spatial views that the codebase averages when it tests"""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames decoded from one record at known times. An image is a clip of one frame."""

    frames: UInt8[np.ndarray, "time height width channels"]
    pts_seconds: Float64[np.ndarray, " time"]
    streams: Mapping[str, np.ndarray] = field(default_factory=dict)
    """further streams of the same moments (flow, audio); a flip changes the sign of flow"""


@dataclass(kw_only=True)
class ClipBatch:
    """What the loader hands over: decoded, not yet augmented."""

    frames: UInt8[Tensor, "batch clips time height width channels"]
    """padded at the bottom and right to the largest frame of the batch"""
    sizes: Int64[Tensor, "batch clips 2"]
    """height and width of the part that is picture"""
    start_seconds: Float64[Tensor, "batch clips"]
    index: Int64[Tensor, " batch"]
    """position in the source"""
    epoch: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(record id, reason) of files that could not be read; another record took their place"""
    flow: UInt8[Tensor, "batch clips time height width 2"] | None = None
    """optical flow to the next frame of the file, x and y; 128 = still, one step = 1/6 pixel of the canvas (20 px at most)"""


Stream = Literal["rgb", "gray", "difference", "flow"]
"""what a view shows: colours (3 channels), brightness (1), change from the frame before (3), optical flow (2)"""


@dataclass(frozen=True, kw_only=True)
class MaskSpec:
    """Which patches of a view are hidden (MAE, VideoMAE, V-JEPA). Drawn for each record and view."""

    ratio: float
    """share of hidden patches, in (0, 1); of tubes, of places at each time"""
    patch_pixels: int
    """side of a patch"""
    patch_frames: int = 1
    """frames of a patch"""
    kind: Literal["random", "tube"] = "random"
    """random: every patch by itself; tube: the same places at all times"""


@dataclass(frozen=True, kw_only=True)
class TileSpec:
    """A view cut into a grid of tiles, shown in an order that is to be found (Noroozi and Favaro, ECCV 2016)."""

    grid: int
    """tiles along each side"""
    gap_ratio: float = 0.15
    """room of a tile within its cell, as a share of the cell's side, and so the mean gap between neighbouring tiles"""
    permutations: int | None = None
    """the order is one of so many permutations far from each other, its number a target; None: tiles stay in place"""


@dataclass(frozen=True, kw_only=True)
class ViewSpec:
    """One view group that a method asks for.

    A view goes through the steps in the order of the fields: frames are chosen, augmented together (one draw a view), turned
    into a stream, cut into blocks or tiles, masked.
    """

    name: str
    """"view", "global", "local", ... the key in ``Views.pixels``"""
    augmentation: Augmentation
    views_per_clip: int = 1
    """views = clips * views_per_clip, clip-major: view index = clip * views_per_clip + j"""
    num_clips: int | None = None
    """take only the first so many clips of the record; None: all"""
    num_frames: int | None = None
    """frames of a view, out of the clip's from a drawn start on; None: all"""
    strides: tuple[int, ...] = (1,)
    """clip frames from one frame of a view to the next, cycled over the views (SVT's frame rates, BraVe's broad view)"""
    stream: Stream = "rgb"
    """what the view shows"""
    num_blocks: int = 1
    """cut the frames of a view into so many consecutive blocks, each a view (DPC)"""
    tiles: TileSpec | None = None
    """cut a view into tiles, each a view (jigsaw, PIRL)"""
    mask: MaskSpec | None = None
    """hide patches: fills ``Views.masks``"""


@dataclass(frozen=True, kw_only=True)
class ViewPlan:
    """What the data must provide for a method."""

    groups: tuple[ViewSpec, ...]
    num_clips: int = 1
    """rho: temporal clips of a record; for an image, all are the image"""
    num_frames: int | None = None
    """frames of a clip where the method decides it; None: ``data.num_frames``"""
    sampling: Literal["uniform", "near"] = "uniform"
    """where the clips of a record start: apart from each other at random, or near ones more often (CVRL)"""

    @property
    def needs_flow(self) -> bool:
        """Whether a group shows optical flow, which is computed into the cache of decoded frames."""
        return any(group.stream == "flow" for group in self.groups)


@dataclass
class Views:
    """What the method sees of one batch. There is no field for human labels."""

    pixels: dict[str, Tensor]
    """{group: float [batch, views, channels, time, height, width]}"""
    index: Tensor
    """int64 [batch]: position in the source"""
    masks: dict[str, Tensor] = field(default_factory=dict)
    """{group: bool [batch, views, tokens]}; True = hidden"""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """{name: [batch, ...]}: labels made from the data; "permutation:<group>" int64 [batch, views before cutting]"""

    def group(self, name: str) -> Tensor:
        """Pixels of one view group; ``ShapeError`` names the groups there are."""
        if name not in self.pixels:
            have = ", ".join(self.pixels)
            raise ShapeError(f"the views must contain group '{name}'. Got groups: {have}. Add it to the method's plan.")
        return self.pixels[name]


def _alone(tensor: Tensor) -> Tensor:
    return tensor


@dataclass
class StepContext:
    """Where in the run a step is, and the two things a method may take from outside."""

    step: int = 0
    total_steps: int = 1
    steps_per_epoch: int = 1
    progress: float = 0.0
    """0..1 over the whole run"""
    gather: Callable[[Tensor], Tensor] = _alone
    """[n, ...] of this process -> [n * processes, ...] of all, in record order; differentiable"""
    generator: torch.Generator | None = None
    """the same on every process, from (seed, step); on the CPU"""

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.step / self.steps_per_epoch


@dataclass
class Output:
    """What a method returns."""

    losses: dict[str, Tensor]
    """{term: scalar, already weighted}; the loss is their sum"""
    features: dict[str, Tensor]
    """{name: float [batch, views, d]} detached: "representation"; "embedding", "prediction", "teacher" where there are"""
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """{name: scalar} to log"""
    carry: dict[str, Tensor] = field(default_factory=dict)
    """{name: tensor} that ``after_step`` needs"""

    @property
    def loss(self) -> Tensor:
        """Sum of the terms."""
        return torch.stack(list(self.losses.values())).sum()


@dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """Features on disk, memory-mapped; one row a clip."""

    representation: NDArray[np.float32]
    """[rows, d]"""
    embedding: NDArray[np.float32] | None
    """[rows, k], as the head gives it"""
    embedding_normalized: NDArray[np.float32] | None = None
    """[rows, k], L2-normalised; of other codebases' checkpoints"""
    labels: dict[str, NDArray[np.int64]]
    """{name: [rows]}; -1 = unknown"""
    record: NDArray[np.int64]
    """[rows]: position in the source"""
    start_seconds: NDArray[np.float64]
    """[rows]: start of the clip"""
    record_ids: list[str]
    """name of each record of the source"""
    classes: dict[str, list[str]]
    """{label name: class names}"""
    manifest: dict[str, Any]
    """hashes of checkpoint, data and settings; which branch; shapes and versions"""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Eigenvalues of the covariance of n features of width d, with what a reader must know about them."""

    eigenvalues: NDArray[np.float64]
    """[d], descending, of the covariance (1/n) sum (x - m)(x - m)^T, or of the second moment where not centred"""
    n: int
    d: int
    centred: bool
    normalized: bool
    """rows were L2-normalised first"""
    mean: NDArray[np.float64]
    """[d]"""
    variance: NDArray[np.float64]
    """[d]: of each dimension"""

    @property
    def singular_values(self) -> NDArray[np.float64]:
        """[min(n, d)] of the (centred) n x d matrix: sqrt(n * eigenvalue)."""
        kept = self.eigenvalues[: min(self.n, self.d)]
        return np.sqrt(np.clip(kept, 0.0, None) * self.n)

    @property
    def bound(self) -> int:
        """No rank of these features can exceed this."""
        return min(self.n - 1 if self.centred else self.n, self.d)
