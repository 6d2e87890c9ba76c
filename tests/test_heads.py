"""Heads: layers, prototypes, mistakes."""

import pytest
import torch
from torch import nn

from fullrank.errors import SettingError
from fullrank.heads import Prototypes, mlp


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
