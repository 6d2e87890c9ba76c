"""What a method asks for, and its making: a batch of decoded clips -> views on the device.

Every parameter is a function of (seed, epoch, record, view group, view), drawn for the whole batch at once: the same views
come out for any number of workers, any batch and any device (pixels agree to rounding; see geometry.py for the 8-bit resize).
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from fullrank import draws
from fullrank.config import Augmentation
from fullrank.errors import SettingError, ShapeError
from fullrank.types import ClipBatch, ViewPlan, Views, ViewSpec
from fullrank.views import geometry, photometric
from fullrank.views.geometry import Placement
from fullrank.views.photometric import Look, Scale

_CHUNK_BYTES = {"cpu": 2**20, "cuda": 2**28}
"""views that are made together: on a CPU as many as stay in its cache"""


def multi_view(rho: int, augmentation: Augmentation, name: str = "view") -> ViewPlan:
    """Positives from time: rho clips with one view each (rho >= 2), or two views of one clip (rho = 1).

    >>> multi_view(1, Augmentation()).groups[0].views_per_clip, multi_view(3, Augmentation()).num_clips
    (2, 3)
    """
    if rho < 1:
        raise SettingError(f"rho must be at least 1. Got {rho}. Take 1 for two views of one clip, 2 for two clips.")
    group = ViewSpec(name=name, augmentation=augmentation, views_per_clip=2 if rho == 1 else 1)
    return ViewPlan(groups=(group,), num_clips=rho)


@torch.no_grad()
def make_views(batch: ClipBatch, plan: ViewPlan, seed: int, device: torch.device) -> Views:
    """Augmented views of every group of ``plan``: float32, normalised, [batch, views, channels, time, height, width]."""
    _check(batch)
    frames = batch.frames.to(device, non_blocking=True)
    pixels = {spec.name: _group(batch, frames, spec, seed) for spec in plan.groups}
    return Views(pixels=pixels, index=batch.index.to(device, non_blocking=True))


@torch.no_grad()
def center_views(
    batch: ClipBatch,
    size_pixels: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    crop_ratio: float | None = None,
) -> Float[Tensor, "batch clips channels time height width"]:
    """What evaluation sees: the central square, resized and normalised.

    ``crop_ratio``: side of the square as a share of the short side; None: 0.875 for sizes of 64 pixels and more (the
    usual 224 of 256), 1 below.
    """
    _check(batch)
    ratio = crop_ratio if crop_ratio is not None else (0.875 if size_pixels >= 64 else 1.0)
    if not 0 < ratio <= 1:
        raise SettingError(f"crop_ratio must be in (0, 1]. Got {ratio}. 0.875 is usual.")
    num, clips = batch.frames.shape[:2]
    aug = Augmentation(size_pixels=size_pixels, mean=mean, std=std)
    place = geometry.center_placement(batch.sizes.reshape(-1, 2).cpu().numpy(), ratio)
    frames = batch.frames.to(device, non_blocking=True)
    return _render(frames.flatten(0, 1), 1, place, photometric.plain_look(num * clips), aug).unflatten(0, (num, clips))[:, :, 0]


def _check(batch: ClipBatch) -> None:
    shape = tuple(batch.frames.shape)
    if len(shape) != 6 or shape[-1] != 3 or batch.frames.dtype != torch.uint8:
        raise ShapeError(
            "frames must be uint8 [batch, clips, time, height, width, 3]. "
            f"Got {str(batch.frames.dtype).removeprefix('torch.')} {list(shape)}. Convert the clips to RGB first."
        )


def _group(batch: ClipBatch, frames: Tensor, spec: ViewSpec, seed: int) -> Tensor:
    clips = spec.num_clips or frames.shape[1]
    if clips > frames.shape[1]:
        raise ShapeError(
            f"view group '{spec.name}' must find {clips} clips of each record. Got {frames.shape[1]}. Set the plan's num_clips."
        )
    num, views = len(frames), clips * spec.views_per_clip
    count = geometry.NUM_DRAWS + photometric.NUM_DRAWS
    u = draws.uniform(seed, batch.epoch, batch.index.cpu().numpy(), f"view:{spec.name}", views * count).reshape(-1, count)
    sizes = batch.sizes[:, :clips].reshape(-1, 2).cpu().numpy().repeat(spec.views_per_clip, 0)
    number = np.tile(np.arange(views), num)
    place = geometry.draw_placement(u[:, : geometry.NUM_DRAWS], sizes, spec.augmentation, number)
    look = photometric.draw_look(u[:, geometry.NUM_DRAWS :], spec.augmentation, number)
    pixels = _render(frames[:, :clips].flatten(0, 1), spec.views_per_clip, place, look, spec.augmentation)
    return pixels.view(num, views, *pixels.shape[2:])


def _render(
    frames: UInt8[Tensor, "clips time height width 3"], repeats: int, place: Placement, look: Look, aug: Augmentation
) -> Float[Tensor, "clips repeats 3 time size size"]:
    """``repeats`` views of each clip; row = clip * repeats + j in ``place`` and ``look``."""
    clips, time = frames.shape[:2]
    size, scale = aug.size_pixels, Scale(mean=aug.mean, std=aug.std)
    out = torch.empty(clips, repeats, 3, time, size, size, device=frames.device)
    make = _dense if geometry.dense(size, frames.device) else _bytes
    chunk = max(1, _CHUNK_BYTES.get(frames.device.type, 2**28) // (4 * out[:1].numel()))
    for start in range(0, clips, chunk):
        part = frames[start : start + chunk]
        source = part.to(torch.float32) if make is _dense else part
        for j in range(repeats):
            rows = slice(start * repeats + j, (start + len(part)) * repeats, repeats)
            target = out[start : start + chunk, j]
            make(source, place[rows], look[rows], scale, target)
            geometry.rotate_(target, place.turns[rows])
            photometric.finish_(target, look[rows], aug, scale)
    return out


def _needs_mean(look: Look) -> bool:
    return bool(np.any(look.pull != 0))


def _dense(frames: Tensor, place: Placement, look: Look, scale: Scale, out: Tensor) -> None:
    """Crop, flip, resize and colour by three matrix products in float32; the colours go between heights and widths."""
    rows, time, height, width, _ = frames.shape
    size, device = out.shape[-1], frames.device
    no_flip = np.zeros(rows, np.bool_)
    down = geometry.tents(place.top, place.height, no_flip, size, height, device)
    across = geometry.tents(place.left, place.width, place.flip, size, width, device)
    half = geometry.resample_rows(frames.flatten(3), down)
    mean_rgb = None
    if _needs_mean(look):
        lines = half.flatten(1, 2).mean(1).view(rows, width, 3)
        mean_rgb = torch.bmm(across.mean(1, keepdim=True), lines)[:, 0]
    colored = photometric.color(half.view(rows, -1, 3), mean_rgb, look, scale)
    geometry.resample_columns(colored.view(rows, 3 * time * size, width), across, out.view(rows, 3 * time * size, size))


def _bytes(frames: Tensor, place: Placement, look: Look, scale: Scale, out: Tensor) -> None:
    """The same by torch's 8-bit resize, clip by clip."""
    rows, size = len(frames), out.shape[-1]
    sampled = torch.stack([geometry.resample_bytes(frames[i], place, i, size) for i in range(rows)]).to(torch.float32)
    mean_rgb = None
    if _needs_mean(look):
        mean_rgb = sampled.flatten(3).flatten(1, 2).mean(1).view(rows, size, 3).mean(1)
    out.copy_(photometric.color(sampled.view(rows, -1, 3), mean_rgb, look, scale).view(out.shape))


__all__ = ["ViewPlan", "center_views", "make_views", "multi_view"]
