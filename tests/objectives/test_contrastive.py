"""Contrastive objectives against naive loops written from the papers' equations."""

import math

import pytest
import torch

from fullrank.errors import ShapeError
from fullrank.objectives.contrastive import info_nce, nt_xent


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
