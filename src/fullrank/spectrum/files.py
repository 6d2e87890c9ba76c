"""Features of anybody's files as arrays [n, d], without reading more into memory than is used at a time."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullrank.checkpoint.reading import is_pickle, is_safetensors, read_head
from fullrank.errors import CheckpointError, DataError, SettingError
from fullrank.features.table import features_of, read_table
from fullrank.spectrum.delimited import ROWS, rows_of
from fullrank.spectrum.numpy_files import MAGIC, array_names, is_numpys, open_array, open_member
from fullrank.spectrum.tensors import KEY, SHOWN, choose, read_tensors

SUFFIXES = (".npy", ".npz", ".pt", ".pth", ".safetensors", ".csv", ".tsv", ".parquet")
_COUNTED_ROWS = 10
"""from so many on, a first column of 0, 1, 2, ... is an index and no feature"""


def read_features(path: str | Path) -> NDArray[Any]:
    """[n, d]: a feature table's folder (its representation), or a file of numbers.

    Files of numpy, torch (read as data only) and safetensors are known by their first bytes, whatever they are called; .csv,
    .tsv and .parquet by their names. .npy, .pt and .safetensors are memory-mapped (bfloat16 and float8 are widened in
    memory). All but .npy hold one array with two axes, or "FILE#NAME" says which; a file that looks like weights is refused
    without that. .csv and .tsv have a row a sample, with or without a header and an index, numbers only; .parquet (needs
    pyarrow) has a number a column, or one column of lists. These three and .npz are copied into a temporary file that is
    memory-mapped, so that they may be larger than memory. ``DataError`` with one sentence where a file is not that.
    """
    file, _, key = str(path).partition(KEY)
    found = Path(str(path)) if Path(str(path)).exists() else Path(file)
    key = "" if str(found) == str(path) else key
    if found.is_dir():
        return _folder(found, key)
    if not found.exists():
        raise DataError(f"{found} must be a file of features. Got nothing there; check the path.")
    try:
        return _of_file(found, key)
    except OSError as error:
        raise DataError(f"{found} must be readable. Got '{error.strerror or error}'; check the file and its disk.") from None
    except CheckpointError as error:
        raise DataError(str(error)) from None


def _of_file(file: Path, key: str) -> NDArray[Any]:
    if file.stat().st_size == 0:
        raise DataError(f"{file} must be an array [n, d]. Got an empty file.")
    head, suffix = read_head(file), file.suffix.lower()
    if suffix in (".csv", ".tsv", ".parquet"):
        rows = _parquet_rows(file) if suffix == ".parquet" else rows_of(file, "," if suffix == ".csv" else "\t")
        return _copied(_single(file, key), rows)
    if head.startswith(MAGIC):
        return open_array(_single(file, key))
    if head.startswith(b"PK") and is_numpys(file):
        return _of_archive(file, key)
    if head.startswith(b"PK") or is_safetensors(file, head) or is_pickle(head) or suffix in (".pt", ".pth"):
        return read_tensors(file, head, key)
    raise DataError(
        f"{file} must be an array of numbers [n, d] as numpy.save writes it. Got something else; save the features "
        f"as one of {', '.join(SUFFIXES)}."
    )


def _single(file: Path, key: str) -> Path:
    if key:
        raise SettingError(f"{file} must be named without '{KEY}{key}'. It holds one array only.")
    return file


def _of_archive(file: Path, key: str) -> NDArray[Any]:
    arrays, others = array_names(file)
    if not arrays:
        holds = ", ".join(others[:SHOWN]) or "nothing"
        raise DataError(f"{file} must hold an array [n, d]. Got an archive without one ({holds}); save one with numpy.savez.")
    return open_member(file, choose(file, arrays, key))


def read_numbers(path: str | Path) -> NDArray[np.int64]:
    """[n] whole numbers of an .npy file: the record of each row."""
    file = Path(path)
    wanted = f"{file} must be an .npy file of [n] whole numbers, one a row"
    if not file.is_file():
        raise DataError(f"{wanted}. Got {'a folder' if file.is_dir() else 'nothing there'}; check the path.")
    try:
        with file.open("rb") as opened:
            head = opened.read(len(MAGIC))
        if head != MAGIC:
            raise DataError(f"{wanted}. Got another kind of file; write it with numpy.save.")
        numbers = open_array(file)
    except OSError as error:
        raise DataError(f"{file} must be readable. Got '{error.strerror or error}'; check the file and its disk.") from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise DataError(
            f"{file} must hold [n] whole numbers, one a row. Got {numbers.dtype} {list(numbers.shape)}; save one int64 a row."
        )
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
    return read_features(array)


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
        for batch in opened.iter_batches(batch_size=ROWS):
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
        table = np.memmap(copy, dtype=np.float64, mode="r", shape=(rows, width))
    if width > 1 and _counts_rows(table[:, 0]):
        raise DataError(
            f"{file} must hold features only. Got a first column that counts the rows, from {table[0, 0]:.0f} to "
            f"{table[-1, 0]:.0f}; leave it out (pandas: index=False)."
        )
    return table


def _counts_rows(column: NDArray[np.float64]) -> bool:
    """Whether it is 0, 1, 2, ... or 1, 2, 3, ...; the first rows say no of most, so that the others need not be read."""
    counted = np.arange(len(column)) + column[0]
    few = slice(None, _COUNTED_ROWS)
    return (
        len(column) >= _COUNTED_ROWS
        and column[0] in (0, 1)
        and np.array_equal(column[few], counted[few])
        and np.array_equal(column, counted)
    )
