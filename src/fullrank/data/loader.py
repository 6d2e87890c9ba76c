"""From a source to batches of decoded clips: in a drawn order for training, in the source's order for extraction.

Order, clip positions and replacements of unreadable files are functions of (seed, epoch, record) alone, so batches are
the same with any number of workers, split over any number of processes, and from any micro-batch on.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank import draws
from fullrank.data.clips import near_fractions, within_span
from fullrank.data.flow import STILL
from fullrank.data.source import Source
from fullrank.data.workers import in_processes, one_ahead
from fullrank.errors import DataError, MediaError, SettingError
from fullrank.transfer import to_device
from fullrank.types import Clip, ClipBatch, ClipSpec

ATTEMPTS = 64
"""records tried in place of an unreadable one"""
RESIDENT_RATIO = 0.25
"""of a GPU's free memory that the data may take, to be looked up there"""
CPU = torch.device("cpu")
Skipped = list[tuple[str, str]]
Parts = tuple[Tensor, Tensor, Tensor, Tensor, Skipped, Tensor | None]
"""frames, sizes, start_seconds, index, skipped, flow: a batch as it travels from a worker"""
K = TypeVar("K")


class Loader:
    """Endless batches of ``num_clips`` clips of each record, in an order drawn anew for every epoch.

    ``batch_size`` counts the records of one micro-batch over all processes; this process gets the contiguous slice
    ``rank`` of ``world``. A last, smaller batch of an epoch is dropped. ``device``: where the views will be made; for a GPU
    batches lie in pinned memory, and a source that is wholly in memory is moved there once, where it fits. ``sampling`` is that
    of a ``ViewPlan``: where the clips of a record start.
    """

    def __init__(
        self,
        source: Source,
        spec: ClipSpec,
        *,
        num_clips: int,
        batch_size: int,
        seed: int,
        num_workers: int,
        rank: int = 0,
        world: int = 1,
        device: torch.device = CPU,
        sampling: Literal["uniform", "near"] = "uniform",
    ):
        if batch_size > len(source):
            raise SettingError(
                f"batch_size must be at most the number of records. Got {batch_size} with {len(source)} records; "
                "lower --data.batch-size."
            )
        if batch_size < 1 or batch_size % world:
            raise SettingError(f"The records of a micro-batch must divide by the processes. Got {batch_size} for {world}.")
        if num_clips < 1:
            raise SettingError(f"The number of clips of a record must be at least 1. Got {num_clips}.")
        self.source, self.spec, self.num_clips, self.batch_size = source, spec, num_clips, batch_size
        self.seed, self.num_workers, self.rank, self.world = seed, num_workers, rank, world
        self.pin_memory = device.type == "cuda"
        self.batches_per_epoch = len(source) // batch_size
        self.sampling = sampling
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))
        self._resident = _resident_frames(source, spec, device)

    def batches(self, start: int = 0) -> Iterator[ClipBatch]:
        """Endless, from micro-batch number ``start`` on: what follows does not depend on where it began."""
        numbers = itertools.count(start)
        if self._resident is not None:
            for number in numbers:
                yield self._look_up(self._resident, number)
        stream = _stream(self._read, numbers, self.source, self.num_workers, self.pin_memory)
        for number, parts in stream:
            yield _batch(parts, number // self.batches_per_epoch)

    def _records(self, number: int) -> NDArray[np.int64]:
        """The share of this process in micro-batch ``number``."""
        epoch, position = divmod(number, self.batches_per_epoch)
        order = self._order  # kept in a local name: a thread that reads ahead may replace it
        if order[0] != epoch:
            order = self._order = (epoch, draws.permutation(self.seed, epoch, len(self.source)))
        share = self.batch_size // self.world
        first = position * self.batch_size + self.rank * share
        return order[1][first : first + share]

    def _look_up(self, resident: Tensor, number: int) -> ClipBatch:
        index = torch.from_numpy(self._records(number))
        frames = resident.index_select(0, to_device(index, resident.device))[:, None]
        if self.pin_memory and frames.device == CPU:
            frames = frames.pin_memory()
        batch, _, time, height, width, _ = frames.shape
        return ClipBatch(
            frames=frames.expand(batch, self.num_clips, max(time, self.spec.num_frames), height, width, 3),
            sizes=torch.tensor([height, width]).expand(batch, self.num_clips, 2),
            start_seconds=torch.zeros((), dtype=torch.float64).expand(batch, self.num_clips),
            index=index,
            epoch=number // self.batches_per_epoch,
        )

    def _read(self, number: int) -> Parts:
        records, epoch = self._records(number), number // self.batches_per_epoch
        read = [self._one(int(record), epoch) for record in records]
        skipped = [bad for _, _, some in read for bad in some]
        return _stack([(index, clips) for index, clips, _ in read], skipped, self.spec)

    def _one(self, record: int, epoch: int) -> tuple[int, list[Clip], Skipped]:
        """The clips of a record, or of the first readable one of those drawn in its place."""
        skipped: Skipped = []
        for candidate in itertools.chain([record], self._replacements(record, epoch)):
            u = draws.uniform(self.seed, epoch, [candidate], "clip_start", self.num_clips)[0]
            fractions = u.tolist()
            if self.sampling == "near":  # in an order that is drawn too: views of the first clip may be made in another way
                order = np.argsort(draws.uniform(self.seed, epoch, [candidate], "clip_order", self.num_clips)[0])
                near = near_fractions(u)
                fractions = [near[i] for i in order]
            if self.spec.span_ratio < 1.0:
                window = draws.uniform(self.seed, epoch, [candidate], "clip_window", 1)[0, 0]
                fractions = within_span(fractions, float(window), self.spec.span_ratio)
            try:
                return candidate, self.source.read(candidate, fractions, self.spec), skipped
            except MediaError as error:
                skipped.append((self.source.record_ids[candidate], error.reason))
        raise _unreadable(skipped)

    def _replacements(self, record: int, epoch: int) -> Iterator[int]:
        """By hash: all other records of a small source, ``ATTEMPTS`` of a large one."""
        count = len(self.source)
        if count <= ATTEMPTS:
            others = np.argsort(draws.uniform(self.seed, epoch, [record], "replacement", count)[0], kind="stable")
        else:
            others = (draws.uniform(self.seed, epoch, [record], "replacement", ATTEMPTS)[0] * count).astype(np.int64)
        return (int(other) for other in others if other != record)


def in_order(
    source: Source,
    spec: ClipSpec,
    fractions: Sequence[float],
    *,
    batch_size: int,
    num_workers: int,
    rank: int = 0,
    world: int = 1,
    on_skip: Callable[[str, str], None] | None = None,
) -> Iterator[ClipBatch]:
    """Every record once, in order, one clip for each fraction; the last batch may be smaller.

    Process ``rank`` of ``world`` gets the contiguous share ``rank`` of the records, in batches of ``batch_size``.
    An unreadable file is left out: named in ``ClipBatch.skipped`` (of the next batch, where a whole batch is
    unreadable) and to ``on_skip``. ``DataError`` where not one record of the share can be read.
    """
    share = np.arange(len(source) * rank // world, len(source) * (rank + 1) // world)
    groups = [share[i : i + batch_size] for i in range(0, len(share), batch_size)]

    def read(group: NDArray[np.int64]) -> Parts:
        good, skipped = [], []
        for record in group.tolist():
            try:
                good.append((record, source.read(record, fractions, spec)))
            except MediaError as error:
                skipped.append((source.record_ids[record], error.reason))
        return _stack(good, skipped, spec)

    pending: Skipped = []
    found = False
    for _, (frames, sizes, starts, index, skipped, flow) in _stream(read, groups, source, min(num_workers, len(groups))):
        for record_id, reason in skipped:
            if on_skip is not None:
                on_skip(record_id, reason)
        pending += skipped
        if len(index):
            found = True
            yield _batch((frames, sizes, starts, index, pending, flow), epoch=0)
            pending = []
    if pending and not found:
        raise _unreadable(pending)


def _stream(
    read: Callable[[K], Parts], keys: Iterable[K], source: Source, num_workers: int, pin_memory: bool = False
) -> Iterator[tuple[K, Parts]]:
    return one_ahead(read, keys) if source.reads_fast else in_processes(read, keys, num_workers, pin_memory=pin_memory)


def _unreadable(skipped: Skipped) -> DataError:
    name, reason = skipped[0]
    count = len({record_id for record_id, _ in skipped})
    return DataError(f"None of the first {count} files could be read; {name}: {reason}. `fullrank scan` lists the bad ones.")


def _batch(parts: Parts, epoch: int) -> ClipBatch:
    frames, sizes, start_seconds, index, skipped, flow = parts
    return ClipBatch(
        frames=frames,
        sizes=sizes,
        start_seconds=start_seconds,
        index=index,
        epoch=epoch,
        skipped=[(i, r) for i, r in skipped],
        flow=flow,
    )


def _resident_frames(source: Source, spec: ClipSpec, device: torch.device) -> Tensor | None:
    """All frames as one tensor, where a clip is the whole record; a longer record is cut by ``read``, by its times.

    On ``device``, where that leaves a GPU most of its free memory.
    """
    resident = source.resident
    if resident is None or resident.shape[1] not in (1, spec.num_frames):
        return None
    fits = device.type != "cuda" or resident.nbytes <= RESIDENT_RATIO * torch.cuda.mem_get_info(device)[0]
    return torch.from_numpy(resident).to(device if fits else CPU)


def _stack(read: Sequence[tuple[int, Sequence[Clip]]], skipped: Skipped, spec: ClipSpec) -> Parts:
    """Clips of all records in one array, padded at the bottom and right to the largest; an image fills all frames."""
    clips = [clip for _, record in read for clip in record]
    sizes = np.array([clip.frames.shape[1:3] for clip in clips], dtype=np.int64).reshape(-1, 2)
    height, width = sizes.max(axis=0).tolist() if clips else (0, 0)
    same = bool((sizes == sizes[:1]).all())
    frames = (np.empty if same else np.zeros)((len(clips), spec.num_frames, height, width, 3), dtype=np.uint8)
    for row, clip in zip(frames, clips, strict=True):
        row[:, : clip.frames.shape[1], : clip.frames.shape[2]] = clip.frames
    starts = np.array([clip.pts_seconds[0] for clip in clips], dtype=np.float64)
    shape = (len(read), len(clips) // max(len(read), 1))
    return (
        torch.from_numpy(frames).reshape(*shape, spec.num_frames, height, width, 3),
        torch.from_numpy(sizes).reshape(*shape, 2),
        torch.from_numpy(starts).reshape(*shape),
        torch.tensor([index for index, _ in read], dtype=torch.int64),
        skipped,
        _stack_flow(clips, (*shape, spec.num_frames, height, width, 2)),
    )


def _stack_flow(clips: Sequence[Clip], shape: tuple[int, ...]) -> Tensor | None:
    """Flow beside the frames, where the source has it; the padding is still."""
    if not clips or any("flow" not in clip.streams for clip in clips):
        return None
    flow = np.full((len(clips), *shape[2:]), STILL, dtype=np.uint8)
    for row, clip in zip(flow, clips, strict=True):
        row[:, : clip.frames.shape[1], : clip.frames.shape[2]] = clip.streams["flow"]
    return torch.from_numpy(flow).reshape(shape)
