"""One opened video file: its clock, and its frames from a given moment on. No error of libav gets out.

Timestamps are seconds from the stream's start. Pixels are taken as stored (a sample aspect ratio other than 1 is
ignored, as in the usual loaders); a rotation in the metadata is carried out.
"""

import heapq
import math
import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import av.logging
import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from fullrank.data.clips import ROUNDING_SECONDS, kept_size
from fullrank.errors import MediaError

FORWARD_SECONDS = 1.0
"""up to here, decoding on is cheaper than a seek"""
Timed = tuple[float, VideoFrame]
_FAILURES = (av.error.FFmpegError, ValueError, EOFError, OSError)
_REORDERED = 16  # frames held back to sort the timestamps of B-frames in AVI (H.264's largest reordering)

av.logging.set_level(None)  # libav writes nothing to stderr: what matters is raised


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a container says about its video stream, without decoding it."""

    duration_seconds: float
    """of the stream, else of the container, else from the timestamps of all packets; it may promise too much"""
    frames: int | None
    """None where the container does not say"""
    frames_per_second: float | None
    """average"""
    width: int
    height: int
    """as stored, before rotation"""
    codec: str
    pixel_format: str
    container: str


class VideoFile:
    """One opened file: its clock, and its frames from a given moment on."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.failures, self.failure = 0, ""
        self._open()
        codec, stream = self.stream.codec_context, self.stream
        if not codec.width or not codec.height or stream.time_base is None:
            raise MediaError(path, "cannot be decoded: its frames have no size")
        self.size = (codec.width, codec.height)
        self.origin = stream.start_time or 0
        self.tick = float(stream.time_base)
        self.rate = float(stream.average_rate) if stream.average_rate else None
        # An AVI has no presentation times: the packets of B-frames carry those of decoding, and seeking lands anywhere.
        self.reordered = self.container.format.name == "avi" and bool(codec.has_b_frames)
        self.duration_seconds = self._duration()
        self.forward_seconds = FORWARD_SECONDS
        """as long as no shorter distance between keyframes was seen to be worth a seek"""
        self.skipping = bool(codec.has_b_frames) and self.rate is not None and not self.reordered
        """frames that no other refers to may be left out where they are not wanted"""
        self.left_out: list[float] = []
        """times of the frames that may have been left out since the last call of ``frames``, in decoding order"""
        self._reformatter = VideoReformatter()

    def _open(self) -> None:
        try:
            self.container = av.open(os.fspath(self.path.absolute()), metadata_errors="replace")
        except _FAILURES as error:
            raise MediaError(self.path, _why_not_opened(self.path, error)) from None
        self.fresh = True
        # The cover of a song is not a video.
        streams: list[VideoStream] = [s for s in self.container.streams.video if Disposition.attached_pic not in s.disposition]
        if not streams:
            self.close()
            raise MediaError(self.path, "no video stream")
        best = self.container.streams.best("video")
        self.stream = next((s for s in streams if best is not None and s.index == best.index), streams[0])
        codec: CodecContext | None = self.stream.codec_context
        if codec is None:  # a codec that this FFmpeg lacks, or a header without one
            self.close()
            raise MediaError(self.path, "cannot be decoded: no decoder for its video stream, or a damaged header")
        self.stream.thread_type, codec.thread_count = "NONE", 1

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()

    def _duration(self) -> float:
        if self.stream.duration:
            return self.stream.duration * self.tick
        if self.container.duration:
            return self.container.duration / av.time_base
        end = self.origin
        for packet in self._packets():
            at = packet.pts if packet.pts is not None else packet.dts
            if at is not None:
                end = max(end, at + (packet.duration or 0))
        self.failures, self.failure = 0, ""
        return (end - self.origin) * self.tick

    def info(self) -> MediaInfo:
        """What the container says."""
        codec = self.stream.codec_context
        return MediaInfo(
            duration_seconds=self.duration_seconds,
            frames=self.stream.frames or None,
            frames_per_second=self.rate,
            width=self.size[0],
            height=self.size[1],
            codec=codec.codec.canonical_name,
            pixel_format=codec.pix_fmt or "unknown",
            container=self.container.format.name,
        )

    def _prime(self) -> None:
        """Let an H.264 decoder read what only the first packet says (the encoder's version, which 4:4:4 files need)."""
        if self.fresh and self.stream.codec_context.name == "h264":
            for packet in self._packets():
                try:
                    packet.decode()
                except _FAILURES as error:
                    self._failed(error)
                return

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        self.failure = self.failure or _words(error)

    def _packets(self) -> Iterator["Packet[VideoStream]"]:
        self.fresh = False
        try:
            yield from self.container.demux(self.stream)
        except _FAILURES as error:  # the file ends here
            self._failed(error)

    def _decoded(self, wanted: Sequence[float] | None = None) -> Iterator[VideoFrame]:
        codec = self.stream.codec_context
        codec.skip_frame, self.left_out = "DEFAULT", []
        for packet in self._packets():
            if wanted is not None and packet.pts is not None:
                at = (packet.pts - self.origin) * self.tick
                late = bisect_left(wanted, at - ROUNDING_SECONDS)
                if late < len(wanted) and wanted[late] < at + 1.5 / (self.rate or 1.0):
                    codec.skip_frame = "DEFAULT"
                else:
                    codec.skip_frame = "NONREF"
                    self.left_out.append(at)
            try:
                frames = packet.decode()
            except _FAILURES as error:  # what comes after it may decode again
                self._failed(error)
                continue
            for frame in frames:
                if not isinstance(frame, VideoFrame) or frame.is_corrupt:
                    self._failed(ValueError("a frame is damaged"))
                else:
                    yield frame

    def _timed(self, wanted: Sequence[float] | None = None) -> Iterator[Timed]:
        """Frames in the order in which they are shown, each with its own time."""
        clock = -math.inf
        for frame in self._decoded(wanted):
            if frame.pts is not None:
                clock = (frame.pts - self.origin) * self.tick
            else:
                clock = max(0.0, clock + 1.0 / (self.rate or 25.0))
            yield clock, frame

    def frames(self, seconds: float | None, wanted: Sequence[float] | None = None) -> Iterator[Timed]:
        """Frames with ascending times from the keyframe before ``seconds`` on; None: from the beginning.

        With ``wanted``, the ascending moments at which frames will be asked for, frames between them may be left out.
        """
        if seconds is not None and not self.reordered:
            self._prime()
            try:
                self.container.seek(self.origin + math.floor(seconds / self.tick), stream=self.stream)
            except _FAILURES:
                return
        elif not self.fresh:
            self.close()
            self._open()
        latest, key = -math.inf, None if seconds is not None else -math.inf
        timed = self._timed(wanted if self.skipping else None)
        for at, frame in _sorted_times(timed) if self.reordered else timed:
            if frame.key_frame:
                key = at
            elif key is None:  # it refers to frames before the seek
                continue
            else:
                self.forward_seconds = max(self.forward_seconds, at - key if math.isfinite(key) else 0.0)
            if at > latest:
                latest = at
                yield at, frame

    def picture(self, frame: VideoFrame, canvas_pixels: int) -> NDArray[np.uint8]:
        """RGB, shrunk and upright: uint8 [height, width, 3]. Every frame gets the size that follows from the header."""
        width, height = kept_size(*self.size, canvas_pixels)
        try:
            small = self._reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA")
            return np.ascontiguousarray(np.rot90(small.to_ndarray(), quarter_turns(frame)))
        except _FAILURES as error:
            raise MediaError(self.path, f"cannot be decoded: {_words(error)}") from None

    def nothing(self) -> MediaError:
        """The error of a file of which no frame decodes."""
        return MediaError(self.path, f"cannot be decoded: {self.failure or 'it holds no frames'}")


def _sorted_times(timed: Iterator[Timed]) -> Iterator[Timed]:
    """The n-th frame gets the n-th smallest time."""
    times: list[float] = []
    frames: list[VideoFrame] = []
    for at, frame in timed:
        heapq.heappush(times, at)
        frames.append(frame)
        if len(frames) > _REORDERED:
            yield heapq.heappop(times), frames.pop(0)
    yield from zip(sorted(times), frames, strict=True)


def quarter_turns(frame: VideoFrame) -> int:
    """Counter-clockwise quarter turns that put the frame upright, from its display matrix."""
    return round(frame.rotation / 90.0) % 4


def _words(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip().rstrip(".")


def _why_not_opened(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    if path.is_dir():
        return "a folder, not a file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if path.exists() and path.stat().st_size == 0:
        return "empty file"
    if not isinstance(error, av.error.InvalidDataError):
        return f"cannot be opened: {_words(error)}"
    with path.open("rb") as file:
        if file.read(12)[4:8] == b"ftyp":
            return "cannot be decoded: its index (moov) is missing, so the file was cut off"
    return "not a media file"
