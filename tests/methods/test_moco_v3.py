"""MoCo v3: pairs within the batch, heads, the frozen patch projection."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.methods.moco_v3 import MoCoV3
from fullrank.types import Views

SMALL = {"projector": (16, 8), "predictor_hidden": 16, "momentum": 0.9, "temperature": 0.2}


def build(lab, network=None, **settings):
    torch.manual_seed(0)
    return MoCoV3(MoCoV3.Config(**(SMALL | settings)), lambda role: (network or lab.TinyNet)(), 40)


def make_views(views, batch=8):
    random = torch.Generator().manual_seed(0)
    return Views(pixels={"view": torch.randn(batch, views, 3, 2, 8, 8, generator=random)}, index=torch.arange(batch))


@pytest.mark.parametrize("rho", [1, 3])
def test_loss_is_the_authors_sum_of_both_directions(lab, rho):
    """contrastive_loss of the authors' code: cross-entropy with the own key, times 2 tau."""
    method, count = build(lab, rho=rho), max(2, rho)
    pixels = make_views(count).pixels["view"]
    losses = []
    for i in range(count):
        for j in range(count):
            if i != j:
                q = F.normalize(method.predictor(method.projector(method.backbone(pixels[:, i]))), dim=1)
                k = F.normalize(method.teacher(pixels[:, j])[1], dim=1)
                losses.append(F.cross_entropy(q @ k.T / 0.2, torch.arange(8)) * 2 * 0.2)
    expected = 2 * torch.stack(losses).mean()  # two views: the sum of both directions
    output = method(make_views(count), lab.context())
    torch.testing.assert_close(output.losses["info_nce"], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_constant_encoder_gives_the_documented_value(lab, temperature):
    method = build(lab, network=lab.Constant, temperature=temperature)
    promised = method.at_collapse(8)["info_nce"]
    assert promised == pytest.approx(4 * temperature * math.log(8))
    assert float(method(make_views(2), lab.context()).loss.detach()) == pytest.approx(promised, abs=1e-4)


def test_after_step_moves_the_teacher_along_the_cosine(lab):
    method = build(lab)
    with torch.no_grad():
        for parameter in [*method.backbone.parameters(), *method.projector.parameters()]:
            parameter.add_(1.0)
    for progress, moved in ((1.0, 0.0), (0.0, 0.1)):
        old = [p.clone() for p in method.teacher.parameters()]
        method.after_step([], lab.context(progress=progress))
        for before, now in zip(old, method.teacher.parameters(), strict=True):
            torch.testing.assert_close(now, before + moved)


@pytest.mark.parametrize(
    ("settings", "norms"),
    [({}, 3), ({"predictor_last_batch_norm": True}, 4), ({"predictor": False}, 2), ({"batch_norm": False}, 0)],
)
def test_heads(lab, settings, norms):
    method = build(lab, **settings)
    heads = (method.projector, method.predictor)
    assert sum(isinstance(m, nn.BatchNorm1d) for head in heads for m in head.modules()) == norms
    assert isinstance(method.predictor, nn.Identity) == (settings == {"predictor": False})
    if not settings:
        assert not any(name.endswith("bias") for name, p in method.projector.named_parameters() if p.ndim > 1)
        assert not method.projector[-1].affine


class Patched(nn.Module):
    """A stand-in for a transformer."""

    embed_dim = 12

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Conv3d(3, 12, 1)

    def forward(self, pixels):
        return self.patch_embed(pixels).relu().mean((2, 3, 4))


def test_the_patch_projection_stays_where_it_starts(lab):
    method = build(lab, network=Patched, frozen_patch_projection=True)
    method(make_views(2), lab.context()).loss.backward()
    assert all(p.grad is None for p in method.backbone.parameters())
    assert not any(p is q for _, p, _ in method.decayed() for q in method.backbone.parameters())
    assert method.projector[0].weight.grad is not None
    free = build(lab, network=Patched)
    free(make_views(2), lab.context()).loss.backward()
    assert free.backbone.patch_embed.weight.grad is not None


def test_a_convolutional_network_has_no_patch_projection(lab):
    with pytest.raises(SettingError, match="must be used with a transformer.*Got TinyNet; set --backbone.name vit"):
        build(lab, frozen_patch_projection=True)
