"""The collapse monitor: sees every space while training, and the records held out, for at most a set share of its time."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullrank.config import CheckpointConfig, MonitorConfig
from fullrank.engine.alarms import Alarms
from fullrank.engine.best import Best
from fullrank.engine.observers import Lines, MetricsLog, StepEvent
from fullrank.engine.probe import Probe
from fullrank.engine.rings import VIEWS, Rings
from fullrank.errors import SettingError
from fullrank.spectrum.alarms import few_points
from fullrank.spectrum.bulk import bulk_measures
from fullrank.spectrum.clusters import ROWS, cluster_measures
from fullrank.spectrum.groups import lidar
from fullrank.spectrum.measures import cheap_measures, measure_all
from fullrank.spectrum.rules import SPACES, space_of

AIM = 0.7
"""of the allowed share: the rest is for guesses that were too low"""
FLOPS_PER_SECOND = 5e10
"""a guess of float64 speed, used only to decide when a spectrum fits into the budget; measured on one core of an AMD EPYC,
2e10 for 128 dimensions, whose spectra are cheap, to 1.4e11 for 2048"""
CHARTED = ("std", "normalized_std", "mean_cosine")
"""of the cheap readings, in TensorBoard; spectrum.jsonl has all"""
KEPT = 256
"""eigenvalues of each spectrum that are written"""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the monitor asks of the loop after a step."""

    alarm: dict[str, Any] | None = None
    """the event of an alarm that was raised at this step"""
    best: bool = False
    """the state is the best so far, and is to be kept"""


class CollapseMonitor:
    """Writes spectrum.jsonl and the alarms of events.jsonl.

    Standard deviation, mean cosine and norm of the mean of the batch are read every ``cheap_every_steps``; spectra of the
    newest ``buffer_rows`` records, of every feature that the method gives (representation, embedding, prediction, teacher), of
    its first two views apart, and of what ``probe`` looks at, whenever the time spent so far plus the time of the next ones
    stays within ``max_share`` of the training time, and at the last step. ``num_records``: of the training data; rows that sit
    at few points are looked for among half as many, so that a record seen twice is no point. A line of kind "full" of
    spectrum.jsonl: {"step", "kind", "seconds", "spent_seconds", "spaces": {feature: measures}, "views": {"1": {feature:
    measures}}, "stages": {stage: measures}, "held_out": {"spaces", "losses", "metrics"}}, the last three where there are any;
    among the measures "eigenvalues" are those of L2-normalised rows. After a resume, spectra wait until the buffer has as many
    rows as there are records, or is full; the last is taken all the same.
    """

    def __init__(
        self,
        folder: Path,
        cfg: MonitorConfig,
        checkpoint: CheckpointConfig,
        alarms: Alarms,
        board: MetricsLog,
        *,
        num_records: int,
        probe: Probe | None = None,
        kept: dict[str, Any] | None = None,
        resume_step: int | None = None,
    ):
        self.cfg, self.alarms, self.board, self.num_records, self.probe = cfg, alarms, board, num_records, probe
        self.best = Best(checkpoint, kept)
        self.lines = Lines(folder / "spectrum.jsonl", resume_step=resume_step)
        self.rings = Rings(cfg.buffer_rows)
        self.spent_seconds = 0.0
        self.watched_seconds = 0.0
        self.cost_seconds: float | None = None
        self._measured_flops = 0.0
        self.latest: dict[str, dict[str, Any]] = {}
        self.wish = Wish()
        self._fresh = 0
        self._steps = 0
        self._told_interval = False
        self._resumed = resume_step is not None

    def on_step(self, event: StepEvent) -> str | None:
        """Measure what is due; return a sentence when training is to stop."""
        start = time.perf_counter()
        batches = {name: _joined([o.features[name][:, :VIEWS] for o in event.outputs]) for name in event.outputs[0].features}
        self.rings.push(batches)
        self._fresh += 1
        self._steps += 1
        alarm, best = None, False
        if event.ctx.step % self.cfg.cheap_every_steps == 0:
            alarm = self._cheap(event, {name: x[:, 0] for name, x in batches.items()}, start)
        self.watched_seconds += event.step_seconds
        last = event.ctx.step >= event.ctx.total_steps
        # of a few rows after a resume the rank would fall beside that of many before it, which is no collapse
        ready = not self._resumed or self.rings.hold(self.num_records)
        if self.rings.filled and (last or (ready and self._fits())):
            raised, best = self._full(event)
            alarm = alarm or raised
        event.notes["ranks"] = {space: m["effective_rank"] for space, m in self.latest.items() if space in SPACES}
        event.notes["collapsed"] = dict(self.alarms.began)
        self.spent_seconds += time.perf_counter() - start
        self.wish = Wish(alarm=alarm, best=best)
        return str(alarm["sentence"]) if alarm is not None and self.cfg.on_collapse == "stop" else None

    def _fits(self) -> bool:
        cost = (self.rings.flops() - self._measured_flops) / FLOPS_PER_SECOND  # rings fill up
        if self.cost_seconds is not None:
            cost += self.cost_seconds
        elif self.probe is not None:
            cost += 2 * self.probe.expected(self.watched_seconds / self._steps)  # the first time is the slowest
        return self.spent_seconds + 2 * cost <= AIM * self.cfg.max_share * self.watched_seconds  # this one and the last

    def _cheap(self, event: StepEvent, batches: dict[str, Tensor], start: float) -> dict[str, Any] | None:
        not_finite = [name for name, x in batches.items() if not bool(x.isfinite().all())]
        found: dict[str, dict[str, Any]] = {}
        for name, x in batches.items():
            if name in not_finite or space_of(name) not in SPACES or len(x) < 2:
                continue
            # heads may end in a BatchNorm, backbones don't
            more = bulk_measures(x) if space_of(name) == "embedding" and len(x) > 2 else {}
            found[name] = {**cheap_measures(x), **more}
        self._write(event.ctx.step, "cheap", time.perf_counter() - start, found)
        return self.alarms.cheap(event, found, not_finite)

    def _full(self, event: StepEvent) -> tuple[dict[str, Any] | None, bool]:
        """Measure everything; (the alarm that was raised, whether this is the best state so far)."""
        start = time.perf_counter()
        parts = self._measure()
        if self.probe is not None:
            parts |= self._look(event)
        event.notes["held_out"] = parts.get("held_out")
        spaces = parts["spaces"]
        self._check_best(spaces)
        rows = min(ROWS, self.num_records // 2)
        newest = {name: x for name, x in self.rings.newest(rows).items() if space_of(name) in SPACES and x.isfinite().all()}
        points = {name: few_points(cluster_measures(x.numpy()), name) for name, x in newest.items()}
        self._finish(event.ctx.step, parts, start)
        alarm = self.alarms.full(event, spaces, points)
        held = "held_out" in parts and self.best.measure != "lidar"
        numbers = (parts["held_out"]["spaces"] if held else spaces).get(self.best.space, {})
        best = self.alarms.calm and self.best.offer(event.ctx.step, numbers, held_out=held)
        return alarm, best

    def _measure(self) -> dict[str, Any]:
        first, second = self.rings.of_view(0), self.rings.of_view(1)
        parts: dict[str, Any] = {"spaces": {name: measure_all(x.numpy(), eigenvalues=KEPT) for name, x in first.items()}}
        if second:
            parts["views"] = {"1": {name: measure_all(x.numpy(), eigenvalues=KEPT) for name, x in second.items()}}
        self.latest = parts["spaces"]
        return parts

    def _look(self, event: StepEvent) -> dict[str, Any]:
        seen = self.probe.look(event.method, event.ctx)  # type: ignore[union-attr]
        measured = [
            {name: measure_all(x.numpy(), eigenvalues=KEPT) for name, x in kind.items() if bool(x.isfinite().all())}
            for kind in (seen.features, seen.stages)
        ]
        parts: dict[str, Any] = {"stages": measured[1]} if seen.stages else {}
        if seen.features:
            parts["held_out"] = {"spaces": measured[0], "losses": seen.losses, "metrics": seen.metrics}
        return parts

    def _check_best(self, spaces: dict[str, Any]) -> None:
        """Add LiDAR where it chooses; ``SettingError`` where the method gives nothing that could choose."""
        space = self.best.space
        if self.best.measure is None:
            return
        if spaces and space not in spaces:
            raise SettingError(
                f"checkpoint.best_space must be a space that the method has. Got {space}; there is {', '.join(spaces)}."
            )
        if self.best.measure == "lidar" and spaces:
            pairs = self.rings.pairs(space)
            if pairs is None:
                raise SettingError(
                    "checkpoint.keep_best lidar needs two views of a record. Got a method with one; choose another measure."
                )
            pairs = pairs[pairs.isfinite().flatten(1).all(dim=1)]
            groups = torch.arange(len(pairs)).repeat_interleave(pairs.shape[1]).numpy()
            spaces[space]["lidar"] = lidar(pairs.flatten(0, 1).double().numpy(), groups)

    def _finish(self, step: int, parts: dict[str, Any], start: float) -> None:
        """Write what was measured, and how long it took."""
        self.cost_seconds, self._measured_flops = time.perf_counter() - start, self.rings.flops()
        self._fresh = 0
        spaces, more = parts["spaces"], {name: part for name, part in parts.items() if name != "spaces"}
        self._write(step, "full", self.cost_seconds, spaces, more)
        if not self._told_interval and self._steps > 1:
            per_step = self.watched_seconds / self._steps
            every = self.cost_seconds / self.cfg.max_share / max(per_step, 1e-9)
            self.alarms.events.write(
                {"step": step, "event": "monitor", "cost_seconds": self.cost_seconds, "about_every_steps": round(every)}
            )
            self._told_interval = True

    def _write(self, step: int, kind: str, seconds: float, spaces: dict[str, Any], more: dict[str, Any] | None = None) -> None:
        line = {"step": step, "kind": kind, "seconds": seconds, "spent_seconds": self.spent_seconds + seconds, "spaces": spaces}
        self.lines.write(line | (more or {}))
        shown = spaces if kind == "full" else {name: {k: m[k] for k in CHARTED} for name, m in spaces.items()}
        self.board.scalars(step, _flat("", {**shown, **(more or {})}))
        self.board.scalars(step, [(f"monitor/{kind}_seconds", seconds)])
        spectra = [(name, np.array(m["eigenvalues"])) for name, m in spaces.items() if "eigenvalues" in m]
        logs = [(f"{name}/log_eigenvalues", np.log(x[x > 0])) for name, x in spectra if (x > 0).any()]
        self.board.histograms(step, logs)

    def went_back(self, step: int) -> None:
        """The weights are those of an earlier step: forget what came after it."""
        self.rings = Rings(self.cfg.buffer_rows)
        self.alarms.reset()
        self.lines.cut(step)
        self.latest = {}

    def on_end(self, summary: dict[str, Any]) -> None:
        """A last spectrum where the run was cut short, so that even then there is one; the monitor's share of the time."""
        if self._fresh and self.rings.filled:
            start = time.perf_counter()
            self._finish(summary["steps"], self._measure(), start)
            self.spent_seconds += time.perf_counter() - start
        summary["monitor_share"] = self.spent_seconds / max(self.watched_seconds, 1e-9)
        summary["collapsed"] = dict(self.alarms.began)
        shown = {space: m for space, m in self.latest.items() if space in SPACES}
        summary["ranks"] = {space: {k: m[k] for k in ("n", "d", "effective_rank", "rankme")} for space, m in shown.items()}
        if self.best.kept is not None:
            summary["best"] = self.best.kept
        self.lines.close()


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _flat(prefix: str, tree: dict[str, Any]) -> list[tuple[str, float]]:
    """(name, value) of every float in nested dictionaries: "held_out/spaces/embedding/effective_rank"."""
    found: list[tuple[str, float]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += _flat(f"{prefix}{name}/", value)
        elif isinstance(value, float):
            found.append((f"{prefix}{name}", value))
    return found
