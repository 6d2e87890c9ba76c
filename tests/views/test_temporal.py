"""Frames of a view: within the clip, the stride apart, from every possible start alike; blocks in order."""

import numpy as np
import pytest
import torch

from fullrank.views.temporal import cut_blocks, draw_frames, span_frames


@pytest.mark.parametrize(("clip", "num", "strides"), [(8, 4, (1,)), (8, 4, (2,)), (8, 3, (1, 3)), (5, 5, (1,)), (4, 1, (7,))])
def test_frames_lie_in_the_clip_and_the_stride_apart(clip, num, strides):
    view = np.arange(1000) % 4
    shown = draw_frames(np.random.default_rng(0).random(1000), clip, num, strides, view)
    assert shown.shape == (1000, num)
    assert shown.min() >= 0
    assert shown.max() < clip
    wanted = np.array(strides)[view % len(strides)]
    assert (np.diff(shown, axis=1) == wanted[:, None]).all()


def test_every_possible_start_comes_equally_often():
    starts = draw_frames(np.random.default_rng(0).random(6000), 10, 3, (2,), np.zeros(6000, int))[:, 0]
    counts = np.bincount(starts)
    assert len(counts) == 10 - span_frames(3, 2) + 1
    assert counts.min() > 0.9 * counts.mean()


def test_blocks_are_consecutive_and_follow_their_view():
    """Frames that carry their number: view 1 of 2, block 2 of 3 shows its frames 4 and 5."""
    pixels = torch.arange(12.0).view(1, 2, 1, 6, 1, 1).expand(2, 2, 3, 6, 4, 4)
    blocks = cut_blocks(pixels, 3)
    assert blocks.shape == (2, 6, 3, 2, 4, 4)
    assert blocks[0, :, 0, :, 0, 0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]]
