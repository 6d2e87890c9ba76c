"""Student and teacher side by side: what their features know, and whether they collapsed. Both come from the same run."""

from dataclasses import replace

from fullrank.report import tables
from fullrank.report.markup import Html, section, table
from fullrank.report.run_folder import Run
from fullrank.report.verdict import SPACES, Verdict, judge

NOTE = "The networks of one run on the same records; the paper evaluates the first."
AVERAGE = " The teacher is a running average of the student's weights over steps (Polyak averaging)."
MEASURES = (("effective_rank", "effective rank"), ("rankme", "RankMe"), ("mean_cosine", "mean cosine"))


def verdicts(run: Run) -> list[tuple[str, Verdict]]:
    """(branch, verdict) of the run's other branches."""
    return [(name, replace(judge(replace(run, table=features)), remarks=())) for name, features in run.branches.items()]


def side_by_side(run: Run, verdict: Verdict, level: int = 2) -> Html:
    """One row a branch: verdict, accuracies, ranks; nothing where the run has a single one."""
    if run.table is None or not run.branches:
        return Html("")
    known = {space: run.evaluation[space] for space in SPACES if space in run.evaluation}
    found = [(str(run.table.manifest.get("encoded", "student")), verdict, dict(tables.accuracies(known)))]
    found += [(name, other, dict(tables.accuracies(run.evaluation.get(name, {})))) for name, other in verdicts(run)]
    accuracies = list(dict.fromkeys(name for *_, scores in found for name in scores))
    measures = [(space, key, f"{label}, {space}") for key, label in MEASURES for space in SPACES]
    rows: list[list[object]] = [
        [
            name,
            Html(f'<span class="{one.level}">{one.word}</span>'),
            *(tables.share(scores[a]["top1"]) if a in scores else "-" for a in accuracies),
            *(one.of(space, key) for space, key, _ in measures),
        ]
        for name, one, scores in found
    ]
    header = ["branch", "verdict", *accuracies, *(label for *_, label in measures)]
    kept = [i for i in range(len(header)) if any(row[i] != "-" for row in rows)]
    averaged = {name for name, *_ in found} == {"student", "teacher"}
    heading = "Student and teacher" if averaged else "Branches"
    shown = table([header[i] for i in kept], [[row[i] for i in kept] for row in rows], heading)
    return section(heading, shown, note=NOTE + AVERAGE * averaged, level=level)
