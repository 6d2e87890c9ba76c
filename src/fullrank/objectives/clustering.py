"""Objectives that assign samples to prototypes, evenly, and let one view predict the assignment of another."""

import torch
from jaxtyping import Float
from torch import Tensor

from fullrank.errors import ShapeError


@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "n k"], *, epsilon: float = 0.05, iterations: int = 3) -> Float[Tensor, "n k"]:
    """Soft assignment of n samples to k prototypes that uses all prototypes equally (Sinkhorn-Knopp).

    Q* = Diag(u) exp(C^T Z / epsilon) Diag(v) with rows of sum 1/k and columns of sum 1/n (Caron et al., NeurIPS 2020, eq. 3
    to 5), times n, so that each returned row sums to 1. ``iterations`` times prototypes first, then samples, as the
    authors do; computed with logarithms, so that a small epsilon does not underflow. No gradient. Values in 0..1; at
    complete collapse all equal 1/k.

    >>> [round(q, 4) for q in sinkhorn(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), epsilon=1.0)[0].tolist()]  # e / (e + 1)
    [0.7311, 0.2689]
    >>> sinkhorn(torch.ones(3, 2)).tolist()
    [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    """
    with torch.autocast(scores.device.type, enabled=False):
        log_q = scores / epsilon
        for _ in range(iterations):
            log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
            log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
        return log_q.exp()


def swapped_prediction(
    codes: Float[Tensor, "n coded k"], scores: Float[Tensor, "n views k"], *, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """Cross-entropy of each code with the prototype probabilities of all other views.

    l(z_t, q_s) = -sum_k q_s^(k) log p_t^(k), p_t = softmax(z_t^T C / temperature) (Caron et al., eq. 2), the mean
    over samples, over the coded views s, and over the views t != s. Codes belong to the first ``coded`` of the views.
    Range [0, inf); at complete collapse the codes are uniform and the value is at least log k, and log k where all
    prototypes score equal.

    >>> codes = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    >>> round(swapped_prediction(codes, codes, temperature=1.0).item(), 4)  # log((e + 1) / e)
    0.3133
    """
    coded, views = codes.shape[1], scores.shape[1]
    if views < 2 or coded > views:
        raise ShapeError(
            f"swapped_prediction must have at least 2 views, and no more codes than views. Got {views} and {coded}."
        )
    with torch.autocast(scores.device.type, enabled=False):
        log_p = (scores / temperature).log_softmax(dim=-1)
        cross = -torch.einsum("nck,nvk->cv", codes, log_p) / codes.shape[0]
        swapped = ~torch.eye(coded, views, dtype=torch.bool, device=scores.device)
        return cross[swapped].mean()


@torch.no_grad()
def assignment_entropies(
    scores: Float[Tensor, "n k"], *, temperature: float = 0.1
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Entropy of the mean assignment and mean entropy of the single ones, in nats; both in [0, log k].

    The first low: few prototypes are used (cluster collapse). The second as high as the first: each sample is
    assigned to all alike, so assignments say nothing.

    >>> [round(h.item(), 4) for h in assignment_entropies(torch.tensor([[9.0, 0.0], [0.0, 9.0]]))]  # log 2, 0
    [0.6931, 0.0]
    """
    p = (scores / temperature).softmax(dim=-1)
    mean = p.mean(dim=0)
    return torch.special.entr(mean).sum(), torch.special.entr(p).sum(dim=-1).mean()
