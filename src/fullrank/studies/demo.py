"""The demo: five encoders of the embedded world side by side, one of them collapsed on purpose.

world -> train (labels unseen) | train VICReg without its variance term | train with labels -> features of the five ->
accuracies of appearance and motion, ranks, verdicts -> margins.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fullrank.checkpoint.encoder import Encoder, load, untrained
from fullrank.config import MonitorConfig, RunConfig
from fullrank.data.clips import uniform_fractions
from fullrank.data.loader import in_order
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.observers import read_lines
from fullrank.evaluation.knn import knn
from fullrank.evaluation.linear import linear
from fullrank.features.extract import extract
from fullrank.features.write import write_table
from fullrank.recipes import recipe
from fullrank.spectrum.measures import measure_all
from fullrank.studies._whole import train_whole
from fullrank.types import FeatureTable
from fullrank.views.plan import center_views

HEALTHY = "simclr.moving_digits"
COLLAPSED = "vicreg.moving_digits"
CEILING = "supervised.moving_digits"
COLLAPSED_RATE = 3.0
"""on the recipe's learning rate: with it the collapse reaches the representation within half a minute (docs/lab-notes.md)"""
KNN_NEIGHBOURS = 20
PROBE_EPOCHS = 50
NUM_CLIPS = 3
"""of each video, one a shot; features are averaged"""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """How large the demo is."""

    world: World
    healthy_minutes: float
    collapsed_minutes: float
    ceiling_minutes: float
    max_steps: int | None = None
    """of each run; None: the recipes' own"""


def full(seed: int) -> Demo:
    """What `fullrank demo` runs: at most six minutes on two cores."""
    return Demo(world=World(seed=seed), healthy_minutes=3.0, collapsed_minutes=0.5, ceiling_minutes=1.4)


def tiny(seed: int) -> Demo:
    """The same path in seconds, for tests; its accuracies mean nothing."""
    return Demo(
        world=World(seed=seed, num_train=160, num_test=80),
        healthy_minutes=0.2,
        collapsed_minutes=0.2,
        ceiling_minutes=0.2,
        max_steps=8,
    )


def run(out: Path, demo: Demo, *, seed: int, command: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """Everything of the demo but its report. Returns the table, the margins, the alarm and the times."""
    start = time.perf_counter()
    clock: dict[str, float] = {}

    def done(part: str, since: float) -> float:
        clock[part] = time.perf_counter() - since
        return time.perf_counter()

    tell(f"writing {demo.world.num_train + demo.world.num_test} videos of moving digits to {out / 'world'}")
    write_world(out / "world", demo.world)
    healthy = _settings(HEALTHY, folder_of(out, "trained"), seed, demo.healthy_minutes, demo.max_steps)
    sources = {split: open_source(healthy.data.model_copy(update={"split": split})) for split in ("train", "test")}
    mark = done("world", start)

    tell(f"1/3 training {HEALTHY} without labels")
    train_whole(healthy, source=sources["train"], recipe=HEALTHY, command=command)
    mark = done("healthy run", mark)

    collapsed = _settings(COLLAPSED, folder_of(out, "collapsed"), seed, demo.collapsed_minutes, demo.max_steps)
    method = collapsed.method.model_copy(update={"variance_weight": 0.0})
    rate = COLLAPSED_RATE * collapsed.optimizer.base_learning_rate
    optimizer = collapsed.optimizer.model_copy(update={"base_learning_rate": rate})
    monitor = MonitorConfig(on_collapse="warn")
    collapsed = collapsed.model_copy(update={"method": method, "optimizer": optimizer, "monitor": monitor})
    tell(f"2/3 training {COLLAPSED} with --method.variance-weight 0: it must collapse, and the alarm must say so")
    train_whole(collapsed, source=sources["train"], recipe=COLLAPSED, command=command)
    alarms = [row for row in read_lines(folder_of(out, "collapsed") / "events.jsonl") if row["event"] == "collapse"]
    tell(f"   alarm at step {alarms[0]['step']}: {alarms[0]['sentence']}" if alarms else "   no alarm")
    mark = done("collapsed run", mark)

    tell(f"3/3 training {CEILING} with the labels: the ceiling")
    ceiling = _settings(CEILING, folder_of(out, "with labels"), seed, demo.ceiling_minutes, demo.max_steps)
    train_whole(ceiling, source=sources["train"], recipe=CEILING, command=command)
    mark = done("ceiling run", mark)

    tell("features of five encoders, and what can be read from them")
    encoders: dict[str, Encoder] = {
        "random weights": untrained(healthy, seed=seed),
        **{name: load(folder_of(out, name)) for name in ("collapsed", "trained", "with labels")},
    }
    tables = {"raw pixels": {split: _raw_pixels(source, encoders["trained"], out, split) for split, source in sources.items()}}
    for name, encoder in encoders.items():
        tables[name] = {
            split: extract(
                encoder, source, features_of(out, name, split), batch_size=128, num_clips=NUM_CLIPS, thumbnails=split == "test"
            )
            for split, source in sources.items()
        }
    mark = done("features", mark)
    rows = []
    for name, table in tables.items():
        found = _judge(name, table["train"], table["test"])
        rows += found
        document = {row["space"]: row["results"] for row in found}
        (folder_of(out, name) / "evaluation.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    done("evaluation", mark)
    return {
        "seed": seed,
        "rows": rows,
        "margins": margins(rows),
        "alarm": alarms[0] if alarms else None,
        "seconds": {**clock, "all": time.perf_counter() - start},
        "encoders": {name: str(folder_of(out, name)) for name in ENCODERS},
    }


ENCODERS = ("trained", "with labels", "random weights", "collapsed", "raw pixels")


def features_of(out: Path, encoder: str, split: str) -> Path:
    """The report looks for "features": those of the test videos. Pixels have other names: their spectrum is no encoder's."""
    if encoder == "raw pixels":
        return folder_of(out, encoder) / split
    return folder_of(out, encoder) / ("features" if split == "test" else "features_train")


def folder_of(out: Path, encoder: str) -> Path:
    """Where an encoder's run, features and accuracies lie."""
    return out / encoder.replace(" ", "_")


def _settings(name: str, folder: Path, seed: int, minutes: float, max_steps: int | None) -> RunConfig[Any]:
    config, out = recipe(name), folder.parent
    data = config.data.model_copy(update={"path": out / "world", "cache": out / "cache"})
    update = {"data": data, "out": folder, "seed": seed, "max_minutes": minutes, "max_steps": max_steps}
    return config.model_copy(update=update)


def _raw_pixels(source: Source, like: Encoder, out: Path, split: str) -> FeatureTable:
    """The frames that the encoders see, as one long vector a clip: what a classifier reads without any network."""
    size = type(like.method).views(like.config.method).groups[0].augmentation.size_pixels
    frames, index = [], []
    for batch in in_order(source, like.clip_spec, uniform_fractions(NUM_CLIPS), batch_size=256, num_workers=0):
        pixels = center_views(batch, size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), torch.device("cpu"))
        frames.append(pixels.mean(2).flatten(2).flatten(0, 1).numpy())  # the world is grey: one channel says all
        index.append(np.repeat(batch.index.numpy(), NUM_CLIPS))
    order = np.concatenate(index)
    return write_table(
        features_of(out, "raw pixels", split),
        representation=np.concatenate(frames),
        embedding=None,
        labels={name: values[order] for name, values in source.labels.items()},
        record=order,
        start_seconds=np.zeros(len(order)),
        record_ids=source.record_ids,
        classes=source.classes,
        manifest={"checkpoint_hash": "none", "data_fingerprint": source.fingerprint, "settings_hash": "pixels", "branch": None},
    )


def _judge(name: str, train_table: FeatureTable, test_table: FeatureTable) -> list[dict[str, Any]]:
    rows = []
    for space in ("representation", "embedding"):
        features = getattr(test_table, space)
        if features is None:
            continue
        row: dict[str, Any] = {"encoder": name, "space": space}
        # the covariance of raw pixels is thousands wide and says nothing about an encoder
        row["measures"] = measure_all(np.asarray(features)) if name != "raw pixels" else None
        row["results"] = {}
        for label in test_table.labels:
            near = knn(train_table, test_table, label=label, space=space, k=KNN_NEIGHBOURS)
            probe = linear(train_table, test_table, label=label, space=space, epochs=PROBE_EPOCHS)
            for kind, result in (("knn", near), ("linear", probe)):
                row[f"{label}_{kind}"], row[f"{label}_{kind}_interval"] = result.top1, list(result.interval)
                row["results"][f"{label} {kind}"] = result.as_dict()
            row[f"{label}_chance"], row["n"] = near.chance, near.n
        rows.append(row)
    return rows


def margins(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Points by which the trained representation beats random weights and raw pixels, and the collapsed one beats random."""
    table = {row["encoder"]: row for row in rows if row["space"] == "representation"}
    found: dict[str, dict[str, float]] = {}
    for key in ("digit_knn", "digit_linear", "motion_knn", "motion_linear"):
        value = {name: 100 * row[key] for name, row in table.items()}
        found[key] = {
            "trained over random": value["trained"] - value["random weights"],
            "trained over pixels": value["trained"] - value["raw pixels"],
            "collapsed over random": value["collapsed"] - value["random weights"],
        }
    return found
