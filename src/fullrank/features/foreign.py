"""Features of another codebase's checkpoint, from videos prepared as that codebase prepares them when it tests.

records -> clips x crops views -> network -> parts on disk -> one table of views and one of records. A part that is there is not
computed again: what was interrupted goes on, and with torchrun each process computes its share of the parts. Batches fill up
across the records of a part and end with it, so that a part is the same whoever computes it.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

from fullrank.allocation import keep_memory
from fullrank.checkpoint.encoding import Encoding
from fullrank.checkpoint.imported import OWN, ImportedEncoder, prepared
from fullrank.config import settings_hash
from fullrank.data.clips import FULL_SIZE
from fullrank.data.positions import positions
from fullrank.data.source import Source
from fullrank.data.workers import in_processes
from fullrank.errors import DataError, MediaError, StorageError
from fullrank.features.table import is_current, per_record, read_table
from fullrank.features.write import TableWriter, check_same, write_table
from fullrank.types import FeatureTable, Preparation

PART_VIEWS = 64
"""of whole records: what an interruption costs at most, and what a process takes at a time"""
PER_RECORD = "per_record"
"""folder, inside the table's, of the table with one row a record: the mean over its views"""
POLL_SECONDS = 1.0
BATCH_VIEWS = {"cpu": 4}
"""{device: views encoded at once where nobody says}: a Slow R50's activations take 250 MiB for a view of 256 pixels"""
BATCH_VIEWS_ELSEWHERE = 32
FRAME_BYTES = 2**27
"""of a record's frames at full size at a time; a record with more is decoded once for each so many"""
Read = tuple[list[Tensor], NDArray[np.float64], str]
"""views of a record, one tensor a clip (none: it cannot be read); where its clips start; why not"""


def extract_imported(
    encoder: ImportedEncoder,
    source: Source,
    out: str | Path,
    *,
    clips: int | None = None,
    crops: int | None = None,
    batch_size: int | None = None,
    num_workers: int = 0,
    branch: str | None = None,
    bf16: bool = False,
    command: str | None = None,
    replace: bool = True,
) -> FeatureTable:
    """Encode ``clips`` x ``crops`` views of every record (not given: as many as the codebase tests with), write ``out``.

    A row is a view: representation, embedding as the head gives it, and the same L2-normalised (``embedding_normalized``);
    ``out``/per_record has their means over each record's views. ``batch_size`` counts views (not given: 4 on a CPU, 32
    elsewhere). Unreadable files are left out and named in the manifest. Without ``replace``, ``SettingError`` where ``out``
    holds features of something else. ``DataError`` where nothing could be read.
    """
    out, how = Path(out), encoder.preparation
    clips, crops = clips or how.clips, crops or how.crops
    settings = {"preparation": asdict(how), "clips": clips, "crops": crops, "bf16": bf16}
    key = {
        "checkpoint_hash": encoder.checkpoint_hash,
        "data_fingerprint": source.fingerprint,
        "settings_hash": settings_hash(settings),
        "branch": branch,
    }
    tables = (out, out / PER_RECORD)
    if not replace:
        check_same(out, key | {"encoded": branch or OWN})
    if all(is_current(table, key) for table in tables):
        return read_table(out)
    device = next(encoder.network.parameters()).device.type
    batch_size = batch_size or BATCH_VIEWS.get(device, BATCH_VIEWS_ELSEWHERE)
    if device == "cpu":
        keep_memory()
    parts = _Parts(out, key, len(source), max(1, PART_VIEWS // (clips * crops)))
    for number, rows in _encoded(encoder, source, parts, clips, crops, batch_size, num_workers, branch, bf16):
        parts.write(number, rows)
    if parts.rank != 0:
        return parts.wait_for_tables(tables, key)
    parts.wait()
    manifest = {**key, **settings, "encoder": encoder.name, "layout": encoder.found.layout.name, "steps": None}
    manifest |= {"command": command, "encoded": branch or OWN, "branches": list(encoder.branches)}
    _merge(parts, source, out, manifest)
    parts.remove()
    return read_table(out)


def _encoded(
    encoder: ImportedEncoder,
    source: Source,
    parts: "_Parts",
    clips: int,
    crops: int,
    batch_size: int,
    num_workers: int,
    branch: str | None,
    bf16: bool,
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """(number of a part, its rows) for every part that this process has to do."""
    device = next(encoder.network.parameters()).device.type

    def encode(pixels: Tensor) -> Encoding:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return encoder(pixels, branch)

    todo = parts.mine()
    records = [index for number in todo for index in parts.records(number)]
    read = partial(_read, source, encoder.preparation, clips, crops)
    stream = in_processes(read, records, num_workers, ahead=1)
    share = parts.share()
    with Progress(console=Console(stderr=True), transient=True, disable=parts.rank != 0 or not sys.stderr.isatty()) as progress:
        task = progress.add_task(f"features of {encoder.name}", total=share, completed=share - len(records))
        for number in todo:
            rows = _Rows(encode, batch_size)
            for _ in parts.records(number):
                index, (views, starts, reason) = next(stream)
                rows.add(index, views, starts, reason)
                progress.advance(task)
            yield number, rows.arrays()


def _read(source: Source, how: Preparation, clips: int, crops: int, index: int) -> Read:
    """The views of one record; frames at full size are dropped as soon as their views are made."""
    views: list[Tensor] = []
    starts: list[float] = []
    try:
        _, height, width = source.expected_shape(index, FULL_SIZE)
        at_once = max(1, FRAME_BYTES // (3 * height * width * how.num_frames))
        for first in range(0, clips, at_once):
            some = slice(first, first + at_once)
            for clip in source.read_chosen(index, partial(_positions, how, clips, some)):
                views.append(prepared(clip, how, crops))
                starts += [clip.pts_seconds[0]] * crops
    except MediaError as error:
        return [], np.zeros(0), error.reason
    return views, np.array(starts), ""


def _positions(how: Preparation, clips: int, some: slice, times: NDArray[np.float64], rate: float) -> list[NDArray[np.int64]]:
    return positions(how, times, rate, clips)[some]


class _Rows:
    """Rows of one part, encoded ``batch_size`` views at a time."""

    def __init__(self, encode: Callable[[Tensor], Encoding], batch_size: int):
        self.encode, self.batch_size = encode, batch_size
        self.waiting: list[Tensor] = []
        self.features: dict[str, list[NDArray[Any]]] = {"representation": [], "embedding": [], "embedding_normalized": []}
        self.record: list[NDArray[np.int64]] = []
        self.start_seconds: list[NDArray[np.float64]] = []
        self.skipped: list[tuple[int, str]] = []

    def add(self, index: int, views: list[Tensor], starts: NDArray[np.float64], reason: str) -> None:
        """The views of record ``index``, or why there are none."""
        if not views:
            self.skipped.append((index, reason))
            return
        self.record.append(np.full(len(starts), index, dtype=np.int64))
        self.start_seconds.append(starts)
        for view in (single for clip in views for single in clip.split(1)):
            self.waiting.append(view)
            if len(self.waiting) == self.batch_size:
                self._encode()

    def _encode(self) -> None:
        encoding = self.encode(torch.cat(self.waiting))
        self.waiting.clear()
        raw = encoding.embedding_raw if encoding.embedding_is_normalized else encoding.embedding
        self.features["representation"].append(encoding.representation.float().cpu().numpy())
        if raw is not None:
            self.features["embedding"].append(raw.float().cpu().numpy())
            self.features["embedding_normalized"].append(F.normalize(raw.float(), dim=1).cpu().numpy())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them, by name."""
        if self.waiting:
            self._encode()
        found: dict[str, NDArray[Any]] = {name: np.concatenate(rows) for name, rows in self.features.items() if rows}
        if self.record:
            found |= {"record": np.concatenate(self.record), "start_seconds": np.concatenate(self.start_seconds)}
        found["skipped_index"] = np.array([index for index, _ in self.skipped], dtype=np.int64)
        found["skipped_reason"] = np.array([reason for _, reason in self.skipped], dtype=np.str_)
        return found


class _Parts:
    """Parts of one extraction in a folder beside the table; torchrun's processes take turns."""

    def __init__(self, out: Path, key: Mapping[str, Any], total: int, size: int):
        self.folder = out.with_name(f".{out.name}.parts-{settings_hash({**key, 'size': size})}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total, self.size, self.count = total, size, -(-total // size)
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

    def file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def records(self, number: int) -> range:
        """Positions in the source of the records of a part."""
        return range(number * self.size, min((number + 1) * self.size, self.total))

    def share(self) -> int:
        """Records of this process, those that are done among them."""
        return sum(len(self.records(n)) for n in range(self.rank, self.count, self.world))

    def mine(self) -> list[int]:
        """Parts that this process has to do."""
        return [n for n in range(self.rank, self.count, self.world) if not self.file(n).exists()]

    def write(self, number: int, rows: dict[str, NDArray[Any]]) -> None:
        temporary = self.file(number).with_suffix(f".{os.getpid()}.tmp.npz")
        try:
            np.savez(temporary, **rows)  # type: ignore[arg-type]
            os.replace(temporary, self.file(number))
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"writing features into {self.folder} failed: {reason}. The parts before are kept.") from error

    def wait(self) -> None:
        """Until the other processes have written theirs."""
        while not all(self.file(n).exists() for n in range(self.count)):
            time.sleep(POLL_SECONDS)

    def wait_for_tables(self, tables: Sequence[Path], key: Mapping[str, Any]) -> FeatureTable:
        """What the first process makes of the parts; it may have removed them before this one looked for its own."""
        while not all(is_current(table, key) for table in tables):
            time.sleep(POLL_SECONDS)
        self.remove()
        return read_table(tables[0])

    def read(self) -> Iterator[dict[str, NDArray[Any]]]:
        for number in range(self.count):
            with np.load(self.file(number), allow_pickle=False) as part:
                yield {name: part[name] for name in part.files}

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _merge(parts: _Parts, source: Source, out: Path, manifest: dict[str, Any]) -> None:
    """The table of views, then that of records."""
    skipped: list[dict[str, str]] = []
    with TableWriter(out, record_ids=source.record_ids, classes=source.classes, manifest=manifest) as writer:
        for part in parts.read():
            reasons = zip(part["skipped_index"].tolist(), part["skipped_reason"].tolist(), strict=True)
            skipped += [{"record": source.record_ids[index], "reason": reason} for index, reason in reasons]
            if "representation" not in part:
                continue
            writer.append(
                representation=part["representation"],
                embedding=part.get("embedding"),
                embedding_normalized=part.get("embedding_normalized"),
                labels={name: values[part["record"]] for name, values in source.labels.items()},
                record=part["record"],
                start_seconds=part["start_seconds"],
            )
        writer.manifest["skipped"] = skipped
        if len(skipped) == len(source):
            parts.remove()
            raise DataError(
                f"At least one of the {len(source)} files must be readable. Got none; first reason: "
                f"{skipped[0]['record']}: {skipped[0]['reason']}. `fullrank scan` lists them."
            )
    table = read_table(out)
    means = {space: per_record(table, space)[0] for space in table.manifest["dims"]}
    _, labels, records = per_record(table)
    write_table(
        out / PER_RECORD,
        representation=means["representation"],
        embedding=means.get("embedding"),
        embedding_normalized=means.get("embedding_normalized"),
        labels=labels,
        record=records,
        start_seconds=np.zeros(len(records)),
        record_ids=source.record_ids,
        classes=source.classes,
        manifest={**manifest, "rows_are": "means over the views of a record", "skipped": skipped},
    )
