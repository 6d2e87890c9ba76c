"""What happens to the pixels of a view after it is placed: colour, blur, solarize, Sobel, cutout, noise, normalise.

One draw a clip and view: all its frames agree. Order: colour (brightness, contrast, saturation, hue, grayscale), clip to
[0, 1], blur, solarize, Sobel, cutout, noise. Pixels are normalised by the same product that applies the colours, so every
operator after it works on the normalised scale, where black is -mean / std and white is (1 - mean) / std (``Scale``).

Colour is one 3x3 matrix and one offset a clip. With grey g(x) = 0.299 R + 0.587 G + 0.114 B, m = mean of g over the clip,
brightness b, contrast c, saturation s and hue shift h:

    x' = H(h) (b c (g(x) 1 + s (x - g(x) 1))) + (1 - c) b m 1

where H(h) turns the colour cube about its grey diagonal by h of a full turn; grayscale is g(x') 1. Differences to
torchvision's ColorJitter: the order is fixed instead of drawn, values are clipped to [0, 1] once at the end instead of
after each step, and the turn keeps R + G + B where a shift of HSV's hue keeps max(R, G, B). The hues that come out
agree: for h = 0.1 on 40 photographs to 0.004 of a turn in the mean, the pixels to 0.018 (a turn in YIQ: 0.019, 0.030).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fullrank.config import Augmentation
from fullrank.transfer import to_device
from fullrank.views.blur import blur_, change_rows_
from fullrank.views.geometry import chance

NUM_DRAWS = 15
"""uniform numbers that one look takes"""

GREY = np.array([0.299, 0.587, 0.114])
_TO_GREY = np.ones((3, 1)) * GREY
_DIAGONAL = np.full((3, 3), 1 / 3)
# A quarter turn about the diagonal; its sign makes red go to yellow for a small positive shift, as in HSV.
_TURN = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / np.sqrt(3.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How pixels in [0, 1] are normalised: (x - mean) / std, by channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalize(self, values: float) -> NDArray[np.float64]:
        """What a grey value in [0, 1] becomes: [3]."""
        return np.asarray((values - np.asarray(self.mean)) / np.asarray(self.std))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is done to the pixels of each row (one view of one clip); arrays of length rows."""

    matrix: NDArray[np.float64]
    """[rows, 3, 3] for pixels in [0, 1]"""
    pull: NDArray[np.float64]
    """the clip's mean grey times this is added to every channel (contrast)"""
    sigma: NDArray[np.float64]
    """of the blur, in pixels of the crop; 0: none"""
    solarize: NDArray[np.bool_]
    sobel: NDArray[np.bool_]
    cutout: NDArray[np.float64]
    """[rows, 2]: where the square lies, 0..1 from the top left to the bottom right; negative: none"""
    noise: NDArray[np.int64]
    """key of the noise; negative: none"""

    def __getitem__(self, rows: slice) -> "Look":
        return Look(**{name: value[rows] for name, value in vars(self).items()})


def plain_look(rows: int) -> Look:
    """Nothing is done."""
    no = np.zeros(rows, np.bool_)
    return Look(
        matrix=np.tile(np.eye(3), (rows, 1, 1)),
        pull=np.zeros(rows),
        sigma=np.zeros(rows),
        solarize=no,
        sobel=no,
        cutout=np.full((rows, 2), -1.0),
        noise=np.full(rows, -1, np.int64),
    )


def color_matrix(
    brightness: Float[np.ndarray, " rows"],
    contrast: Float[np.ndarray, " rows"],
    saturation: Float[np.ndarray, " rows"],
    hue: Float[np.ndarray, " rows"],
) -> Float[np.ndarray, "rows 3 3"]:
    """Matrices H(h) b c (grey + s (1 - grey)); saturation 0 is grayscale.

    >>> color_matrix(*np.ones((3, 1)), np.zeros(1))[0].round(6).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    cosine, sine = (f(2 * np.pi * hue)[:, None, None] for f in (np.cos, np.sin))
    turn = _DIAGONAL + cosine * (np.eye(3) - _DIAGONAL) + sine * _TURN
    saturated = _TO_GREY + saturation[:, None, None] * (np.eye(3) - _TO_GREY)
    return np.asarray((brightness * contrast)[:, None, None] * (turn @ saturated))


def draw_look(u: Float[np.ndarray, "rows draws"], aug: Augmentation, view: Int[np.ndarray, " rows"]) -> Look:
    """Looks from uniform numbers ``u`` (``NUM_DRAWS`` a row)."""

    def factor(column: int, strength: float) -> NDArray[np.float64]:
        low = max(0.0, 1.0 - strength)
        return np.where(jitter, low + (1.0 + strength - low) * u[:, column], 1.0)

    jitter = chance(u[:, 0], aug.jitter_prob, view)
    brightness, contrast, saturation = factor(1, aug.brightness), factor(2, aug.contrast), factor(3, aug.saturation)
    hue = np.where(jitter, aug.hue * (2.0 * u[:, 4] - 1.0), 0.0)
    matrix = color_matrix(brightness, contrast, saturation, hue)
    grayscale = chance(u[:, 5], aug.grayscale_prob, view)[:, None, None]
    sigma = aug.blur_min_sigma + (aug.blur_max_sigma - aug.blur_min_sigma) * u[:, 7]
    return Look(
        matrix=np.where(grayscale, _TO_GREY @ matrix, matrix),
        pull=(1.0 - contrast) * brightness,
        sigma=np.where(chance(u[:, 6], aug.blur_prob, view), sigma, 0.0),
        solarize=chance(u[:, 8], aug.solarize_prob, view),
        sobel=chance(u[:, 9], aug.sobel_prob, view),
        cutout=np.where(chance(u[:, 10], aug.cutout_prob, view)[:, None], u[:, 11:13], -1.0),
        noise=np.where(chance(u[:, 13], aug.noise_prob, view), (u[:, 14] * 2.0**53).astype(np.int64), -1),
    )


def color_map(look: Look, scale: Scale, device: torch.device) -> Float[Tensor, "rows 7 3"]:
    """Colours and normalisation of each row for pixels in 0..255, moved to the device at once.

    Rows 0 to 2: the matrix; row 3: the offset; rows 4 to 6: what the clip's mean (red, green, blue) adds to the offset.
    """
    std = np.asarray(scale.std)
    matrix = look.matrix / (255.0 * std[:, None])
    offset = np.broadcast_to(scale.normalize(0.0), (len(matrix), 1, 3))
    pull = look.pull[:, None, None] * (GREY[:, None] / (255.0 * std))
    return to_device(torch.from_numpy(np.concatenate([matrix, offset, pull], 1).astype(np.float32)), device)


def color(
    pixels: Float[Tensor, "rows positions 3"],
    mean_rgb: Float[Tensor, "rows 3"] | None,
    colors: Float[Tensor, "rows 7 3"],
    out: Float[Tensor, "rows 3 positions"] | None = None,
) -> Float[Tensor, "rows 3 positions"]:
    """Apply a ``color_map``: one product from channels last to channels first. Not clipped yet.

    ``mean_rgb`` in 0..255, or None where no contrast was drawn.
    """
    offset = colors[:, 3:4]
    if mean_rgb is not None:
        offset = torch.baddbmm(offset, mean_rgb[:, None], colors[:, 4:])
    if out is None:
        return torch.baddbmm(offset.mT, colors[:, :3], pixels.mT)
    return torch.baddbmm(offset.mT, colors[:, :3], pixels.mT, out=out)


def finish_(pixels: Float[Tensor, "rows 3 time size size"], look: Look, aug: Augmentation, scale: Scale) -> None:
    """Everything after the colours, in place: each operator on the rows that drew it."""
    black, white = scale.normalize(0.0).tolist(), scale.normalize(1.0).tolist()
    for channel in range(3):
        pixels[:, channel].clamp_(black[channel], white[channel])
    if look.sigma.any():
        blur_(pixels, look.sigma)
    if look.solarize.any():
        change_rows_(pixels, look.solarize, lambda x, rows: solarize(x, aug.solarize_threshold, scale))
    if look.sobel.any():
        change_rows_(pixels, look.sobel, lambda x, rows: sobel(x, scale))
    if (drawn := look.cutout[:, 0] >= 0).any():
        change_rows_(pixels, drawn, lambda x, rows: cutout(x, look.cutout[rows], aug.cutout_ratio))
    if (drawn := look.noise >= 0).any():
        change_rows_(pixels, drawn, lambda x, rows: add_noise(x, look.noise[rows], aug.noise_std, scale))


def _by_channel(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return to_device(torch.from_numpy(values.astype(np.float32)), like.device)[:, None, None, None]


def solarize(pixels: Float[Tensor, "rows 3 time size size"], threshold: float, scale: Scale) -> Tensor:
    """1 - x where x >= threshold (in 0..1)."""
    limit, total = (_by_channel(v, pixels) for v in (scale.normalize(threshold), scale.normalize(0.0) + scale.normalize(1.0)))
    return torch.where(pixels >= limit, total - pixels, pixels)


def sobel(pixels: Float[Tensor, "rows 3 time size size"], scale: Scale) -> Tensor:
    """min(1, sqrt(gx^2 + gy^2)) of each channel, with gx = [1 2 1]^T [-1 0 1] / 4: an edge from 0 to 1 gives 1."""
    rows, channels, time, size, _ = pixels.shape
    p = F.pad(pixels.reshape(rows * channels * time, 1, size, size), (1, 1, 1, 1), mode="replicate")
    across, down = p[..., 2:] - p[..., :-2], p[..., 2:, :] - p[..., :-2, :]
    gx = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    gy = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    black, white = (_by_channel(scale.normalize(v), pixels) for v in (0.0, 1.0))
    return torch.minimum(torch.sqrt(gx * gx + gy * gy).view(pixels.shape) / 4 + black, white)


def cutout(pixels: Float[Tensor, "rows 3 time size size"], where: Float[np.ndarray, "rows 2"], ratio: float) -> Tensor:
    """A square of ``ratio`` of the side, wholly inside, set to the mean (0 on the normalised scale)."""
    size = pixels.shape[-1]
    side = max(1, round(ratio * size))
    corner = to_device(torch.from_numpy(np.floor(where * (size - side + 1)).astype(np.int64)), pixels.device)
    line = torch.arange(size, device=pixels.device)
    inside = (line >= corner[:, :, None]) & (line < corner[:, :, None] + side)
    return pixels.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None, None], 0.0)


def add_noise(
    pixels: Float[Tensor, "rows 3 time size size"], key: Int[np.ndarray, " rows"], std: float, scale: Scale
) -> Tensor:
    """Gaussian noise of standard deviation ``std`` (pixels being in 0..1), clipped to [0, 1].

    A function of the key alone, the same for all frames.
    """
    black, white = (_by_channel(scale.normalize(v), pixels) for v in (0.0, 1.0))
    spread = _by_channel(std / np.asarray(scale.std), pixels)
    noise = _normal(to_device(torch.from_numpy(key), pixels.device), pixels[0, :, 0].numel()).view(pixels[:, :, :1].shape)
    return torch.clamp(torch.addcmul(pixels, noise, spread), black, white)


def _normal(key: Int[Tensor, " rows"], count: int) -> Float[Tensor, "rows count"]:
    """Standard normal numbers: a 32-bit hash of (key, position), then Box and Muller's transform."""
    half = (count + 1) // 2
    position = torch.arange(2 * half, device=key.device)
    bits = _hash32(_hash32(position + (key & 0xFFFFFFFF)[:, None]) + (key >> 32)[:, None])
    u = (bits.double() + 0.5) * 2.0**-32
    radius, angle = torch.sqrt(-2 * torch.log(u[:, :half])), 2 * math.pi * u[:, half:]
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], 1)[:, :count].float()


def _hash32(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Mixes the lower 32 bits (the "lowbias32" constants of C. Wellons' hash-prospector)."""
    mask = 0xFFFFFFFF
    x = x & mask
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & mask
    x = ((x ^ (x >> 15)) * 0x846CA68B) & mask
    return x ^ (x >> 16)
