"""Objectives that put hidden patches back."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fullrank.errors import ShapeError


def patches(
    pixels: Float[Tensor, "batch channels time height width"], patch: tuple[int, int, int]
) -> Float[Tensor, "batch tokens values"]:
    """The pixels of each patch as one row, ``patch`` = (frames, rows, columns); tokens in the order (t, h, w).

    Values of a row in the order (frame, row, column, channel), as MAE's and VideoMAE's code have them.

    >>> patches(torch.arange(4.0).view(1, 1, 1, 2, 2), (1, 1, 2)).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    if any(size % side for size, side in zip(pixels.shape[2:], patch, strict=True)):
        raise ShapeError(f"pixels must divide into patches of {patch}. Got {list(pixels.shape[2:])}.")
    cut = pixels
    for axis, side in zip((2, 4, 6), patch, strict=True):
        cut = cut.unflatten(axis, (-1, side))
    # batch, channels, t, frames, h, rows, w, columns
    return cut.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(1, 3).flatten(2)


def masked_mse(
    predicted: Float[Tensor, "batch tokens values"],
    target: Float[Tensor, "batch tokens values"],
    hidden: Bool[Tensor, "batch tokens"],
    *,
    normalize: bool = True,
    epsilon: float = 1e-6,
) -> Float[Tensor, ""]:
    """Mean squared error over the values of hidden patches (He et al., CVPR 2022, arXiv 2111.06377, section 3).

    L = 1 / (|M| v) sum over hidden patches i of ||x_i - y_i||^2, where ``normalize`` makes y_i of zero mean and unit
    (unbiased) variance within its patch: (y - mean) / sqrt(var + epsilon), the paper's better variant.

    Range [0, inf). A prediction that is the same for every patch and record (complete collapse of the decoder) gives at
    best the variance of the targets: about (v - 1) / v where normalised.

    >>> y = torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])
    >>> masked_mse(torch.zeros(1, 2, 2), y, torch.tensor([[True, False]]), normalize=False).item()  # (1 + 9) / 2
    5.0
    """
    if predicted.shape != target.shape:
        raise ShapeError(f"predicted patches must be {list(target.shape)}. Got {list(predicted.shape)}.")
    with torch.autocast(predicted.device.type, enabled=False):
        if normalize:
            mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
            target = (target - mean) / (var + epsilon).sqrt()
        return (predicted - target).square().mean(-1)[hidden].mean()
