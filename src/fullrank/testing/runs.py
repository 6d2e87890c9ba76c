"""Points that need real training runs: exact resume without labels in reach, and better than random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fullrank.checkpoint.encoder import load, untrained
from fullrank.checkpoint.save import load_checkpoint
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.loop import train
from fullrank.engine.observers import StepEvent
from fullrank.evaluation.linear import linear
from fullrank.features.extract import extract
from fullrank.testing.lab import BATCH, LabelsTouched, Subject, Unlabelled
from fullrank.testing.points import Nonconformance

STEPS = 4
TRAINED_WORLD = World(num_train=480, num_test=240)
TRAINED_STEPS = 150


class _StopAt:
    """Ends a run after a step, as Ctrl-C would."""

    def __init__(self, step: int):
        self.step = step

    def on_step(self, event: StepEvent) -> str | None:
        return "as asked" if event.ctx.step == self.step else None

    def on_end(self, summary: dict[str, Any]) -> None:
        pass


def resume(subject: Subject, folder: Path) -> None:
    """A run that is interrupted and resumed ends in the very weights of one that is not; nothing ever asks for a label."""
    source = subject.source()
    if not subject.cls.needs_labels:
        source.labels = Unlabelled()  # type: ignore[assignment]
    try:
        straight = _run(subject, folder / "straight", source)
        halves = _run(subject, folder / "halves", source, observers=(_StopAt(STEPS // 2),))
        train(resume=halves, source=source)
    except LabelsTouched:
        raise Nonconformance("training asked the source for labels") from None
    one, two = load_checkpoint(straight), load_checkpoint(halves)
    if one["step"] != STEPS or two["step"] != STEPS:
        raise Nonconformance(f"both runs must end at step {STEPS}, got {one['step']} and {two['step']}")
    for name, value in one["method"].items():
        if not torch.equal(two["method"][name], value):
            raise Nonconformance(
                f"{name} differs after a resume: some state is in no buffer, or a draw depends on more than the step"
            )


def _run(subject: Subject, out: Path, source: Source, observers: tuple[Any, ...] = ()) -> Path:
    config = subject.settings
    data = config.data.model_copy(update={"batch_size": BATCH, "num_workers": 0})
    update = {"data": data, "max_steps": STEPS, "max_minutes": None, "out": out, "precision": "fp32", "device": "cpu"}
    return train(config.model_copy(update=update), source=source, observers=observers).folder


def beats_random(
    config: RunConfig[Any], world: Path, out: Path, *, steps: int = TRAINED_STEPS, seed: int = 0
) -> dict[str, Any]:
    """Train tiny settings on the embedded world; accuracies of digit and motion beside those of random weights.

    ``world``: where the world lies, or is written. The value to look at is the largest margin of a linear probe.
    """
    write_world(world, TRAINED_WORLD)
    data = config.data.model_copy(update={"path": world, "cache": world / "cache"})
    config = config.model_copy(update={"data": data, "max_steps": steps, "epochs": 1000.0, "out": out / "run", "seed": seed})
    sources = {split: open_source(config.data.model_copy(update={"split": split})) for split in ("train", "test")}
    result = train(config, source=sources["train"])
    found: dict[str, Any] = {"steps": result.steps, "seconds": result.summary["seconds"]}
    for name, encoder in (("trained", load(out / "run")), ("random", untrained(config, seed=seed))):
        tables = [extract(encoder, sources[s], out / name / s, batch_size=120, num_clips=3) for s in ("train", "test")]
        for label in ("digit", "motion"):
            probe = linear(*tables, label=label)
            found[f"{name} {label}"], found["n"] = probe.top1, probe.n
    for label in ("digit", "motion"):
        found[f"margin {label}"] = float(np.round(100 * (found[f"trained {label}"] - found[f"random {label}"]), 1))
    return found
