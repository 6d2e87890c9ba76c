"""Arrays of .npy and .npz files, memory-mapped, and one sentence where a file is not whole."""

import errno
import lzma
import math
import shutil
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fullrank.checkpoint.save import brief
from fullrank.errors import DataError

MAGIC = b"\x93NUMPY"
_BAD_HEADER = (ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError)
"""what numpy's reader of headers raises on made-up ones"""
BAD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""what zipfile raises on damaged archives, and on those that need a password or a method that it does not know"""


def open_array(file: Path) -> NDArray[Any]:
    """The array of a .npy file; ``DataError`` where it is damaged or cut off, or holds Python objects."""
    with file.open("rb") as opened:
        return _mapped(file, opened, file.stat().st_size)


def array_names(file: Path) -> tuple[list[str], list[str]]:
    """(names of the arrays, other members) of an archive; ``DataError`` where it is damaged or cut off."""
    with _whole(file), zipfile.ZipFile(file) as archive:
        members = archive.namelist()
    arrays = [member.removesuffix(".npy") for member in members if member.endswith(".npy")]
    return arrays, [member for member in members if not member.endswith((".npy", "/"))]


def open_member(file: Path, name: str) -> NDArray[Any]:
    """One array of an archive, as a memory-mapped temporary file that goes with it."""
    with tempfile.TemporaryFile() as copy:
        with _whole(file), zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as member:
            shutil.copyfileobj(member, copy)
        size = copy.tell()
        copy.seek(0)
        return _mapped(file, copy, size)


def is_numpys(file: Path) -> bool:
    """Whether to take a .zip as an .npz: by what is in it, and by its name where its list of members is damaged."""
    named = file.suffix.lower() in (".npz", ".npy")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
    except BAD_ARCHIVE:
        return named
    of_torch = any(member.count("/") == 1 and member.endswith("/data.pkl") for member in members)
    return not of_torch and (named or any(member.endswith(".npy") for member in members))


def _mapped(file: Path, opened: BinaryIO, size: int) -> NDArray[Any]:
    try:
        version = np.lib.format.read_magic(opened)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(opened)
    except _BAD_HEADER as error:
        raise _damaged(file, brief(error)) from None
    if dtype.hasobject:
        raise DataError(
            f"{file} must hold numbers. It holds Python objects, and pickled objects are never read, because that could run "
            "code; save it again as a plain array."
        )
    wanted, at = math.prod(shape) * dtype.itemsize, opened.tell()
    if min(shape, default=0) < 0 or wanted > size - at:
        raise _damaged(file, f"its header says {dtype} {list(shape)}, and {size - at:,} bytes follow")
    if not wanted:
        return _without_bytes(file, shape, dtype)
    return np.memmap(opened, dtype=dtype, mode="r", offset=at, shape=shape, order="F" if fortran else "C")


def _without_bytes(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        return np.broadcast_to(np.zeros((), dtype), shape)
    except ValueError as error:  # axes too long to be true beside an empty one
        raise _damaged(file, brief(error)) from None


@contextmanager
def _whole(file: Path) -> Iterator[None]:
    try:
        yield
    except BAD_ARCHIVE as error:
        raise _damaged(file, brief(error)) from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the disk's own reasons; a place before the file's beginning is no such
            raise
        raise _damaged(file, brief(error)) from None


def _damaged(file: Path, reason: str) -> DataError:
    return DataError(f"{file} must be a whole array. It is damaged or cut off ({reason}); copy it again.")
