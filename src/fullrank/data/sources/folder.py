"""A folder of videos or of images, at any depth; the first level of subfolders may be classes."""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullrank.data.clips import FULL_SIZE, Choose, kept_size
from fullrank.data.image import image_info, read_image
from fullrank.data.source import Whole, chosen_of
from fullrank.data.video import decode_all, probe, read_chosen, read_clips
from fullrank.draws import permutation
from fullrank.errors import DataError
from fullrank.types import Clip, ClipSpec

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".gif", ".m4v"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """One record on disk: a file, or a part of it."""

    path: Path
    start_seconds: float = 0.0
    end_seconds: float = math.inf

    @property
    def is_image(self) -> bool:
        """By the file's name; everything that is not an image is taken for a video."""
        return self.path.suffix.lower() in IMAGE_SUFFIXES

    def read(self, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction; of an image, its one frame."""
        if self.is_image:
            return [read_image(self.path, spec.canvas_pixels)] * len(fractions)
        return read_clips(self.path, fractions, spec, self.start_seconds, self.end_seconds)

    def read_chosen(self, choose: Choose) -> list[Clip]:
        """The frames at the positions that ``choose`` names, at full size."""
        if not self.is_image:
            return read_chosen(self.path, choose, self.start_seconds, self.end_seconds)
        picture = read_image(self.path, FULL_SIZE)
        return [chosen_of(picture.frames, picture.pts_seconds, rows) for rows in choose(picture.pts_seconds, 1.0)]

    def read_all(self, canvas_pixels: int) -> Whole:
        """Every frame."""
        if self.is_image:
            return Whole(clip=read_image(self.path, canvas_pixels))
        return Whole(
            clip=decode_all(self.path, canvas_pixels, self.start_seconds, self.end_seconds),
            duration_seconds=probe(self.path).duration_seconds,
            start_seconds=self.start_seconds,
            end_seconds=self.end_seconds,
        )

    def expected_shape(self, canvas_pixels: int) -> tuple[int, int, int]:
        """(frames, height, width) of ``read_all``, from the header; a rotation is not looked for: it keeps the product."""
        if self.is_image:
            width, height, _ = image_info(self.path)
            width, height = kept_size(width, height, canvas_pixels)
            return 1, height, width
        info = probe(self.path)
        seconds = min(self.end_seconds, info.duration_seconds) - self.start_seconds
        frames = info.frames if info.frames and seconds == info.duration_seconds else seconds * (info.frames_per_second or 25.0)
        width, height = kept_size(info.width, info.height, canvas_pixels)
        return max(1, round(frames)), height, width


class FileSource:
    """Records that are files, at ``root / record_ids[index]`` where ``file`` says nothing else: what their sources share."""

    root: Path
    record_ids: Sequence[str]
    resident: NDArray[np.uint8] | None = None
    reads_fast = False

    def __len__(self) -> int:
        """Number of files."""
        return len(self.record_ids)

    def file(self, index: int) -> MediaFile:
        """Where record ``index`` lies."""
        return MediaFile(path=self.root / self.record_ids[index])

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction; ``MediaError`` where the file cannot be decoded."""
        return self.file(index).read(fractions, spec)

    def read_chosen(self, index: int, choose: Choose) -> list[Clip]:
        """The frames at the positions that ``choose`` names, at full size; ``MediaError`` as in ``read``."""
        return self.file(index).read_chosen(choose)

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        """Every frame of the record, for the cache."""
        return self.file(index).read_all(canvas_pixels)

    def expected_shape(self, index: int, canvas_pixels: int) -> tuple[int, int, int]:
        """(frames, height, width), from the header."""
        return self.file(index).expected_shape(canvas_pixels)


class FolderSource(FileSource):
    """All media files below a folder, sorted by name; hidden ones are left out. No file is opened before it is read."""

    def __init__(self, path: str | os.PathLike[str], limit: int | None = None, seed: int = 0):
        self.root = Path(path)
        found = sorted(_media(self.root))
        videos = sum(suffix in VIDEO_SUFFIXES for _, suffix, _ in found)
        images = len(found) - videos
        if not found:
            raise DataError(f"The folder {self.root} must hold videos or images ({_suffixes()}). Got none; check the path.")
        if videos and images:
            raise DataError(
                f"The folder {self.root} must hold videos or images, not both. Got {videos} videos and {images} images; "
                "name a subfolder with one kind, or list the files in a .csv."
            )
        names = [name for name, _, _ in found]
        self.labels, self.classes = _labels(names)
        if limit is not None and limit < len(found):
            kept = np.sort(permutation(seed, 0, len(found))[:limit])
            found = [found[i] for i in kept.tolist()]
            self.labels = {key: values[kept] for key, values in self.labels.items()}
        self.record_ids = [name for name, _, _ in found]
        digest = hashlib.sha256()
        for name, _, stamp in found:
            digest.update(f"{name}\0{stamp}\n".encode(errors="surrogateescape"))
        self.fingerprint = digest.hexdigest()[:16]
        kind = "videos" if videos else "images"
        classes = f" in {len(self.classes['label'])} classes" if self.classes else ""
        part = f" (of {len(names)})" if len(found) < len(names) else ""
        self.description = f"{len(found)} {kind}{part}{classes} in {self.root}"


def _media(root: Path) -> Iterator[tuple[str, str, str]]:
    """(name relative to root, suffix, "size mtime") of every media file.

    Links to folders are followed after all real folders, and no folder is entered twice: loops end, and a folder that
    is reachable twice counts under its real name.
    """
    if not root.exists():
        raise DataError(f"The folder {root} must exist. Got nothing there; check the path.")
    if not root.is_dir():
        raise DataError(f"{root} must be a folder (or a .csv file list). Got a file; name the folder that holds it.")
    entered: set[tuple[int, int]] = set()
    real, links = [""], list[str]()
    while real or links:
        prefix = real.pop() if real else links.pop(0)
        folder = root / prefix
        try:
            about = folder.stat()
            if (about.st_dev, about.st_ino) in entered:
                continue
            entered.add((about.st_dev, about.st_ino))
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda e: e.name):
                    if entry.name.startswith("."):
                        continue
                    name = prefix + entry.name
                    suffix = os.path.splitext(entry.name)[1].lower()
                    if entry.is_dir():
                        (links if entry.is_symlink() else real).append(name + "/")
                    elif suffix in VIDEO_SUFFIXES or suffix in IMAGE_SUFFIXES:
                        yield name, suffix, _stamp(entry)
        except PermissionError:
            raise DataError(
                f"The folder {folder} must be readable. Got permission denied; change its rights or move it."
            ) from None


def _stamp(entry: os.DirEntry[str]) -> str:
    try:
        about = entry.stat()
    except OSError:
        return "missing"  # a broken link: reading it says so
    return f"{about.st_size} {about.st_mtime_ns}"


def _labels(names: Sequence[str]) -> tuple[dict[str, NDArray[np.int64]], dict[str, list[str]]]:
    """Labels by first-level subfolder, where every file lies in one and there are at least two."""
    folders = [name.split("/", 1)[0] if "/" in name else "" for name in names]
    classes = sorted(set(folders))
    if "" in classes or len(classes) < 2:
        return {}, {}
    number = {name: i for i, name in enumerate(classes)}
    return {"label": np.array([number[folder] for folder in folders], dtype=np.int64)}, {"label": classes}


def _suffixes() -> str:
    return " ".join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES) + sorted(IMAGE_SUFFIXES))
