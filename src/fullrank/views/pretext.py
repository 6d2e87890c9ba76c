"""Labels made from the data: a view cut into tiles, and the permutation that they are shown in.

Noroozi and Favaro (ECCV 2016): a square is cut into a grid of cells, and each cell shows a smaller tile at a random place
in it, so that edges do not continue from tile to tile (225 pixels, 3 x 3 cells of 75, tiles of 64). The tiles are shown
in an order from a fixed set of permutations; which one is the label.
"""

import itertools
import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, Int64
from numpy.typing import NDArray
from torch import Tensor

from fullrank.transfer import to_device
from fullrank.types import TileSpec

LARGEST_GRID = 3
"""of a set of permutations: all orders of 9 tiles can be listed, those of 16 cannot"""


def cell_pixels(tiles: TileSpec, size_pixels: int) -> int:
    """Side of a cell; what does not divide is left out at the bottom and right."""
    return size_pixels // tiles.grid


def tile_pixels(tiles: TileSpec, size_pixels: int) -> int:
    """Side of a tile: its cell without the room in which it is moved.

    >>> tile_pixels(TileSpec(grid=3), 225)
    64
    """
    cell = cell_pixels(tiles, size_pixels)
    return cell - round(tiles.gap_ratio * cell)


@lru_cache(maxsize=8)
def permutations(tiles: int, count: int) -> Int64[np.ndarray, "count tiles"]:
    """``count`` orders of ``tiles`` tiles, far from each other: position k of order p shows tile ``permutations[p, k]``.

    The paper's algorithm 1: one after the other, the order whose Hamming distances to those chosen so far have the
    largest sum. Ours, so that the set is always the same: the first is the identity, and among equals the one with the
    largest smallest distance is taken, then the first in lexicographic order.

    >>> permutations(4, 4).tolist()
    [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]
    """
    every = np.array(list(itertools.permutations(range(tiles))), dtype=np.uint8).T.copy()
    total, worst = np.zeros(every.shape[1], dtype=np.int64), np.zeros(every.shape[1], dtype=np.uint8)
    chosen = [0]
    while len(chosen) < count:
        same = (every == every[:, chosen[-1], None]).sum(0, dtype=np.uint8)
        total += same
        np.maximum(worst, same, out=worst)
        key = total * (tiles + 1) + worst
        key[chosen] = np.iinfo(np.int64).max
        chosen.append(int(key.argmin()))
    found = every[:, chosen].T.astype(np.int64)
    found.setflags(write=False)  # it is kept for the next call
    return found


def draw_places(u: Float[np.ndarray, "views draws"], tiles: TileSpec, size_pixels: int) -> Int64[np.ndarray, "views tiles 2"]:
    """Top and left of every tile, from uniform numbers (two a tile): anywhere in its cell."""
    cell = cell_pixels(tiles, size_pixels)
    corner = np.stack(np.meshgrid(*[np.arange(tiles.grid) * cell] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    room = cell - tile_pixels(tiles, size_pixels)
    return np.asarray(corner + np.floor(u.reshape(len(u), -1, 2) * (room + 1)).astype(np.int64))


def draw_order(u: Float[np.ndarray, " views"], tiles: TileSpec) -> Int64[np.ndarray, " views"]:
    """The number of a permutation for each view, from uniform numbers."""
    return np.asarray(np.floor(u * (tiles.permutations or 1)).astype(np.int64))


def arrange(
    places: Int[np.ndarray, "views tiles 2"], order: Int[np.ndarray, " views"], tiles: TileSpec
) -> Int[np.ndarray, "views tiles 2"]:
    """Places in the order in which their tiles are shown."""
    return np.take_along_axis(places, permutations(tiles.grid**2, tiles.permutations or 1)[order][:, :, None], axis=1)


def cut_tiles(
    pixels: Float[Tensor, "views channels time size size"], places: Int[np.ndarray, "views tiles 2"], side: int
) -> Float[Tensor, "views tiles channels time side side"]:
    """The tiles of every view, ``side`` pixels large, with (top, left) at ``places``; all frames are cut alike."""
    views, channels, time, size, _ = pixels.shape
    line = np.arange(side)
    position: NDArray[np.int64] = (places[:, :, 0, None, None] + line[:, None]) * size + places[:, :, 1, None, None] + line
    index = to_device(torch.from_numpy(position.reshape(views, 1, -1)), pixels.device)
    flat = pixels.reshape(views, channels * time, size * size)
    cut = flat.gather(2, index.expand(-1, channels * time, -1))
    return cut.view(views, channels, time, places.shape[1], side, side).movedim(3, 1).contiguous()


def num_orders(tiles: int) -> int:
    """Permutations that there are.

    >>> num_orders(9)
    362880
    """
    return math.factorial(tiles)
