"""What happens to the pixels of a view after it is placed: colour, blur, solarize, Sobel, cutout, noise, normalise.

One draw a clip and view: all its frames agree. Order: colour (brightness, contrast, saturation, hue, grayscale), clip to
[0, 1], blur, solarize, Sobel, cutout, noise. Pixels are normalised by the same product that applies the colours, so every
operator after it works on the normalised scale, where black is -mean / std and white is (1 - mean) / std (``Scale``).

Colour is one 3x3 matrix and one offset a clip. With grey g(x) = 0.299 R + 0.587 G + 0.114 B, m = mean of g over the clip,
brightness b, contrast c, saturation s and hue shift h:

    x' = b c (g(x) 1 + s R(h) (x - g(x) 1)) + (1 - c) b m 1

where R(h) turns the chroma plane (I, Q) of YIQ by h of a full turn. Differences to torchvision's ColorJitter: clipping
happens once at the end instead of after each step; without it the four steps commute, so the random order has no
counterpart; hue is this turn, which keeps g, instead of a shift of HSV's hue, which keeps max(R, G, B).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fullrank.config import Augmentation
from fullrank.views.geometry import chance, dense

NUM_DRAWS = 15
"""uniform numbers that one look takes"""
RADIUS_SIGMAS = 3.0
"""a Gaussian kernel ends at this many standard deviations (what is cut off weighs less than 0.3 %)"""

GREY = np.array([0.299, 0.587, 0.114])
_YIQ = np.array([GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_TO_GREY = np.ones((3, 1)) * GREY
_CHROMA = np.eye(3) - _TO_GREY
# Quarter turn of the chroma plane; its sign makes red go to yellow for a small positive shift, as in HSV.
_TURN = np.linalg.inv(_YIQ)[:, 1:] @ np.array([[0.0, 1.0], [-1.0, 0.0]]) @ _YIQ[1:]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How pixels in [0, 1] are normalised: (x - mean) / std, by channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalize(self, values: float) -> NDArray[np.float64]:
        """What a grey value in [0, 1] becomes: [3]."""
        return (values - np.asarray(self.mean)) / np.asarray(self.std)


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
    """b c (grey + s (cos(2 pi h) chroma + sin(2 pi h) turned chroma)); saturation 0 is grayscale.

    >>> color_matrix(*np.ones((3, 1)), np.zeros(1))[0].round(6).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    angle = 2 * np.pi * hue
    cosine, sine = (saturation * f(angle) for f in (np.cos, np.sin))
    chroma = cosine[:, None, None] * _CHROMA + sine[:, None, None] * _TURN
    return (brightness * contrast)[:, None, None] * (_TO_GREY + chroma)


def draw_look(u: Float[np.ndarray, "rows draws"], aug: Augmentation, view: Int[np.ndarray, " rows"]) -> Look:
    """Looks from uniform numbers ``u`` (``NUM_DRAWS`` a row)."""

    def factor(column: int, strength: float) -> NDArray[np.float64]:
        low = max(0.0, 1.0 - strength)
        return np.where(jitter, low + (1.0 + strength - low) * u[:, column], 1.0)

    jitter = chance(u[:, 0], aug.jitter_prob, view)
    brightness, contrast, saturation = factor(1, aug.brightness), factor(2, aug.contrast), factor(3, aug.saturation)
    hue = np.where(jitter, aug.hue * (2.0 * u[:, 4] - 1.0), 0.0)
    saturation = np.where(chance(u[:, 5], aug.grayscale_prob, view), 0.0, saturation)
    sigma = aug.blur_min_sigma + (aug.blur_max_sigma - aug.blur_min_sigma) * u[:, 7]
    return Look(
        matrix=color_matrix(brightness, contrast, saturation, hue),
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
    return torch.from_numpy(np.concatenate([matrix, offset, pull], 1).astype(np.float32)).to(device, non_blocking=True)


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
        _change(pixels, look.solarize, lambda x, rows: solarize(x, aug.solarize_threshold, scale))
    if look.sobel.any():
        _change(pixels, look.sobel, lambda x, rows: sobel(x, scale))
    if (drawn := look.cutout[:, 0] >= 0).any():
        _change(pixels, drawn, lambda x, rows: cutout(x, look.cutout[rows], aug.cutout_ratio))
    if (drawn := look.noise >= 0).any():
        _change(pixels, drawn, lambda x, rows: add_noise(x, look.noise[rows], aug.noise_std, scale))


def _change(pixels: Tensor, drawn: NDArray[np.bool_], operator: Callable[[Tensor, NDArray[np.int64]], Tensor]) -> None:
    rows = np.flatnonzero(drawn)
    index = torch.from_numpy(rows).to(pixels.device, non_blocking=True)
    pixels.index_copy_(0, index, operator(pixels.index_select(0, index), rows))


def blur_(pixels: Float[Tensor, "rows channels time size size"], sigma: Float[np.ndarray, " rows"]) -> None:
    """Gaussian blur with reflected borders, in place; one standard deviation (in pixels) a row, 0 for none.

    Weights exp(-d^2 / (2 sigma^2)) for |d| <= ceil(3 sigma), divided by their sum.
    """
    size = pixels.shape[-1]
    radius = _radius(sigma.max(), size)
    if not dense(size, pixels.device) and size % _BLOCK == 0 and size >= 3 * _BLOCK and radius <= _BLOCK:
        for row in np.flatnonzero(sigma > 0):
            _blur_blocks_(pixels[row], sigma[row : row + 1])
    else:
        _change(pixels, sigma > 0, lambda x, rows: _blur_bands(x, sigma[rows]))


def _radius(sigma: float, size: int) -> int:
    return min(math.ceil(RADIUS_SIGMAS * sigma), size - 1)


def _taps(sigma: Float[np.ndarray, " rows"], size: int) -> Float[np.ndarray, "rows taps"]:
    """The kernels of all rows, as wide as the widest; each is 0 beyond its own radius."""
    offsets = np.arange(-(radius := _radius(sigma.max(), size)), radius + 1)
    near = np.abs(offsets) <= np.ceil(RADIUS_SIGMAS * sigma[:, None])
    weights = np.exp(-0.5 * (offsets / sigma[:, None]) ** 2) * near
    return weights / weights.sum(1, keepdims=True)


@lru_cache(maxsize=64)
def _reflected(size: int, radius: int) -> NDArray[np.int64]:
    """[size, taps]: the pixel that each tap of each output pixel reads."""
    reads = np.abs(np.arange(size)[:, None] + np.arange(-radius, radius + 1))
    return size - 1 - np.abs(size - 1 - reads)


@lru_cache(maxsize=64)
def _landing(size: int, radius: int) -> Tensor:
    """[taps, size * size]: 1 where a tap of an output pixel reads an input pixel."""
    lands = np.zeros((2 * radius + 1, size, size), np.float32)
    for tap in range(2 * radius + 1):
        lands[tap, np.arange(size), _reflected(size, radius)[:, tap]] = 1.0
    return torch.from_numpy(lands.reshape(2 * radius + 1, -1))


def _bands(taps: NDArray[np.float64], size: int, device: torch.device) -> Float[Tensor, "rows size size"]:
    """The matrix of each row's blur along one axis."""
    lands = _landing(size, taps.shape[1] // 2).to(device)
    return (torch.from_numpy(taps.astype(np.float32)).to(device) @ lands).view(-1, size, size)


def _blur_bands(pixels: Tensor, sigma: NDArray[np.float64]) -> Tensor:
    size = pixels.shape[-1]
    band = _bands(_taps(sigma, size), size, pixels.device)
    across = torch.bmm(pixels.flatten(1, 3), band.mT).view(len(pixels), -1, size, size)
    return torch.matmul(band[:, None], across).view(pixels.shape)


_BLOCK = 16


def _blur_blocks_(pixels: Float[Tensor, "channels time size size"], sigma: NDArray[np.float64]) -> None:
    """The same for one clip of larger pixels on a CPU, ten times faster there than a grouped convolution.

    Down: each output line is a weighted sum of input lines, which is what an embedding bag computes. Across: a block of
    16 columns depends on few columns around it; the blocks of a blur of 48 pixels are those of any longer line.
    """
    size, lines = pixels.shape[-1], pixels.view(-1, pixels.shape[-1])
    taps = _taps(sigma, size)
    radius = taps.shape[1] // 2
    reads = _line_reads(size, radius, len(lines) // size)
    weights = torch.from_numpy(taps.astype(np.float32)).expand(reads.shape).contiguous()
    down = F.embedding_bag(reads, lines, mode="sum", per_sample_weights=weights)
    band = _bands(taps, 3 * _BLOCK, pixels.device)[0].T
    inner = size // _BLOCK - 2
    torch.mm(down[:, : 2 * _BLOCK], band[: 2 * _BLOCK, :_BLOCK], out=lines[:, :_BLOCK])
    torch.mm(down[:, -2 * _BLOCK :], band[_BLOCK:, -_BLOCK:], out=lines[:, -_BLOCK:])
    torch.bmm(
        down[:, _BLOCK - radius :].as_strided((inner, len(lines), _BLOCK + 2 * radius), (_BLOCK, size, 1)),
        band[_BLOCK - radius : 2 * _BLOCK + radius, _BLOCK : 2 * _BLOCK].expand(inner, -1, -1),
        out=lines[:, _BLOCK:].as_strided((inner, len(lines), _BLOCK), (_BLOCK, size, 1)),
    )


@lru_cache(maxsize=64)
def _line_reads(size: int, radius: int, planes: int) -> Int[Tensor, "lines taps"]:
    return torch.from_numpy((_reflected(size, radius) + size * np.arange(planes)[:, None, None]).reshape(planes * size, -1))


def _by_channel(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None, None]


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
    std, black, white = (_by_channel(v, pixels) for v in (np.asarray(scale.std), scale.normalize(0.0), scale.normalize(1.0)))
    return torch.minimum(torch.sqrt(gx * gx + gy * gy).view(pixels.shape) / 4 + black, white + 0 * std)


def cutout(pixels: Float[Tensor, "rows 3 time size size"], where: Float[np.ndarray, "rows 2"], ratio: float) -> Tensor:
    """A square of ``ratio`` of the side, wholly inside, set to the mean (0 on the normalised scale)."""
    size = pixels.shape[-1]
    side = max(1, round(ratio * size))
    corner = torch.from_numpy(np.floor(where * (size - side + 1)).astype(np.int64)).to(pixels.device)
    line = torch.arange(size, device=pixels.device)
    inside = (line >= corner[:, :, None]) & (line < corner[:, :, None] + side)
    return pixels.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None, None], 0.0)


def add_noise(pixels: Float[Tensor, "rows 3 time size size"], key: Int[np.ndarray, " rows"], std: float, scale: Scale) -> Tensor:
    """Gaussian noise of standard deviation ``std`` (pixels being in 0..1), clipped to [0, 1]; a function of the key alone."""
    black, white, spread = (
        _by_channel(v, pixels) for v in (scale.normalize(0.0), scale.normalize(1.0), std / np.asarray(scale.std))
    )
    noise = _normal(torch.from_numpy(key).to(pixels.device), pixels[0].numel()).view(pixels.shape)
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
