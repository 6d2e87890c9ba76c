"""Objectives in which a student predicts what a teacher gives."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def regression(prediction: Float[Tensor, "*shape d"], target: Float[Tensor, "*shape d"]) -> Float[Tensor, ""]:
    """Mean squared distance of the L2-normalised prediction and target.

    L = || p/||p|| - t/||t|| ||^2 = 2 - 2 cos(p, t) (Grill et al., NeurIPS 2020, eq. 2), the mean over all leading axes. The
    target carries no gradient: it is detached here. Range [0, 4]; at complete collapse of both sides onto one direction 0,
    which is its minimum too: this objective cannot show a collapse.

    >>> regression(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0]])).item()
    2.0
    >>> regression(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])).item()
    4.0
    """
    with torch.autocast(prediction.device.type, enabled=False):
        return (2 - 2 * (F.normalize(prediction, dim=-1) * F.normalize(target.detach(), dim=-1)).sum(dim=-1)).mean()


def negative_cosine(prediction: Float[Tensor, "*shape d"], target: Float[Tensor, "*shape d"]) -> Float[Tensor, ""]:
    """Mean of minus the cosine of prediction and target.

    D(p, z) = - p/||p|| . z/||z|| (Chen and He, CVPR 2021, eq. 1), the mean over all leading axes; ``regression`` is 2 + 2 D.
    Gradient flows to both: a caller that wants the paper's stop-gradient detaches the target. Range [-1, 1]; at complete
    collapse of both sides onto one direction -1, which is its minimum too: this objective cannot show a collapse.

    >>> negative_cosine(torch.tensor([[3.0, 0.0]]), torch.tensor([[5.0, 0.0]])).item()
    -1.0
    """
    with torch.autocast(prediction.device.type, enabled=False):
        return -(F.normalize(prediction, dim=-1) * F.normalize(target, dim=-1)).sum(dim=-1).mean()


class DistillationTerms(NamedTuple):
    """Cross-entropy of every teacher view with every student view, and what the teacher's assignments look like."""

    cross_entropy: Float[Tensor, "teachers students"]
    """mean over samples, for each pair of views"""
    entropy: Float[Tensor, " teachers"]
    """mean entropy of a sample's assignment; detached"""
    mean_assignment: Float[Tensor, " k"]
    """mean assignment over samples and teacher views; detached"""


def self_distillation(
    student: Float[Tensor, "n students k"],
    teacher: Float[Tensor, "n teachers k"],
    centre: Float[Tensor, " k"],
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.04,
) -> DistillationTerms:
    """Cross-entropy of the teacher's centred and sharpened softmax with the student's, for every pair of views.

    H(P_t, P_s) = -sum_k P_t^(k) log P_s^(k), P_s = softmax(g_s / tau_s), P_t = softmax((g_t - c) / tau_t) (Caron et al.,
    ICCV 2021, equations 1 and 2 and section 3.1), the mean over samples. The teacher carries no gradient. The caller
    takes the mean over the pairs that count (DINO: all but a view with itself), and KL(P_t, P_s) is H(P_t, P_s) minus the
    teacher's entropy.

    Range [0, inf). Two collapses: the uniform output, where centring wins, gives log k and an entropy of log k; one
    dimension that dominates, where sharpening wins, gives 0 and an entropy of 0. Of a constant output with the centre on
    it, the teacher's side is uniform whatever the constant.

    >>> one_hot, zero = torch.tensor([[[9.0, 0.0]]]), torch.zeros(2)
    >>> [round(float(x), 4) + 0.0 for x in self_distillation(one_hot, one_hot, zero)[:2]]
    [0.0, 0.0]
    >>> [round(float(x), 4) for x in self_distillation(torch.ones(1, 1, 2), one_hot, one_hot[0, 0])[:2]]  # log 2
    [0.6931, 0.6931]
    """
    with torch.autocast(student.device.type, enabled=False):
        q = ((teacher.detach() - centre) / teacher_temperature).softmax(dim=-1)
        log_p = (student / student_temperature).log_softmax(dim=-1)
        cross = -torch.einsum("ntk,nsk->ts", q, log_p) / q.shape[0]
        entropy = torch.special.entr(q).sum(dim=-1).mean(dim=0)
    return DistillationTerms(cross, entropy, q.mean(dim=(0, 1)))
