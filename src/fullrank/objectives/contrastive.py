"""Objectives that tell a record's views from those of other records."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fullrank.errors import ShapeError


class InfoNCETerms(NamedTuple):
    """InfoNCE and how often the positive is nearer than every negative."""

    loss: Tensor
    accuracy: Tensor


def nt_xent(z: Float[Tensor, "n views d"], *, temperature: float = 0.1) -> Float[Tensor, ""]:
    """Normalised temperature-scaled cross-entropy over all ordered pairs of views of a record.

    l(i, j) = -log( exp(s_ij / t) / (exp(s_ij / t) + sum_k exp(s_ik / t)) ), with s the cosine similarity and k over
    the views of all *other* records; the loss is the mean over all ordered pairs i != j of views of one record. With
    two views this is eq. 1 of Chen et al., ICML 2020 (their sum over k != i is the positive and the other records),
    with more it is the form of PySlowFast's multi-view masks: the record's other positives are no negatives of a
    pair.

    Range (0, inf); at complete collapse log(1 + views (n - 1)), so log(2 n - 1) with two views.

    >>> z = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]])
    >>> round(nt_xent(z, temperature=1.0).item(), 4)  # log((e + 2) / e)
    0.5514
    >>> round(nt_xent(torch.ones(4, 2, 3)).item(), 4)  # log 7
    1.9459
    """
    n, views, _ = z.shape
    if n < 2 or views < 2:
        raise ShapeError(f"nt_xent must see at least 2 records with at least 2 views each. Got {n} and {views}.")
    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(z, dim=-1)
        own = torch.einsum("nid,njd->nij", unit, unit) / temperature
        flat = unit.flatten(0, 1)
        record = torch.arange(n, device=z.device).repeat_interleave(views)
        same = record[:, None] == record[None, :]
        negatives = (flat @ flat.T / temperature).masked_fill(same, -torch.inf).logsumexp(dim=1).view(n, views, 1)
        pairs = torch.logaddexp(own, negatives) - own
        return pairs[:, ~torch.eye(views, dtype=torch.bool, device=z.device)].mean()


def info_nce(
    query: Float[Tensor, "n d"],
    keys: Float[Tensor, "n positives d"],
    negatives: Float[Tensor, "k d"],
    *,
    temperature: float = 0.2,
) -> InfoNCETerms:
    """InfoNCE of queries against their own keys and a queue (He et al., CVPR 2020, eq. 1).

    L = -log( exp(q.k+ / t) / (exp(q.k+ / t) + sum_k exp(q.k- / t)) ), the mean over queries and over the positives of
    each: every pair stands alone against the queue, as PySlowFast has it. Queries and keys are L2-normalised here;
    the queue holds normalised keys of earlier steps. Accuracy is the share of pairs whose positive is nearer than all
    negatives, in 0..1.

    Range (0, inf); at complete collapse, when queue and batch are one point, log(1 + k) and accuracy 0.

    >>> q = torch.tensor([[1.0, 0.0]])
    >>> round(info_nce(q, q[:, None], torch.tensor([[0.0, 1.0]]), temperature=1.0).loss.item(), 4)  # log((e + 1) / e)
    0.3133
    """
    with torch.autocast(query.device.type, enabled=False):
        q, k = F.normalize(query, dim=-1), F.normalize(keys, dim=-1)
        own = torch.einsum("nd,npd->np", q, k) / temperature
        others = q @ negatives.T / temperature
        pairs = torch.logaddexp(own, others.logsumexp(dim=1, keepdim=True)) - own
        accuracy = (own > others.max(dim=1, keepdim=True).values).to(own.dtype).mean()
    return InfoNCETerms(pairs.mean(), accuracy.detach())
