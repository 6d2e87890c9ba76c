"""What `fullrank inspect` reads: files of weights and arrays, ours and others'. Nothing in a file is ever executed."""

import argparse
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fullrank.checkpoint.reading import is_safetensors, load_plain, read_head, read_safetensors
from fullrank.checkpoint.save import hash_of_tensors
from fullrank.errors import CheckpointError

Found = dict[str, Any]
BIGGEST = 8
_BLOCK_VALUES = 2**24


def read_file(path: Path) -> Found:
    """What one file holds; ``CheckpointError`` with one sentence where nothing can be said."""
    head = read_head(path)
    size = path.stat().st_size
    about: Found = {"path": str(path), "bytes": size, "sha256": _sha256(path)}
    if head.startswith(b"\x93NUMPY"):
        return about | {"kind": "array", "arrays": {path.stem: describe_array(open_array(path))}}
    if path.suffix == ".npz":
        return about | {"kind": "arrays", "arrays": _archive(path)}
    if is_safetensors(path, head):
        return about | _safetensors(path)
    return about | _torch_file(path, head)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    tensors, metadata = read_safetensors(path)
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
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}... ({len(text)} characters)"


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120].rstrip(". ")
