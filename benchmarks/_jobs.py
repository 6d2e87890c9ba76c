"""Independent runs in several processes of one thread each, until a deadline."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(run: Callable[[T], R], items: Sequence[T], jobs: int, max_minutes: float | None = None) -> Iterator[R]:
    """``run(item)`` of every item, as they end; none is begun after ``max_minutes``. ``jobs`` 1: in this process."""
    deadline = None if max_minutes is None else time.time() + 60 * max_minutes
    if jobs == 1:
        for item in items:
            if deadline is None or time.time() < deadline:
                yield run(item)
        return
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ |= dict.fromkeys(threads, "1")  # read where a process imports torch
    try:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            waiting = [pool.submit(_before, deadline, run, item) for item in items]
            for future in as_completed(waiting):
                begun, result = future.result()
                if begun:
                    yield result  # type: ignore[misc]
    finally:
        for name, value in threads.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _before(deadline: float | None, run: Callable[[T], R], item: T) -> tuple[bool, R | None]:
    if deadline is not None and time.time() >= deadline:
        return False, None
    return True, run(item)
