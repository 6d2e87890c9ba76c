"""VICReg's terms against naive loops written from the paper's equations."""

import math

import pytest
import torch

from fullrank.errors import ShapeError
from fullrank.objectives.decorrelation import vicreg


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive(z, gamma=1.0, epsilon=1e-4):
    """Bardes et al., eq. 1 to 5; invariance divided by d, variance halved, as in the authors' code."""
    n, views, d = z.shape

    def v(branch):
        total = 0.0
        for k in range(d):
            mean = sum(float(branch[i, k]) for i in range(n)) / n
            variance = sum((float(branch[i, k]) - mean) ** 2 for i in range(n)) / (n - 1)
            total += max(0.0, gamma - math.sqrt(variance + epsilon))
        return total / d

    def c(branch):
        mean = [sum(float(branch[i, k]) for i in range(n)) / n for k in range(d)]
        total = 0.0
        for a in range(d):
            for b in range(d):
                if a != b:
                    covariance = sum((float(branch[i, a]) - mean[a]) * (float(branch[i, b]) - mean[b]) for i in range(n)) / (
                        n - 1
                    )
                    total += covariance**2
        return total / d

    def s(x, y):
        return sum(float((x[i] - y[i]).square().sum()) for i in range(n)) / n / d

    pairs = [(i, j) for i in range(views) for j in range(i + 1, views)]
    return (
        sum(s(z[:, i], z[:, j]) for i, j in pairs) / len(pairs),
        sum((v(z[:, i]) + v(z[:, j])) / 2 for i, j in pairs) / len(pairs),
        sum(c(z[:, i]) + c(z[:, j]) for i, j in pairs) / len(pairs),
    )


@pytest.mark.parametrize("views", [2, 3])
def test_is_the_papers_equations(views):
    z = 0.8 * normal(6, views, 4)
    for got, expected in zip(vicreg(z), naive(z), strict=True):
        assert float(got) == pytest.approx(expected, abs=1e-10)


def test_gradient():
    assert torch.autograd.gradcheck(lambda z: tuple(vicreg(z)), (0.5 * normal(5, 2, 3)).requires_grad_())


def test_does_not_change_with_a_shift_or_the_order():
    z = normal(6, 2, 4)
    for changed in (z + normal(1, 1, 4, seed=3), z[torch.randperm(6)], z.flip(1), z[..., [2, 0, 3, 1]]):
        torch.testing.assert_close(torch.stack(vicreg(changed)), torch.stack(vicreg(z)))


def test_at_collapse_and_at_the_optimum():
    assert [round(float(t), 6) for t in vicreg(torch.ones(8, 2, 3))] == [0.0, 0.99, 0.0]
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]) * 1.5
    assert [round(float(t), 6) for t in vicreg(corners[:, None].expand(4, 2, 2))] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("shape", [(4, 1, 3), (1, 2, 3)])
def test_refuses_one_view_or_one_record(shape):
    with pytest.raises(ShapeError, match="at least 2"):
        vicreg(torch.ones(shape))
