"""Files of weights from anywhere, read as data: nothing in a file is ever executed."""

import argparse
import pickletools
import re
import struct
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullrank.checkpoint.plain_numpy import STAND_INS, NotPlainError
from fullrank.checkpoint.save import UNREADABLE, brief
from fullrank.errors import CheckpointError

HEAD_BYTES = 512
_PLAIN: list[Any] = [argparse.Namespace, *STAND_INS]
"""containers and numbers that other codebases put beside their tensors; none of them runs code"""
_UNREADABLE = (*UNREADABLE, TypeError, AssertionError, LookupError, MemoryError, struct.error)
"""what torch.load raises on files with a few bytes changed, found by changing them"""
_TORCH_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""near the beginning of what torch.save wrote before it wrote archives"""
_HARMLESS = ("numpy.", "torch.", "collections.", "_codecs.")
_MOST_OPCODES = 100_000
"""of a pickle that are looked through for what it wants to run"""


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
    return path.suffix.lower() == ".safetensors" or head[8:10] == b'{"'


def read_safetensors(path: Path, *, metadata_only: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (none with ``metadata_only``) and metadata; ``CheckpointError`` where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            names = [] if metadata_only else file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
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
    except NotPlainError as error:
        raise CheckpointError(
            f"{path} must be data only. It holds a numpy array of {error}, whose reading could run code; save it again as "
            "plain numbers."
        ) from error
    except _UNREADABLE as error:
        raise CheckpointError(_reason(path, zipped, error)) from error


def is_pickle(head: bytes) -> bool:
    """Whether a file begins as Python's pickle does, torch.save's older form included."""
    return head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"


def _reason(path: Path, zipped: bool, error: Exception) -> str:
    """Why torch could not read a file, as a sentence."""
    again = "so it was not opened; where you trust it, save its"
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_pickle(head) and _TORCH_MAGIC not in head:
        runs = _wants_to_run(path)
        what = f"It wants to run {runs}" if runs else "It is a plain pickle, whose reading could run code"
        return f"{path} must be data only. {what}, {again} arrays with numpy.save."
    if wanted := re.search(r"GLOBAL ([\w.]+\w)", str(error)):
        return f"{path} must be data only. It wants to run {wanted[1]}, {again} state dict again with its own code."
    if "TorchScript" in str(error):
        return f"{path} must be data only. It is a TorchScript program; save its state dict with its own code."
    if not zipped and _TORCH_MAGIC not in head:
        return (
            f"{path} must be a checkpoint, weights or an array. It is neither a torch, .safetensors, .npy nor .npz file, or "
            "its beginning is damaged; check what it is."
        )
    said = re.search(r"WeightsUnpickler error: (.+)", str(error))
    reason = "its end is missing" if "central directory" in str(error) else said[1][:120] if said else brief(error)
    return f"{path} must be a checkpoint, weights or an array. It is damaged or cut off ({reason}); copy it again."


def _wants_to_run(path: Path) -> str | None:
    """The first name in a pickle that is none of data; only its opcodes are looked at, nothing is run."""
    last: str | None = None
    words: list[str | None] = []
    memo: dict[int, str | None] = {}
    try:
        with path.open("rb") as file:
            for opcode, argument, _ in islice(pickletools.genops(file), _MOST_OPCODES):
                kind, name = opcode.name, ""
                given: Any = argument
                if kind == "GLOBAL":
                    name = str(given).replace(" ", ".")
                elif kind == "STACK_GLOBAL":
                    name = ".".join(map(str, words[-2:]))
                if name and not name.startswith(_HARMLESS):
                    return name
                if kind == "MEMOIZE" or kind.endswith("PUT"):
                    memo[len(memo) if given is None else given] = last
                    continue
                last = memo.get(given) if kind.endswith("GET") else given if isinstance(given, str) else None
                if last is not None and not name:
                    words.append(last)
    except (ValueError, MemoryError):  # it ends in the middle, or goes on as something else
        return None
    return None


def read_weights(path: Path) -> Any:
    """What a file of weights holds: a state dict, or a container with some inside. ``CheckpointError`` where it holds none."""
    head = read_head(path)
    if is_safetensors(path, head):
        return read_safetensors(path)[0]
    return load_plain(path, head.startswith(b"PK"))
