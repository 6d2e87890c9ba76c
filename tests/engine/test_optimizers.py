import math

import pytest
import torch

from fullrank.config import OptimizerConfig
from fullrank.engine.optimizers import LARS, build, learning_rate, peak_learning_rate, schedule_weight_decay
from fullrank.methods._method import Method
from fullrank.recipes import recipe


def naive_lars(w, grads, lr, m, wd, eta, adapt, clip):
    v = torch.zeros_like(w)
    for grad in grads:
        g = grad
        if adapt:
            wn, gn = w.norm(), g.norm()
            trust = eta * wn / (gn + wd * wn + 1e-12) if wn > 0 and gn > 0 else torch.tensor(1.0)
            if clip and wn > 0 and gn > 0:
                trust = min(trust / lr, torch.tensor(1.0, dtype=w.dtype))
            g = (g + wd * w) * trust
        v = m * v + g
        w = w - lr * v
    return w


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("ndim", [1, 2])
def test_lars_equals_the_papers_update(clip, ndim):
    torch.manual_seed(0)
    start = torch.randn((4, 3) if ndim == 2 else (5,), dtype=torch.float64)
    grads = [torch.randn_like(start) for _ in range(4)]
    p = torch.nn.Parameter(start.clone())
    group = {"params": [p], "weight_decay": 0.1 if ndim == 2 else 0.0, "adapt": ndim == 2}
    optimizer = LARS([group], lr=0.3, momentum=0.9, trust_coefficient=0.02, clip_trust=clip)
    for g in grads:
        p.grad = g.clone()
        optimizer.step()
    expected = naive_lars(start, grads, 0.3, 0.9, group["weight_decay"], 0.02, ndim == 2, clip)
    torch.testing.assert_close(p.detach(), expected, rtol=1e-12, atol=1e-12)


def test_lars_leaves_weights_of_zero_norm_unscaled():
    p = torch.nn.Parameter(torch.zeros(2, 2))
    p.grad = torch.ones(2, 2)
    LARS([{"params": [p]}], lr=0.5, momentum=0.0).step()
    assert torch.equal(p.detach(), torch.full((2, 2), -0.5))


def test_the_rate_follows_the_linear_rule_and_the_schedule():
    cfg = OptimizerConfig(base_learning_rate=0.3, warmup_epochs=10, end_ratio=0.1)
    assert peak_learning_rate(cfg, 512) == pytest.approx(0.6)
    assert learning_rate(cfg, 512, 0.05, epochs=100) == pytest.approx(0.3)
    assert learning_rate(cfg, 512, 0.1, epochs=100) == pytest.approx(0.6)
    assert learning_rate(cfg, 512, 1.0, epochs=100) == pytest.approx(0.06)
    half = 0.06 + (0.6 - 0.06) * (0.5 + 0.5 * math.cos(math.pi * 0.5))
    assert learning_rate(cfg, 512, 0.55, epochs=100) == pytest.approx(half)


class Layers(Method):
    """A weight and a bias."""

    def __init__(self):
        torch.nn.Module.__init__(self)
        self.layer = torch.nn.Linear(2, 2)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars"])
def test_weight_decay_follows_half_a_cosine_for_weights_only(name):
    cfg = OptimizerConfig(name=name, weight_decay=0.04, final_weight_decay=0.4)
    optimizer = build(cfg, Layers())
    for progress, decay in ((0.0, 0.04), (0.5, 0.22), (1.0, 0.4)):
        schedule_weight_decay(optimizer, cfg, progress)
        assert [group["weight_decay"] for group in optimizer.param_groups] == [pytest.approx(decay), 0.0]
    again = build(cfg, Layers())
    again.load_state_dict(optimizer.state_dict())
    schedule_weight_decay(again, cfg, 0.5)
    assert again.param_groups[0]["weight_decay"] == pytest.approx(0.22)


def test_weight_decay_stays_where_no_end_is_given():
    cfg = OptimizerConfig(weight_decay=0.1)
    optimizer = build(cfg, Layers())
    schedule_weight_decay(optimizer, cfg, 0.7)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all("decayed" not in group for group in optimizer.param_groups)


def test_a_cosine_that_began_with_training_goes_on_where_warm_up_ends():
    """PySlowFast's BYOL: a peak of 0.6, 35 of 200 epochs of warm-up, which end at 0.556."""
    cfg = recipe("byol.kinetics400").optimizer
    rates = [learning_rate(cfg, 64, progress, 200.0) for progress in (0.0, 0.0875, 0.175 - 1e-9, 0.175, 117.5 / 200, 1.0)]
    assert rates == pytest.approx([0.0, 0.278, 0.556, 0.556, 0.219, 0.0], abs=5e-4)
