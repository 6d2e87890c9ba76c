"""Recorded readings of a finished run, fed through today's alarms: thresholds are tuned without training.

A spectrum holds no rows, and a cheap reading no features that were NaN: clusters and what was not finite stand as the run's own
alarms told them. All else (scale, spectra, losses, metrics, gradient norms) is judged anew.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fullrank.checkpoint.encoder import build_method, read_config
from fullrank.engine.alarms import NOT_FINITE, Alarms
from fullrank.engine.observers import Lines, read_lines

CLUSTER = " cluster"


def told(events: list[dict[str, Any]], ending: str) -> list[tuple[str, float, float, dict[str, Any]]]:
    """(feature, first step, step of the recovery or infinity, the event) of the alarms whose names end so."""
    found: list[tuple[str, float, float, dict[str, Any]]] = []
    for event in events:
        name = event.get("name", "")
        if not name.endswith(ending):
            continue
        feature = name.removesuffix(ending)
        if event["event"] == "collapse":
            found.append((feature, event["began"], float("inf"), event))
        elif event["event"] == "recovered":
            i = max(i for i, one in enumerate(found) if one[0] == feature)
            found[i] = (feature, found[i][1], event["step"], found[i][3])
    return found


def replay(folder: Path) -> list[dict[str, Any]]:
    """The rows of events.jsonl that today's alarms would have written for the run in ``folder``."""
    config, record = read_config(folder)
    method = build_method(config, record["num_records"])
    events = read_lines(folder / "events.jsonl")
    metrics = {row["step"]: row for row in read_lines(folder / "metrics.jsonl")}
    total = next(row["total_steps"] for row in events if row["event"] == "start")
    clusters, broken = told(events, CLUSTER), told(events, NOT_FINITE)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "events.jsonl"
        lines = Lines(file)
        alarms = Alarms.of_run(lines, config, record["method"])
        for line in read_lines(folder / "spectrum.jsonl"):
            step = line["step"]
            row = metrics[step]
            event: Any = SimpleNamespace(
                ctx=SimpleNamespace(step=step, total_steps=total),
                method=method,
                losses=row["losses"],
                metrics=row["metrics"],
                grad_norm=row["grad_norm"],
                elapsed_seconds=row["elapsed_seconds"],
            )
            if line["kind"] == "cheap":
                names = [name for name, first, end, _ in broken if first <= step < end and name not in ("gradient", "loss")]
                alarms.cheap(event, line["spaces"], names)
            else:
                points: dict[str, dict[str, Any] | None] = dict.fromkeys(line["spaces"])
                for name, first, end, said in clusters:
                    if first <= step < end:
                        points[name] = {key: said[key] for key in ("kind", "sentence", "evidence")}
                alarms.full(event, line["spaces"], points)
        lines.close()
        told_loss = [event for event in events if event.get("name") == f"loss{NOT_FINITE}"]
        return [*read_lines(file), *told_loss]
