"""Which frames of a video other codebases take when they test, to the frame."""

import numpy as np
import torch
from jaxtyping import Float64, Int64

from fullrank.errors import SettingError
from fullrank.types import Preparation


def positions(
    how: Preparation, times: Float64[np.ndarray, " frames"], rate: float, clips: int
) -> list[Int64[np.ndarray, " time"]]:
    """Positions of the frames of ``clips`` clips among frames shown at ``times``, at ``rate`` frames a second.

    A video shorter than a clip shows its last frame again; an image is one frame for all. ``SettingError`` for no clip.
    """
    if clips < 1:
        raise SettingError(f"the number of clips of a video must be at least 1. Got {clips}.")
    count = len(times)
    if how.rule == "pyslowfast":
        return [pyslowfast(count, rate, how, i, clips) for i in range(clips)]
    if how.rule == "pytorchvideo":
        return [pytorchvideo(times, rate, how, i, clips) for i in range(clips)]
    stretch = rate / how.frames_per_second if how.frames_per_second and rate > 1.0 else 1.0
    step = how.sampling_rate * stretch
    steps = np.floor(np.arange(how.num_frames) * max(step, 1.0) + 1e-9).astype(np.int64)
    room = max(count - 1 - int(steps[-1]), 0)
    starts = [int(room * (i + 0.5) / clips) for i in range(clips)]
    return [np.minimum(start + steps, count - 1) for start in starts]


def pyslowfast(count: int, rate: float, how: Preparation, index: int, clips: int) -> Int64[np.ndarray, " time"]:
    """PySlowFast's test views: clip ``index`` of ``clips`` of a video of ``count`` frames that is decoded whole.

    A clip covers w = max(1, sampling_rate * num_frames * rate / frames_per_second) frames and starts at
    max(count - w, 0) * index / clips, so that the last does not touch the end; its frames are linspace over it, truncated
    (slowfast/datasets/decoder.py, get_start_end_idx and temporal_sampling, in float32).
    """
    window = max(1.0, how.sampling_rate * how.num_frames / how.frames_per_second * rate)
    start = max(count - window, 0.0) * index / clips
    chosen = torch.linspace(start, start + window - 1.0, how.num_frames)
    return chosen.clamp(0, count - 1).long().numpy()


def pytorchvideo(
    times: Float64[np.ndarray, " frames"], rate: float, how: Preparation, index: int, clips: int
) -> Int64[np.ndarray, " time"]:
    """PyTorchVideo's: a window of sampling_rate * num_frames / frames_per_second seconds, then UniformTemporalSubsample.

    Windows are spread evenly from the first to the last possible start (clip_sampling.py, ConstantClipsPerVideoSampler); the
    frames shown within [start, end) are subsampled by linspace over their positions, truncated.
    """
    seconds = how.sampling_rate * how.num_frames / how.frames_per_second
    duration = float(times[-1]) + 1.0 / rate
    start = max(duration - seconds, 0.0) / max(clips - 1, 1) * index
    first = int(np.searchsorted(times, start - 1e-6))
    last = int(np.searchsorted(times, start + seconds - 1e-6))
    return first + subsample(max(last - first, 1), how.num_frames)


def subsample(count: int, num_frames: int) -> Int64[np.ndarray, " time"]:
    """PyTorchVideo's UniformTemporalSubsample: linspace(0, count - 1), truncated.

    >>> subsample(5, 8).tolist()
    [0, 0, 1, 1, 2, 2, 3, 4]
    """
    chosen = torch.linspace(0, count - 1, num_frames)
    return chosen.clamp(0, count - 1).long().numpy()
