"""What prevents the collapse? Every method on the embedded world as it is, and without each of its guards.

    python benchmarks/study.py --work runs/study --figure docs/images/what_prevents_collapse.svg --out FILE.json

The table and the figure of `fullrank study what_prevents_collapse` with where they come from; a run that is in --work already
is not repeated.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from _result import goal, origin, write

from fullrank.data.sources.moving_digits import World
from fullrank.studies import what_prevents_collapse as study


def tables(result: dict[str, Any]) -> dict[str, Any]:
    rows = result["rows"]
    n = next((row["measures"]["representation"]["n"] for row in rows if "measures" in row), 0)
    named = {(case.method, case.guard) for case in study.named_cases()}
    note = (
        f"moving_digits recipes with two frames a clip and batches of 32, AdamW, {result['steps']} steps, one seed. Paper: "
        f"what the source of each guard says (`fullrank methods NAME`). Found: the verdict on {n} test videos in eval mode, "
        "of the embedding, or of the method's own metrics where they are worse. Alarm: the first live one that stayed. "
        "Rank: effective rank of the embedding, of at most; of a complete collapse it is the rank of noise. Digit and "
        "motion: kNN of the representation in %."
    )
    return {
        "collapse-named": {
            "header": study.HEADER,
            "rows": study.lines([row for row in rows if (row["method"], row["guard"]) in named]),
            "note": study.summary([row for row in rows if (row["method"], row["guard"]) in named]),
        },
        "collapse": {"header": study.HEADER, "rows": study.lines(rows), "note": f"{study.summary(rows)} {note}"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keeps runs, so that a later call goes on")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="one method on a tiny world, five steps")
    args = parser.parse_args()
    if args.tiny:
        args.methods, args.steps = ["simsiam"], 5
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        result = study.run(
            args.work or Path(temporary),
            methods=args.methods,
            steps=args.steps,
            seed=args.seed,
            tell=lambda text: print(text, flush=True),
            world=World(seed=args.seed, num_train=32, num_test=24) if args.tiny else None,
            target="tiny" if args.tiny else "moving_digits",
        )
    rows = result["rows"]
    if args.figure:
        args.figure.parent.mkdir(parents=True, exist_ok=True)
        study.save_figure(rows, args.figure)
    bad = [row for row in rows if study.collapsed(row)]
    good = [row for row in rows if not study.collapsed(row) and row["verdict"] != "diverged"]
    for row in rows:
        del row["of"]
    named = [row for row in rows if (row["method"], row["guard"].removeprefix("no ")) in study.NAMED]
    write(
        args.out,
        {
            **origin("study.py"),
            "seeds": [args.seed],
            "seconds": time.perf_counter() - begin,
            "summary": [
                goal("named collapses that came", sum(map(study.collapsed, named)), at_least=len(study.NAMED), unit=""),
                goal("collapses without an alarm", sum(not study.lasting(row) for row in bad), at_most=0, unit=""),
                goal("false alarms", sum(bool(row["alarms"]) for row in good), at_most=1, unit=""),
            ],
            "tables": tables(result),
            "results": result,
        },
    )


if __name__ == "__main__":
    main()
