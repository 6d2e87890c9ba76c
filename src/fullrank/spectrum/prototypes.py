"""Measures of scores over prototypes or a teacher's output dimensions: [n, k], before the softmax."""

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import SettingError, ShapeError

Scores = NDArray[np.float64]
"""[n, k]: similarity of each row to each prototype, or logits"""

TEMPERATURE = 0.1


def prototype_entropy(scores: Scores, *, temperature: float = TEMPERATURE) -> float:
    """Entropy of the mean assignment, in nats: -sum_k pi_k log pi_k, pi = mean_i softmax(s_i / temperature).

    What SwAV's equipartition and MSN's mean-entropy term drive up (Caron et al., NeurIPS 2020; Assran et al., ECCV 2022).
    Range 0 (one prototype takes all: cluster collapse) to log k (all are used alike; healthy, but also the value of a uniform
    output, so read it beside ``assignment_entropy``). Temperature 0.1 is SwAV's. Invariant to order, and to a constant added
    to a row.

    >>> round(prototype_entropy(np.array([[9.0, 0.0], [0.0, 9.0]])), 4)  # log 2
    0.6931
    """
    return _entropy(probabilities(scores, temperature).mean(axis=0))


def prototype_perplexity(scores: Scores, *, temperature: float = TEMPERATURE) -> float:
    """The exponential of ``prototype_entropy``: how many prototypes are in use. Range 1 (collapsed) to k (healthy).

    >>> round(prototype_perplexity(np.array([[9.0, 0.0], [0.0, 9.0]])), 4)
    2.0
    """
    return float(np.exp(prototype_entropy(scores, temperature=temperature)))


def dead_prototypes(scores: Scores, *, temperature: float = TEMPERATURE) -> int:
    """#{k : pi_k < 1 / (10 k)}: prototypes that take less than a tenth of an even share. Range 0 (healthy) to k - 1.

    >>> dead_prototypes(np.array([[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    2
    """
    mean = probabilities(scores, temperature).mean(axis=0)
    return int(np.sum(mean < 0.1 / len(mean)))


def assignment_entropy(scores: Scores, *, temperature: float = TEMPERATURE) -> float:
    """Mean entropy of the single assignments, in nats. Range 0 (each row chooses one) to log k (each row is uniform).

    Never above ``prototype_entropy``; equal to it where all rows are assigned alike, which is a collapse. Of a teacher's logits
    at the teacher's temperature it is DINO's teacher entropy (Caron et al., ICCV 2021).

    >>> round(assignment_entropy(np.array([[1.0, 1.0], [0.0, 0.0]])), 4)  # log 2
    0.6931
    """
    p = probabilities(scores, temperature)
    return float(np.mean([_entropy(row) for row in p]))


def teacher_entropy(teacher: Scores, *, temperature: float = 0.04) -> float:
    """Mean entropy of the teacher's output, in nats, at DINO's teacher temperature; the logits with the centre taken off.

    Range 0 to log k. DINO's two collapses are its ends: log k (uniform, without sharpening) and 0 (one dimension, without
    centring); healthy is between, with ``prototype_entropy`` near log k (Caron et al., ICCV 2021, section 5.3).

    >>> round(teacher_entropy(np.zeros((3, 4))), 4)  # log 4
    1.3863
    """
    return assignment_entropy(teacher, temperature=temperature)


def teacher_kl(
    teacher: Scores, student: Scores, *, teacher_temperature: float = 0.04, student_temperature: float = TEMPERATURE
) -> float:
    """Mean KL(teacher || student) = sum_k p_k (log p_k - log q_k), in nats; the rest of DINO's cross-entropy.

    Range [0, inf). Constant 0 is a collapse: the teacher's output holds nothing that the student must learn (Caron et al., ICCV
    2021, section 5.3 and figure 7).

    >>> teacher_kl(np.zeros((3, 4)), np.zeros((3, 4)))
    0.0
    """
    if np.shape(teacher) != np.shape(student):
        got = f"{list(np.shape(teacher))} and {list(np.shape(student))}"
        raise ShapeError(f"teacher and student must have the same shape [n, k]. Got {got}.")
    log_p, log_q = _log_softmax(teacher, teacher_temperature), _log_softmax(student, student_temperature)
    return max(float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=1))), 0.0)


def probabilities(scores: Scores, temperature: float) -> Scores:
    """softmax(s / temperature) of each row, [n, k].

    >>> probabilities(np.zeros((1, 2)), 0.1).tolist()
    [[0.5, 0.5]]
    """  # noqa: D403
    return np.exp(_log_softmax(scores, temperature))


def _log_softmax(scores: Scores, temperature: float) -> Scores:
    if not temperature > 0:
        raise SettingError(f"the temperature must be above 0. Got {temperature:g}.")
    x = np.asarray(scores, dtype=np.float64) / temperature
    x = x - x.max(axis=1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=1, keepdims=True)))


def _entropy(p: NDArray[np.float64]) -> float:
    inside = p[p > 0]
    return float(-np.sum(inside * np.log(inside)))
