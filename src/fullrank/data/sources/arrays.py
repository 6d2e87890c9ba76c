"""Records that lie in memory as one array: small images, or short videos of one size."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from numpy.typing import ArrayLike, NDArray

from fullrank.data.clips import Choose, select_frames
from fullrank.data.source import Whole, chosen_of
from fullrank.errors import ShapeError
from fullrank.types import Clip, ClipSpec


class ArraySource:
    """Images [records, height, width, 3] or videos [records, time, height, width, 3], uint8, with optional labels.

    ``frames_per_second`` is the rate of videos. Frames keep their size, whatever the canvas. Records are named by
    their position, unless ``record_ids`` are given.
    """

    reads_fast = True

    def __init__(
        self,
        frames: UInt8[np.ndarray, "records *time height width 3"],
        labels: Mapping[str, ArrayLike] | None = None,
        classes: Mapping[str, Sequence[str]] | None = None,
        *,
        frames_per_second: float = 1.0,
        record_ids: Sequence[str] | None = None,
        description: str = "arrays",
    ):
        if frames.ndim not in (4, 5) or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise ShapeError(
                "frames must be uint8 [records, height, width, 3] or [records, time, height, width, 3]. "
                f"Got {frames.dtype} {list(frames.shape)}; convert them."
            )
        self._frames = np.ascontiguousarray(frames if frames.ndim == 5 else frames[:, None])
        self.resident: NDArray[np.uint8] | None = self._frames
        self.labels = {name: np.asarray(values, dtype=np.int64) for name, values in (labels or {}).items()}
        for name, values in self.labels.items():
            if values.shape != (len(frames),):
                raise ShapeError(f"labels['{name}'] must be [{len(frames)}], one a record. Got {list(values.shape)}.")
        self.classes = {name: list(names) for name, names in (classes or {}).items()}
        self.record_ids: Sequence[str] = list(record_ids) if record_ids is not None else [str(i) for i in range(len(frames))]
        self.description = f"{description}: {len(frames)} {'images' if self._frames.shape[1] == 1 else 'videos'}"
        digest = hashlib.blake2b(self._frames.data, digest_size=6)
        digest.update(repr((self._frames.shape, frames_per_second)).encode())
        self.fingerprint = digest.hexdigest()
        self._pts_seconds = np.arange(self._frames.shape[1]) / frames_per_second
        self._duration_seconds = self._frames.shape[1] / frames_per_second if self._frames.shape[1] > 1 else 0.0

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        """One clip for each fraction; of an image, its one frame."""
        if not self._duration_seconds:
            return [self.read_all(index, spec.canvas_pixels).clip] * len(fractions)
        chosen = [select_frames(self._pts_seconds, self._duration_seconds, f, spec) for f in fractions]
        return [Clip(frames=self._frames[index, rows], pts_seconds=self._pts_seconds[rows]) for rows in chosen]

    def read_chosen(self, index: int, choose: Choose) -> list[Clip]:
        """The frames at the positions that ``choose`` names."""
        rate = len(self._pts_seconds) / self._duration_seconds if self._duration_seconds else 1.0
        return [chosen_of(self._frames[index], self._pts_seconds, rows) for rows in choose(self._pts_seconds, rate)]

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        """Every frame, at its own size."""
        return Whole(
            clip=Clip(frames=self._frames[index], pts_seconds=self._pts_seconds), duration_seconds=self._duration_seconds
        )

    def expected_shape(self, index: int, canvas_pixels: int) -> tuple[int, int, int]:
        """(frames, height, width): exact."""
        frames, height, width = self._frames.shape[1:4]
        return frames, height, width
