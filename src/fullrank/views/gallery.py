"""Pictures of views: what a method sees, and what each operator does."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from fullrank.config import Augmentation
from fullrank.types import ClipBatch, MaskSpec, ViewPlan, Views, ViewSpec
from fullrank.views import masks, policies
from fullrank.views.photometric import GREY
from fullrank.views.plan import make_views

if TYPE_CHECKING:
    from PIL.Image import Image

STRIP_FRAMES = 4
"""frames of a clip that are shown, evenly spaced"""
_GAP, _TEXT = 6, 16
_CELL_PIXELS = 128
"""views are enlarged by whole numbers as far as this size"""


def contact_sheet(views: Views, plan: ViewPlan, path: str | Path) -> Path:
    """A grid of views as PNG (or by the suffix): a row for each record, a column for each view of each group.

    Of a clip, four frames lie side by side. Pixels are un-normalised with the mean and std of the plan. Hidden patches
    are grey; the tiles of a view make one picture, in the order in which they are shown, which stands at the row's left;
    change is shown about grey, motion as a colour for its direction.
    """
    columns: list[tuple[str, list[Image]]] = []
    names = [f"record {i}" for i in views.index.tolist()]
    for spec in plan.groups:
        shown = torch.stack([torch.stack([_shown(clip, spec) for clip in record]) for record in views.group(spec.name).cpu()])
        if spec.mask is not None:
            shown = _hide(shown, views.masks[spec.name].cpu(), spec.mask)
        if spec.tiles is not None:
            shown = _mosaic(shown, spec.tiles.grid)
        for view in range(shown.shape[1]):
            title = f"{spec.name} {view}" if shown.shape[1] > 1 else spec.name
            columns.append((title, [_strip(clip) for clip in shown[:, view]]))
        orders = views.targets.get(f"permutation:{spec.name}")
        if orders is not None:
            told = [" ".join(map(str, order)) for order in orders.tolist()]
            names = [f"{name}\norder {order}" for name, order in zip(names, told, strict=True)]
    rows = [[column[row] for _, column in columns] for row in range(len(views.index))]
    return _save(_grid(rows, [title for title, _ in columns], names), path)


def operators(size_pixels: int) -> dict[str, Augmentation]:
    """{caption: policy} of the ten panels of SimCLR's figure 4, each operator alone."""
    plain = policies.plain(size_pixels)
    always = (1.0,)
    crop: dict[str, object] = {"min_scale": 0.25, "max_scale": 0.5, "min_aspect": 3 / 4, "max_aspect": 4 / 3}
    jitter: dict[str, object] = {"jitter_prob": always, "brightness": 0.4, "contrast": 0.4, "saturation": 0.8, "hue": 0.2}
    changes: dict[str, dict[str, object]] = {
        "original": {},
        "crop and resize": crop,
        "crop, resize (and flip)": {**crop, "flip_prob": always},
        "color distort. (drop)": {"grayscale_prob": always},
        "color distort. (jitter)": jitter,
        "rotate {90, 180, 270}": {"rotate_prob": always},
        "cutout": {"cutout_prob": always},
        "Gaussian noise": {"noise_prob": always, "noise_std": 0.15},
        "Gaussian blur": {"blur_prob": always, "blur_min_sigma": 2.0, "blur_max_sigma": 2.5},
        "Sobel filtering": {"sobel_prob": always},
    }
    return {
        f"({letter}) {name}": plain.model_copy(update=change)
        for letter, (name, change) in zip("abcdefghij", changes.items(), strict=True)
    }


def operator_gallery(
    clips: Sequence[UInt8[np.ndarray, "_ _ _ 3"]], path: str | Path, seed: int = 0, size_pixels: int = 160
) -> Path:
    """Ten panels, one operator each, for every clip (an image is a clip of one frame); blocks lie below each other."""
    blocks = []
    for number, frames in enumerate(clips):
        size = size_pixels if len(frames) == 1 else size_pixels * 3 // 5
        sizes = torch.tensor([[frames.shape[1:3]]])
        batch = ClipBatch(
            frames=torch.from_numpy(np.ascontiguousarray(frames))[None, None],
            sizes=sizes,
            start_seconds=torch.zeros(1, 1, dtype=torch.float64),
            index=torch.tensor([number]),
        )
        panels = []
        for caption, aug in operators(size).items():
            plan = ViewPlan(groups=(ViewSpec(name="view", augmentation=aug),))
            panels.append((caption, strip(make_views(batch, plan, seed, torch.device("cpu")).group("view")[0, 0], aug, size)))
        across = 5 if len(frames) == 1 else 2
        rows = [panels[i : i + across] for i in range(0, len(panels), across)]
        lines = [_grid([[image for _, image in row]], [caption for caption, _ in row], [""]) for row in rows]
        blocks.append(_below(lines))
    return _save(_below(blocks), path)


def strip(pixels: Float[Tensor, "3 time size size"], aug: Augmentation, cell_pixels: int = _CELL_PIXELS) -> "Image":
    """One view of RGB as a picture; of a clip, ``STRIP_FRAMES`` frames side by side."""
    return _strip(_shown(pixels.cpu(), ViewSpec(name="view", augmentation=aug)), cell_pixels)


def _shown(pixels: Float[Tensor, "channels time size size"], spec: ViewSpec) -> Float[Tensor, "3 time size size"]:
    """A view of any stream as colours in 0..1."""
    mean, std = (torch.tensor(v)[:, None, None, None] for v in (spec.augmentation.mean, spec.augmentation.std))
    if spec.stream == "flow":
        return _directions(pixels)
    if spec.stream == "difference":
        return (pixels * std + 0.5).clamp(0, 1)
    if spec.stream == "gray":  # exact where the channels have one std
        weights = torch.from_numpy(GREY).float()[:, None, None, None]
        return (pixels * (weights * std).sum() + (weights * mean).sum()).clamp(0, 1).expand(3, -1, -1, -1)
    return (pixels * std + mean).clamp(0, 1)


def _directions(flow: Float[Tensor, "2 time size size"]) -> Float[Tensor, "3 time size size"]:
    """White is still; the colour says where to (right red, down green, left cyan, up violet), its strength how fast."""
    length = flow.norm(dim=0)
    strength = length / length.max().clamp_min(1e-6)
    angle = torch.atan2(flow[1], flow[0])
    hue = torch.stack([(0.5 + torch.cos(angle - turn)).clamp(0, 1) for turn in (0.0, 2 * np.pi / 3, 4 * np.pi / 3)])
    return torch.lerp(torch.ones_like(hue), hue, strength)


def _hide(
    shown: Float[Tensor, "batch views 3 time size size"], hidden: Bool[Tensor, "batch views tokens"], mask: MaskSpec
) -> Float[Tensor, "batch views 3 time size size"]:
    """Hidden patches grey."""
    patches = hidden.view(*hidden.shape[:2], *masks.grid(mask, *shown.shape[3:5]))
    for axis, repeats in ((2, mask.patch_frames), (3, mask.patch_pixels), (4, mask.patch_pixels)):
        patches = patches.repeat_interleave(repeats, axis)
    return shown.masked_fill(patches[:, :, None], 0.5)


def _mosaic(shown: Float[Tensor, "batch tiles 3 time side side"], grid: int) -> Float[Tensor, "batch views 3 time size size"]:
    """The tiles of each view in rows and columns, a white line between them."""
    batch, tiles, channels, time, side, _ = shown.shape
    line = max(1, side // 16)
    framed = torch.nn.functional.pad(shown, (0, line, 0, line), value=1.0)
    cells = framed.view(batch, tiles // grid**2, grid, grid, channels, time, side + line, side + line)
    size = grid * (side + line)
    return cells.permute(0, 1, 4, 5, 2, 6, 3, 7).reshape(batch, -1, channels, time, size, size)[..., :-line, :-line]


def _strip(shown: Float[Tensor, "3 time size size"], cell_pixels: int = _CELL_PIXELS) -> "Image":
    from PIL import Image

    time = shown.shape[1]
    chosen = np.unique(np.linspace(0, time - 1, min(STRIP_FRAMES, time)).round().astype(int))
    frames = (shown[:, chosen] * 255).round().to(torch.uint8)
    factor = max(1, cell_pixels // shown.shape[-1])
    frames = frames.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    side = frames.shape[-1]
    canvas = np.full((side, len(chosen) * (side + 2) - 2, 3), 255, np.uint8)
    for i, frame in enumerate(frames.permute(1, 2, 3, 0).numpy()):
        canvas[:, i * (side + 2) : i * (side + 2) + side] = frame
    return Image.fromarray(canvas)


def _grid(rows: Sequence[Sequence["Image"]], titles: Sequence[str], names: Sequence[str]) -> "Image":
    """Pictures in rows and columns, titles above, the name of each row to its left (none: no room for it)."""
    from PIL import Image, ImageDraw

    left = 80 if any(names) else _GAP
    widths = [max(row[i].width for row in rows) for i in range(len(titles))]
    heights = [max(image.height for image in row) for row in rows]
    size = (left + sum(widths) + _GAP * len(widths), _TEXT + sum(heights) + _GAP * len(heights))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    x = left
    for title, width in zip(titles, widths, strict=True):
        draw.text((x, 2), title, fill="black")
        x += width + _GAP
    y = _TEXT
    for row, name, height in zip(rows, names, heights, strict=True):
        draw.text((4, y + 2), name, fill="black")
        x = left
        for image, width in zip(row, widths, strict=True):
            sheet.paste(image, (x, y))
            x += width + _GAP
        y += height + _GAP
    return sheet


def _below(images: Sequence["Image"]) -> "Image":
    from PIL import Image

    sheet = Image.new("RGB", (max(i.width for i in images), sum(i.height for i in images) + 4 * len(images)), "white")
    y = 4
    for image in images:
        sheet.paste(image, (0, y))
        y += image.height + 4
    return sheet


def _save(image: "Image", path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path
