"""Reading a stream of keys, in order: in worker processes, or one ahead in a thread, or at once."""

import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from fullrank.errors import DataError, FullrankError

K = TypeVar("K")
V = TypeVar("V")


def in_processes(
    read: Callable[[K], V], keys: Iterable[K], num_workers: int, *, pin_memory: bool = False, ahead: int = 2
) -> Iterator[tuple[K, V]]:
    """(key, read(key)) in the order of ``keys``, which may be endless; 0 workers: read when asked, in this process.

    Each worker has one thread and reads ``ahead`` keys before they are asked for. Tensors in what ``read`` returns
    travel through shared memory. The workers live as long as the iterator.
    """
    if num_workers == 0:
        for key in keys:
            yield key, read(key)
        return
    with warnings.catch_warnings():
        # fewer cores than workers is the user's choice: a container may count them wrongly
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        stream = iter(
            DataLoader(
                _Reads(read),
                batch_size=None,
                sampler=keys,
                num_workers=num_workers,  # torch gives each one thread
                prefetch_factor=ahead,
                pin_memory=pin_memory,
                collate_fn=_as_is,
                worker_init_fn=_leave_signals_to_the_parent,
                generator=torch.Generator(),  # so that seeding the workers draws nothing from the run's own generator
            )
        )
    try:
        while True:
            try:
                key, value = next(stream)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker (pid" not in str(error):
                    raise
                raise DataError(
                    "Decoding processes must stay alive, but one was killed, often for lack of memory (or of /dev/shm). "
                    f"Got: {error} Lower --data.num-workers, --data.batch-size or --data.canvas-pixels."
                ) from None
            if isinstance(value, FullrankError):
                raise value
            yield key, value
    finally:
        del stream  # ends the workers now, even while an error keeps this frame alive


def one_ahead(read: Callable[[K], V], keys: Iterable[K]) -> Iterator[tuple[K, V]]:
    """(key, read(key)) in order; while one is used, a thread reads the next. For reading that mostly copies memory."""
    with ThreadPoolExecutor(1) as thread:
        waiting: tuple[K, Future[V]] | None = None
        for key in keys:
            following = (key, thread.submit(read, key))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()


class _Reads(Dataset[Any]):
    """What workers do. An error for the user travels as a value: torch would wrap it in a worker's traceback."""

    def __init__(self, read: Callable[[Any], Any]):
        self.read = read

    def __getitem__(self, key: Any) -> Any:
        try:
            return key, self.read(key)
        except FullrankError as error:
            return key, error


def _as_is(value: Any) -> Any:
    return value


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and a job manager's SIGTERM reach the whole process group, while the parent still needs its workers.

    They end with the stream, or within seconds of the parent's end, which torch's loop watches for.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
