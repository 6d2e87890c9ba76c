"""What every data set looks like from outside: an indexed collection of records, each an image or a video."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fullrank.types import Clip, ClipSpec


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
    resident: NDArray[np.uint8] | None
    """[records, time, height, width, 3] where everything lies in memory at one size; None otherwise"""

    def __len__(self) -> int:
        """Number of records."""
        ...

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction; ``MediaError`` where the file cannot be decoded.

        A fraction in [0, 1) places a clip in its record: 0 = it starts with the record, nearly 1 = it ends with it.
        A record shorter than a clip is looped.
        """
        ...
