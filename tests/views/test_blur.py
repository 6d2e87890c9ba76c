"""The Gaussian blur equals a naive one with reflected borders, by each of its two ways."""

import math

import numpy as np
import pytest
import torch

from fullrank.views import blur


def naive_line(line, sigma):
    radius = min(math.ceil(3 * sigma), len(line) - 1)
    weights = [math.exp(-0.5 * (d / sigma) ** 2) for d in range(-radius, radius + 1)]
    last = len(line) - 1
    reflect = [
        [abs(i + d) if i + d <= last else 2 * last - (i + d) for d in range(-radius, radius + 1)] for i in range(len(line))
    ]
    return np.array([sum(w * line[j] for w, j in zip(weights, reads, strict=True)) for reads in reflect]) / sum(weights)


def naive(picture, sigma):
    down = np.stack([naive_line(column, sigma) for column in picture.T], 1)
    return np.stack([naive_line(line, sigma) for line in down])


@pytest.mark.parametrize(
    ("size", "sigma"), [(16, 0.1), (16, 0.7), (16, 2.0), (5, 3.0), (80, 0.4), (80, 2.0), (80, 5.3), (72, 2.0)]
)
def test_blur_equals_the_naive_one(size, sigma):
    """80: blocks of 16 columns; 72 is no multiple of 16, so matrices of the whole side."""
    pixels = torch.rand(1, 1, 2, size, size, generator=torch.Generator().manual_seed(0))
    blurred = pixels.clone()
    blur.blur_(blurred, np.array([sigma]))
    for time in range(2):
        np.testing.assert_allclose(blurred[0, 0, time], naive(pixels[0, 0, time].double().numpy(), sigma), atol=2e-6)


@pytest.mark.parametrize("size", [16, 80])
def test_each_row_has_its_own_sigma_and_zero_means_none(size):
    pixels = torch.rand(4, 3, 1, size, size, generator=torch.Generator().manual_seed(0))
    together, sigma = pixels.clone(), np.array([0.5, 0.0, 2.0, 0.9])
    blur.blur_(together, sigma)
    torch.testing.assert_close(together[1], pixels[1], rtol=0, atol=0)
    for row in (0, 2, 3):
        alone = pixels[row : row + 1].clone()
        blur.blur_(alone, sigma[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-6)
        assert (together[row] - pixels[row]).abs().max() > 0.05
