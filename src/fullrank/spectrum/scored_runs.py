"""Runs with their measures and accuracies, from a JSON file such as benchmarks/methods.py writes."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fullrank.errors import DataError

MEASURED = ("ranks", "measures")
"""what the measures of a row may be called: {space: {measure: value}}"""
SCORES = ("knn", "linear", "finetune", "top1")
"""an accuracy has one of these words in its name"""
NO_MEASURES = ("n", "d", "bound")


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """One run."""

    group: str
    """its method; runs of one method are alike"""
    setting: str = ""
    """what it differs in from others of its method, apart from the seed"""
    accuracies: dict[str, float]
    """{name: 0..1}"""
    measures: dict[str, float]
    """{"representation effective_rank": value}"""


def read_scored_runs(path: str | Path) -> list[ScoredRun]:
    """Every row of the file that has measures and accuracies, wherever in it the rows stand.

    A row is an object with "ranks" or "measures", {space: {measure: number, or {"value": number}}} (or {measure: ...} beside
    "space"), and numbers whose names say "knn", "linear", "finetune" or "top1"; "method" names its group, "setting" what
    it differs in from others of it. ``DataError`` where there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path} must be a JSON file of runs. Got nothing there; `python benchmarks/methods.py --out` writes one."
        )
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} must be JSON. It is something else or damaged ({error}).") from None
    runs = [run for row in _rows(tree) if (run := _run(row))]
    if not runs:
        raise DataError(
            f'{path} must hold runs: objects with "measures" or "ranks" of each space and accuracies named knn or linear. '
            "Got none."
        )
    return runs


def _rows(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, Mapping):
        if any(isinstance(tree.get(key), Mapping) for key in MEASURED):
            yield tree
        else:
            for value in tree.values():
                yield from _rows(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _rows(value)


def _run(row: Mapping[str, Any]) -> ScoredRun | None:
    spaces = next(row[key] for key in MEASURED if isinstance(row.get(key), Mapping))
    spaces = {row["space"]: spaces} if isinstance(row.get("space"), str) else spaces
    measures = {
        f"{space} {name}": number
        for space, values in spaces.items()
        if isinstance(values, Mapping)
        for name, value in values.items()
        if name not in NO_MEASURES and (number := _number(value)) is not None
    }
    accuracies = {
        name: number
        for name, value in row.items()
        if any(word in name.lower() for word in SCORES) and (number := _number(value)) is not None
    }
    if not measures or not accuracies:
        return None
    group, setting = str(row.get("method", row.get("encoder", "run"))), str(row.get("setting", ""))
    return ScoredRun(group=group, setting=setting, accuracies=accuracies, measures=measures)


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None
