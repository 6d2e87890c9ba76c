"""Do the live alarms name every collapse of the study in time, and nothing else?

    python benchmarks/study.py --seed 1 --steps 300 --work runs/study-1 --out STUDY.json
    python benchmarks/alarms.py --runs runs/study-1 runs/study-2 --replay --out FILE.json

Judges the finished cases in folders that `fullrank study what_prevents_collapse` wrote. Nothing is trained. The alarms are
those of events.jsonl, or with --replay what today's thresholds say of the recorded readings.

Collapsed: the verdict on test videos is complete, dimensional or cluster; a mean shift is none. False: any alarm in a run that
did not collapse; one that was withdrawn later is counted apart. Caught: an alarm that stands as a collapsed run ends. Visible:
the step from which on to the end each training reading of one sort (scale, spectrum, clusters, the method's own metrics) is
beyond the verdict's thresholds. In time: the alarm comes at most 100 steps, or 5 % of the run where that is more, after that
step; where no reading shows the collapse to the end, any alarm that stands is. A run that was cut short is left out, and named.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _replay import CLUSTER, replay, told
from _result import goal, origin, write

from fullrank.checkpoint.encoder import read_config
from fullrank.engine.observers import read_lines
from fullrank.methods._method import load_method
from fullrank.spectrum.alarms import by_metrics, cheap_complete
from fullrank.spectrum.rules import space_of
from fullrank.spectrum.thresholds import ALARMS, THRESHOLDS
from fullrank.studies import what_prevents_collapse as study

WITHIN_STEPS, WITHIN_SHARE = 100, 0.05
HEADER = ("run", "runs", "a lasting alarm", "only withdrawn ones", "in time", "late", "missed")
MISSED_HEADER = ("method, guard", "seed", "what", "found", "alarms, by the step", "what training shows")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One run, and what its alarms said."""

    method: str
    guard: str
    seed: int
    steps: int
    verdict: str
    alarms: list[dict[str, Any]]
    """in the order in which they were raised, with the step of their withdrawal"""
    visible: int | None
    """the step from which on training readings show a collapse to the end"""
    shows: str
    """the lowest readings of the run, in words"""

    @property
    def collapsed(self) -> bool:
        return study.collapsed({"verdict": self.verdict})

    @property
    def kind(self) -> str:
        """The row of the table that counts it."""
        end = "diverged" if self.verdict == "diverged" else "collapsed" if self.collapsed else "not collapsed"
        return f"{end}, {'as it is' if self.guard == study.AS_IS else 'without a guard'}"

    @property
    def lasting(self) -> list[dict[str, Any]]:
        return study.lasting({"alarms": self.alarms})

    @property
    def said(self) -> str | None:
        """What became of a run that ought to have an alarm ("in time", "late", "missed"), else "false", "withdrawn" or None."""
        if not self.collapsed and self.verdict != "diverged":
            return "false" if self.lasting else "withdrawn" if self.alarms else None
        if not self.lasting:
            return "missed"
        within = max(WITHIN_STEPS, WITHIN_SHARE * self.steps)
        late = self.visible is not None and self.lasting[0]["step"] > self.visible + within
        return "late" if late else "in time"


def judge(folder: Path, *, again: bool) -> Judged | None:
    """The run in ``folder``; None where it was cut short. ``again``: by today's thresholds."""
    row = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    total = row["of"]["steps"]
    if summary["steps"] < total and row["verdict"] != "diverged":
        return None
    events = read_lines(folder / "events.jsonl")
    seen = readings(folder, events)
    first = [step for flags in seen.values() if (step := since(flags)) is not None]
    return Judged(
        method=row["method"],
        guard=row["guard"],
        seed=row["of"]["seed"],
        steps=total,
        verdict=row["verdict"],
        alarms=study.alarms_of(replay(folder) if again else events),
        visible=min(first, default=None),
        shows=lowest(folder),
    )


def readings(folder: Path, events: list[dict[str, Any]]) -> dict[str, list[tuple[int, bool]]]:
    """{what was read: [(step, whether it is beyond the verdict's thresholds)]} of a run."""
    config, record = read_config(folder)
    signs = load_method(record["method"]).signs(config.method)
    healthy_std = getattr(config.method, "target_std", None)
    metrics = {row["step"]: row["metrics"] for row in read_lines(folder / "metrics.jsonl")}
    clusters = told(events, CLUSTER)
    found: dict[str, list[tuple[int, bool]]] = {}
    for line in read_lines(folder / "spectrum.jsonl"):
        step = line["step"]
        for space, numbers in line["spaces"].items():
            if space_of(space) not in THRESHOLDS:
                continue
            if line["kind"] == "cheap":
                said = cheap_complete(numbers, space, healthy_std=healthy_std, lasting=True)
                found.setdefault(f"{space} scale", []).append((step, said is not None))
                continue
            points = any(name == space and first <= step < end for name, first, end, _ in clusters)
            found.setdefault(f"{space} clusters", []).append((step, points))
            if space_of(space) == "embedding":
                low = share(numbers) < THRESHOLDS["embedding"].low_rank_ratio
                found.setdefault(f"{space} spectrum", []).append((step, low))
        if signs and line["kind"] == "cheap" and step in metrics:
            found.setdefault("metrics", []).append((step, by_metrics(signs, metrics[step]) is not None))
    return found


def since(flags: Sequence[tuple[int, bool]]) -> int | None:
    """The first step of the readings that hold to the end.

    >>> since([(10, True), (20, False), (30, True), (40, True)])
    30
    """
    first = None
    for step, holds in reversed(flags):
        if not holds:
            break
        first = step
    return first


def share(numbers: dict[str, Any]) -> float:
    """Effective rank / what it can be at most."""
    return float(numbers["effective_rank"]) / min(numbers["n"] - 1, numbers["d"])


def lowest(folder: Path) -> str:
    """The lowest rank and spread of an embedding that a run shows once it is settled, with their steps."""
    ranks, spreads = [], []
    total = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["total_steps"]
    for line in read_lines(folder / "spectrum.jsonl"):
        if line["step"] < max(ALARMS.settled_steps, ALARMS.settled_share * total):
            continue
        for space, numbers in line["spaces"].items():
            if space_of(space) == "embedding" and line["kind"] == "full":
                ranks.append((share(numbers), line["step"]))
            elif space_of(space) == "embedding":
                spreads.append((numbers["d"] ** 0.5 * numbers["normalized_std"], line["step"]))
    words = []
    if ranks:
        words.append(f"rank / bound at least {min(ranks)[0]:.3f} (step {min(ranks)[1]}) in {len(ranks)} spectra")
    if spreads:
        words.append(f"spread at least {min(spreads)[0]:.2f} (step {min(spreads)[1]})")
    return "; ".join(words) or "nothing was read after the start"


def tables(runs: Sequence[Judged], *, short: Sequence[str], again: bool) -> dict[str, Any]:
    kinds = [f"{end}, {of}" for end in ("not collapsed", "collapsed", "diverged") for of in ("as it is", "without a guard")]
    rows: list[list[Any]] = []
    for kind in kinds:
        of = [run for run in runs if run.kind == kind]
        if not of and kind.startswith("diverged"):
            continue
        counts: list[Any] = [sum(run.said == said for run in of) for said in ("in time", "late", "missed")]
        lasting, withdrawn = sum(bool(run.lasting) for run in of), sum(bool(run.alarms) and not run.lasting for run in of)
        rows.append([kind, len(of), lasting, withdrawn, *(["-"] * 3 if kind.startswith("not") else counts)])
    note = (
        f"Alarms {'of the recorded readings by the thresholds of this commit' if again else 'as the runs raised them'}. "
        "Collapsed: by the verdict on test videos; a mean shift is none. In time: an alarm that stands at the end came at most "
        f"{WITHIN_STEPS} steps, or {100 * WITHIN_SHARE:g} % of the run, whichever is more, after the step from which on each "
        "training reading of one sort shows the collapse. Whatever is alarmed in a run that did not collapse is false."
    )
    if short:
        note += f" Left out, for they were cut short: {', '.join(short)}."
    return {
        "alarms": {"header": HEADER, "rows": rows, "note": note},
        "alarms-missed": {
            "header": MISSED_HEADER,
            "rows": [in_words(run) for run in runs if run.said not in (None, "in time")],
            "note": "Every run of the table above whose alarm was false, withdrawn, late or missing.",
        },
    }


def in_words(run: Judged) -> list[Any]:
    raised = [
        f"{alarm['name']} {alarm['step']}" + (f" to {alarm['recovered_step']}" if alarm["recovered_step"] is not None else "")
        for alarm in run.alarms
    ]
    shows = f"{'no lasting sign' if run.visible is None else f'visible from step {run.visible}'}; {run.shows}"
    found = run.verdict.replace("_", " ")
    return [f"{run.method}, {run.guard}", str(run.seed), run.said, found, ", ".join(raised) or "-", shows]


def goals(runs: Sequence[Judged]) -> list[dict[str, Any]]:
    seeds = {run.seed for run in runs}
    false = max((sum(run.seed == seed and run.said in ("false", "withdrawn") for run in runs) for seed in seeds), default=0)
    removed = [run for run in runs if run.collapsed and run.guard != study.AS_IS]
    return [
        goal("false alarms, most of a seed", false, at_most=1, unit=""),
        goal("collapses without a guard", len(removed), unit=""),
        goal("... missed", sum(run.said == "missed" for run in removed), at_most=0, unit=""),
        goal("... late", sum(run.said == "late" for run in removed), at_most=0, unit=""),
    ]


def collect(folders: Iterable[Path], *, again: bool) -> tuple[list[Judged], list[str]]:
    """(all finished runs in ``folders``, the names of those that were cut short)."""
    runs: list[Judged] = []
    short: list[str] = []
    for folder in folders:
        for file in sorted(folder.glob("*/case.json")):
            if (run := judge(file.parent, again=again)) is None:
                seed = json.loads(file.read_text(encoding="utf-8"))["of"]["seed"]
                short.append(f"{file.parent.name.replace('-', ', ', 1).replace('_', ' ')} (seed {seed})")
            else:
                runs.append(run)
    return runs, short


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True, help="folders of studies, a seed each")
    parser.add_argument("--replay", action="store_true", help="judge the recorded readings by today's thresholds")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    begin = time.perf_counter()
    runs, short = collect(args.runs, again=args.replay)
    if not runs:
        sys.exit(
            f"--runs must hold finished cases of the study. Got none in {', '.join(map(str, args.runs))}; run study.py first."
        )
    write(
        args.out,
        {
            **origin("alarms.py"),
            "seeds": sorted({run.seed for run in runs}),
            "seconds": time.perf_counter() - begin,
            "summary": goals(runs),
            "tables": tables(runs, short=short, again=args.replay),
            "results": [vars(run) | {"said": run.said} for run in runs],
        },
    )


if __name__ == "__main__":
    main()
