"""Memory between steps: the queue of past embeddings (MoCo's negatives, SwAV's scores of earlier batches), DINO's centre.

And PIRL's bank of one vector a record.
"""

import torch
from jaxtyping import Float, Int64
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


class Centre(nn.Module):
    """Moving average of the teacher's logits, which is subtracted from them (Caron et al., ICCV 2021, equation 4).

    c <- m c + (1 - m) (1/B) sum_i g(x_i), over the batch of all processes and all views that the teacher sees. A buffer;
    it starts at 0. Update only in ``after_step``.

    >>> centre = Centre(2)
    >>> centre.update(torch.tensor([[1.0, 3.0], [3.0, 1.0]]), momentum=0.5)
    >>> centre.value.tolist()
    [1.0, 1.0]
    """

    value: Float[Tensor, " dim"]

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise SettingError(f"dim of a centre must be at least 1. Got {dim}.")
        self.register_buffer("value", torch.zeros(dim))

    @torch.no_grad()
    def update(self, logits: Float[Tensor, "n dim"], *, momentum: float) -> None:
        """Move towards the mean of ``logits``; ``momentum`` = the fraction kept, 0..1.

        With several processes pass the gathered logits, or one mean of each process (they hold equally many records).
        """
        if not 0.0 <= momentum <= 1.0:
            raise SettingError(f"momentum of a centre must be in [0, 1]. Got {momentum}; 0.9 keeps 90 %.")
        self.value.lerp_(logits.to(self.value).mean(dim=0), 1.0 - momentum)

    def extra_repr(self) -> str:
        """Size."""
        return f"{self.value.shape[0]}"


class MemoryBank(nn.Module):
    """One unit vector for each record of the source: a moving average of its embeddings (Wu et al., CVPR 2018; PIRL).

    m_i <- normalize(momentum * m_i + (1 - momentum) * z_i). A buffer that starts with random unit vectors; update only in
    ``after_step``. It takes num_records * dim floats, in memory and in every checkpoint.

    >>> bank = MemoryBank(3, 2)
    >>> bank.update(torch.tensor([1]), torch.tensor([[0.0, 2.0]]), momentum=0.0)
    >>> bank.vectors[1].tolist()
    [0.0, 1.0]
    """

    vectors: Float[Tensor, "records dim"]

    def __init__(self, num_records: int, dim: int):
        super().__init__()
        if num_records < 1 or dim < 1:
            raise SettingError(f"A memory bank must have at least one record and dimension. Got {num_records} and {dim}.")
        self.register_buffer("vectors", F.normalize(torch.randn(num_records, dim), dim=1))

    @torch.no_grad()
    def update(self, index: Int64[Tensor, " n"], rows: Float[Tensor, "n dim"], *, momentum: float) -> None:
        """Move the vectors of the records ``index`` towards ``rows``; ``momentum`` = the fraction kept, 0..1.

        With several processes pass the gathered index and rows. Each record must stand in ``index`` once.
        """
        new = torch.lerp(F.normalize(rows.to(self.vectors), dim=1), self.vectors[index], momentum)
        self.vectors.index_copy_(0, index, F.normalize(new, dim=1))

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.vectors.shape[0]}, {self.vectors.shape[1]}"
