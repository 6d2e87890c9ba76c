"""Frames as other codebases hand them to their networks: scaled, cropped and normalised in their order."""

import math

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.types import Preparation

CROPS = (1, 3)
"""spatial views: the centre; or left, centre, right (top, centre, bottom of a portrait)"""


def prepare(
    frames: UInt8[np.ndarray, "time height width 3"], how: Preparation, crops: int = 1
) -> Float[Tensor, "crops 3 time crop crop"]:
    """A clip's frames as ``crops`` views, normalised. ``SettingError`` for other numbers of crops than 1 and 3.

    With ``antialias`` frames are scaled by Pillow as uint8 (torchvision's transforms on PIL images); else they are normalised
    first and scaled as float32 without it (PySlowFast, PyTorchVideo).
    """
    if crops not in CROPS:
        raise SettingError(f"spatial crops must be 1 (the centre) or 3. Got {crops}.")
    size = scaled_size(frames.shape[1], frames.shape[2], how, crops)
    places = (1,) if crops == 1 else (0, 1, 2)
    # a frame at a time: eight of a film in float32 would take a gigabyte
    cut = [[_crop(scaled, how, place) for place in places] for scaled in (_scaled(frame, size, how) for frame in frames)]
    return torch.stack([torch.stack([views[i] for views in cut], dim=1) for i in range(len(places))])


def scaled_size(height: int, width: int, how: Preparation, crops: int = 1) -> tuple[int, int]:
    """(height, width) after scaling the short side, the long one rounded down; at least the crop."""
    if how.exact_size is not None:
        return how.exact_size
    short = max(how.crop if how.crop_is_short_side and crops > 1 else how.short_side, how.crop)
    if min(height, width) == short:
        return height, width
    if width < height:
        return math.floor(height / width * short), short
    return short, math.floor(width / height * short)


def _scaled(frame: np.ndarray, size: tuple[int, int], how: Preparation) -> Tensor:
    """[height, width, 3], uint8 -> [3, *size], normalised float32."""
    if how.antialias and frame.shape[:2] != size:
        rule = Image.Resampling.BICUBIC if how.interpolation == "bicubic" else Image.Resampling.BILINEAR
        frame = np.asarray(Image.fromarray(frame).resize(size[::-1], rule))
    pixels = torch.tensor(frame).float() / 255.0
    pixels = ((pixels - torch.tensor(how.mean)) / torch.tensor(how.std)).movedim(2, 0)
    if tuple(pixels.shape[1:]) == size:
        return pixels
    return F.interpolate(pixels[None], size, mode=how.interpolation, align_corners=False)[0]


def _crop(pixels: Tensor, how: Preparation, place: int) -> Tensor:
    """The square of side ``crop``: at the centre (1), or at the beginning (0) or end (2) of the longer side."""
    height, width = pixels.shape[1:]
    side = how.crop
    # PySlowFast rounds the middle up, torchvision and PyTorchVideo to even
    middle = [math.ceil((s - side) / 2) if how.rule == "pyslowfast" else round((s - side) / 2) for s in (height, width)]
    y, x = middle
    if place != 1:
        end = 0 if place == 0 else max(height, width) - side
        y, x = (end, middle[1]) if height > width else (middle[0], end)
    return pixels[:, y : y + side, x : x + side]
