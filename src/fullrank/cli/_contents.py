"""What `fullrank inspect` reads: files of weights and arrays, ours and others'. Nothing in a file is ever executed."""

import argparse
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank.checkpoint.reading import is_safetensors, load_plain, read_head, read_safetensors
from fullrank.checkpoint.save import hash_of_tensors
from fullrank.errors import CheckpointError
from fullrank.spectrum.numpy_files import BAD_ARCHIVE, MAGIC, array_names, is_numpys, open_array, open_member

Found = dict[str, Any]
BIGGEST = 8
_BLOCK_VALUES = 2**24


def read_file(path: Path) -> Found:
    """What one file holds; ``CheckpointError`` or ``DataError`` with one sentence where nothing can be said."""
    head = read_head(path)
    size = path.stat().st_size
    about: Found = {"path": str(path), "bytes": size, "sha256": _sha256(path)}
    if head.startswith(MAGIC):
        return about | {"kind": "array", "arrays": {path.stem: describe_array(open_array(path))}}
    if head.startswith(b"PK") and is_numpys(path):
        return about | {"kind": "arrays", **_archive(path)}
    if is_safetensors(path, head):
        return about | _safetensors(path)
    return about | _torch_file(path, head)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _archive(path: Path) -> Found:
    arrays, others = array_names(path)
    found: Found = {"arrays": {name: describe_array(open_member(path, name)) for name in arrays}}
    return found | ({"others": others} if others else {})


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
    try:
        tensors = dict(_tensors(state))
    except RecursionError:
        raise CheckpointError(
            f"{path} must hold its tensors a few containers deep. Got hundreds inside each other; check what the file is."
        ) from None
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
    except (*BAD_ARCHIVE, OSError) as error:
        return f"unreadable ({_line(error)})"
    return "right" if broken is None else f"wrong for {broken}: damaged, or written without checksums"


def _tensors(value: Any, name: str = "", inside: tuple[int, ...] = ()) -> Iterable[tuple[str, Tensor]]:
    """All tensors, however deep, with dotted names. A container that holds itself is entered once."""
    if isinstance(value, Tensor):
        yield name or "tensor", value
        return
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.dtype.itemsize <= 16:
        yield name or "array", torch.from_numpy(np.asarray(value, value.dtype.newbyteorder("=")))
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
        "not_finite": [name for name, tensor in tensors.items() if not _is_finite(tensor)],
    }


def _is_finite(tensor: Tensor) -> bool:
    """Whether no value that is stored is NaN or infinite; whole numbers, quantised ones too, cannot be."""
    if tensor.is_quantized or tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    if tensor.is_nested or tensor.layout != torch.strided:
        tensor = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
    try:
        return bool((tensor.float() if tensor.element_size() == 1 else tensor).isfinite().all())
    except NotImplementedError:  # four bits a number: there is no NaN among them
        return True


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
    if isinstance(value, np.ndarray):
        return f"numpy {value.dtype} {list(value.shape)}"
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
