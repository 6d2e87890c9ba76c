import pytest
import torch

from fullrank.backbones.convgru import ConvGRU, ConvGRUCell
from fullrank.errors import SettingError, ShapeError


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def naive_step(cell, x, h):
    """The equations of a gated recurrent unit, place by place: with 1x1 kernels a convolution is a matrix product."""
    out = torch.zeros_like(h)
    weights = {name: p[:, :, 0, 0] if p.ndim == 4 else p for name, p in cell.state_dict().items()}

    def gate(name, vector):
        return weights[name + ".weight"] @ vector + weights[name + ".bias"]

    for b, i, j in ((b, i, j) for b in range(x.shape[0]) for i in range(x.shape[2]) for j in range(x.shape[3])):
        here, state = x[b, :, i, j], h[b, :, i, j]
        z = torch.sigmoid(gate("update_gate", torch.cat([here, state])))
        r = torch.sigmoid(gate("reset_gate", torch.cat([here, state])))
        c = torch.tanh(gate("out_gate", torch.cat([here, r * state])))
        out[b, :, i, j] = (1 - z) * state + z * c
    return out


def test_equals_the_equations():
    gru, x = ConvGRU(3, 4).double().eval(), randn(2, 3, 3, 2, 2)
    for parameter in gru.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    h, want = torch.zeros(2, 4, 2, 2, dtype=torch.float64), []
    for block in x.unbind(1):
        h = naive_step(gru.cell, block, h)
        want.append(h)
    outputs, last = gru(x)
    torch.testing.assert_close(outputs, torch.stack(want, dim=1))
    assert torch.equal(last, outputs[:, -1])
    again, _ = gru(x[:, 1:], gru(x[:, :1])[1])
    torch.testing.assert_close(again, outputs[:, 1:])


def test_larger_kernels_keep_the_size():
    assert ConvGRU(3, 4, kernel_size=3)(torch.randn(1, 2, 3, 5, 6))[0].shape == (1, 2, 4, 5, 6)


def test_weights_start_orthogonal():
    weight = ConvGRUCell(4, 4).reset_gate.weight.flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(4))


def test_dropout_falls_on_the_state_that_goes_on_and_only_in_train_mode():
    gru, x = ConvGRU(3, 64, dropout=0.5), torch.randn(1, 2, 3, 4, 4)
    outputs, last = gru(x)
    assert 0.3 < float((outputs == 0).float().mean()) < 0.7
    assert torch.equal(last, outputs[:, -1])
    assert not (gru.eval()(x)[0] == 0).any()


@pytest.mark.usefixtures("wrong_shapes")
def test_mistakes_are_a_sentence():
    with pytest.raises(SettingError, match="kernel_size of a ConvGRU must be odd"):
        ConvGRU(3, 4, kernel_size=2)
    with pytest.raises(ShapeError, match=r"must be \[batch, blocks, channels, height, width\]"):
        ConvGRU(3, 4)(torch.randn(2, 3, 4, 4))
