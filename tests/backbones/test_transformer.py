import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.backbones.transformer import Block, DropPath, initialise


def test_drop_path_keeps_the_mean():
    torch.manual_seed(0)
    drop, rows = DropPath(0.25), torch.ones(40_000, 2, 3)
    out = drop(rows)
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, 4 / 3]))
    assert float(out.mean()) == pytest.approx(1.0, abs=0.02)
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert (out == out[:, :1, :1]).all()
    assert drop.eval()(rows) is rows
    tokens = torch.randn(2, 7, 64)
    assert torch.equal(Block(64, 2, drop_path=1 - 1e-9)(tokens), tokens)


def test_linear_layers_start_small_and_without_bias():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(300, 300), nn.LayerNorm(300))
    initialise(layers)
    assert float(layers[0].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert layers[0].bias.abs().max() == 0
    assert F.relu(layers[1].weight).min() == 1
