"""Which frames of a clip a view shows, and a view cut into blocks of consecutive frames."""

import numpy as np
from jaxtyping import Float, Int, Int64
from torch import Tensor


def span_frames(num_frames: int, stride: int) -> int:
    """Clip frames from the first to the last of a view, both counted.

    >>> span_frames(4, 2)
    7
    """
    return (num_frames - 1) * stride + 1


def draw_frames(
    u: Float[np.ndarray, " rows"], clip_frames: int, num_frames: int, strides: tuple[int, ...], view: Int[np.ndarray, " rows"]
) -> Int64[np.ndarray, "rows num_frames"]:
    """The clip frames that each row (one view of one clip) shows, from uniform numbers.

    ``strides`` is cycled over the view number; the start is uniform among those from which the view ends within the clip.

    >>> draw_frames(np.array([0.0, 0.99]), 8, 3, (1, 2), np.array([0, 1])).tolist()
    [[0, 1, 2], [3, 5, 7]]
    """
    stride = np.asarray(strides, dtype=np.int64)[view % len(strides)]
    start = np.floor(u * (clip_frames - (num_frames - 1) * stride)).astype(np.int64)
    return np.asarray(start[:, None] + stride[:, None] * np.arange(num_frames))


def cut_blocks(
    pixels: Float[Tensor, "batch views channels time height width"], num_blocks: int
) -> Float[Tensor, "batch blocks channels frames height width"]:
    """Consecutive blocks of frames, each a view: index = view * num_blocks + block."""
    batch, views, channels, time, height, width = pixels.shape
    blocks = pixels.view(batch, views, channels, num_blocks, time // num_blocks, height, width).movedim(3, 2)
    return blocks.reshape(batch, views * num_blocks, channels, time // num_blocks, height, width)
