"""NNCLR: neighbours, queue, pairs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.methods.nnclr import NNCLR
from fullrank.testing.lab import Subject, context


@pytest.mark.parametrize("count", [2, 3])
def test_loss_is_the_papers_algorithm_over_ordered_pairs(count):
    subject = Subject(NNCLR)
    method, views = subject.build(), subject.views(batch=6)
    views.pixels = {"view": torch.randn(6, count, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0))}
    z = [F.normalize(method.projector(method.backbone(view)), dim=1) for view in views.pixels["view"].unbind(1)]
    p = [
        F.normalize(method.predictor(method.projector(method.backbone(view))), dim=1) for view in views.pixels["view"].unbind(1)
    ]
    total, pairs = 0.0, [(i, j) for i in range(count) for j in range(count) if i != j]
    for i, j in pairs:
        found = method.queue.contents[torch.cdist(z[i], method.queue.contents).argmin(1)]
        total += F.cross_entropy(found @ p[j].T / 0.2, torch.arange(6)) / len(pairs)
    torch.testing.assert_close(method(views, context()).loss, total, atol=1e-5, rtol=1e-5)


def test_the_queue_gets_the_first_views_embeddings_after_the_step():
    subject = Subject(NNCLR)
    method, ctx = subject.build(), context()
    before = method.queue.contents.clone()
    output = method(subject.views(), ctx)
    assert torch.equal(method.queue.contents, before)
    method.after_step([output], ctx)
    expected = F.normalize(output.features["embedding"][:, 0], dim=1)
    torch.testing.assert_close(method.queue.contents[:8], expected)
    assert torch.equal(method.queue.contents[8:], before[8:])


def test_neighbours_carry_no_gradient_and_the_predictor_is_optional():
    subject = Subject(NNCLR)
    method = subject.build(predictor=False)
    assert isinstance(method.predictor, nn.Identity)
    output = method(subject.views(), context())
    torch.testing.assert_close(output.features["prediction"], output.features["embedding"])
    assert not output.carry["embedding"].requires_grad


def test_a_queue_shorter_than_the_batch_is_refused():
    with pytest.raises(SettingError, match="queue_length must be at least the records of a batch, 64. Got 32"):
        NNCLR.check(NNCLR.Config(queue_length=32), batch_size=64, world=2)
    NNCLR.check(NNCLR.Config(queue_length=64), batch_size=64, world=2)
