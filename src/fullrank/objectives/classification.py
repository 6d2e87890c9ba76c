"""Objectives with labels: for the supervised baseline only."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


class ClassificationTerms(NamedTuple):
    """Cross-entropy and accuracy over the labelled samples."""

    loss: Tensor
    accuracy: Tensor


def cross_entropy(logits: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]) -> ClassificationTerms:
    """Cross-entropy of the softmax with the label, the mean over samples whose label is not -1.

    L = -log softmax(x)_y. Range [0, inf); where all logits are equal log(classes). Without a single labelled sample the
    loss is 0 with zero gradient (never NaN), and so is the accuracy.

    >>> round(cross_entropy(torch.zeros(3, 4), torch.tensor([0, 3, -1])).loss.item(), 4)  # log 4
    1.3863
    """
    known = labels >= 0
    count = known.sum().clamp_min(1)
    with torch.autocast(logits.device.type, enabled=False):
        loss = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / count
        correct = (logits.argmax(dim=1) == labels) & known
    return ClassificationTerms(loss, (correct.sum() / count).detach())
