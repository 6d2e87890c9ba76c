"""BYOL's regression against the paper's equation."""

import pytest
import torch

from fullrank.objectives.distillation import regression


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_is_the_squared_distance_of_normalised_vectors():
    p, t = normal(5, 3), normal(5, 3, seed=1)
    expected = sum(float((p[i] / p[i].norm() - t[i] / t[i].norm()).square().sum()) for i in range(5)) / 5
    assert float(regression(p, t)) == pytest.approx(expected, abs=1e-10)


def test_gradient_reaches_the_prediction_only():
    p, t = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    regression(p, t).backward()
    assert p.grad is not None
    assert t.grad is None
    assert torch.autograd.gradcheck(lambda x: regression(x, t), p)


def test_range_scale_and_collapse():
    p, t = normal(4, 3), normal(4, 3, seed=1)
    assert float(regression(p * 3.0, t * 0.1)) == pytest.approx(float(regression(p, t)), abs=1e-10)
    assert float(regression(p, -p)) == pytest.approx(4.0)
    assert float(regression(torch.ones(4, 3), 5 * torch.ones(4, 3))) == pytest.approx(0.0, abs=1e-6)
