"""Files of weights from anywhere, read as data: nothing in a file is ever executed."""

import argparse
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullrank.checkpoint.save import UNREADABLE, brief
from fullrank.errors import CheckpointError

HEAD_BYTES = 512
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""containers and numbers that other codebases put beside their tensors; none of them runs code"""


def read_head(path: Path) -> bytes:
    """The first bytes; ``CheckpointError`` for what is no file of weights at all (a page, a pointer, nothing)."""
    if path.is_dir():
        raise CheckpointError(f"{path} must be a file of weights. Got a folder; name the file inside.")
    if not path.exists():
        raise CheckpointError(f"There must be a weights file at {path}. Got nothing there; check the path.")
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise CheckpointError(f"{path} must be a checkpoint, weights or an array. It is empty; copy or download it again.")
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path} must be the file itself. It is a web page; download the file itself.")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} must be the file itself. It is a Git LFS pointer to it; run `git lfs pull` there.")
    return head


def is_safetensors(path: Path, head: bytes) -> bool:
    """By the name, or by the header."""
    return path.suffix == ".safetensors" or head[8:10] == b'{"'


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata; ``CheckpointError`` where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} must be a whole .safetensors file. It is damaged or cut off ({brief(error)}); copy it again."
        ) from error


def load_plain(path: Path, zipped: bool) -> Any:
    """The content of a file of torch.save, if it is data and nothing else; ``CheckpointError`` otherwise."""
    try:
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except (*UNREADABLE, TypeError) as error:
        wanted = re.search(r"GLOBAL ([\w.]+\w)", str(error))
        if wanted:
            raise CheckpointError(
                f"{path} must be data only. It wants to run {wanted[1]}, so it was not opened; where you trust it, save its "
                "state dict again with its own code."
            ) from error
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{path} must be data only. It is a TorchScript program; save its state dict with its own code."
            ) from error
        what = "is neither a torch, .safetensors, .npy nor .npz file, or its beginning is damaged; check what it is."
        reason = "its end is missing" if "central directory" in str(error) else brief(error)
        what = f"is damaged or cut off ({reason}); copy it again." if zipped else what
        raise CheckpointError(f"{path} must be a checkpoint, weights or an array. It {what}") from error


def read_weights(path: Path) -> Any:
    """What a file of weights holds: a state dict, or a container with some inside. ``CheckpointError`` where it holds none."""
    head = read_head(path)
    if is_safetensors(path, head):
        return read_safetensors(path)[0]
    return load_plain(path, head.startswith(b"PK"))
