"""Does a measure without labels order encoders as their accuracy does? Every measure of every run of methods.py.

    python benchmarks/measures_and_accuracy.py --runs methods.json --features runs/methods --out benchmarks/results/FILE.json

--features is the --work folder of that methods.py: it holds the features of each run. Kendall's tau over methods (means over
seeds; 95 % interval over draws of methods), and the accuracy of the run that the measure alone would have chosen, beside the
best one. Untrained and supervised networks are left out of both. `fullrank draw accuracy FILE.json` draws any of it.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _features import file_name
from _result import origin, write
from numpy.typing import NDArray

from fullrank.errors import DataError
from fullrank.spectrum.kendall import Tau, kendall
from fullrank.spectrum.survey import survey
from fullrank.studies._jobs import in_parallel

SPACES = ("representation", "embedding")
JUDGES = ("motion linear", "digit linear", "actions linear")
RESERVOIR_ROWS = 1200
LEAST_METHODS = 8


def measured(features: Mapping[str, Any], record: Any) -> dict[str, dict[str, float]]:
    """{space: {measure: value}} of the features of one run; a measure that is infinite is left out."""
    found = {}
    for space in SPACES:
        if features.get(space) is not None:
            values = survey(np.asarray(features[space], np.float64), groups=record, rows=RESERVOIR_ROWS).values
            found[space] = {name: float(value) for name, value in values.items() if math.isfinite(float(value))}
    return found


def row_of(job: tuple[dict[str, Any], str, str]) -> dict[str, Any]:
    """A row of methods.py with all measures of one of its feature files instead of two."""
    row, part, folder = job
    files = sorted(Path(folder).glob(f"{part}-{file_name(row['method'])}-{row['seed']}-*.npz"))
    if len(files) != 1:
        raise DataError(f"{folder} must hold the features of one run of {row['method']}, seed {row['seed']}. Got {len(files)}.")
    wanted = {name: row[name] for name in row if name.split(" ")[-1] in ("knn", "linear")}
    keep = {name: value for name, value in wanted.items() if name.startswith("actions") == (part == "weizmann")}
    print(files[0].name, flush=True)
    with np.load(files[0]) as arrays:
        measures = measured(arrays, arrays["record"])
    return {"method": row["method"], "seed": row["seed"], "data": part, **keep, "measures": measures}


Rows = Sequence[dict[str, Any]]


def both(rows: Rows, space: str, name: str, judge: str) -> list[dict[str, Any]]:
    """The runs that have the measure and the accuracy."""
    return [row for row in rows if judge in row and name in row["measures"].get(space, {})]


def means(
    rows: Rows, space: str, name: str, judge: str, unit: str
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """What runs are of (their "method" or "setting"), and the measure and the accuracy of each: means over its runs."""
    have = both(rows, space, name, judge)
    units = sorted({row[unit] for row in have})
    same = [[row for row in have if row[unit] == one] for one in units]
    x = np.array([np.mean([row["measures"][space][name] for row in runs]) for runs in same])
    return units, x, np.array([np.mean([row[judge] for row in runs]) for runs in same])


def measures_of(rows: Rows) -> list[tuple[str, str]]:
    """Every (space, measure) of any of the runs."""
    return sorted({(space, name) for row in rows for space, values in row["measures"].items() for name in values})


def line(rows: Rows, space: str, name: str, judge: str) -> tuple[float, list[Any]] | None:
    """(|tau|, a line of the table); None where too few methods have both."""
    have = both(rows, space, name, judge)
    methods, x, y = means(rows, space, name, judge, "method")
    if len(methods) < LEAST_METHODS:
        return None
    try:
        tau = kendall(x, y)
    except DataError:
        return None
    best = have[int(np.argmax([np.sign(tau.value) * row["measures"][space][name] for row in have]))]
    chosen = f"{best['method']} {100 * best[judge]:.0f}"
    return abs(tau.value), [space, f"`{name}`", said(tau), len(methods), chosen]


def said(tau: Tau) -> str:
    return f"{tau.value:+.2f} ({tau.low:+.2f} to {tau.high:+.2f})"


def table(rows: Rows, judge: str) -> dict[str, Any] | None:
    """The measures in order of how well they order methods by one accuracy."""
    lines = sorted(
        (found for space, name in measures_of(rows) if (found := line(rows, space, name, judge))), key=lambda pair: -pair[0]
    )
    judged = [row for row in rows if judge in row]
    if not lines or not judged:
        return None
    best = max(judged, key=lambda row: row[judge])
    note = (
        f"Kendall's tau of each measure with {judge} over methods (means over seeds, 95 % interval), and the run it would have "
        f"chosen, taken in the direction of tau, with its accuracy in %; of all {len(judged)} runs the best is "
        f"{best['method']} {100 * best[judge]:.0f}, their mean {100 * np.mean([row[judge] for row in judged]):.0f}."
    )
    return {"header": ["space", "measure", "tau", "methods", "would have chosen"], "rows": [b for _, b in lines], "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="what methods.py wrote")
    parser.add_argument("--features", type=Path, required=True, help="its --work folder")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = json.loads(args.runs.read_text(encoding="utf-8"))
    trained = [row for row in result["results"] if row["steps"] and row["method"] != "supervised"]
    jobs = [(row, part, str(args.features)) for row in trained for part in ("world", "weizmann")]
    jobs = [job for job in jobs if job[1] == "world" or "actions linear" in job[0]]
    rows = list(in_parallel(row_of, jobs, args.jobs))
    tables = {f"measures-{judge.split(' ')[0]}": found for judge in JUDGES if (found := table(rows, judge))}
    write(args.out, {**origin("measures_and_accuracy.py"), "seeds": result["seeds"], "tables": tables, "results": rows})


if __name__ == "__main__":
    main()
