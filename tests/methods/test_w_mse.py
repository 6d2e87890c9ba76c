"""W-MSE: how records are dealt, batches that cannot be whitened, and what there is without whitening."""

import pytest
import torch

from fullrank.errors import NonFiniteError, SettingError
from fullrank.methods.w_mse import WMSE
from fullrank.objectives.decorrelation import normalized_mse, w_mse
from fullrank.testing.lab import Subject, blank, context, part, processes


def test_records_are_dealt_by_the_steps_generator():
    subject = Subject(WMSE)
    method, views = subject.build(projector=(16, 2), whitening_size=4, whitening_iterations=2), subject.views()
    output = method(views, context())
    v, draws = output.features["embedding"], torch.Generator().manual_seed(5)
    orders = [torch.randperm(8, generator=draws).view(2, 4) for _ in range(2)]
    expected = sum(w_mse(v, order, epsilon=1e-6) for order in orders) / 2
    torch.testing.assert_close(output.losses["w_mse"].detach(), expected)


def test_two_processes_deal_alike():
    subject = Subject(WMSE)
    method, views = subject.build(projector=(16, 2), whitening_size=4).eval(), subject.views()
    alone = float(method(views, context()).loss.detach())
    halves = processes(2, lambda rank, ctx: method(part(views, slice(4 * rank, 4 * rank + 4)), ctx))
    assert [float(half.loss.detach()) for half in halves] == pytest.approx([alone, alone], rel=1e-5)


def test_without_whitening_it_is_the_normalised_distance():
    subject = Subject(WMSE)
    method = subject.build(whitening=False)
    output = method(subject.views(), context())
    torch.testing.assert_close(output.loss.detach(), normalized_mse(output.features["embedding"]))
    assert method.at_collapse(8) == {"w_mse": 0.0}


def test_a_collapsed_batch_is_2_or_an_error():
    subject = Subject(WMSE)
    assert float(subject.build().eval()(blank(subject.views()), context()).loss.detach()) == pytest.approx(2.0, abs=1e-3)
    exact = subject.build(epsilon=0.0).eval()
    assert exact.at_collapse(8) == {}
    with pytest.raises(NonFiniteError, match="must have full rank, 4. Got 8 rows"):
        exact(blank(subject.views()), context())


def test_batches_that_cannot_be_whitened_are_refused():
    settings = WMSE.Config(projector=(16, 4), whitening_size=6)
    with pytest.raises(SettingError, match="multiple of method.whitening_size, 6. Got 8"):
        WMSE.check(settings, batch_size=8, world=1)
    with pytest.raises(SettingError, match="more than the embedding's width, 64 .* Got 8"):
        WMSE.check(WMSE.Config(whitening_size=None), batch_size=8, world=1)
    WMSE.check(settings, batch_size=12, world=2)
    WMSE.check(WMSE.Config(whitening=False), batch_size=7, world=1)
    subject = Subject(WMSE)
    with pytest.raises(SettingError, match="whitening_size, 5. Got 8"):
        subject.build(whitening_size=5)(subject.views(), context())
