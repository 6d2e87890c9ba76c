"""What `fullrank inspect` reads: files of weights and arrays, ours and others'. Nothing in a file is ever executed."""

import argparse
import hashlib
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank.checkpoint.save import UNREADABLE, hash_of_tensors
from fullrank.errors import CheckpointError

Found = dict[str, Any]
BIGGEST = 8
_BLOCK_VALUES = 2**24
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""containers and numbers that other codebases put beside their tensors; none of them runs code"""


def read_file(path: Path) -> Found:
    """What one file holds; ``CheckpointError`` with one sentence where nothing can be said."""
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} must be a checkpoint, weights or an array. It is empty; copy or download it again.")
    with path.open("rb") as file:
        head = file.read(512)
    _refuse_text(path, head)
    about: Found = {"path": str(path), "bytes": size, "sha256": _sha256(path)}
    if head.startswith(b"\x93NUMPY"):
        return about | {"kind": "array", "arrays": {path.stem: describe_array(open_array(path))}}
    if path.suffix == ".npz":
        return about | {"kind": "arrays", "arrays": _archive(path)}
    if path.suffix == ".safetensors" or head[8:10] == b'{"':
        return about | _safetensors(path)
    return about | _torch_file(path, head)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_text(path: Path, head: bytes) -> None:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(f"{path} must be a checkpoint, weights or an array. It is a web page; download the file itself.")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} must be the file itself. It is a Git LFS pointer to it; run `git lfs pull` there.")


def open_array(path: Path) -> NDArray[Any]:
    """A .npy file, memory-mapped; ``CheckpointError`` where it is damaged or holds Python objects."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, EOFError, OSError) as error:
        raise _bad_array(path, error) from error


def _bad_array(path: Path, error: Exception) -> CheckpointError:
    if "allow_pickle" in str(error) or "object" in str(error).lower():
        return CheckpointError(
            f"{path} must hold numbers. It holds Python objects, whose reading could run code; save it again as plain arrays."
        )
    return CheckpointError(f"{path} must be a whole array. It is damaged or cut off ({_line(error)}); copy it again.")


def _archive(path: Path) -> dict[str, Found]:
    found = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                found[name] = describe_array(archive[name])
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise _bad_array(path, error) from error
    return found


def describe_array(array: NDArray[Any]) -> Found:
    """Shape, dtype, and for numbers with fractions how many of them are NaN or infinite."""
    found: Found = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.dtype.kind in "fc":
        rows = max(1, _BLOCK_VALUES // max(1, int(np.prod(array.shape[1:], dtype=np.int64))))
        blocks = [array] if array.ndim == 0 else (array[start : start + rows] for start in range(0, len(array), rows))
        found["not_finite"] = int(sum(np.count_nonzero(~np.isfinite(block)) for block in blocks))
    return found


def _safetensors(path: Path) -> Found:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} must be a whole .safetensors file. It is damaged or cut off ({_line(error)}); copy it again."
        ) from error
    return {"kind": "weights", "format": "safetensors", "metadata": metadata, **describe_tensors(tensors)}


def _torch_file(path: Path, head: bytes) -> Found:
    zipped = head.startswith(b"PK")
    state = load_plain(path, zipped)
    tensors = dict(_tensors(state))
    found = describe_tensors(tensors)
    if zipped:
        found["checksums"] = _checksums(path)
    if isinstance(state, Mapping) and "fullrank" in state and isinstance(state.get("method"), Mapping):
        own = {key: state[key] for key in ("fullrank", "format", "step", "method_name", "config", "engine") if key in state}
        weights = {name: tensor for name, tensor in state["method"].items() if isinstance(tensor, Tensor)}
        return {"kind": "checkpoint", **own, "checkpoint_hash": hash_of_tensors(weights), **describe_tensors(weights)} | {
            key: found[key] for key in ("checksums",) if key in found
        }
    entries = {str(key): _summary(value) for key, value in state.items()} if isinstance(state, Mapping) else {}
    return {"kind": "weights", "format": "torch", "holds": _summary(state), "entries": entries, **found}


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
        what = f"is damaged or cut off ({_line(error)}); copy it again." if zipped else what
        raise CheckpointError(f"{path} must be a checkpoint, weights or an array. It {what}") from error


def _checksums(path: Path) -> str:
    """What the archive's checksums say: torch itself reads a flipped bit without a word."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        return f"unreadable ({_line(error)})"
    return "right" if broken is None else f"wrong for {broken}: damaged, or written without checksums"


def _tensors(value: Any, name: str = "", inside: tuple[int, ...] = ()) -> Iterable[tuple[str, Tensor]]:
    """All tensors, however deep, with dotted names. A container that holds itself is entered once."""
    if isinstance(value, Tensor):
        yield name or "tensor", value
        return
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    if id(value) in inside:
        return
    for key, item in items:
        yield from _tensors(item, f"{name}.{key}" if name else str(key), (*inside, id(value)))


def describe_tensors(tensors: Mapping[str, Tensor]) -> Found:
    """Number, values, bytes, dtypes, parts (by the first names that differ), the biggest, and those with NaN or infinity."""
    values = {name: tensor.numel() for name, tensor in tensors.items()}
    dtypes: dict[str, int] = {}
    for tensor in tensors.values():
        name = str(tensor.dtype).removeprefix("torch.")
        dtypes[name] = dtypes.get(name, 0) + 1
    biggest = sorted(tensors, key=lambda name: -values[name])[:BIGGEST]
    return {
        "tensors": len(tensors),
        "parameters": sum(values.values()),
        "tensor_bytes": sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()),
        "dtypes": dtypes,
        "parts": _parts(values),
        "biggest": {name: list(tensors[name].shape) for name in biggest},
        "not_finite": [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())],
    }


def _parts(values: Mapping[str, int]) -> dict[str, list[int]]:
    """{prefix: [tensors, values]}: the shared beginning of all names is skipped."""
    names = [name.split(".") for name in values]
    depth = 0
    while names and all(len(parts) > depth + 1 and parts[depth] == names[0][depth] for parts in names):
        depth += 1
    found: dict[str, list[int]] = {}
    for parts, count in zip(names, values.values(), strict=True):
        entry = found.setdefault(".".join(parts[: depth + 1]), [0, 0])
        entry[0] += 1
        entry[1] += count
    return found


def _summary(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, argparse.Namespace):
        return f"settings: {', '.join(vars(value))}"[:100]
    if isinstance(value, Mapping | list | tuple):
        inside = sum(1 for _ in _tensors(value))
        return f"{type(value).__name__} of {len(value)}" + (f", {inside} tensors" if inside else "")
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}... ({len(text)} characters)"


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120].rstrip(". ")
