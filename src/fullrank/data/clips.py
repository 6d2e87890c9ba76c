"""Which frames make a clip, and how large they are kept: plain arithmetic, shared by the decoder and the cache.

Everything is in seconds on the file's own clock (0 = the stream's start). The frame shown at time t is the last one
whose timestamp is at most t, so constant and variable frame rates need no distinction.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from fullrank.config import DataConfig
from fullrank.types import ClipSpec, ViewPlan

FULL_SIZE = 10**6
"""a canvas that no frame reaches"""
Choose = Callable[[NDArray[np.float64], float], list[NDArray[np.int64]]]
"""(times in seconds of all frames, frames a second) -> positions of the frames of each clip"""

ROUNDING_SECONDS = 1e-3
"""a frame counts as shown this much before its timestamp: Matroska rounds timestamps to a millisecond"""


def clip_spec(plan: ViewPlan, data: DataConfig) -> ClipSpec:
    """The clips that a method's plan and the data settings ask for together."""
    return ClipSpec(
        num_frames=plan.num_frames or data.num_frames,
        frames_per_second=data.frames_per_second,
        canvas_pixels=data.canvas_pixels,
        span_ratio=data.clip_span_ratio,
    )


def clip_times(duration_seconds: float, fraction: float, spec: ClipSpec) -> Float64[np.ndarray, " time"]:
    """The moments of one clip, 1 / frames_per_second apart: float64 [num_frames] in [0, duration).

    A clip spans num_frames / frames_per_second seconds and starts at fraction * max(0, duration - span). Where the
    video is shorter than the span, moments beyond its end wrap to its beginning: short videos are looped.

    >>> spec = ClipSpec(num_frames=4, frames_per_second=2.0, canvas_pixels=128)
    >>> clip_times(10.0, 0.5, spec).tolist()
    [4.0, 4.5, 5.0, 5.5]
    >>> clip_times(1.25, 0.5, spec).tolist()
    [0.0, 0.5, 1.0, 0.25]
    >>> clip_times(0.0, 0.5, spec).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    steps = np.arange(spec.num_frames, dtype=np.float64) / spec.frames_per_second
    if duration_seconds <= 0.0:
        return np.zeros_like(steps)
    span = spec.num_frames / spec.frames_per_second
    if duration_seconds < span:
        return np.asarray(steps % duration_seconds, dtype=np.float64)
    return fraction * (duration_seconds - span) + steps


def uniform_fractions(num_clips: int) -> list[float]:
    """Where evaluation takes its clips: the midpoints of ``num_clips`` equal parts of the possible starts.

    >>> uniform_fractions(1), uniform_fractions(2)
    ([0.5], [0.25, 0.75])
    """
    return [(i + 0.5) / num_clips for i in range(num_clips)]


def near_fractions(u: Float64[np.ndarray, " clips"]) -> list[float]:
    """Where the clips of a record start when near ones are wanted more often, from uniform numbers.

    CVRL (Qian et al., CVPR 2021, section 3.3): the distance d of a clip to the first is drawn with the density
    2 (1 - d) on [0, 1], 1 being the farthest that two clips can lie apart (its best, a linear decrease), and the first
    starts anywhere that leaves room: uniform in [0, 1 - d]. Each clip after the second has a distance of its own; the
    first leaves room for the largest.

    >>> near_fractions(np.array([0.5, 0.75]))
    [0.25, 0.75]
    """
    distances = 1.0 - np.sqrt(1.0 - u[1:])
    first = u[0] * (1.0 - distances.max(initial=0.0))
    return [float(first), *(first + distances).tolist()]


def within_span(fractions: Sequence[float], u: float, span_ratio: float) -> list[float]:
    """The same clips, drawn together into a window of that share of the possible starts, which begins where ``u`` says.

    1: as they are; 0: all clips of a record are the same moment, so that only augmentation tells them apart.

    >>> within_span([0.0, 1.0], 0.5, 0.5), within_span([0.25, 0.75], 0.9, 1.0)
    ([0.25, 0.75], [0.25, 0.75])
    """
    return [(1.0 - span_ratio) * u + span_ratio * fraction for fraction in fractions]


def window_times(
    duration_seconds: float,
    last_seconds: float | None,
    fraction: float,
    spec: ClipSpec,
    start_seconds: float = 0.0,
    end_seconds: float = math.inf,
) -> Float64[np.ndarray, " time"]:
    """The moments of one clip within [start_seconds, end_seconds) of a video whose container promises ``duration_seconds``.

    ``last_seconds`` is the timestamp of the last frame that decodes (None: later than any moment of this clip). A
    container may promise more than there is: a clip that would show that last frame for longer than one of its own
    sampling periods is moved, as if the video ended one period after its last frame.

    >>> spec = ClipSpec(num_frames=2, frames_per_second=2.0, canvas_pixels=128)
    >>> window_times(10.0, 3.5, 0.5, spec).tolist(), window_times(10.0, 3.5, 0.2, spec).tolist()
    ([1.5, 2.0], [1.8, 2.3])
    """
    times = start_seconds + clip_times(min(end_seconds, duration_seconds) - start_seconds, fraction, spec)
    if last_seconds is not None and times.max() >= (true_end := last_seconds + 1.0 / spec.frames_per_second):
        return start_seconds + clip_times(true_end - start_seconds, fraction, spec)
    return times


def shown_at(pts_seconds: Float64[np.ndarray, " frames"], times: Float64[np.ndarray, " time"]) -> Int64[np.ndarray, " time"]:
    """Index of the last frame with pts <= time, for each time; the first frame before the first timestamp.

    >>> shown_at(np.array([0.0, 0.1, 0.5]), np.array([-1.0, 0.0, 0.3, 9.0])).tolist()
    [0, 0, 1, 2]
    """
    return np.maximum(np.searchsorted(pts_seconds, times + ROUNDING_SECONDS, side="right") - 1, 0).astype(np.int64)


def select_frames(
    pts_seconds: Float64[np.ndarray, " frames"],
    duration_seconds: float,
    fraction: float,
    spec: ClipSpec,
    start_seconds: float = 0.0,
    end_seconds: float = math.inf,
) -> Int64[np.ndarray, " time"]:
    """Which of all frames of a file make the clip at ``fraction``: the choice of ``read_clips``, made on a cache.

    ``pts_seconds`` ascending, as ``decode_all`` gives them; ``duration_seconds`` as ``probe`` gives it.

    >>> spec = ClipSpec(num_frames=4, frames_per_second=5.0, canvas_pixels=128)
    >>> select_frames(np.arange(25) / 25, 1.0, 0.5, spec).tolist()
    [2, 7, 12, 17]
    """
    times = window_times(duration_seconds, float(pts_seconds[-1]), fraction, spec, start_seconds, end_seconds)
    return shown_at(pts_seconds, times)


def kept_size(width: int, height: int, canvas_pixels: int) -> tuple[int, int]:
    """(width, height) at which a picture is kept: short side at most ``canvas_pixels``, never enlarged.

    The aspect is kept up to 2:1; of a longer picture the long side is shrunk further, to twice the canvas, so that one
    panorama cannot blow up the padding of its batch.

    >>> kept_size(320, 240, 128), kept_size(100, 60, 128), kept_size(4000, 500, 128)
    ((171, 128), (100, 60), (256, 128))
    """
    ratio = min(1.0, canvas_pixels / min(width, height))
    kept = [max(1, min(2 * canvas_pixels, round(side * ratio))) for side in (width, height)]
    return kept[0], kept[1]
