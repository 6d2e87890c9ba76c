"""Where a view lies in its frame, and how its pixels are read: random resized crop, flip and rotation as one sampling.

A crop is a box of whole pixels inside the picture part of the frame, so padding is never read. Its parameters are
distributed as torchvision's RandomResizedCrop draws them, the ten tries included. Resampling is the separable triangle
filter that Pillow and torchvision call bilinear with antialiasing: as wide as an output pixel where it shrinks, as wide
as an input pixel where it enlarges, cut off at the box.

The filter is evaluated in one of two ways that agree to one grey level of 255:

- two small matrix products per frame (a row matrix and a column matrix per clip), in float32: on a GPU, and for small
  crops everywhere;
- torch's 8-bit resize on the cut-out box: for larger crops on a CPU, where it is several times faster.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fullrank.config import Augmentation
from fullrank.transfer import to_device

TRIES = 10
"""boxes that are drawn before the fallback, as in torchvision"""
NUM_DRAWS = 2 * TRIES + 5
"""uniform numbers that one placement takes: areas, aspects, top, left, flip, rotate or not, which rotation"""
DENSE_MAX_PIXELS = 64
"""largest side of a crop that a CPU resamples by matrix products"""

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the crop of each row (one view of one clip) lies, in pixels of its frame; arrays of length rows."""

    top: Rows
    left: Rows
    height: Rows
    width: Rows
    flip: NDArray[np.bool_]
    turns: Rows
    """quarter turns, counter-clockwise, 0..3"""

    def __getitem__(self, rows: slice) -> "Placement":
        return Placement(**{name: value[rows] for name, value in vars(self).items()})

    def __len__(self) -> int:
        return len(self.top)


def chance(u: Float[np.ndarray, " rows"], probs: tuple[float, ...], view: Int[np.ndarray, " rows"]) -> NDArray[np.bool_]:
    """Whether an operator is drawn; ``probs`` is cycled over the view number. Probability 0 is never, 1 is always.

    >>> chance(np.array([0.3, 0.3, 0.3]), (1.0, 0.1), np.array([0, 1, 2])).tolist()
    [True, False, True]
    """
    return np.asarray(u < np.asarray(probs)[view % len(probs)])


def draw_placement(
    u: Float[np.ndarray, "rows draws"], sizes: Int[np.ndarray, "rows 2"], aug: Augmentation, view: Int[np.ndarray, " rows"]
) -> Placement:
    """Placements from uniform numbers ``u`` (``NUM_DRAWS`` a row) in pictures of ``sizes`` (height, width).

    Area uniform in [min_scale, max_scale] of the picture, aspect log-uniform; the first of ten tries that fits is
    taken. Where none fits: the largest central box whose aspect is allowed.
    """
    picture_h, picture_w = (sizes[:, i].astype(np.float64) for i in (0, 1))
    area = (picture_h * picture_w)[:, None] * (aug.min_scale + (aug.max_scale - aug.min_scale) * u[:, :TRIES])
    low, high = np.log(aug.min_aspect), np.log(aug.max_aspect)
    aspect = np.exp(low + (high - low) * u[:, TRIES : 2 * TRIES])
    h, w = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (h >= 1) & (w >= 1) & (h <= picture_h[:, None]) & (w <= picture_w[:, None])
    first, rows = fits.argmax(1), np.arange(len(u))
    found = fits[rows, first]
    u_top, u_left, u_flip, u_rotate, u_turn = u[:, 2 * TRIES :].T
    height = np.where(found, h[rows, first], np.clip(np.rint(picture_w / aug.min_aspect), 1, picture_h))
    width = np.where(found, w[rows, first], np.clip(np.rint(picture_h * aug.max_aspect), 1, picture_w))
    top = np.floor(np.where(found, u_top, 0.5) * (picture_h - height + found))
    left = np.floor(np.where(found, u_left, 0.5) * (picture_w - width + found))
    turns = np.where(chance(u_rotate, aug.rotate_prob, view), 1 + np.floor(3 * u_turn), 0)
    whole = {"top": top, "left": left, "height": height, "width": width, "turns": turns}
    return Placement(flip=chance(u_flip, aug.flip_prob, view), **{k: v.astype(np.int64) for k, v in whole.items()})


def center_placement(sizes: Int[np.ndarray, "rows 2"], crop_ratio: float) -> Placement:
    """The central square whose side is ``crop_ratio`` of the short side."""
    side = np.maximum(np.rint(sizes.min(1) * crop_ratio), 1).astype(np.int64)
    none = np.zeros_like(side)
    top, left = ((sizes[:, i] - side) // 2 for i in (0, 1))
    return Placement(top=top, left=left, height=side, width=side, flip=none.astype(np.bool_), turns=none)


def dense(size_pixels: int, device: torch.device) -> bool:
    """Whether crops of this size are made by matrix products on this device."""
    return device.type != "cpu" or size_pixels <= DENSE_MAX_PIXELS


def tents(
    start: Int[np.ndarray, " rows"],
    length: Int[np.ndarray, " rows"],
    reverse: Bool[np.ndarray, " rows"],
    size_pixels: int,
    canvas_pixels: int,
    device: torch.device,
) -> Float[Tensor, "rows size canvas"]:
    """Weights of the triangle filter along one axis; each row of a matrix sums to 1 and is 0 outside its box.

    Output pixel k has its centre at start + (k + 1/2) * length / size, counted from the other end where ``reverse``;
    the triangle's half width is max(1, length / size) input pixels.
    """
    scale = length / size_pixels
    step = np.where(reverse, -scale, scale)
    centre = np.where(reverse, start + length, start)[:, None] + step[:, None] * (np.arange(size_pixels) + 0.5)
    # One transfer for everything: the axis' centres, then what belongs to the row.
    packed = np.concatenate([centre, 1 / np.maximum(scale, 1)[:, None], start[:, None], (start + length)[:, None]], axis=1)
    rows = to_device(torch.from_numpy(packed.astype(np.float32)), device)
    grid = torch.arange(canvas_pixels, device=device, dtype=torch.float32) + 0.5
    weights = grid - rows[:, :size_pixels, None]
    weights.abs_().mul_(rows[:, None, size_pixels, None]).neg_().add_(1).clamp_min_(0)
    inside = (grid > rows[:, size_pixels + 1, None]) & (grid < rows[:, size_pixels + 2, None])
    weights.mul_(inside[:, None])
    return weights.div_(weights.sum(2, keepdim=True))


def resample_rows(
    frames: Float[Tensor, "rows time height widthchannels"], weights: Float[Tensor, "rows size height"]
) -> Float[Tensor, "rows time size widthchannels"]:
    """The first of the two products: heights."""
    if frames.shape[1] == 1:
        return torch.bmm(weights, frames[:, 0])[:, None]
    return torch.matmul(weights[:, None], frames)


def resample_columns(
    half: Float[Tensor, "rows lines width"], weights: Float[Tensor, "rows size width"], out: Float[Tensor, "rows lines size"]
) -> None:
    """The second of the two products: widths, once channels come first."""
    torch.bmm(half, weights.mT, out=out)


def resample_bytes(
    frames: UInt8[Tensor, "time height width channels"], box: tuple[int, int, int, int], flip: bool, size_pixels: int
) -> UInt8[Tensor, "time size size channels"]:
    """The box (top, left, height, width) of one clip by torch's 8-bit resize, flipped afterwards where asked."""
    top, left, height, width = box
    cut = frames[:, top : top + height, left : left + width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    pixels = F.interpolate(cut, (size_pixels, size_pixels), mode="bilinear", antialias=True)
    return (pixels.flip(3) if flip else pixels).permute(0, 2, 3, 1)


def rotate_(pixels: Float[Tensor, "rows channels time size size"], turns: Int[np.ndarray, " rows"]) -> None:
    """Turn the square views by quarter turns, in place."""
    if not turns.any():
        return
    for quarter in (1, 2, 3):
        rows = np.flatnonzero(turns == quarter)
        if len(rows):
            index = to_device(torch.from_numpy(rows), pixels.device)
            pixels[index] = torch.rot90(pixels[index], quarter, (3, 4))
