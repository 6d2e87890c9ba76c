"""How good is the checkpoint that a measure without labels chooses? `--checkpoint.keep-best` against a probe with labels.

    python benchmarks/keep_best.py --jobs 2 --work runs/keep_best --figure docs/images/keep_best.svg --out FILE.json

Tiny recipes on the embedded world, each at its own learning rate and at four times it, so that late checkpoints can be worse
than earlier ones. At ten moments of a run: features of training and test videos, the measures that keep_best takes of the
training videos, accuracies on the test videos -> what each measure's choice lacks to the best moment. A case that is in --work
already, from the same settings, is not repeated.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from _result import goal, origin, write
from torch import Tensor

from fullrank.checkpoint.encoder import Encoder, build_method
from fullrank.checkpoint.save import hash_of_tensors
from fullrank.config import BestMeasure, CheckpointConfig, RunConfig, settings_hash
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.best import Best
from fullrank.engine.loop import train
from fullrank.engine.observers import StepEvent
from fullrank.errors import NonFiniteError
from fullrank.evaluation.knn import knn
from fullrank.evaluation.linear import linear
from fullrank.features.extract import extract
from fullrank.recipes import recipe
from fullrank.spectrum.diagnosis import diagnose_features
from fullrank.spectrum.groups import lidar
from fullrank.spectrum.measures import measure_all
from fullrank.spectrum.pictures import style
from fullrank.studies._case_file import write_case
from fullrank.studies._jobs import in_parallel
from fullrank.testing.runs import EXTRACTED_AT_ONCE, LABELS, NUM_CLIPS, NUM_NEIGHBOURS, PROBE_EPOCHS, WORLD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("simclr", "vicreg", "byol", "moco_v3", "dino", "barlow_twins", "simsiam", "swav")
RATES = (1.0, 4.0)
"""times the recipe's learning rate"""
MOMENTS = 10
"""of a run, evenly spaced, the last one its end"""
EPOCHS = 10_000.0
"""more than any run has: its steps decide its length"""
MEASURES: tuple[str, ...] = get_args(BestMeasure)
SPACES = ("representation", "embedding")
COLLAPSED = ("complete", "dimensional", "cluster")
LAST, PROBE, ANY = "the last checkpoint", "a linear probe with labels", "chance (mean of all)"
DRAWS = 2000
DRAWN = ("rankme", "lidar", PROBE)
"""choices that the figure marks; of the representation"""
COLUMNS = 4
"""of panels of the figure"""

Row = dict[str, Any]
Choice = tuple[str, str]
"""(measure, space), or one of the three above and ``-``"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run."""

    method: str
    rate: float
    """times the recipe's learning rate"""
    seed: int


class Moments:
    """Keeps the weights after every so many steps, and whether an alarm of the monitor stood."""

    def __init__(self, every: int):
        self.every = every
        self.states: dict[int, dict[str, Tensor]] = {}
        self.alarms: dict[int, bool] = {}

    def on_step(self, event: StepEvent) -> str | None:
        if event.ctx.step % self.every == 0:
            self.states[event.ctx.step] = {name: x.detach().clone() for name, x in event.method.state_dict().items()}
            self.alarms[event.ctx.step] = bool(event.notes["collapsed"])
        return None

    def on_end(self, summary: dict[str, Any]) -> None:
        pass


def settings(case: Case, steps: int) -> RunConfig[Any]:
    """The tiny recipe at this rate, its warm-up the same share of the run."""
    config = recipe(f"{case.method}.tiny")
    optimizer = {
        "base_learning_rate": config.optimizer.base_learning_rate * case.rate,
        "warmup_epochs": config.optimizer.warmup_epochs * EPOCHS / config.epochs,
    }
    length = {"max_steps": steps, "max_minutes": None, "epochs": EPOCHS}
    optimizer_config = config.optimizer.model_copy(update=optimizer)
    return config.model_copy(update={"seed": case.seed, "optimizer": optimizer_config, "device": "cpu", **length})


def sources(work: Path, world: World, config: RunConfig[Any]) -> tuple[RunConfig[Any], dict[str, Source]]:
    """These settings on the world in ``work``, and its two splits; written and decoded unless they are there."""
    write_world(work / "world", world)
    data = config.data.model_copy(update={"path": work / "world", "cache": work / "world-cache"})
    splits = {split: open_source(data.model_copy(update={"split": split})) for split in ("train", "test")}
    return config.model_copy(update={"data": data}), splits


def row_of(case: Case, *, work: Path, world: World, steps: int) -> Row:
    """One case, from disk where it is there with the same settings."""
    config = settings(case, steps)
    key = settings_hash({"settings": config.model_dump(mode="json"), "world": world.key, "moments": MOMENTS})
    name = f"{case.method}-x{case.rate:g}-{case.seed}-{key}"
    file, out = work / f"{name}.json", work / name
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    shutil.rmtree(out, ignore_errors=True)  # of a run that was interrupted
    start = time.perf_counter()
    row = asdict(case) | _run(config, out, work, world)
    row |= {"seconds": time.perf_counter() - start, "hardware": origin("keep_best.py")["hardware"]}
    shutil.rmtree(out)
    write_case(file, row)
    motion = " ".join(f"{100 * moment['motion linear']:.0f}" for moment in row["moments"])
    print(f"{name}: motion {motion}; {row['seconds']:.0f} s{'; diverged' if row['diverged'] else ''}", flush=True)
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _run(config: RunConfig[Any], out: Path, work: Path, world: World) -> Row:
    config, splits = sources(work, world, config)
    seen = Moments((config.max_steps or 0) // MOMENTS)
    diverged = None
    try:
        result = train(config.model_copy(update={"out": out / "run"}), source=splits["train"], observers=(seen,))
        if result.stopped is not None:
            raise SystemExit(f"{out.name} was {result.stopped} after {result.steps} steps; the same command goes on.")
    except NonFiniteError as error:
        diverged = str(error)
    method = build_method(config, len(splits["train"]))
    moments = []
    for step, state in seen.states.items():
        method.load_state_dict(state)
        encoder = Encoder(config, method, steps=step, checkpoint_hash=hash_of_tensors(state), name=out.name)
        found = judged(encoder, splits, out / f"features-{step}")
        moments.append({"step": step, "alarm": seen.alarms[step], **found})
        shutil.rmtree(out / f"features-{step}")
    return {"moments": moments, "diverged": diverged}


def judged(encoder: Encoder, splits: dict[str, Source], out: Path) -> Row:
    """Accuracies on test videos (0 to 1), and of training videos all that may choose.

    {"digit knn", "digit linear", "digit probe" (on a fifth of the training videos, which the probe was not trained on), the
    same of motion, "measures": {space: {measure, "n"}}, "kinds": {space: what the diagnosis says}}.
    """
    tables = [
        extract(encoder, splits[s], out / s, batch_size=EXTRACTED_AT_ONCE, num_clips=NUM_CLIPS) for s in ("train", "test")
    ]
    found: Row = {}
    for label in LABELS:
        probe = linear(*tables, label=label, epochs=PROBE_EPOCHS)
        found[f"{label} knn"] = knn(*tables, label=label, k=NUM_NEIGHBOURS).top1
        found[f"{label} linear"] = probe.top1
        found[f"{label} probe"] = max(setting["accuracy"] for setting in probe.validation)
    record = np.asarray(tables[0].record)
    features = {space: getattr(tables[0], space) for space in SPACES}
    given = {space: np.asarray(x, dtype=np.float64) for space, x in features.items() if x is not None}
    measures = {}
    for space, x in given.items():
        every = {**measure_all(x), "lidar": lidar(x, record)}
        measures[space] = {name: float(every[name]) for name in MEASURES} | {"n": len(x)}
    scale = getattr(encoder.config.method, "target_std", None)
    kinds = diagnose_features(given, record=record, healthy_std=scale, resamples=0).kinds
    return {**found, "measures": measures, "kinds": dict(kinds)}


def collapsed(moment: Row) -> bool:
    """Whether the diagnosis of either space is a collapse: keep_best leaves out what stands under an alarm.

    The diagnosis and not the alarm, because when the monitor reads spectra depends on the clock.
    """
    return any(kind in COLLAPSED for kind in moment["kinds"].values())


def place(row: Row, choice: Choice, label: str, *, every: bool = False) -> int | None:
    """Which moment is chosen. None where the run has no such space.

    A measure chooses as ``--checkpoint.keep-best`` does; where it keeps nothing, because everything was collapsed, there is
    the last checkpoint. With ``every`` it chooses among collapsed moments too.
    """
    name, space = choice
    moments = row["moments"]
    if name == LAST:
        return len(moments) - 1
    if name == PROBE:
        return int(np.argmax([moment[f"{label} probe"] for moment in moments]))
    if space not in moments[0]["measures"]:
        return None
    best = Best(CheckpointConfig(keep_best=name, best_space=space), None)
    for i, moment in enumerate(moments):
        if every or not collapsed(moment):
            best.offer(i, moment["measures"][space], held_out=False)
    return len(moments) - 1 if best.kept is None else int(best.kept["step"])


def regret(row: Row, choice: Choice, label: str, *, kind: str = "linear", every: bool = False) -> tuple[float, float] | None:
    """(points of accuracy below the best moment, share of choices that were the best); None as ``place``."""
    found = 100 * np.array([moment[f"{label} {kind}"] for moment in row["moments"]])
    if choice[0] == ANY:
        return float(found.max() - found.mean()), float((found == found.max()).mean())
    if (i := place(row, choice, label, every=every)) is None:
        return None
    return float(found.max() - found[i]), float(found[i] == found.max())


def spread(values: Sequence[float], methods: Sequence[str]) -> str:
    """Mean (95 % percentile interval over draws of whole methods: three seeds of one method are not three methods)."""
    names = list(dict.fromkeys(methods))
    sums = np.array(
        [[sum(v for v, m in zip(values, methods, strict=True) if m == name), methods.count(name)] for name in names]
    )
    drawn = sums[np.random.default_rng(0).integers(0, len(names), (DRAWS, len(names)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return f"{np.mean(values):.1f} ({low:.1f} to {high:.1f})"


def usable(rows: Sequence[Row]) -> list[Row]:
    """Runs that have something to choose from."""
    return [row for row in rows if len(row["moments"]) > 1]


def line(rows: Sequence[Row], choice: Choice, label: str) -> tuple[float, list[object]] | None:
    """(mean regret, a line of the table); None where no run has the space."""
    have = [row for row in rows if regret(row, choice, label) is not None]
    if not have:
        return None
    methods = [row["method"] for row in have]
    points, hits = np.array([regret(row, choice, label) for row in have]).T
    last = np.array([regret(row, (LAST, "-"), label) for row in have])[:, 0]
    near = [found[0] for row in have if (found := regret(row, choice, label, kind="knn"))]
    free = np.mean([found[0] for row in have if (found := regret(row, choice, label, every=True))])
    parts = [points[np.array([row["rate"] == rate for row in have])] for rate in RATES]
    name = f"`{choice[0]}`" if choice[0] in MEASURES else choice[0]
    cells: list[object] = [name, choice[1], spread(points.tolist(), methods)]
    cells.append("-" if choice[0] == LAST else spread((last - points).tolist(), methods))
    cells += [f"{part.mean():.1f}" if len(part) else "-" for part in parts]
    cells.append(f"{free:.1f}" if choice[0] in MEASURES else "-")
    return float(points.mean()), [*cells, f"{hits.sum():.0f} of {len(have)}", spread(near, methods)]


HEADER = (
    "chosen by",
    "space",
    "regret, points",
    "better than the last by",
    "regret, recipe's rate",
    "regret, 4 x the rate",
    "regret, nothing left out",
    "picked the best",
    "regret by kNN",
)


def table(rows: Sequence[Row], label: str, world: World, steps: int) -> dict[str, Any]:
    """Every choice in order of its regret."""
    kept = usable(rows)
    choices = [(name, space) for name in MEASURES for space in SPACES] + [(name, "-") for name in (LAST, PROBE, ANY)]
    lines = sorted((found for choice in choices if (found := line(kept, choice, label))), key=lambda pair: pair[0])
    every = [moment for row in kept for moment in row["moments"]]
    bad = [moment for moment in every if collapsed(moment)]
    live = [sum(moment["alarm"] for moment in part) for part in (bad, every)]
    none_left = sum(all(map(collapsed, row["moments"])) for row in kept)
    best = [100 * max(moment[f"{label} linear"] for moment in row["moments"]) for row in kept]
    end = [100 * row["moments"][-1][f"{label} linear"] for row in kept]
    note = (
        f"{len(kept)} runs: {', '.join(dict.fromkeys(row['method'] for row in kept))}, tiny recipes at their learning rate and "
        f"at four times it, {steps} steps, judged every {steps // MOMENTS}. Regret: linear accuracy of {label} on "
        f"{world.num_test} test videos at the run's best moment minus that at the chosen one, in points; mean over runs (95 % "
        "interval over draws of methods). The best moment is picked on the test videos themselves, so that even a perfect "
        f"choice made elsewhere has some regret. Measures see {world.num_train} training videos, {NUM_CLIPS} clips each, "
        "without augmentation (LiDAR: clips of a video are a group), choose the largest value, cev_auc the smallest, and leave "
        "out moments that the diagnosis calls collapsed, as keep_best leaves out alarms: "
        f"{len(bad)} of {len(every)} moments (the alarm stood at {live[0]} of these and at {live[1] - live[0]} others); in "
        f"{none_left} runs all of them, which then have their last checkpoint. One column leaves out nothing. "
        "The probe chooses by its accuracy on a fifth of the training videos, which it was not trained on. "
        f"Accuracy in the mean {np.mean(best):.0f} % at the best moment, {np.mean(end):.0f} % at the end."
    )
    diverged = [row for row in rows if row["diverged"]]
    if diverged:
        note += f" {len(diverged)} runs diverged: of them the moments before count; {len(rows) - len(kept)} had none to choose."
    note += f" A run took {np.mean([row['seconds'] for row in rows]):.0f} s."
    where = dict.fromkeys(row["hardware"] for row in rows)
    note += f" Measured on: {'; '.join(where)}." if len(where) > 1 else ""
    return {"header": HEADER, "rows": [cells for _, cells in lines], "note": note}


def figure(rows: Sequence[Row], label: str = "motion") -> "Figure":
    """A panel a method, its runs with the first seed: accuracy over steps at both rates, and what was chosen."""
    from matplotlib.lines import Line2D

    marks: dict[str, dict[str, Any]] = {
        name: {"marker": marker, "markersize": size, "fillstyle": "none", "linestyle": "", "color": style.INK}
        for name, marker, size in zip(DRAWN, "^Ds", (3.5, 6, 8), strict=True)
    }
    first = [row for row in usable(rows) if row["seed"] == rows[0]["seed"]]
    names = list(dict.fromkeys(row["method"] for row in first))
    drawn, grid = style.panels(len(names), style.WIDTHS["page"], 1.5, columns=COLUMNS, extra_inches=0.25)
    for i, (name, panel) in enumerate(zip(names, grid, strict=True)):
        for row in (row for row in first if row["method"] == name):
            steps = [moment["step"] for moment in row["moments"]]
            values = [100 * moment[f"{label} linear"] for moment in row["moments"]]
            panel.plot(steps, values, **style.line_style(RATES.index(row["rate"])))
            for choice, mark in marks.items():
                if (at := place(row, (choice, "representation"), label)) is not None:
                    panel.plot(steps[at], values[at], markeredgewidth=0.8, zorder=3, clip_on=False, **mark)
        ylabel = "" if i % COLUMNS else f"{label}, linear probe, %"
        style.finish(panel, title=name, xlabel="step" if i >= len(names) - COLUMNS else "", ylabel=ylabel)
    looks = [*(style.line_style(i) for i in range(len(RATES))), *marks.values()]
    labels = ["recipe's rate", "4 x the rate", "RankMe's choice", "LiDAR's choice", "the probe's choice"]
    columns = style.columns_of(labels, style.WIDTHS["page"])
    style.legend_below(drawn, [Line2D([], [], **look) for look in looks], labels, columns)
    return drawn


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean regret of what one would try first."""
    found = []
    for label in LABELS:
        for choice in (("rankme", "representation"), ("lidar", "representation"), (LAST, "-"), (PROBE, "-")):
            points = [got[0] for row in usable(rows) if (got := regret(row, choice, label))]
            found.append(goal(f"{label}: regret of {choice[0]}", float(np.mean(points)), unit=" points"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=250, help=f"of a run (250: the recipe's own); a multiple of {MOMENTS}")
    parser.add_argument("--work", type=Path, help="keeps what was run, so that a later call goes on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--figure", type=Path, help="accuracy over steps, and what was chosen")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="one method and seed on a tiny world, ten steps")
    args = parser.parse_args()
    world = WORLD
    if args.tiny:
        args.methods, args.seeds, args.steps, world = (
            args.methods[:1],
            args.seeds[:1],
            MOMENTS,
            World(num_train=40, num_test=24),
        )
    if args.steps < MOMENTS or args.steps % MOMENTS:
        parser.error(f"--steps must be a multiple of {MOMENTS}. Got {args.steps}.")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        todo = [Case(method=m, rate=rate, seed=seed) for seed in args.seeds for m in args.methods for rate in RATES]
        for name in args.methods:  # decoded here, so that cases do not race for it
            sources(work, world, recipe(f"{name}.tiny"))
        found = list(in_parallel(partial(row_of, work=work, world=world, steps=args.steps), todo, args.jobs))
    order = {(case.method, case.rate, case.seed): i for i, case in enumerate(todo)}
    rows = sorted(found, key=lambda row: order[row["method"], row["rate"], row["seed"]])
    if args.figure is not None:
        style.save(figure(rows), args.figure)
    tables = {f"keep-best-{label}": table(rows, label, world, args.steps) for label in LABELS}
    write(
        args.out, {**origin("keep_best.py"), "seeds": args.seeds, "summary": summary(rows), "tables": tables, "results": rows}
    )


if __name__ == "__main__":
    main()
