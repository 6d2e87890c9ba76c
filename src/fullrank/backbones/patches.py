"""From pixels to the patches of a transformer: how they are counted, chosen and embedded."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.errors import SettingError, ShapeError

Grid = tuple[int, int, int]
"""patches along time, height and width"""


def patch_grid(pixels: Tensor, patch: tuple[int, int, int], in_channels: int, name: str) -> Grid:
    """Patches along time, height and width; ``ShapeError`` where the pixels have other axes or do not divide."""
    if pixels.ndim != 5 or pixels.shape[1] != in_channels:
        raise ShapeError(
            f"the {name}'s pixels must be [batch, {in_channels}, time, height, width]. Got {list(pixels.shape)}. "
            "An image has one frame: pixels.unsqueeze(2)."
        )
    (time, height, width), (frames, side, _) = pixels.shape[2:], patch
    if time % frames or time == 0:
        raise ShapeError(
            f"the frames must be a multiple of the {name}'s patch, {frames} frames. Got {time}; change data.num_frames "
            "(an image: repeat it) or backbone.patch_frames."
        )
    if height % side or width % side or not height or not width:
        raise ShapeError(
            f"height and width of the pixels must be multiples of the {name}'s patch, {side} pixels. Got {height} x {width}; "
            "change the crop's size_pixels or backbone.patch_pixels."
        )
    return time // frames, height // side, width // side


def check_table(image_pixels: int, patch_pixels: int) -> int:
    """Patches along a side of the pictures that positions are made for; ``SettingError`` where they do not divide."""
    if image_pixels % patch_pixels:
        raise SettingError(
            f"image_pixels of a transformer must be a multiple of patch_pixels, {patch_pixels}. Got {image_pixels}; "
            f"{max(image_pixels // patch_pixels, 1) * patch_pixels} is near."
        )
    return image_pixels // patch_pixels


def check_hidden(hidden: Tensor, batch: int, grid: Grid) -> None:
    """``ShapeError`` unless ``hidden`` is bool [batch, tokens of the grid]."""
    tokens = grid[0] * grid[1] * grid[2]
    if hidden.dtype != torch.bool or tuple(hidden.shape) != (batch, tokens):
        raise ShapeError(
            f"hidden must be bool [{batch}, {tokens}], one value for each of the {' x '.join(map(str, grid))} patches. "
            f"Got {hidden.dtype} {list(hidden.shape)}; the mask's patch must be the backbone's."
        )


def visible(hidden: Bool[Tensor, "rows tokens"]) -> Int64[Tensor, "rows kept"]:
    """Numbers of the tokens that are not hidden, ascending; every row must keep the same number, at least one.

    >>> visible(torch.tensor([[True, False, False, True], [False, True, True, False]])).tolist()
    [[1, 2], [0, 3]]
    """
    fewest, most = torch.stack(hidden.logical_not().sum(1).aminmax()).tolist()
    if fewest != most or fewest == 0:
        raise ShapeError(
            f"hidden must leave the same number of tokens visible in every row, at least one. Got {fewest} to {most} of "
            f"{hidden.shape[1]}; where each frame is a row of its own, hide the same places at all times (kind 'tube')."
        )
    return hidden.to(torch.uint8).argsort(dim=1, stable=True)[:, :fewest]


def take(tokens: Float[Tensor, "rows tokens d"], kept: Int64[Tensor, "rows kept"]) -> Float[Tensor, "rows kept d"]:
    """The rows' kept tokens."""
    return tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))


class PatchEmbed(nn.Module):
    """One linear map for every patch; ``proj`` holds it as the convolution that files of other code have.

    It is computed as the matrix product that it is: with kernel = stride the convolution comes out the same, but takes, on a
    CPU and with its gradient, twice (pictures) to four times (tubelets) as long in bf16.
    """

    def __init__(self, in_channels: int, dim: int, patch: tuple[int, int, int]):
        super().__init__()
        self.patch = patch
        conv: type[nn.Module] = nn.Conv2d if patch[0] == 1 else nn.Conv3d
        size = patch[1:] if patch[0] == 1 else patch
        self.proj = conv(in_channels, dim, kernel_size=size, stride=size)

    def forward(
        self, pixels: Float[Tensor, "rows channels time height width"], kept: Tensor | None = None
    ) -> Float[Tensor, "rows tokens d"]:
        """Patches in the order (time, height, width); only those of ``kept`` [rows, kept] where it is given."""
        frames, side, _ = self.patch
        cut = pixels.unflatten(4, (-1, side)).unflatten(3, (-1, side)).unflatten(2, (-1, frames))
        patches = cut.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        if kept is not None:
            patches = take(patches, kept)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # type: ignore[operator, arg-type]
