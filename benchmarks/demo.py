"""The demo on several seeds: accuracies, margins, alarm, time and memory.

    python benchmarks/demo.py --seeds 3 4 5 --out benchmarks/results/FILE.json

Each seed is one `fullrank demo` in a process of its own. The world and the recipes were tuned on seeds 0 to 2 only.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _result import origin, write

KEYS = ("digit_knn", "digit_linear", "motion_knn", "motion_linear")
REQUIRED = {"digit": 25.0, "motion": 15.0}


def one(seed: int, out: Path, tiny: bool) -> dict[str, Any]:
    file = out / f"{seed}.json"
    flags = ["--tiny"] if tiny else []
    command = [
        sys.executable,
        "-m",
        "fullrank",
        "demo",
        "--seed",
        str(seed),
        "--out",
        str(out / str(seed)),
        "--json",
        str(file),
    ]
    subprocess.run([*command, *flags], check=True)
    result: dict[str, Any] = json.loads(file.read_text())
    del result["encoders"], result["report"]
    result["peak_gib_of_all_so_far"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return result


def spread(values: list[float]) -> str:
    """Mean and range of a few seeds."""
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and range over seeds: one line an encoder and space."""
    lines = []
    for i, row in enumerate(results[0]["rows"]):
        same = [result["rows"][i] for result in results]
        cells = [spread([100 * r[key] for r in same]) for key in KEYS]
        measured = [r["measures"] for r in same if r["measures"]]
        rank = spread([m["effective_rank"] for m in measured]) if measured else "-"
        std = f"{statistics.mean(m['std'] for m in measured):.3f}" if measured else "-"
        lines.append([row["encoder"], row["space"], *cells, rank, std])
    n = results[0]["rows"][0]["n"]
    return {
        "header": ["encoder", "space", "digit kNN", "digit linear", "motion kNN", "motion linear", "effective rank", "std"],
        "rows": lines,
        "note": f"Accuracy in %, mean (range) over seeds, {n} test videos a seed (95 % interval of one about "
        f"+-{98 / n**0.5:.0f} points), three clips a video averaged; kNN with k = 20.",
    }


def margins(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Points by which one encoder beats another, each seed."""
    lines = []
    for key in KEYS:
        for kind in ("trained over random", "trained over pixels", "collapsed over random"):
            values = [result["margins"][key][kind] for result in results]
            needed = REQUIRED[key.split("_", maxsplit=1)[0]] if kind == "trained over random" else None
            wanted = "-" if kind.startswith("collapsed") else f"at least {needed or 0:.0f}"
            lines.append([key.replace("_", " "), kind, *(f"{v:+.1f}" for v in values), wanted])
    for result in results:
        alarm = result["alarm"]
        print(f"seed {result['seed']}: alarm {alarm and alarm['step']}, {result['seconds']['all']:.0f} s")
    return {
        "header": ["read from features", "margin in points", *(f"seed {r['seed']}" for r in results), "wanted"],
        "rows": lines,
        "note": "Representations. The collapsed run's alarm came at step "
        + ", ".join(str(r["alarm"]["step"]) if r["alarm"] else "(none)" for r in results)
        + "; the demo took "
        + ", ".join(f"{r['seconds']['all']:.0f}" for r in results)
        + f" s and at most {results[-1]['peak_gib_of_all_so_far']:.1f} GiB.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="small, to see that it runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [one(seed, Path(folder), args.tiny) for seed in args.seeds]
    tables = {"demo": table(results), "demo-margins": margins(results)}
    write(args.out, {**origin("demo.py"), "seeds": args.seeds, "tables": tables, "results": results})


if __name__ == "__main__":
    main()
