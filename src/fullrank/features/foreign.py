"""Features of another codebase's checkpoint, from videos prepared as that codebase prepares them when it tests.

records -> clips x crops views -> network -> parts on disk -> one table of views and one of records. A part that is there is not
computed again: what was interrupted goes on, and with torchrun each process computes its share of the parts.
"""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
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
from fullrank.checkpoint.imported import OWN, ImportedEncoder, prepared
from fullrank.config import settings_hash
from fullrank.data.positions import positions
from fullrank.data.source import Source
from fullrank.data.workers import in_processes
from fullrank.errors import DataError, MediaError
from fullrank.features.table import is_current, per_record, read_table
from fullrank.features.write import TableWriter, write_table
from fullrank.types import FeatureTable

PART_RECORDS = 32
PER_RECORD = "per_record"
"""folder, inside the table's, of the table with one row a record: the mean over its views"""
POLL_SECONDS = 1.0
Read = tuple[Tensor | None, NDArray[np.float64], str]
"""views of a record (None: it cannot be read), where its clips start, why not"""


def extract_imported(
    encoder: ImportedEncoder,
    source: Source,
    out: str | Path,
    *,
    clips: int | None = None,
    crops: int | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
    branch: str | None = None,
    bf16: bool = False,
    command: str | None = None,
) -> FeatureTable:
    """Encode ``clips`` x ``crops`` views of every record (not given: as many as the codebase tests with), write ``out``.

    A row is a view: representation, embedding as the head gives it, and the same L2-normalised (``embedding_normalized``);
    ``out``/per_record has their means over each record's views. ``batch_size`` counts views. Unreadable files are left out and
    named in the manifest. ``DataError`` where nothing could be read.
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
    if is_current(out, key):
        return read_table(out)
    if next(encoder.network.parameters()).device.type == "cpu":
        keep_memory()
    parts = _Parts(out, settings_hash(key), len(source))
    for number, rows in _encoded(encoder, source, parts.mine(), clips, crops, batch_size, num_workers, branch, bf16):
        parts.write(number, rows)
    if parts.rank != 0:
        return parts.wait_for_table(out)
    parts.wait()
    manifest = {**key, **settings, "encoder": encoder.name, "layout": encoder.found.layout.name, "steps": None}
    manifest |= {"command": command, "encoded": branch or OWN, "branches": list(encoder.branches)}
    _merge(parts, source, out, manifest)
    parts.remove()
    return read_table(out)


def _encoded(
    encoder: ImportedEncoder,
    source: Source,
    todo: list[int],
    clips: int,
    crops: int,
    batch_size: int,
    num_workers: int,
    branch: str | None,
    bf16: bool,
) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
    """(number of a part, its rows) for every part of ``todo``."""
    how = encoder.preparation
    device = next(encoder.network.parameters()).device

    def read(index: int) -> Read:
        try:
            chosen = source.read_chosen(index, lambda times, rate: positions(how, times, rate, clips))
        except MediaError as error:
            return None, np.zeros(0), error.reason
        starts = np.repeat([clip.pts_seconds[0] for clip in chosen], crops)
        return torch.cat([prepared(clip, how, crops) for clip in chosen]), starts, ""

    records = [index for number in todo for index in _records(number, len(source))]
    stream = in_processes(read, records, num_workers)
    rank = int(os.environ.get("RANK", "0"))
    progress = Progress(console=Console(stderr=True), transient=True, disable=rank != 0)
    with progress:
        task = progress.add_task(f"features of {encoder.name}", total=len(records))
        for number in todo:
            rows = _Rows()
            for _ in _records(number, len(source)):
                index, (pixels, starts, reason) = next(stream)
                if pixels is None:
                    rows.skip(index, reason)
                else:
                    for views in pixels.split(batch_size):
                        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                            rows.append(encoder(views, branch))
                    rows.place(index, starts)
                progress.advance(task)
            yield number, rows.arrays()


def _records(number: int, total: int) -> range:
    """Positions in the source of the records of a part."""
    return range(number * PART_RECORDS, min((number + 1) * PART_RECORDS, total))


class _Rows:
    """Rows of one part."""

    def __init__(self) -> None:
        self.features: dict[str, list[NDArray[Any]]] = {"representation": [], "embedding": [], "embedding_normalized": []}
        self.record: list[NDArray[np.int64]] = []
        self.start_seconds: list[NDArray[np.float64]] = []
        self.skipped: list[tuple[int, str]] = []

    def append(self, encoding: Any) -> None:
        raw = encoding.embedding_raw if encoding.embedding_is_normalized else encoding.embedding
        self.features["representation"].append(encoding.representation.float().cpu().numpy())
        if raw is not None:
            self.features["embedding"].append(raw.float().cpu().numpy())
            self.features["embedding_normalized"].append(F.normalize(raw.float(), dim=1).cpu().numpy())

    def place(self, index: int, starts: NDArray[np.float64]) -> None:
        self.record.append(np.full(len(starts), index, dtype=np.int64))
        self.start_seconds.append(starts)

    def skip(self, index: int, reason: str) -> None:
        self.skipped.append((index, reason))

    def arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {name: np.concatenate(rows) for name, rows in self.features.items() if rows}
        if self.record:
            found |= {"record": np.concatenate(self.record), "start_seconds": np.concatenate(self.start_seconds)}
        found["skipped_index"] = np.array([index for index, _ in self.skipped], dtype=np.int64)
        found["skipped_reason"] = np.array([reason for _, reason in self.skipped], dtype=np.str_)
        return found


class _Parts:
    """Parts of one extraction in a folder beside the table; torchrun's processes take turns."""

    def __init__(self, out: Path, digest: str, records: int):
        self.folder = out.with_name(f".{out.name}.parts-{digest}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.count = -(-records // PART_RECORDS)
        self.rank, self.world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))

    def file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def mine(self) -> list[int]:
        return [n for n in range(self.count) if n % self.world == self.rank and not self.file(n).exists()]

    def write(self, number: int, rows: dict[str, NDArray[Any]]) -> None:
        temporary = self.file(number).with_suffix(".tmp.npz")
        np.savez(temporary, **rows)  # type: ignore[arg-type]
        os.replace(temporary, self.file(number))

    def wait(self) -> None:
        """Until the other processes have written theirs."""
        while not all(self.file(n).exists() for n in range(self.count)):
            time.sleep(POLL_SECONDS)

    def wait_for_table(self, out: Path) -> FeatureTable:
        """What the first process makes of the parts, which it then removes."""
        while self.folder.exists():
            time.sleep(POLL_SECONDS)
        return read_table(out)

    def read(self) -> Iterator[dict[str, NDArray[Any]]]:
        for number in range(self.count):
            with np.load(self.file(number), allow_pickle=False) as part:
                yield {name: part[name] for name in part.files}

    def remove(self) -> None:
        shutil.rmtree(self.folder)


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
