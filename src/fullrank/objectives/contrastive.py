"""Objectives that tell a record's views from those of other records."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
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
    with more it is the form of PySlowFast's multi-view masks and of pytorch-metric-learning: the record's other positives
    are no negatives of a pair. (Later versions of solo-learn put all positives of a row into one logarithm.)

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


def paired_nce(anchors: Float[Tensor, "n d"], others: Float[Tensor, "n d"], *, temperature: float = 0.1) -> InfoNCETerms:
    """InfoNCE across two sets of embeddings: row i of one finds row i of the other among all its rows.

    L = -(1/n) sum_i log( exp(s(a_i, b_i) / t) / sum_k exp(s(a_i, b_k) / t) ), s the cosine similarity: the loss of NNCLR
    (Dwibedi et al., ICCV 2021, algorithm 1) and of DirectCLR's code; times 2 t that of MoCo v3. Unlike in ``nt_xent`` the rows
    of a's own side are no negatives. Accuracy is the share of rows whose partner is nearer than every other row, in 0..1.

    Range (0, inf); at complete collapse of ``others`` log n and accuracy 0, whatever the anchors are.

    >>> a = torch.eye(2)
    >>> round(paired_nce(a, a, temperature=1.0).loss.item(), 4)  # log((e + 1) / e)
    0.3133
    >>> round(paired_nce(a, torch.ones(2, 2)).loss.item(), 4)  # log 2
    0.6931
    """
    if len(anchors) < 2:
        raise ShapeError(f"paired_nce must see at least 2 records. Got {len(anchors)}; raise the batch size.")
    with torch.autocast(anchors.device.type, enabled=False):
        logits = F.normalize(anchors, dim=-1) @ F.normalize(others, dim=-1).T / temperature
        own = logits.diagonal()
        loss = (logits.logsumexp(dim=1) - own).mean()
        same = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
        accuracy = (own > logits.masked_fill(same, -torch.inf).max(dim=1).values).to(own.dtype).mean()
    return InfoNCETerms(loss, accuracy.detach())


@torch.no_grad()
def nearest(queries: Float[Tensor, "n d"], support: Float[Tensor, "k d"]) -> Float[Tensor, "n d"]:
    """The row of ``support`` that is nearest to each query, on the unit sphere; without gradient.

    NN(z, Q) = argmin over q in Q of ||z - q||_2 (Dwibedi et al., ICCV 2021, section 3.2); queries and support are
    L2-normalised here, so that it is the row of the largest cosine (lightly gives the row back with its length). At complete
    collapse of the support its one vector.

    >>> nearest(torch.tensor([[5.0, 1.0]]), torch.eye(2)).tolist()
    [[1.0, 0.0]]
    """
    with torch.autocast(queries.device.type, enabled=False):
        unit = F.normalize(support, dim=-1)
        return unit[(F.normalize(queries, dim=-1) @ unit.T).argmax(dim=1)]


def decoupled(z: Float[Tensor, "n views d"], *, temperature: float = 0.1, sigma: float | None = None) -> Float[Tensor, ""]:
    """Decoupled contrastive loss: NT-Xent whose denominator leaves the positive out (Yeh et al., ECCV 2022, eq. 6).

    l(i, j) = -w s_ij / t + log sum_k exp(s_ik / t), with s the cosine similarity and k over the views of all *other*
    records; the mean over all ordered pairs i != j of views of one record (the paper sums; public code takes the mean).
    DCL: w = 1. DCLW, with ``sigma``: w = 2 - exp(s_ij / sigma) / mean over records of exp(s_ij / sigma), without
    gradient, as lightly has it (the paper does not say; others let it through): pairs that are far from each other count more.

    Range (-inf, inf): it can be negative. At complete collapse log(views (n - 1)), weighted or not.

    >>> z = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]])
    >>> round(decoupled(z, temperature=1.0).item(), 4)  # -1 + log 2
    -0.3069
    >>> round(decoupled(torch.ones(4, 2, 3), sigma=0.5).item(), 4)  # log 6
    1.7918
    """
    n, views, _ = z.shape
    if n < 2 or views < 2:
        raise ShapeError(f"decoupled must see at least 2 records with at least 2 views each. Got {n} and {views}.")
    with torch.autocast(z.device.type, enabled=False):
        unit = F.normalize(z, dim=-1)
        own = torch.einsum("nid,njd->nij", unit, unit)
        flat = unit.flatten(0, 1)
        record = torch.arange(n, device=z.device).repeat_interleave(views)
        same = record[:, None] == record[None, :]
        negatives = (flat @ flat.T / temperature).masked_fill(same, -torch.inf).logsumexp(dim=1).view(n, views, 1)
        # softmax over records, times n: the exponential over its mean
        weight = 1.0 if sigma is None else 2 - n * (own.detach() / sigma).softmax(dim=0)
        pairs = negatives - weight * own / temperature
        return pairs[:, ~torch.eye(views, dtype=torch.bool, device=z.device)].mean()


def dense_nce(predicted: Float[Tensor, "n steps places d"], found: Float[Tensor, "n steps places d"]) -> InfoNCETerms:
    """Dense predictive coding: each predicted vector finds the feature of its own record, time and place among all.

    L = -mean over (i, k) of log( exp(p_ik . z_ik) / sum over (j, m) of exp(p_ik . z_jm) ), dot products without a
    temperature (Han, Xie, Zisserman, ICCV Workshops 2019, arXiv 1909.04656, equation 4): negatives are other places and
    other times of the same record ("spatial", "temporal") and other records ("easy"). Accuracy is the share of vectors
    whose own feature has the largest product, in 0..1.

    Range (0, inf); at complete collapse, when all features are one vector, log(n steps places) and accuracy 0.

    >>> p = torch.eye(2).view(2, 1, 1, 2)
    >>> round(dense_nce(p, p).loss.item(), 4)  # log((e + 1) / e)
    0.3133
    """
    if predicted.shape != found.shape:
        raise ShapeError(f"predicted features must be {list(found.shape)}. Got {list(predicted.shape)}.")
    with torch.autocast(predicted.device.type, enabled=False):
        logits = predicted.flatten(0, 2) @ found.flatten(0, 2).T
        own = logits.diagonal()
        same = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        accuracy = (own > logits.masked_fill(same, -torch.inf).max(dim=1).values).to(own.dtype).mean()
        return InfoNCETerms((logits.logsumexp(dim=1) - own).mean(), accuracy.detach())


def memory_nce(
    embedding: Float[Tensor, "n d"],
    own: Float[Tensor, "n d"],
    others: Float[Tensor, "k d"],
    usable: Bool[Tensor, "n k"],
    *,
    temperature: float = 0.07,
) -> Float[Tensor, ""]:
    """Noise-contrastive estimation against a memory bank (Misra and van der Maaten, CVPR 2020, equations 4 and 5).

    h(u, v) = exp(s(u, v) / t) / (exp(s(m_i, v) / t) + sum_k exp(s(m_k, v) / t)) for the bank's rows m, s the cosine;
    L = -log h(m_i, v) - sum over negatives k of log(1 - h(m_k, v)), the mean over records. ``usable`` is False where a
    negative is the record itself. (The authors' later code, VISSL, estimates the denominator once, from the first batch, and
    weighs against noise of known density; that is another loss.)

    Range (0, inf); at complete collapse with k usable negatives log(k + 1) - k log(k / (k + 1)), which is near log(k) + 1.

    >>> one = torch.tensor([[1.0, 0.0]])
    >>> round(memory_nce(one, one, one, torch.tensor([[True]])).item(), 4)  # 2 log 2
    1.3863
    """
    with torch.autocast(embedding.device.type, enabled=False):
        unit = F.normalize(embedding, dim=-1)
        positive = (unit * F.normalize(own, dim=-1)).sum(-1, keepdim=True) / temperature
        negative = (unit @ F.normalize(others, dim=-1).T / temperature).masked_fill(~usable, -torch.inf)
        logits = torch.cat([positive, negative], dim=1)
        # log(1 - softmax_k) without cancellation: the log-sum of all the others, less the log-sum of all
        total = logits.logsumexp(dim=1, keepdim=True)
        share = (negative - total).exp().clamp(max=1 - torch.finfo(logits.dtype).eps)
        return ((total - positive)[:, 0] - torch.log1p(-share).sum(dim=1)).mean()


class TripletTerms(NamedTuple):
    """Loss, and the share of triplets that still have one."""

    loss: Tensor
    active: Tensor


def triplet(
    z: Float[Tensor, "n views d"],
    *,
    margin: float = 0.2,
    mining: Literal["semi_hard", "hardest", "all"] = "semi_hard",
    normalize: bool = True,
) -> TripletTerms:
    """Triplet loss of anchors and positives (two views of a record) with negatives out of the other records.

    L = max(||f(A) - f(P)||^2 - ||f(A) - f(N)||^2 + margin, 0), the mean over triplets (Schroff, Kalenichenko, Philbin,
    "FaceNet", CVPR 2015, arXiv 1503.03832, equations 2 to 4). Every ordered pair of a record's views is an (A, P).
    ``mining``: "semi_hard": the nearest negative that is farther than the positive, where there is none the farthest one
    (pytorch-metric-learning then makes no triplet); "hardest": the nearest; "all": each negative makes a triplet.
    ``normalize``: embeddings on the unit sphere. Distances that choose have no gradient of their own.

    Range [0, inf) ([0, 4 + margin] where normalised); at complete collapse the margin.

    >>> z = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> triplet(z, margin=0.5).loss.item(), round(triplet(torch.ones(2, 2, 2), margin=0.5).loss.item(), 4)
    (0.0, 0.5)
    """
    n, views, _ = z.shape
    if n < 2 or views < 2:
        raise ShapeError(f"triplets must be made of at least 2 records with 2 views. Got {n} and {views}.")
    with torch.autocast(z.device.type, enabled=False):
        x = (F.normalize(z, dim=-1) if normalize else z).flatten(0, 1)
        square = x.square().sum(1)
        distance = (square[:, None] + square[None, :] - 2 * x @ x.T).clamp_min(0)
        record = torch.arange(n, device=z.device).repeat_interleave(views)
        same = record[:, None] == record[None, :]
        anchor, positive = (same & ~torch.eye(n * views, dtype=torch.bool, device=z.device)).nonzero(as_tuple=True)
        near, far = distance[anchor, positive], distance[anchor]  # [pairs], [pairs, n * views]
        other = ~same[anchor]
        if mining == "all":
            terms = (near[:, None] - far + margin).clamp_min(0)[other]
            return TripletTerms(terms.mean(), (terms.detach() > 0).to(terms.dtype).mean())
        wanted = other if mining == "hardest" else other & (far > near[:, None])
        nearest_one = far.detach().masked_fill(~wanted, torch.inf).min(dim=1)
        farthest = far.detach().masked_fill(~other, -torch.inf).max(dim=1)
        chosen = torch.where(nearest_one.values.isinf(), farthest.indices, nearest_one.indices)
        terms = (near - far.gather(1, chosen[:, None])[:, 0] + margin).clamp_min(0)
        return TripletTerms(terms.mean(), (terms.detach() > 0).to(terms.dtype).mean())
