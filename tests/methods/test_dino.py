"""DINO: pairs, temperatures, centre, teacher, frozen layer, and the two collapses that its guards hold apart."""

import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.methods.dino import DINO
from fullrank.types import Views

SMALL = {
    "projector": (16, 8),
    "num_dimensions": 10,
    "num_local": 2,
    "momentum": 0.9,
    "freeze_last_layer_epochs": 0.0,
    "warmup_teacher_epochs": 0.0,
    "teacher_temperature": 0.04,
}


def build(lab, network=None, **settings):
    torch.manual_seed(0)
    return DINO(DINO.Config(**(SMALL | settings)), lambda role: (network or lab.TinyNet)(), 40)


def make_views(method, batch=8, seed=0):
    """Noise around a point that is the record's own, so that there is something to learn."""
    random = torch.Generator().manual_seed(seed)
    clips = method.cfg.rho
    counts = {"global": 2 if clips == 1 else clips, "local": clips * method.cfg.num_local}
    own = torch.randn(batch, 1, 3, 1, 1, 1, generator=random)
    sizes = {"global": 8, "local": 6}
    pixels = {
        name: own + 0.3 * torch.randn(batch, count, 3, 2, sizes[name], sizes[name], generator=random)
        for name, count in counts.items()
        if count
    }
    return Views(pixels=pixels, index=torch.arange(batch))


@pytest.mark.parametrize(("rho", "num_local"), [(1, 2), (1, 0), (3, 1)])
def test_loss_is_the_papers_mean_over_pairs_of_views(lab, rho, num_local):
    method = build(lab, rho=rho, num_local=num_local).eval()
    with torch.no_grad():
        method.centre.value.copy_(0.1 * torch.randn(10))
    views = make_views(method)
    every = [p for group in views.pixels.values() for p in group.unbind(1)]
    shown = max(2, rho)
    losses = []
    for t in range(shown):
        logits = method.last(method.projector(method.backbone(every[t])))  # the teacher starts as the student
        p_t = ((logits - method.centre.value) / 0.04).softmax(1).detach()
        for s in range(len(every)):
            if s != t:
                log_p_s = (method.last(method.projector(method.backbone(every[s]))) / 0.1).log_softmax(1)
                losses.append(-(p_t * log_p_s).sum(1).mean())
    assert len(losses) == shown * (len(every) - 1)
    output = method(views, lab.context())
    torch.testing.assert_close(output.loss, torch.stack(losses).mean(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        output.metrics["kl"], output.loss.detach() - output.metrics["assignment_entropy"], atol=1e-5, rtol=1e-5
    )


def test_the_centre_follows_the_global_views_and_the_teacher_the_student(lab):
    method = build(lab, final_momentum=1.0)
    views, ctx = make_views(method), lab.context(progress=0.5)
    outputs = [method(views, ctx), method(make_views(method, seed=1), ctx)]
    mean = torch.stack(
        [
            method.last(method.projector(method.backbone(p.flatten(0, 1)))).mean(0)
            for p in [views.pixels["global"], make_views(method, seed=1).pixels["global"]]
        ]
    ).mean(0)
    with torch.no_grad():
        for module in (method.backbone, method.projector, method.last):
            for parameter in module.parameters():
                parameter.add_(1.0)
    old = [p.clone() for p in method.teacher.parameters()]
    method.after_step(outputs, ctx)
    torch.testing.assert_close(method.centre.value, 0.1 * mean.detach(), atol=1e-5, rtol=1e-4)
    for before, now in zip(old, method.teacher.parameters(), strict=True):
        torch.testing.assert_close(now, before + 0.05)  # half a cosine from 0.9 to 1 keeps 0.95


def test_processes_agree_on_the_centre_and_on_the_entropy_of_the_mean(lab):
    method = build(lab).eval()
    views = make_views(method)
    alone = method(views, lab.context())
    outputs = lab.processes(2, lambda rank, ctx: method(lab.part(views, slice(rank * 4, rank * 4 + 4)), ctx))
    joined = torch.cat([output.carry["mean_logits"] for output in outputs]).mean(0)
    torch.testing.assert_close(joined, alone.carry["mean_logits"][0])
    for output in outputs:
        torch.testing.assert_close(
            output.metrics["mean_assignment_entropy"], alone.metrics["mean_assignment_entropy"], atol=1e-5, rtol=1e-5
        )


def test_teacher_temperature_rises_linearly_and_stays(lab):
    method = build(lab, warmup_teacher_epochs=30.0, teacher_temperature=0.07)
    assert [round(method.teacher_temperature(epoch), 6) for epoch in (0, 15, 30, 100)] == [0.04, 0.055, 0.07, 0.07]
    assert build(lab, warmup_teacher_epochs=0.0).teacher_temperature(0.0) == 0.04


def test_the_last_layer_is_frozen_at_first_and_its_magnitude_always(lab):
    method = build(lab, freeze_last_layer_epochs=1.0)
    for step, frozen in ((0, True), (1, True), (2, False)):
        ctx = lab.context(step=step)
        method.zero_grad()
        method(make_views(method), ctx).loss.backward()
        method.after_backward(ctx)
        assert (method.last.weight.grad is None) == frozen
        assert method.last.magnitude.grad is None
        assert method.projector[0].weight.grad is not None
    assert not method.last.magnitude.requires_grad
    assert build(lab, frozen_magnitude=False).last.magnitude.requires_grad


def train(lab, **settings):
    method = build(lab, **({"projector_batch_norm": True} | settings))
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    for step in range(25):
        ctx = lab.context(step=step, progress=0.0)
        output = method(make_views(method, batch=16, seed=step), ctx)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step([output], ctx)
    return {name: float(value) for name, value in output.metrics.items()}


def test_centring_and_sharpening_guard_against_opposite_collapses(lab):
    """Caron et al., section 5.3: one dimension dominates without the one, the output is uniform without the other."""
    uniform = math.log(10)
    healthy = train(lab)
    assert healthy["mean_assignment_entropy"] > 0.5 * uniform
    assert healthy["assignment_entropy"] < 0.5 * uniform
    dominated = train(lab, **DINO.guards["centring"].off)
    assert dominated["mean_assignment_entropy"] < 0.02 * uniform
    even = train(lab, **DINO.guards["sharpening"].off)
    assert even["assignment_entropy"] > 0.97 * uniform
    assert abs(even["kl"]) < 0.05


def test_without_centring_the_centre_stays_zero(lab):
    method, ctx = build(lab, centring=False), lab.context()
    method.after_step([method(make_views(method), ctx)], ctx)
    assert float(method.centre.value.abs().max()) == 0.0


def test_the_teacher_is_evaluated_first(lab):
    method = build(lab).eval()
    pixels = make_views(method).pixels["global"][:, 0]
    with torch.no_grad():
        method.teacher[0].out.bias.add_(1.0)
        method.teacher[1][-1].bias.add_(1.0)
        h, z = method.encode(pixels), method.embed(torch.zeros(2, 12))
        torch.testing.assert_close(h, method.encode(pixels, "student") + 1)
        torch.testing.assert_close(z, method.embed(torch.zeros(2, 12), "student") + 1)


def test_logits_are_cosines(lab):
    method = build(lab).eval()
    z = torch.randn(4, 8)
    expected = F.cosine_similarity(z[:, None], method.last.weight[None], dim=2)
    torch.testing.assert_close(method.last(z), expected)
