"""Lets torchvision's wheel for GPUs be imported beside a CPU build of torch; only for comparisons.

Its compiled operators cannot load without CUDA's libraries, and the import fails because two of them were never
declared. Declaring their signatures is enough for everything that does not call them (transforms, models, data sets).
"""

import importlib.util
from typing import Any

_kept: list[Any] = []
"""a library's declarations vanish with it"""


def import_torchvision() -> Any:
    """``torchvision``, or ImportError where it is not installed."""
    import torch

    if importlib.util.find_spec("torchvision") is None:
        raise ImportError("torchvision is not installed here")
    if not _kept and not torch.cuda.is_available():
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        _kept.append(library)
    import torchvision

    return torchvision
