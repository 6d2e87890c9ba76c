"""The arithmetic of clips: moments, windows, frames shown, kept sizes."""

import numpy as np
import pytest

from fullrank.data.clips import (
    clip_times,
    kept_size,
    near_fractions,
    select_frames,
    shown_at,
    uniform_fractions,
    window_times,
)
from fullrank.types import ClipSpec


def spec(num_frames: int = 8, frames_per_second: float = 4.0) -> ClipSpec:
    return ClipSpec(num_frames=num_frames, frames_per_second=frames_per_second, canvas_pixels=64)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.999999])
@pytest.mark.parametrize("duration", [2.0, 2.1, 10.0, 3600.0])
def test_a_clip_lies_within_its_video(duration: float, fraction: float) -> None:
    times = clip_times(duration, fraction, spec())
    assert times[0] == pytest.approx(fraction * (duration - 2.0))
    np.testing.assert_allclose(np.diff(times), 0.25)
    assert times.min() >= 0.0
    assert times.max() < duration


@pytest.mark.parametrize("duration", [0.04, 0.3, 1.0, 1.99])
def test_short_videos_are_looped_from_their_beginning(duration: float) -> None:
    for fraction in (0.0, 0.7):
        expected = [(k * 0.25) % duration for k in range(8)]
        np.testing.assert_allclose(clip_times(duration, fraction, spec()), expected, atol=1e-12)


def test_fractions_of_evaluation_are_symmetric() -> None:
    assert uniform_fractions(1) == [0.5]
    for count in (2, 3, 10):
        fractions = np.array(uniform_fractions(count))
        np.testing.assert_allclose(fractions + fractions[::-1], 1.0)
        assert fractions.min() > 0.0


@pytest.mark.parametrize("num_clips", [2, 3, 4])
def test_near_clips_lie_at_distances_that_become_rarer_linearly(num_clips: int) -> None:
    """CVRL: the density of the distance is 2 (1 - d), so P(distance <= d) = 1 - (1 - d)^2, for each clip after the first."""
    u = np.random.default_rng(0).random((20_000, num_clips))
    starts = np.array([near_fractions(row) for row in u])
    assert starts.shape == (20_000, num_clips)
    assert starts.min() >= 0.0
    assert starts.max() < 1.0
    for clip in range(1, num_clips):
        distance = starts[:, clip] - starts[:, 0]
        for d in (0.1, 0.3, 0.5, 0.8):
            assert (distance <= d).mean() == pytest.approx(1 - (1 - d) ** 2, abs=0.015)
    farthest = starts.max(1) - starts[:, 0]
    room = starts[:, 0] / (1 - farthest)
    assert np.quantile(room, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.02)
    assert abs(np.corrcoef(room, farthest)[0, 1]) < 0.03


def test_one_clip_is_anywhere_even_if_near_ones_are_wanted() -> None:
    assert near_fractions(np.array([0.3])) == [0.3]
    assert max(near_fractions(np.array([np.nextafter(1, 0), np.nextafter(1, 0)]))) <= 1.0


def test_the_frame_shown_is_the_last_one_not_later() -> None:
    rng = np.random.default_rng(0)
    pts = np.cumsum(rng.uniform(0.01, 0.4, 50))
    times = np.concatenate([rng.uniform(-1.0, pts[-1] + 1.0, 200), pts])
    expected = [max((k for k in range(50) if pts[k] <= t), default=0) for t in times]
    assert shown_at(pts, times).tolist() == expected


def test_timestamps_rounded_to_milliseconds_give_every_frame() -> None:
    rounded = np.round(np.arange(60) / 30.0, 3)
    indices = select_frames(rounded, 2.0, 0.0, spec(60, 30.0))
    assert indices.tolist() == list(range(60))


def test_a_window_holds_its_clip() -> None:
    times = window_times(20.0, None, 0.99, spec(), start_seconds=5.0, end_seconds=8.0)
    assert times[0] == pytest.approx(5.0 + 0.99)
    assert times.max() < 8.0
    looped = window_times(20.0, None, 0.5, spec(), start_seconds=5.0, end_seconds=5.5)
    np.testing.assert_allclose(looped, [5.0, 5.25] * 4)
    assert window_times(20.0, None, 0.999, spec(), start_seconds=15.0, end_seconds=99.0).max() < 20.0


def test_a_clip_beyond_the_last_frame_is_moved() -> None:
    kept = window_times(100.0, 9.9, 0.05, spec())
    np.testing.assert_allclose(kept, clip_times(100.0, 0.05, spec()))
    moved = window_times(100.0, 9.9, 0.6, spec())
    np.testing.assert_allclose(moved, clip_times(9.9 + 0.25, 0.6, spec()))


def test_an_honest_duration_never_moves_a_clip() -> None:
    pts = np.arange(250) / 25.0
    for fraction in np.linspace(0.0, 0.999999, 101):
        np.testing.assert_array_equal(window_times(10.0, pts[-1], fraction, spec()), window_times(10.0, None, fraction, spec()))


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((640, 480), (171, 128)),
        ((480, 640), (128, 171)),
        ((128, 128), (128, 128)),
        ((90, 60), (90, 60)),
        ((1000, 40), (256, 40)),
        ((4000, 500), (256, 128)),
        ((1, 1), (1, 1)),
    ],
)
def test_pictures_are_shrunk_to_the_canvas_and_never_enlarged(size: tuple[int, int], kept: tuple[int, int]) -> None:
    assert kept_size(*size, 128) == kept
