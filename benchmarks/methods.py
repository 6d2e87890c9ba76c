"""Every method's tiny recipe trained on the embedded world, beside random weights: linear probes of digit and motion.

    python benchmarks/methods.py --seeds 0 1 2 --out benchmarks/results/FILE.json

The conformance point "better than random weights" for all methods (`make test-full`): the same small world (480 videos to train
on, 240 to ask), the same steps of 32 records, one network (a Slow ResNet-18 of an eighth of the width; a small transformer or
DPC's where the method needs one). It tells whether a method learns, not which learns best. A run that is there already in
--work is not repeated.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from _result import origin, write

from fullrank.evaluation.intervals import wilson
from fullrank.methods._method import available
from fullrank.recipes import recipe
from fullrank.testing.runs import TRAINED_STEPS, beats_random

KEYS = ("random digit", "trained digit", "random motion", "trained motion")


def one(name: str, seed: int, steps: int, work: Path) -> dict[str, Any]:
    file = work / f"{name}-{seed}-{steps}.json"
    if file.exists():
        return dict(json.loads(file.read_text()))
    out = work / f"{name}-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    row = {"method": name, "seed": seed, **beats_random(recipe(f"{name}.tiny"), work / "world", out, steps=steps, seed=seed)}
    shutil.rmtree(out)
    file.write_text(json.dumps(row) + "\n")
    return row


def table(rows: list[dict[str, Any]], steps: int) -> dict[str, Any]:
    lines = []
    for name in dict.fromkeys(row["method"] for row in rows):
        same = [row for row in rows if row["method"] == name]
        cells = [f"{100 * sum(r[key] for r in same) / len(same):.0f}" for key in KEYS]
        margins = [f"{sum(r[f'margin {label}'] for r in same) / len(same):+.1f}" for label in ("digit", "motion")]
        lines.append([name, *cells, *margins, f"{sum(r['seconds'] for r in same) / len(same):.0f}"])
    n, seeds = rows[0]["n"], sorted({row["seed"] for row in rows})
    low, high = wilson(round(0.3 * n), n)
    return {
        "header": ["method", *KEYS, "margin digit", "margin motion", "seconds"],
        "rows": lines,
        "note": f"Linear probe, % of {n} test videos (three clips averaged), tiny recipes, {steps} steps of 32, mean over "
        f"seeds {', '.join(map(str, seeds))}; the 95 % interval of one accuracy of 30 % is "
        f"{100 * low:.0f} to {100 * high:.0f}.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(available()))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", type=int, default=TRAINED_STEPS)
    parser.add_argument("--work", type=Path, help="keeps runs, so that a later call goes on")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="two methods, ten steps")
    args = parser.parse_args()
    if args.tiny:
        args.methods, args.steps = args.methods[:2], 10
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        rows = [one(name, seed, args.steps, work) for name in args.methods for seed in args.seeds]
    result = {**origin("methods.py"), "seeds": args.seeds, "tables": {"methods": table(rows, args.steps)}, "results": rows}
    write(args.out, result)


if __name__ == "__main__":
    main()
