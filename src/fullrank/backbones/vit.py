"""The vision transformer, for pictures and for clips cut into tubelets.

Pictures: Dosovitskiy et al., ICLR 2021, arXiv 2010.11929, as DINO has it (Caron et al., ICCV 2021, arXiv 2104.14294). Clips:
tubelets of some frames with attention over space and time at once, as VideoMAE (Tong et al., NeurIPS 2022, arXiv 2203.12602)
and V-JEPA (Bardes et al., TMLR 2024, arXiv 2404.08471).
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from fullrank.backbones.patches import Grid, PatchEmbed, check_hidden, check_table, patch_grid, visible
from fullrank.backbones.positions import resized, sincos_by_axis, sincos_flat
from fullrank.backbones.resnet import fold_time
from fullrank.backbones.transformer import NORM_EPS, Block, Size, drop_probs, initialise, size_of
from fullrank.errors import SettingError

Positions = Literal["learned", "sincos", "sincos_flat"]


class ViT(nn.Module):
    """pixels [batch, channels, time, height, width] -> representation [batch, embed_dim].

    Args:
        size: width and heads (micro 64/2, tiny 192/3, small 384/6, base 768/12, large 1024/16, huge 1280/16); 12 blocks,
            large 24, huge 32.
        layers, heads: instead of the size's own (MoCo v3's ViT-S has 12 heads).
        patch_pixels: side of a patch.
        patch_frames: 1: each frame is a picture of its own and the frames' features are averaged; more: tubelets, and
            attention over the whole clip.
        image_pixels, max_frames: what positions are made for; they are interpolated for others (``positions.resized``).
            With ``patch_frames`` 1 frames have no positions.
        positions: "learned"; "sincos": fixed, by axis (MAE, MoCo v3, V-JEPA); "sincos_flat": fixed, by the token's number
            (VideoMAE). Fixed ones are a buffer.
        class_token: a learned token that stands first.
        pooling: "class": the class token is the representation; "mean": the mean of the patch tokens. Where not given,
            "class" if there is such a token.
        drop_path: largest probability of stochastic depth, in [0, 1).
        in_channels: channels of the pixels.
    """

    cls_token: nn.Parameter | None

    def __init__(
        self,
        size: Size = "small",
        *,
        layers: int | None = None,
        heads: int | None = None,
        patch_pixels: int = 16,
        patch_frames: int = 1,
        image_pixels: int = 224,
        max_frames: int = 8,
        positions: Positions = "learned",
        class_token: bool = True,
        pooling: Literal["class", "mean"] | None = None,
        drop_path: float = 0.0,
        in_channels: int = 3,
    ):
        super().__init__()
        dim, heads, layers = size_of(size, layers, heads)
        self.embed_dim, self.in_channels, self.patch = dim, in_channels, (patch_frames, patch_pixels, patch_pixels)
        self.made_for = _table_grid(self.patch, image_pixels, max_frames)
        self.pooling = _checked_pooling(pooling, class_token)
        self.patch_embed = PatchEmbed(in_channels, dim, self.patch)
        self.register_parameter("cls_token", nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None)
        self._make_positions(positions)
        self.blocks = nn.ModuleList(Block(dim, heads, prob) for prob in drop_probs(drop_path, layers))
        self.norm = nn.LayerNorm(dim, NORM_EPS)
        initialise(self)
        for table in (self.cls_token, self.pos_embed):
            if isinstance(table, nn.Parameter):
                nn.init.trunc_normal_(table, std=0.02)

    def _make_positions(self, kind: str) -> None:
        count, first = self.made_for[0] * self.made_for[1] * self.made_for[2], self._first
        if kind == "learned":
            self.pos_embed: Tensor = nn.Parameter(torch.zeros(1, first + count, self.embed_dim))
            return
        if kind not in ("sincos", "sincos_flat"):
            raise SettingError(f"positions of the ViT must be one of learned, sincos, sincos_flat. Got '{kind}'.")
        dim = self.embed_dim
        table = sincos_by_axis(dim, self.made_for) if kind == "sincos" else sincos_flat(dim, count)
        self.register_buffer("pos_embed", torch.cat([torch.zeros(1, first, dim), table], dim=1))

    @property
    def _first(self) -> int:
        """Number of the first patch token."""
        return 0 if self.cls_token is None else 1

    def grid(self, pixels: Tensor) -> Grid:
        """Patches of these pixels along time, height and width; ``ShapeError`` where they do not divide."""
        return patch_grid(pixels, self.patch, self.in_channels, "ViT")

    def forward(self, pixels: Float[Tensor, "batch channels time height width"]) -> Float[Tensor, "batch embed_dim"]:
        """Class token or mean of the patch tokens, after the last norm, in float32 or wider; contiguous.

        ``ShapeError`` where the pixels have other axes or channels, or are no multiple of the patch.
        """
        x = self.tokens(pixels)
        h = x[:, 0] if self.pooling == "class" else x[:, self._first :].mean(1)
        return h.to(torch.promote_types(h.dtype, torch.float32)).contiguous()

    def tokens(
        self,
        pixels: Float[Tensor, "batch channels time height width"],
        hidden: Bool[Tensor, "batch tokens"] | None = None,
    ) -> Float[Tensor, "batch kept embed_dim"]:
        """Tokens after the last norm, the class token (where there is one) first, then patches in the order (t, h, w).

        Only tokens that are not ``hidden`` run through the network; every row must hide the same number. Where each frame
        is a picture of its own, every frame must, and the class token is the mean of the frames'.
        """
        x = self._start(pixels, hidden)
        for block in self.blocks:
            x = block(x)
        return self._whole(self.norm(x), pixels)

    def last_classes(self, pixels: Float[Tensor, "batch channels time height width"], count: int) -> Tensor:
        """Class tokens of the last ``count`` blocks, each after the last norm: [batch, count, embed_dim], the last one last."""
        x, found = self._start(pixels, None), []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return torch.stack([self._whole(self.norm(x), pixels)[:, 0] for x in found[-count:]], dim=1)

    def maps(self, pixels: Float[Tensor, "batch channels time height width"]) -> dict[str, Tensor]:
        """{"blocks.0", "blocks.1", ..., "norm": [batch, embed_dim, time, height, width] over the patches}, without classes."""
        grid, x, found = self.grid(pixels), self._start(pixels, None), {}
        for i, block in enumerate(self.blocks):
            x = block(x)
            found[f"blocks.{i}"] = x
        found["norm"] = self.norm(x)
        patches = {name: self._whole(value, pixels)[:, self._first :] for name, value in found.items()}
        return {name: value.transpose(1, 2).unflatten(2, grid) for name, value in patches.items()}

    def _start(self, pixels: Tensor, hidden: Tensor | None) -> Tensor:
        """What the first block sees: [rows, tokens, embed_dim]; a row is a clip or, with patches of one frame, a frame."""
        grid = self.grid(pixels)
        if hidden is not None:
            check_hidden(hidden, len(pixels), grid)
        if self.patch[0] == 1:
            if hidden is not None:
                hidden = hidden.unflatten(1, (grid[0], -1)).transpose(0, 1).flatten(0, 1)
            pixels, grid = fold_time(pixels).unsqueeze(2), (1, *grid[1:])
        kept = None if hidden is None else visible(hidden)
        places = resized(self.pos_embed[:, self._first :], self.made_for, grid)
        x = self.patch_embed(pixels, kept) + (places if kept is None else places[0, kept])
        if self.cls_token is not None:
            x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1), x], dim=1)
        return x  # type: ignore[no-any-return]

    def _whole(self, rows: Tensor, pixels: Tensor) -> Tensor:
        """Frames put together again: class tokens averaged, patch tokens one frame after the other."""
        time = pixels.shape[2]
        if self.patch[0] > 1 or time == 1:
            return rows
        frames = rows.unflatten(0, (time, -1)).transpose(0, 1)
        return torch.cat([frames[:, :, : self._first].mean(1), frames[:, :, self._first :].flatten(1, 2)], dim=1)


def _table_grid(patch: tuple[int, int, int], image_pixels: int, max_frames: int) -> Grid:
    side, frames = check_table(image_pixels, patch[1]), patch[0]
    if frames == 1:
        return 1, side, side
    if max_frames % frames:
        raise SettingError(f"max_frames of the ViT must be a multiple of patch_frames, {frames}. Got {max_frames}.")
    return max_frames // frames, side, side


def _checked_pooling(pooling: str | None, class_token: bool) -> str:
    if pooling is None:
        return "class" if class_token else "mean"
    if pooling not in ("class", "mean") or (pooling == "class" and not class_token):
        raise SettingError(f"pooling of the ViT must be mean, or class where it has a class token. Got '{pooling}'.")
    return pooling
