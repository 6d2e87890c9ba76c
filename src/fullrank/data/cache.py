"""A memory-mapped cache: every frame of every record decoded once, so that reading a clip is copying memory.

A folder may hold several caches, each in a subfolder named by what decides its content: the fingerprint of the data and
the canvas. It is written beside and renamed when complete, so a cache that is there is whole. Optical flow is a second
array beside the frames, computed from them when it is first asked for.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fullrank import draws
from fullrank.config import settings_hash
from fullrank.data.clips import Choose, select_frames
from fullrank.data.flow import flow_to_next, opencv
from fullrank.data.lock import alone
from fullrank.data.source import Source, Whole, chosen_of
from fullrank.data.workers import in_processes
from fullrank.errors import DataError, MediaError, SettingError
from fullrank.types import Clip, ClipSpec

FORMAT = 1
"""of the files; raise when they change"""
SAMPLE = 32
"""records whose headers are read to estimate the size"""
FLOW_SHARE = 2 / 3
"""bytes of flow for one of frames: 2 numbers a pixel beside 3"""
_GIB = 2.0**30
_ROW = np.dtype(
    [
        ("first_byte", np.int64),
        ("first_frame", np.int64),
        ("frames", np.int64),
        ("height", np.int64),
        ("width", np.int64),
        ("duration_seconds", np.float64),
        ("start_seconds", np.float64),
        ("end_seconds", np.float64),
    ]
)
"""one record; frames = 0: it could not be decoded"""


class CachedSource:
    """The records of a source, cut from decoded frames; made by ``cached``. With ``flow``, clips have that stream."""

    resident: NDArray[np.uint8] | None = None
    reads_fast = True

    def __init__(self, source: Source, folder: Path, flow: bool = False):
        self.fingerprint, self.record_ids = source.fingerprint, source.record_ids
        self.labels, self.classes = source.labels, source.classes
        self.description = f"{source.description} (decoded, in {folder})"
        self.folder = folder
        self.canvas_pixels: int = _manifest(folder)["canvas_pixels"]
        self._rows = np.load(folder / "records.npy")
        self._pts_seconds = np.load(folder / "pts_seconds.npy", mmap_mode="r")
        self._reasons: dict[str, str] = json.loads((folder / "unreadable.json").read_text(encoding="utf-8"))
        self._bytes = _mapped(folder / "frames.bin")
        self._flow = _mapped(folder / "flow.bin") if flow else None

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def has_time(self) -> bool:
        """Whether any record has more than one frame."""
        return bool((self._rows["frames"] > 1).any())

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction, bit for bit what the file gives; ``MediaError`` as the file gave it."""
        whole = self.read_all(index, spec.canvas_pixels)
        frames, pts_seconds = whole.clip.frames, whole.clip.pts_seconds
        if len(frames) == 1 and not whole.duration_seconds:  # an image
            return [whole.clip] * len(fractions)
        clips = []
        for fraction in fractions:
            rows = select_frames(pts_seconds, whole.duration_seconds, fraction, spec, whole.start_seconds, whole.end_seconds)
            streams = {name: values[rows] for name, values in whole.clip.streams.items()}
            clips.append(Clip(frames=frames[rows], pts_seconds=pts_seconds[rows], streams=streams))
        return clips

    def read_chosen(self, index: int, choose: Choose) -> list[Clip]:
        """The frames at the positions that ``choose`` names, of the cached canvas."""
        whole = self.read_all(index, self.canvas_pixels)
        times = whole.clip.pts_seconds
        rate = len(times) / whole.duration_seconds if whole.duration_seconds else 1.0
        return [chosen_of(whole.clip.frames, times, rows) for rows in choose(times, rate)]

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        """Every frame, as a view of the mapped file."""
        if canvas_pixels != self.canvas_pixels:
            raise SettingError(f"The canvas of this cache is {self.canvas_pixels} pixels. Got {canvas_pixels}; open it anew.")
        row = self._rows[index]
        count, height, width = self.expected_shape(index, canvas_pixels)
        first, frame = int(row["first_byte"]), int(row["first_frame"])
        pixels = count * height * width
        frames = self._bytes[first : first + 3 * pixels].reshape(count, height, width, 3)
        streams: dict[str, NDArray[np.uint8]] = {}
        if self._flow is not None:  # 2 bytes a pixel where the frames have 3
            start = first // 3 * 2
            streams["flow"] = self._flow[start : start + 2 * pixels].reshape(count, height, width, 2)
        return Whole(
            clip=Clip(frames=frames, pts_seconds=np.asarray(self._pts_seconds[frame : frame + count]), streams=streams),
            duration_seconds=float(row["duration_seconds"]),
            start_seconds=float(row["start_seconds"]),
            end_seconds=float(row["end_seconds"]),
        )

    def expected_shape(self, index: int, canvas_pixels: int) -> tuple[int, int, int]:
        """(frames, height, width): exact."""
        if str(index) in self._reasons:
            raise MediaError(self.record_ids[index], self._reasons[str(index)])
        row = self._rows[index]
        return int(row["frames"]), int(row["height"]), int(row["width"])


def cached(
    source: Source,
    folder: str | Path,
    canvas_pixels: int,
    max_gib: float,
    num_workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
    flow: bool = False,
) -> CachedSource:
    """``source`` with every frame decoded below ``folder``, and its optical flow where asked; what is there is used.

    ``progress`` is called with (records done, records), for the flow from 0 on again. ``DataError`` before anything is
    decoded where more than ``max_gib`` GiB are expected; ``SettingError`` where flow needs OpenCV and it is missing.
    Interrupted, it leaves nothing half done. Several processes may ask at once: one works, the others wait for it.
    """
    folder = Path(folder)
    told = progress or (lambda done, total: None)
    share = 1.0 + FLOW_SHARE * flow
    key = settings_hash({"fingerprint": source.fingerprint, "canvas_pixels": canvas_pixels, "format": FORMAT})
    place = folder / key
    if flow and not (place / "flow.bin").exists():
        opencv()  # before hours of decoding
    if not place.is_dir():
        with alone(folder / f"{key}.lock"):
            if not place.is_dir():
                _check_size(expected_bytes(source, canvas_pixels) * share, max_gib)
                _build(source, place, canvas_pixels, num_workers, told)
    if flow and not (place / "flow.bin").exists():
        with alone(folder / f"{key}.lock"):
            if not (place / "flow.bin").exists():
                _check_size((place / "frames.bin").stat().st_size * share, max_gib)
                _add_flow(CachedSource(source, place), num_workers, told)
    return CachedSource(source, place, flow)


def expected_bytes(source: Source, canvas_pixels: int) -> float:
    """Size of the cache, from the headers of a fixed random sample; unreadable files count as nothing."""
    sample = draws.permutation(0, 0, len(source))[:SAMPLE]
    sizes: list[float] = []
    for index in sample.tolist():
        try:
            sizes.append(3.0 * math.prod(source.expected_shape(index, canvas_pixels)))
        except MediaError:
            sizes.append(0.0)
    return float(np.mean(sizes)) * len(source)


def _check_size(expected: float, max_gib: float) -> None:
    gib = expected / _GIB
    if gib > max_gib:
        raise DataError(
            f"The cache of decoded frames must stay below --data.cache-max-gib, {max_gib:g} GiB. Got about {gib:.3g} GiB; "
            "raise it, lower --data.canvas-pixels, or leave out --data.cache."
        )


def _build(source: Source, place: Path, canvas_pixels: int, num_workers: int, progress: Callable[[int, int], None]) -> None:
    building = place.with_name(f".{place.name}")
    shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
    building.mkdir()
    try:
        _decode(source, building, canvas_pixels, num_workers, progress)
        about = {"fullrank": "cache", "fingerprint": source.fingerprint, "canvas_pixels": canvas_pixels, "format": FORMAT}
        (building / "manifest.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        os.replace(building, place)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _decode(source: Source, building: Path, canvas_pixels: int, num_workers: int, progress: Callable[[int, int], None]) -> None:
    rows = np.zeros(len(source), dtype=_ROW)
    times: list[NDArray[np.float64]] = []
    reasons: dict[str, str] = {}

    def read(index: int) -> tuple[torch.Tensor, NDArray[np.float64], tuple[float, float, float]] | str:
        try:
            whole = source.read_all(index, canvas_pixels)
            if whole.start_seconds:  # whether a part lies behind the end of its file, reading it tells
                source.read(index, [0.0], ClipSpec(num_frames=1, frames_per_second=25.0, canvas_pixels=canvas_pixels))
        except MediaError as error:
            return error.reason
        window = (whole.duration_seconds, whole.start_seconds, whole.end_seconds)
        return torch.from_numpy(np.ascontiguousarray(whole.clip.frames)), whole.clip.pts_seconds, window

    at = frame = 0
    with (building / "frames.bin").open("wb") as file:
        for index, result in in_processes(read, range(len(source)), num_workers, ahead=1):
            if isinstance(result, str):
                reasons[str(index)] = result
            else:
                frames, pts_seconds, window = result
                rows[index] = (at, frame, *frames.shape[:3], *window)
                file.write(frames.numpy().data)
                times.append(pts_seconds)
                at, frame = at + frames.numel(), frame + len(pts_seconds)
            progress(index + 1, len(source))
    np.save(building / "records.npy", rows)
    np.save(building / "pts_seconds.npy", np.concatenate([*times, np.zeros(0)]))
    (building / "unreadable.json").write_text(json.dumps(reasons), encoding="utf-8")


def _add_flow(stored: CachedSource, num_workers: int, progress: Callable[[int, int], None]) -> None:
    """The flow of every record, in the order of its frames, so that their places tell its own."""
    if not stored.has_time:
        raise DataError(f"Optical flow needs videos. Got {stored.description}; choose another stream, or data with time.")

    def read(index: int) -> torch.Tensor:
        try:
            return torch.from_numpy(flow_to_next(stored.read_all(index, stored.canvas_pixels).clip.frames))
        except MediaError:  # a record that takes no room
            return torch.empty(0, dtype=torch.uint8)

    building = stored.folder / ".flow.bin"
    try:
        with building.open("wb") as file:
            for index, flow in in_processes(read, range(len(stored)), num_workers, ahead=1):
                file.write(flow.numpy().data)
                progress(index + 1, len(stored))
        os.replace(building, stored.folder / "flow.bin")
    finally:
        building.unlink(missing_ok=True)


def _mapped(file: Path) -> NDArray[np.uint8]:
    return np.memmap(file, np.uint8, mode="r") if file.stat().st_size else np.zeros(0, np.uint8)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        manifest = {}
    if manifest.get("fullrank") != "cache":
        raise DataError(f"A cache must hold its manifest.json. Got {folder} without; delete that folder.")
    return dict(manifest)
