"""MoCo v2: queue, teacher, pairs and grouped BatchNorm."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.methods.moco_v2 import MoCoV2


def test_constant_encoder_and_queue_give_the_documented_value(lab):
    method = lab.build("moco_v2", network=lab.Constant)
    views, ctx = lab.make_views(method), lab.context()
    for _ in range(2):
        method.after_step([method(views, ctx)], ctx)
    output = method(views, ctx)
    assert float(output.losses["info_nce"].detach()) == pytest.approx(math.log(1 + 20), abs=1e-4)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("rho", [1, 3])
def test_loss_is_the_mean_over_pairs_of_views(lab, rho, symmetric):
    """A loop over pairs, one cross-entropy with label 0 each: q.k+ and the queue, over the temperature."""
    method = lab.build("moco_v2", rho=rho, symmetric=symmetric)
    views = lab.make_views(method)
    pixels, count = views.pixels["view"], max(2, rho)
    expected = []
    for i in range(count):
        for j in range(count):
            if (i != j) if symmetric else (i < j):
                q = F.normalize(method.projector(method.backbone(pixels[:, i])), dim=1)
                k = F.normalize(method.teacher(pixels[:, j])[1], dim=1)
                logits = torch.cat([(q * k).sum(1, keepdim=True), q @ method.queue.contents.T], dim=1) / 0.2
                expected.append(F.cross_entropy(logits, torch.zeros(8, dtype=torch.int64)))
    output = method(views, lab.context())
    torch.testing.assert_close(output.losses["info_nce"], torch.stack(expected).mean(), atol=1e-5, rtol=1e-5)
    assert output.carry["keys"].shape[1] == (count if symmetric else count - 1)


def test_after_step_moves_the_teacher_and_enqueues_the_keys(lab):
    method = lab.build("moco_v2", momentum=0.9, final_momentum=1.0)
    views, ctx = lab.make_views(method), lab.context(progress=0.5)
    output = method(views, ctx)
    with torch.no_grad():
        for parameter in [*method.backbone.parameters(), *method.projector.parameters()]:
            parameter.add_(1.0)
    old = [p.clone() for p in method.teacher.parameters()]
    method.after_step([output], ctx)
    for before, now in zip(old, method.teacher.parameters(), strict=True):
        torch.testing.assert_close(now, before + 0.05)  # half a cosine from 0.9 to 1 keeps 0.95
    keys = output.carry["keys"]
    torch.testing.assert_close(method.queue.contents[:16], keys.transpose(0, 1).flatten(0, 1))
    torch.testing.assert_close(keys.norm(dim=-1), torch.ones(8, 2))
    assert int(method.queue.filled) == 16


def test_accuracy_is_one_when_keys_are_the_queries(lab):
    method = lab.build("moco_v2").eval()
    views = lab.make_views(method)
    views.pixels["view"] = views.pixels["view"][:, :1].expand(-1, 2, -1, -1, -1, -1)
    assert float(method(views, lab.context()).metrics["accuracy"]) == 1.0


def test_shuffling_gives_each_record_its_own_key(lab):
    """With the teacher's running statistics, where groups do not matter, shuffled and restored keys are the keys."""
    method = lab.build("moco_v2", batch_norm_group=2, shuffle_block=8)
    views = lab.make_views(method)
    keys = method.eval()(views, lab.context()).carry["keys"]
    method.train()
    method.teacher.eval()
    torch.testing.assert_close(method(views, lab.context()).carry["keys"], keys)


def test_groups_decide_the_result_and_not_the_number_of_processes(lab):
    method = lab.build("moco_v2", batch_norm_group=2, shuffle_block=4)
    views = lab.make_views(method)
    copies = [copy.deepcopy(method) for _ in range(2)]
    alone = method(views, lab.context())
    outputs = lab.processes(2, lambda rank, ctx: copies[rank](lab.part(views, slice(rank * 4, rank * 4 + 4)), ctx))
    torch.testing.assert_close(torch.cat([o.carry["keys"] for o in outputs]), alone.carry["keys"])
    torch.testing.assert_close(sum(o.loss for o in outputs) / 2, alone.loss)


def test_impossible_blocks_are_refused(lab):
    with pytest.raises(SettingError, match="multiple of batch_norm_group, 4. Got 6"):
        lab.build("moco_v2", batch_norm_group=4, shuffle_block=6)
    with pytest.raises(SettingError, match="shuffle_block needs batch_norm_group"):
        lab.build("moco_v2", shuffle_block=6)


def test_without_shuffling_each_group_of_queries_meets_its_own_keys(lab):
    """Groups in their order: what one process a group would compute without shuffling."""
    method = lab.build("moco_v2", batch_norm_group=4, shuffle=False)
    views = lab.make_views(method)
    together = method(views, lab.context()).carry["keys"]
    apart = [method(lab.part(views, slice(i, i + 4)), lab.context()).carry["keys"] for i in (0, 4)]
    torch.testing.assert_close(together, torch.cat(apart))
    shuffled = lab.build("moco_v2", batch_norm_group=4, shuffle_block=8)
    assert float((shuffled(views, lab.context()).carry["keys"] - together).abs().max()) > 1e-3


def test_each_branch_has_its_own_networks(lab):
    method = lab.build("moco_v2").eval()
    pixels = lab.make_views(method).pixels["view"][:, 0]
    with torch.no_grad():
        method.backbone.out.bias.add_(1.0)
        method.projector[-1].bias.add_(1.0)
        h = torch.randn(4, 12)
        torch.testing.assert_close(method.encode(pixels), method.encode(pixels, "teacher") + 1)
        torch.testing.assert_close(method.embed(h), method.embed(h, "teacher") + 1)


@pytest.mark.parametrize(
    ("settings", "batch", "world", "message"),
    [
        ({"queue_length": 63, "symmetric": True}, 32, 1, "at least the keys of one step, 64 for a micro-batch of 32. Got 63"),
        ({"batch_norm_group": 8}, 24, 1, "multiple of method.shuffle_block, 16"),
        ({"batch_norm_group": 8}, 32, 4, "Got 8"),
    ],
)
def test_batches_that_cannot_work_are_refused(settings, batch, world, message):
    with pytest.raises(SettingError, match=message):
        MoCoV2.check(MoCoV2.Config(**settings), batch_size=batch, world=world)


def test_batches_that_work_pass():
    MoCoV2.check(MoCoV2.Config(queue_length=64, symmetric=True), batch_size=32, world=4)
    MoCoV2.check(MoCoV2.Config(batch_norm_group=8, shuffle=False), batch_size=24, world=3)
