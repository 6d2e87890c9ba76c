"""Why do clips from different moments help? Rho and persistence in time on the embedded world, where time is known.

cases (method, rho, how far apart its clips may lie, seed) -> train -> accuracy of appearance and of motion, effective rank
between and within videos -> table and figure. A case that is there already is not run again; cases run in processes of one
thread each, so that their numbers do not depend on how many run at a time.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fullrank.checkpoint.encoder import Encoder, load, untrained
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.errors import NonFiniteError, SettingError, did_you_mean
from fullrank.evaluation.knn import knn
from fullrank.evaluation.linear import linear
from fullrank.features.extract import extract
from fullrank.methods._method import available, load_method
from fullrank.recipes import recipe
from fullrank.spectrum.temporal import grouped
from fullrank.studies._case_file import read_case, write_case
from fullrank.studies._jobs import in_parallel
from fullrank.studies._whole import train_whole
from fullrank.types import FeatureTable

METHODS = ("simclr", "byol", "vicreg")
RANDOM = "random weights"
RHOS = (1, 2, 3, 4)
SPANS = (0.0, 0.1, 0.3, 1.0)
"""shares of the possible starts within which the clips of a video lie, for two clips; of the others 1"""
WORLD = World(num_train=960, num_test=400, max_background=0.1, min_contrast=0.7, max_contrast=0.9)
"""the embedded world with less flicker and brighter digits, which small networks learn from in a minute"""
NUM_CLIPS = 6
"""of each video, two a shot, in evaluation"""
KNN_NEIGHBOURS, PROBE_EPOCHS = 20, 50
LABELS = ("digit", "motion")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run."""

    method: str
    """or ``RANDOM``: the network of the first method as it starts"""
    rho: int
    span: float
    seed: int

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.method.replace(' ', '_')}-rho{self.rho}-span{self.span:g}-seed{self.seed}"


def cases(methods: Sequence[str] | None = None, seeds: Sequence[int] = (0,)) -> list[Case]:
    """Random weights, then each method with rho 1 to 4 anywhere in the video, and rho 2 ever nearer; each seed.

    ``SettingError`` where a method has no rho.
    """
    found = []
    for seed in seeds:
        found.append(Case(method=RANDOM, rho=1, span=1.0, seed=seed))
        for name in methods or METHODS:
            if "rho" not in load_method(name).Config.model_fields:
                known = [other for other in available() if "rho" in load_method(other).Config.model_fields]
                raise SettingError(
                    f"{name} must have a rho to be studied. It has none.{did_you_mean(name, known)} "
                    f"These have: {', '.join(known)}."
                )
            found += [Case(method=name, rho=rho, span=1.0, seed=seed) for rho in RHOS]
            found += [Case(method=name, rho=2, span=span, seed=seed) for span in SPANS if span < 1.0]
    return found


def settings(case: Case, out: Path, *, first: str, steps: int, target: str) -> RunConfig[Any]:
    """The recipe of the embedded world with this rho and span. All take as many steps, as the papers' epochs are equal."""
    config = recipe(f"{first if case.method == RANDOM else case.method}.{target}")
    own = {"path": out / "world", "cache": out / "cache", "num_workers": 0, "clip_span_ratio": case.span}
    epochs = 10_000.0
    warmup = {"warmup_epochs": 0.1 * epochs} if config.optimizer.warmup_epochs else {}
    return config.model_copy(
        update={
            "method": config.method.model_copy(update={"rho": case.rho}),
            "data": config.data.model_copy(update=own),
            "optimizer": config.optimizer.model_copy(update=warmup),
            "out": out / case.folder,
            "seed": case.seed,
            "max_steps": steps,
            "max_minutes": None,
            "epochs": epochs,
            "device": "cpu",
        }
    )


def seconds_apart(config: RunConfig[Any], world: World) -> float:
    """The longest time between the starts of two clips of a video."""
    video = world.num_frames / world.frames_per_second
    clip = config.data.num_frames / config.data.frames_per_second
    return 0.0 if config.method.rho == 1 else config.data.clip_span_ratio * max(0.0, video - clip)


def run(
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    steps: int,
    jobs: int = 1,
    tell: Callable[[str], None],
    world: World | None = None,
    target: str = "tiny",
) -> dict[str, Any]:
    """Run what is missing, ``jobs`` cases at a time, and put all together: {"rows": one a case}.

    A run that stops because its loss is not finite is a row that says so.
    """
    todo, world = cases(methods, seeds), world or WORLD
    write_world(out / "world", world)
    one = partial(_on_one_thread, out=out, first=(methods or METHODS)[0], steps=steps, target=target, world=world)
    for split in ("train", "test"):  # decoded here, so that cases do not race for it
        data = settings(todo[0], out, first=(methods or METHODS)[0], steps=steps, target=target).data
        open_source(data.model_copy(update={"split": split}))
    rows: dict[Case, dict[str, Any]] = {}
    for case, row in in_parallel(one, todo, jobs):
        rows[case] = row
        tell(f"{len(rows)}/{len(todo)} {case.folder}: {_said(row)}")
    return {"rows": [rows[case] for case in todo], "steps": steps, "seeds": list(seeds)}


def _on_one_thread(case: Case, **how: Any) -> tuple[Case, dict[str, Any]]:
    """A case and its row; on one thread, so that its numbers are the same however many run at a time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return case, _case(case, **how)
    finally:
        torch.set_num_threads(threads)


def _case(case: Case, *, out: Path, first: str, steps: int, target: str, world: World) -> dict[str, Any]:
    """One case, from disk where it is there with the same settings."""
    config = settings(case, out, first=first, steps=steps, target=target)
    file = out / case.folder / "case.json"
    wanted = {"settings": config.model_dump(mode="json"), "world": world.key}
    if (found := read_case(file, wanted)) is not None:
        return found
    shutil.rmtree(out / case.folder, ignore_errors=True)  # of a run that was interrupted
    sources = {s: open_source(config.data.model_copy(update={"split": s})) for s in ("train", "test")}
    row = {"method": case.method, "rho": case.rho, "span": case.span, "seed": case.seed, "of": wanted}
    row["seconds_apart"] = seconds_apart(config, world)
    if case.method == RANDOM:
        (out / case.folder).mkdir(parents=True)
        row |= _judge(untrained(config, seed=case.seed), sources, out / case.folder)
    else:
        try:
            train_whole(config, source=sources["train"], recipe=f"{case.method}.{target}")
            row |= _judge(load(out / case.folder), sources, out / case.folder)
        except NonFiniteError as error:
            row["diverged"] = str(error)
    write_case(file, row)
    return row


def _judge(encoder: Encoder, sources: Any, folder: Path) -> dict[str, Any]:
    tables = [extract(encoder, sources[s], folder / f"features_{s}", num_clips=NUM_CLIPS, batch_size=64) for s in sources]
    found: dict[str, Any] = {"steps": encoder.steps}
    for label in LABELS:
        found[f"{label} knn"] = knn(*tables, label=label, k=KNN_NEIGHBOURS).top1
        found[f"{label} linear"] = linear(*tables, label=label, epochs=PROBE_EPOCHS).top1
    return found | {"time": {space: in_time(tables[1], space) for space in ("representation", "embedding")}}


def in_time(table: FeatureTable, space: str) -> dict[str, Any]:
    """The numbers of ``grouped`` by video, and the share of the variance that lies between the classes of each label.

    Digit and motion are balanced against each other, so the shares of both lie side by side within that between videos.
    """
    features = getattr(table, space)
    found = grouped(features, np.asarray(table.record)).document()
    shares = {label: 1.0 - grouped(features, np.asarray(table.labels[label])).within_share for label in LABELS}
    return {**found, "label_shares": shares}


def _said(row: dict[str, Any]) -> str:
    if "diverged" in row:
        return str(row["diverged"])
    accuracies = ", ".join(f"{label} {100 * row[f'{label} linear']:.0f} %" for label in LABELS)
    return f"{accuracies}, {100 * row['time']['representation']['within_share']:.0f} % of the variance within videos"


HEADER = (
    "method",
    "rho",
    "apart, s",
    *(f"{label} {kind}" for label in LABELS for kind in ("kNN", "linear")),
    "eff. rank between",
    "eff. rank within",
    "within, %",
    "digit, %",
    "motion, %",
)
"""apart: the most between the starts of two clips; the last three: shares of the variance of clips, within videos and between
the classes of a label"""


def lines(rows: Sequence[dict[str, Any]]) -> list[list[object]]:
    """A line a method, rho and span under ``HEADER``: mean (range) over seeds; accuracies and shares in %."""
    keys = list(dict.fromkeys((row["method"], row["rho"], row["span"]) for row in rows))
    found: list[list[object]] = []
    for key in keys:
        same = [row for row in rows if (row["method"], row["rho"], row["span"]) == key and "diverged" not in row]
        head = [key[0], "-" if key[0] == RANDOM else key[1]]
        if not same:
            found.append([*head, "diverged", *["-"] * (len(HEADER) - 3)])
            continue
        apart = "-" if key[0] == RANDOM else f"{same[0]['seconds_apart']:.2g}"
        h = [row["time"]["representation"] for row in same]
        accuracy = [_mean([100 * row[f"{label} {kind}"] for row in same]) for label in LABELS for kind in ("knn", "linear")]
        ranks = [
            _mean([one[part]["effective_rank"] for one in h]) + f" of {h[0][part]['bound']}" for part in ("between", "within")
        ]
        shares = [_mean([100 * one["within_share"] for one in h])]
        shares += [_mean([100 * one["label_shares"][label] for one in h]) for label in LABELS]
        found.append([*head, apart, *accuracy, *ranks, *shares])
    return found


def _mean(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.0f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.0f} to {max(values):.0f})"
