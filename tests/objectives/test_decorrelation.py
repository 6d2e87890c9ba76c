"""Terms of VICReg, Barlow Twins, W-MSE and TiCo against naive loops written from the papers' equations."""

import math

import pytest
import torch

from fullrank.errors import NonFiniteError, ShapeError
from fullrank.objectives.decorrelation import (
    barlow_twins,
    covariance,
    invariance,
    normalized_mse,
    second_moment,
    tico,
    variance,
    vicreg,
    vicreg_across,
    w_mse,
    whiten,
)


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


def test_each_term_of_vicreg_is_the_papers_equation():
    z0, z1 = 0.8 * normal(6, 4), 0.8 * normal(6, 4, seed=1)
    expected = naive(torch.stack([z0, z1], dim=1))
    got = (invariance(z0, z1), (variance(z0) + variance(z1)) / 2, covariance(z0) + covariance(z1))
    assert [float(term) for term in got] == pytest.approx(expected, abs=1e-10)


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


def test_vicreg_across_of_one_view_each_is_vicreg():
    z = 0.7 * normal(6, 2, 4)
    for got, expected in zip(vicreg_across(z[:, :1], z[:, 1:], [(0, 0)]), vicreg(z), strict=True):
        assert float(got) == pytest.approx(float(expected), abs=1e-12)


def test_vicreg_across_pulls_only_its_pairs_and_spreads_all_views():
    first, second = 0.5 * normal(6, 2, 3), 0.5 * normal(6, 2, 3, seed=1)
    pairs = [(0, 1), (1, 0)]
    terms = vicreg_across(first, second, pairs)
    _, variance, covariance = naive(torch.cat([first, second], dim=1))
    distance = sum(float((first[:, i] - second[:, j]).square().mean()) for i, j in pairs) / 2
    assert [float(t) for t in terms] == pytest.approx([distance, variance, covariance], abs=1e-10)
    assert torch.autograd.gradcheck(lambda x, y: tuple(vicreg_across(x, y, pairs)), (first.requires_grad_(), second))
    with pytest.raises(ShapeError, match="1 pair. Got 6 and 0"):
        vicreg_across(first, second, [])


def naive_barlow_twins(z0, z1):
    """Zbontar et al., eq. 1 and 2, without the epsilon that BatchNorm adds."""
    n, d = z0.shape
    a, b = z0 - z0.mean(0), z1 - z1.mean(0)
    invariance = redundancy = 0.0
    for i in range(d):
        for j in range(d):
            above = sum(float(a[k, i] * b[k, j]) for k in range(n))
            below = math.sqrt(sum(float(a[k, i]) ** 2 for k in range(n)) * sum(float(b[k, j]) ** 2 for k in range(n)))
            c = above / below
            invariance, redundancy = (invariance + (1 - c) ** 2, redundancy) if i == j else (invariance, redundancy + c**2)
    return invariance, redundancy


def test_barlow_twins_is_the_papers_equation():
    z0, z1 = normal(7, 4), normal(7, 4, seed=1)
    for got, expected in zip(barlow_twins(z0, z1, epsilon=0.0), naive_barlow_twins(z0, z1), strict=True):
        assert float(got) == pytest.approx(expected, abs=1e-10)


def test_barlow_twins_standardises_as_batch_norm_does():
    z0, z1 = normal(7, 4), normal(7, 4, seed=1)
    norm = torch.nn.BatchNorm1d(4, affine=False, dtype=torch.float64)
    c = norm(z0).T @ norm(z1) / 7
    terms = barlow_twins(z0, z1)
    assert float(terms.invariance) == pytest.approx(float((c.diagonal() - 1).square().sum()), abs=1e-10)
    assert float(terms.redundancy) == pytest.approx(float(c.fill_diagonal_(0).square().sum()), abs=1e-10)


def test_barlow_twins_gradient_invariances_and_collapse():
    z0, z1 = normal(6, 3), normal(6, 3, seed=1)
    expected = torch.stack(barlow_twins(z0, z1))
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(torch.stack(barlow_twins(z1, z0)), expected)
    torch.testing.assert_close(torch.stack(barlow_twins(z0[order] + 2, z1[order])), expected)
    torch.testing.assert_close(torch.stack(barlow_twins(1e3 * z0, 1e3 * z1)), expected, rtol=1e-4, atol=1e-4)
    assert torch.autograd.gradcheck(lambda x, y: tuple(barlow_twins(x, y)), (z0.requires_grad_(), z1.requires_grad_()))
    one = torch.ones(6, 3, dtype=torch.float64)
    assert [float(t) for t in barlow_twins(one, one)] == [3.0, 0.0]
    copies = normal(6, 1).expand(6, 3)
    terms = barlow_twins(copies, copies, epsilon=0.0)
    assert [float(t) for t in terms] == pytest.approx([0.0, 6.0], abs=1e-10)


def test_whitened_rows_have_no_mean_and_the_identity_as_covariance():
    z = whiten(normal(2, 9, 4) @ normal(4, 4, seed=2) + 3)
    for part in z:
        torch.testing.assert_close(part.mean(0), torch.zeros(4, dtype=torch.float64))
        torch.testing.assert_close(part.T.cov(), torch.eye(4, dtype=torch.float64))


def naive_whiten(rows, epsilon=0.0):
    """Ermolov et al., section 3, with the authors' epsilon: a Cholesky factor by its recursion, undone row by row."""
    n, d = rows.shape
    mean = [sum(float(rows[k, a]) for k in range(n)) / n for a in range(d)]
    x = [[float(rows[k, a]) - mean[a] for a in range(d)] for k in range(n)]
    cov = [
        [(1 - epsilon) * sum(x[k][a] * x[k][b] for k in range(n)) / (n - 1) + epsilon * (a == b) for b in range(d)]
        for a in range(d)
    ]
    lower = [[0.0] * d for _ in range(d)]
    for a in range(d):
        for b in range(a + 1):
            rest = cov[a][b] - sum(lower[a][c] * lower[b][c] for c in range(b))
            lower[a][b] = math.sqrt(rest) if a == b else rest / lower[b][b]
    for row in x:
        for a in range(d):
            row[a] = (row[a] - sum(lower[a][b] * row[b] for b in range(a))) / lower[a][a]
    return torch.tensor(x, dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_whitening_is_by_the_inverse_cholesky_factor(epsilon):
    v = normal(9, 4) @ normal(4, 4, seed=2) + 3
    torch.testing.assert_close(whiten(v, epsilon=epsilon), naive_whiten(v, epsilon), atol=1e-10, rtol=0)


def naive_w_mse(v, order):
    """Ermolov et al., section 3, and the authors' code: each view of a part is whitened alone; 2 - 2 cos over pairs of views."""
    n, views, _ = v.shape
    z = torch.empty_like(v)
    for part in order:
        for i in range(views):
            z[part, i] = naive_whiten(v[part, i])
    total, pairs = 0.0, [(i, j) for i in range(views) for j in range(i + 1, views)]
    for i, j in pairs:
        for k in range(n):
            total += 2 - 2 * float(z[k, i] @ z[k, j] / (z[k, i].norm() * z[k, j].norm()))
    return total / (n * len(pairs))


@pytest.mark.parametrize("views", [2, 3])
def test_w_mse_is_the_papers_loss(views):
    v, order = normal(12, views, 3), torch.tensor([[3, 1, 7, 0, 11, 5], [2, 10, 4, 9, 8, 6]])
    assert float(w_mse(v, order)) == pytest.approx(naive_w_mse(v, order), abs=1e-10)


def test_w_mse_gradient_and_invariances():
    v, order = normal(8, 2, 2), torch.arange(8).view(2, 4)
    assert torch.autograd.gradcheck(lambda x: w_mse(x, order), v.requires_grad_())
    usual = float(w_mse(v, order).detach())
    triangular = torch.tensor([[2.0, 0.0], [-1.0, 0.5]], dtype=torch.float64)
    assert float(w_mse(v @ triangular.T + 4, order).detach()) == pytest.approx(usual, abs=1e-8), "L^-1 undoes any such map"
    assert float(w_mse(v[:, :1].expand(-1, 2, -1), order).detach()) == pytest.approx(0.0, abs=1e-8)


def test_w_mse_at_collapse():
    v, order = torch.full((8, 2, 3), 0.3), torch.arange(8)[None]
    assert float(w_mse(v, order, epsilon=1e-6)) == 2.0
    assert float(w_mse(v + 1e-7 * torch.randn(8, 2, 3), order, epsilon=1e-6)) == pytest.approx(2.0, abs=0.01)
    with pytest.raises(NonFiniteError, match="full rank, 3. Got 8 rows"):
        w_mse(v, order)
    assert float(normalized_mse(v)) == pytest.approx(0.0, abs=1e-6)


def test_normalized_mse_is_twice_one_minus_cosine():
    z = normal(5, 3, 4)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = sum(float(2 - 2 * torch.cosine_similarity(z[:, i], z[:, j], dim=1).mean()) for i, j in pairs) / 3
    assert float(normalized_mse(z)) == pytest.approx(expected, abs=1e-10)
    with pytest.raises(ShapeError, match="at least 2 views"):
        normalized_mse(z[:, :1])


def naive_tico(z, target, memory):
    """Zhu et al., algorithm 1, on rows of length 1."""
    n, d = z.shape
    z, target = (x / x.norm(dim=1, keepdim=True) for x in (z, target))
    invariance = sum(float((z[i] - target[i]).square().sum()) for i in range(n)) / (2 * n)
    contrast = sum(float(z[i, a] * memory[a, b] * z[i, b]) for i in range(n) for a in range(d) for b in range(d)) / n
    return invariance, contrast


def test_tico_is_the_papers_equation():
    z, target = normal(5, 3), normal(5, 3, seed=1)
    memory = second_moment(normal(8, 3, seed=2))
    for got, expected in zip(tico(z, target, memory), naive_tico(z, target, memory), strict=True):
        assert float(got) == pytest.approx(expected, abs=1e-10)


def test_second_moment_is_the_mean_outer_product_of_unit_rows():
    z = normal(5, 3)
    expected = sum(torch.outer(row, row) / row.norm() ** 2 for row in z) / 5
    torch.testing.assert_close(second_moment(7 * z), expected, atol=1e-10, rtol=0)
    assert float(second_moment(z).trace()) == pytest.approx(1.0)


def test_tico_gradient_reaches_the_student_only():
    z, target, memory = normal(5, 3).requires_grad_(), normal(5, 3, seed=1).requires_grad_(), normal(3, 3, seed=2)
    assert torch.autograd.gradcheck(lambda x: tuple(tico(x, target.detach(), memory)), z)
    sum(tico(z, target, second_moment(z))).backward()
    assert target.grad is None
    (expected,) = torch.autograd.grad(sum(tico(z, target, second_moment(z).detach())), z)
    torch.testing.assert_close(z.grad, expected)


def test_tico_spread_and_collapsed():
    spread, point = torch.eye(4, dtype=torch.float64), torch.ones(5, 4, dtype=torch.float64)
    assert [float(t) for t in tico(spread, spread, second_moment(spread))] == pytest.approx([0.0, 1 / 4])
    assert [float(t) for t in tico(point, point, second_moment(point))] == pytest.approx([0.0, 1.0])
