"""Every method's tiny recipe, trained on the embedded world and on Weizmann, beside random weights: accuracies and ranks.

    python benchmarks/methods.py --weizmann FOLDER --work runs/methods --figure docs/images/methods.svg --out FILE.json

The embedded world: kNN and linear probe of digit and motion (three clips a video averaged), effective rank and CEV-AUC of both
spaces over the clips of the test videos. Weizmann, with --weizmann: the same network trained on its 90 clips without labels;
actions, leaving one actor out. It tells whether a method learns in a short run, not which learns best. What is there already
in --work, from the same settings, is not run again. Untrained networks are rows too: one a kind of network.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _features import actors_of, file_name, leave_one_actor_out, ranks
from _methods_figure import draw
from _result import origin, write

from fullrank.checkpoint.encoder import Encoder, load, untrained
from fullrank.config import RunConfig, settings_hash
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.engine.loop import train
from fullrank.features.table import read_table
from fullrank.methods._method import available, load_method
from fullrank.recipes import recipe
from fullrank.studies._jobs import in_parallel
from fullrank.testing.runs import WORLD, in_world, judge
from fullrank.types import FeatureTable

RANDOM = "random weights"
FIRST = "simclr"
"""the method whose untrained network is the plain row of random weights: most methods have the same one"""
WEIZMANN = {"frames_per_second": 6.25, "name": "auto"}
WEIZMANN_STEPS = 150
RUN_MINUTES = 1.65
"""a budget of which training takes nine tenths: 90 seconds, reached by the slowest methods only"""
EPOCHS = 10_000.0
"""more than any run has: its steps decide its length"""
MEASURES = ("n", "d", "effective_rank", "cev_auc")
SPACES = ("representation", "embedding")
ACCURACIES = ("digit knn", "digit linear", "motion knn", "motion linear")
ACTIONS = ("actions knn", "actions linear")


def network(config: RunConfig[Any]) -> str:
    """The name of a kind of network."""
    backbone = config.backbone
    return f"{backbone.temporal} resnet" if backbone.name == "resnet" else backbone.name


def subjects(names: list[str], target: str = "tiny") -> list[tuple[str, str]]:
    """(name of the row, method): the untrained networks of the recipes for ``target`` first, one a kind, then the methods."""
    plain = network(recipe(f"{FIRST}.{target}"))
    kinds = {plain: FIRST}
    for name in names:
        kinds.setdefault(network(recipe(f"{name}.{target}")), name)
    rows = [(RANDOM if kind == plain else f"{RANDOM}, {kind}", name) for kind, name in kinds.items()]
    return rows + [(name, name) for name in sorted(names)]


class Bench:
    """Runs, each done once."""

    def __init__(self, work: Path, steps: int | None, weizmann: Path | None):
        self.work, self.steps, self.folder = work, steps, weizmann
        self.weizmann: Source | None = None

    def _settings(self, name: str, seed: int) -> RunConfig[Any]:
        config = recipe(f"{name}.tiny")
        warmup = config.optimizer.warmup_epochs * EPOCHS / config.epochs  # the same share of the run
        optimizer = config.optimizer.model_copy(update={"warmup_epochs": warmup})
        update = {"seed": seed, "epochs": EPOCHS, "optimizer": optimizer, "max_minutes": RUN_MINUTES}
        update["max_steps"] = self.steps or config.max_steps
        return config.model_copy(update=update)

    def decode(self, names: list[str]) -> None:
        """Fill the caches that the runs share, so that no two processes do it at once."""
        data = {recipe(f"{name}.tiny").data.model_dump_json(): self._settings(name, 0) for name in names}
        for config in data.values():
            in_world(config, self.work / "world")
            if self.folder is not None:
                open_source(config.data.model_copy(update={**WEIZMANN, **self._on_weizmann()}))

    def _on_weizmann(self) -> dict[str, Any]:
        return {"path": self.folder, "cache": self.work / "weizmann-cache"}

    def row(self, subject: tuple[str, str, int]) -> dict[str, Any]:
        """All of one (name of the row, method, seed)."""
        label, name, seed = subject
        config = self._settings(name, seed)
        found = self._once("world", label, config, self._world)
        if self.folder is not None and not load_method(name).needs_labels:
            steps = min(WEIZMANN_STEPS, config.max_steps or WEIZMANN_STEPS)
            data = config.data.model_copy(update=WEIZMANN)
            own = config.model_copy(update={"data": data, "max_steps": steps})
            actions = self._once("weizmann", label, own, self._actions)
            found = {**found, **{key: actions[key] for key in (*ACTIONS, "ranks weizmann")}}
            found["seconds weizmann"] = actions["seconds"]
        return {"method": label, "seed": seed, "network": network(config), **found}

    def _once(self, part: str, label: str, config: RunConfig[Any], run: Any) -> dict[str, Any]:
        key = settings_hash({"settings": config.model_dump(mode="json"), "world": WORLD.key if part == "world" else ""})
        name = f"{part}-{file_name(label)}-{config.seed}-{key}"
        file = self.work / f"{name}.json"
        if file.exists():
            return dict(json.loads(file.read_text(encoding="utf-8")))
        out = self.work / name
        shutil.rmtree(out, ignore_errors=True)  # of a run that was interrupted
        start = time.perf_counter()
        found = run(config, out, label.startswith(RANDOM))
        found["seconds"] = time.perf_counter() - start
        found["hardware"] = origin("methods.py")["hardware"]
        shutil.rmtree(out)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(found, default=float) + "\n", encoding="utf-8")
        temporary.replace(file)
        said = " ".join(f"{key} {100 * found[key]:.0f}" for key in (*ACCURACIES, *ACTIONS) if key in found)
        print(f"{name}: {said}; {found['seconds']:.0f} s", flush=True)
        return dict(found)

    def _world(self, config: RunConfig[Any], out: Path, random: bool) -> dict[str, Any]:
        config, sources = in_world(config, self.work / "world", seed=config.seed)
        encoder = _encoder(config, sources["train"], out, random)
        found, table = judge(encoder, sources, out / "features")
        keep(table, self.work / f"{out.name}.npz")
        return {"steps": encoder.steps, "videos": WORLD.num_test, **found, "ranks": ranks(table, MEASURES)}

    def _actions(self, config: RunConfig[Any], out: Path, random: bool) -> dict[str, Any]:
        data = config.data.model_copy(update=self._on_weizmann())
        config = config.model_copy(update={"data": data})
        self.weizmann = self.weizmann or open_source(data)
        found = leave_one_actor_out(
            _encoder(config, self.weizmann, out, random),
            self.weizmann,
            actors_of(self.folder, self.weizmann)[0],  # type: ignore[arg-type]
            out / "features",
        )
        keep(read_table(out / "features"), self.work / f"{out.name}.npz")
        return {"actions knn": found["knn"], "actions linear": found["linear"], "ranks weizmann": found["ranks"]}


def keep(table: FeatureTable, file: Path) -> None:
    """The features of a run, for whoever measures something else of them (benchmarks/measures_and_accuracy.py)."""
    arrays = {space: np.asarray(getattr(table, space)) for space in SPACES if getattr(table, space) is not None}
    np.savez_compressed(file, record=np.asarray(table.record), **arrays)


def _encoder(config: RunConfig[Any], source: Source, out: Path, random: bool) -> Encoder:
    if random:
        out.mkdir(parents=True)
        return untrained(config, seed=config.seed)
    result = train(config.model_copy(update={"out": out / "run"}), source=source)
    if result.stopped is not None:
        raise SystemExit(f"{out.name} was {result.stopped} after {result.steps} steps; the same command goes on.")
    return load(out / "run")


def cell(values: list[float], form: str = ".0f") -> str:
    """Mean (range) over seeds."""
    if not values:
        return "-"
    mean = format(float(np.mean(values)), form)
    return mean if len(values) == 1 else f"{mean} ({min(values):{form}} to {max(values):{form}})"


def table(rows: list[dict[str, Any]], weizmann: bool) -> dict[str, Any]:
    """One line a method: means and ranges over seeds."""
    lines = []
    for name in dict.fromkeys(row["method"] for row in rows):
        same = [row for row in rows if row["method"] == name]
        line = [f"{name} (with labels)" if name in available() and load_method(name).needs_labels else name]
        keys = (*ACCURACIES, *(ACTIONS if weizmann else ()))
        line += [cell([100 * row[key] for row in same if key in row]) for key in keys]
        for space in SPACES:
            found = [row["ranks"][space] for row in same if space in row["ranks"]]
            bound = f" of {min(found[0]['n'] - 1, found[0]['d'])}" if found else ""
            line += [cell([r["effective_rank"] for r in found]) + bound, cell([r["cev_auc"] for r in found], ".2f")]
        lines.append(line)
    steps = sorted({row["steps"] for row in rows if row["steps"]})
    seconds = [row["seconds"] for row in rows if row["steps"]]
    note = (
        f"% of {rows[0]['videos']} test videos, mean (range) over seeds; {steps[-1]} steps of the tiny recipe"
        f"{f' (the slowest {steps[0]}, in 90 s)' if len(steps) > 1 else ''}, "
        f"{np.mean(seconds):.0f} s a run with its evaluation (longest {max(seconds):.0f}). Effective rank and CEV-AUC "
        "of representation h and embedding z over the clips of the test videos."
    )
    if weizmann:
        note += f" Actions: 90 clips of Weizmann, {WEIZMANN_STEPS} steps, one of nine actors left out (95 % of 40 %: 30 to 50)."
    where = dict.fromkeys(row["hardware"] for row in rows if "hardware" in row)
    note += f" Measured on: {'; '.join(where)}." if len(where) > 1 else ""
    h_and_z = [f"{what} {space}" for space in ("h", "z") for what in ("effective rank", "CEV-AUC")]
    header = ["method", *(key.replace("knn", "kNN") for key in (*ACCURACIES, *(ACTIONS if weizmann else ()))), *h_and_z]
    return {"header": header, "rows": lines, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(available()))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500, help="of a run on the embedded world")
    parser.add_argument("--weizmann", type=Path, help="folder of the Weizmann actions")
    parser.add_argument("--work", type=Path, help="keeps what was run, so that a later call goes on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--max-minutes", type=float, help="no run begins later; the table has what is there")
    parser.add_argument("--figure", type=Path, help="effective rank against accuracy, as SVG")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="two methods, one seed, three steps")
    args = parser.parse_args()
    if args.tiny:
        args.methods, args.seeds, args.steps = args.methods[:2], args.seeds[:1], 3
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        bench = Bench(work, args.steps, args.weizmann)
        bench.decode(args.methods)
        todo = [(label, name, seed) for seed in args.seeds for label, name in subjects(args.methods)]
        order = {(label, seed): i for i, (label, _, seed) in enumerate(todo)}
        found = list(in_parallel(bench.row, todo, args.jobs, args.max_minutes))
    rows = sorted(found, key=lambda row: order[row["method"], row["seed"]])
    result = {**origin("methods.py"), "seeds": args.seeds, "tables": {}, "results": rows}
    result["tables"]["methods-measured"] = table(rows, args.weizmann is not None)
    write(args.out, result)
    if args.figure is not None:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
