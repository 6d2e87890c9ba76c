"""Barlow Twins: pairs, weights and width."""

import pytest
import torch

from fullrank.methods.barlow_twins import BarlowTwins
from fullrank.objectives.decorrelation import barlow_twins
from fullrank.testing.lab import Subject, blank, context


@pytest.mark.parametrize("views", [2, 3])
def test_terms_are_means_over_pairs_of_views_that_batch_norm_sees_apart(views):
    subject = Subject(BarlowTwins)
    method, batch = subject.build(), subject.views(batch=6)
    batch.pixels = {"view": torch.randn(6, views, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0))}
    z = [method.projector(method.backbone(view)) for view in batch.pixels["view"].unbind(1)]
    pairs = [barlow_twins(z[i], z[j]) for i in range(views) for j in range(i + 1, views)]
    losses = method(batch, context()).losses
    torch.testing.assert_close(losses["invariance"], sum(p.invariance for p in pairs) / len(pairs))
    torch.testing.assert_close(losses["redundancy"], 0.0051 * sum(p.redundancy for p in pairs) / len(pairs))


def test_weights_scale_their_terms():
    subject = Subject(BarlowTwins)
    usual = subject.build()(subject.views(), context()).losses
    changed = subject.build(redundancy_weight=0.0, loss_scale=0.1)(subject.views(), context()).losses
    assert float(changed["redundancy"].detach()) == 0.0
    torch.testing.assert_close(10 * changed["invariance"], usual["invariance"])


def test_at_collapse_the_invariance_is_the_width():
    subject = Subject(BarlowTwins)
    method = subject.build(loss_scale=0.5).eval()
    losses = method(blank(subject.views()), context()).losses
    assert method.at_collapse(8) == {"invariance": 32.0, "redundancy": 0.0}
    assert float(losses["invariance"].detach()) == pytest.approx(32.0)


def test_no_bias_before_what_is_centred():
    assert Subject(BarlowTwins).build().projector[-1].bias is None
