"""Gaussian blur of many views with a standard deviation each, as products with small matrices."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fullrank.transfer import to_device
from fullrank.views.geometry import dense

RADIUS_SIGMAS = 3.0
"""a kernel ends at this many standard deviations; what is cut off weighs less than 0.3 %"""
_BLOCK = 16


def change_rows_(pixels: Tensor, drawn: NDArray[np.bool_], operator: Callable[[Tensor, NDArray[np.int64]], Tensor]) -> None:
    """Replace the drawn rows by ``operator(their pixels, their numbers)``, in place."""
    rows = np.flatnonzero(drawn)
    index = to_device(torch.from_numpy(rows), pixels.device)
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
        change_rows_(pixels, sigma > 0, lambda x, rows: _blur_bands(x, sigma[rows]))


def _radius(sigma: float, size: int) -> int:
    return min(math.ceil(RADIUS_SIGMAS * sigma), size - 1)


def _taps(sigma: Float[np.ndarray, " rows"], size: int) -> Float[np.ndarray, "rows taps"]:
    """The kernels of all rows, as wide as the widest; each is 0 beyond its own radius."""
    offsets = np.arange(-(radius := _radius(sigma.max(), size)), radius + 1)
    near = np.abs(offsets) <= np.ceil(RADIUS_SIGMAS * sigma[:, None])
    weights = np.exp(-0.5 * (offsets / sigma[:, None]) ** 2) * near
    return np.asarray(weights / weights.sum(1, keepdims=True))


@lru_cache(maxsize=64)
def _reflected(size: int, radius: int) -> NDArray[np.int64]:
    """[size, taps]: the pixel that each tap of each output pixel reads."""
    reads = np.abs(np.arange(size)[:, None] + np.arange(-radius, radius + 1))
    return np.asarray(size - 1 - np.abs(size - 1 - reads))


@lru_cache(maxsize=64)
def _landing(size: int, radius: int) -> Tensor:
    """[taps, size * size]: 1 where a tap of an output pixel reads an input pixel."""
    lands = np.zeros((2 * radius + 1, size, size), np.float32)
    for tap in range(2 * radius + 1):
        lands[tap, np.arange(size), _reflected(size, radius)[:, tap]] = 1.0
    return torch.from_numpy(lands.reshape(2 * radius + 1, -1))


def _bands(taps: NDArray[np.float64], size: int, device: torch.device) -> Float[Tensor, "rows size size"]:
    """The matrix of each row's blur along one axis."""
    lands = to_device(_landing(size, taps.shape[1] // 2), device)
    return (to_device(torch.from_numpy(taps.astype(np.float32)), device) @ lands).view(-1, size, size)


def _blur_bands(pixels: Tensor, sigma: NDArray[np.float64]) -> Tensor:
    size = pixels.shape[-1]
    band = _bands(_taps(sigma, size), size, pixels.device)
    across = torch.bmm(pixels.flatten(1, 3), band.mT).view(len(pixels), -1, size, size)
    return torch.matmul(band[:, None], across).view(pixels.shape)


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
