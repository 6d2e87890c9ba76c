"""Tiles lie in their cells and are what slicing gives; permutations are far apart, and always the same."""

import itertools

import numpy as np
import pytest
import torch

from fullrank.types import TileSpec
from fullrank.views import pretext


def greedy(tiles, count):
    """Algorithm 1 of Noroozi and Favaro (2016), with the tie rules of our docstring, one distance at a time."""
    left = list(itertools.permutations(range(tiles)))
    chosen = [left.pop(0)]
    while len(chosen) < count:
        distances = [[sum(a != b for a, b in zip(p, q, strict=True)) for q in chosen] for p in left]
        best = max(range(len(left)), key=lambda i: (sum(distances[i]), min(distances[i]), -i))
        chosen.append(left.pop(best))
    return chosen


@pytest.mark.parametrize(("tiles", "count"), [(4, 2), (4, 10), (4, 24), (5, 30)])
def test_permutations_are_those_of_the_papers_algorithm(tiles, count):
    found = pretext.permutations(tiles, count)
    assert [tuple(row) for row in found.tolist()] == greedy(tiles, count)
    assert len({tuple(row) for row in found.tolist()}) == count


def test_permutations_of_nine_tiles_are_as_far_apart_as_a_hundred_can_be():
    """Each position shows each tile 11 or 12 times, so no set of 100 can have fewer equal pairs than 9 (8 x 55 + 66)."""
    found = pretext.permutations(9, 100)
    distance = (found[:, None] != found).sum(-1)[np.triu_indices(100, 1)]
    assert (9 - distance).sum() == 9 * (8 * 55 + 66)
    assert distance.min() == 4


@pytest.mark.parametrize(("tiles", "size"), [(TileSpec(grid=3), 225), (TileSpec(grid=2, gap_ratio=0.3), 33)])
def test_tiles_lie_anywhere_in_their_cells(tiles, size):
    side, cell = pretext.tile_pixels(tiles, size), size // tiles.grid
    places = pretext.draw_places(np.random.default_rng(0).random((3000, 2 * tiles.grid**2)), tiles, size)
    inside = places - cell * np.stack(np.divmod(np.arange(tiles.grid**2), tiles.grid), 1)
    assert inside.min() == 0
    assert inside.max() == cell - side
    counts = np.bincount(inside.ravel())
    assert counts.min() > 0.85 * counts.mean()
    assert (pretext.draw_places(np.full((1, 2 * tiles.grid**2), 0.0), tiles, size)[0, 0] == 0).all()


def test_without_a_gap_the_tiles_make_the_view():
    tiles = TileSpec(grid=2, gap_ratio=0.0)
    places = pretext.draw_places(np.random.default_rng(0).random((3, 8)), tiles, 8)
    pixels = torch.randn(3, 3, 2, 8, 8)
    cut = pretext.cut_tiles(pixels, places, 4)
    rows = [torch.cat([cut[:, 2 * i], cut[:, 2 * i + 1]], dim=4) for i in (0, 1)]
    assert torch.equal(torch.cat(rows, dim=3), pixels)


def test_tiles_are_slices_of_the_view():
    pixels, side = torch.randn(4, 3, 2, 20, 20), 7
    places = np.random.default_rng(0).integers(0, 14, (4, 5, 2))
    cut = pretext.cut_tiles(pixels, places, side)
    assert cut.shape == (4, 5, 3, 2, side, side)
    for view, tile in itertools.product(range(4), range(5)):
        top, left = places[view, tile]
        assert torch.equal(cut[view, tile], pixels[view, :, :, top : top + side, left : left + side])


def test_arranged_places_follow_the_drawn_permutation():
    tiles = TileSpec(grid=2, permutations=5)
    order = pretext.draw_order(np.array([0.0, 0.5, 0.99]), tiles)
    assert order.tolist() == [0, 2, 4]
    places = np.random.default_rng(0).integers(0, 50, (3, 4, 2))
    shown = pretext.arrange(places, order, tiles)
    for view, number in enumerate(order):
        for position, tile in enumerate(pretext.permutations(4, 5)[number]):
            assert (shown[view, position] == places[view, tile]).all()
