"""Which device a user may name."""

import torch

from fullrank.errors import SettingError


def check_device(device: str) -> torch.device:
    """The device called ``device``; ``SettingError`` where torch knows no such name, or sees no such GPU."""
    unknown = SettingError(f"device must be cpu or cuda. Got '{device}'; leave it out for the CPU.")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise unknown from None
    if found.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(
            f"device must be cpu on this machine. Got {device}, and torch sees no GPU; leave it out for the CPU."
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise SettingError(f"device must be one of {seen} GPU{'s' * (seen > 1)}, counted from 0. Got {device}; take cuda:0.")
    try:
        torch.zeros(1, device=found).item()
    except (RuntimeError, NotImplementedError):  # names that torch knows and cannot compute on here
        raise unknown from None
    return found
