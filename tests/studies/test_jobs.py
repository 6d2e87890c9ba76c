"""Runs in several processes: each once, in their order, none after the deadline or an error, on one thread."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fullrank.studies._jobs import in_parallel


def note(item: int, *, folder: Path, seconds: float = 0.0) -> tuple[int, str | None]:
    (folder / str(item)).write_text("begun")
    if item < 0:
        raise ValueError("a run that fails")
    time.sleep(seconds)
    return item, os.environ.get("OMP_NUM_THREADS")


def begun(folder: Path) -> set[int]:
    return {int(file.name) for file in folder.iterdir()}


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_is_run_once(jobs: int, tmp_path: Path) -> None:
    found = list(in_parallel(partial(note, folder=tmp_path), range(5), jobs))
    assert sorted(item for item, _ in found) == [0, 1, 2, 3, 4]
    assert list(in_parallel(partial(note, folder=tmp_path), [], jobs)) == []


def test_processes_compute_on_one_thread_and_the_caller_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert list(in_parallel(partial(note, folder=tmp_path), [0], 2)) == [(0, "1")]
    assert os.environ["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("jobs", [1, 2])
def test_none_begins_after_the_deadline(jobs: int, tmp_path: Path) -> None:
    assert list(in_parallel(partial(note, folder=tmp_path), range(5), jobs, 0.0)) == []
    slow = partial(note, folder=tmp_path, seconds=1.5)
    assert 1 <= len(list(in_parallel(slow, range(20), jobs, 1.0 / 60))) <= jobs


@pytest.mark.parametrize("jobs", [1, 2])
def test_none_begins_after_an_error(jobs: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a run that fails"):
        list(in_parallel(partial(note, folder=tmp_path, seconds=0.3), [-1, *range(20)], jobs))
    assert len(begun(tmp_path)) <= 2 * jobs, "beside it, and what a busy machine lets through"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and the tests may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_none_begins_after_an_interrupt(tmp_path: Path) -> None:
    ended = in_parallel(partial(note, folder=tmp_path, seconds=0.3), range(30), 2)
    next(ended)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        list(ended)
    assert len(begun(tmp_path)) <= 6, "those under way, and what a busy machine lets through"
