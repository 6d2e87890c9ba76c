"""Memory between steps: the queue of past embeddings (MoCo's negatives, SwAV's scores of earlier batches)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.errors import SettingError, ShapeError


class Queue(nn.Module):
    """The newest ``length`` rows of width ``dim``, first in first out (He et al., CVPR 2020, arXiv 1911.05722, section 3.2).

    It starts with random unit vectors from torch's own generator, as MoCo's; ``valid`` leaves those out. Everything is a
    buffer, so that a checkpoint holds it. Push only in ``after_step``: before, the graph still needs the old contents.

    >>> queue = Queue(3, 1)
    >>> queue.push(torch.tensor([[1.0], [2.0]]))
    >>> queue.valid().flatten().tolist()
    [1.0, 2.0]
    >>> queue.push(torch.tensor([[3.0], [4.0]]))
    >>> queue.contents.flatten().tolist(), int(queue.pointer)
    ([4.0, 2.0, 3.0], 1)
    """

    contents: Float[Tensor, "length dim"]
    pointer: Tensor
    """int64 scalar: the row that is written next"""
    filled: Tensor
    """int64 scalar: rows pushed so far, at most ``length``"""

    def __init__(self, length: int, dim: int):
        super().__init__()
        if length < 1 or dim < 1:
            raise SettingError(f"length and dim of a queue must be at least 1. Got {length} and {dim}.")
        self.register_buffer("contents", F.normalize(torch.randn(length, dim), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Float[Tensor, "n dim"]) -> None:
        """Write ``rows`` in their order over the oldest ones; of more rows than ``length`` the last stay.

        With several processes pass the gathered rows: then every process holds the same queue.
        """
        length, dim = self.contents.shape
        if rows.ndim != 2 or rows.shape[1] != dim:
            raise ShapeError(f"rows pushed into the queue must be [n, {dim}]. Got {list(rows.shape)}; flatten batch and views.")
        count = rows.shape[0]
        newest = rows.detach()[max(0, count - length) :].to(self.contents)
        places = torch.arange(count - len(newest), count, device=self.pointer.device)
        self.contents.index_copy_(0, (self.pointer + places) % length, newest)
        self.pointer.add_(count).remainder_(length)
        self.filled.add_(count).clamp_(max=length)

    def valid(self) -> Float[Tensor, "filled dim"]:
        """The rows that were pushed, not in order of age; empty at the start. Copy it to keep it beyond the next push."""
        return self.contents[: int(self.filled)]

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.contents.shape[0]}, {self.contents.shape[1]}"
