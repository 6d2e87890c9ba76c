import pytest
import torch
from torch import nn

from fullrank.backbones.build import load_weights
from fullrank.backbones.convgru import ConvGRU, ConvGRUCell
from fullrank.backbones.resnet import ResNet
from fullrank.errors import SettingError, ShapeError

TOLERANCE = 1e-4


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


@torch.no_grad()
@pytest.mark.parametrize("depth", [18, 34])
def test_dpcs_network_from_blocks_to_context_and_predictions(reference, depth):
    """The file of depth 18 has no running statistics: the authors' code then takes the batch's, as train mode does."""
    dpc = reference(f"dpc_resnet{depth}")
    net, gru = ResNet(depth, temporal="2d3d").train(depth == 18), ConvGRU(256, 256).eval()
    state = dpc.state("module.backbone.")
    if depth == 18:
        assert not any("running" in key for key in state)
        state |= {key: value for key, value in net.state_dict().items() if "running" in key}
    load_weights(net, state, "fixture")
    load_weights(gru.cell, dpc.state("module.agg.cell_list.0."), "fixture")
    predictor = nn.Sequential(nn.Conv2d(256, 256, 1), nn.ReLU(), nn.Conv2d(256, 256, 1))
    load_weights(predictor, dpc.state("module.network_pred."), "fixture")

    blocks = dpc.input()
    maps = net.maps(blocks.flatten(0, 1))["layer4"]
    assert maps.shape[1:] == (256, 2, 2, 2)
    pooled = maps.mean(2).unflatten(0, blocks.shape[:2])
    context = gru(pooled[:, :5].relu())[1]
    hidden, predictions = context, []
    for _ in range(3):
        predictions.append(predictor(hidden))
        hidden = gru(predictions[-1].relu()[:, None], hidden)[1]
    predicted, wanted = torch.stack(predictions, dim=1), pooled[:, 5:]
    scores = torch.einsum("bpchw,bqcxy->bphwqxy", predicted, wanted)

    outputs = {
        "backbone_mean": maps.mean((2, 3, 4)).unflatten(0, blocks.shape[:2]).flatten(1),
        "block_features": pooled.relu().mean((3, 4)).flatten(1),
        "context": context.mean((2, 3)),
        "context_map": context.flatten(1),
        "predictions_mean": predicted.mean((3, 4)).flatten(1),
        "score_own": scores.flatten(1),
        "context_lc": gru(maps.relu().mean(2).unflatten(0, blocks.shape[:2]))[1].mean((2, 3)),
    }
    assert set(outputs) == set(dpc.expected.files)
    errors = {name: dpc.error(name, value) for name, value in outputs.items()}
    assert max(errors.values()) < TOLERANCE, errors
    if depth == 34:
        torch.testing.assert_close(net(blocks[0]).flatten(), outputs["backbone_mean"][0])
