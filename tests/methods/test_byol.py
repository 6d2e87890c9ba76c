"""BYOL: pairs, teacher, and a loss that cannot show collapse."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F


@pytest.mark.parametrize("rho", [1, 3])
def test_loss_is_the_papers_sum_of_both_directions(lab, rho):
    method = lab.build("byol", rho=rho)
    views = lab.make_views(method)
    count = max(2, rho)
    losses = []
    for i in range(count):
        for j in range(count):
            if i != j:
                p = method.predictor(method.projector(method.backbone(views.pixels["view"][:, i])))
                t = method.teacher(views.pixels["view"][:, j])[1]
                losses.append((2 - 2 * F.cosine_similarity(p, t, dim=1)).mean())
    torch.testing.assert_close(
        method(views, lab.context()).losses["regression"], 2 * torch.stack(losses).mean(), atol=1e-5, rtol=1e-5
    )


def test_after_step_moves_the_teacher_along_the_cosine(lab):
    method = lab.build("byol", momentum=0.9, final_momentum=1.0)
    with torch.no_grad():
        for parameter in [*method.backbone.parameters(), *method.projector.parameters()]:
            parameter.add_(1.0)
    for progress, moved in ((1.0, 0.0), (0.0, 0.1)):
        old = [p.clone() for p in method.teacher.parameters()]
        method.after_step([], lab.context(progress=progress))
        for before, now in zip(old, method.teacher.parameters(), strict=True):
            torch.testing.assert_close(now, before + moved)


def test_a_constant_encoder_reaches_the_documented_zero(lab):
    """The predictor learns the constant: the loss ends at its minimum while nothing is encoded."""
    method = lab.build("byol", network=lab.Constant)
    optimizer = torch.optim.Adam(method.predictor.parameters(), lr=0.02)
    for _ in range(150):
        loss = method(lab.make_views(method), lab.context()).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-3)


def test_branches_are_two_networks(lab):
    method = lab.build("byol").eval()
    pixels = lab.make_views(method).pixels["view"][:, 0]
    torch.testing.assert_close(method.encode(pixels), method.encode(pixels, "teacher"))
    with torch.no_grad():
        method.backbone.out.bias.add_(1.0)
    torch.testing.assert_close(method.encode(pixels), method.encode(pixels, "teacher") + 1)


def test_heads_can_lose_predictor_and_batch_norm(lab):
    bare = lab.build("byol", predictor=False, batch_norm=False)
    assert isinstance(bare.predictor, nn.Identity)
    heads = (bare.projector, bare.predictor, bare.teacher[1])
    assert not any(isinstance(m, nn.BatchNorm1d) for head in heads for m in head.modules())
    views = lab.make_views(bare)
    z = [bare.projector(bare.backbone(views.pixels["view"][:, i])) for i in range(2)]
    t = [bare.teacher(views.pixels["view"][:, i])[1] for i in range(2)]
    expected = sum((2 - 2 * F.cosine_similarity(z[i], t[1 - i], dim=1)).mean() for i in range(2))
    torch.testing.assert_close(bare(views, lab.context()).loss, expected, atol=1e-5, rtol=1e-5)


def test_without_momentum_the_teacher_is_the_student_after_every_step(lab):
    method = lab.build("byol", **type(lab.build("byol")).guards["momentum network"].off)
    with torch.no_grad():
        for parameter in [*method.backbone.parameters(), *method.projector.parameters()]:
            parameter.add_(torch.randn_like(parameter))
    for progress in (0.0, 0.5, 1.0):
        method.after_step([], lab.context(progress=progress))
        student = [*method.backbone.parameters(), *method.projector.parameters()]
        assert all(torch.equal(a, b) for a, b in zip(method.teacher.parameters(), student, strict=True))


def test_each_branch_has_its_own_projector(lab):
    method = lab.build("byol").eval()
    with torch.no_grad():
        method.projector[-1].bias.add_(1.0)
    h = torch.randn(4, 12)
    torch.testing.assert_close(method.embed(h), method.embed(h, "teacher") + 1)
