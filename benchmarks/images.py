"""Every method with a ResNet, on a subset of CIFAR-10: accuracies beside all measures, and which would have chosen best.

    python benchmarks/images.py --cifar FOLDER --work runs/images --jobs 2 --out benchmarks/results/FILE.json

Views and heads of the recipes `<method>.cifar10`, shrunk until a CPU core needs about a minute: a ResNet-18 of a quarter width
with the strided stem, batch 256 or the recipe's where that is smaller, AdamW 0.001 with a tenth of warm-up. Frozen features of
2,000 test images: kNN and linear probe with the training images as bank, and every measure of both spaces. It tells whether a
measure orders short runs as their accuracy does, not which method learns best. A case that is in --work already, from the same
settings, is not repeated.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from _features import file_name
from _result import origin, write
from measures_and_accuracy import measured, table
from real_input import SHORT_RUN, settings

from fullrank.checkpoint.encoder import load, untrained
from fullrank.config import RunConfig, settings_hash
from fullrank.data.open import open_source
from fullrank.engine.loop import train
from fullrank.evaluation.knn import knn
from fullrank.evaluation.linear import linear
from fullrank.features.extract import extract
from fullrank.methods._method import load_method
from fullrank.recipes import available, recipe
from fullrank.studies._case_file import read_case, write_case
from fullrank.studies._jobs import in_parallel
from methods import RANDOM, cell, network, subjects

TEST_IMAGES = 2000
NUM_NEIGHBOURS = 200
RUN_MINUTES = 1.65
"""a budget of which training takes nine tenths: 90 seconds, reached by the slowest methods only"""
JUDGES = ("images linear", "images knn")
SPACES = ("representation", "embedding")

Row = dict[str, Any]
Case = tuple[str, str, int]
"""(name of the row, method, seed)"""


def methods() -> list[str]:
    """Those whose recipe for CIFAR-10 has a ResNet; a transformer needs many minutes for these images on a CPU core."""
    names = sorted(name.removesuffix(".cifar10") for name in available() if name.endswith(".cifar10"))
    return [name for name in names if recipe(f"{name}.cifar10").backbone.name == "resnet"]


def config_of(case: Case, folder: Path, work: Path, steps: int, records: int) -> RunConfig[Any]:
    """The recipe, shrunk."""
    label, name, seed = case
    batch = min(256, recipe(f"{name}.cifar10").data.batch_size, records)  # MMCR has 40 views a record, and a batch of 32
    data = {"path": folder, "name": "cifar10", "limit": records, "batch_size": batch}
    out = work / f"{file_name(label)}-{seed}"
    config: RunConfig[Any] = settings(f"{name}.cifar10", steps=steps, size=32, canvas=32, out=out, data=data, device="cpu")
    update = {
        "backbone": config.backbone.model_copy(update={"stem": "imagenet"}),
        "optimizer": SHORT_RUN,
        "max_minutes": RUN_MINUTES,
        "seed": seed,
    }
    small: RunConfig[Any] = config.model_copy(update=update)
    return small


def row_of(case: Case, folder: Path, work: Path, steps: int, records: int) -> Row:
    """One encoder, trained and asked, or read from its file."""
    label, name, seed = case
    config = config_of(case, folder, work, steps, records)
    of = {"settings": config.model_dump(mode="json"), "random": label.startswith(RANDOM)}
    file = work / f"{config.out.name}-{settings_hash(of)}.json"
    found = read_case(file, of)
    if found is not None:
        return found
    shutil.rmtree(config.out, ignore_errors=True)  # of a run that was interrupted
    begin = time.perf_counter()
    bank = open_source(config.data)
    test = open_source(config.data.model_copy(update={"split": "test", "limit": TEST_IMAGES}))
    if of["random"]:
        encoder, done = untrained(config, seed=seed), 0
    else:
        result = train(config.model_copy(update={"out": config.out / "run"}), source=bank)
        if result.stopped is not None:
            raise SystemExit(f"{config.out.name} was {result.stopped}; the same command goes on.")
        encoder, done = load(config.out / "run"), result.steps
    bank_table, test_table = (
        extract(encoder, source, config.out / side, batch_size=256) for source, side in ((bank, "bank"), (test, "test"))
    )
    near, probe = knn(bank_table, test_table, k=min(NUM_NEIGHBOURS, records)), linear(bank_table, test_table)
    features = {space: getattr(test_table, space) for space in SPACES}
    row = {
        "of": of,
        "method": label,
        "seed": seed,
        "network": network(config),
        "steps": done,
        "images knn": near.top1,
        "images linear": probe.top1,
        "bounds": {space: min(TEST_IMAGES - 1, x.shape[1]) for space, x in features.items() if x is not None},
        "measures": measured(features, None),
        "seconds": time.perf_counter() - begin,
        "hardware": origin("images.py")["hardware"],
    }
    shutil.rmtree(config.out, ignore_errors=True)
    write_case(file, row)
    print(f"{label} {seed}: kNN {100 * near.top1:.1f} %, linear {100 * probe.top1:.1f} %, {row['seconds']:.0f} s", flush=True)
    return row


def accuracies(rows: Sequence[Row], records: int) -> dict[str, Any]:
    """One line a method: means and ranges over seeds."""
    lines = []
    for name in dict.fromkeys(row["method"] for row in rows):
        same = [row for row in rows if row["method"] == name]
        labelled = not name.startswith(RANDOM) and load_method(name).needs_labels
        line = [f"{name} (with labels)" if labelled else name]
        line += [cell([100 * row[judge] for row in same]) for judge in reversed(JUDGES)]
        for space in SPACES:
            found = [row["measures"][space] for row in same if space in row["measures"]]
            bound = f" of {same[0]['bounds'][space]}" if found else ""
            line += [cell([m[key] for m in found], form) for key, form in (("effective_rank", ".0f"), ("cev_auc", ".2f"))]
            line[-2] += bound
        lines.append(line)
    trained = [row for row in rows if row["steps"]]
    most = max(row["steps"] for row in trained)
    fewer = sorted({f"{row['method']} {row['steps']}" for row in trained if row["steps"] < most})
    where = dict.fromkeys(row["hardware"] for row in rows)
    note = (
        f"CIFAR-10 (JPEG q92), {records:,} training and {TEST_IMAGES:,} test images, mean (range) over seeds, in %; ResNet-18 "
        f"of a quarter width with the strided stem, {most} steps of 256 images (supervised 128, MMCR "
        "32 with 40 views each), AdamW 0.001; "
        f"k = {min(NUM_NEIGHBOURS, records)}. Effective rank and CEV-AUC of representation h and embedding z of test images. "
        "Longest run with its evaluation "
        f"{max(row['seconds'] for row in trained):.0f} s"
        + (f"; fewer steps, in 90 s: {', '.join(fewer)}" if fewer else "")
        + (f". Measured on: {'; '.join(where)}." if len(where) > 1 else ".")
    )
    header = ["method", "kNN", "linear", *(f"{what} {space}" for space in ("h", "z") for what in ("effective rank", "CEV-AUC"))]
    return {"header": header, "rows": lines, "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar", type=Path, required=True, help="folder of CIFAR-10")
    parser.add_argument("--methods", nargs="+", default=methods())
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--records", type=int, default=10_000, help="training images")
    parser.add_argument("--work", type=Path, help="keeps what was run, so that a later call goes on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, one thread each")
    parser.add_argument("--max-minutes", type=float, help="no run begins later; the tables have what is there")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="two methods, one seed, three steps of 300 images")
    args = parser.parse_args()
    if args.tiny:
        args.methods, args.seeds, args.steps, args.records = args.methods[:2], args.seeds[:1], 3, 300
    cases = [(label, name, seed) for seed in args.seeds for label, name in subjects(args.methods, "cifar10")]
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        run = partial(row_of, folder=args.cifar, work=work, steps=args.steps, records=args.records)
        rows = list(in_parallel(run, cases, args.jobs, args.max_minutes))
    order = {(label, seed): i for i, (label, _, seed) in enumerate(cases)}
    rows = [{k: v for k, v in row.items() if k != "of"} for row in sorted(rows, key=lambda r: order[r["method"], r["seed"]])]
    tables: dict[str, Any] = {"images-measured": accuracies(rows, args.records)}
    judged = [row for row in rows if row["steps"] and not load_method(row["method"]).needs_labels]
    tables |= {f"measures-{judge.replace(' ', '-')}": found for judge in JUDGES if (found := table(judged, judge))}
    write(args.out, {**origin("images.py"), "seeds": args.seeds, "tables": tables, "results": rows})


if __name__ == "__main__":
    main()
