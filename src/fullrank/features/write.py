"""Writing feature tables: whole or not at all, in a sibling folder that takes the name at the end."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from fullrank.errors import CheckpointError, DataError, SettingError, ShapeError, StorageError
from fullrank.features.table import FORMAT, SPACES, file_name, read_manifest, read_table
from fullrank.types import FeatureTable

_HEADER_BYTES = 128


def _label_array(name: str) -> str:
    if not re.fullmatch(r"[\w .()+-]+", name):
        raise DataError(f"the name of a label set must be usable in a file name. Got '{name}'. Rename that column.")
    return f"labels_{name}"


class _GrowingArray:
    """A .npy file whose number of rows is only known at the end: the header has room for it and is written again."""

    def __init__(self, path: Path, dtype: type, width: int | None):
        self.path, self.dtype, self.width, self.rows = path, np.dtype(dtype), width, 0
        self.file: BinaryIO = path.open("wb")
        self._header()

    def _header(self) -> None:
        shape = (self.rows,) if self.width is None else (self.rows, self.width)
        fields = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        text = repr(fields).encode().ljust(_HEADER_BYTES - 11) + b"\n"
        self.file.seek(0)
        self.file.write(np.lib.format.magic(1, 0) + len(text).to_bytes(2, "little") + text)

    def append(self, rows: NDArray[Any]) -> None:
        self.file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.rows += len(rows)

    def close(self) -> None:
        self._header()
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"writing the feature table {folder} failed: {reason}. What was there before is intact.") from error


class TableWriter:
    """Writes a feature table batch by batch; use it as a context.

    Leaving the context without an exception puts the table in place (replacing an older one of that name); an exception,
    Ctrl-C included, removes what was written and leaves the older table as it was. ``manifest`` may be changed until then
    (for what is only known at the end, such as "skipped"). Files in the older folder that are not the table's are kept.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        record_ids: Sequence[str],
        classes: Mapping[str, Sequence[str]],
        manifest: Mapping[str, Any],
    ):
        self.folder = Path(folder).resolve()
        _check_replaceable(self.folder)
        self.manifest: dict[str, Any] = {"skipped": [], **manifest}
        self._record_ids, self._classes = list(record_ids), {name: list(names) for name, names in classes.items()}
        for name in self._classes:
            _label_array(name)
        self._arrays: dict[str, _GrowingArray] = {}
        self._partial = self.folder.with_name(f".{self.folder.name}.partial-{secrets.token_hex(4)}")
        with _writing(self.folder):
            self._partial.mkdir(parents=True)

    def append(
        self,
        *,
        representation: Float[np.ndarray, "rows d"],
        embedding: Float[np.ndarray, "rows k"] | None = None,
        embedding_normalized: Float[np.ndarray, "rows k"] | None = None,
        labels: Mapping[str, Int[np.ndarray, " rows"]],
        record: Int[np.ndarray, " rows"],
        start_seconds: Float[np.ndarray, " rows"],
    ) -> None:
        """Add rows. Every batch must have the same arrays and widths; ``ShapeError`` otherwise."""
        batch: dict[str, tuple[NDArray[Any], type]] = {"representation": (np.asarray(representation), np.float32)}
        if embedding is not None:
            batch["embedding"] = (np.asarray(embedding), np.float32)
        if embedding_normalized is not None:
            batch["embedding_normalized"] = (np.asarray(embedding_normalized), np.float32)
        batch["record"] = (np.asarray(record), np.int64)
        batch["start_seconds"] = (np.asarray(start_seconds), np.float64)
        batch |= {_label_array(name): (np.asarray(values), np.int64) for name, values in labels.items()}
        self._check(batch, labels)
        with _writing(self.folder):
            for name, (values, dtype) in batch.items():
                if name not in self._arrays:
                    width = values.shape[1] if name in SPACES else None
                    self._arrays[name] = _GrowingArray(self._partial / file_name(name), dtype, width)
                self._arrays[name].append(values)

    def _check(self, batch: Mapping[str, tuple[NDArray[Any], type]], labels: Mapping[str, NDArray[np.int64]]) -> None:
        if self._arrays and set(batch) != set(self._arrays):
            have, got = ", ".join(self._arrays), ", ".join(batch)
            raise ShapeError(f"every batch of a feature table must have the same arrays. Got {got} after {have}.")
        rows = len(batch["representation"][0])
        for name, (values, _) in batch.items():
            width = self._arrays[name].width if name in self._arrays else None
            wanted = f"[{rows}, {width or 'd'}]" if name in SPACES else f"[{rows}]"
            ok = values.ndim == (2 if name in SPACES else 1) and len(values) == rows
            if not ok or (name in SPACES and (values.shape[1] < 1 or width not in (None, values.shape[1]))):
                raise ShapeError(f"{name} of a feature table must have the shape {wanted}. Got {list(values.shape)}.")
        _check_range("record", batch["record"][0], 0, len(self._record_ids))
        for name, values in labels.items():
            if name not in self._classes:
                raise DataError(f"the label set '{name}' must have class names. Got names only of: {', '.join(self._classes)}.")
            _check_range(f"label '{name}'", np.asarray(values), -1, len(self._classes[name]))

    def finish(self) -> FeatureTable:
        """Put the table in place and read it; the end of the context does it by itself."""
        if not self._arrays or not self._arrays["representation"].rows:
            skipped = len(self.manifest["skipped"])
            self.discard()
            raise DataError(
                f"a feature table must have at least one row. Got none for {self.folder} ({skipped} records were skipped); "
                "`fullrank scan` says which files can be read."
            )
        try:
            with _writing(self.folder):
                for array in self._arrays.values():
                    array.close()
                text = json.dumps(self._complete_manifest(), indent=1)
                (self._partial / "manifest.json").write_text(text + "\n", encoding="utf-8")
                _replace(self._partial, self.folder)
        except BaseException:
            self.discard()
            raise
        return read_table(self.folder)

    def _complete_manifest(self) -> dict[str, Any]:
        names = [name.removeprefix("labels_") for name in self._arrays if name.startswith("labels_")]
        return {
            "fullrank": version("fullrank"),
            "kind": "features",
            "format": FORMAT,
            **self.manifest,
            "rows": self._arrays["representation"].rows,
            "dims": {space: self._arrays[space].width for space in SPACES if space in self._arrays},
            "dtype": "float32",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels": names,
            "classes": {name: self._classes[name] for name in names},
            "record_ids": self._record_ids,
        }

    def discard(self) -> None:
        """Remove what was written so far; what was there before stays."""
        for array in self._arrays.values():
            array.file.close()
        shutil.rmtree(self._partial, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self.discard()
        elif self._partial.exists():
            self.finish()


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    if len(values) and not (low <= values.min() and values.max() < high):
        raise ShapeError(f"{name} must be in {low}..{high - 1}. Got {values.min()}..{values.max()}.")


def _is_table_file(name: str) -> bool:
    return name in {"manifest.json", "record.npy", "start_seconds.npy", *map(file_name, SPACES)} or bool(
        re.fullmatch(r"labels_.*\.npy", name)
    )


def _check_replaceable(folder: Path) -> None:
    """Nothing but a feature table (or nothing at all) may be replaced."""
    if folder.is_dir() and any(folder.iterdir()) and not _is_manifest(folder):
        raise SettingError(
            f"features must go into a new folder or replace a feature table. Got {folder}, which holds other files; "
            "choose another folder."
        )
    if folder.exists() and not folder.is_dir():
        raise SettingError(f"features must go into a folder. Got the file {folder}; choose another name.")


def stamp(folder: str | Path) -> int | None:
    """Tells whether the table in ``folder`` is written again between two calls; None where there is none."""
    manifest = Path(folder) / "manifest.json"
    return manifest.stat().st_mtime_ns if manifest.is_file() else None


def check_same(folder: Path, key: Mapping[str, Any]) -> None:
    """``SettingError`` where ``folder`` holds features of another checkpoint, branch, other data or settings than ``key``."""
    if not (folder / "manifest.json").is_file() or not _is_manifest(folder):
        return  # nothing, or what TableWriter refuses
    manifest = read_manifest(folder)
    parts = {"checkpoint_hash": "another checkpoint", "data_fingerprint": "other data"}
    parts |= {"settings_hash": "other settings", "encoded": "another branch"}
    other = [said for name, said in parts.items() if name in key and manifest.get(name, key[name]) != key[name]]
    if other:
        raise SettingError(
            "--out must be a new folder or hold features of the same run, data and settings. Got "
            f"{folder}, with features of {manifest.get('encoder', 'an unknown encoder')} ({', '.join(other)}); "
            "choose another folder, or delete it."
        )


def _is_manifest(folder: Path) -> bool:
    try:
        return bool(read_manifest(folder))
    except CheckpointError:
        return False


def _replace(new: Path, folder: Path) -> None:
    """``new`` takes the name ``folder``; whatever else lay in the older folder moves along."""
    if not folder.exists():
        os.rename(new, folder)
        return
    aside = folder.with_name(new.name.replace(".partial-", ".old-"))
    os.rename(folder, aside)
    try:
        os.rename(new, folder)
    except BaseException:
        os.rename(aside, folder)
        raise
    for file in aside.iterdir():
        if not _is_table_file(file.name):
            os.rename(file, folder / file.name)
    shutil.rmtree(aside)


def write_table(
    folder: str | Path,
    *,
    representation: Float[np.ndarray, "rows d"],
    embedding: Float[np.ndarray, "rows k"] | None,
    embedding_normalized: Float[np.ndarray, "rows k"] | None = None,
    labels: Mapping[str, Int[np.ndarray, " rows"]],
    record: Int[np.ndarray, " rows"],
    start_seconds: Float[np.ndarray, " rows"],
    record_ids: Sequence[str],
    classes: Mapping[str, Sequence[str]],
    manifest: Mapping[str, Any],
) -> FeatureTable:
    """Write arrays that are all there as a feature table, and read it back (memory-mapped).

    ``labels``: -1 = unknown. ``manifest``: at least checkpoint_hash, data_fingerprint, settings_hash and branch; rows,
    dims, classes, record_ids and the date are added.
    """
    writer = TableWriter(folder, record_ids=record_ids, classes=classes, manifest=manifest)
    with writer:
        writer.append(
            representation=representation,
            embedding=embedding,
            embedding_normalized=embedding_normalized,
            labels=labels,
            record=record,
            start_seconds=start_seconds,
        )
    return read_table(folder)
