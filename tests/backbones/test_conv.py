"""Convolutions of maps smaller than their kernel have the gradient that mathematics says, in bfloat16 on a CPU too."""

import pytest
import torch
from torch.nn import functional as F

from fullrank.backbones.conv import Conv2d, Conv3d

CLIPS = [(kernel, time, side) for kernel in ((3, 1, 1), (3, 3, 3)) for time in (1, 2, 3) for side in (1, 2, 4)]
CLIPS += [((5, 1, 1), time, 4) for time in (2, 3, 4, 5)]


@pytest.mark.parametrize(("kernel", "time", "side"), CLIPS)
def test_few_frames_under_a_long_kernel(kernel, time, side):
    torch.manual_seed(0)
    padding = tuple(k // 2 for k in kernel)
    conv = Conv3d(16, 32, kernel, padding=padding, bias=False)
    x = torch.randn(8, 16, time, side, side)
    expected = conv.weight.detach().clone().requires_grad_()
    y = F.conv3d(x, expected, None, 1, padding)
    y.square().sum().backward()
    torch.testing.assert_close(conv(x), y)
    check_gradient(conv, x, expected.grad)


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize(("cls", "kernel"), [(Conv2d, (3, 3)), (Conv3d, (1, 3, 3)), (Conv3d, (3, 3, 3))])
def test_gradient_in_bfloat16_is_that_of_float32(cls, kernel, side):
    torch.manual_seed(0)
    stride, padding = ((1,) if len(kernel) == 3 else ()) + (2, 2), tuple(k // 2 for k in kernel)
    conv = cls(16, 32, kernel, stride, padding, bias=False)
    x = torch.randn(8, 16, *((4,) if len(kernel) == 3 else ()), side, side)
    expected = conv.weight.detach().clone().requires_grad_()
    (F.conv2d if len(kernel) == 2 else F.conv3d)(x, expected, None, stride, padding).square().sum().backward()
    check_gradient(conv, x, expected.grad)


def check_gradient(conv, x, expected):
    """What the memory held before must not show."""
    for _ in range(5):
        garbage = [torch.full((size,), float("nan")) for size in (conv.weight.numel(), 2 * conv.weight.numel())]
        del garbage
        conv.weight.grad = None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = conv(x)
        y.float().square().sum().backward()
        torch.testing.assert_close(conv.weight.grad, expected, atol=0.03 * float(expected.abs().max()), rtol=0.05)


def test_output_is_torchs():
    x = torch.randn(2, 4, 3, 1, 1)
    conv = Conv3d(4, 5, (3, 3, 3), (1, 2, 2), (1, 1, 1))
    torch.testing.assert_close(conv(x), F.conv3d(x, conv.weight, conv.bias, (1, 2, 2), (1, 1, 1)))
    uneven = Conv3d(4, 5, (1, 1, 1), (1, 2, 2), (0, 1, 1))
    torch.testing.assert_close(uneven(x), F.conv3d(x, uneven.weight, uneven.bias, (1, 2, 2), (0, 1, 1)))
