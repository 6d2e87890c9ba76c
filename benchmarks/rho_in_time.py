"""Rho and persistence in time on the embedded world: appearance, motion, effective rank between and within videos.

    python benchmarks/rho_in_time.py --jobs 2 --work runs/rho --figure docs/images/rho_in_time.svg --out FILE.json

The table and the figure of `fullrank study rho_in_time` with where they come from; a case that is in --work already is not
repeated.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _result import goal, origin, write

from fullrank.data.sources.moving_digits import World
from fullrank.spectrum.pictures.style import save
from fullrank.studies import rho_in_time as study
from fullrank.studies._rho_figure import figure


def table(result: dict[str, Any]) -> dict[str, Any]:
    world = study.WORLD
    cut = world.shot_frames / world.frames_per_second
    note = (
        f"tiny recipes, {result['steps']} steps each, so that a larger rho sees more clips; {world.num_train} training videos "
        f"of {world.num_frames / world.frames_per_second:g} s with a cut every {cut:g} s, {world.num_test} test videos, "
        f"{study.NUM_CLIPS} clips each. Accuracies in %, of the mean of a video's clips. Effective ranks of the "
        "representation: of the videos' means, and of clips without their video's mean. Apart: the most between the starts of "
        "two clips. The last three: the share of the variance of clips within videos, between the ten digits, between the "
        "eight motions. Mean (range) over seeds."
    )
    return {"header": study.HEADER, "rows": study.lines(result["rows"]), "note": note}


def gained(rows: list[dict[str, Any]], label: str, better: tuple[int, float], worse: tuple[int, float]) -> float:
    """Points of linear accuracy, mean over methods and seeds that have both."""
    at = {(r["method"], r["seed"], r["rho"], r["span"]): r for r in rows if "diverged" not in r and r["method"] != study.RANDOM}
    pairs = [(at[m, s, *better], at[m, s, *worse]) for m, s, *key in at if tuple(key) == better and (m, s, *worse) in at]
    return float(np.mean([100 * (a[f"{label} linear"] - b[f"{label} linear"]) for a, b in pairs])) if pairs else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time, of one thread each")
    parser.add_argument("--work", type=Path, help="keeps runs, so that a later call goes on")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="one method and seed on a tiny world, three steps")
    args = parser.parse_args()
    if args.tiny:
        args.methods, args.steps, args.seeds = ["simclr"], 3, [0]
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        result = study.run(
            args.work or Path(temporary),
            methods=args.methods,
            seeds=args.seeds,
            steps=args.steps,
            jobs=args.jobs,
            tell=lambda text: print(text, flush=True),
            world=World(num_train=40, num_test=24) if args.tiny else None,
        )
    rows = result["rows"]
    if args.figure:
        save(figure(rows, random=study.RANDOM), args.figure)
    for row in rows:
        del row["of"]
    summary = [
        goal(f"{label}: {what}", gained(rows, label, better, worse), unit=" points")
        for label in study.LABELS
        for what, better, worse in (
            ("two clips anywhere over one clip", (2, 1.0), (1, 1.0)),
            ("four clips over two", (4, 1.0), (2, 1.0)),
            ("two clips anywhere over two at one moment", (2, 1.0), (2, 0.0)),
        )
    ]
    write(
        args.out,
        {
            **origin("rho_in_time.py"),
            "seeds": args.seeds,
            "seconds": time.perf_counter() - begin,
            "summary": summary,
            "tables": {"rho-in-time": table(result)},
            "results": result,
        },
    )


if __name__ == "__main__":
    main()
