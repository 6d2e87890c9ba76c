"""SwAV: codes, prototypes, queue, multi-crop."""

import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.methods.swav import SwAV
from fullrank.objectives.clustering import sinkhorn, swapped_prediction


@pytest.mark.parametrize("rho", [1, 3])
def test_codes_of_two_views_are_predicted_from_all_others(lab, rho):
    method = lab.build("swav", rho=rho).eval()
    views = lab.make_views(method)
    every = [*views.pixels["view"].unbind(1), *views.pixels["local"].unbind(1)]
    assert len(every) == max(2, rho) + 2 * rho
    scores = [F.normalize(method.projector(method.backbone(p)), dim=1) @ method.prototypes.weight.T for p in every]
    total = torch.zeros(())
    for s in range(2):
        code = sinkhorn(scores[s].detach())
        others = [t for t in range(len(every)) if t != s]
        total = total - sum((code * (scores[t] / 0.1).log_softmax(1)).sum(1).mean() for t in others) / len(others) / 2
    torch.testing.assert_close(method(views, lab.context()).losses["swapped_prediction"], total, atol=1e-5, rtol=1e-5)


def test_constant_encoder_gives_at_least_the_documented_value(lab):
    method = lab.build("swav", network=lab.Constant)
    output = method(lab.make_views(method), lab.context())
    assert float(output.loss.detach()) >= math.log(6) - 1e-5
    torch.testing.assert_close(output.metrics["assignment_entropy"], output.metrics["mean_assignment_entropy"])
    with torch.no_grad():
        method.prototypes.weight.copy_(method.prototypes.weight[:1].expand(6, -1))
    assert float(method(lab.make_views(method), lab.context()).loss.detach()) == pytest.approx(math.log(6), abs=1e-5)


def test_prototypes_are_frozen_at_first_and_unit_after_each_step(lab):
    method = lab.build("swav", freeze_prototypes_epochs=1.0)
    for step, frozen in ((0, True), (1, True), (2, False)):
        ctx = lab.context(step=step)
        output = method(lab.make_views(method), ctx)
        output.loss.backward()
        method.after_backward(ctx)
        assert (method.prototypes.weight.grad is None) == frozen
        with torch.no_grad():
            method.prototypes.weight.mul_(3.0)
        method.after_step([output], ctx)
        torch.testing.assert_close(method.prototypes.weight.norm(dim=1), torch.ones(6))


def test_queue_is_filled_from_its_epoch_on_and_used_when_full(lab):
    method = lab.build("swav", queue_length=12, queue_start_epoch=1.0).eval()
    views = lab.make_views(method)
    assert method.queue.contents.shape == (12, 2 * 8)
    losses = []
    for step in range(5):
        ctx = lab.context(step=step)
        output = method(views, ctx)
        losses.append(float(output.loss.detach()))
        method.after_step([output], ctx)
        assert int(method.queue.filled) == [0, 0, 8, 12, 12][step]
    assert losses[0] == losses[1] == losses[2] == losses[3]
    full = method.queue.contents
    with torch.no_grad():
        output = method(views, lab.context(step=5))
        z = F.normalize(output.features["embedding"], dim=2)
        z_local = F.normalize(method.projector(method.backbone(views.pixels["local"].flatten(0, 1))), dim=1).unflatten(
            0, (8, 2)
        )
        scores = torch.cat([z, z_local], dim=1) @ method.prototypes.weight.T
        codes = [
            sinkhorn(torch.cat([full[:, 8 * v : 8 * v + 8] @ method.prototypes.weight.T, scores[:, v]]))[12:] for v in range(2)
        ]
        torch.testing.assert_close(output.loss, swapped_prediction(torch.stack(codes, 1), scores), atol=1e-5, rtol=1e-5)
    assert losses[4] != losses[3]
    with torch.no_grad():
        z = F.normalize(output.features["embedding"][:, 1], dim=1)
    torch.testing.assert_close(method.queue.contents[4:, 8:], z)


def test_without_local_views_and_queue_there_is_neither(lab):
    method = lab.build("swav", num_local=0, queue_length=0)
    assert [group.name for group in type(method).views(method.cfg).groups] == ["view"]
    output = method(lab.make_views(method), lab.context())
    assert not output.carry
    assert method.queue is None
    assert 1.0 <= float(output.metrics["prototype_perplexity"]) <= 6.0 + 1e-4


def test_without_sinkhorn_codes_are_each_samples_own_softmax(lab):
    method = lab.build("swav", sinkhorn=False, num_local=0, queue_length=0).eval()
    views = lab.make_views(method)
    z = [F.normalize(method.projector(method.backbone(views.pixels["view"][:, i])), dim=1) for i in range(2)]
    scores = [x @ method.prototypes.weight.T for x in z]
    codes = [(s / 0.05).softmax(1).detach() for s in scores]
    expected = -sum((codes[i] * (scores[1 - i] / 0.1).log_softmax(1)).sum(1).mean() for i in range(2)) / 2
    torch.testing.assert_close(method(views, lab.context()).loss, expected, atol=1e-5, rtol=1e-5)


def test_without_sinkhorn_one_prototype_wins(lab):
    """Section 3.1: only the equal use of prototypes stands against one code for all."""
    perplexity = {}
    for sinkhorn_on in (True, False):
        method = lab.build(
            "swav", sinkhorn=sinkhorn_on, batch_norm=False, num_local=0, queue_length=0, freeze_prototypes_epochs=0
        )
        optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
        for step in range(60):
            ctx = lab.context(step=step)
            output = method(lab.make_views(method, batch=16, seed=step), ctx)
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
            method.after_step([output], ctx)
        perplexity[sinkhorn_on] = float(output.metrics["prototype_perplexity"])
    assert perplexity[False] < 1.2
    assert perplexity[True] > 3.0


def test_a_batch_too_small_for_the_prototypes_is_refused():
    SwAV.check(SwAV.Config(num_prototypes=1000), batch_size=64, world=8)
    SwAV.check(SwAV.Config(num_prototypes=1000, queue_length=256), batch_size=2, world=1)
    SwAV.check(SwAV.Config(num_prototypes=1000, sinkhorn=False), batch_size=2, world=1)
    with pytest.raises(SettingError, match=r"must be at least num_prototypes / 16 = 63.*Got 32 \+ 0.*at most 512 prototypes"):
        SwAV.check(SwAV.Config(num_prototypes=1000), batch_size=32, world=1)
