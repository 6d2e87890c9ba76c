"""Patches and the masked error, against loops over patches."""

import pytest
import torch

from fullrank.errors import ShapeError
from fullrank.objectives.reconstruction import masked_mse, patches


def test_patches_are_the_blocks_of_the_clip_in_the_order_time_row_column():
    pixels = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    got = patches(pixels, (2, 3, 4))
    row = 0
    for t in range(0, 4, 2):
        for y in range(0, 6, 3):
            for x in range(0, 8, 4):
                block = pixels[:, :, t : t + 2, y : y + 3, x : x + 4]
                assert torch.equal(got[:, row], block.permute(0, 2, 3, 4, 1).flatten(1))
                row += 1
    assert got.shape == (2, row, 2 * 3 * 4 * 3)


def test_patches_that_do_not_divide_are_refused():
    with pytest.raises(ShapeError, match="must divide into patches"):
        patches(torch.zeros(1, 3, 1, 10, 8), (1, 4, 4))


@pytest.mark.parametrize("normalize", [True, False])
def test_masked_mse_equals_a_loop(normalize):
    predicted, target = torch.randn(3, 5, 7, dtype=torch.float64), torch.randn(3, 5, 7, dtype=torch.float64)
    hidden = torch.zeros(3, 5, dtype=torch.bool)
    hidden[:, [0, 3]] = True
    total, count = 0.0, 0
    for b in range(3):
        for i in range(5):
            if hidden[b, i]:
                y = target[b, i]
                if normalize:
                    y = (y - y.mean()) / (y.var() + 1e-6) ** 0.5
                total += float(((predicted[b, i] - y) ** 2).sum())
                count += 7
    assert float(masked_mse(predicted, target, hidden, normalize=normalize)) == pytest.approx(total / count, abs=1e-10)


def test_visible_patches_do_not_count():
    predicted, target = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    hidden = torch.tensor([[True, True, False, False]] * 2)
    changed = predicted.clone()
    changed[:, 2:] += 5.0
    assert torch.equal(masked_mse(predicted, target, hidden), masked_mse(changed, target, hidden))


def test_gradient():
    predicted = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    target, hidden = torch.randn(2, 3, 4, dtype=torch.float64), torch.tensor([[True, False, True]] * 2)
    assert torch.autograd.gradcheck(lambda x: masked_mse(x, target, hidden), (predicted,))
