"""Convolutions whose gradient is right where a map is smaller than the kernel, on a CPU in bfloat16 too."""

from torch import Tensor, nn
from torch.nn import functional as F


def _stride(x: Tensor, stride: tuple[int, ...], padding: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Stride 1 along height and width where both are 1: the same output.

    On a CPU in bfloat16 torch (2.13; oneDNN) leaves the weight gradient of a strided convolution of such a map partly
    unwritten: it holds whatever was in the memory, NaN for one.
    """
    same = all(2 * p == k - 1 for p, k in zip(padding[-2:], kernel[-2:], strict=True))
    return (*stride[:-2], 1, 1) if same and tuple(x.shape[-2:]) == (1, 1) else stride


class Conv2d(nn.Conv2d):
    """As torch's."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, height, width]."""
        stride = _stride(x, self.stride, self.padding, self.kernel_size)  # type: ignore[arg-type]
        return F.conv2d(x, self.weight, self.bias, stride, self.padding, self.dilation, self.groups)


class Conv3d(nn.Conv3d):
    """As torch's."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, channels, time, height, width].

        Zeros before and after fewer frames than the kernel is long are put there by hand: on a CPU in bfloat16 torch (2.13;
        oneDNN) otherwise leaves part of the weight gradient unwritten, and writes beyond its end.
        """
        stride = _stride(x, self.stride, self.padding, self.kernel_size)  # type: ignore[arg-type]
        padding: tuple[int, ...] = self.padding  # type: ignore[assignment]
        if x.device.type == "cpu" and padding[0] and 1 < x.shape[2] < self.kernel_size[0]:
            x, padding = F.pad(x, (0, 0, 0, 0, padding[0], padding[0])), (0, *padding[1:])
        return F.conv3d(x, self.weight, self.bias, stride, padding, self.dilation, self.groups)
