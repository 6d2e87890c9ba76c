"""CVRL: near clips, and the contrast of SimCLR over them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.methods.cvrl import CVRL
from fullrank.types import Views


def build(lab, network=None, **settings):
    torch.manual_seed(0)
    given = {"projector": (16, 16, 8)} | settings
    return CVRL(CVRL.Config(**given), lambda role: (network or lab.TinyNet)(), 40)


def make_views(views, batch=8):
    random = torch.Generator().manual_seed(0)
    return Views(pixels={"view": torch.randn(batch, views, 3, 2, 8, 8, generator=random)}, index=torch.arange(batch))


def test_clips_are_near_unless_told_otherwise():
    plan = CVRL.views(CVRL.Config())
    assert (plan.num_clips, plan.sampling, plan.groups[0].views_per_clip) == (2, "near", 1)
    assert CVRL.views(CVRL.Config(sampling="uniform")).sampling == "uniform"


def test_loss_is_half_the_authors_sum_of_both_directions(lab):
    """contrastive_loss of the authors' code: logits of a against b and against a without itself, and the same for b."""
    method = build(lab)
    views = make_views(2)
    z = method.projector(method.backbone(views.pixels["view"].flatten(0, 1))).unflatten(0, (8, 2))
    a, b = F.normalize(z[:, 0], dim=1), F.normalize(z[:, 1], dim=1)
    mask = 1e9 * torch.eye(8)
    labels = torch.arange(8)
    loss_a = F.cross_entropy(torch.cat([a @ b.T / 0.1, a @ a.T / 0.1 - mask], dim=1), labels)
    loss_b = F.cross_entropy(torch.cat([b @ a.T / 0.1, b @ b.T / 0.1 - mask], dim=1), labels)
    torch.testing.assert_close(method(views, lab.context()).loss, (loss_a + loss_b) / 2, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rho", [1, 2, 3])
def test_constant_encoder_gives_the_documented_value(lab, rho):
    method = build(lab, network=lab.Constant, projector_batch_norm="none", rho=rho)
    promised = method.at_collapse(8)["info_nce"]
    assert promised == pytest.approx(math.log(1 + max(2, rho) * 7))
    value = float(method(make_views(max(2, rho)), lab.context()).loss.detach())
    assert value == pytest.approx(promised, abs=1e-5)


@pytest.mark.parametrize(("where", "count"), [("none", 0), ("hidden", 2), ("all", 3)])
def test_batch_norm_of_the_projector(lab, where, count):
    method = build(lab, projector_batch_norm=where)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in method.projector.modules()) == count
