"""From the host to the device without waiting."""

import torch
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """``x`` on ``device``.

    A copy to a GPU from ordinary memory waits until the GPU has done everything that it was given before, so that the host
    cannot prepare the next step meanwhile; from pinned memory it does not. torch keeps pinned memory for the next copy.
    """
    if device.type == "cuda" and x.device.type == "cpu" and x.is_contiguous() and not x.is_pinned():
        x = x.pin_memory()
    return x.to(device, non_blocking=True)
