"""Placements are RandomResizedCrop's; resampling is the triangle filter on the box, and on nothing outside it."""

import numpy as np
import pytest
import torch

from fullrank import draws
from fullrank.config import Augmentation
from fullrank.views import geometry

CPU = torch.device("cpu")


def place(sizes, aug, views=1, seed=0):
    rows = len(sizes)
    u = draws.uniform(seed, 0, np.arange(rows), "test", geometry.NUM_DRAWS)
    return geometry.draw_placement(u, np.asarray(sizes), aug, np.arange(rows) % views)


def test_every_box_lies_inside_its_picture():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 60, (2000, 2))
    p = place(sizes, Augmentation(min_scale=0.01, min_aspect=0.2, max_aspect=5.0))
    assert (p.height >= 1).all()
    assert (p.width >= 1).all()
    assert (p.top >= 0).all()
    assert (p.left >= 0).all()
    assert (p.top + p.height <= sizes[:, 0]).all()
    assert (p.left + p.width <= sizes[:, 1]).all()


def test_area_is_uniform_and_aspect_log_uniform_where_boxes_always_fit():
    sizes = np.full((20000, 2), 1000)
    p = place(sizes, Augmentation(min_scale=0.1, max_scale=0.5, min_aspect=0.5, max_aspect=2.0))
    area, log_aspect = p.height * p.width / 1e6, np.log(p.width / p.height)
    assert np.quantile(area, [0.25, 0.5, 0.75]) == pytest.approx([0.2, 0.3, 0.4], abs=0.006)
    assert np.quantile(log_aspect, [0.25, 0.5, 0.75]) == pytest.approx(np.log(2) * np.array([-0.5, 0, 0.5]), abs=0.02)
    top = p.top / (1000 - p.height)
    assert np.quantile(top, [0.0, 0.5, 1.0]) == pytest.approx([0.0, 0.5, 1.0], abs=0.01)


@pytest.mark.parametrize(
    ("size", "box"),
    [((100, 300), (0, 83, 100, 133)), ((300, 100), (83, 0, 133, 100)), ((90, 100), (0, 0, 90, 100))],
)
def test_where_no_try_fits_the_largest_central_box_is_taken(size, box):
    aug = Augmentation(min_scale=1.0, max_scale=1.0)
    u = np.full((1, geometry.NUM_DRAWS), 0.999)
    u[:, geometry.TRIES :] = 0.0 if size[0] < size[1] else 0.999
    if size == (90, 100):
        u[:, geometry.TRIES :] = 0.0  # aspect 3/4: higher than the picture
    p = geometry.draw_placement(u, np.array([size]), aug, np.zeros(1, np.int64))
    assert (p.top[0], p.left[0], p.height[0], p.width[0]) == box


def test_probabilities_are_cycled_over_views_and_zero_and_one_are_exact():
    aug = Augmentation(flip_prob=(1.0, 0.0, 0.5), rotate_prob=(0.0, 1.0))
    p = place(np.full((6000, 2), 32), aug, views=6)
    view = np.arange(6000) % 6
    assert p.flip[view % 3 == 0].all()
    assert not p.flip[view % 3 == 1].any()
    assert p.flip[view % 3 == 2].mean() == pytest.approx(0.5, abs=0.04)
    assert (p.turns[view % 2 == 0] == 0).all()
    assert sorted(np.unique(p.turns[view % 2 == 1])) == [1, 2, 3]


def naive_axis(signal, start, length, size):
    """Pillow's bilinear filter with antialiasing, one output pixel at a time."""
    scale = length / size
    support = max(1.0, scale)
    out = []
    for k in range(size):
        centre = start + (k + 0.5) * scale
        weights = [max(0.0, 1 - abs(i + 0.5 - centre) / support) for i in range(start, start + length)]
        out.append(sum(w * signal[i] for w, i in zip(weights, range(start, start + length), strict=True)) / sum(weights))
    return np.array(out)


@pytest.mark.parametrize(("start", "length", "size"), [(3, 10, 8), (0, 5, 16), (4, 29, 7), (2, 1, 4), (0, 32, 32)])
def test_tents_equal_the_naive_filter(start, length, size):
    signal = np.random.default_rng(0).random(33)
    args = [np.array([v]) for v in (start, length)]
    weights = geometry.tents(*args, np.array([False]), size, 33, CPU)[0].double().numpy()
    np.testing.assert_allclose(weights @ signal, naive_axis(signal, start, length, size), atol=2e-6)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert (weights[:, :start] == 0).all()
    assert (weights[:, start + length :] == 0).all()
    mirrored = geometry.tents(*args, np.array([True]), size, 33, CPU)[0].double().numpy()
    np.testing.assert_allclose(mirrored, weights[::-1], atol=1e-6)


def test_dense_resampling_equals_the_naive_resize_of_the_crop():
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 20, 25, 3))
    p = geometry.Placement(
        top=np.array([2, 0]), left=np.array([5, 3]), height=np.array([15, 20]), width=np.array([7, 22]),
        flip=np.array([False, True]), turns=np.zeros(2, np.int64),
    )  # fmt: skip
    down = geometry.tents(p.top, p.height, np.zeros(2, bool), 9, 20, CPU)
    across = geometry.tents(p.left, p.width, p.flip, 9, 25, CPU)
    half = geometry.resample_rows(torch.from_numpy(frames).float().flatten(3), down).view(2, 3, 9, 25, 3)
    out = torch.empty(2, 3 * 3 * 9, 9)
    geometry.resample_columns(half.permute(0, 4, 1, 2, 3).reshape(2, -1, 25), across, out)
    out = out.view(2, 3, 3, 9, 9)
    for row, channel, time in np.ndindex(2, 3, 3):
        picture = frames[row, time, :, :, channel].astype(np.float64)
        lines = np.stack([naive_axis(column, p.top[row], p.height[row], 9) for column in picture.T], 1)
        crop = np.stack([naive_axis(line, p.left[row], p.width[row], 9) for line in lines])
        np.testing.assert_allclose(out[row, channel, time], crop[:, ::-1] if p.flip[row] else crop, atol=1e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_the_byte_resize_agrees_with_the_dense_one_to_one_grey_level(flip):
    frames = torch.randint(0, 256, (2, 90, 130, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    top, left, height, width = (np.array([v]) for v in (7, 11, 80, 100))
    fast = geometry.resample_bytes(frames, (7, 11, 80, 100), flip, 72)
    down = geometry.tents(top, height, np.array([False]), 72, 90, CPU)
    across = geometry.tents(left, width, np.array([flip]), 72, 130, CPU)
    half = geometry.resample_rows(frames[None].float().flatten(3), down).view(2, 72, 130, 3)
    exact = torch.einsum("tyxc,kx->tykc", half, across[0])
    assert (fast.float() - exact).abs().max() <= 1.0


def test_rotation_turns_counter_clockwise_only_what_was_drawn():
    pixels = torch.arange(4 * 1 * 2 * 3 * 3).float().view(4, 1, 2, 3, 3)
    turned = pixels.clone()
    geometry.rotate_(turned, np.array([0, 1, 2, 3]))
    for row in range(4):
        for time in range(2):
            np.testing.assert_array_equal(turned[row, 0, time], np.rot90(pixels[row, 0, time].numpy(), row))


def test_the_central_square():
    p = geometry.center_placement(np.array([[100, 160], [256, 200]]), 0.875)
    assert (p.top.tolist(), p.left.tolist()) == ([6, 40], [36, 12])
    assert p.height.tolist() == p.width.tolist() == [88, 175]


def test_draws_do_not_change_from_version_to_version():
    """A resumed run sees the views that it would have seen without the interruption."""
    p = place([(64, 48)] * 4, Augmentation(rotate_prob=(0.5,)))
    found = [p.top, p.left, p.height, p.width, p.flip.astype(int), p.turns]
    assert np.stack(found, 1).tolist() == GOLDEN


GOLDEN = [[10, 6, 24, 30, 0, 3], [0, 3, 39, 40, 0, 2], [9, 1, 45, 42, 0, 0], [7, 0, 35, 42, 1, 1]]
