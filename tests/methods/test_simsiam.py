"""SimSiam: pairs, and what each guard's setting switches off."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.methods.simsiam import SimSiam
from fullrank.testing.lab import Subject, context


@pytest.mark.parametrize("rho", [1, 3])
def test_loss_is_the_mean_over_ordered_pairs(rho):
    subject = Subject(SimSiam)
    method = subject.build()
    pixels = torch.randn(4, max(2, rho), 3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    views = subject.views(batch=4)
    views.pixels = {"view": pixels}
    z = [method.projector(method.backbone(view)) for view in pixels.unbind(1)]
    p = [method.predictor(one) for one in z]
    pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j]
    expected = -sum(F.cosine_similarity(p[i], z[j], dim=1).mean() for i, j in pairs) / len(pairs)
    torch.testing.assert_close(method(views, context()).losses["similarity"], expected, atol=1e-5, rtol=1e-5)


def gradient(**changes):
    """Of the backbone's first weights, for the same loss value."""
    subject = Subject(SimSiam)
    method = subject.build(**changes)
    output = method(subject.views(), context())
    output.loss.backward()
    return float(output.loss.detach()), next(method.backbone.parameters()).grad


def test_the_stop_gradient_changes_the_gradient_and_not_the_loss():
    (with_stop, stopped), (without, flowing) = gradient(), gradient(stop_gradient=False)
    assert with_stop == without
    assert not torch.allclose(stopped, flowing)


def test_without_a_predictor_the_stop_gradient_only_halves_the_gradient():
    """Chen and He, 2021, section 4.2: the symmetrised loss then has the gradient of the one without stop-gradient, halved."""
    (_, stopped), (_, flowing) = gradient(predictor=False), gradient(predictor=False, stop_gradient=False)
    torch.testing.assert_close(2 * stopped, flowing, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("where", "count"), [("none", 0), ("hidden", 2), ("all", 3)])
def test_batch_norm_of_the_heads(where, count):
    method = Subject(SimSiam).build(batch_norm=where)
    norms = [m for head in (method.projector, method.predictor) for m in head.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == count
    assert not isinstance(method.predictor[-1], nn.BatchNorm1d)


def test_every_guard_can_be_switched_off():
    subject = Subject(SimSiam)
    for guard in SimSiam.guards.values():
        output = subject.build(**guard.off)(subject.views(), context())
        assert bool(output.loss.isfinite())
