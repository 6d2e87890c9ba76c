import numpy as np
import pytest
import torch
from torch import nn

from fullrank.draws import permutation
from fullrank.errors import SettingError, ShapeError
from fullrank.evaluation import probes as module
from fullrank.evaluation.probes import Probes, Setting, judge, train_probes

SETTINGS = [Setting(rate, decay) for rate in (0.01, 0.1, 1.0) for decay in (0.0, 0.01)]


def _data(n=70, d=6, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator), torch.randint(classes, (n,), generator=generator)


def _one(x, y, setting, classes, epochs, batch, seed):
    """One classifier with torch's own layer, loss, optimizer and schedule."""
    layer = nn.Linear(x.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    groups = [{"params": [layer.weight], "weight_decay": setting.weight_decay}, {"params": [layer.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=setting.learning_rate, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * -(-len(x) // batch))
    for epoch in range(epochs):
        for rows in torch.from_numpy(permutation(seed, epoch, len(x))).split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
            schedule.step()
    return layer


@pytest.mark.parametrize(("max_width", "classes"), [(8192, 4), (8, 4), (8192, 40)])
def test_all_at_once_equals_one_by_one(monkeypatch, max_width, classes):
    monkeypatch.setattr(module, "MAX_WIDTH", max_width)
    x, y = _data(classes=classes)
    found = train_probes(x, y, SETTINGS, num_classes=classes, epochs=8, batch_size=16, seed=3)
    for i, setting in enumerate(SETTINGS):
        layer = _one(x, y, setting, classes, 8, 16, 3)
        torch.testing.assert_close(found.weight[i], layer.weight.detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.bias[i], layer.bias.detach(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.logits(x)[i], layer(x).detach(), rtol=1e-5, atol=1e-4)


def test_the_seed_decides_the_order_and_repeats():
    x, y = _data()
    a, b, c = (train_probes(x, y, SETTINGS, num_classes=4, epochs=2, batch_size=8, seed=s) for s in (1, 1, 2))
    assert torch.equal(a.weight, b.weight)
    assert not torch.equal(a.weight, c.weight)


def test_judge_equals_torch():
    x, y = _data()
    found = train_probes(x, y, SETTINGS[:2], num_classes=4, epochs=3)
    accuracy, loss = judge(found, x, y)
    logits = x @ found.weight[1].T + found.bias[1]
    assert accuracy[1] == pytest.approx(float((logits.argmax(1) == y).float().mean()))
    assert loss[1] == pytest.approx(float(nn.functional.cross_entropy(logits, y)), rel=1e-5)


def test_a_diverged_setting_is_worst():
    x, y = _data()
    found = Probes(torch.stack([torch.zeros(4, 6), torch.full((4, 6), torch.nan)]), torch.zeros(2, 4))
    accuracy, loss = judge(found, x, y)
    assert accuracy[1] == 0.0
    assert torch.isinf(loss[1])
    assert loss[0] == pytest.approx(np.log(4), rel=1e-5)


def test_progress_reaches_one(monkeypatch):
    monkeypatch.setattr(module, "MAX_WIDTH", 8)
    x, y = _data()
    seen = []
    train_probes(x, y, SETTINGS, num_classes=4, epochs=2, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) == 6


@pytest.mark.usefixtures("wrong_shapes")
def test_sentences():
    x, y = _data()
    for arguments, keywords, error, message in (
        ((x, y[:3], SETTINGS), {"num_classes": 4}, ShapeError, r"Got \[70, 6\] and \[3\]"),
        ((x, y, SETTINGS), {"num_classes": 3}, ShapeError, "labels must be in 0..2. Got 0..3"),
        ((x, y, []), {"num_classes": 4}, SettingError, "Got 0 settings"),
        ((x, y, [Setting(0.0, 0.0)]), {"num_classes": 4}, SettingError, "learning rates must be above 0"),
        ((x, y, [Setting(1.0, -1.0)]), {"num_classes": 4}, SettingError, "weight decays at least 0"),
    ):
        with pytest.raises(error, match=message):
            train_probes(*arguments, **keywords)
