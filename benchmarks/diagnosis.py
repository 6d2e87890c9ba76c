"""How often the diagnosis is right: planted kinds of collapse, and trained runs, on seeds that were not used for tuning.

    python benchmarks/diagnosis.py --out benchmarks/results/FILE.json
    python benchmarks/diagnosis.py --runs FOLDER --tuning-run-seeds 0 --run-seeds 10 11 --jobs 2 --max-minutes 60

Without --runs the planted population alone (some minutes). With it, what is missing of the runs is trained first, each in a
process of one thread: on the embedded world every method as it is and without each of its guards, and a grid of VICReg's
variance and covariance weights (tiny recipe, easier world); the embedding of the test videos is then diagnosed. FOLDER/seed0,
FOLDER/seed1, ... are each laid out as the --work folder of study.py: runs that study.py made with as many steps are taken as
they are, wherever they lay then. All runs of one seed come before the next, test seeds first; what is missing after
--max-minutes is counted in the note.

What a run should be called is what the source of its guard says (`expect`), for the grid: complete at variance weight 0,
healthy from 5 on with the paper's covariance weight. Runs whose source expects no collapse count as healthy.

--tune walks through every threshold that planted cases can set, on the tuning seeds alone, and prints the interval in which no
more cases are wrong than at the best value: thresholds.py holds values from the middle of it.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _population import SWEEPS, SWEPT_D, SWEPT_N, population, swept
from _result import goal, origin, write

from fullrank.data.sources.moving_digits import World
from fullrank.studies._jobs import in_parallel
from fullrank.testing.runs import WORLD

TRAIN_SEEDS, TEST_SEEDS = (0, 1, 2, 3), (10, 11, 12, 13)
KINDS = ("healthy", "mean_shift", "temporal", "dimensional", "cluster", "complete")
RESAMPLES = 20
"""bootstrap resamples of a case of a sweep, and of a run"""
TUNED = {
    "complete_spread": np.linspace(0.02, 0.4, 39),
    "shift_cosine": np.linspace(0.5, 0.99, 50),
    "signed_shift_cosine": np.linspace(0.5, 0.99, 50),
    "cluster_gap": np.linspace(1.05, 4.0, 60),
    "low_rank_ratio": np.linspace(0.02, 0.4, 39),
    "unused_ratio": np.linspace(0.2, 0.95, 31),
    "cliff_factor": np.geomspace(1.2, 30.0, 40),
    "within_share": np.geomspace(1e-4, 0.1, 31),
    "within_rank_ratio": np.linspace(0.01, 0.5, 50),
}
SWEPT = 8
"""draws of each amount of a sweep"""
WANTED = 0.95
"""of the planted test cases right"""
GRID_VARIANCE, GRID_COVARIANCE = (0.0, 1.0, 5.0, 25.0, 100.0), (0.0, 1.0, 25.0)
GRID = "grid "
"""how the settings of the grid begin"""
STEPS = 300


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One case and what was said of it."""

    kind: str
    name: str
    space: str
    seed: int
    evidence: dict[str, float | int]
    found: str
    confidence: float | None = None


def planted(seed: int, resamples: int) -> list[Judged]:
    """Every planted case of a seed."""
    from fullrank.spectrum.diagnosis import diagnose_features

    rows = []
    for case in population(seed):
        said = diagnose_features({case.space: case.features}, record=case.record, resamples=resamples)
        rows.append(
            Judged(
                kind=case.kind,
                name=case.name,
                space=case.space,
                seed=seed,
                evidence=said.evidence[case.space],
                found=said.verdict,
                confidence=said.confidence,
            )
        )
    return rows


def sweep(draws: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Where one verdict turns into another: what is said as more and more is planted, and how sure."""
    from fullrank.spectrum.diagnosis import diagnose_features

    found, cells = [], []
    for name, (what, space, amounts) in SWEEPS.items():
        for amount in amounts:
            said = []
            for draw in range(draws):
                x, record = swept(name, amount, draw)
                one = diagnose_features({space: x}, record=record, resamples=RESAMPLES)
                said.append((one.verdict, one.confidence or 0.0))
            kinds = [kind for kind, _ in said]
            counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
            confidence = float(np.mean([sure for _, sure in said]))
            found.append({"sweep": name, "amount": amount, "verdicts": counts, "confidence": confidence})
            common = sorted(counts.items(), key=lambda pair: -pair[1])
            words = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in common)
            cells.append([what, f"{amount:g}", words, f"{confidence:.2f}"])
    note = (
        f"{draws} draws each of {SWEPT_N} rows of {SWEPT_D} dimensions; confidence: mean share of {RESAMPLES} resamples with "
        "the same verdict."
    )
    return {"header": ["planted", "amount", "verdicts", "confidence"], "rows": cells, "note": note}, found


def tune(rows: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """{space.threshold: how many are wrong now, at best, and between which values}, one threshold at a time."""
    from fullrank.spectrum.rules import kind_of
    from fullrank.spectrum.thresholds import THRESHOLDS

    found: dict[str, dict[str, Any]] = {}
    for space in ("representation", "embedding"):
        own = [row for row in rows if row.space == space]
        now = sum(row.found != row.kind for row in own)
        for name, values in TUNED.items():
            wrong = [
                sum(kind_of(space, row.evidence, replace(THRESHOLDS[space], **{name: float(v)})) != row.kind for row in own)
                for v in values
            ]
            best = [float(v) for v, count in zip(values, wrong, strict=True) if count == min(wrong)]
            used = getattr(THRESHOLDS[space], name)
            found[f"{space}.{name}"] = {
                "used": used,
                "wrong": now,
                "wrong_at_best": min(wrong),
                "best_from": best[0],
                "best_to": best[-1],
                "cases": len(own),
            }
    return found


def confusion(rows: Iterable[Judged]) -> dict[str, dict[str, int]]:
    """{what it is: {what was said: how many}}."""
    table = {kind: dict.fromkeys(KINDS, 0) for kind in KINDS}
    for row in rows:
        table[row.kind][row.found] = table[row.kind].get(row.found, 0) + 1
    return table


def confusion_table(rows: Sequence[Judged], note: str) -> dict[str, Any]:
    counts = confusion(rows)
    cells = []
    for kind in KINDS:
        total = sum(counts[kind].values())
        if total:
            share = f"{100 * counts[kind][kind] / total:.0f} %"
            cells.append([kind.replace("_", " "), *(counts[kind][other] or "" for other in KINDS), share])
    return {"header": ["it is", *(f"said {kind.replace('_', ' ')}" for kind in KINDS), "right"], "rows": cells, "note": note}


def right(rows: Sequence[Judged]) -> float:
    """Mean over kinds of the share that is right: a frequent kind counts no more than a rare one."""
    counts = confusion(rows)
    shares = [counts[kind][kind] / sum(counts[kind].values()) for kind in KINDS if sum(counts[kind].values())]
    return float(np.mean(shares))


def run_cases(methods: Sequence[str] | None = None, grid: bool = True) -> list[tuple[Any, str]]:
    """(case, what it should be called): methods as they are, without each guard, and the grid where VICReg is among them."""
    from fullrank.methods._method import Guard
    from fullrank.studies import what_prevents_collapse as study

    found = [
        (case, "healthy" if case.off is None or case.off.expect == "no collapse" else case.off.expect)
        for case in study.cases(methods)
    ]
    if not grid or (methods and "vicreg" not in methods):
        return found
    for variance in GRID_VARIANCE:
        for covariance in GRID_COVARIANCE:
            expect = "complete" if variance == 0.0 else "healthy" if variance >= 5.0 and covariance == 1.0 else ""
            off = Guard(
                off={"variance_weight": variance, "covariance_weight": covariance},
                expect="complete" if variance == 0.0 else "no collapse",
                source="the grid of variance and covariance weights",
            )
            found.append((study.Case(method="vicreg", guard=f"{GRID}{variance:g} {covariance:g}", off=off), expect))
    return found


Key = tuple[int, str]
"""(seed, name of the case's folder)"""


def home(folder: Path, seed: int, case: Any) -> Path:
    """Where a case's study lies: the grid has a world of its own."""
    return folder / f"seed{seed}" / ("grid" if case.guard.startswith(GRID) else "")


def how(case: Any, seed: int, tiny: bool) -> tuple[str, World]:
    """(target, world) of a case. The grid's runs must learn something to be told apart by, so they have the small world of
    `tiny` recipes; the others are the study's.
    """
    if tiny:
        return "tiny", World(seed=seed, num_train=32, num_test=24)
    if case.guard.startswith(GRID):
        return "tiny", WORLD.model_copy(update={"seed": seed})
    return "moving_digits", World(seed=seed, num_train=960, num_test=320)


def train_one(job: tuple[int, Any], *, folder: Path, steps: int, tiny: bool) -> tuple[Key, dict[str, Any]]:
    """One run, in a process of its own where there are several."""
    import torch

    from fullrank.studies import what_prevents_collapse as study

    torch.set_num_threads(1)
    seed, case = job
    target, world = how(case, seed, tiny)
    result = study.run(
        home(folder, seed, case),
        only=[case],
        steps=steps,
        seed=seed,
        tell=lambda _: print(f"seed {seed}: {case.folder}", flush=True),
        world=world,
        target=target,
    )
    return (seed, case.folder), result["rows"][0]


def train_missing(
    folder: Path,
    seeds: Sequence[int],
    cases: Sequence[Any],
    *,
    steps: int,
    jobs: int,
    max_minutes: float | None = None,
    tiny: bool = False,
) -> dict[Key, dict[str, Any]]:
    """The rows of all runs that are there in the end: those that were, and those begun within ``max_minutes``."""
    from fullrank.studies import what_prevents_collapse as study

    rows, todo = {}, []
    for seed in seeds:
        for case in cases:
            row = study.finished(case, home(folder, seed, case), steps=steps, seed=seed, target=how(case, seed, tiny)[0])
            if row is None:
                todo.append((seed, case))
            else:
                rows[seed, case.folder] = row
    print(f"{len(rows)} runs are there, {len(todo)} are missing", flush=True)
    one = partial(train_one, folder=folder, steps=steps, tiny=tiny)
    return rows | dict(in_parallel(one, todo, jobs, max_minutes))


def judge_runs(
    folder: Path, seeds: Sequence[int], cases: Sequence[tuple[Any, str]], rows: dict[Key, dict[str, Any]]
) -> tuple[list[Judged], list[dict[str, Any]]]:
    """Diagnose the embedding of every run's test videos; those that should be called something, and all as they came."""
    from fullrank.features.table import read_table
    from fullrank.spectrum.diagnosis import diagnose_features
    from fullrank.spectrum.rules import SEVERITY

    judged, listed = [], []
    for seed, (case, expect) in [(seed, pair) for seed in seeds for pair in cases if (seed, pair[0].folder) in rows]:
        row = rows[seed, case.folder]
        if row["verdict"] == "diverged":
            listed.append({"case": case.folder, "seed": seed, "expect": expect, "found": row["verdict"]})
            continue
        table = read_table(home(folder, seed, case) / case.folder / "features_test")
        space = "representation" if table.embedding is None else "embedding"
        features = table.representation if table.embedding is None else table.embedding
        said = diagnose_features(
            {space: features},
            record=table.record,
            start_seconds=table.start_seconds,
            healthy_std=table.manifest.get("healthy_std"),
            resamples=RESAMPLES,
        )
        found = max(row["verdict"], said.verdict, key=SEVERITY.index)  # the method's own signs may say more
        listed.append(
            {"case": case.folder, "seed": seed, "expect": expect, "found": found, "confidence": said.confidence}
            | {"sentence": said.sentence, "alarms": row["alarms"], "digit": row["digit_knn"], "motion": row["motion_knn"]}
        )
        if expect:
            judged.append(
                Judged(
                    kind=expect,
                    name=case.folder,
                    space=space,
                    seed=seed,
                    evidence=said.evidence[space],
                    found=found,
                    confidence=said.confidence,
                )
            )
    return judged, listed


def runs_note(num_judged: int, listed: Sequence[dict[str, Any]], num_wanted: int, steps: int) -> str:
    """What the runs are, and how many are not among them."""
    note = (
        f"{num_judged} trained runs of {steps} steps on the embedded world, of seeds that no threshold was tuned on; "
        "the embedding of the test videos. It is: what the source of the guard says."
    )
    diverged = sum(row["found"] == "diverged" for row in listed)
    if diverged:
        note += f" {diverged} others diverged."
    if num_wanted > len(listed):
        note += f" {num_wanted - len(listed)} of {num_wanted} runs are missing: the time was over."
    return note


def add_runs(result: dict[str, Any], args: argparse.Namespace, tuning: Sequence[Judged]) -> None:
    """The trained runs of the test seeds as a table and a goal, and the tuning with those of the training seeds."""
    cases = run_cases(args.methods, args.grid)[: args.limit]
    rows = train_missing(
        args.runs,
        [*args.run_seeds, *args.tuning_run_seeds],
        [case for case, _ in cases],
        steps=args.steps,
        jobs=args.jobs,
        max_minutes=args.max_minutes,
        tiny=args.tiny,
    )
    judged, listed = judge_runs(args.runs, args.run_seeds, cases, rows)
    tuning_runs, _ = judge_runs(args.runs, args.tuning_run_seeds, cases, rows)
    result["runs"] = listed
    result["tuning_with_runs"] = tune([*tuning, *tuning_runs])
    note = runs_note(len(judged), listed, len(cases) * len(args.run_seeds), args.steps)
    if not judged:
        print(f"no table of runs: {note}")
        return
    result["tables"]["diagnosis-runs"] = confusion_table(judged, note)
    result["summary"].append(goal("trained runs as their sources say, mean over kinds,", 100 * right(judged), unit=" %"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--runs", type=Path, help="folder of the runs; what is missing there is trained")
    parser.add_argument("--train-seeds", type=int, nargs="+", default=list(TRAIN_SEEDS))
    parser.add_argument("--test-seeds", type=int, nargs="+", default=list(TEST_SEEDS))
    parser.add_argument("--run-seeds", type=int, nargs="+", help="test seeds of the runs, where not --test-seeds")
    parser.add_argument("--tuning-run-seeds", type=int, nargs="+", help="the same of --train-seeds")
    parser.add_argument("--steps", type=int, default=STEPS, help="of a run")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread")
    parser.add_argument("--max-minutes", type=float, help="begin no run after so many, and judge what is there")
    parser.add_argument("--methods", nargs="+", help="runs of these only")
    parser.add_argument("--no-grid", dest="grid", action="store_false", help="without the grid of VICReg's weights")
    parser.add_argument("--limit", type=int, help="only the first so many runs of a seed, to see that it works")
    parser.add_argument("--tune", action="store_true", help="print the tuning of the thresholds")
    parser.add_argument("--tiny", action="store_true", help="one seed each, two runs of three steps, to see that it runs")
    args = parser.parse_args()
    if args.tiny:
        args.train_seeds, args.test_seeds = args.train_seeds[:1], args.test_seeds[:1]
        args.steps, args.limit = 3, 2
    args.run_seeds, args.tuning_run_seeds = args.run_seeds or args.test_seeds, args.tuning_run_seeds or args.train_seeds
    if set(args.train_seeds) & {*args.test_seeds, *args.run_seeds} or set(args.tuning_run_seeds) & set(args.run_seeds):
        parser.error("--train-seeds and --test-seeds must have no seed in common, nor those of runs.")
    tuning = [row for seed in args.train_seeds for row in planted(seed, 0)]
    tuned = tune(tuning)
    if args.tune:
        for name, row in tuned.items():
            print(name, json.dumps(row))
        for row in tuning:
            if row.found != row.kind:
                print(row.kind, row.name, row.seed, "->", row.found, json.dumps(row.evidence, default=float))
    test = [row for seed in args.test_seeds for row in planted(seed, 0)]
    note = (
        f"{len(test)} planted cases (`benchmarks/_population.py`) of seeds that no threshold was tuned on; {len(tuning)} "
        f"others were. Empty: none."
    )
    swept_table, swept_rows = sweep(1 if args.tiny else SWEPT)
    share = right(test)
    result: dict[str, Any] = {
        **origin("diagnosis.py"),
        "seeds": args.test_seeds,
        "summary": [goal("planted cases right, mean over kinds,", 100 * share, at_least=100 * WANTED, unit=" %")],
        "tables": {"diagnosis": confusion_table(test, note), "diagnosis-sweep": swept_table},
        "sweep": swept_rows,
        "tuning": tuned,
        "tuning_seeds": args.train_seeds,
        "wrong": [
            {"kind": r.kind, "name": r.name, "seed": r.seed, "found": r.found, "evidence": r.evidence}
            for r in test
            if r.found != r.kind
        ],
    }
    if args.runs is not None:
        add_runs(result, args, tuning)
    write(args.out, result)


if __name__ == "__main__":
    main()
