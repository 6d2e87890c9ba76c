"""Sinkhorn-Knopp and swapped prediction against naive loops from the paper."""

import math

import pytest
import torch

from fullrank.errors import ShapeError
from fullrank.objectives.clustering import assignment_entropies, sinkhorn, swapped_prediction


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive_sinkhorn(scores, epsilon, iterations):
    """Caron et al., algorithm 1: prototypes x samples, rows to 1/K, columns to 1/B, at the end times B."""
    n, k = scores.shape
    q = [[math.exp(float(scores[i, c]) / epsilon) for i in range(n)] for c in range(k)]
    total = sum(map(sum, q))
    q = [[x / total for x in row] for row in q]
    for _ in range(iterations):
        q = [[x / sum(row) / k for x in row] for row in q]
        columns = [sum(q[c][i] for c in range(k)) for i in range(n)]
        q = [[q[c][i] / columns[i] / n for i in range(n)] for c in range(k)]
    return torch.tensor([[q[c][i] * n for c in range(k)] for i in range(n)], dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_sinkhorn_is_the_papers_algorithm(epsilon):
    scores = normal(7, 4).tanh()
    torch.testing.assert_close(sinkhorn(scores, epsilon=epsilon), naive_sinkhorn(scores, epsilon, 3), atol=1e-10, rtol=0)


def test_codes_sum_to_one_and_use_all_prototypes_equally_in_the_limit():
    codes = sinkhorn(normal(12, 4), epsilon=1.0, iterations=200)
    torch.testing.assert_close(codes.sum(1), torch.ones(12, dtype=torch.float64))
    torch.testing.assert_close(codes.sum(0), torch.full((4,), 3.0, dtype=torch.float64))


def test_sinkhorn_of_a_shifted_permuted_or_collapsed_batch():
    scores = normal(6, 3).tanh()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(sinkhorn(scores + 11.0), sinkhorn(scores))
    torch.testing.assert_close(sinkhorn(scores[order]), sinkhorn(scores)[order])
    torch.testing.assert_close(sinkhorn(scores[:1].expand(6, 3)), torch.full((6, 3), 1 / 3, dtype=torch.float64))


def test_a_small_epsilon_does_not_underflow_in_float32():
    assert bool(sinkhorn(torch.tensor([[1.0, -1.0], [-1.0, -1.0], [0.9, -1.0]]), epsilon=0.003).isfinite().all())


def test_swapped_prediction_is_the_papers_equation():
    scores = normal(5, 4, 3).tanh()
    codes = torch.stack([sinkhorn(scores[:, 0]), sinkhorn(scores[:, 1])], dim=1)
    total = 0.0
    for i in range(5):
        for s in range(2):
            for t in range(4):
                if t != s:
                    below = sum(math.exp(float(scores[i, t, k]) / 0.1) for k in range(3))
                    for k in range(3):
                        total -= float(codes[i, s, k]) * math.log(math.exp(float(scores[i, t, k]) / 0.1) / below)
    assert float(swapped_prediction(codes, scores)) == pytest.approx(total / (5 * 2 * 3), abs=1e-10)


def test_gradient_reaches_the_scores_and_not_the_codes():
    scores = normal(4, 3, 5).tanh().requires_grad_()
    codes = torch.stack([sinkhorn(scores[:, 0]), sinkhorn(scores[:, 1])], dim=1)
    assert not codes.requires_grad
    assert torch.autograd.gradcheck(lambda s: swapped_prediction(codes, s), scores)


def test_at_collapse():
    codes = torch.full((4, 2, 8), 1 / 8)
    assert float(swapped_prediction(codes, torch.ones(4, 2, 8))) == pytest.approx(math.log(8), abs=1e-6)
    assert float(swapped_prediction(codes, torch.randn(1, 1, 8).expand(4, 2, 8))) >= math.log(8)


def test_refuses_codes_without_another_view():
    with pytest.raises(ShapeError, match="at least 2 views"):
        swapped_prediction(torch.ones(4, 1, 3), torch.ones(4, 1, 3))


def test_entropies_are_those_of_their_definition():
    scores, t = normal(6, 4).tanh(), 0.3
    p = [[math.exp(float(x) / t) / sum(math.exp(float(y) / t) for y in row) for x in row] for row in scores]
    mean = [sum(row[k] for row in p) / 6 for k in range(4)]
    expected = [-sum(q * math.log(q) for q in mean), -sum(q * math.log(q) for row in p for q in row) / 6]
    assert [float(h) for h in assignment_entropies(scores, temperature=t)] == pytest.approx(expected, abs=1e-10)


def test_entropies_tell_cluster_collapse_from_indecision():
    one_prototype = torch.tensor([[9.0, 0.0, 0.0]]).expand(6, 3)
    undecided = torch.zeros(6, 3)
    healthy = 9.0 * torch.eye(3).repeat(2, 1)
    assert [round(float(h), 3) for h in assignment_entropies(one_prototype)] == [0.0, 0.0]
    assert [round(float(h), 3) for h in assignment_entropies(undecided)] == [1.099, 1.099]
    assert [round(float(h), 3) for h in assignment_entropies(healthy)] == [1.099, 0.0]
