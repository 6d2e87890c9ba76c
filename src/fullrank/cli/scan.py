"""Open and decode every file of a folder or list: the bad ones, the durations, and the room a cache would take."""

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.progress import Progress

from fullrank.cli import _io
from fullrank.errors import DataError

if TYPE_CHECKING:
    from fullrank.data.scan import FileReport, ScanResult

_SHOWN = 50
"""rows of the table of bad files; --json has all"""


@dataclass(frozen=True)
class Arguments:
    """What to scan."""

    path: tyro.conf.Positional[Path]
    """folder of videos or images, or a .csv file list"""
    num_workers: int = min(8, os.cpu_count() or 1)
    """decoding processes (0: decode in this one)"""
    canvas_pixels: int = 256
    """short side of the frames in the cache whose size is estimated"""
    json: _io.OptionalFile = None
    """write what is printed, and a report of every file, to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank scan PATH`."""
    args = _io.parse(Arguments, argv, "fullrank scan", description=__doc__)
    from fullrank.data.scan import scan
    from fullrank.data.sources.file_list import ListSource
    from fullrank.data.sources.folder import FolderSource

    if args.num_workers < 0 or args.canvas_pixels < 8:
        wrong = f"{args.num_workers} and {args.canvas_pixels}"
        raise DataError(f"--num-workers must be at least 0 and --canvas-pixels at least 8. Got {wrong}.")
    is_list = args.path.suffix.lower() == ".csv" and not args.path.is_dir()
    source = ListSource(args.path) if is_list else FolderSource(args.path)
    with Progress(console=_io.notes, transient=True) as bar:
        result = scan(source, args.num_workers, args.canvas_pixels, _late(bar, len(source)))
    _show(source.description, result)
    _io.write_json(args.json, {"source": source.description, "fingerprint": source.fingerprint} | dataclasses.asdict(result))
    if not result.usable:
        raise DataError(f"At least one file of {args.path} must decode. Got none of {len(source)}; the table says why.")


def _late(bar: Progress, total: int) -> "Callable[[FileReport], None]":
    """Count files, on a bar that appears once two seconds have passed."""
    task = bar.add_task("decoding", total=total, visible=False)
    began = time.monotonic()

    def count(report: "FileReport") -> None:
        bar.update(task, advance=1, visible=_io.is_terminal() and time.monotonic() - began > 2.0)

    return count


def _show(description: str, result: "ScanResult") -> None:
    if result.bad:
        rows = [(bad.record, "damaged" if bad.usable else "unusable", bad.reason) for bad in result.bad[:_SHOWN]]
        _io.table("Bad files", ("file", "state", "reason"), rows)
        if len(result.bad) > _SHOWN:
            _io.console.print(f"... and {len(result.bad) - _SHOWN} more; --json FILE lists all.")
    damaged = sum(bad.usable for bad in result.bad)
    _io.console.print(description, markup=False)
    _io.console.print(
        f"{len(result.files)} files: {result.usable - damaged} decode completely, {damaged} in part, "
        f"{len(result.files) - result.usable} not at all."
    )
    if not result.usable:
        return
    if result.durations is not None:
        values = [round(value, 2) for value in dataclasses.astuple(result.durations)]
        _io.table("Durations in seconds", ("videos", "median", "mean", "std", "min", "max"), [[result.usable, *values]])
        _io.console.print(f"frame rate: {result.usable - result.variable_rate} constant, {result.variable_rate} variable")
    _io.console.print(f"sizes: {_counts(result.sizes)}")
    _io.console.print(f"codecs: {_counts(result.codecs)}")
    room = f"{result.cache_bytes / 2**30:.2f} GiB" if result.cache_bytes >= 2**28 else f"{result.cache_bytes / 2**20:.1f} MiB"
    _io.console.print(f"A cache of all {result.frames} frames at canvas {result.canvas_pixels} takes {room}.")


def _counts(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:8])
    return shown + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")
