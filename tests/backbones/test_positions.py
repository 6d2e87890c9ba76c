import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.backbones.positions import resized, sincos_by_axis, sincos_flat


def naive_axis(place, dim):
    half = dim // 2
    angles = [place / 10_000 ** (i / half) for i in range(half)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


def test_pictures_have_height_then_width():
    table = sincos_by_axis(16, (1, 2, 3))
    want = [naive_axis(y, 8) + naive_axis(x, 8) for y in range(2) for x in range(3)]
    torch.testing.assert_close(table[0], torch.tensor(want))


@pytest.mark.parametrize("dim", [24, 64])
def test_clips_have_time_height_width_cut_to_the_width(dim):
    table, share = sincos_by_axis(dim, (2, 3, 2)), 2 * math.ceil(dim / 6)
    rows = [
        naive_axis(t, share) + naive_axis(y, share) + naive_axis(x, share) for t in range(2) for y in range(3) for x in range(2)
    ]
    assert table.shape == (1, 12, dim)
    torch.testing.assert_close(table[0], torch.tensor(rows)[:, :dim])


def test_flat_ones_alternate_sines_and_cosines_over_the_tokens_number():
    want = [[(math.sin, math.cos)[j % 2](n / 10_000 ** (2 * (j // 2) / 8)) for j in range(8)] for n in range(5)]
    torch.testing.assert_close(sincos_flat(8, 5)[0], torch.tensor(want))


def test_the_same_grid_gives_the_very_table():
    table = torch.randn(1, 12, 4)
    assert resized(table, (1, 3, 4), (1, 3, 4)) is table


def test_pictures_are_resized_bicubically_with_a_tenth_of_a_patch_more():
    table = torch.randn(1, 12, 2, dtype=torch.float64)
    picture = table.unflatten(1, (3, 4)).permute(0, 3, 1, 2)
    want = F.interpolate(picture, scale_factor=(5.1 / 3, 2.1 / 4), mode="bicubic").flatten(2).transpose(1, 2)
    got = resized(table, (1, 3, 4), (1, 5, 2))
    assert got.shape == (1, 10, 2)
    torch.testing.assert_close(got, want)


def test_every_number_of_patches_comes_out():
    table = torch.randn(1, 196, 2)
    for side in range(1, 40):
        assert resized(table, (1, 14, 14), (1, side, 41 - side)).shape == (1, side * (41 - side), 2)
        assert resized(table, (4, 7, 7), (side, 7, 6)).shape == (1, side * 42, 2)


def test_clips_are_resized_linearly_along_each_axis():
    ramp = torch.arange(4.0)[:, None, None].expand(4, 2, 2).reshape(1, 16, 1)
    got = resized(ramp, (4, 2, 2), (2, 2, 2)).unflatten(1, (2, 2, 2))
    torch.testing.assert_close(got[0, :, 0, 0, 0], torch.tensor([0.5, 2.5]))
    torch.testing.assert_close(got, got[:, :, :1, :1].expand_as(got))


def test_learned_tables_keep_their_gradient():
    table = torch.randn(1, 9, 2, requires_grad=True)
    resized(table, (1, 3, 3), (1, 4, 4)).sum().backward()
    assert (table.grad != 0).all()
