"""What processes settle together, so that none waits for one that has failed. One process alone exchanges nothing."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from fullrank import distributed
from fullrank.errors import FullrankError

T = TypeVar("T")


def agree(fabric: Fabric, *words: Any) -> list[Any]:
    """For each place what the first process says that does not say None there; all processes must call it.

    One exchange of flags a call; words travel only where there are any.
    """
    if fabric.world_size == 1:
        return list(words)
    flags = torch.tensor([[word is not None for word in words]], dtype=torch.int32, device=fabric.device)
    said = distributed.gather(flags).cpu()
    return [
        fabric.broadcast(word, src=int(column.argmax())) if bool(column.any()) else None
        for word, column in zip(words, said.unbind(dim=1), strict=True)
    ]


def together(fabric: Fabric, action: Callable[[], T]) -> T:
    """What ``action`` returns on this process; where it fails on any, all raise the error of the first that failed.

    Failures are the ones that a run can meet by itself: ``FullrankError`` and ``OSError``.
    """
    if fabric.world_size == 1:
        return action()
    result: list[T] = []
    failed: Exception | None = None
    try:
        result.append(action())
    except (FullrankError, OSError) as error:
        failed = error
    (first,) = agree(fabric, failed)
    if first is not None:
        raise first
    return result[0]


def on_first(fabric: Fabric, action: Callable[[], Any]) -> None:
    """``action`` on process 0 alone; where it fails, all raise its error."""
    together(fabric, lambda: action() if fabric.is_global_zero else None)
