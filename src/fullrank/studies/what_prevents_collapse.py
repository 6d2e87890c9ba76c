"""What prevents the collapse? Each method on the embedded world as it is, and with each of its guards removed alone.

methods -> cases (method, guard) -> train -> verdict, alarm, ranks over steps, accuracies -> table and figure. A case that is
there already is not run again.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullrank.checkpoint.encoder import load
from fullrank.config import RunConfig
from fullrank.data.open import open_source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.loop import train
from fullrank.engine.observers import read_lines
from fullrank.errors import NonFiniteError, SettingError, did_you_mean
from fullrank.evaluation.knn import knn
from fullrank.features.extract import extract
from fullrank.methods._method import Guard, available, load_method
from fullrank.recipes import recipe
from fullrank.spectrum.diagnosis import diagnose
from fullrank.spectrum.measures import measure_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AS_IS = "as it is"
NUM_CLIPS = 3
KNN_NEIGHBOURS = 20


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


def settings(case: Case, out: Path, *, steps: int, seed: int, target: str = "moving_digits") -> RunConfig[Any]:
    """The recipe of the embedded world without the guard."""
    config = recipe(f"{case.method}.{target}")
    data = config.data.model_copy(update={"path": out / "world", "cache": out / "cache"})
    update: dict[str, Any] = {"data": data, "out": out / case.folder, "seed": seed, "max_steps": steps, "epochs": 10_000.0}
    if case.off is not None:
        update["method"] = config.method.model_copy(update=case.off.off)
        update["optimizer"] = config.optimizer.model_copy(update=case.off.optimizer)
    warmup = {"warmup_epochs": 0.1 * update["epochs"]} if config.optimizer.warmup_epochs else {}
    update["optimizer"] = update.get("optimizer", config.optimizer).model_copy(update=warmup)
    return config.model_copy(update=update)


def run(
    out: Path,
    *,
    methods: Sequence[str] | None,
    steps: int,
    seed: int,
    tell: Callable[[str], None],
    world: World | None = None,
    target: str = "moving_digits",
) -> dict[str, Any]:
    """Run what is missing, and put all together: {"rows": one a case}. A run that stops by an error is a row that says so."""
    write_world(out / "world", world or World(seed=seed))
    rows, todo = [], cases(methods)
    for i, case in enumerate(todo):
        file = out / case.folder / "case.json"
        config = settings(case, out, steps=steps, seed=seed, target=target)
        wanted = {"steps": steps, "seed": seed, "settings": config.model_dump(mode="json")}
        if file.exists() and (row := json.loads(file.read_text(encoding="utf-8")))["of"] == wanted:
            rows.append(row)
            continue
        shutil.rmtree(out / case.folder, ignore_errors=True)
        tell(f"{i + 1}/{len(todo)} {case.method}, {case.guard}")
        row = {**_one(case, config, out), "of": wanted}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(row, default=float) + "\n", encoding="utf-8")
        rows.append(row)
    return {"rows": rows, "steps": steps, "seed": seed}


def _one(case: Case, config: RunConfig[Any], out: Path) -> dict[str, Any]:
    sources = {s: open_source(config.data.model_copy(update={"split": s})) for s in ("train", "test")}
    row: dict[str, Any] = {"method": case.method, "guard": case.guard, "expected": case.off.expect if case.off else "healthy"}
    row["source"] = case.off.source if case.off else ""
    try:
        train(config, source=sources["train"], recipe=f"{case.method}.moving_digits")
    except NonFiniteError as error:
        return {**row, "verdict": "diverged", "sentence": str(error), "alarm": None, "curve": []}
    folder = out / case.folder
    alarms = [event for event in read_lines(folder / "events.jsonl") if event["event"] == "collapse"]
    spectra = [line for line in read_lines(folder / "spectrum.jsonl") if line["kind"] == "full"]
    encoder = load(folder)
    tables = {s: extract(encoder, source, folder / f"features_{s}", num_clips=NUM_CLIPS) for s, source in sources.items()}
    measures = {}
    for space in ("representation", "embedding"):
        features = getattr(tables["test"], space)
        if features is not None:
            measures[space] = measure_all(features)
    found = diagnose(measures, method=case.method, healthy_std=getattr(config.method, "target_std", None))
    space = "embedding" if "embedding" in measures else "representation"
    return {
        **row,
        "verdict": found.kinds[space],
        "sentence": found.sentence,
        "alarm": {"step": alarms[0]["step"], "sentence": alarms[0]["sentence"]} if alarms else None,
        "measures": {s: {k: m[k] for k in ("n", "d", "effective_rank", "std", "mean_cosine")} for s, m in measures.items()},
        "curve": [[line["step"], line["spaces"][space]["effective_rank"]] for line in spectra if space in line["spaces"]],
        **{
            f"{label}_knn": knn(tables["train"], tables["test"], label=label, k=KNN_NEIGHBOURS).top1
            for label in ("digit", "motion")
        },
    }


def figure(rows: Sequence[dict[str, Any]]) -> "Figure":
    """Effective rank of the embedding over steps, a panel a method: as it is, and without each guard."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["method"] for row in rows))
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    drawn = Figure(figsize=(3.4 * columns, 2.6 * lines), layout="constrained")
    grid = drawn.subplots(lines, columns, squeeze=False)
    styles = ("-", "--", ":", "-.", (0, (1, 3)))
    colors = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7")
    for panel, name in zip(grid.flat, names, strict=False):
        for i, row in enumerate(r for r in rows if r["method"] == name):
            steps, ranks = zip(*row["curve"], strict=True) if row["curve"] else ((), ())
            label = f"{row['guard']} ({row['verdict']})"
            panel.plot(steps, ranks, color=colors[i % 5], linestyle=styles[i % 5], linewidth=1.4, label=label)
            if row["alarm"]:
                panel.axvline(row["alarm"]["step"], color=colors[i % 5], linewidth=0.6, alpha=0.6)
        panel.set_title(name, fontsize=9)
        panel.set_yscale("log")
        panel.tick_params(labelsize=7)
        panel.legend(fontsize=6, frameon=False)
    for panel in grid.flat[len(names) :]:
        panel.set_visible(False)
    drawn.supxlabel("step (thin lines: the alarm)", fontsize=8)
    drawn.supylabel("effective rank of the embedding", fontsize=8)
    return drawn
