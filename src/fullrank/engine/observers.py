"""Who watches training: observers read a ``StepEvent`` after each step and change nothing."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fullrank import distributed
from fullrank.methods._method import Method
from fullrank.types import Output, StepContext

QUEUE = 1000
"""TensorBoard events that wait for their writer; with its usual ten a step waits for the disk"""


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """What happened in one step."""

    ctx: StepContext
    method: Method
    """as it is after the step, to be read"""
    outputs: list[Output]
    """of this process, one a micro-batch"""
    losses: dict[str, Tensor]
    """terms: mean over micro-batches and processes"""
    metrics: dict[str, Tensor]
    """the method's own numbers: mean over micro-batches and processes"""
    learning_rate: float
    grad_norm: Any
    """scalar tensor, before clipping"""
    step_seconds: float
    """the whole step, waiting included"""
    wait_seconds: float
    """the share of it in which no data was there"""
    clips: int
    """clips of the step, over all processes"""
    elapsed_seconds: float
    """training time so far, earlier parts of a resumed run included"""
    notes: dict[str, Any] = field(default_factory=dict)
    """what observers tell those after them (the monitor: ranks for the progress line)"""


def averaged(outputs: list[Output], kind: str) -> dict[str, Tensor]:
    """Means of "losses" or "metrics" over micro-batches and processes; every process must call it."""
    rows = [getattr(output, kind) for output in outputs]
    if not rows[0]:
        return {}
    table = torch.stack([torch.stack([value.detach().float() for value in row.values()]) for row in rows]).mean(0)
    return dict(zip(rows[0], distributed.mean(table), strict=True))


class Observer(Protocol):
    """Sees every step. Returning a sentence asks the loop to save a checkpoint and stop for that reason."""

    def on_step(self, event: StepEvent) -> str | None:
        """After each step."""
        ...

    def on_end(self, summary: dict[str, Any]) -> None:
        """Once, however the run ends; may add to the summary."""
        ...


class Lines:
    """A .jsonl file that is appended to; on resume, lines later than the checkpoint are cut off.

    What stands before an event "rollback" stays: it was left behind on purpose, and the checkpoint is of after it.
    """

    def __init__(self, file: Path, *, resume_step: int | None = None):
        self.file = file
        if resume_step is not None and file.exists():
            _cut(file, resume_step)
        self._handle = open(file, "a", encoding="utf-8")  # noqa: SIM115  open as long as the run

    def cut(self, step: int) -> None:
        """Take away what is later than ``step``."""
        self._handle.close()
        _cut(self.file, step)
        self._handle = open(self.file, "a", encoding="utf-8")  # noqa: SIM115  open as long as the run

    def write(self, row: dict[str, Any]) -> None:
        """One line, on disk at once."""
        self._handle.write(json.dumps(row, default=float) + "\n")
        self._handle.flush()

    def close(self) -> None:
        """Close the file."""
        self._handle.close()


def _cut(file: Path, step: int) -> None:
    lines = [(line, _parsed(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    back = max((i for i, (_, row) in enumerate(lines) if row is not None and row.get("event") == "rollback"), default=-1)
    kept = [line for i, (line, row) in enumerate(lines) if row is not None and (i <= back or int(row.get("step", 0)) <= step)]
    file.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _parsed(line: str) -> dict[str, Any] | None:
    """None for a line cut off by a crash, which goes."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All rows of a .jsonl file; an absent file has none, a last line that was cut off is left out."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


class MetricsLog:
    """metrics.jsonl and TensorBoard event files: the first 50 steps, every 2,000th part of the run, one row a second, and where
    records that are held out were looked at (their loss terms stand beside).
    """

    def __init__(self, folder: Path, total_steps: int, resume_step: int | None):
        from torch.utils.tensorboard import SummaryWriter

        self.lines = Lines(folder / "metrics.jsonl", resume_step=resume_step)
        self.folder = str(folder / "tensorboard")
        self.board = SummaryWriter(self.folder, purge_step=resume_step, max_queue=QUEUE)
        self.every = max(1, total_steps // 2000)
        self.last: dict[str, float] = {}
        self._waits: list[tuple[float, float, int]] = []

    def on_step(self, event: StepEvent) -> str | None:
        """Write a row every few steps; rates are means since the last row."""
        self._waits.append((event.step_seconds, event.wait_seconds, event.clips))
        step, held = event.ctx.step, event.notes.get("held_out")
        seconds, waited, clips = (sum(column) for column in zip(*self._waits, strict=True))
        if step > 50 and step % self.every and seconds < 1.0 and held is None:
            return None
        losses = {name: float(value) for name, value in event.losses.items()}
        metrics = {name: float(value) for name, value in event.metrics.items()}
        row = {
            "step": step,
            "epoch": event.ctx.epoch,
            "progress": event.ctx.progress,
            "learning_rate": event.learning_rate,
            "loss": sum(losses.values()),
            "losses": losses,
            "metrics": metrics,
            "grad_norm": float(event.grad_norm),
            "step_seconds": seconds / len(self._waits),
            "data_wait_ratio": waited / max(seconds, 1e-9),
            "clips_per_second": clips / max(seconds, 1e-9),
            "elapsed_seconds": event.elapsed_seconds,
        }
        if held is not None:
            row |= {"held_out_losses": held["losses"], "held_out_metrics": held["metrics"]}
        self._waits.clear()
        self.last = losses
        self.lines.write(row)
        flat = {f"loss/{k}": v for k, v in losses.items()} | {f"metric/{k}": v for k, v in metrics.items()}
        flat |= {f"run/{k}": row[k] for k in ("loss", "learning_rate", "grad_norm", "data_wait_ratio", "clips_per_second")}
        self.scalars(step, flat.items())
        return None

    def scalars(self, step: int, values: Iterable[tuple[str, float]]) -> None:
        """Numbers for TensorBoard."""
        for name, value in values:
            self.board.add_scalar(name, value, step)

    def histograms(self, step: int, values: Iterable[tuple[str, Any]]) -> None:
        """Arrays for TensorBoard."""
        for name, value in values:
            self.board.add_histogram(name, value, step)

    def went_back(self, step: int) -> None:
        """Take away what is later than ``step``; TensorBoard hides it."""
        from torch.utils.tensorboard import SummaryWriter

        self.lines.cut(step)
        self.board.close()
        self.board = SummaryWriter(self.folder, purge_step=step + 1, max_queue=QUEUE)
        self._waits.clear()

    def on_end(self, summary: dict[str, Any]) -> None:
        """Close the files."""
        summary["losses"] = self.last
        self.lines.close()
        self.board.close()
