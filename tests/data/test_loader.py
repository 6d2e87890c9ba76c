"""Batches: the same with any number of workers, processes and starting points; unreadable files are replaced."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fullrank import draws
from fullrank.data.clips import near_fractions
from fullrank.data.loader import Loader, _resident_frames, in_order
from fullrank.data.source import Whole
from fullrank.data.sources.arrays import ArraySource
from fullrank.errors import DataError, MediaError, SettingError
from fullrank.types import Clip, ClipBatch, ClipSpec

SPEC = ClipSpec(num_frames=3, frames_per_second=4.0, canvas_pixels=32)


class Fake:
    """Records whose frames say which record and which fraction they were read for; sizes differ; some are bad."""

    reads_fast = False
    resident: NDArray[np.uint8] | None = None
    description = "fake"
    fingerprint = "fake"

    def __init__(self, records: int = 12, bad: Sequence[int] = ()):
        self.record_ids = [f"r{i}" for i in range(records)]
        self.labels: dict[str, NDArray[np.int64]] = {}
        self.classes: dict[str, list[str]] = {}
        self.bad = set(bad)

    def __len__(self) -> int:
        return len(self.record_ids)

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        if index in self.bad:
            raise MediaError(self.record_ids[index], "broken")
        shape = (spec.num_frames, 4 + index % 3, 6 + index % 2, 3)
        return [
            Clip(frames=np.full(shape, index + int(100 * f), np.uint8), pts_seconds=f + np.arange(spec.num_frames))
            for f in fractions
        ]

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        raise NotImplementedError

    def expected_shape(self, index: int, canvas_pixels: int) -> tuple[int, int, int]:
        raise NotImplementedError


def take(loader: Loader, count: int, start: int = 0) -> list[ClipBatch]:
    return list(itertools.islice(loader.batches(start), count))


def make(source: Fake, **changes: int) -> Loader:
    settings = {"num_clips": 2, "batch_size": 4, "seed": 3, "num_workers": 0} | changes
    return Loader(source, SPEC, **settings)


def same(a: ClipBatch, b: ClipBatch) -> bool:
    tensors = all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("frames", "sizes", "start_seconds", "index"))
    return tensors and (a.epoch, a.skipped) == (b.epoch, b.skipped)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(workers: int) -> None:
    source = Fake(bad=[2, 5])
    for a, b in zip(take(make(source), 8), take(make(source, num_workers=workers), 8), strict=True):
        assert same(a, b)


def test_batches_follow_the_drawn_order_and_clip_positions() -> None:
    loader = make(Fake())
    assert loader.batches_per_epoch == 3
    for number, batch in enumerate(take(loader, 7)):
        epoch, position = divmod(number, 3)
        expected = draws.permutation(3, epoch, 12)[4 * position : 4 * position + 4]
        assert batch.epoch == epoch
        assert batch.index.tolist() == expected.tolist()
        np.testing.assert_array_equal(batch.start_seconds, draws.uniform(3, epoch, expected, "clip_start", 2))


def test_an_epoch_visits_every_record_once_and_epochs_differ() -> None:
    batches = take(make(Fake()), 6)
    first, second = (torch.cat([b.index for b in batches[i : i + 3]]) for i in (0, 3))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert not torch.equal(first, second)


def test_a_start_in_the_middle_continues_exactly() -> None:
    source = Fake(bad=[1])
    for a, b in zip(take(make(source), 9)[4:], take(make(source), 5, start=4), strict=True):
        assert same(a, b)


def test_the_shares_of_the_processes_make_the_batch_of_one() -> None:
    source = Fake(bad=[7])
    for whole, *parts in zip(
        take(make(source), 4), take(make(source, rank=0, world=2), 4), take(make(source, rank=1, world=2), 4), strict=True
    ):
        assert torch.equal(whole.index, torch.cat([part.index for part in parts]))
        assert torch.equal(whole.sizes, torch.cat([part.sizes for part in parts]))
        assert torch.equal(whole.start_seconds, torch.cat([part.start_seconds for part in parts]))
        assert whole.skipped == [bad for part in parts for bad in part.skipped]


def test_mixed_sizes_are_padded_at_the_bottom_and_right() -> None:
    batch = take(make(Fake(), batch_size=12), 1)[0]
    assert batch.frames.shape == (12, 2, 3, 6, 7, 3)
    for row, index in enumerate(batch.index.tolist()):
        height, width = 4 + index % 3, 6 + index % 2
        assert batch.sizes[row].tolist() == [[height, width]] * 2
        values = index + (100 * batch.start_seconds[row]).long()
        assert (batch.frames[row, :, :, :height, :width] == values[:, None, None, None, None]).all()
        assert not batch.frames[row, :, :, height:].any()
        assert not batch.frames[row, :, :, :, width:].any()


def test_a_bad_record_is_replaced_by_one_drawn_by_hash_and_named() -> None:
    bad = [0, 3, 4, 8, 9]
    batches = take(make(Fake(bad=bad)), 6)
    assert all(not set(batch.index.tolist()) & set(bad) for batch in batches)
    for epoch in range(2):
        skipped = [entry for batch in batches[3 * epoch : 3 * epoch + 3] for entry in batch.skipped]
        assert {("r0", "broken"), ("r3", "broken"), ("r4", "broken"), ("r8", "broken"), ("r9", "broken")} == set(skipped)
    record = int(draws.permutation(3, 0, 12)[0])
    replaced = take(make(Fake(bad=[record])), 1)[0].index[0].item()
    order = np.argsort(draws.uniform(3, 0, [record], "replacement", 12)[0])
    assert replaced == next(int(i) for i in order if i != record)


def test_a_replacement_is_read_where_it_would_be_read_itself() -> None:
    batch = take(make(Fake(bad=[0, 3, 4])), 1)[0]
    expected = draws.uniform(3, 0, batch.index.numpy(), "clip_start", 2)
    assert batch.skipped
    np.testing.assert_array_equal(batch.start_seconds, expected)


def test_one_good_record_among_a_few_is_always_found() -> None:
    batch = take(make(Fake(records=9, bad=range(8)), batch_size=9), 1)[0]
    assert batch.index.tolist() == [8] * 9


def test_near_clips_start_where_the_plan_wants_them_whatever_the_workers() -> None:
    """The positions are those of ``near_fractions`` from the record's own numbers, a replacement's included."""
    source = Fake(bad=[1, 6])
    loaders = [
        Loader(source, SPEC, num_clips=3, batch_size=4, seed=3, num_workers=workers, sampling="near") for workers in (0, 2)
    ]
    first = rows = 0
    for a, b in zip(take(loaders[0], 6), take(loaders[1], 6), strict=True):
        assert same(a, b)
        u = draws.uniform(3, a.epoch, a.index.numpy(), "clip_start", 3)
        np.testing.assert_array_equal(np.sort(a.start_seconds), np.sort([near_fractions(row) for row in u]))
        first += (a.start_seconds[:, 0] == a.start_seconds.min(dim=1).values).sum().item()
        rows += len(a.start_seconds)
    assert 0.15 < first / rows < 0.55, "any of the three comes first"


def test_clips_of_a_record_lie_within_a_window_of_the_span() -> None:
    """1 leaves them where they were; a fifth puts them that near to each other, anywhere in the record; 0 at one moment."""
    starts = {}
    for ratio in (1.0, 0.2, 0.0):
        loader = Loader(
            Fake(records=40),
            replace(SPEC, span_ratio=ratio),
            num_clips=3,
            batch_size=8,
            seed=3,
            num_workers=0,
        )
        starts[ratio] = np.concatenate([batch.start_seconds.numpy() for batch in take(loader, 10)])
    np.testing.assert_array_equal(starts[1.0][:8], draws.uniform(3, 0, take(loader, 1)[0].index.numpy(), "clip_start", 3))
    for ratio, found in starts.items():
        apart = np.ptp(found, axis=1)
        assert apart.max() <= ratio
        assert apart.max() >= 0.8 * ratio
        assert found.min() < 0.1
        assert 0.9 < found.max() <= 1.0
    order = [np.argsort(found, axis=1) for found in (starts[1.0], starts[0.2])]
    np.testing.assert_array_equal(*order)


def test_batches_of_a_source_without_flow_have_none() -> None:
    assert take(make(Fake()), 1)[0].flow is None


@pytest.mark.parametrize(("records", "tried"), [(5, 5), (500, 65)])
def test_a_source_without_a_readable_file_is_one_error(records: int, tried: int) -> None:
    loader = make(Fake(records=records, bad=range(records)), seed=1)
    with pytest.raises(DataError, match=r"None of the first \d+ files could be read; r\d+: broken.*fullrank scan") as error:
        take(loader, 1)
    count = int(str(error.value).split()[4])
    assert tried - 12 < count <= tried  # draws of a large source may repeat


def test_errors_come_out_of_workers_as_they_are() -> None:
    with pytest.raises(DataError, match="^None of the first 5 files could be read; r"):
        take(make(Fake(records=5, bad=range(5)), num_workers=1), 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 13}, "Got 13 with 12 records"),
        ({"batch_size": 3, "world": 2}, "Got 3 for 2"),
        ({"num_clips": 0}, "Got 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make(Fake(), **changes)


def test_resident_images_are_looked_up_and_expanded_without_copies() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)
    loader = Loader(ArraySource(images), SPEC, num_clips=3, batch_size=8, seed=0, num_workers=2)
    batch = take(loader, 3)[2]
    assert batch.epoch == 1
    assert batch.frames.shape == (8, 3, 3, 5, 4, 3)
    assert batch.frames.stride()[1:3] == (0, 0)
    np.testing.assert_array_equal(batch.frames[:, 1, 2], images[batch.index.numpy()])
    assert (batch.sizes == torch.tensor([5, 4])).all()


def test_images_that_would_crowd_a_gpu_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    source = ArraySource(np.zeros((20, 5, 4, 3), dtype=np.uint8))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1200 * 4 - 1, 10**9))
    frames = _resident_frames(source, SPEC, torch.device("cuda"))
    assert frames is not None
    assert frames.device.type == "cpu"


def test_a_resident_video_longer_than_a_clip_is_cut_by_its_times() -> None:
    videos = np.arange(20, dtype=np.uint8).repeat(10 * 2 * 2 * 3).reshape(20, 10, 2, 2, 3)
    videos = videos + 20 * np.arange(10, dtype=np.uint8)[:, None, None, None] // 2
    source = ArraySource(videos, frames_per_second=4.0)
    batch = take(Loader(source, SPEC, num_clips=2, batch_size=4, seed=0, num_workers=2), 1)[0]
    for row, record in enumerate(batch.index.tolist()):
        for clip in range(2):
            first = round(batch.start_seconds[row, clip].item() * 4)
            np.testing.assert_array_equal(batch.frames[row, clip], videos[record, first : first + 3])


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_reads_every_record_once_and_leaves_bad_ones_out(workers: int) -> None:
    told: list[tuple[str, str]] = []
    batches = list(
        in_order(
            Fake(bad=[0, 1, 2, 6]),
            SPEC,
            [0.25, 0.75],
            batch_size=3,
            num_workers=workers,
            on_skip=lambda record, reason: told.append((record, reason)),
        )
    )
    assert [batch.index.tolist() for batch in batches] == [[3, 4, 5], [7, 8], [9, 10, 11]]
    assert batches[0].frames.shape[:3] == (3, 2, 3)
    assert batches[0].start_seconds.tolist() == [[0.25, 0.75]] * 3
    assert told == [(f"r{i}", "broken") for i in (0, 1, 2, 6)]
    assert [bad for batch in batches for bad in batch.skipped] == told


def test_in_order_splits_the_records_among_processes() -> None:
    parts = [
        torch.cat([b.index for b in in_order(Fake(11), SPEC, [0.5], batch_size=2, num_workers=0, rank=rank, world=3)]).tolist()
        for rank in range(3)
    ]
    assert [len(part) for part in parts] == [3, 4, 4]
    assert sum(parts, []) == list(range(11))


def test_in_order_of_nothing_but_bad_files_is_one_error() -> None:
    with pytest.raises(DataError, match="None of the first 12 files"):
        list(in_order(Fake(bad=range(12)), SPEC, [0.5], batch_size=5, num_workers=0))


def test_reading_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    take(make(Fake(), num_workers=1), 2)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_parent(number: signal.Signals) -> None:
    """As Ctrl-C and job managers do: the parent finishes with its workers, then they end, and nobody prints a traceback."""
    script = """
        import signal
        from fullrank.data.workers import in_processes

        told = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *args: told.append(0))
        left = 20
        for key, value in in_processes(lambda key: key, iter(int, 1), 2):
            print("ready", flush=True)
            while not told:
                signal.pause()
            left -= 1
            if not left:
                break
        print("finished", flush=True)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    workers = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=False).stdout.split()
    assert len(workers) == 2
    time.sleep(0.3)  # the second worker starts
    os.killpg(child.pid, number)
    output, errors = child.communicate(timeout=60)
    assert output.endswith("finished\n")
    assert errors == ""
    assert not [pid for pid in workers if os.path.exists(f"/proc/{pid}")]


def test_more_workers_than_cores_are_the_users_choice_and_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(take(make(Fake(), num_workers=2), 2)) == 2
