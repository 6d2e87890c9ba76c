"""Points that need real training runs: exact resume without labels in reach, and better than random weights."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fullrank.checkpoint.encoder import Encoder, load, untrained
from fullrank.checkpoint.save import load_checkpoint
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.loop import train
from fullrank.engine.observers import StepEvent
from fullrank.errors import SettingError
from fullrank.evaluation.knn import knn
from fullrank.evaluation.linear import linear
from fullrank.features.extract import extract
from fullrank.testing.lab import BATCH, LabelsTouched, Subject, Unlabelled
from fullrank.testing.points import Nonconformance
from fullrank.types import FeatureTable

STEPS = 4
WORLD = World(num_train=960, num_test=400, max_background=0.1, min_contrast=0.7, max_contrast=0.9)
"""what is learned from: the embedded world with less flicker and brighter digits, so that half a minute teaches both labels"""
LABELS = ("digit", "motion")
JUDGED = tuple(f"{label} {kind}" for label in LABELS for kind in ("knn", "linear"))
NUM_CLIPS, NUM_NEIGHBOURS, PROBE_EPOCHS = 3, 20, 50
EXTRACTED_AT_ONCE = 64
MARGINS: dict[str, dict[str, float]] = {
    "simclr": {"motion linear": 10.0},
    "vicreg": {"motion linear": 10.0},
    "moco_v3": {"motion linear": 10.0},
}
"""points of accuracy by which ``tiny()`` must beat random weights; docs/lab-notes.md has what they were set from"""


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


def in_world(config: RunConfig[Any], world: Path, *, seed: int = 0) -> tuple[RunConfig[Any], dict[str, Source]]:
    """These settings on ``WORLD``, which is written to ``world`` and decoded unless it is there; and its two splits."""
    write_world(world, WORLD)
    data = config.data.model_copy(update={"path": world, "cache": world.with_name(f"{world.name}-cache")})
    sources = {split: open_source(data.model_copy(update={"split": split})) for split in ("train", "test")}
    return config.model_copy(update={"data": data, "seed": seed}), sources


def judge(encoder: Encoder, sources: dict[str, Source], out: Path) -> tuple[dict[str, float], FeatureTable]:
    """{"digit knn", "digit linear", "motion knn", "motion linear": accuracy in 0..1} of an encoder, and its test features.

    Of the mean of three clips a video, one a shot.
    """
    tables = [
        extract(encoder, sources[split], out / split, batch_size=EXTRACTED_AT_ONCE, num_clips=NUM_CLIPS, bf16=True)
        for split in ("train", "test")
    ]
    found = {}
    for label in LABELS:
        found[f"{label} knn"] = knn(*tables, label=label, k=NUM_NEIGHBOURS).top1
        found[f"{label} linear"] = linear(*tables, label=label, epochs=PROBE_EPOCHS).top1
    return found, tables[1]


def above_random(config: RunConfig[Any], folder: Path, *, margins: dict[str, float], seed: int = 0) -> dict[str, float]:
    """Training with these settings beats the untrained network of the same seed on the embedded world.

    ``margins``: in points of accuracy, by what ``judge`` returns ("digit linear": 20.0). Returns the margins that were
    reached, all four; ``Nonconformance`` where one is below what was asked. Takes as long as the settings say; ``folder``
    keeps the world and its decoded frames, so that several methods share them.
    """
    unknown = [name for name in margins if name not in JUDGED]
    if unknown or not margins:
        raise SettingError(f"margins must be of {', '.join(JUDGED)}. Got {', '.join(unknown) or 'none'}.")
    config, sources = in_world(config, folder / "world", seed=seed)
    with TemporaryDirectory(dir=folder) as temporary:
        out = Path(temporary)
        train(config.model_copy(update={"out": out / "run"}), source=sources["train"])
        trained, _ = judge(load(out / "run"), sources, out / "trained")
        random, _ = judge(untrained(config, seed=seed), sources, out / "random")
    reached = {name: 100 * (trained[name] - random[name]) for name in JUDGED}
    for name, margin in margins.items():
        if reached[name] < margin:
            raise Nonconformance(
                f"{name} must be at least {margin:g} points above random weights ({100 * random[name]:.1f} %), "
                f"got {100 * trained[name]:.1f} % ({reached[name]:+.1f})"
            )
    return reached
