"""Independent runs in several processes of one thread each, until a deadline."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice, takewhile
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(run: Callable[[T], R], items: Sequence[T], jobs: int, max_minutes: float | None = None) -> Iterator[R]:
    """``run(item)`` of every item, as they end; none is begun after ``max_minutes``. ``jobs`` 1: in this process.

    They begin in the order of ``items``, each when a process is free: after an error, or Ctrl-C, no further one begins. Ctrl-C
    reaches what listens for it (a training ends its step); the rest of a run goes on to its end.
    """
    deadline = float("inf") if max_minutes is None else time.time() + 60 * max_minutes
    due = takewhile(lambda _: time.time() < deadline, items)
    if jobs == 1:
        yield from map(run, due)
        return
    running: set[Future[R]] = set()
    with _one_thread_each(), _pool(jobs) as pool:
        while True:
            running |= {pool.submit(run, item) for item in islice(due, jobs - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _pool(jobs: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """The variables that a process reads when it imports torch."""
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ |= dict.fromkeys(before, "1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
