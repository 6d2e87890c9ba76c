"""Reads a run folder (or a folder that only has features) into one value; every file of it may be missing.

Enters: a path. Leaves: ``Run``. Next file to read: verdict.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fullrank.errors import CheckpointError
from fullrank.types import FeatureTable

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the files of a run say. A missing file leaves its field empty."""

    path: Path
    name: str
    """unique among the runs of a page"""
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: list[Line] = field(default_factory=list)
    spectrum: list[Line] = field(default_factory=list)
    events: list[Line] = field(default_factory=list)
    skipped: list[Line] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    features: Path | None = None
    """folder of the feature table"""
    table: FeatureTable | None = None
    branches: dict[str, FeatureTable] = field(default_factory=dict)
    """{name: table} of the method's other branches on the same data"""

    @property
    def method(self) -> str:
        """Name of the method, or what stands for it in a folder without settings."""
        manifest = self.table.manifest if self.table is not None else {}
        return str(self.config.get("method") or manifest.get("method") or manifest.get("encoder") or "unknown")

    @property
    def steps(self) -> int | None:
        """Steps that were made, from the summary or the last logged line."""
        if "steps" in self.summary:
            return int(self.summary["steps"])
        return int(self.metrics[-1]["step"]) if self.metrics else None

    @property
    def training_steps(self) -> int | None:
        """Steps behind the features; 0: random weights. None where nothing says it."""
        steps = self.table.manifest.get("steps") if self.table is not None else self.steps
        return steps if isinstance(steps, int) else None

    @property
    def finished(self) -> bool:
        """Whether the training wrote its last event."""
        return bool(self.summary) or any(event.get("event") == "end" for event in self.events)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """All runs of a page, with names that tell them apart: the folder's, longer where two would be equal."""
    return [_read_run(path, name) for path, name in zip(paths, _names(paths), strict=True)]


def _read_run(path: Path, name: str) -> Run:
    if not path.exists():
        raise CheckpointError(f"a run must be an existing folder. Got {path}. Give the folder that `fullrank train` wrote.")
    features = next((f for f in (path / "features", path) if (f / "representation.npy").is_file()), None)
    known = any((path / name).is_file() for name in ("config.json", "metrics.jsonl", "evaluation.json"))
    if not path.is_dir() or not (known or features):
        raise CheckpointError(
            f"{path} must be a run folder (config.json, metrics.jsonl) or a feature table (representation.npy). "
            f"Got {_contents(path)}. Give the folder that `fullrank train` or `fullrank extract` wrote."
        )
    table, branches = None, {}
    if features is not None:
        from fullrank.features.table import other_branches, read_table

        table, branches = read_table(features), other_branches(features)
    return Run(
        path=path,
        name=name,
        config=read_json(path / "config.json"),
        environment=read_json(path / "environment.json"),
        metrics=read_lines(path / "metrics.jsonl"),
        spectrum=read_lines(path / "spectrum.jsonl"),
        events=read_lines(path / "events.jsonl"),
        skipped=read_lines(path / "skipped.jsonl"),
        summary=read_json(path / "summary.json"),
        evaluation=read_json(path / "evaluation.json"),
        features=features,
        table=table,
        branches=branches,
    )


def _contents(path: Path) -> str:
    if not path.is_dir():
        return "a file"
    names = sorted(item.name for item in path.iterdir())
    return f"a folder with {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else "an empty folder"


def _names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path; as many parts as it takes where two are equal."""
    full = [path.resolve().parts for path in paths]
    for count in range(1, max(len(parts) for parts in full) + 1):
        names = ["/".join(parts[-count:]) for parts in full]
        if len(set(names)) == len(set(full)):
            return names
    return [str(path) for path in paths]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a .json file; empty where there is no file, ``CheckpointError`` where it is damaged."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{path} must hold JSON. It is damaged ({error}); the run's other files may be whole. Restore it or remove it."
        ) from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} must hold a JSON object. Got {type(value).__name__}. Restore the file or remove it.")
    return value


def read_lines(path: Path) -> list[Line]:
    """JSON lines; a last line that is cut short is left out, as a run may be writing it, one in the middle is an error."""
    if not path.is_file():
        return []
    texts = [text for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if text.strip()]
    found: list[Line] = []
    for number, text in enumerate(texts, start=1):
        try:
            found.append(json.loads(text))
        except ValueError:
            if number < len(texts):
                raise CheckpointError(f"line {number} of {path} must be JSON. Got {text[:60]!r}. Remove that line.") from None
    return found
