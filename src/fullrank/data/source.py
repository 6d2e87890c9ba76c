"""What every data set looks like from outside: an indexed collection of records, each an image or a video."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fullrank.data.clips import Choose
from fullrank.types import Clip, ClipSpec


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Every frame of one record, and what ``clips.select_frames`` needs besides to cut the clips that ``read`` gives."""

    clip: Clip
    """as ``decode_all`` gives it; an image is one frame"""
    duration_seconds: float = 0.0
    """as ``probe`` gives it; 0 for an image"""
    start_seconds: float = 0.0
    """of the record within its file"""
    end_seconds: float = math.inf
    """of the record within its file"""


def chosen_of(frames: NDArray[np.uint8], pts_seconds: NDArray[np.float64], rows: NDArray[np.int64]) -> Clip:
    """The clip of some of a record's frames."""
    return Clip(frames=frames[rows], pts_seconds=pts_seconds[rows])


class Source(Protocol):
    """Records by position. Reading is pure: the same arguments give the same frames in every process."""

    description: str
    """one line for people: what and how many"""
    fingerprint: str
    """changes when the data change (names, sizes, times of files; or a hash of the arrays)"""
    record_ids: Sequence[str]
    """name of each record, relative to the source"""
    labels: dict[str, NDArray[np.int64]]
    """{label name: [records]}, -1 = unknown; empty where nothing is labelled. A folder's is named "label"."""
    classes: dict[str, list[str]]
    """{label name: class names}"""
    reads_fast: bool
    """True: reading needs no workers (arrays in memory, a cache)"""

    @property
    def resident(self) -> NDArray[np.uint8] | None:
        """[records, time, height, width, 3] where everything lies in memory at one size; None otherwise."""
        ...

    def __len__(self) -> int:
        """Number of records."""
        ...

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction; ``MediaError`` where the file cannot be decoded.

        A fraction in [0, 1) places a clip in its record: 0 = it starts with the record, nearly 1 = it ends with it.
        A record shorter than a clip is looped.
        """
        ...

    def read_chosen(self, index: int, choose: Choose) -> list[Clip]:
        """The frames at the positions that ``choose`` names, at full size; ``MediaError`` as in ``read``.

        ``choose(times in seconds of all frames, frames a second)`` gives the positions of the frames of each clip.
        """
        ...

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        """Every frame of the record, shrunk to the canvas: what the cache stores; ``MediaError`` as in ``read``."""
        ...

    def expected_shape(self, index: int, canvas_pixels: int) -> tuple[int, int, int]:
        """(frames, height, width) of ``read_all``, as the file's header promises them; ``MediaError`` as in ``read``."""
        ...
