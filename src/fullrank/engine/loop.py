"""The training loop, readable top to bottom: data -> step -> observers -> maybe checkpoint."""

import time
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from fullrank import distributed
from fullrank.checkpoint.encoder import method_name, read_config
from fullrank.checkpoint.save import BEST, FILE, HEALTHY, keep_copy, load_checkpoint, save_checkpoint
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.draws import uniform
from fullrank.engine import optimizers
from fullrank.engine.feed import Feed
from fullrank.engine.folder import alone_in, begin, check_out, make_record, new_folder
from fullrank.engine.observers import Observer, StepEvent, averaged
from fullrank.engine.parts import Parts, build
from fullrank.engine.probe import Probe, check_stages, split
from fullrank.engine.rollback import Rollback
from fullrank.engine.run import TrainResult, check_settings, launch, processes
from fullrank.engine.signals import asked_to_stop
from fullrank.engine.step import train_step
from fullrank.engine.together import agree, on_first, together
from fullrank.engine.watch import Watch
from fullrank.errors import FullrankError, NonFiniteError, SettingError
from fullrank.methods._method import load_method
from fullrank.types import StepContext

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
    With several processes an error that one of them meets is raised by all.
    """
    state: dict[str, Any] | None = None
    if resume is not None:
        config, record = read_config(Path(resume))
        recipe, state = record["recipe"], load_checkpoint(Path(resume))
    if config is None:
        raise SettingError("train() must be given settings or a run to resume. Got neither.")
    name = method_name(config.method)
    cls = load_method(name)
    plan = cls.views(config.method)
    check_settings(config, cls, processes())
    if state is None and config.out is not None:
        check_out(config.out)
    fabric = launch(config)
    fabric.barrier()
    given = source
    whole = together(fabric, lambda: open_source(config.data, flow=plan.needs_flow) if given is None else given)
    source, unseen = together(fabric, lambda: split(whole, config, cls))
    parts = together(fabric, lambda: build(fabric, config, plan, source, state))
    module, wrapped = fabric.setup(parts.method, parts.optimizer)
    if state is not None:
        parts.optimizer.load_state_dict(state["optimizer"])

    if resume is not None:
        folder = Path(resume)
    else:
        record = make_record(config, name, recipe, len(source), command)
        (folder,) = agree(fabric, together(fabric, lambda: new_folder(config, recipe) if fabric.is_global_zero else None))
    first = 0 if state is None else int(state["step"])
    with ExitStack() as held:
        on_first(fabric, lambda: held.enter_context(alone_in(folder)))
        if resume is None:
            on_first(fabric, lambda: begin(folder, record, str(fabric._precision.precision), fabric.device.type))
        resume_step = None if state is None else first
        engine: dict[str, Any] = {} if state is None else state["engine"]
        watch = together(
            fabric,
            lambda: Watch(
                fabric,
                config,
                folder,
                record,
                parts.total,
                first,
                resume_step,
                observers,
                num_records=len(source),
                probe=_probe(parts, source, unseen),
                best=engine.get("best"),
            ),
        )
        watch.start(source, optimizers.peak_learning_rate(config.optimizer, config.data.batch_size))
        return _loop(parts, module, wrapped, watch, first, engine)


def _probe(parts: Parts, source: Source, unseen: Source | None) -> Probe | None:
    """What the monitor tries the weights on besides, where the settings ask for it."""
    if parts.config.monitor.stages:
        check_stages(parts.method)
    elif unseen is None:
        return None
    fabric = parts.fabric
    return Probe(source, unseen, parts.config, parts.plan, fabric.device, fabric.autocast) if fabric.is_global_zero else None


def _loop(parts: Parts, module: Any, wrapped: Any, watch: Watch, first: int, engine: dict[str, Any]) -> TrainResult:
    """Step after step until the end, a signal, the budget, or an observer that asks to stop.

    ``engine``: what the state of a run that goes on says of the loop; empty for a new one.
    """
    fabric, config, total = parts.fabric, parts.config, parts.total
    accumulate, every = config.optimizer.accumulate_steps, config.checkpoint.every_steps
    budget = None if config.max_minutes is None else config.max_minutes * 60.0 * TRAINING_SHARE
    step, stopped, ended, summary = first, None, False, {}
    saved, elapsed = (first if engine else None), float(engine.get("elapsed_seconds", 0.0))
    rollback = Rollback(config.monitor, int(engine.get("rollbacks", 0)))
    last_saved = time.perf_counter()
    feed = Feed(parts, watch, first)
    with asked_to_stop() as signals:
        try:
            if rollback.wanted and saved is None:
                _save(parts, watch, step, elapsed, rollback)
                on_first(fabric, lambda: keep_copy(watch.folder, HEALTHY))
                saved = step
            while step < total and stopped is None:
                begin_seconds = time.perf_counter()
                feed.begin_step()
                ctx = _context(parts, step, _agreed(fabric, elapsed, budget), budget)
                if budget is not None and ctx.progress >= 1.0:
                    stopped = "budget"
                    break
                torch.manual_seed(_seed(config.seed, step, fabric.global_rank))
                rate = optimizers.learning_rate(config.optimizer, config.data.batch_size, ctx.progress, config.epochs)
                optimizers.schedule_weight_decay(parts.optimizer, config.optimizer, ctx.progress)
                try:
                    outputs, norm = train_step(
                        fabric,
                        module,
                        parts.method,
                        wrapped,
                        [feed.views] * accumulate,
                        ctx,
                        learning_rate=rate * rollback.factor,
                        clip_grad_norm=config.optimizer.clip_grad_norm,
                    )
                except NonFiniteError as error:
                    alarm = watch.not_finite(step, str(error))
                    if not rollback.left:
                        raise
                    saved = step = _go_back(parts, watch, alarm, elapsed, rollback)
                    feed.seek(step)
                    continue
                step += 1
                ctx.step = step
                seconds = time.perf_counter() - begin_seconds
                elapsed += seconds
                event = StepEvent(
                    ctx=ctx,
                    method=parts.method,
                    outputs=outputs,
                    losses=averaged(outputs, "losses"),
                    metrics=averaged(outputs, "metrics"),
                    learning_rate=rate * rollback.factor,
                    grad_norm=norm,
                    step_seconds=seconds,
                    wait_seconds=feed.waited_seconds,
                    clips=feed.clips * fabric.world_size,
                    elapsed_seconds=elapsed,
                )
                reason = together(fabric, lambda event=event: watch.step(event))  # type: ignore[misc]
                elapsed += time.perf_counter() - begin_seconds - seconds
                late = time.perf_counter() - last_saved > config.checkpoint.every_minutes * 60
                asked = signals[0] if signals else None
                raised = watch.wish.alarm if rollback.wanted else None
                words = (asked, reason, True if late else None, raised, watch.wish.best or None)
                asked, reason, due, raised, best = agree(fabric, *words)
                if raised is not None and asked is None and rollback.left:
                    saved = step = _go_back(parts, watch, raised, elapsed, rollback)
                    feed.seek(step)
                    continue
                stopped = asked or reason or (rollback.exhausted(raised) if raised is not None else None)
                if due or best or (every and step % every == 0):
                    _save(parts, watch, step, elapsed, rollback)
                    saved, last_saved = step, time.perf_counter()
                if best:
                    on_first(fabric, lambda: _keep_best(watch))
            if saved != step:
                _save(parts, watch, step, elapsed, rollback)
            ended = True
        except FullrankError as error:
            stopped = str(error)
            raise
        finally:
            # where an error is on its way (a full disk?), it says more than what fails after it
            with nullcontext() if ended else suppress(OSError):
                summary = watch.end(step, parts.steps_per_epoch, elapsed, stopped)
    return TrainResult(
        folder=watch.folder,
        steps=step,
        stopped=None if stopped == "budget" else stopped,
        summary=summary,
        source=parts.loader.source,
    )


def _context(parts: Parts, step: int, elapsed: float, budget: float | None) -> StepContext:
    progress = step / parts.total
    if budget is not None:
        progress = min(max(progress, elapsed / budget), 1.0)
    return StepContext(
        step=step,
        total_steps=parts.total,
        steps_per_epoch=parts.steps_per_epoch,
        progress=progress,
        gather=distributed.gather,
        generator=torch.Generator().manual_seed(_seed(parts.config.seed, step, -1)),
    )


def _seed(seed: int, step: int, rank: int) -> int:
    return int(uniform(seed, step, [rank + 1], "torch", 1)[0, 0] * 2**53)


def _agreed(fabric: Fabric, elapsed: float, budget: float | None) -> float:
    """Clocks differ between processes: with a budget, the mean decides."""
    if budget is None or fabric.world_size == 1:
        return elapsed
    return float(distributed.mean(torch.tensor(elapsed, device=fabric.device)))


def _go_back(parts: Parts, watch: Watch, alarm: dict[str, Any], elapsed: float, rollback: Rollback) -> int:
    """The step of the healthy checkpoint, from which training goes on."""

    def save(step: int) -> None:
        _save(parts, watch, step, elapsed, rollback, went_back=True)

    return rollback.go(parts.fabric, parts.method, parts.optimizer, watch, alarm, save)


def _keep_best(watch: Watch) -> None:
    keep_copy(watch.folder, BEST)
    watch.kept_best()


def _save(parts: Parts, watch: Watch, step: int, elapsed: float, rollback: Rollback, *, went_back: bool = False) -> None:
    """Process 0 writes the state of the run; where it cannot, all processes raise its error.

    Where a run may go back, the checkpoint before this one is healthy if nothing is suspected now: training went on from it.
    """
    state = {
        "config": watch.record,
        "method_name": watch.record["method"],
        "step": step,
        "method": parts.method.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "engine": {"elapsed_seconds": elapsed, "rollbacks": rollback.done, "best": watch.best},
    }

    def write() -> None:
        if rollback.wanted and not went_back and watch.calm and (watch.folder / FILE).exists():
            keep_copy(watch.folder, HEALTHY)
        save_checkpoint(watch.folder, state)

    on_first(parts.fabric, write)
