"""Some records of a source."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fullrank import draws
from fullrank.config import settings_hash
from fullrank.data.clips import Choose
from fullrank.data.source import Source, Whole
from fullrank.types import Clip, ClipSpec


class Subset:
    """The records ``kept`` of ``source``, in that order."""

    def __init__(self, source: Source, kept: Sequence[int]):
        self._source = source
        self._kept = np.asarray(kept, dtype=np.int64)
        self.description = f"{source.description} ({len(self._kept)} of them)"
        self.fingerprint = settings_hash({"fingerprint": source.fingerprint, "kept": self._kept.tolist()})
        self.record_ids: Sequence[str] = [source.record_ids[i] for i in self._kept]
        self.labels: dict[str, NDArray[np.int64]] = {name: values[self._kept] for name, values in source.labels.items()}
        self.classes = source.classes
        self.resident: NDArray[np.uint8] | None = None if source.resident is None else source.resident[self._kept]
        self.reads_fast = source.reads_fast

    def __len__(self) -> int:
        return len(self._kept)

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction."""
        return self._source.read(int(self._kept[index]), fractions, spec)

    def read_chosen(self, index: int, choose: Choose) -> list[Clip]:
        """The frames at the positions that ``choose`` names."""
        return self._source.read_chosen(int(self._kept[index]), choose)

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        """Every frame."""
        return self._source.read_all(int(self._kept[index]), canvas_pixels)

    def expected_shape(self, index: int, canvas_pixels: int) -> tuple[int, int, int]:
        """(frames, height, width)."""
        return self._source.expected_shape(int(self._kept[index]), canvas_pixels)


def limited(source: Source, limit: int | None, seed: int = 0) -> Source:
    """A fixed random subset of ``limit`` records, in the order of the source; all of them where there are no more."""
    if limit is None or limit >= len(source):
        return source
    return Subset(source, np.sort(draws.permutation(seed, 0, len(source))[:limit]).tolist())
