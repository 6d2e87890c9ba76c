"""Rows of numbers from .csv and .tsv files, as numpy, pandas and R write them."""

import codecs
import csv
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullrank.checkpoint.reading import read_head
from fullrank.errors import DataError

ROWS = 4096
"""of a part"""
INDEX_NAMES = ("", "unnamed: 0")
"""what stands over the column of row numbers: to_csv() of pandas, and of what read_csv made of that"""
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", " ": "spaces"}
_SHOWN = 40
"""characters of a cell in a sentence"""


def rows_of(file: Path, delimiter: str) -> Iterator[NDArray[np.float64]]:
    """Parts [rows, d] of the file, in order; ``DataError`` where it is not numbers only, a row a sample.

    A first line with a word in it, or that is exactly 0, 1, .., d - 1 (pandas names columns so), is a header. A first column
    without a name in it whose values count the rows from 0 or 1 is an index, and left out.
    """
    with file.open(newline="", encoding=_encoding(file), errors="replace") as opened:
        header: list[str] | None = None
        indexed, index = False, -1.0
        rows: list[list[float]] = []
        for number, line in _lines(file, csv.reader(opened, delimiter=delimiter)):
            if not line:
                continue
            values = _numbers(line)
            if header is None:
                header = line if _is_header(line, values, delimiter) else []
                indexed = bool(header) and header[0].strip().lower() in INDEX_NAMES
                if header:
                    continue
            if values is None:
                raise DataError(_not_numbers(file, number, line, header, delimiter))
            if indexed:
                index = float(values[0] == 1) if index < 0 else index + 1  # pandas counts from 0, R from 1
                if values.pop(0) != index:
                    raise DataError(_not_an_index(file, number, line[0]))
            rows.append(values)
            if len(rows) == ROWS:
                yield _even(file, rows)
                rows = []
        if rows:
            yield _even(file, rows)


def _encoding(file: Path) -> str:
    head = read_head(file)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in head:
        raise DataError(f"{file} must be text, a row a line. Got bytes that are none; name the file by what it holds.")
    return "utf-8-sig"


def _lines(file: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    number = 0
    try:
        for number, line in enumerate(reader, start=1):
            yield number, line
    except csv.Error as error:
        raise DataError(
            f"{file} must have one number a cell. Got no such cell in line {number + 1} ({error}); check its quotes, and what "
            "stands between numbers."
        ) from None


def _numbers(line: list[str]) -> list[float] | None:
    try:
        return [float(cell) for cell in line]
    except ValueError:
        return None


def _is_header(line: list[str], values: list[float] | None, delimiter: str) -> bool:
    if values is not None:
        return len(line) > 1 and [cell.strip() for cell in line] == [str(i) for i in range(len(line))]
    words = [cell for cell in line if cell.strip() and _numbers([cell]) is None]
    if any(_other_delimiter(cell, delimiter) for cell in words):
        return False
    return bool(words) or (not line[0].strip() and all(cell.strip().isdecimal() for cell in line[1:]))


def _other_delimiter(cell: str, delimiter: str) -> str | None:
    """What stands between the numbers in a cell."""
    for other in _DELIMITERS:
        parts = cell.split() if other == " " else cell.split(other)
        if other != delimiter and len(parts) > 1 and _numbers(parts) is not None:
            return other
    return None


def _not_numbers(file: Path, number: int, line: list[str], header: list[str], delimiter: str) -> str:
    bad = [i for i, cell in enumerate(line) if _numbers([cell]) is None]
    if other := _other_delimiter(line[bad[0]], delimiter):
        wanted = _DELIMITERS[delimiter]
        do = {",": "name the file .csv", "\t": "name the file .tsv"}.get(other, f"save it with {wanted}")
        return f"{file} must have {wanted} between numbers. Got {_DELIMITERS[other]} in line {number}; {do}."
    if header and bad[0] == 0 and header[0].strip().lower() in INDEX_NAMES:
        return _not_an_index(file, number, line[0])
    named = [f"'{_short(header[i])}'" if i < len(header) else str(i + 1) for i in bad[:4]]
    which = f"column{'s' * (len(bad) > 1)} {', '.join(named)}" + (", ..." if len(bad) > 4 else "")
    got = f"'{_short(line[bad[0]])}'" if line[bad[0]].strip() else "an empty cell"
    return f"{file} must hold numbers only, a row a sample. Got {got} in line {number}, {which}; leave such columns out."


def _not_an_index(file: Path, number: int, cell: str) -> str:
    return (
        f"{file} must have a name over every column but one that counts the rows. Got none over the first, with "
        f"'{_short(cell)}' in line {number}; leave the index out (pandas: index=False), or name the column."
    )


def _short(cell: str) -> str:
    text = " ".join("".join(character if character.isprintable() else " " for character in cell).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _even(file: Path, rows: list[list[float]]) -> NDArray[np.float64]:
    for before, after in pairwise(rows):
        if len(before) != len(after):
            raise DataError(
                f"{file} must have as many numbers in every line. Got {len(before)} and then {len(after)}; look for what is "
                "missing."
            )
    return np.array(rows)
