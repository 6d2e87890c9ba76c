"""What prevents the collapse? Each method on the embedded world as it is, and with each of its guards removed alone.

methods -> cases (method, guard) -> train -> verdict, alarm, ranks over steps, accuracies -> table and figure. A case that is
there already is not run again.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullrank.checkpoint.encoder import load
from fullrank.config import MonitorConfig, RunConfig
from fullrank.data.open import open_source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.observers import read_lines
from fullrank.errors import NonFiniteError, SettingError, did_you_mean
from fullrank.evaluation.knn import knn
from fullrank.features.extract import extract
from fullrank.methods._method import Guard, available, load_method
from fullrank.recipes import recipe
from fullrank.spectrum.alarms import by_metrics
from fullrank.spectrum.diagnosis import diagnose_features
from fullrank.spectrum.measures import measure_all
from fullrank.spectrum.rules import SEVERITY
from fullrank.studies._case_file import read_case, write_case
from fullrank.studies._whole import train_whole
from fullrank.types import FeatureTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AS_IS = "as it is"
NAMED: tuple[tuple[str, str], ...] = (
    ("byol", "predictor"),
    ("simsiam", "stop-gradient"),
    ("vicreg", "variance term"),
    ("swav", "sinkhorn"),
    ("dino", "centring"),
    ("dino", "sharpening"),
)
"""the collapses that everybody knows: (method, guard)"""
FILE = "case.json"
NUM_CLIPS = 2
KNN_NEIGHBOURS = 20
SMALL: dict[str, Any] = {"num_frames": 2, "frames_per_second": 4.0, "batch_size": 32, "num_workers": 0}
"""data settings instead of the recipe's: a sixteenth of its cost a step, which is what makes sixty runs bearable"""
MONITOR = MonitorConfig(buffer_rows=512, max_share=0.05)
"""spectra of the newest sixteen batches, often enough for a curve"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: a method, and what is taken away from it."""

    method: str
    guard: str
    off: Guard | None

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.method}-{self.guard}".replace(" ", "_")


def cases(methods: Sequence[str] | None = None) -> list[Case]:
    """Every method that has guards, first as it is, then without each; ``SettingError`` where one has none."""
    found = []
    for name in methods or [name for name in available() if load_method(name).guards]:
        guards = load_method(name).guards
        if not guards:
            known = [other for other in available() if load_method(other).guards]
            raise SettingError(
                f"{name} must have guards to be studied. Got none.{did_you_mean(name, known)} These have: {', '.join(known)}."
            )
        found.append(Case(method=name, guard=AS_IS, off=None))
        found += [Case(method=name, guard=f"no {guard}", off=off) for guard, off in guards.items()]
    return found


def named_cases() -> list[Case]:
    """The collapses of ``NAMED``, each method as it is before them."""
    wanted = {(method, f"no {guard}") for method, guard in NAMED}
    every = cases(list(dict.fromkeys(method for method, _ in NAMED)))
    return [case for case in every if case.guard == AS_IS or (case.method, case.guard) in wanted]


def settings(case: Case, out: Path, *, steps: int, seed: int, target: str = "moving_digits") -> RunConfig[Any]:
    """The recipe of the embedded world without the guard."""
    config = recipe(f"{case.method}.{target}")
    small = dict(SMALL) if target == "moving_digits" else {}
    if small and (least := getattr(config.method, "whitening_size", 0)) > SMALL["batch_size"]:
        small["batch_size"] = least  # W-MSE whitens groups of so many records
    data = config.data.model_copy(update={"path": out / "world", "cache": out / "cache", **small})
    update: dict[str, Any] = {"data": data, "out": out / case.folder, "seed": seed, "max_steps": steps, "epochs": 10_000.0}
    if case.off is not None:
        update["method"] = config.method.model_copy(update=case.off.off)
        update["optimizer"] = config.optimizer.model_copy(update=case.off.optimizer)
    warmup = {"warmup_epochs": 0.1 * update["epochs"]} if config.optimizer.warmup_epochs else {}
    update["optimizer"] = update.get("optimizer", config.optimizer).model_copy(update=warmup)
    update["monitor"] = MONITOR
    return config.model_copy(update=update)


def run(
    out: Path,
    *,
    methods: Sequence[str] | None = None,
    only: Sequence[Case] | None = None,
    steps: int,
    seed: int,
    tell: Callable[[str], None],
    world: World | None = None,
    target: str = "moving_digits",
) -> dict[str, Any]:
    """Run what is missing, and put all together: {"rows": one a case}. A run that stops by an error is a row that says so.

    ``only``: these cases and not all of ``methods``.
    """
    write_world(out / "world", world or World(seed=seed, num_train=960, num_test=320))
    rows, todo = [], list(only or cases(methods))
    for i, case in enumerate(todo):
        row = finished(case, out, steps=steps, seed=seed, target=target)
        if row is None:
            shutil.rmtree(out / case.folder, ignore_errors=True)
            tell(f"{i + 1}/{len(todo)} {case.method}, {case.guard}")
            config = settings(case, out, steps=steps, seed=seed, target=target)
            row = {**_one(case, config, out, target), "of": _of(config)}
            write_case(out / case.folder / FILE, row)
        rows.append(row)
    return {"rows": rows, "steps": steps, "seed": seed}


def finished(case: Case, out: Path, *, steps: int, seed: int, target: str = "moving_digits") -> dict[str, Any] | None:
    """The row of a case that ended before with the same settings, wherever ``out`` lay then; None where it has to be run."""
    return read_case(out / case.folder / FILE, _of(settings(case, out, steps=steps, seed=seed, target=target)))


def _of(config: RunConfig[Any]) -> dict[str, Any]:
    return {"steps": config.max_steps, "seed": config.seed, "settings": config.model_dump(mode="json")}


def _one(case: Case, config: RunConfig[Any], out: Path, target: str) -> dict[str, Any]:
    sources = {s: open_source(config.data.model_copy(update={"split": s})) for s in ("train", "test")}
    row: dict[str, Any] = {"method": case.method, "guard": case.guard}
    row |= {"expected": case.off.expect, "source": case.off.source} if case.off else {"expected": "no collapse", "source": ""}
    try:
        train_whole(config, source=sources["train"], recipe=f"{case.method}.{target}")
    except NonFiniteError as error:
        return {**row, "verdict": "diverged", "sentence": str(error), "alarms": [], "curve": []}
    folder = out / case.folder
    events, spectra = read_lines(folder / "events.jsonl"), read_lines(folder / "spectrum.jsonl")
    encoder = load(folder)
    tables = {s: extract(encoder, source, folder / f"features_{s}", num_clips=NUM_CLIPS) for s, source in sources.items()}
    found = {space: getattr(tables["test"], space) for space in ("representation", "embedding")}
    measures = {space: measure_all(features) for space, features in found.items() if features is not None}
    metrics = read_lines(folder / "metrics.jsonl")[-1]["metrics"]
    space = "embedding" if "embedding" in measures else "representation"
    return {
        **row,
        **judge(case.method, config, tables["test"], metrics),
        "alarms": alarms_of(events),
        "measures": {s: {k: m[k] for k in ("n", "d", "effective_rank", "std", "mean_cosine")} for s, m in measures.items()},
        "metrics": metrics,
        "curve": [
            [line["step"], line["spaces"][space]["effective_rank"]]
            for line in spectra
            if line["kind"] == "full" and space in line["spaces"]
        ],
        **{
            f"{label}_knn": knn(tables["train"], tables["test"], label=label, k=KNN_NEIGHBOURS).top1
            for label in ("digit", "motion")
        },
    }


def judge(method: str, config: RunConfig[Any], table: FeatureTable, metrics: Mapping[str, float]) -> dict[str, str]:
    """{"verdict", "sentence"}: what ``diagnose`` says of the embedding (where there is none, the representation), or the
    method's own signs, where they are worse.
    """
    spaces = {"representation": table.representation, "embedding": table.embedding}
    std = getattr(config.method, "target_std", None)
    found = diagnose_features(
        spaces, record=table.record, start_seconds=table.start_seconds, method=method, healthy_std=std, resamples=0
    )
    kind = found.kinds.get("embedding", found.kinds["representation"])
    if (shown := by_metrics(load_method(method).signs(config.method), metrics)) is None:
        return {"verdict": kind, "sentence": found.sentence}
    worse = max(kind, shown["kind"], key=SEVERITY.index)
    return {"verdict": worse, "sentence": f"{shown['sentence']} {found.sentence}"}


def alarms_of(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every alarm, with the step at which it was withdrawn, or None."""
    found: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "collapse":
            found.append({**{k: event[k] for k in ("step", "kind", "space", "name", "sentence")}, "recovered_step": None})
        elif event["event"] == "recovered":
            same = [a for a in found if a["name"] == event["name"]]
            same[-1]["recovered_step"] = event["step"]
    return found


def collapsed(row: dict[str, Any]) -> bool:
    """Whether the run ended collapsed; a mean shift is none."""
    return row["verdict"] in ("complete", "dimensional", "cluster")


def lasting(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The alarms that were not withdrawn."""
    return [alarm for alarm in row["alarms"] if alarm["recovered_step"] is None]


HEADER = ("method, - guard", "paper", "found", "alarm, step", "rank", "digit", "motion")


def lines(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line a case under ``HEADER``: the method as it is, then without each guard; what the paper says of it and what was
    found, the first alarm that stayed, effective rank of the embedding (of at most), accuracy of the representation in %.
    """
    found = []
    for row in rows:
        measures = row.get("measures", {})
        space = measures.get("embedding") or measures.get("representation")
        rank = f"{space['effective_rank']:.0f}/{min(space['n'] - 1, space['d'])}" if space else "-"
        accuracy = [f"{100 * row[f'{label}_knn']:.0f}" if f"{label}_knn" in row else "-" for label in ("digit", "motion")]
        alarm = next((f"{alarm['kind']} {alarm['step']}" for alarm in lasting(row)), "-")
        name = row["method"] if row["guard"] == AS_IS else f"- {row['guard'].removeprefix('no ')}"
        found.append([name, row["expected"], row["verdict"].replace("_", " "), alarm, rank, *accuracy])
    return found


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """How many collapses came that papers say, and how many the alarm named; how many alarms were false."""
    bad, good = [r for r in rows if collapsed(r)], [r for r in rows if not collapsed(r) and r["verdict"] != "diverged"]
    said = [r for r in rows if r["expected"] != "no collapse"]
    caught, false = sum(bool(lasting(r)) for r in bad), sum(bool(r["alarms"]) for r in good)
    return (
        f"{sum(collapsed(r) for r in said)} of {len(said)} expected collapses came, {len(bad)} of {len(rows)} runs collapsed; "
        f"the alarm named {caught} of {len(bad)}, and {false} of {len(good)} runs that did not collapse."
    )


def figure(rows: Sequence[dict[str, Any]]) -> "Figure":
    """Effective rank of the embedding over steps, a panel a method: as it is, and without each guard.

    A triangle is where the alarm came, a cross an end in collapse. Mind that the rank of a completely collapsed embedding is
    that of its noise: crosses may stand high.
    """
    import numpy as np
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["method"] for row in rows))
    columns = min(len(names), 4)
    lines = -(-len(names) // columns)
    drawn = Figure(figsize=(3.1 * columns, 2.7 * lines + 0.4), layout="constrained")
    grid = drawn.subplots(lines, columns, squeeze=False)
    styles = ("-", "--", ":", "-.", (0, (1, 3)))
    colors = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
    for panel, name in zip(grid.flat, names, strict=False):
        for i, row in enumerate(r for r in rows if r["method"] == name):
            steps, ranks = zip(*row["curve"], strict=True) if row["curve"] else ((), ())
            look = {"color": colors[i % 5], "linestyle": styles[i % 5], "linewidth": 1.4}
            panel.plot(steps, ranks, label=f"{row['guard']}: {row['verdict'].replace('_', ' ')}", **look)
            if steps and collapsed(row):
                panel.plot(steps[-1:], ranks[-1:], marker="x", markersize=6, color=look["color"], clip_on=False)
            if steps and (alarms := lasting(row)):
                at = alarms[0]["step"]
                panel.plot(at, np.interp(at, steps, ranks), marker="v", markersize=5, color=look["color"])
        panel.set_title(name, fontsize=9)
        panel.set_yscale("log")
        panel.set_ylim(bottom=1)
        panel.tick_params(labelsize=7)
        panel.legend(fontsize=6, frameon=False, loc="best")
    for panel in grid.flat[len(names) :]:
        panel.set_visible(False)
    drawn.supxlabel("step (triangle: the alarm, cross: ends collapsed)", fontsize=8)
    drawn.supylabel("effective rank of the embedding", fontsize=8)
    return drawn


def save_figure(rows: Sequence[dict[str, Any]], file: Path) -> None:
    """Write ``figure``; of the same rows the same bytes, as SVG too."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "fullrank", "svg.fonttype": "path"}):
        dated = {"Date": None} if file.suffix == ".svg" else {"CreationDate": None} if file.suffix == ".pdf" else {}
        figure(rows).savefig(file, dpi=160, metadata=dated)
