"""Contrastive objectives against naive loops written from the papers' equations."""

import math

import pytest
import torch

from fullrank.errors import ShapeError
from fullrank.objectives.contrastive import decoupled, info_nce, nearest, nt_xent, paired_nce


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cosine(u, v):
    return float(u @ v / (u.norm() * v.norm()))


def simclr_equation_1(z0, z1, temperature):
    """Chen et al., eq. 1 and algorithm 1, with the sum over all k != i of the 2N embeddings."""
    z = [row for pair in zip(z0, z1, strict=True) for row in pair]
    total = 0.0
    for i in range(len(z)):
        j = i + 1 if i % 2 == 0 else i - 1
        below = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in range(len(z)) if k != i)
        total += -math.log(math.exp(cosine(z[i], z[j]) / temperature) / below)
    return total / len(z)


def all_pairs(z, temperature):
    """Every ordered pair of a record's views against the views of all other records."""
    n, views, _ = z.shape
    total = 0.0
    for a in range(n):
        for i in range(views):
            negatives = sum(math.exp(cosine(z[a, i], z[b, k]) / temperature) for b in range(n) if b != a for k in range(views))
            for j in range(views):
                if j != i:
                    positive = math.exp(cosine(z[a, i], z[a, j]) / temperature)
                    total += -math.log(positive / (positive + negatives))
    return total / (n * views * (views - 1))


def test_two_views_are_the_papers_equation():
    z = normal(5, 2, 4)
    assert float(nt_xent(z, temperature=0.3)) == pytest.approx(simclr_equation_1(z[:, 0], z[:, 1], 0.3), abs=1e-10)


@pytest.mark.parametrize("views", [2, 3, 4])
def test_all_pairs_of_views(views):
    z = normal(4, views, 5, seed=views)
    assert float(nt_xent(z, temperature=0.5)) == pytest.approx(all_pairs(z, 0.5), abs=1e-10)


@pytest.mark.parametrize("views", [2, 3])
def test_nt_xent_gradient(views):
    assert torch.autograd.gradcheck(lambda z: nt_xent(z, temperature=0.5), normal(3, views, 4).requires_grad_())


@pytest.mark.parametrize(("n", "views"), [(8, 2), (5, 3)])
def test_nt_xent_at_collapse(n, views):
    z = torch.ones(n, views, 6, dtype=torch.float64)
    assert float(nt_xent(z)) == pytest.approx(math.log(1 + views * (n - 1)), abs=1e-12)


def test_nt_xent_limit_of_a_perfect_embedding():
    z = torch.eye(4, dtype=torch.float64)[:, None].expand(4, 2, 4)
    assert float(nt_xent(z, temperature=0.01)) < 1e-40


def test_nt_xent_does_not_change_with_scale_rotation_or_order():
    z = normal(6, 3, 4)
    rotation = torch.linalg.qr(normal(4, 4, seed=9)).Q
    expected = nt_xent(z)
    for changed in (z * 7.0, z @ rotation, z[torch.randperm(6)], z[:, [2, 0, 1]]):
        assert float(nt_xent(changed)) == pytest.approx(float(expected), abs=1e-10)


def test_nt_xent_of_nearly_identical_rows_at_low_temperature_is_finite():
    z = (torch.ones(4, 2, 8) + 1e-4 * torch.randn(4, 2, 8)).requires_grad_()
    nt_xent(z, temperature=0.01).backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


@pytest.mark.parametrize("shape", [(1, 2, 3), (4, 1, 3)])
def test_nt_xent_refuses_what_has_no_pair(shape):
    with pytest.raises(ShapeError, match="at least 2"):
        nt_xent(torch.ones(shape))


def test_objectives_stay_in_float32_under_autocast():
    z = torch.randn(16, 2, 32)
    expected = nt_xent(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = nt_xent(z)
    assert got.dtype == torch.float32
    assert torch.equal(got, expected)


def test_info_nce_is_mocos_equation():
    query, keys, queue = normal(4, 5), normal(4, 2, 5, seed=1), torch.nn.functional.normalize(normal(7, 5, seed=2), dim=1)
    total, hits = 0.0, 0
    for i in range(4):
        for p in range(2):
            positive = math.exp(cosine(query[i], keys[i, p]) / 0.2)
            negatives = [math.exp(cosine(query[i], queue[k]) / 0.2) for k in range(7)]
            total += -math.log(positive / (positive + sum(negatives)))
            hits += positive > max(negatives)
    terms = info_nce(query, keys, queue, temperature=0.2)
    assert float(terms.loss) == pytest.approx(total / 8, abs=1e-10)
    assert float(terms.accuracy) == pytest.approx(hits / 8)


def test_info_nce_gradient_and_collapse():
    queue = torch.nn.functional.normalize(normal(6, 3), dim=1)
    keys = normal(4, 2, 3, seed=1)
    assert torch.autograd.gradcheck(lambda q: info_nce(q, keys, queue).loss, normal(4, 3).requires_grad_())
    one = torch.nn.functional.normalize(torch.ones(3, dtype=torch.float64), dim=0)
    terms = info_nce(one.expand(4, 3), one.expand(4, 2, 3), one.expand(9, 3))
    assert float(terms.loss) == pytest.approx(math.log(1 + 9), abs=1e-12)
    assert float(terms.accuracy) == 0.0


def nnclr_algorithm(anchors, others, temperature):
    """Dwibedi et al., algorithm 1: cross-entropy of the rows of nn @ p.T with the diagonal as the label."""
    n, total, hits = len(anchors), 0.0, 0
    for i in range(n):
        row = [math.exp(cosine(anchors[i], others[k]) / temperature) for k in range(n)]
        total += -math.log(row[i] / sum(row))
        hits += row[i] > max(row[:i] + row[i + 1 :])
    return total / n, hits / n


def test_paired_nce_is_nnclrs_algorithm():
    a, b = normal(6, 4), normal(6, 4, seed=1)
    terms, (loss, accuracy) = paired_nce(a, b, temperature=0.3), nnclr_algorithm(a, b, 0.3)
    assert float(terms.loss) == pytest.approx(loss, abs=1e-10)
    assert float(terms.accuracy) == pytest.approx(accuracy)


def test_paired_nce_gradient_order_and_collapse():
    a, b = normal(4, 3), normal(4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x, y: paired_nce(x, y).loss, (a.requires_grad_(), b.requires_grad_()))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(paired_nce(a[order] * 3, b[order]).loss, paired_nce(a, b).loss)
    terms = paired_nce(a.detach(), torch.ones(4, 3, dtype=torch.float64))
    assert float(terms.loss) == pytest.approx(math.log(4), abs=1e-12)
    assert float(terms.accuracy) == 0.0
    with pytest.raises(ShapeError, match="at least 2 records"):
        paired_nce(torch.ones(1, 3), torch.ones(1, 3))


def test_nearest_is_the_smallest_distance_on_the_sphere():
    queries, support = normal(5, 3), torch.nn.functional.normalize(normal(9, 3, seed=1), dim=1)
    for query, found in zip(queries, nearest(queries.requires_grad_(), support), strict=True):
        distances = (query / query.norm() - support).norm(dim=1)
        torch.testing.assert_close(found, support[distances.argmin()], atol=1e-10, rtol=0)
        assert not found.requires_grad


def dcl_equation_6(z0, z1, temperature, sigma=None):
    """Yeh et al., eq. 6 for both views, with the weights of section 3.3; the mean instead of the sum."""
    views, n, total = (z0, z1), len(z0), 0.0
    agreement = [cosine(z0[i], z1[i]) for i in range(n)]
    for k in range(2):
        for i in range(n):
            weight = 1.0
            if sigma is not None:
                weight = 2 - math.exp(agreement[i] / sigma) / (sum(math.exp(s / sigma) for s in agreement) / n)
            below = sum(math.exp(cosine(views[k][i], views[m][j]) / temperature) for m in range(2) for j in range(n) if j != i)
            total += -weight * agreement[i] / temperature + math.log(below)
    return total / (2 * n)


@pytest.mark.parametrize("sigma", [None, 0.5])
def test_decoupled_is_the_papers_equation(sigma):
    z = normal(5, 2, 4)
    expected = dcl_equation_6(z[:, 0], z[:, 1], 0.3, sigma)
    assert float(decoupled(z, temperature=0.3, sigma=sigma)) == pytest.approx(expected, abs=1e-10)


def test_decoupled_is_nt_xent_without_the_positive_in_the_denominator():
    z = normal(4, 3, 5)
    total = 0.0
    for a in range(4):
        for i in range(3):
            below = sum(math.exp(cosine(z[a, i], z[b, k]) / 0.5) for b in range(4) if b != a for k in range(3))
            total += sum(-cosine(z[a, i], z[a, j]) / 0.5 + math.log(below) for j in range(3) if j != i)
    assert float(decoupled(z, temperature=0.5)) == pytest.approx(total / (4 * 3 * 2), abs=1e-10)


def test_decoupled_gradient_order_and_collapse():
    z = normal(3, 2, 4)
    assert torch.autograd.gradcheck(lambda x: decoupled(x, temperature=0.5), z.requires_grad_())
    for sigma in (None, 0.5):
        usual = float(decoupled(z, sigma=sigma).detach())
        assert float(decoupled(z[[2, 0, 1]] * 5, sigma=sigma).detach()) == pytest.approx(usual, abs=1e-10)
        at_collapse = float(decoupled(torch.ones(6, 3, 4, dtype=torch.float64), sigma=sigma))
        assert at_collapse == pytest.approx(math.log(3 * 5), abs=1e-12)
    with pytest.raises(ShapeError, match="at least 2 views"):
        decoupled(torch.ones(4, 1, 3))


def test_dclw_makes_distant_positives_count_more_and_its_weights_carry_no_gradient():
    z = torch.tensor([[[1.0, 0.0], [1.0, 0.1]], [[0.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 0.9]]], requires_grad=True)
    agreement = torch.cosine_similarity(z[:, 0], z[:, 1], dim=1)
    weights = 2 - 3 * (agreement / 0.5).softmax(dim=0).detach()
    assert int(weights.argmax()) == 1
    by_hand = decoupled(z, temperature=1.0) - ((weights - 1) * agreement).mean()
    (expected,) = torch.autograd.grad(by_hand, z)
    (got,) = torch.autograd.grad(decoupled(z, temperature=1.0, sigma=0.5), z)
    torch.testing.assert_close(got, expected)
