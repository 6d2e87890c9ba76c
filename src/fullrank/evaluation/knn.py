"""Weighted k-nearest-neighbour accuracy of frozen features (Wu, Xiong, Yu, Lin, CVPR 2018, arXiv 1805.01978, section 3.4).

Data flow: bank, queries -> unit length -> cosine similarities, a block of queries at a time -> k nearest -> vote -> classes.
Nothing is trained, so nothing can be tuned on the test records: the same k and temperature for every encoder.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor
from torch.nn import functional as F

from fullrank.errors import SettingError, ShapeError
from fullrank.evaluation.problem import TOP, Accuracy, grouped_rows, in_memory, problem, score
from fullrank.types import FeatureTable

_BLOCK_VALUES = 2**26
"""similarities held at once where ``block_rows`` is not given (256 MiB)"""


@dataclass(frozen=True, kw_only=True)
class KnnResult(Accuracy):
    """Accuracy of the vote, and how it was counted."""

    k: int
    """neighbours that voted"""
    k_asked: int
    """more than ``k`` where the bank has fewer rows"""
    temperature: float


def knn(
    train: FeatureTable,
    test: FeatureTable,
    *,
    label: str = "label",
    space: str = "representation",
    k: int = 200,
    temperature: float = 0.1,
    block_rows: int | None = None,
) -> KnnResult:
    """Vote of the nearest training records for every test record, one row a record (the mean over its clips).

    Classes are matched by name. ``k`` above the number of training records is clipped (``KnnResult.k`` tells).
    The paper's setting is k = 200 and temperature 0.07; 0.1 is what today's libraries report.
    """
    p = problem(train, test, label=label, space=space)
    bank, labels, queries = (torch.from_numpy(in_memory(a)) for a in (p.train_features, p.train_labels, p.test_features))
    predictions = knn_predict(bank, labels, queries, k, temperature, len(p.class_names), block_rows=block_rows)
    return KnnResult(
        **score(predictions.numpy(), p.test_labels, len(p.class_names)),
        k=min(k, len(labels)),
        k_asked=k,
        temperature=temperature,
        n_train=len(labels),
        unlabelled=p.unlabelled,
        unknown_class=p.unknown_class,
    )


def knn_grouped(
    features: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"],
    *,
    k: int = 200,
    temperature: float = 0.1,
    num_classes: int | None = None,
    block_rows: int | None = None,
) -> KnnResult:
    """Leave one group out: every row is asked of the rows of all other groups (leave-one-actor-out, for example).

    ``groups = np.arange(n)`` is leave-one-out. Rows whose label is -1 neither vote nor are asked.
    """
    x, y, g, classes = grouped_rows(features, labels, groups, num_classes)
    bank, targets, owners = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(g)
    predictions = knn_predict(
        bank, targets, bank, k, temperature, classes, bank_groups=owners, query_groups=owners, block_rows=block_rows
    )
    others = len(y) - np.bincount(np.unique(g, return_inverse=True)[1])
    return KnnResult(
        **score(predictions.numpy(), y, classes),
        k=min(k, int(others.max())),
        k_asked=k,
        temperature=temperature,
        n_train=round(float(others.mean())),
        unlabelled=len(labels) - len(y),
    )


@torch.no_grad()
def knn_predict(
    bank: Float[Tensor, "rows d"],
    bank_labels: Int64[Tensor, " rows"],
    queries: Float[Tensor, "queries d"],
    k: int,
    temperature: float,
    num_classes: int,
    *,
    bank_groups: Int64[Tensor, " rows"] | None = None,
    query_groups: Int64[Tensor, " queries"] | None = None,
    block_rows: int | None = None,
) -> Int64[Tensor, "queries ranks"]:
    """The first five classes (fewer where there are fewer) of every query, best first.

    With s_i the cosine of the query and row i, and N the k rows of largest s_i (Wu et al., 2018, equation 10)::

        w_c = sum_{i in N, label_i = c} exp(s_i / temperature)

    Of rows that are equally near at the k-th place, those that come first in the bank vote; of classes with equal weights,
    the smaller number comes first. Rows of the query's own group never vote. Similarities are float32, whatever the inputs
    are; the weights are divided by that of the nearest row, so that no temperature overflows.

    >>> bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    >>> knn_predict(bank, torch.tensor([0, 1, 1]), torch.tensor([[2.0, 0.1]]), 3, 0.1, 2).tolist()
    [[0, 1]]
    """
    _check(bank, bank_labels, queries, k, temperature, num_classes)
    bank, queries = F.normalize(bank.float(), dim=1), F.normalize(queries.float(), dim=1)
    k = min(k, len(bank))
    rows = block_rows or max(1, min(1024, _BLOCK_VALUES // len(bank)))
    buffer = bank.new_empty((min(rows, len(queries)), len(bank)))
    found = []
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        similar = torch.mm(block, bank.T, out=buffer[: len(block)])
        if bank_groups is not None and query_groups is not None:
            similar.masked_fill_(query_groups[start : start + rows, None] == bank_groups, -torch.inf)
        nearest, index = _nearest(similar, k)
        weight = ((nearest - nearest.amax(dim=1, keepdim=True)) / temperature).exp_()
        votes = similar.new_zeros((len(block), num_classes)).scatter_add_(1, bank_labels[index], weight)
        found.append(votes.sort(dim=1, descending=True, stable=True).indices[:, :TOP].clone())
    return torch.cat(found)


def _nearest(
    similar: Float32[Tensor, "queries rows"], k: int
) -> tuple[Float32[Tensor, "queries k"], Int64[Tensor, "queries k"]]:
    """The k largest of each line and where they are; among equals at the k-th place, the first ones."""
    if k == similar.shape[1]:
        return similar, torch.arange(k, device=similar.device).expand_as(similar)
    nearest, index = similar.topk(k + 1, dim=1, sorted=True)
    tied = (nearest[:, k - 1] == nearest[:, k]).nonzero()[:, 0]
    nearest, index = nearest[:, :k].contiguous(), index[:, :k].contiguous()
    for part in tied.split(64):
        lines, edge = similar[part], nearest[part, -1:]
        above, equal = lines > edge, lines == edge
        chosen = above | (equal & (equal.cumsum(dim=1) <= k - above.sum(dim=1, keepdim=True)))
        index[part] = chosen.nonzero()[:, 1].view(len(part), k)
        nearest[part] = lines.gather(1, index[part])
    return nearest, index


def _check(bank: Tensor, bank_labels: Tensor, queries: Tensor, k: int, temperature: float, num_classes: int) -> None:
    if k < 1:
        raise SettingError(f"k of kNN must be at least 1. Got {k}.")
    if not temperature > 0.0:
        raise SettingError(f"temperature of kNN must be above 0. Got {temperature}. The usual one is 0.1.")
    if bank.shape[1] != queries.shape[1] or len(bank) != len(bank_labels) or not len(bank):
        got = f"{list(bank.shape)}, {list(bank_labels.shape)} and {list(queries.shape)}"
        raise ShapeError(f"bank, bank_labels and queries must be [rows, d], [rows] and [queries, d]. Got {got}.")
    low, high = int(bank_labels.min()), int(bank_labels.max())
    if low < 0 or high >= num_classes:
        raise ShapeError(f"bank_labels must be in 0..{num_classes - 1}. Got {low}..{high}.")
