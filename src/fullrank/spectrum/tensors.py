"""Features in files of tensors (.pt, .safetensors), told from weights, which are in such files far more often."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank.checkpoint.interop._layout import WRAPPERS
from fullrank.checkpoint.reading import is_safetensors, load_plain
from fullrank.errors import DataError, SettingError, did_you_mean

KEY = "#"
"""between a file and the name of the array in it: features.npz#reps"""
SHOWN = 8
"""names in a sentence"""
_OF_WEIGHTS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""last parts of keys that torch.nn gives"""
_OF_STATES = (*WRAPPERS, "model_state_dict", "optimizer", "optimizer_state_dict")
"""keys of containers that hold what is trained"""
_DEEPEST = 8
"""containers inside each other that are looked into"""
Shapes = dict[tuple[str, ...], tuple[int, ...]]
"""{keys from the outermost container on: axes}"""
_NUMPY_READS = (torch.float64, torch.float32, torch.float16)


def read_tensors(file: Path, head: bytes, key: str) -> NDArray[Any]:
    """The array called ``key`` ("a.b" is b in a), or without one the only features of the file.

    Those are a lone tensor, or in a dict the one with two axes where nothing beside it but numbers [n] of its rows could be
    weights. ``DataError`` where it cannot be told; ``SettingError`` for a ``key`` that the file does not hold.
    """
    if is_safetensors(file, head):
        return _of_safetensors(file, key)
    tree = load_plain(file, head.startswith(b"PK"))
    if isinstance(tree, Tensor | np.ndarray):
        if key:
            raise SettingError(f"{file} must be named without '{KEY}{key}'. It holds one array only.")
        return _numbers(file, tree)
    if not isinstance(tree, Mapping):
        stacked = "; save torch.cat of its parts" if isinstance(tree, list | tuple) else ""
        raise DataError(f"{file} must hold a tensor [n, d]. Got {type(tree).__name__}{stacked}.")
    arrays = dict(_arrays(tree, (), _DEEPEST))
    names = {".".join(path): path for path in arrays}
    if not arrays:
        holds = ", ".join(map(str, tree)) or "nothing"
        raise DataError(f"{file} must hold an array [n, d]. Got a dict without one ({holds:.200}); save the features in it.")
    shapes = {path: tuple(array.shape) for path, array in arrays.items()}
    return _numbers(file, arrays[names[choose(file, names, key)] if key else _features(file, shapes)])


def choose(file: Path, names: Iterable[str], key: str) -> str:
    """``key`` where it is one of ``names``; without one, the only name."""
    known = list(names)
    if key:
        if key not in known:
            holds = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "")
            raise SettingError(f"{file} must hold '{key}'. It holds {holds}.{did_you_mean(key, known)}")
        return key
    if len(known) != 1:
        raise DataError(
            f"{file} must hold one array. Got {len(known)}: {', '.join(known[:SHOWN])}. Name one: {file.name}{KEY}{known[0]}"
        )
    return known[0]


def _of_safetensors(file: Path, key: str) -> NDArray[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            names = list(opened.keys())
            if key:
                return _numbers(file, opened.get_tensor(choose(file, names, key)))
            if not names:
                raise DataError(f"{file} must hold an array [n, d]. Got none; save the features in it.")
            shapes: Shapes = {(name,): tuple(opened.get_slice(name).get_shape()) for name in names}
            return _numbers(file, opened.get_tensor(_features(file, shapes)[0]))
    except SafetensorError as error:
        raise DataError(f"{file} must be a whole .safetensors file. It is damaged ({error}); copy it again.") from None


def _arrays(tree: Mapping[Any, Any], above: tuple[str, ...], levels: int) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        path = (*above, str(key))
        if isinstance(value, Tensor | np.ndarray):
            yield path, value
        elif isinstance(value, Mapping) and levels > 1:
            yield from _arrays(value, path, levels - 1)


def _features(file: Path, shapes: Shapes) -> tuple[str, ...]:
    """The key of the only features, by the names and shapes of all that the file holds."""
    tables = [path for path, shape in shapes.items() if len(shape) == 2]
    beside = {path for path, shape in shapes.items() if _is_of_rows(path, shape, [shapes[table] for table in tables])}
    alike = len(set(shapes.values())) == 1  # a vector for each sample by its file's name, whose dots say nothing
    weights = [path for path in shapes if path not in beside and _is_weight(path, not alike and len(shapes[path]) != 2)]
    if weights:
        example = ".".join(next((path for path in weights if path in tables), weights[0]))
        raise DataError(
            f"{file} must be features [n, d]. Got what looks like the weights of a network ({len(shapes)} tensors, for example "
            f"{example}); `fullrank inspect {file}` says whose, `fullrank diagnose {file} --data.path DATA` or `fullrank "
            f"extract` makes features of it, and {file.name}{KEY}NAME takes one of its tensors as it is."
        )
    others = [path for path in shapes if path not in tables and path not in beside]
    if len(tables) == 1 and not others and len(tables[0]) == 1:
        return tables[0]
    if not tables:
        raise DataError(f"{file} must hold an array [n, d]. Got {_listed(shapes)}; save one with two axes.")
    name = ".".join(tables[0])
    raise DataError(f"{file} must hold one array [n, d]. Got {_listed(shapes)}. Name one: {file.name}{KEY}{name}")


def _is_of_rows(path: tuple[str, ...], shape: tuple[int, ...], tables: list[tuple[int, ...]]) -> bool:
    """Whether it is a number for each row of features (labels, indices), and not a bias or statistic beside a weight."""
    return len(path) == 1 and "." not in path[0] and len(shape) == 1 and any(shape[0] == table[0] for table in tables)


def _is_weight(path: tuple[str, ...], by_dots: bool) -> bool:
    """By its key, as torch.nn makes it; ``by_dots``: by any dot in it, because its axes are not those of features."""
    *containers, last = path
    name = last.rpartition(".")[2]
    named = name in _OF_WEIGHTS or name.endswith("_weight")
    return named or (by_dots and "." in last) or any(part in _OF_STATES for part in containers)


def _listed(shapes: Shapes) -> str:
    shown = [f"{'.'.join(path)} {list(shape)}" for path, shape in list(shapes.items())[:SHOWN]]
    return f"{len(shapes)}: {', '.join(shown)}" + (", ..." if len(shapes) > SHOWN else "")


def _numbers(file: Path, found: Any) -> NDArray[Any]:
    """As numpy has it; widened where numpy knows no such numbers."""
    if isinstance(found, np.ndarray):
        return np.asarray(found)
    kind = _unusual(found)
    if kind:
        raise DataError(f"{file} must hold a dense tensor of plain numbers. Got a {kind} one; save its {_PLAINER[kind]}.")
    if found.dtype.is_floating_point and found.dtype not in _NUMPY_READS:
        try:
            found = found.float()
        except (NotImplementedError, RuntimeError):
            raise DataError(f"{file} must hold plain numbers. Got {found.dtype}; save them as float32.") from None
    try:
        return found.numpy(force=True)  # type: ignore[no-any-return]
    except TypeError:
        raise DataError(f"{file} must hold plain numbers. Got {found.dtype}; save them as float32.") from None


_PLAINER = {
    "sparse": "to_dense()",
    "quantised": "dequantize()",
    "nested": "to_padded_tensor(0)",
    "meta": "values, which it lacks",
}


def _unusual(tensor: Tensor) -> str | None:
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "meta"
    return None if tensor.layout == torch.strided else "sparse"
