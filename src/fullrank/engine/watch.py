"""The observers of one run, its start and its end."""

import json
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from fullrank.config import RunConfig
from fullrank.data.source import Source
from fullrank.engine import optimizers
from fullrank.engine.alarms import Alarms
from fullrank.engine.monitor import CollapseMonitor, Wish
from fullrank.engine.observers import Lines, MetricsLog, Observer, StepEvent, read_lines
from fullrank.engine.probe import Probe
from fullrank.engine.progress import Progress
from fullrank.errors import MediaError, SettingError
from fullrank.methods._method import load_method
from fullrank.recipes import recipe
from fullrank.types import ClipBatch

PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16 (weights stay in float32)", "64-true": "float64"}
LOOKED_AT = 8
"""records whose header may be unreadable before nothing is said of what the data are"""


def other_kind(config: RunConfig[Any], method: str, source: Source) -> str | None:
    """A warning where clips are asked of still images, or single frames of videos, with the recipe that fits."""
    clip = load_method(method).views(config.method).num_frames or config.data.num_frames
    longest = next((n for i in range(min(LOOKED_AT, len(source))) if (n := _frames(source, i))), None)
    if longest is None or (clip > 1) == (longest > 1):
        return None
    name = f"{method}.{'video' if longest > 1 else 'images'}"
    try:
        recipe(name)
        advice = f"the recipe {name} fits"
    except SettingError:
        advice = f"{method} has no recipe for {'videos' if longest > 1 else 'images'}"
    if clip > 1:
        return f"Warning: these are still images, and every clip would be one of them, repeated {clip} times; {advice}."
    return f"Warning: these are videos, of which the settings take single frames, so that motion is not seen; {advice}."


def _frames(source: Source, index: int) -> int:
    """Of one record; 0 where its header cannot be read."""
    try:
        return source.expected_shape(index, 256)[0]
    except MediaError:
        return 0


class Watch:
    """The observers of one run, on process 0; skipped files on every process."""

    def __init__(
        self,
        fabric: Fabric,
        config: RunConfig[Any],
        folder: Path,
        record: dict[str, Any],
        total: int,
        first: int,
        resume_step: int | None,
        extra: tuple[Observer, ...],
        *,
        num_records: int,
        probe: Probe | None = None,
        best: dict[str, Any] | None = None,
    ):
        self.fabric, self.config, self.folder, self.record = fabric, config, folder, record
        self.total, self.first = total, first
        self.observers: list[Observer] = []
        self.seen = {row["record"] for row in read_lines(folder / "skipped.jsonl")}
        self.waited = self.seconds = 0.0
        self.clips = 0
        self.monitor: CollapseMonitor | None = None
        if fabric.is_global_zero:
            self.events = Lines(folder / "events.jsonl", resume_step=resume_step)
            alarms = Alarms.of_run(self.events, config, record["method"])
            if resume_step is not None:
                alarms.restore(read_lines(folder / "events.jsonl"))
            self.metrics = MetricsLog(folder, total, resume_step)
            self.monitor = CollapseMonitor(
                folder,
                config.monitor,
                config.checkpoint,
                alarms,
                self.metrics,
                num_records=num_records,
                probe=probe,
                kept=best,
                resume_step=resume_step,
            )
            self.observers = [self.monitor, self.metrics, *extra, Progress(total, config.max_minutes, start_step=first)]

    def start(self, source: Source, peak: float) -> None:
        """Say what begins, to people and in events.jsonl; ``peak``: the largest learning rate."""
        if not self.fabric.is_global_zero:
            return
        cfg, event = self.config, "start" if self.first == 0 else "resume"
        self.events.write(
            {"step": self.first, "event": event, "learning_rate": peak, "total_steps": self.total, "data": source.description}
        )
        from rich.console import Console

        device = "CPU" if self.fabric.device.type == "cpu" else "GPU"
        count = self.fabric.world_size
        warning = other_kind(cfg, self.record["method"], source) or self._changed(source)
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"{self.record['recipe'] or self.record['method']} on {source.description}\n"
            f"{self.total} steps of {cfg.data.batch_size} records; learning rate {cfg.optimizer.base_learning_rate:g} x "
            f"{cfg.data.batch_size} / {optimizers.REFERENCE_BATCH} = {peak:g} ({cfg.optimizer.name}); "
            f"on the {device} in {PRECISIONS[self.fabric._precision.precision]} with {count} process{'es' * (count > 1)}\n"
            f"run folder: {self.folder}" + (f"\n{warning}" if warning else ""),
            markup=False,
        )

    def _changed(self, source: Source) -> str | None:
        began = self.record.get("num_records")
        if self.first == 0 or began in (None, len(source)):
            return None
        return (
            f"Warning: the run began with {began} records, and there are {len(source)} now: from here on it sees other batches "
            "than it would have."
        )

    def skipped(self, batch: ClipBatch) -> None:
        """Name each file that could not be read, once, in skipped.jsonl."""
        for name, reason in batch.skipped:
            if name not in self.seen:
                self.seen.add(name)
                with open(self.folder / "skipped.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps({"record": name, "reason": reason}) + "\n")

    @property
    def wish(self) -> Wish:
        """What the monitor asked for at the last step (on process 0)."""
        return Wish() if self.monitor is None else self.monitor.wish

    @property
    def calm(self) -> bool:
        """Whether no alarm stands and nothing is suspected (on process 0)."""
        return self.monitor is not None and self.monitor.alarms.calm

    @property
    def best(self) -> dict[str, Any] | None:
        """The best reading so far, as the state of the run keeps it (on process 0)."""
        return None if self.monitor is None else self.monitor.best.kept

    def kept_best(self) -> None:
        """Note that the state of the best reading was written (on process 0)."""
        if self.best is not None:
            self.events.write({"event": "best", **self.best})

    def not_finite(self, step: int, sentence: str) -> dict[str, Any]:
        """Note a loss term that became NaN or infinite; returns the event."""
        row = {"step": step, "event": "collapse", "space": "loss", "name": "loss non_finite", "began": step}
        row |= {"kind": "non_finite", "sentence": sentence, "evidence": {}}
        if self.fabric.is_global_zero:
            self.events.write(row)
        return row

    def went_back(self, step: int, alarm: dict[str, Any], number: int, factor: float) -> None:
        """Note that training goes on from ``step`` because of ``alarm``; of later steps only events are kept."""
        if self.monitor is None:
            return
        reason = {key: alarm[key] for key in ("kind", "space", "began", "sentence")}
        of = self.config.monitor.rollbacks
        self.events.write(
            {"step": step, "event": "rollback", "from_step": alarm["step"], "number": number, "of": of}
            | {"learning_rate_factor": factor, **reason}
        )
        self.monitor.went_back(step)
        self.metrics.went_back(step)

    def step(self, event: StepEvent) -> str | None:
        """Show the step to the observers; the reason of the first that asks to stop (on process 0)."""
        self.waited += event.wait_seconds
        self.seconds += event.step_seconds
        self.clips += event.clips
        reasons = [observer.on_step(event) for observer in self.observers]
        return next((reason for reason in reasons if reason), None)

    def end(self, step: int, steps_per_epoch: int, elapsed: float, stopped: str | None) -> dict[str, Any]:
        """Close all files and write summary.json, however the run ended; returns the summary."""
        summary: dict[str, Any] = {
            "steps": step,
            "total_steps": self.total,
            "epochs": step / steps_per_epoch,
            "seconds": elapsed,
            "stopped": stopped,
            "clips_per_second": self.clips / max(self.seconds, 1e-9),
            "data_wait_ratio": self.waited / max(self.seconds, 1e-9),
            "skipped": len({row["record"] for row in read_lines(self.folder / "skipped.jsonl")}),
        }
        for observer in self.observers:
            observer.on_end(summary)
        if self.fabric.is_global_zero:
            self.events.write({"step": step, "event": "end", "stopped": stopped, "elapsed_seconds": elapsed})
            self.events.close()
            text = json.dumps(summary, indent=1, default=float)
            (self.folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        return summary
