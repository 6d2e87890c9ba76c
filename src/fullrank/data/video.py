"""Frames of video files, by PyAV, in one thread: several clips of one opened file, only the wanted frames converted.

The video of a file is the set of its frames that decode; the frame shown at t is the last of them with pts <= t (see
``clips.py``). That makes a clip a function of (file, fraction, spec) alone: seeking to the keyframe before it, decoding
on from the clip before, or decoding everything into a cache give the same frames.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from fullrank.data.clips import FULL_SIZE, ROUNDING_SECONDS, Choose, window_times
from fullrank.data.video_file import FORWARD_SECONDS, MediaInfo, Timed, VideoFile, quarter_turns
from fullrank.errors import MediaError
from fullrank.types import Clip, ClipSpec


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The result of decoding a whole file."""

    info: MediaInfo
    pts_seconds: Float64[np.ndarray, " frames"]
    """of every frame that decodes"""
    width: int
    height: int
    """as shown, after rotation"""
    failures: int
    """packets and frames that could not be decoded"""
    failure: str
    """the first of them, in libav's words; empty where there is none"""


class _Cursor:
    """The frames shown at given moments, asked for in ascending order."""

    def __init__(self, video: VideoFile, moments: Sequence[float], period_seconds: float):
        self._video, self._period = video, period_seconds
        self._wanted = [t + ROUNDING_SECONDS for t in moments]
        self._frames: Iterator[Timed] = iter(())
        self._shown: Timed | None = None
        self._next: Timed | None = None
        self.last_seconds: float | None = None
        """time of the last frame that decodes, once it was met (or of one shown for less than a period before the end)"""

    def shown(self) -> Iterator[Timed]:
        """(time, frame) of the last frame with time <= moment (the first frame where there is none), for each moment."""
        for seconds in self._wanted:
            self._advance(seconds)
            if self._video.skipping and (self._video.failures or self._left_out(seconds)):
                # A damaged frame is patched from its neighbours; or the guess which frames are not needed was wrong.
                self._video.skipping = False
                self._shown = None
                self._advance(seconds)
            if self._shown is None:
                raise self._video.nothing()
            if self._next is None:
                self.last_seconds = self._shown[0]
            yield self._shown

    def _advance(self, seconds: float) -> None:
        ended = self.last_seconds is not None
        if self._shown is None or (seconds - self._shown[0] > self._video.forward_seconds and not ended):
            self._jump(seconds)
        while self._next is not None and self._next[0] <= seconds:
            self._shown, self._next = self._next, next(self._frames, None)

    def _jump(self, seconds: float) -> None:
        """Start at a keyframe that decodes and is not later than ``seconds``."""
        early = seconds <= FORWARD_SECONDS or self._video.reordered
        for target in (None,) if early else (seconds, seconds - 2.0, None):
            if target is None or target > 0.0:
                self._frames = self._video.frames(target, self._wanted)
                self._next = next(self._frames, None)
                if self._next is not None and (self._next[0] <= seconds or target is None):
                    break
        self._shown = self._next

    def _left_out(self, seconds: float) -> bool:
        """Whether a frame may be missing that is shown at ``seconds``, or that tells where the video ends.

        Where the video ends matters to ``window_times`` a period after the last frame, not before.
        """
        if self._shown is None:
            return False
        goes_on = self._next is not None or seconds < self._shown[0] + self._period
        until = seconds if goes_on else math.inf
        return any(self._shown[0] < at <= until for at in self._video.left_out)


def read_clips(
    path: str | os.PathLike[str],
    fractions: Sequence[float],
    spec: ClipSpec,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> list[Clip]:
    """One clip for each fraction, in their order; the file is opened once. ``MediaError`` where nothing decodes.

    Frames are uint8 [num_frames, height, width, 3], shrunk to ``kept_size``; ``pts_seconds`` are those of the frames
    shown. A packet that cannot be decoded costs its frame: the one before it is shown for longer.
    """
    video = VideoFile(path)
    try:
        start = start_seconds or 0.0
        end = math.inf if end_seconds is None else end_seconds
        if start >= video.duration_seconds > 0.0:
            raise MediaError(path, f"start_seconds {start:g} lies behind its end at {video.duration_seconds:g} s")
        pictures: dict[float, NDArray[np.uint8]] = {}
        shown: dict[float, float] = {}  # moment: time of the frame shown then
        plans = [window_times(video.duration_seconds, None, f, spec, start, end) for f in fractions]
        last = _decode(video, plans, spec, shown, pictures)
        if last is not None:
            if last + 1.0 / spec.frames_per_second <= start:
                raise MediaError(path, f"start_seconds {start:g} lies behind the last frame that decodes, at {last:g} s")
            plans = [window_times(video.duration_seconds, last, f, spec, start, end) for f in fractions]
            _decode(video, plans, spec, shown, pictures)
        return [_clip([shown[t] for t in plan.tolist()], pictures) for plan in plans]
    finally:
        video.close()


def _decode(
    video: VideoFile,
    plans: Sequence[NDArray[np.float64]],
    spec: ClipSpec,
    shown: dict[float, float],
    pictures: dict[float, NDArray[np.uint8]],
) -> float | None:
    """Fill ``shown`` and ``pictures`` for all moments of ``plans``; the time of the last frame, where it was met."""
    moments = sorted({t for plan in plans for t in plan.tolist()} - set(shown))
    cursor = _Cursor(video, moments, 1.0 / spec.frames_per_second)
    for moment, (at, frame) in zip(moments, cursor.shown(), strict=True):
        shown[moment] = at
        if at not in pictures:
            pictures[at] = video.picture(frame, spec.canvas_pixels)
    return cursor.last_seconds


def _clip(times: Sequence[float], pictures: dict[float, NDArray[np.uint8]]) -> Clip:
    return Clip(frames=np.stack([pictures[t] for t in times]), pts_seconds=np.array(times, dtype=np.float64))


def decode_all(
    path: str | os.PathLike[str],
    canvas_pixels: int,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> Clip:
    """Every frame that decodes, with its time; with ``probe(path).duration_seconds`` it is all that ``select_frames`` needs.

    With a window: the frames shown within it, and the one after (which tells that the video goes on).
    """
    video = VideoFile(path)
    try:
        times: list[float] = []
        pictures: list[NDArray[np.uint8]] = []
        start = (start_seconds or 0.0) + ROUNDING_SECONDS
        end = math.inf if end_seconds is None else end_seconds + ROUNDING_SECONDS
        before: Timed | None = None
        for at, frame in video.frames(None):
            if at > start and before is not None:
                times.append(before[0])
                pictures.append(video.picture(before[1], canvas_pixels))
            before = (at, frame)
            if at > end:
                break
        if before is None:
            raise video.nothing()
        times.append(before[0])
        pictures.append(video.picture(before[1], canvas_pixels))
        return Clip(frames=np.stack(pictures), pts_seconds=np.array(times, dtype=np.float64))
    finally:
        video.close()


def read_chosen(
    path: str | os.PathLike[str],
    choose: Choose,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> list[Clip]:
    """The frames at given positions, at full size: the file is decoded twice, once to count, and only those are converted.

    ``choose(times of all frames within the window, their rate)`` -> positions of the frames of each clip.
    """
    video = VideoFile(path)
    try:
        start = (start_seconds or 0.0) - ROUNDING_SECONDS
        end = math.inf if end_seconds is None else end_seconds
        times = np.array([at for at, _ in video.frames(None) if start <= at < end], dtype=np.float64)
        if not len(times):
            raise video.nothing()
        span = float(times[-1] - times[0])
        rate = video.rate or (len(times) - 1) / span if span > 0 else 25.0
        wanted = choose(times, rate)
        needed = {int(i) for rows in wanted for i in rows}
        pictures: dict[int, NDArray[np.uint8]] = {}
        inside = (frame for at, frame in video.frames(None) if start <= at < end)
        for i, frame in enumerate(inside):
            if i in needed:
                pictures[i] = video.picture(frame, FULL_SIZE)
            if i >= max(needed):
                break
        return [Clip(frames=np.stack([pictures[int(i)] for i in rows]), pts_seconds=times[rows]) for rows in wanted]
    finally:
        video.close()


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """What the container says, without decoding; ``MediaError`` where it cannot be opened or holds no video."""
    video = VideoFile(path)
    try:
        return video.info()
    finally:
        video.close()


def check(path: str | os.PathLike[str]) -> Decoded:
    """Decode every frame without keeping any; ``MediaError`` where none decodes."""
    video = VideoFile(path)
    try:
        times, turns = [], 0
        for at, frame in video.frames(None):
            times.append(at)
            turns = quarter_turns(frame)
        if not times:
            raise video.nothing()
        width, height = video.size if turns % 2 == 0 else video.size[::-1]
        return Decoded(
            info=video.info(),
            pts_seconds=np.array(times, dtype=np.float64),
            width=width,
            height=height,
            failures=video.failures,
            failure=video.failure,
        )
    finally:
        video.close()
