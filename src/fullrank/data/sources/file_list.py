"""A CSV file list: one record a line, with an optional label and an optional part of the file."""

import csv
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullrank.data.sources.folder import FileSource, MediaFile
from fullrank.draws import permutation
from fullrank.errors import DataError, did_you_mean

_POSITIONS = ("path", "label", "start_seconds", "end_seconds")
_ALIASES = {"start": "start_seconds", "end": "end_seconds"}
_LARGEST_NUMBER = 99_999


class ListSource(FileSource):
    """Records of a CSV file with the columns path[,label][,start_seconds][,end_seconds] in any order, or without a header.

    Relative paths are relative to the CSV. Columns named ``label_...`` are further labels; others are ignored. Labels
    that are all whole numbers from 0 to 99,999 are kept as they are (so that two lists agree); others are names, numbered
    in sorted order. Empty or -1 means unknown. ``DataError`` names the line.
    """

    def __init__(self, path: str | os.PathLike[str], limit: int | None = None, seed: int = 0):
        self.path = Path(path)
        lines, columns = _read(self.path)
        if limit is not None and limit < len(lines):
            kept = np.sort(permutation(seed, 0, len(lines))[:limit]).tolist()
        else:
            kept = list(range(len(lines)))
        self.labels: dict[str, NDArray[np.int64]] = {}
        self.classes: dict[str, list[str]] = {}
        for name in columns:
            if name == "label" or name.startswith("label_"):
                numbers, classes = _numbered(columns[name])
                if classes:
                    self.labels[name], self.classes[name] = numbers[kept], classes
        starts = _seconds(self.path, lines, columns, "start_seconds", 0.0)
        ends = _seconds(self.path, lines, columns, "end_seconds", math.inf)
        for line, start, end in zip(lines, starts, ends, strict=True):
            if end <= start:
                raise DataError(
                    f"{self.path}, line {line}: end_seconds must be after start_seconds. Got {start:g} and {end:g}."
                )
        names = columns["path"]
        self._files = [MediaFile(path=self.path.parent / names[i], start_seconds=starts[i], end_seconds=ends[i]) for i in kept]
        self.record_ids = [names[i] + _part(starts[i], ends[i]) for i in kept]
        labelled = [",".join(cells) for cells in zip(*(columns[name] for name in self.labels), strict=True)] or [""] * len(
            names
        )
        self.fingerprint = _fingerprint(
            [f"{name}\0{labelled[i]}" for name, i in zip(self.record_ids, kept, strict=True)], self._files
        )
        if not any(file.path.exists() for file in self._files):
            raise DataError(
                f"{self.path}, line {lines[kept[0]]}: the file must exist. Got {self._files[0].path}, and none of the others "
                "exists either; relative paths are relative to the list."
            )
        part = f" (of {len(names)})" if len(kept) < len(names) else ""
        self.description = f"{len(kept)} files{part} listed in {self.path}"

    def file(self, index: int) -> MediaFile:
        """Where record ``index`` lies."""
        return self._files[index]


def _read(path: Path) -> tuple[list[int], dict[str, list[str]]]:
    """(line numbers, {column: cells}); empty lines are left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise DataError(f"The file list {path} must exist. Got nothing there; check the path.") from None
    except (UnicodeDecodeError, csv.Error, IsADirectoryError, PermissionError) as error:
        raise DataError(f"The file list {path} must be a readable CSV file in UTF-8. Got: {error}.") from None
    if not rows:
        raise DataError(f"The file list {path} must name at least one file. Got an empty list.")
    header = [_ALIASES.get(name.lower(), name.lower()) for name in rows[0][1]]
    if "path" in header:
        first, rows = rows[0], rows[1:]
        if len(set(header)) < len(header):
            raise DataError(f"{path}, line {first[0]}: columns must have different names. Got {', '.join(first[1])}.")
    elif set(header) & {"label", "start_seconds", "end_seconds"}:
        hint = did_you_mean("path", header)
        raise DataError(f"{path}, line {rows[0][0]}: the header must name a column path. Got {', '.join(rows[0][1])}.{hint}")
    else:
        header = list(_POSITIONS[: len(rows[0][1])])
    if not rows:
        raise DataError(f"The file list {path} must name at least one file. Got a header alone.")
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line}: must have {len(header)} cells ({', '.join(header)}). Got {len(cells)}.")
        if not cells[header.index("path")]:
            raise DataError(f"{path}, line {line}: the path must not be empty.")
    return [line for line, _ in rows], {name: [cells[i] for _, cells in rows] for i, name in enumerate(header)}


def _numbered(cells: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """(class of each record, names of the classes); no names where every cell is empty."""
    known = {cell for cell in cells if cell not in ("", "-1")}
    if known and all(cell.isdecimal() and int(cell) <= _LARGEST_NUMBER for cell in known):
        numbers = [int(cell) if cell in known else -1 for cell in cells]
        return np.array(numbers, dtype=np.int64), [str(i) for i in range(max(numbers) + 1)]
    classes = sorted(known)
    number = {name: i for i, name in enumerate(classes)}
    return np.array([number.get(cell, -1) for cell in cells], dtype=np.int64), classes


def _seconds(path: Path, lines: Sequence[int], columns: dict[str, list[str]], name: str, missing: float) -> list[float]:
    found = []
    for line, cell in zip(lines, columns.get(name, [""] * len(lines)), strict=True):
        try:
            value = float(cell) if cell else missing
        except ValueError:
            value = math.nan
        if not value >= 0.0:
            raise DataError(f"{path}, line {line}: {name} must be a number of seconds, at least 0. Got '{cell}'.")
        found.append(value)
    return found


def _part(start: float, end: float) -> str:
    """What tells the parts of one file apart in record ids."""
    if start == 0.0 and end == math.inf:
        return ""
    return f"@{start:g}-{'' if end == math.inf else f'{end:g}'}"


def _fingerprint(ids: Sequence[str], files: Sequence[MediaFile]) -> str:
    digest = hashlib.sha256()
    stamps: dict[Path, Any] = {}
    for name, file in zip(ids, files, strict=True):
        if file.path not in stamps:
            try:
                about = file.path.stat()
                stamps[file.path] = (about.st_size, about.st_mtime_ns)
            except OSError:
                stamps[file.path] = "missing"  # reading it says so
        digest.update(f"{name}\0{stamps[file.path]}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
