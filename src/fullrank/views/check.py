"""Whether a plan can be made from clips of a length: said before any data are touched, in one sentence."""

from collections.abc import Callable
from pathlib import Path

from fullrank.data.open import NO_FLOW_CACHE
from fullrank.errors import SettingError
from fullrank.types import MaskSpec, TileSpec, ViewPlan, ViewSpec
from fullrank.views import masks, pretext, temporal

Refuse = Callable[[str], SettingError]


def check_plan(plan: ViewPlan, num_frames: int, cache: Path | None = None) -> None:
    """``SettingError`` where clips of ``num_frames`` frames cannot give the views of ``plan``.

    ``cache`` is ``data.cache``, which optical flow needs.
    """
    if plan.needs_flow and cache is None:
        raise SettingError(NO_FLOW_CACHE)
    for spec in plan.groups:
        check_spec(spec, num_frames)


def check_spec(spec: ViewSpec, clip_frames: int) -> None:
    """The same for one view group."""

    def refuse(sentence: str) -> SettingError:
        return SettingError(f"View group '{spec.name}': {sentence}")

    frames = _shown(spec, clip_frames, refuse)
    if spec.stream == "difference" and frames < 2:
        raise refuse(f"the stream difference must have at least 2 frames. Got {frames}; raise --data.num-frames.")
    if spec.num_blocks < 1 or frames % spec.num_blocks:
        raise refuse(
            f"the frames of a view must divide into its blocks. Got {frames} frames for {spec.num_blocks} blocks; "
            f"make --data.num-frames a multiple of {max(spec.num_blocks, 1)}."
        )
    size = spec.augmentation.size_pixels
    if spec.tiles is not None:
        if spec.num_blocks > 1:
            raise refuse(f"a view can be cut into blocks or into tiles. Got {spec.num_blocks} blocks and tiles; drop one.")
        _check_tiles(spec.tiles, size, refuse)
        size = pretext.tile_pixels(spec.tiles, size)
    if spec.mask is not None:
        _check_mask(spec.mask, frames // spec.num_blocks, size, refuse)


def _shown(spec: ViewSpec, clip_frames: int, refuse: Refuse) -> int:
    """Frames of a view."""
    if not spec.strides or min(spec.strides) < 1:
        raise refuse(f"strides must be whole numbers of at least 1. Got {spec.strides}.")
    if spec.num_frames is None:
        return clip_frames
    if spec.num_frames < 1:
        raise refuse(f"num_frames must be at least 1. Got {spec.num_frames}.")
    needed = temporal.span_frames(spec.num_frames, max(spec.strides))
    if needed > clip_frames:
        raise refuse(
            f"{spec.num_frames} frames that are {max(spec.strides)} apart must fit into a clip, which takes {needed}. "
            f"Got clips of {clip_frames}; raise --data.num-frames to {needed}."
        )
    return spec.num_frames


def _check_tiles(tiles: TileSpec, size: int, refuse: Refuse) -> None:
    if tiles.grid < 2 or not 0 <= tiles.gap_ratio < 1:
        raise refuse(
            f"tiles need a grid of at least 2 and a gap_ratio in [0, 1). Got a grid of {tiles.grid} and {tiles.gap_ratio}."
        )
    if pretext.tile_pixels(tiles, size) < 1:
        raise refuse(f"a tile must have at least 1 pixel. Got a grid of {tiles.grid} on {size} pixels; raise size_pixels.")
    if tiles.permutations is None:
        return
    if tiles.grid > pretext.LARGEST_GRID:
        raise refuse(f"permutations are for grids of at most {pretext.LARGEST_GRID}. Got a grid of {tiles.grid}.")
    there_are = pretext.num_orders(tiles.grid**2)
    if not 2 <= tiles.permutations <= there_are:
        raise refuse(
            f"the number of permutations of {tiles.grid**2} tiles must be in [2, {there_are}]. Got {tiles.permutations}."
        )


def _check_mask(mask: MaskSpec, frames: int, size: int, refuse: Refuse) -> None:
    if not 0 < mask.ratio < 1:
        hint = f" Did you mean {mask.ratio / 100:g}?" if 1 < mask.ratio < 100 else ""
        raise refuse(f"the ratio of hidden patches must be in (0, 1). Got {mask.ratio:g}.{hint}")
    if mask.patch_pixels < 1 or size % mask.patch_pixels:
        raise refuse(
            f"patches of {mask.patch_pixels} pixels must tile the view. Got {size} pixels; change size_pixels or patch_pixels."
        )
    if mask.patch_frames < 1 or frames % mask.patch_frames:
        raise refuse(
            f"patches of {mask.patch_frames} frames must tile the view. Got {frames} frames; "
            f"make --data.num-frames a multiple of {max(mask.patch_frames, 1)}."
        )
    times, rows, columns = masks.grid(mask, frames, size)
    hidden, tokens = masks.num_hidden(mask, frames, size), times * rows * columns
    if not 0 < hidden < tokens:
        raise refuse(f"a mask must hide some of the patches and leave some. Got {hidden} hidden of {tokens}; change its ratio.")
