"""Optical flow equals the known motion of digits and pictures; what cannot be done says so."""

import builtins
from typing import Any

import numpy as np
import pytest

from fullrank.data.flow import MAX_PIXELS, STEPS_PER_PIXEL, STILL, encode, flow_to_next
from fullrank.data.sources.moving_digits import World, displacement, render
from fullrank.errors import SettingError


def decode(flow: np.ndarray) -> np.ndarray:
    return (flow.astype(float) - STILL) / STEPS_PER_PIXEL


@pytest.mark.parametrize("flicker", [0.0, 0.3], ids=["constant light", "flickering light"])
@pytest.mark.parametrize(("motion", "speed"), [("right", 1.0), ("right", 4.0), ("left", 2.5), ("down", 1.5), ("up", 3.25)])
def test_the_flow_of_a_moving_digit_is_its_velocity(motion: Any, speed: float, flicker: float) -> None:
    """Within half a pixel in the median over the digit, in every pair of frames in which it lies inside the picture."""
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    from sklearn.datasets import load_digits

    world = World(canvas_pixels=64, digit_pixels=24)
    velocity = displacement(motion, speed, 5.0, 0.0, np.arange(2.0))[1]
    for image in (0, 3, 8):
        centre = 32 + (np.arange(5)[:, None] - 2) * velocity
        ink = render(load_digits().images[image] / 16, centre, world)
        light = 0.2 + flicker * np.random.default_rng(image).random((5, 1, 1))
        frames = np.rint(255 * (light + 0.5 * ink)).astype(np.uint8)[..., None].repeat(3, -1)
        flow = decode(flow_to_next(frames))
        for step in range(4):
            found = np.median(flow[step][ink[step] > 0.3], axis=0)
            np.testing.assert_allclose(found, velocity[::-1], atol=0.5)  # flow is (right, down)
        np.testing.assert_array_equal(flow[4], flow[3])


@pytest.mark.parametrize("size", [(8, 8), (12, 30), (33, 20)])
def test_pictures_of_any_size_have_flow(size: tuple[int, int]) -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    flow = flow_to_next(np.stack([picture, np.roll(picture, 1, axis=1)]))
    assert flow.shape == (2, *size, 2)
    np.testing.assert_allclose(np.median(decode(flow), axis=(0, 1, 2)), [1, 0], atol=0.2)


def test_what_stands_still_and_a_single_frame_are_still() -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    picture = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), dtype=np.uint8)
    assert (flow_to_next(picture) == STILL).all()
    assert (flow_to_next(picture.repeat(3, 0)) == STILL).all()


def test_bytes_are_a_sixth_of_a_pixel_and_fast_motion_is_cut_off() -> None:
    flow = np.linspace(-30, 30, 1001)
    found = decode(encode(flow))
    inside = np.abs(flow) <= MAX_PIXELS
    assert np.abs(found - flow)[inside].max() <= 0.5 / STEPS_PER_PIXEL + 1e-9
    assert np.abs(found).max() == MAX_PIXELS


def test_without_opencv_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"needs OpenCV, which is not installed. `pip install fullrank\[flow\]`"):
        flow_to_next(np.zeros((2, 16, 16, 3), np.uint8))
