"""Open and decode every file of a source: which cannot be used and why, how long they are, what a cache would take."""

import dataclasses
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice

import numpy as np

from fullrank.data.clips import kept_size
from fullrank.data.image import image_info
from fullrank.data.sources.folder import FileSource, MediaFile
from fullrank.data.video import check
from fullrank.errors import DataError, MediaError

_SHORT_SECONDS, _SHORT_RATIO = 0.5, 0.05
"""a video that ends earlier than promised by more than both is reported"""


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What decoding one file gave."""

    record: str
    """id in the source"""
    usable: bool
    """at least one frame decodes"""
    reason: str = ""
    """why it is not usable, or what is wrong with it all the same; empty where all is well"""
    duration_seconds: float = 0.0
    """until the end of the last frame that decodes; 0 for an image"""
    frames: int = 0
    width: int = 0
    height: int = 0
    """as shown, after rotation"""
    frames_per_second: float | None = None
    """average; None for an image and for a single frame"""
    constant_rate: bool = True
    """frame times are equally spaced"""
    codec: str = ""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Durations of the usable videos, in seconds (std: of the population)."""

    median: float
    mean: float
    std: float
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class ScanResult:
    """Every file's report, and what they add up to."""

    files: list[FileReport]
    canvas_pixels: int
    usable: int
    """files with at least one frame that decodes"""
    bad: list[FileReport]
    """files with a reason: not usable, or damaged in part"""
    durations: Durations | None
    """None for images"""
    sizes: dict[str, int]
    """{"320x240": files}, the most frequent first"""
    codecs: dict[str, int]
    """{codec: files}, the most frequent first"""
    variable_rate: int
    """files whose frame times are not equally spaced"""
    frames: int
    """of all usable files"""
    cache_bytes: int
    """decoded RGB frames of all usable files at the canvas"""


def scan(
    source: FileSource, num_workers: int = 0, canvas_pixels: int = 256, on_file: Callable[[FileReport], None] | None = None
) -> ScanResult:
    """Decode every file completely, in ``num_workers`` processes (0: in this one).

    ``on_file`` is called as files are done, in any order. Of a record that is a part of a file, the whole file is read.
    """
    reports: list[FileReport | None] = [None] * len(source)
    for index, report in _reports(source, num_workers):
        reports[index] = report
        if on_file is not None:
            on_file(report)
    return _summary([report for report in reports if report is not None], canvas_pixels)


def inspect_file(record: str, file: MediaFile) -> FileReport:
    """Decode one file completely; what is wrong with it is in the report."""
    try:
        if file.is_image:
            width, height, name = image_info(file.path)
            return FileReport(record=record, usable=True, frames=1, width=width, height=height, codec=name)
        decoded = check(file.path)
    except MediaError as error:
        return FileReport(record=record, usable=False, reason=error.reason)
    pts, promised = decoded.pts_seconds, decoded.info.duration_seconds
    gaps = np.diff(pts)
    period = float(np.median(gaps)) if len(gaps) else min(promised, 1.0 / (decoded.info.frames_per_second or 1.0))
    duration = float(pts[-1]) + period
    reasons = []
    if promised - duration > max(_SHORT_SECONDS, _SHORT_RATIO * promised):
        reasons.append(f"decodes only to {duration:.1f} s of {promised:.1f} s")
    if decoded.failures:
        reasons.append(f"{decoded.failures} of its packets or frames cannot be decoded: {decoded.failure}")
    return FileReport(
        record=record,
        usable=True,
        reason="; ".join(reasons),
        duration_seconds=duration,
        frames=len(pts),
        width=decoded.width,
        height=decoded.height,
        frames_per_second=len(gaps) / float(pts[-1] - pts[0]) if len(gaps) else None,
        constant_rate=not len(gaps) or float(np.ptp(gaps)) <= max(2.5e-3, 0.02 * period),
        codec=decoded.info.codec,
    )


def _reports(source: FileSource, num_workers: int) -> Iterator[tuple[int, FileReport]]:
    indices = iter(range(len(source)))
    if num_workers == 0:
        for index in indices:
            yield index, inspect_file(source.record_ids[index], source.file(index))
        return
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context()) as pool:
        running: dict[Future[FileReport], int] = {}
        while True:
            for index in islice(indices, 4 * num_workers - len(running)):  # a bounded queue, however many files there are
                running[pool.submit(inspect_file, source.record_ids[index], source.file(index))] = index
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    report = future.result()
                except BrokenProcessPool:
                    names = ", ".join(source.record_ids[i] for i in sorted(running.values())[: 2 * num_workers])
                    raise DataError(
                        f"A process must survive decoding every file. Got one killed at one of: {names}. "
                        "Free memory, or scan with --num-workers 0 to find the file."
                    ) from None
                yield running.pop(future), report


def _summary(files: list[FileReport], canvas_pixels: int) -> ScanResult:
    usable = [file for file in files if file.usable]
    lengths = np.array([file.duration_seconds for file in usable if file.duration_seconds > 0.0])
    cache_bytes = 0
    for file in usable:
        width, height = kept_size(file.width, file.height, canvas_pixels)
        cache_bytes += 3 * width * height * file.frames
    return ScanResult(
        files=files,
        canvas_pixels=canvas_pixels,
        usable=len(usable),
        bad=[file for file in files if file.reason],
        durations=_durations(lengths) if len(lengths) else None,
        sizes=dict(Counter(f"{file.width}x{file.height}" for file in usable).most_common()),
        codecs=dict(Counter(file.codec for file in usable).most_common()),
        variable_rate=sum(not file.constant_rate for file in usable),
        frames=sum(file.frames for file in usable),
        cache_bytes=cache_bytes,
    )


def _durations(seconds: np.ndarray) -> Durations:
    statistics = (np.median, np.mean, np.std, np.min, np.max)
    values = (float(statistic(seconds)) for statistic in statistics)
    return Durations(**dict(zip((field.name for field in dataclasses.fields(Durations)), values, strict=True)))
