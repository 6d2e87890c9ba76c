"""Features of anybody's files as arrays [n, d], without reading more into memory than is used at a time."""

import csv
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank.checkpoint.reading import load_plain, read_head
from fullrank.errors import CheckpointError, DataError, SettingError
from fullrank.features.table import features_of, read_table

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors", ".csv", ".tsv", ".parquet")
KEY = "#"
"""between a file and the name of the array in it: features.npz#reps"""
_ROWS = 4096


def read_features(path: str | Path) -> NDArray[Any]:
    """[n, d]: a feature table's folder (its representation), or a file of numbers.

    .npy, .pt, .pth (read as data only) and .safetensors are memory-mapped (bfloat16 is widened in memory). All but .npy hold
    one array with two axes, or "FILE#NAME" says which. .csv and .tsv have a row a sample, with or without a header, numbers
    only; .parquet (needs pyarrow) has a number a column, or one column of lists. These three and .npz are copied into a
    temporary file that is memory-mapped, so that they may be larger than memory. ``DataError`` with one sentence where a file
    is not that.
    """
    file, _, key = str(path).partition(KEY)
    found = Path(str(path)) if Path(str(path)).exists() else Path(file)
    key = "" if str(found) == str(path) else key
    if found.is_dir():
        return _folder(found, key)
    if not found.exists():
        raise DataError(f"{found} must be a file of features. Got nothing there; check the path.")
    if found.stat().st_size == 0:
        raise DataError(f"{found} must be an array [n, d]. Got an empty file.")
    suffix = found.suffix.lower()
    if key and suffix not in (".npz", ".pt", ".pth", ".safetensors"):
        raise SettingError(f"{found} must be named without '{KEY}{key}'. It holds one array only.")
    if suffix in (".pt", ".pth", ".safetensors"):
        return _tensors(found, key)
    if suffix in (".csv", ".tsv"):
        return _copied(found, _csv_rows(found, "," if suffix == ".csv" else "\t"))
    if suffix == ".parquet":
        return _copied(found, _parquet_rows(found))
    return _numpy(found, key)


def read_numbers(path: str | Path) -> NDArray[np.int64]:
    """[n] whole numbers of an .npy file: the record of each row."""
    numbers = _numpy(Path(path), "")
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise DataError(f"{path} must hold [n] whole numbers, one a row. Got {numbers.dtype} {list(numbers.shape)}.")
    return np.asarray(numbers, dtype=np.int64)


def records_of(source: object) -> NDArray[np.int64] | None:
    """[n]: the record of each row of a feature table's folder; None of other things, and where every record has one row."""
    if not isinstance(source, str | Path):
        return None
    folder = Path(str(source).partition(KEY)[0])
    if not (folder / "manifest.json").exists():
        return None
    record = np.asarray(read_table(folder).record)
    return record if 1 < len(np.unique(record)) < len(record) else None


def _folder(folder: Path, key: str) -> NDArray[Any]:
    """A feature table, whose arrays must be those of its manifest; or any folder that holds the array under its usual name."""
    space = key or "representation"
    if (folder / "manifest.json").exists():
        return features_of(read_table(folder), space)
    array = folder / f"{space}.npy"
    if not array.exists():
        raise DataError(
            f"{array} must be a file of features. Got nothing there. A feature table's folder holds representation.npy; "
            "`fullrank extract` writes one."
        )
    return _numpy(array, "")


def _numpy(file: Path, key: str) -> NDArray[Any]:
    try:
        if file.suffix == ".npz":
            return _unpacked(file, key)
        loaded = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"{file} cannot be read: {error.strerror}.") from None
        raise DataError(
            f"{file} must be an array of numbers [n, d] as numpy.save writes it. Got something else; "
            f"pickled objects are never read. Known: {', '.join(SUFFIXES)}."
        ) from None
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{file} must hold one array [n, d]. Got an archive; name it .npz.")
    return loaded


def _unpacked(file: Path, key: str) -> NDArray[Any]:
    """One array of an archive, as a memory-mapped temporary file that goes with it."""
    with zipfile.ZipFile(file) as archive, tempfile.TemporaryFile() as copy:
        name = _chosen(file, [member.removesuffix(".npy") for member in archive.namelist()], key)
        with archive.open(f"{name}.npy") as member:
            shutil.copyfileobj(member, copy)
        copy.seek(0)
        version = np.lib.format.read_magic(copy)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(copy)
        if dtype.hasobject:
            raise ValueError("objects")
        at = copy.tell()
        copy.flush()
        if not np.prod(shape):
            return np.zeros(shape, dtype)
        return np.memmap(copy, dtype=dtype, mode="r", offset=at, shape=shape, order="F" if fortran else "C")


def _chosen(file: Path, names: Iterable[str], key: str) -> str:
    known = list(names)
    if key:
        if key not in known:
            raise SettingError(f"{file} must hold '{key}'. It holds {', '.join(known)}.")
        return key
    if len(known) != 1:
        first = known[0] if known else "NAME"
        raise DataError(
            f"{file} must hold one array. Got {len(known)}: {', '.join(known[:8])}. Name one: {file.name}{KEY}{first}"
        )
    return known[0]


def _tensors(file: Path, key: str) -> NDArray[Any]:
    try:
        head = read_head(file)
        if file.suffix == ".safetensors":
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(file, "pt") as opened:
                    found: Any = opened.get_tensor(_chosen(file, list(opened.keys()), key))
            except SafetensorError as error:
                raise DataError(f"{file} must be a whole .safetensors file. It is damaged ({error}).") from None
        else:
            tree = load_plain(file, head.startswith(b"PK"))
            if isinstance(tree, dict):
                tables = {str(name): value for name, value in tree.items() if isinstance(value, Tensor) and value.ndim == 2}
                tree = tables[_chosen(file, tables, key)]
            found = tree
    except CheckpointError as error:
        raise DataError(str(error)) from None
    if not isinstance(found, Tensor):
        raise DataError(f"{file} must hold a tensor [n, d]. Got {type(found).__name__}.")
    return (found.float() if found.dtype == torch.bfloat16 else found).numpy()


def _csv_rows(file: Path, delimiter: str) -> Iterator[NDArray[np.float64]]:
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as opened:
        header: list[str] = []
        rows: list[list[float]] = []
        for number, line in enumerate(csv.reader(opened, delimiter=delimiter), start=1):
            if not line:
                continue
            words = _words(line)
            if words and not header and not rows and number == 1:
                header = line
                continue
            if words:
                raise DataError(_not_numbers(file, number, line, words, header))
            rows.append([float(cell) for cell in line])
            if len(rows) == _ROWS:
                yield _even(file, rows)
                rows = []
        if rows:
            yield _even(file, rows)


def _words(line: list[str]) -> list[int]:
    """Positions of the cells that are no numbers."""
    found = []
    for i, cell in enumerate(line):
        try:
            float(cell)
        except ValueError:
            found.append(i)
    return found


def _not_numbers(file: Path, number: int, line: list[str], words: list[int], header: list[str]) -> str:
    named = [f"'{header[i]}'" if i < len(header) else str(i + 1) for i in words[:4]]
    which = f"column{'s' * (len(words) > 1)} {', '.join(named)}" + (", ..." if len(words) > 4 else "")
    got = f"'{line[words[0]]}'" if line[words[0]].strip() else "an empty cell"
    return f"{file} must hold numbers only, a row a sample. Got {got} in line {number}, {which}; leave such columns out."


def _even(file: Path, rows: list[list[float]]) -> NDArray[np.float64]:
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise DataError(f"{file} must have as many numbers in every line. Got lines of {sorted(widths)[:4]}.")
    return np.array(rows)


def _parquet_rows(file: Path) -> Iterator[NDArray[np.float64]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise SettingError(
            f"{file} needs pyarrow to be read. Install it (pip install pyarrow), or save the features as .npy."
        ) from None
    import pyarrow

    try:
        opened = pyarrow.parquet.ParquetFile(file)
        for batch in opened.iter_batches(batch_size=_ROWS):
            columns = [column.to_pylist() for column in batch.columns]
            table = columns[0] if len(columns) == 1 and isinstance(columns[0][0], list) else list(zip(*columns, strict=True))
            yield np.array(table, dtype=np.float64)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        line = (str(error).splitlines() or ["?"])[0]
        raise DataError(f"{file} must hold columns of numbers, or one of lists of equal length. Got: {line}.") from None


def _copied(file: Path, parts: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The rows as a memory-mapped temporary file that goes with the array."""
    width, rows = None, 0
    with tempfile.TemporaryFile() as copy:
        for part in parts:
            if part.ndim != 2 or part.shape[1] != (width or part.shape[1]):
                raise DataError(f"{file} must have as many numbers in every row. Got {part.shape} after {width} columns.")
            width, rows = part.shape[1], rows + len(part)
            copy.write(part.tobytes())
        if not rows or not width:
            raise DataError(f"{file} must hold rows of numbers. Got none.")
        copy.flush()
        return np.memmap(copy, dtype=np.float64, mode="r", shape=(rows, width))
