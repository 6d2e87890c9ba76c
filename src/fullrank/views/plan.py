"""What a method asks for, and its making: a batch of decoded clips -> views on the device.

A view goes through the fields of its ``ViewSpec`` in order: frames are chosen (temporal.py), augmented together
(geometry.py, photometric.py), turned into a stream (streams.py), cut into blocks or tiles (pretext.py), masked (masks.py).
Every parameter is a function of (seed, epoch, record, view group, view), drawn for the whole batch at once: the same views
come out for any number of workers, any batch and any device (pixels agree to rounding; see geometry.py for the 8-bit resize).
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from fullrank import draws
from fullrank.config import Augmentation
from fullrank.errors import SettingError, ShapeError
from fullrank.transfer import to_device
from fullrank.types import ClipBatch, MaskSpec, Stream, ViewPlan, Views, ViewSpec
from fullrank.views import geometry, masks, photometric, pretext, streams, temporal
from fullrank.views.check import check_spec
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
    """Augmented views of every group of ``plan``: float32, normalised, [batch, views, channels, time, height, width].

    With the masks and targets that the plan asks for. ``SettingError`` or ``ShapeError`` where the clips cannot give it.
    """
    _check(batch)
    frames = to_device(batch.frames, device)
    flow = to_device(batch.flow, device) if plan.needs_flow and batch.flow is not None else None
    views = Views(pixels={}, index=to_device(batch.index, device))
    for spec in plan.groups:
        check_spec(spec, batch.frames.shape[2])
        _cut(_group(batch, frames, flow, spec, seed), batch, spec, seed, views)
        if spec.mask is not None:
            views.masks[spec.name] = _mask(batch, spec, spec.mask, seed, views.pixels[spec.name])
    return views


@torch.no_grad()
def center_views(
    batch: ClipBatch,
    size_pixels: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    device: torch.device,
    crop_ratio: float | None = None,
    stream: Stream = "rgb",
) -> Float[Tensor, "batch clips channels time height width"]:
    """What evaluation sees: the central square, resized and normalised, as ``stream``.

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
    if stream == "flow":
        flow = to_device(_flow_of(batch, batch.flow), device)
        shown = streams.flow_views(flow.flatten(0, 1), place, size_pixels)
        return shown.view(num, clips, *shown.shape[1:])
    frames = to_device(batch.frames, device)
    pixels = _render(frames.flatten(0, 1), 1, place, photometric.plain_look(num * clips), aug)
    return streams.to_stream(pixels.view(num, clips, *pixels.shape[2:]), stream)


def _check(batch: ClipBatch) -> None:
    shape = tuple(batch.frames.shape)
    if len(shape) != 6 or shape[-1] != 3 or batch.frames.dtype != torch.uint8:
        raise ShapeError(
            "frames must be uint8 [batch, clips, time, height, width, 3]. "
            f"Got {str(batch.frames.dtype).removeprefix('torch.')} {list(shape)}. Convert the clips to RGB first."
        )


def _draw(batch: ClipBatch, what: str, spec: ViewSpec, seed: int, views: int, count: int) -> NDArray[np.float64]:
    """Uniform numbers, [batch * views, count]: a function of (seed, epoch, record, what, group, view)."""
    u = draws.uniform(seed, batch.epoch, batch.index.cpu().numpy(), f"{what}:{spec.name}", views * count)
    return u.reshape(-1, count)


def _flow_of(batch: ClipBatch, flow: Tensor | None) -> Tensor:
    if flow is None or flow.shape[:-1] != batch.frames.shape[:-1]:
        raise ShapeError(
            "Clips must bring optical flow, uint8 [batch, clips, time, height, width, 2], to show it. "
            f"Got {'none' if flow is None else list(flow.shape)}; open the source with flow=True and --data.cache."
        )
    return flow


def _group(batch: ClipBatch, frames: Tensor, flow: Tensor | None, spec: ViewSpec, seed: int) -> Tensor:
    """[batch, views, channels, time, size, size], before it is cut."""
    clips = spec.num_clips or frames.shape[1]
    if clips > frames.shape[1]:
        raise ShapeError(
            f"view group '{spec.name}' must find {clips} clips of each record. Got {frames.shape[1]}. Set the plan's num_clips."
        )
    num, views = len(frames), clips * spec.views_per_clip
    u = _draw(batch, "view", spec, seed, views, geometry.NUM_DRAWS + photometric.NUM_DRAWS)
    sizes = batch.sizes[:, :clips].reshape(-1, 2).cpu().numpy().repeat(spec.views_per_clip, 0)
    number = np.tile(np.arange(views), num)
    place = geometry.draw_placement(u[:, : geometry.NUM_DRAWS], sizes, spec.augmentation, number)
    look = photometric.draw_look(u[:, geometry.NUM_DRAWS :], spec.augmentation, number)
    time = frames.shape[2]
    shown: NDArray[np.int64] | None = None
    if spec.num_frames is not None and (spec.num_frames, set(spec.strides)) != (time, {1}):
        start = _draw(batch, "start", spec, seed, views, 1)[:, 0]
        shown = temporal.draw_frames(start, time, spec.num_frames, spec.strides, number)
    if spec.stream == "flow":
        chosen = _chosen(_flow_of(batch, flow)[:, :clips].flatten(0, 1), spec.views_per_clip, shown)
        pixels = streams.flow_views(chosen, place, spec.augmentation.size_pixels)
        return pixels.view(num, views, *pixels.shape[1:])
    source, repeats = frames[:, :clips].flatten(0, 1), spec.views_per_clip
    if shown is None:
        pixels = _render(source, repeats, place, look, spec.augmentation)
    else:  # each view of a clip has frames of its own; one view at a time, because they are copied
        pixels = _empty(source, repeats, shown.shape[1], spec.augmentation)
        for j in range(repeats):
            rows = slice(j, None, repeats)
            part = _chosen(source, 1, shown[rows])
            _render(part, 1, place[rows], look[rows], spec.augmentation, out=pixels[:, j : j + 1])
    return streams.to_stream(pixels.view(num, views, *pixels.shape[2:]), spec.stream)


def _chosen(clips: Tensor, repeats: int, shown: NDArray[np.int64] | None) -> Tensor:
    """Frames ``shown`` [rows, n] of every view, row = clip * repeats + j; None: all."""
    if shown is None:
        return clips.repeat_interleave(repeats, 0) if repeats > 1 else clips
    frames = to_device(torch.from_numpy(shown), clips.device)
    return clips[torch.arange(len(shown), device=clips.device)[:, None] // repeats, frames]


def _cut(pixels: Tensor, batch: ClipBatch, spec: ViewSpec, seed: int, views: Views) -> None:
    """Store the views of a group, cut into blocks or tiles where asked, and the order of the tiles as a target."""
    if spec.num_blocks > 1:
        pixels = temporal.cut_blocks(pixels, spec.num_blocks)
    if (tiles := spec.tiles) is not None:
        num, whole, size = *pixels.shape[:2], spec.augmentation.size_pixels
        places = pretext.draw_places(_draw(batch, "tiles", spec, seed, whole, 2 * tiles.grid**2), tiles, size)
        if tiles.permutations is not None:
            order = pretext.draw_order(_draw(batch, "permutation", spec, seed, whole, 1)[:, 0], tiles)
            places = pretext.arrange(places, order, tiles)
            target = to_device(torch.from_numpy(order), pixels.device)
            views.targets[f"permutation:{spec.name}"] = target.view(num, whole)
        cut = pretext.cut_tiles(pixels.flatten(0, 1), places, pretext.tile_pixels(tiles, size))
        pixels = cut.view(num, whole * tiles.grid**2, *cut.shape[2:])
    views.pixels[spec.name] = pixels


def _mask(batch: ClipBatch, spec: ViewSpec, mask: MaskSpec, seed: int, pixels: Tensor) -> Tensor:
    """Bool [batch, views, tokens]."""
    num, count, _, time, size, _ = pixels.shape
    u = _draw(batch, "mask", spec, seed, count, masks.num_draws(mask, time, size))
    hidden = masks.draw_masks(u, mask, time, size)
    return to_device(torch.from_numpy(hidden), pixels.device).view(num, count, -1)


def _empty(frames: Tensor, repeats: int, time: int, aug: Augmentation) -> Tensor:
    return torch.empty(len(frames), repeats, 3, time, aug.size_pixels, aug.size_pixels, device=frames.device)


def _render(
    frames: UInt8[Tensor, "clips time height width 3"],
    repeats: int,
    place: Placement,
    look: Look,
    aug: Augmentation,
    out: Tensor | None = None,
) -> Float[Tensor, "clips repeats 3 time size size"]:
    """``repeats`` views of each clip, into ``out`` where given; row = clip * repeats + j in ``place`` and ``look``."""
    out = _empty(frames, repeats, frames.shape[1], aug) if out is None else out
    with torch.autocast(frames.device.type, enabled=False):
        if geometry.dense(aug.size_pixels, frames.device):
            _render_dense(frames, place, look, aug, out)
        else:
            _render_bytes(frames, place, look, aug, out)
    return out


def _render_dense(frames: Tensor, place: Placement, look: Look, aug: Augmentation, out: Tensor) -> None:
    """Crop, flip, resize and colour by three matrix products in float32; the colours go between heights and widths."""
    clips, repeats, _, time, size, _ = out.shape
    height, width = frames.shape[2:4]
    scale = Scale(mean=aug.mean, std=aug.std)
    colors = photometric.color_map(look, scale, frames.device)
    down = geometry.tents(place.top, place.height, np.zeros_like(place.flip), size, height, frames.device)
    across = geometry.tents(place.left, place.width, place.flip, size, width, frames.device)
    chunk = max(1, _CHUNK_BYTES.get(frames.device.type, 2**28) // (4 * out[0, 0].numel()))
    for start in range(0, clips, chunk):
        source = frames[start : start + chunk].to(torch.float32).flatten(3)
        for j in range(repeats):
            rows = slice(start * repeats + j, (start + len(source)) * repeats, repeats)
            target, part = out[start : start + chunk, j], look[rows]
            half = geometry.resample_rows(source, down[rows])
            mean_rgb = None
            if part.pull.any():
                lines = half.flatten(1, 2).mean(1).unflatten(1, (width, 3))
                mean_rgb = torch.bmm(across[rows].mean(1, keepdim=True), lines)[:, 0]
            colored = photometric.color(half.view(len(half), -1, 3), mean_rgb, colors[rows])
            geometry.resample_columns(colored.view(len(half), -1, width), across[rows], target.view(len(half), -1, size))
            geometry.rotate_(target, place.turns[rows])
            photometric.finish_(target, part, aug, scale)


def _render_bytes(frames: Tensor, place: Placement, look: Look, aug: Augmentation, out: Tensor) -> None:
    """The same view by view with torch's 8-bit resize; everything of a view stays in the cache."""
    repeats, size, scale = out.shape[1], aug.size_pixels, Scale(mean=aug.mean, std=aug.std)
    colors = photometric.color_map(look, scale, frames.device)
    boxes = np.stack([place.top, place.left, place.height, place.width], 1).tolist()
    sampled = torch.empty(1, out.shape[3] * size, size * 3)
    for row, box in enumerate(boxes):
        target, one = out[row // repeats, row % repeats][None], slice(row, row + 1)
        pixels = geometry.resample_bytes(frames[row // repeats], box, bool(place.flip[row]), size)
        sampled.view(pixels.shape).copy_(pixels)
        mean_rgb = sampled.mean(1).view(1, size, 3).mean(1) if look.pull[row] else None
        photometric.color(sampled.view(1, -1, 3), mean_rgb, colors[one], out=target.view(1, 3, -1))
        geometry.rotate_(target, place.turns[one])
        photometric.finish_(target, look[one], aug, scale)
