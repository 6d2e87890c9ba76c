"""One video or image file as a source of one record."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullrank.data.sources.folder import IMAGE_SUFFIXES, VIDEO_SUFFIXES, FileSource
from fullrank.errors import DataError


class SingleSource(FileSource):
    """The file at ``path``. ``DataError`` where there is none, or it is neither a video nor an image by its name."""

    def __init__(self, path: Path):
        if path.suffix.lower() not in VIDEO_SUFFIXES | IMAGE_SUFFIXES:
            known = " ".join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
            raise DataError(f"{path} must be a video or an image ({known}). Got '{path.suffix}'; name another file.")
        self.root, self.record_ids = path.parent, [path.name]
        self.labels: dict[str, NDArray[np.int64]] = {}
        self.classes: dict[str, list[str]] = {}
        about = path.stat()
        self.fingerprint = hashlib.sha256(f"{path.name}\0{about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:16]
        self.description = str(path)


def is_single(path: Path) -> bool:
    """Whether ``path`` is a file, and no list of files."""
    return path.is_file() and path.suffix.lower() != ".csv"
