"""Which patches of a view are hidden: drawn anew for every record, view and epoch, the same number in every row.

Tokens are time-major: token (t * rows + row) * columns + column, over the patches of a view.
"""

import numpy as np
from jaxtyping import Bool, Float

from fullrank.types import MaskSpec


def grid(mask: MaskSpec, num_frames: int, size_pixels: int) -> tuple[int, int, int]:
    """(times, rows, columns) of the patches.

    >>> grid(MaskSpec(ratio=0.9, patch_pixels=16, patch_frames=2, kind="tube"), 16, 224)
    (8, 14, 14)
    """
    side = size_pixels // mask.patch_pixels
    return num_frames // mask.patch_frames, side, side


def num_hidden(mask: MaskSpec, num_frames: int, size_pixels: int) -> int:
    """Hidden patches of a view: round(ratio * tokens); of tubes, round(ratio * places) at each time.

    >>> num_hidden(MaskSpec(ratio=0.75, patch_pixels=16), 1, 224)
    147
    """
    return _drawn(mask, num_frames, size_pixels) * (grid(mask, num_frames, size_pixels)[0] if mask.kind == "tube" else 1)


def num_draws(mask: MaskSpec, num_frames: int, size_pixels: int) -> int:
    """Uniform numbers that one mask takes: one a patch, or one a place."""
    times, rows, columns = grid(mask, num_frames, size_pixels)
    return rows * columns * (1 if mask.kind == "tube" else times)


def _drawn(mask: MaskSpec, num_frames: int, size_pixels: int) -> int:
    return round(mask.ratio * num_draws(mask, num_frames, size_pixels))


def draw_masks(
    u: Float[np.ndarray, "views draws"], mask: MaskSpec, num_frames: int, size_pixels: int
) -> Bool[np.ndarray, "views tokens"]:
    """Masks from uniform numbers (``num_draws`` a row): the patches with the smallest numbers are hidden, True.

    >>> draw_masks(np.array([[0.3, 0.1, 0.9, 0.2]]), MaskSpec(ratio=0.5, patch_pixels=8), 1, 16).tolist()
    [[False, True, False, True]]
    """
    count = _drawn(mask, num_frames, size_pixels)
    hidden = np.zeros(u.shape, dtype=np.bool_)
    np.put_along_axis(hidden, np.argpartition(u, count - 1, axis=1)[:, :count], True, axis=1)
    return np.tile(hidden, (1, num_frames // mask.patch_frames)) if mask.kind == "tube" else hidden
