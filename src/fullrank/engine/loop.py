"""The training loop, readable top to bottom: data -> step -> observers -> maybe checkpoint."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from fullrank import distributed
from fullrank.checkpoint.encoder import backbone_weights, build_method, method_name, read_config
from fullrank.checkpoint.save import load_checkpoint, save_checkpoint
from fullrank.config import RunConfig
from fullrank.data.loader import Loader
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.draws import uniform
from fullrank.engine import optimizers
from fullrank.engine.monitor import CollapseMonitor
from fullrank.engine.observers import Lines, MetricsLog, Observer, StepEvent, averaged, read_lines
from fullrank.engine.progress import Progress
from fullrank.engine.run import TrainResult, check_settings, launch, make_record, new_folder, total_steps, write_record
from fullrank.engine.step import train_step
from fullrank.errors import DataError, FullrankError, SettingError
from fullrank.methods._method import Method, load_method
from fullrank.types import ClipBatch, ClipSpec, StepContext, Views
from fullrank.views.plan import make_views

TRAINING_SHARE = 0.9
"""of ``max_minutes``; the rest is for starting, and for the features and the report that follow"""


def train(
    config: RunConfig[Any] | None = None,
    *,
    source: Source | None = None,
    resume: str | Path | None = None,
    recipe: str = "",
    command: str | None = None,
    observers: tuple[Observer, ...] = (),
) -> TrainResult:
    """Train a method on a source (where not given: what ``config.data`` names), or go on with the run in ``resume``.

    Ctrl-C and SIGTERM end the step under way, save, and return with ``stopped`` set; a second Ctrl-C ends at once.
    """
    state: dict[str, Any] | None = None
    if resume is not None:
        folder = Path(resume)
        config, record = read_config(folder)
        recipe, state = record["recipe"], load_checkpoint(folder)
    if config is None:
        raise SettingError("train() must be given settings or a run to resume. Got neither.")
    fabric = launch(config)
    fabric.barrier()
    name = method_name(config.method)
    cls = load_method(name)
    plan = cls.views(config.method)
    check_settings(config, plan, fabric.world_size)
    source = open_source(config.data) if source is None else source
    spec = ClipSpec(
        num_frames=plan.num_frames or config.data.num_frames,
        frames_per_second=config.data.frames_per_second,
        canvas_pixels=config.data.canvas_pixels,
    )
    accumulate = config.optimizer.accumulate_steps
    loader = Loader(
        source,
        spec,
        num_clips=plan.num_clips,
        batch_size=config.data.batch_size // accumulate,
        seed=config.seed,
        num_workers=config.data.num_workers,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    steps_per_epoch = max(loader.batches_per_epoch // accumulate, 1)
    total = total_steps(config, steps_per_epoch)

    torch.manual_seed(config.seed)
    start_weights = backbone_weights(config.backbone.weights) if config.backbone.weights and state is None else None
    method = build_method(config, len(source), weights=start_weights)
    _give_labels(method, config, source)
    if fabric.world_size > 1:
        distributed.synchronise_batch_norm(method)
    if state is not None:
        method.load_state_dict(state["method"])
    optimizer = optimizers.build(config.optimizer, method)
    module, wrapped = fabric.setup(method, optimizer)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])

    if resume is None:
        folder = Path(fabric.broadcast(str(new_folder(config, recipe)) if fabric.is_global_zero else ""))
        record = make_record(config, name, recipe, len(source), command)
        if fabric.is_global_zero:
            write_record(folder, record, str(fabric._precision.precision), fabric.device.type)
    first = 0 if state is None else int(state["step"])
    watch = _Watch(fabric, config, folder, record, total, first, None if state is None else first, observers)
    watch.start(source, optimizers.peak_learning_rate(config.optimizer, config.data.batch_size))
    elapsed = 0.0 if state is None else float(state["engine"]["elapsed_seconds"])
    budget = None if config.max_minutes is None else config.max_minutes * 60.0 * TRAINING_SHARE

    step, stopped = first, None
    batches = loader.batches(first * accumulate)
    last_saved = time.perf_counter()
    with _signals() as asked_to_stop:
        try:
            while step < total and stopped is None:
                begin = time.perf_counter()
                waited, clips = [0.0], [0]

                def views() -> Views:
                    waiting = time.perf_counter()
                    batch: ClipBatch = next(batches)
                    waited[0] += time.perf_counter() - waiting  # noqa: B023  called in this iteration only
                    clips[0] += batch.frames.shape[0] * batch.frames.shape[1]  # noqa: B023
                    watch.skipped(batch)
                    return make_views(batch, plan, config.seed, fabric.device)

                ctx = _context(config, step, total, steps_per_epoch, _agreed(fabric, elapsed, budget), budget, fabric)
                if budget is not None and ctx.progress >= 1.0:
                    stopped = "budget"
                    break
                torch.manual_seed(_seed(config.seed, step, fabric.global_rank))
                rate = optimizers.learning_rate(config.optimizer, config.data.batch_size, ctx.progress, config.epochs)
                outputs, norm = train_step(
                    fabric,
                    module,
                    method,
                    wrapped,
                    [views] * accumulate,
                    ctx,
                    learning_rate=rate,
                    clip_grad_norm=config.optimizer.clip_grad_norm,
                )
                step += 1
                ctx.step = step
                seconds = time.perf_counter() - begin
                elapsed += seconds
                reason = watch.step(
                    StepEvent(
                        ctx=ctx,
                        outputs=outputs,
                        losses=averaged(outputs, "losses"),
                        metrics=averaged(outputs, "metrics"),
                        learning_rate=rate,
                        grad_norm=norm,
                        step_seconds=seconds,
                        wait_seconds=waited[0],
                        clips=clips[0] * fabric.world_size,
                        elapsed_seconds=elapsed,
                    )
                )
                elapsed += time.perf_counter() - begin - seconds
                if _any(fabric, bool(asked_to_stop)):
                    reason = asked_to_stop[0] if asked_to_stop else "interrupted"
                stopped = reason
                every = config.checkpoint.every_steps
                due = time.perf_counter() - last_saved > config.checkpoint.every_minutes * 60
                if (every and step % every == 0) or _any(fabric, due):
                    _save(fabric, folder, method, optimizer, record, step, elapsed)
                    last_saved = time.perf_counter()
            _save(fabric, folder, method, optimizer, record, step, elapsed)
        except FullrankError as error:
            stopped = str(error)
            raise
        finally:
            summary = watch.end(step, steps_per_epoch, elapsed, stopped)
    return TrainResult(folder=folder, steps=step, stopped=None if stopped == "budget" else stopped, summary=summary)


def _context(
    config: RunConfig[Any], step: int, total: int, steps_per_epoch: int, elapsed: float, budget: float | None, fabric: Fabric
) -> StepContext:
    progress = step / total
    if budget is not None:
        progress = min(max(progress, elapsed / budget), 1.0)
    generator = torch.Generator().manual_seed(_seed(config.seed, step, -1))
    return StepContext(
        step=step,
        total_steps=total,
        steps_per_epoch=steps_per_epoch,
        progress=progress,
        gather=distributed.gather,
        generator=generator,
    )


def _seed(seed: int, step: int, rank: int) -> int:
    return int(uniform(seed, step, [rank + 1], "torch", 1)[0, 0] * 2**53)


def _give_labels(method: Method, config: RunConfig[Any], source: Source) -> None:
    """Only the supervised baseline gets labels, and only here."""
    if not method.needs_labels:
        return
    for name in config.method.label_names:
        if name not in source.labels:
            have = ", ".join(source.labels) or "none"
            raise DataError(
                f"The data must have labels named '{name}' for a supervised run. Got {have}; set --method.label-names."
            )
    labels = {name: torch.as_tensor(values) for name, values in source.labels.items()}
    method.set_labels(labels, {name: len(names) for name, names in source.classes.items()})  # type: ignore[operator]


def _agreed(fabric: Fabric, elapsed: float, budget: float | None) -> float:
    """Clocks differ between processes: with a budget, the mean decides."""
    if budget is None or fabric.world_size == 1:
        return elapsed
    return float(distributed.mean(torch.tensor(elapsed, device=fabric.device)))


def _any(fabric: Fabric, flag: bool) -> bool:
    if fabric.world_size == 1:
        return flag
    return float(distributed.mean(torch.tensor(float(flag), device=fabric.device))) > 0


def _save(
    fabric: Fabric, folder: Path, method: Method, optimizer: Any, record: dict[str, Any], step: int, elapsed: float
) -> None:
    if fabric.is_global_zero:
        save_checkpoint(
            folder,
            {
                "config": record,
                "method_name": record["method"],
                "step": step,
                "method": method.state_dict(),
                "optimizer": optimizer.state_dict(),
                "engine": {"elapsed_seconds": elapsed},
            },
        )


@contextmanager
def _signals() -> Iterator[list[str]]:
    """A list that gets the reason when SIGINT or SIGTERM arrives; a second SIGINT raises KeyboardInterrupt."""
    asked: list[str] = []

    def ask(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append("interrupted" if number == signal.SIGINT else "terminated")

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: whoever runs the loop there handles signals
        before = {}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Watch:
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
    ):
        self.fabric, self.config, self.folder, self.record = fabric, config, folder, record
        self.total, self.first = total, first
        self.observers: list[Observer] = []
        self.seen = {row["record"] for row in read_lines(folder / "skipped.jsonl")}
        self.waited = self.seconds = 0.0
        self.clips = 0
        if fabric.is_global_zero:
            self.events = Lines(folder / "events.jsonl", resume_step=resume_step)
            metrics = MetricsLog(folder, total, resume_step)
            # a method that fixes the scale of its embedding has a setting of this name (VICReg's gamma)
            healthy_std = getattr(config.method, "target_std", None)
            monitor = CollapseMonitor(
                folder, config.monitor, self.events, metrics, healthy_std=healthy_std, resume_step=resume_step
            )
            self.observers = [monitor, metrics, *extra, Progress(total, config.max_minutes, start_step=first)]

    def start(self, source: Source, peak: float) -> None:
        if not self.fabric.is_global_zero:
            return
        cfg, event = self.config, "start" if self.first == 0 else "resume"
        self.events.write(
            {"step": self.first, "event": event, "learning_rate": peak, "total_steps": self.total, "data": source.description}
        )
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"{self.record['recipe'] or self.record['method']} on {source.description}\n"
            f"{self.total} steps of {cfg.data.batch_size} records; learning rate {cfg.optimizer.base_learning_rate:g} x "
            f"{cfg.data.batch_size} / {optimizers.REFERENCE_BATCH} = {peak:g} ({cfg.optimizer.name}); "
            f"{self.fabric.device.type}, {self.fabric._precision.precision}, {self.fabric.world_size} process(es)\n"
            f"run folder: {self.folder}",
            markup=False,
        )

    def skipped(self, batch: ClipBatch) -> None:
        for name, reason in batch.skipped:
            if name not in self.seen:
                self.seen.add(name)
                with open(self.folder / "skipped.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps({"record": name, "reason": reason}) + "\n")

    def step(self, event: StepEvent) -> str | None:
        self.waited += event.wait_seconds
        self.seconds += event.step_seconds
        self.clips += event.clips
        reasons = [observer.on_step(event) for observer in self.observers]
        reason = next((r for r in reasons if r), None)
        if self.fabric.world_size > 1:
            reason = self.fabric.broadcast(reason)
        return reason

    def end(self, step: int, steps_per_epoch: int, elapsed: float, stopped: str | None) -> dict[str, Any]:
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
