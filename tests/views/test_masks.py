"""Masks hide the same number of patches in every view, every patch equally often, tubes at all times."""

import numpy as np
import pytest

from fullrank.types import MaskSpec
from fullrank.views import masks


def drawn(mask, frames, size, views=400):
    u = np.random.default_rng(0).random((views, masks.num_draws(mask, frames, size)))
    return masks.draw_masks(u, mask, frames, size)


@pytest.mark.parametrize(
    ("mask", "frames", "size", "hidden", "tokens"),
    [
        (MaskSpec(ratio=0.75, patch_pixels=16), 1, 224, 147, 196),
        (MaskSpec(ratio=0.9, patch_pixels=16, patch_frames=2, kind="tube"), 16, 224, 8 * 176, 1568),
        (MaskSpec(ratio=0.9, patch_pixels=16, patch_frames=2), 16, 224, 1411, 1568),
        (MaskSpec(ratio=0.3, patch_pixels=8), 3, 24, 8, 27),
        (MaskSpec(ratio=0.75, patch_pixels=8), 1, 24, 7, 9),
    ],
)
def test_every_view_hides_the_same_number(mask, frames, size, hidden, tokens):
    assert masks.num_hidden(mask, frames, size) == hidden
    rows = drawn(mask, frames, size, views=20)
    assert rows.shape == (20, tokens)
    assert rows.dtype == np.bool_
    assert (rows.sum(1) == hidden).all()


def test_every_patch_is_hidden_equally_often():
    share = drawn(MaskSpec(ratio=0.25, patch_pixels=4), 2, 16, views=4000).mean(0)
    assert np.abs(share - 0.25).max() < 0.03


def test_tubes_hide_the_same_places_at_all_times_and_random_masks_do_not():
    tube = drawn(MaskSpec(ratio=0.5, patch_pixels=8, kind="tube"), 4, 32).reshape(-1, 4, 16)
    assert (tube == tube[:, :1]).all()
    free = drawn(MaskSpec(ratio=0.5, patch_pixels=8), 4, 32).reshape(-1, 4, 16)
    assert (free != free[:, :1]).any()


def test_the_smallest_numbers_are_hidden():
    u = np.random.default_rng(1).random((5, 27))
    expected = u <= np.sort(u, axis=1)[:, 7:8]
    np.testing.assert_array_equal(masks.draw_masks(u, MaskSpec(ratio=0.3, patch_pixels=8), 3, 24), expected)
