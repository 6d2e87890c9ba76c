"""Does a measure without labels order the settings of one method as their accuracy does? Every measure of trained runs.

    python benchmarks/measures_within.py --runs FOLDER --steps 300 --jobs 2 --out benchmarks/results/FILE.json

FOLDER is that of `diagnosis.py --runs`: the finished runs of all its seeds are read, nothing is trained. Two questions:

1. Over VICReg's grid of variance and covariance weights (means over seeds of a setting): Kendall's tau with its 95 % interval
   over draws of settings, and the setting that the measure would have chosen, beside the best.
2. Over the runs of each method, as it is and without each of its guards: tau within the method, then its mean over methods.

`fullrank draw accuracy FILE.json --methods "vicreg grid"` draws any of it.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _result import origin, write
from diagnosis import GRID, STEPS, home, run_cases, train_missing
from measures_and_accuracy import SPACES, Rows, both, means, measured, measures_of, said

from fullrank.errors import DataError
from fullrank.evaluation.intervals import mean_interval
from fullrank.evaluation.knn import knn
from fullrank.evaluation.linear import linear
from fullrank.features.table import read_table
from fullrank.spectrum.kendall import kendall, tau_b
from fullrank.studies._jobs import in_parallel

LABELS = ("motion", "digit")
KNN_NEIGHBOURS, PROBE_EPOCHS = 20, 50
LEAST_SETTINGS = 5
LEAST_RUNS, LEAST_METHODS = 6, 3
"""of a method for a tau within it, and of methods for their mean"""


def row_of(job: tuple[int, str, str, str]) -> dict[str, Any]:
    """One run: its accuracies and its measures."""
    import torch

    torch.set_num_threads(1)
    seed, method, setting, folder = job
    train, test = (read_table(Path(folder) / f"features_{split}") for split in ("train", "test"))
    accuracies = {}
    for label in LABELS:
        accuracies[f"{label} knn"] = knn(train, test, label=label, k=KNN_NEIGHBOURS).top1
        accuracies[f"{label} linear"] = linear(train, test, label=label, epochs=PROBE_EPOCHS).top1
    measures = measured({space: getattr(test, space) for space in SPACES}, test.record)
    print(f"seed {seed}: {method}, {setting}", flush=True)
    chance = {label: 1.0 / len(test.classes[label]) for label in LABELS}
    method = f"{method} grid" if setting.startswith(GRID) else method  # another world and recipe: not to be drawn together
    return {"method": method, "setting": setting, "seed": seed, **accuracies, "chance": chance, "measures": measures}


def grid_table(rows: Rows, label: str) -> dict[str, Any] | None:
    """The measures in order of how well they order the settings of the grid; None where too few of them were run."""
    judge = f"{label} linear"
    lines = []
    for space, name in measures_of(rows):
        settings, x, y = means(rows, space, name, judge, "setting")
        if len(settings) < LEAST_SETTINGS:
            continue
        try:
            tau = kendall(x, y)
        except DataError:  # one value in all settings
            continue
        chosen = int(np.argmax(np.sign(tau.value) * x))
        cells = [space, f"`{name}`", said(tau), len(settings), f"{short(settings[chosen])}: {100 * y[chosen]:.0f}"]
        lines.append((abs(tau.value), cells))
    if not lines:
        return None
    note = (
        f"Kendall's tau of each measure with {judge} over VICReg's weights of variance / covariance (means over seeds, 95 % "
        f"interval over draws of settings), and the setting it would have chosen, taken in the direction of tau, with its "
        f"accuracy in %. {of_settings(rows, label)}"
    )
    ordered = [cells for _, cells in sorted(lines, key=lambda pair: -pair[0])]
    return {"header": ["space", "measure", "tau", "settings", "would have chosen"], "rows": ordered, "note": note}


def of_settings(rows: Rows, label: str) -> str:
    """What there is to choose from."""
    judge = f"{label} linear"
    settings = sorted({row["setting"] for row in rows})
    accuracy = {one: float(np.mean([row[judge] for row in rows if row["setting"] == one])) for one in settings}
    best = max(settings, key=lambda one: accuracy[one])
    return (
        f"{len(rows)} runs of {len(settings)} settings: the best is {short(best)}: {100 * accuracy[best]:.0f}, their mean "
        f"{100 * np.mean(list(accuracy.values())):.0f}, the worst {100 * min(accuracy.values()):.0f}; chance "
        f"{100 * rows[0]['chance'][label]:.0f}."
    )


def short(setting: str) -> str:
    """ "grid 25 1" as "25 / 1"."""
    return setting.removeprefix(GRID).replace(" ", " / ")


def within(rows: Rows, space: str, name: str, judge: str) -> list[float]:
    """Tau over the runs of each method that has enough."""
    found = []
    have = both(rows, space, name, judge)
    for method in sorted({row["method"] for row in have}):
        runs = [row for row in have if row["method"] == method]
        if len(runs) < LEAST_RUNS:
            continue
        try:
            found.append(
                tau_b(np.array([row["measures"][space][name] for row in runs]), np.array([row[judge] for row in runs]))
            )
        except DataError:  # one value in all runs
            continue
    return found


def methods_table(rows: Rows) -> dict[str, Any] | None:
    """The measures in order of their mean tau within methods with motion, beside that with digits."""
    lines = []
    for space, name in measures_of(rows):
        taus = {label: within(rows, space, name, f"{label} linear") for label in LABELS}
        if min(map(len, taus.values())) < LEAST_METHODS:
            continue
        cells = [cell for label in LABELS for cell in mean_and_agreement(taus[label])]
        lines.append((abs(np.mean(taus[LABELS[0]])), [space, f"`{name}`", *cells]))
    if not lines:
        return None
    counts = {name: sum(row["method"] == name for row in rows) for name in sorted({row["method"] for row in rows})}
    enough = [name for name, count in counts.items() if count >= LEAST_RUNS]
    note = (
        f"Kendall's tau of each measure with the linear accuracy over the runs of one method (as it is, without each guard; "
        f"each seed), mean over methods with its 95 % interval (Student's), and in how many of the methods tau has the sign of "
        f"the mean. Methods with at least {LEAST_RUNS} runs: {', '.join(enough)}; {sum(counts[name] for name in enough)} runs."
    )
    header = ["space", "measure", *(f"{label}{what}" for label in LABELS for what in (", mean tau", ", same sign"))]
    return {"header": header, "rows": [cells for _, cells in sorted(lines, key=lambda pair: -pair[0])], "note": note}


def mean_and_agreement(taus: list[float]) -> list[str]:
    mean, (low, high) = mean_interval(taus)
    return [f"{mean:+.2f} ({low:+.2f} to {high:+.2f})", f"{sum(tau * mean > 0 for tau in taus)} of {len(taus)}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="the folder of diagnosis.py --runs")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the runs")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="trains six settings of three steps itself, to see that it runs")
    args = parser.parse_args()
    if args.runs is None and not args.tiny:
        parser.error("--runs must be given, or --tiny.")
    with tempfile.TemporaryDirectory() as temporary:
        rows = read_runs(Path(temporary) if args.tiny else args.runs, args)
    grid = [row for row in rows if row["setting"].startswith(GRID)]
    found = {f"measures-within-vicreg-{label}": grid_table(grid, label) for label in LABELS}
    found["measures-within-methods"] = methods_table([row for row in rows if not row["setting"].startswith(GRID)])
    for name in [name for name, table in found.items() if table is None]:
        print(f"no table {name}: too few runs are finished")
    tables = {name: table for name, table in found.items() if table is not None}
    seeds = sorted({row["seed"] for row in rows})
    write(args.out, {**origin("measures_within.py"), "seeds": seeds, "tables": tables, "results": rows})


def read_runs(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row of every finished run; one that diverged has no features, and none."""
    cases = [case for case, _ in run_cases()]
    if args.tiny:
        cases, seeds = [case for case in cases if case.guard.startswith(GRID)][:6], [0]
    else:
        seeds = sorted(int(path.name.removeprefix("seed")) for path in folder.glob("seed*") if path.name[4:].isdigit())
    steps = 3 if args.tiny else args.steps
    done = train_missing(folder, seeds, cases, steps=steps, jobs=1, max_minutes=None if args.tiny else 0.0, tiny=args.tiny)
    by_name = {case.folder: case for case in cases}
    jobs = [
        (seed, by_name[name].method, by_name[name].guard, str(home(folder, seed, by_name[name]) / name))
        for (seed, name), row in done.items()
        if row["verdict"] != "diverged"
    ]
    return list(in_parallel(row_of, jobs, args.jobs))


if __name__ == "__main__":
    main()
