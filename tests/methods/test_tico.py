"""TiCo: its memory of second moments, directions and teacher."""

import pytest
import torch
from torch.nn import functional as F

from fullrank.methods.tico import TiCo
from fullrank.testing.lab import Subject, context


def random_views(subject, count, batch=6, seed=0):
    views = subject.views(batch=batch)
    views.pixels = {"view": torch.randn(batch, count, 3, 2, 16, 16, generator=torch.Generator().manual_seed(seed))}
    return views


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("count", [2, 3])
def test_loss_is_the_papers_algorithm_over_pairs_of_views(count, symmetric):
    subject = Subject(TiCo)
    method = subject.build(symmetric=symmetric)
    views = random_views(subject, count)
    memory = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    method.covariance.copy_(memory @ memory.T / 32)
    queries = range(count if symmetric else count - 1)
    z = {i: F.normalize(method.projector(method.backbone(views.pixels["view"][:, i])), dim=1) for i in queries}
    t = [F.normalize(method.teacher(view)[1], dim=1) for view in views.pixels["view"].unbind(1)]
    every = torch.cat(list(z.values()))
    c = 0.9 * method.covariance + 0.1 * every.T @ every / len(every)
    pairs = [(i, j) for i in queries for j in range(count) if (j != i if symmetric else j > i)]
    invariance = sum((1 - (z[i] * t[j]).sum(1)).mean() for i, j in pairs) / len(pairs)
    contrast = sum(torch.einsum("na,ab,nb->n", z[i], c, z[i]).mean() for i, _ in pairs) / len(pairs)
    losses = method(views, context()).losses
    torch.testing.assert_close(losses["invariance"], invariance, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(losses["covariance"], 8.0 * contrast, atol=1e-5, rtol=1e-4)


def test_after_step_keeps_what_the_loss_used():
    subject = Subject(TiCo)
    method, ctx = subject.build(covariance_momentum=0.75), context()
    expected = torch.zeros(32, 32)
    for seed in range(2):
        output = method(random_views(subject, 2, seed=seed), ctx)
        unit = F.normalize(output.carry["embedding"][:, 0], dim=1)
        expected = 0.75 * expected + 0.25 * unit.T @ unit / 6
        assert not torch.allclose(method.covariance, expected)
        method.after_step([output], ctx)
        torch.testing.assert_close(method.covariance, expected)


def test_a_step_of_several_micro_batches_forgets_once():
    subject = Subject(TiCo)
    method, ctx = subject.build(covariance_momentum=0.75), context()
    outputs = [method(random_views(subject, 2, seed=seed), ctx) for seed in range(2)]
    unit = F.normalize(torch.cat([output.carry["embedding"][:, 0] for output in outputs]), dim=1)
    method.covariance.copy_(torch.eye(32))
    method.after_step(outputs, ctx)
    torch.testing.assert_close(method.covariance, 0.75 * torch.eye(32) + 0.25 * unit.T @ unit / 12)


def test_after_step_moves_the_teacher_along_the_cosine():
    method = Subject(TiCo).build(momentum=0.9, final_momentum=1.0)
    with torch.no_grad():
        for parameter in [*method.backbone.parameters(), *method.projector.parameters()]:
            parameter.add_(1.0)
    before = [p.clone() for p in method.teacher.parameters()]
    method.after_step([], context(progress=0.5))
    for old, new in zip(before, method.teacher.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.05)


def test_a_collapsed_student_ends_at_the_weight_of_the_covariance_term():
    subject = Subject(TiCo)
    method, ctx = subject.build(covariance_momentum=0.5).eval(), context()
    views = random_views(subject, 2)
    views.pixels = {"view": torch.ones_like(views.pixels["view"])}
    for _ in range(30):
        output = method(views, ctx)
        method.after_step([output], ctx)
    assert float(output.losses["invariance"].detach()) == pytest.approx(0.0, abs=1e-3)
    assert float(output.losses["covariance"].detach()) == pytest.approx(8.0, abs=1e-3)
