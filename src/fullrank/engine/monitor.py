"""The collapse monitor: sees representation and embedding while training, for at most a set share of its time."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fullrank.config import MonitorConfig
from fullrank.engine.observers import Lines, MetricsLog, StepEvent
from fullrank.methods._method import Sign
from fullrank.spectrum.bulk import bulk_measures
from fullrank.spectrum.diagnosis import by_metrics, cheap_complete, space_of
from fullrank.spectrum.measures import cheap_measures, measure_all

SPACES = ("representation", "embedding")
AIM = 0.8
"""of the allowed share: the rest is for the last spectrum and for guesses that were too low"""
READINGS = 2
"""in a row that make an alarm"""
FLOPS_PER_SECOND = 2e10
"""a low guess of float64 speed, used only to decide when the first spectrum fits into the budget"""


class Ring:
    """The newest rows of one space."""

    def __init__(self, rows: int):
        self.rows, self.used, self._next = rows, 0, 0
        self._data: Tensor | None = None

    def push(self, x: Tensor) -> None:
        """Append [n, d], overwriting the oldest."""
        if self._data is None:
            self._data = torch.empty(self.rows, x.shape[1], device=x.device)
        x = x[-self.rows :]
        first = min(len(x), self.rows - self._next)
        self._data[self._next : self._next + first] = x[:first]
        self._data[: len(x) - first] = x[first:]
        self._next = (self._next + len(x)) % self.rows
        self.used = min(self.used + len(x), self.rows)

    def contents(self) -> Tensor:
        """[used, d], in no particular order."""
        if self._data is None:
            return torch.empty(0, 0)
        return self._data[: self.used]


class CollapseMonitor:
    """Writes spectrum.jsonl and the alarms of events.jsonl.

    Standard deviation, mean cosine and norm of the mean of the batch are read every ``cheap_every_steps``; spectra of the
    newest ``buffer_rows`` records whenever the time spent so far plus the time of the next one stays within ``max_share``
    of the training time. One view a record is kept: the views of a record are no independent samples. ``healthy_std``: what
    the method drives the standard deviation of its embedding to, where it fixes one. The second branch of a method with two
    ("broad_embedding") has cheap readings and alarms of its own, and ``signs`` are the method's: what its metrics read where
    the features do not show the collapse.
    """

    def __init__(
        self,
        folder: Path,
        cfg: MonitorConfig,
        events: Lines,
        board: MetricsLog,
        *,
        healthy_std: float | None = None,
        signs: tuple[Sign, ...] = (),
        resume_step: int | None = None,
    ):
        self.cfg, self.events, self.board, self.healthy_std, self.signs = cfg, events, board, healthy_std, signs
        self.lines = Lines(folder / "spectrum.jsonl", resume_step=resume_step)
        self.rings = {space: Ring(cfg.buffer_rows) for space in SPACES}
        self.spent_seconds = 0.0
        self.watched_seconds = 0.0
        self.cost_seconds: float | None = None
        self.began: dict[str, int] = {}
        self.suspected: dict[str, int] = {}
        self.latest: dict[str, dict[str, float]] = {}
        self._fresh = 0
        self._steps = 0
        self._told_interval = False

    def on_step(self, event: StepEvent) -> str | None:
        """Measure what is due; return a sentence when training is to stop."""
        start = time.perf_counter()
        watched = [name for name in event.outputs[0].features if space_of(name) in SPACES]
        batches = {name: torch.cat([o.features[name][:, 0] for o in event.outputs]) for name in watched}
        for space, ring in self.rings.items():
            if space in batches:
                ring.push(batches[space])
        self._fresh += 1
        self._steps += 1
        step, alarm = event.ctx.step, None
        if step % self.cfg.cheap_every_steps == 0:
            cheap = {space: self._cheap(space, batch) for space, batch in batches.items()}
            self._write(step, "cheap", cheap, time.perf_counter() - start)
            alarm = self._alarms(event, cheap)
        self.watched_seconds += event.step_seconds
        if self.spent_seconds + self._expected() <= AIM * self.cfg.max_share * self.watched_seconds:
            self._spectra(step)
        event.notes["ranks"] = {space: m["effective_rank"] for space, m in self.latest.items()}
        event.notes["collapsed"] = dict(self.began)
        self.spent_seconds += time.perf_counter() - start
        return alarm if self.cfg.on_collapse == "stop" else None

    @staticmethod
    def _cheap(space: str, batch: Tensor) -> dict[str, float | int]:
        # heads may end in a BatchNorm, backbones don't
        more = bulk_measures(batch) if space_of(space) == "embedding" and len(batch) > 2 else {}
        return {**cheap_measures(batch), **more}

    def _expected(self) -> float:
        if self.cost_seconds is not None:
            return self.cost_seconds
        flops = 0.0
        for ring in self.rings.values():
            n, d = ring.contents().shape
            flops += 3 * (n * d * min(n, d) + 10 * min(n, d) ** 3)
        return flops / FLOPS_PER_SECOND

    def _spectra(self, step: int) -> None:
        start = time.perf_counter()
        spaces = {}
        for space, ring in self.rings.items():
            if ring.used > 1:
                spaces[space] = measure_all(ring.contents().cpu().numpy(), eigenvalues=256)
        self.latest = spaces
        self.cost_seconds = time.perf_counter() - start
        self._write(step, "full", spaces, self.cost_seconds)
        if not self._told_interval and self._steps > 1:
            per_step = self.watched_seconds / self._steps
            every = self.cost_seconds / self.cfg.max_share / max(per_step, 1e-9)
            self.events.write(
                {"step": step, "event": "monitor", "cost_seconds": self.cost_seconds, "about_every_steps": round(every)}
            )
            self._told_interval = True
        self._fresh = 0

    def _write(self, step: int, kind: str, spaces: dict[str, Any], seconds: float) -> None:
        self.lines.write({"step": step, "kind": kind, "seconds": seconds, "spaces": spaces})
        numbers = ((f"{space}/{k}", v) for space, m in spaces.items() for k, v in m.items() if isinstance(v, float))
        self.board.scalars(step, numbers)

    def _alarms(self, event: StepEvent, cheap: dict[str, Any]) -> str | None:
        found = {space: cheap_complete(measures, space, healthy_std=self.healthy_std) for space, measures in cheap.items()}
        read: dict[str, Any] = dict(cheap)
        if self.signs:
            read["output"] = {name: float(value) for name, value in event.metrics.items()}
            found["output"] = by_metrics(self.signs, read["output"])
        sentence = None
        for space, evidence in found.items():
            # one reading may be a start that is still narrow (MoCo without batch norm): two in a row are an alarm
            self.suspected[space] = self.suspected.get(space, 0) + 1 if evidence is not None else 0
            if evidence is not None and self.suspected[space] < READINGS:
                continue
            row = {"step": event.ctx.step, "elapsed_seconds": event.elapsed_seconds, "space": space}
            if evidence is not None and space not in self.began:
                self.began[space] = event.ctx.step - (READINGS - 1) * self.cfg.cheap_every_steps
                sentence = sentence or evidence["sentence"]
                self.events.write({**row, "event": "collapse", "began": self.began[space], **evidence})
            elif evidence is None and space in self.began:
                self.events.write({**row, "event": "recovered", "began": self.began.pop(space), "measures": read[space]})
        return sentence

    def on_end(self, summary: dict[str, Any]) -> None:
        """A last spectrum, so that even the shortest run has one; then the monitor's share of the time."""
        if self._fresh and any(ring.used > 1 for ring in self.rings.values()):
            self._spectra(summary["steps"])
        summary["monitor_share"] = self.spent_seconds / max(self.watched_seconds, 1e-9)
        summary["collapsed"] = dict(self.began)
        summary["ranks"] = {s: {k: m[k] for k in ("n", "d", "effective_rank", "rankme")} for s, m in self.latest.items()}
        self.lines.close()
