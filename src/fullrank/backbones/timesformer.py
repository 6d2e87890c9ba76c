"""TimeSformer: attention divided into one over time at each place, then one over space in each frame.

Bertasius, Wang, Torresani, "Is Space-Time Attention All You Need for Video Understanding?", ICML 2021, arXiv 2102.05095,
section 3; in the form and with the keys of SVT's code (Ranasinghe et al., CVPR 2022, arXiv 2112.01514).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.backbones.patches import Grid, PatchEmbed, check_hidden, check_table, patch_grid, visible
from fullrank.backbones.transformer import NORM_EPS, Attention, Block, Size, drop_probs, initialise, size_of
from fullrank.errors import ShapeError


class DividedBlock(Block):
    """A block with an attention over time before the one over space; the class token takes part in space alone.

    x = x + fc(attention over time of norm(x)) at each place; then in each frame attention over [class token, its patches],
    where the class token's result is averaged over the frames; then the mlp.
    """

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0):
        super().__init__(dim, heads, drop_path)
        self.temporal_norm1, self.temporal_attn = nn.LayerNorm(dim, NORM_EPS), Attention(dim, heads)
        self.temporal_fc = nn.Linear(dim, dim)

    def forward(self, tokens: Float[Tensor, "batch tokens d"], time: int) -> Float[Tensor, "batch tokens d"]:  # type: ignore[override]
        """Class token first, then the patches of one frame after the other."""
        first, x = tokens[:, :1], tokens[:, 1:].unflatten(1, (time, -1))
        batch, _, places, _ = x.shape
        over_time = self.temporal_norm1(x).transpose(1, 2).flatten(0, 1)
        moved = self.temporal_fc(self.temporal_attn(over_time)).unflatten(0, (batch, places)).transpose(1, 2)
        x = x + self.drop_path(moved)

        frames = torch.cat([first[:, None].expand(-1, time, -1, -1), x], dim=2).flatten(0, 1)
        found = self.attn(self.norm1(frames)).unflatten(0, (batch, time))
        branch = torch.cat([found[:, :, :1].mean(1), found[:, :, 1:].flatten(1, 2)], dim=1)
        y = torch.cat([first, x.flatten(1, 2)], dim=1) + self.drop_path(branch)
        return y + self.drop_path(self.mlp(self.norm2(y)))  # type: ignore[no-any-return]


class TimeSformer(nn.Module):
    """pixels [batch, channels, time, height, width] -> representation [batch, embed_dim]: the class token after the last norm.

    Args:
        size: width and heads (micro 64/2, tiny 192/3, small 384/6, base 768/12, large 1024/16, huge 1280/16); 12 blocks,
            large 24, huge 32.
        layers, heads: instead of the size's own.
        patch_pixels: side of a patch, which is one frame deep.
        image_pixels, max_frames: what the positions in space and in time are made for; others take the nearest's, as SVT.
        drop_path: largest probability of stochastic depth, in [0, 1).
        in_channels: channels of the pixels.

    Deviations from SVT's code: stochastic depth skips the branch of a whole clip (there: of one place or frame of it), and
    ``temporal_fc`` starts as every other layer (there: at 0, so that the network starts as one of pictures; its temporal
    attention then has no gradient in the first step).
    """

    def __init__(
        self,
        size: Size = "base",
        *,
        layers: int | None = None,
        heads: int | None = None,
        patch_pixels: int = 16,
        image_pixels: int = 224,
        max_frames: int = 8,
        drop_path: float = 0.0,
        in_channels: int = 3,
    ):
        super().__init__()
        dim, heads, layers = size_of(size, layers, heads)
        self.embed_dim, self.in_channels, self.patch = dim, in_channels, (1, patch_pixels, patch_pixels)
        self.side = check_table(image_pixels, patch_pixels)
        self.patch_embed = PatchEmbed(in_channels, dim, self.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.side**2, dim))
        self.time_embed = nn.Parameter(torch.zeros(1, max_frames, dim))
        self.blocks = nn.ModuleList(DividedBlock(dim, heads, prob) for prob in drop_probs(drop_path, layers))
        self.norm = nn.LayerNorm(dim, NORM_EPS)
        initialise(self)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def grid(self, pixels: Tensor) -> Grid:
        """Patches of these pixels along time, height and width; ``ShapeError`` where they do not divide."""
        return patch_grid(pixels, self.patch, self.in_channels, "TimeSformer")

    def forward(self, pixels: Float[Tensor, "batch channels time height width"]) -> Float[Tensor, "batch embed_dim"]:
        """The class token after the last norm, in float32 or wider; contiguous.

        ``ShapeError`` where the pixels have other axes or channels, or are no multiple of the patch.
        """
        h = self.tokens(pixels)[:, 0]
        return h.to(torch.promote_types(h.dtype, torch.float32)).contiguous()

    def tokens(
        self,
        pixels: Float[Tensor, "batch channels time height width"],
        hidden: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch kept embed_dim"]:
        """Tokens after the last norm: the class token, then the patches in the order (time, height, width).

        Only tokens that are not ``hidden`` run through the network. Attention over time needs the same places in every
        frame, so hidden ones are tubes; every row hides the same number.
        """
        x = self._start(pixels, hidden)
        for block in self.blocks:
            x = block(x, pixels.shape[2])
        return self.norm(x)  # type: ignore[no-any-return]

    def maps(self, pixels: Float[Tensor, "batch channels time height width"]) -> dict[str, Tensor]:
        """{"blocks.0", "blocks.1", ..., "norm": [batch, embed_dim, time, height, width] over the patches}, without classes."""
        grid, x, found = self.grid(pixels), self._start(pixels, None), {}
        for i, block in enumerate(self.blocks):
            x = block(x, grid[0])
            found[f"blocks.{i}"] = x
        found["norm"] = self.norm(x)
        return {name: value[:, 1:].transpose(1, 2).unflatten(2, grid) for name, value in found.items()}

    def _start(self, pixels: Tensor, hidden: Tensor | None) -> Tensor:
        """What the first block sees: [batch, class token and visible patches, embed_dim]."""
        grid = self.grid(pixels)
        time, places = grid[0], grid[1] * grid[2]
        positions = self._in_space(grid)[:, None] + self._in_time(time)[:, :, None]
        positions, kept = positions.flatten(1, 2), None
        if hidden is not None:
            kept = self._tubes(hidden, len(pixels), grid, places)
        x = self.patch_embed(pixels, kept) + (positions if kept is None else positions[0, kept])
        return torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1), x], dim=1)

    def _tubes(self, hidden: Tensor, batch: int, grid: Grid, places: int) -> Tensor:
        """Numbers of the visible tokens, [batch, time * visible places]."""
        check_hidden(hidden, batch, grid)
        frames = hidden.unflatten(1, (grid[0], places))
        if bool((frames != frames[:, :1]).any()):
            raise ShapeError(
                "hidden tokens of a TimeSformer must be the same places in every frame of a clip. Got others; "
                "draw the mask with kind 'tube'."
            )
        starts = torch.arange(grid[0], device=hidden.device) * places
        return (starts[:, None] + visible(frames[:, 0])[:, None]).flatten(1)

    def _in_space(self, grid: Grid) -> Tensor:
        table = self.pos_embed[:, 1:]
        if grid[1:] == (self.side, self.side):
            return table
        cells = table.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        return F.interpolate(cells, size=grid[1:], mode="nearest").flatten(2).transpose(1, 2)

    def _in_time(self, time: int) -> Tensor:
        if time == self.time_embed.shape[1]:
            return self.time_embed
        return F.interpolate(self.time_embed.transpose(1, 2), size=time, mode="nearest").transpose(1, 2)
