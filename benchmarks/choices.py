"""Which measure would have chosen best? Of the methods that were run, each measure takes one, without labels.

    python benchmarks/choices.py --of MEASURES_AND_ACCURACY.json IMAGES.json --out benchmarks/results/FILE.json

Reads what measures_and_accuracy.py and images.py wrote; trains and measures nothing. Of the runs of one seed a measure chooses
the one that it calls healthiest, as its definition says and not as tau would have it afterwards: ranks the largest, mean cosine
the smallest, alpha-ReQ the one nearest to 1. What a choice is worth: 1 the best run's accuracy, 0 that of a draw, and less than
0 worse than a draw; mean over seeds.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _result import origin, write
from numpy.typing import NDArray

from fullrank.spectrum.definitions import MEASURES

JUDGES = ("motion linear", "digit linear", "actions linear", "images linear")
SPACES = ("representation", "embedding")
LARGEST = ("normalized_std", "iso_score", "pseudo_condition_number", "coding_rate")
SMALLEST = (
    "dead_dimensions",
    "mean_cosine",
    "mean_norm",
    "off_diagonal_correlation",
    "cev_auc",
    "cev_auc_normalized",
    "condition_number",
    "self_cluster",
    "uniformity",
    "sigreg",
    "alignment",
)
NEAREST_1 = ("alpha_req",)
DRAWS, SEED = 1000, 0
LEAST_METHODS = 8

Rows = Sequence[dict[str, Any]]
Judged = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(merit as the measure sees it, accuracy), both [seeds, methods]; NaN where a run lacks the measure"""


def merit(name: str, value: float) -> float:
    """The larger the healthier, by the measure's definition; NaN for measures that define no better side."""
    if name in NEAREST_1:
        return -abs(value - 1.0)
    if MEASURES[name].is_rank or name in LARGEST:
        return value
    return -value if name in SMALLEST else np.nan


def judged(rows: Rows, space: str, name: str, judge: str) -> Judged | None:
    """Of all runs that have the accuracy; None where too few methods have the measure."""
    have = [row for row in rows if judge in row]
    seeds, methods = (sorted({row[key] for row in have}) for key in ("seed", "method"))
    merits, accuracies = (np.full((len(seeds), len(methods)), np.nan) for _ in range(2))
    for row in have:
        at = seeds.index(row["seed"]), methods.index(row["method"])
        accuracies[at] = row[judge]
        merits[at] = merit(name, row["measures"].get(space, {}).get(name, np.nan))
    return (merits, accuracies) if np.isfinite(merits).any(axis=0).sum() >= LEAST_METHODS else None


def worth(merits: NDArray[np.float64], accuracies: NDArray[np.float64]) -> float:
    """Mean over seeds of (chosen - mean) / (best - mean), of all runs of the seed; equally good choices share it.

    >>> worth(np.array([[1.0, 2.0, 3.0]]), np.array([[0.3, 0.2, 0.7]]))
    1.0
    >>> round(worth(np.array([[3.0, 3.0, np.nan]]), np.array([[0.3, 0.1, 0.5]])), 3)
    -0.5
    """
    shares = []
    for m, a in zip(merits, accuracies, strict=True):
        known = np.isfinite(a)
        spread = a[known].max() - a[known].mean()
        if np.isfinite(m[known]).any() and spread > 0:
            chosen = known & (m == np.nanmax(m[known]))
            shares.append((a[chosen].mean() - a[known].mean()) / spread)
    return float(np.mean(shares)) if shares else float("nan")


def interval(found: Sequence[Judged], seed: int = SEED) -> tuple[float, float]:
    """95 % of the mean of ``worth`` over judges, over draws of methods."""
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(DRAWS):
        drawn = [rng.integers(accuracies.shape[1], size=accuracies.shape[1]) for _, accuracies in found]
        values = [worth(m[:, at], a[:, at]) for (m, a), at in zip(found, drawn, strict=True)]
        means.append(np.nanmean(values) if np.isfinite(values).any() else np.nan)
    low, high = np.nanpercentile(means, [2.5, 97.5])
    return float(low), float(high)


def table(rows: Rows, judges: Sequence[str]) -> dict[str, Any]:
    """A line a measure and space, the best choosers first."""
    lines = []
    for space in SPACES:
        for name in MEASURES:
            each = {judge: judged(rows, space, name, judge) for judge in judges}
            found = [one for one in each.values() if one is not None]
            if not found:
                continue
            worths = {judge: worth(*one) for judge, one in each.items() if one is not None}
            mean = float(np.mean(list(worths.values())))
            low, high = interval(found)
            cells = [f"{worths[judge]:.2f}" if judge in worths else "-" for judge in judges]
            lines.append((mean, [space, f"`{name}`", *cells, f"{mean:.2f} ({low:.2f} to {high:.2f})"]))
    lines.sort(key=lambda line: -line[0])
    runs = [sum(judge in row for row in rows) for judge in judges]
    note = (
        "What a choice is worth: 1 the accuracy of the seed's best run, 0 that of a draw; mean over seeds, and over the "
        "columns that a measure has (95 % interval over draws of methods). A measure takes the run that its definition calls "
        "healthiest; where it cannot tell runs apart they share. Runs: "
        + ", ".join(f"{judge.split(' ')[0]} {count}" for judge, count in zip(judges, runs, strict=True))
        + ". LiDAR and alignment need several clips of a record, which images have not."
    )
    header = ["space", "measure", *(judge.split(" ")[0] for judge in judges), "mean"]
    return {"header": header, "rows": [line for _, line in lines], "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", type=Path, nargs="+", required=True, help="what measures_and_accuracy.py and images.py wrote")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [row for file in args.of for row in json.loads(file.read_text(encoding="utf-8"))["results"]]
    rows = [row for row in rows if row.get("steps", 1) and row["method"] != "supervised"]
    judges = [judge for judge in JUDGES if any(judge in row for row in rows)]
    seeds = sorted({row["seed"] for row in rows})
    write(args.out, {**origin("choices.py"), "seeds": seeds, "tables": {"measures-choice": table(rows, judges)}})


if __name__ == "__main__":
    main()
