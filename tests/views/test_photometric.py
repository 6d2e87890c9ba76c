"""Each operator against its formula, pixel by pixel, in float64."""

import numpy as np
import pytest
import torch

from fullrank.config import Augmentation
from fullrank.views import photometric
from fullrank.views.photometric import Scale

UNIT = Scale(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
NET = Scale(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def one(**changes):
    look = photometric.plain_look(1)
    return photometric.Look(**{**vars(look), **changes})


def pixels(rows=1, time=2, size=8):
    return torch.rand(rows, 3, time, size, size, generator=torch.Generator().manual_seed(0))


def normalized(x, scale):
    return (x - torch.tensor(scale.mean).view(3, 1, 1, 1)) / torch.tensor(scale.std).view(3, 1, 1, 1)


def naive_color(rgb, mean_grey, b, c, s, h):
    """One pixel: brightness, contrast about the mean grey, saturation, hue as a turn about the grey diagonal; one after the other."""

    def grey(p):
        return 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]

    p = b * np.asarray(rgb, float)
    p = c * p + (1 - c) * b * mean_grey
    p = s * p + (1 - s) * grey(p)
    axis, angle = np.ones(3) / np.sqrt(3), 2 * np.pi * h  # Rodrigues' formula
    return p * np.cos(angle) + np.cross(axis, p) * np.sin(angle) + axis * (axis @ p) * (1 - np.cos(angle))


@pytest.mark.parametrize("factors", [(1.3, 1.0, 1.0, 0.0), (1.0, 0.6, 1.0, 0.0), (1.0, 1.0, 1.7, 0.0), (1.0, 1.0, 1.0, 0.1), (0.7, 1.4, 0.0, 0.2), (1.2, 0.7, 1.3, -0.15)])  # fmt: skip
@pytest.mark.parametrize("scale", [UNIT, NET])
def test_colors_equal_the_steps_one_after_the_other(factors, scale):
    b, c, s, h = factors
    x = torch.rand(1, 10, 3, generator=torch.Generator().manual_seed(0))
    look = one(matrix=photometric.color_matrix(*(np.array([v]) for v in factors)), pull=np.array([(1 - c) * b]))
    out = photometric.color(255 * x, 255 * x.mean(1), photometric.color_map(look, scale, torch.device("cpu")))
    grey = float(x.double().mean((0, 1)) @ torch.tensor(photometric.GREY))
    for k in range(10):
        expected = (naive_color(x[0, k].double(), grey, b, c, s, h) - scale.mean) / np.array(scale.std)
        np.testing.assert_allclose(out[0, :, k], expected, atol=3e-5)


def test_grayscale_drops_the_colour_of_what_the_jitter_made():
    u = np.random.default_rng(0).random((50, photometric.NUM_DRAWS))
    jitter = {"jitter_prob": (1.0,), "saturation": 0.8, "hue": 0.2}
    view = np.zeros(50, np.int64)
    colored = photometric.draw_look(u, Augmentation(grayscale_prob=(0.0,), **jitter), view).matrix
    grey = photometric.draw_look(u, Augmentation(grayscale_prob=(1.0,), **jitter), view).matrix
    rgb = np.array([0.9, 0.2, 0.4])
    for before, after in zip(colored @ rgb, grey @ rgb, strict=True):
        np.testing.assert_allclose(after, np.full(3, photometric.GREY @ before), atol=1e-9)


def test_a_small_positive_hue_makes_red_yellower_as_in_hsv():
    red = photometric.color_matrix(*np.ones((3, 1)), np.array([0.05]))[0] @ [1.0, 0.0, 0.0]
    assert red[1] > 0.05 > red[2]


def test_draws_lie_in_their_ranges_and_jitter_is_one_decision():
    u = np.random.default_rng(0).random((4000, photometric.NUM_DRAWS))
    aug = Augmentation(jitter_prob=(0.25,), brightness=0.4, contrast=1.5, saturation=0.0, hue=0.0, grayscale_prob=(0.0,))
    look = photometric.draw_look(u, aug, np.zeros(4000, np.int64))
    still = np.isclose(look.matrix, np.eye(3)).all((1, 2))
    assert still.mean() == pytest.approx(0.75, abs=0.03)
    assert (look.pull[still] == 0).all()
    gain = (look.matrix.sum(2)[:, 0])[~still]  # brightness times contrast
    assert gain.min() >= 0.0
    assert gain.max() <= 1.4 * 2.5
    brightness = gain + look.pull[~still]
    assert brightness.min() >= 0.6
    assert brightness.max() <= 1.4
    assert brightness.mean() == pytest.approx(1.0, abs=0.03)


def test_probabilities_zero_and_one_are_exact_and_cycled():
    u = np.random.default_rng(0).random((400, photometric.NUM_DRAWS))
    view = np.arange(400) % 4
    probs = (1.0, 0.0)
    aug = Augmentation(jitter_prob=(0.0,), grayscale_prob=probs, blur_prob=probs, solarize_prob=probs, sobel_prob=probs, cutout_prob=probs, noise_prob=probs)  # fmt: skip
    look = photometric.draw_look(u, aug, view)
    drawn = view % 2 == 0
    grey = np.ones((3, 1)) * photometric.GREY
    assert np.allclose(look.matrix[drawn], grey)
    assert np.allclose(look.matrix[~drawn], np.eye(3))
    for values in (look.sigma > 0, look.solarize, look.sobel, look.cutout[:, 0] >= 0, look.noise >= 0):
        np.testing.assert_array_equal(values, drawn)
    assert look.sigma[drawn].min() >= 0.1
    assert look.sigma[drawn].max() <= 2.0


@pytest.mark.parametrize("scale", [UNIT, NET])
def test_solarize_inverts_from_the_threshold_up(scale):
    x = pixels()
    expected = torch.where(x >= 0.6, 1 - x, x)
    torch.testing.assert_close(
        photometric.solarize(normalized(x, scale), 0.6, scale), normalized(expected, scale), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("scale", [UNIT, NET])
def test_sobel_is_the_length_of_the_gradient(scale):
    x = pixels(size=6)
    out = photometric.sobel(normalized(x, scale), scale)
    p = np.pad(x.double().numpy(), [(0, 0)] * 3 + [(1, 1)] * 2, mode="edge")
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    expected = torch.zeros_like(x)
    for at in np.ndindex(*x.shape):
        window = p[(*at[:3], slice(at[3], at[3] + 3), slice(at[4], at[4] + 3))]
        expected[at] = min(1.0, float(np.hypot((window * kernel).sum(), (window * kernel.T).sum())))
    torch.testing.assert_close(out, normalized(expected, scale), atol=2e-5, rtol=0)


def test_an_edge_from_black_to_white_has_magnitude_one():
    step = torch.zeros(1, 3, 1, 6, 6)
    step[..., 3:] = 1.0
    out = photometric.sobel(step, UNIT)
    assert out[0, 0, 0, 2].tolist() == [0, 0, 1, 1, 0, 0]


@pytest.mark.parametrize(("where", "top", "left"), [((0.0, 0.0), 0, 0), ((0.999, 0.999), 4, 4), ((0.5, 0.2), 2, 1)])
def test_cutout_sets_one_square_wholly_inside_to_the_mean(where, top, left):
    x = pixels() + 1.0
    out = photometric.cutout(x, np.array([where]), 0.5)
    expected = x.clone()
    expected[..., top : top + 4, left : left + 4] = 0.0
    torch.testing.assert_close(out, expected)


def test_noise_is_a_function_of_its_key_with_the_asked_standard_deviation():
    grey = normalized(torch.full((3, 3, 2, 64, 64), 0.5), NET)
    out = photometric.add_noise(grey, np.array([5, 2**52 + 5, 5]), 0.1, NET)
    torch.testing.assert_close(out[0], out[2], rtol=0, atol=0)
    torch.testing.assert_close(out[0, :, 0], out[0, :, 1], rtol=0, atol=0)  # frames agree
    assert (out[0] - out[1]).abs().max() > 0.1
    noise = (out - grey) * torch.tensor(NET.std).view(3, 1, 1, 1)
    assert noise[:2].std().item() == pytest.approx(0.1, rel=0.02)
    assert noise[:2].mean().item() == pytest.approx(0.0, abs=0.002)
    ordered = noise[0, 0, 0].flatten().sort().values
    assert ordered[[len(ordered) // 40, -len(ordered) // 40]].tolist() == pytest.approx([-0.196, 0.196], abs=0.02)


def test_finish_clips_and_touches_only_the_rows_that_drew_an_operator():
    x = 3 * pixels(4) - 1
    look = photometric.plain_look(4)
    drawn = {"solarize": np.array([True, False, False, False]), "sigma": np.array([0.0, 0.0, 1.0, 0.0])}
    look = photometric.Look(**{**vars(look), **drawn})
    out = normalized(x, NET)
    photometric.finish_(out, look, Augmentation(), NET)
    clipped = x.clamp(0, 1)
    torch.testing.assert_close(out[[1, 3]], normalized(clipped[[1, 3]], NET), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        out[0], normalized(torch.where(clipped[0] >= 0.5, 1 - clipped[0], clipped[0]), NET), atol=1e-5, rtol=0
    )
    assert (out[2] - normalized(clipped[2], NET)).abs().max() > 0.1


def test_normalising_first_changes_no_operator():
    """Everything after the colours on the normalised scale equals the same on [0, 1], normalised at the end."""
    x, look = pixels(2, size=16), photometric.plain_look(2)
    every = photometric.Look(
        matrix=look.matrix, pull=look.pull, sigma=np.array([0.8, 1.5]), solarize=np.array([True, True]), sobel=np.array([True, False]),
        cutout=look.cutout, noise=np.array([3, 4]),
    )  # fmt: skip
    plain, scaled = x.clone(), normalized(x, NET)
    photometric.finish_(plain, every, Augmentation(), UNIT)
    photometric.finish_(scaled, every, Augmentation(), NET)
    torch.testing.assert_close(scaled, normalized(plain, NET), atol=3e-5, rtol=0)
