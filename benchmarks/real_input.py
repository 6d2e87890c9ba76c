"""The five methods on real input: Weizmann actions (rho 1 and 2) and a subset of CIFAR-10; accuracies beside effective ranks.

    python benchmarks/real_input.py --weizmann FOLDER --cifar FOLDER --out benchmarks/results/FILE.json

Weizmann: pre-training sees all 90 clips without labels (transductive); frozen features of three clips a video are judged by
leaving one actor out. With --folds-steps, one method is also pre-trained for each fold without the clips of the actor who
is left out, and, for as many steps, with all. CIFAR-10: pre-training on a subset of the training images; kNN and linear probe
of 2,000 test images, bank and probe from the subset. A run that is there already in --work is not repeated.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _features import actors_of, leave_one_actor_out, rank_cell, ranks
from _result import origin, write

import fullrank
from fullrank.checkpoint.encoder import Encoder, load, untrained
from fullrank.config import OptimizerConfig, RunConfig
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.engine.loop import train
from fullrank.evaluation.knn import knn, knn_grouped
from fullrank.evaluation.linear import linear, linear_grouped
from fullrank.features.extract import extract
from fullrank.features.table import per_record

METHODS = ("vicreg", "simclr", "moco_v2", "byol", "swav")
FOLDS_METHOD = "simclr"
EPOCHS = 200.0
SHORT_RUN = OptimizerConfig(name="adamw", base_learning_rate=1e-3, weight_decay=1e-4, warmup_epochs=EPOCHS / 10)


def settings(
    name: str, *, steps: int, size: int, canvas: int, out: Path, data: dict[str, Any], device: str, **method: Any
) -> RunConfig[Any]:
    """A recipe shrunk until a CPU gets through it."""
    config = fullrank.recipe(name)
    own = config.method
    changes = {"augmentation": own.augmentation.model_copy(update={"size_pixels": size}), **method}
    if "queue_length" in type(own).model_fields and own.queue_length and name.startswith("moco"):
        changes["queue_length"] = 1024
    if "batch_norm_group" in type(own).model_fields and own.batch_norm_group:
        changes |= {"batch_norm_group": 32, "shuffle_block": None}
    if "num_prototypes" in type(own).model_fields:
        changes |= {"num_prototypes": 60, "freeze_prototypes_epochs": 0.0}
    return config.model_copy(
        update={
            "method": own.model_copy(update=changes),
            "backbone": config.backbone.model_copy(update={"width": 0.25} if config.backbone.name == "resnet" else {}),
            "data": config.data.model_copy(update={"canvas_pixels": canvas, **data}),
            "optimizer": config.optimizer.model_copy(update={"warmup_epochs": EPOCHS / 10}),
            "max_steps": steps,
            "epochs": EPOCHS,
            "device": device,
            "out": out,
        }
    )


def trained(config: RunConfig[Any], source: Source, name: str) -> Encoder:
    """The encoder of a run, trained unless it is there."""
    if not (config.out / "checkpoint.pt").exists():
        shutil.rmtree(config.out, ignore_errors=True)  # of a run that failed
        print(f"training {config.out.name}", flush=True)
        result = train(config, source=source, recipe=name)
        if result.stopped is not None:
            shutil.rmtree(config.out)
            raise SystemExit(
                f"{config.out.name} was {result.stopped} after {result.steps} steps; the same command runs it again."
            )
    return load(config.out, config.device)


def once(work: Path, name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row, measured unless it is there; it says on what it was measured."""
    file = work / f"{name}.json"
    if not file.exists():
        row = {**run(), "hardware": origin("real_input.py")["hardware"]}
        file.write_text(json.dumps(row, default=float) + "\n", encoding="utf-8")
        print(row, flush=True)
    return dict(json.loads(file.read_text(encoding="utf-8")))


def percent(row: dict[str, Any], key: str) -> str:
    low, high = row[f"{key}_interval"]
    return f"{100 * row[key]:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def weizmann(
    folder: Path, work: Path, steps: int, folds_steps: int | None, device: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    data = {"path": folder, "cache": work / "cache", "batch_size": 30, "num_frames": 8, "frames_per_second": 6.25}
    rows: list[dict[str, Any]] = []

    def judged(recipe: str, out: Path, steps: int, rho: int) -> dict[str, Any]:
        config = settings(recipe, steps=max(steps, 1), size=64, canvas=72, out=out, data=data, device=device, rho=rho)
        encoder = untrained(config) if steps == 0 else trained(config, source, recipe)
        return leave_one_actor_out(encoder, source, actors, out.with_name(f"{out.name}_features"))

    source = open_source(settings("simclr.video", steps=1, size=64, canvas=72, out=work, data=data, device=device).data)
    actors, names = actors_of(folder, source)
    cases = [("random weights", METHODS[0], 0, "-", "weizmann_random")]
    cases += [(name, name, steps, rho, f"weizmann_{name}_{rho}") for name in METHODS for rho in (1, 2)]
    if folds_steps is not None and folds_steps != steps:  # what to hold the folds against: as many steps over all clips
        cases.append((FOLDS_METHOD, FOLDS_METHOD, folds_steps, 2, f"weizmann_{FOLDS_METHOD}_all"))
    for label, name, count, rho, place in cases:
        own = {"method": label, "rho": rho, "steps": count}
        rows.append(
            once(
                work,
                place,
                lambda own=own, n=name, p=place: {  # type: ignore[misc]
                    **own,
                    **judged(f"{n}.video", work / p, own["steps"], own["rho"] if own["rho"] != "-" else 1),
                },
            )
        )
    if folds_steps is not None:
        rows.append(
            once(work, "weizmann_folds", lambda: per_fold(folder, work, data, folds_steps, source, actors, names, device))
        )
    header = ["method", "rho", "steps", "kNN %", "linear %", "effective rank of h", "effective rank of z"]
    lines = [
        [
            r["method"],
            r["rho"],
            r["steps"],
            percent(r, "knn"),
            percent(r, "linear"),
            *(rank_cell(r, s) for s in ("representation", "embedding")),
        ]
        for r in rows
    ]
    note = (
        "Leave-one-actor-out over 90 clips (Wilson 95 %); Slow ResNet-18 of a quarter width, 64 pixels, batch 30, "
        f"seed 0; ranks over 270 clips. Measured on: {'; '.join(dict.fromkeys(r['hardware'] for r in rows))}."
    )
    return {"header": header, "rows": lines, "note": note}, rows


def per_fold(
    folder: Path,
    work: Path,
    data: dict[str, Any],
    steps: int,
    source: Source,
    actors: np.ndarray,
    names: list[str],
    device: str,
) -> dict[str, Any]:
    """Pre-training that never sees the actor it is asked about."""
    right = {"knn": 0.0, "linear": 0.0}
    for i, name in enumerate(names):
        listing = work / f"without_{name}.csv"
        rows = [f"{(folder / record).resolve()}" for record, actor in zip(source.record_ids, actors, strict=True) if actor != i]
        listing.write_text("path\n" + "\n".join(rows) + "\n", encoding="utf-8")
        recipe = f"{FOLDS_METHOD}.video"
        own = {**data, "path": listing}
        out = work / f"fold_{name}"
        config = settings(recipe, steps=steps, size=64, canvas=72, out=out, data=own, device=device, rho=2)
        encoder = trained(config, open_source(config.data), recipe)
        table = extract(encoder, source, work / f"fold_{name}_features", num_clips=3, batch_size=30)
        features, labels, record = per_record(table)
        groups = actors[record]
        near = knn_grouped(features, labels["label"], groups, k=10)
        probe = linear_grouped(features, labels["label"], groups)
        for key, found in (("knn", near), ("linear", probe)):  # of the actor whom neither the encoder nor the probe saw
            right[key] += float((found.predictions[:, 0] == found.targets)[groups == i].sum())
    from fullrank.evaluation.intervals import wilson

    n = len(source)
    row: dict[str, Any] = {"method": f"{FOLDS_METHOD}, pre-trained for each fold", "rho": 2, "steps": steps, "ranks": {}}
    for key, count in right.items():
        row[key], row[f"{key}_interval"] = count / n, list(wilson(int(count), n))
    return row


def cifar(folder: Path, work: Path, steps: int, records: int, device: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    data = {"path": folder, "name": "cifar10", "limit": records, "batch_size": 256, "num_frames": 1}
    rows: list[dict[str, Any]] = []
    for name in METHODS:
        recipe = f"{name}.cifar10"
        config = settings(recipe, steps=steps, size=32, canvas=32, out=work / f"cifar_{name}", data=data, device=device)
        # the recipes' LARS and SGD need the warm-up of many epochs, which a run of a minute does not have
        config = config.model_copy(update={"optimizer": SHORT_RUN})
        bank = open_source(config.data)
        test = open_source(config.data.model_copy(update={"split": "test", "limit": 2000}))
        runs = [] if rows else [("random weights", None)]
        for label, fixed in [*runs, (name, config)]:
            encoder = untrained(config) if fixed is None else trained(config, bank, recipe)
            tables = [extract(encoder, s, work / f"cifar_{label}_{i}", batch_size=256) for i, s in enumerate((bank, test))]
            near, probe = knn(*tables, k=200), linear(*tables)
            row = {"method": label, "knn": near.top1, "knn_interval": list(near.interval), "ranks": ranks(tables[1])}
            row |= {"linear": probe.top1, "linear_interval": list(probe.interval)}
            row["steps"] = 0 if fixed is None else steps
            rows.append(row)
            print(row, flush=True)
    header = ["method", "steps", "kNN %", "linear %", "effective rank of h", "effective rank of z"]
    lines = [
        [
            r["method"],
            r["steps"],
            percent(r, "knn"),
            percent(r, "linear"),
            *(rank_cell(r, s) for s in ("representation", "embedding")),
        ]
        for r in rows
    ]
    note = (
        f"CIFAR-10 (JPEG q92), {records} training images, 2,000 test images; ResNet-18 of a quarter width, batch 256, "
        f"AdamW 0.001 for all, {steps} steps a run, seed 0; k = 200."
    )
    return {"header": header, "rows": lines, "note": note}, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weizmann", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/real_input"))
    parser.add_argument("--steps", type=int, default=400, help="of each run")
    parser.add_argument("--folds-steps", type=int)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--device", default="cpu", help="to train on")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    start, tables, rows = time.perf_counter(), {}, {}
    if args.weizmann is not None:
        tables["weizmann"], rows["weizmann"] = weizmann(args.weizmann, args.work, args.steps, args.folds_steps, args.device)
    if args.cifar is not None:
        tables["cifar10"], rows["cifar10"] = cifar(args.cifar, args.work, args.steps, args.records, args.device)
    gpu = torch.cuda.get_device_name() if args.device == "cuda" else None
    result = {**origin("real_input.py", gpu), "seeds": [0], "seconds": time.perf_counter() - start}
    write(args.out, {**result, "tables": tables, "results": rows})


if __name__ == "__main__":
    main()
