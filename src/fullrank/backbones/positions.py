"""Tables of positions for the tokens of transformers: sine and cosine ones, and how a table is resized."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from fullrank.backbones.patches import Grid

BASE = 10_000.0
"""longest wavelength / 2 pi"""


def sincos(places: Float64[Tensor, " n"], dim: int) -> Float64[Tensor, "n dim"]:
    """sin(place * w_i) and behind them cos(place * w_i), with w_i = 10000^(-2i / dim) for i = 0 .. dim / 2 - 1.

    Vaswani et al., "Attention Is All You Need", NeurIPS 2017, arXiv 1706.03762, section 3.5; ``dim`` is even.

    >>> sincos(torch.tensor([0.0], dtype=torch.float64), 4)[0].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    frequency = BASE ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angle = places[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sincos_by_axis(dim: int, grid: Grid) -> Float[Tensor, "1 n dim"]:
    """Each axis has its share of the dimensions, as in MAE (pictures) and V-JEPA (clips); not learned.

    One frame: height then width, dim / 2 each. (The code of MAE puts width first: the same up to a transposition.)
    More: time, height, width, 2 * ceil(dim / 6) each, and what exceeds ``dim`` is cut off (V-JEPA's ``uniform_power``).
    """
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in grid], indexing="ij")
    if grid[0] == 1:
        axes, share = axes[1:], dim // 2
    else:
        share = -(-dim // 6) * 2
    return torch.cat([sincos(axis.flatten(), share) for axis in axes], dim=1)[None, :, :dim].float()


def sincos_flat(dim: int, count: int) -> Float[Tensor, "1 n dim"]:
    """By the token's number alone, sines on even dimensions and cosines on odd ones, as VideoMAE's table; not learned."""
    sine, cosine = sincos(torch.arange(count, dtype=torch.float64), dim).chunk(2, dim=1)
    return torch.stack([sine, cosine], dim=2).flatten(1)[None].float()


def resized(table: Float[Tensor, "1 n dim"], made_for: Grid, grid: Grid) -> Float[Tensor, "1 m dim"]:
    """The table of a grid for another one.

    Pictures: bicubic with the scale (patches + 0.1) / patches of the table, as DINO's code does (the tenth was put there
    against rounding, and shifts the samples a little: files made with it expect it). Clips: trilinear, as V-JEPA.
    """
    if grid == made_for:
        return table
    # float64 stays: bicubic in half precision would move positions
    cells = table.to(torch.promote_types(table.dtype, torch.float32)).unflatten(1, made_for).permute(0, 4, 1, 2, 3)
    if made_for[0] == 1:
        scale = [(new + 0.1) / old for new, old in zip(grid[1:], made_for[1:], strict=True)]
        new = F.interpolate(cells[:, :, 0], scale_factor=scale, mode="bicubic")[:, :, None]
    else:
        new = F.interpolate(cells, size=grid, mode="trilinear")
    return new.flatten(2).transpose(1, 2)
