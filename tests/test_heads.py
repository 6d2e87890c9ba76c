"""Heads: layers, prototypes, mistakes."""

import pytest
import torch
from torch import nn

from fullrank.errors import SettingError
from fullrank.heads import Prototypes, WeightNormLinear, dino_projector, mlp


@pytest.mark.parametrize(
    ("options", "kinds", "biases"),
    [
        ({}, "LBRLBRL", [False, False, True]),
        ({"batch_norm": False}, "LRLRL", [True, True, True]),
        ({"last_batch_norm": True}, "LBRLBRLB", [False, False, False]),
        ({"last_bias": False}, "LBRLBRL", [False, False, False]),
    ],
)
def test_layers(options, kinds, biases):
    head = mlp((5, 7, 7, 3), **options)
    assert "".join(type(layer).__name__[0] for layer in head) == kinds
    assert [layer.bias is not None for layer in head if isinstance(layer, nn.Linear)] == biases
    assert head(torch.randn(4, 5)).shape == (4, 3)
    if options.get("last_batch_norm"):
        assert not head[-1].affine


@pytest.mark.parametrize("dims", [(5,), (5, 0), (5, -3, 2)])
def test_impossible_widths(dims):
    with pytest.raises(SettingError, match="at least"):
        mlp(dims)


def test_prototypes_score_by_cosine_and_return_to_the_sphere():
    prototypes = Prototypes(4, 6)
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(6))
    z = torch.randn(3, 2, 4)
    torch.testing.assert_close(prototypes(5 * z), prototypes(z))
    torch.testing.assert_close(prototypes(z)[1, 0, 2], nn.functional.cosine_similarity(z[1, 0], prototypes.weight[2], dim=0))
    with torch.no_grad():
        prototypes.weight.mul_(2.0)
    prototypes.normalize_()
    torch.testing.assert_close(prototypes.weight.norm(dim=1), torch.ones(6))


def test_prototypes_stay_in_float32_under_autocast():
    prototypes, z = Prototypes(4, 6), torch.randn(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(prototypes(z), prototypes(z.float()))
        assert prototypes(z).dtype == torch.float32


def test_gelu_instead_of_relu():
    assert "".join(type(layer).__name__[0] for layer in mlp((5, 7, 3), activation="gelu")) == "LBGL"


@pytest.mark.parametrize(("batch_norm", "kinds"), [(False, "LGLGL"), (True, "LBGLBGL")])
def test_dino_projector_starts_small(batch_norm, kinds):
    torch.manual_seed(0)
    head = dino_projector((64, 128, 128, 32), batch_norm=batch_norm)
    assert "".join(type(layer).__name__[0] for layer in head) == kinds
    for layer in head:
        if isinstance(layer, nn.Linear):
            assert 0.018 < float(layer.weight.detach().std()) < 0.022
            assert layer.bias is None or float(layer.bias.detach().abs().max()) == 0.0


def test_weight_norm_linear_is_torchs_of_a_unit_vector():
    """torch's own weight norm, with the magnitude set to one, as DINO's code does it."""
    torch.manual_seed(0)
    ours, linear = WeightNormLinear(6, 4), nn.Linear(6, 4, bias=False)
    with torch.no_grad():
        linear.weight.copy_(ours.weight)
    theirs = nn.utils.parametrizations.weight_norm(linear)
    theirs.parametrizations.weight.original0.data.fill_(1.0)
    z = torch.randn(3, 5, 6)
    torch.testing.assert_close(ours(z), theirs(nn.functional.normalize(z, dim=-1)))
    ours(z).square().sum().backward()
    theirs(nn.functional.normalize(z, dim=-1)).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.parametrizations.weight.original1.grad)


def test_the_magnitude_moves_only_where_it_may():
    z = torch.randn(3, 6)
    for frozen in (True, False):
        layer = WeightNormLinear(6, 4, frozen_magnitude=frozen)
        layer(z).sum().backward()
        assert (layer.magnitude.grad is None) == frozen
    with pytest.raises(SettingError, match="at least one input and output. Got 6 and 0"):
        WeightNormLinear(6, 0)


def test_weight_norm_linear_stays_in_float32_under_autocast():
    layer, z = WeightNormLinear(4, 6), torch.randn(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(z), layer(z.float()))
        assert layer(z.to(torch.bfloat16)).dtype == torch.float32
