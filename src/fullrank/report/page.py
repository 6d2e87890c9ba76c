"""From runs to one self-contained HTML page: nothing is loaded from anywhere, and no script runs.

Enters: run folders (files only). Leaves: the page. Its parts: verdict.py, timeline.py, spectra.py, neighbours.py, tables.py.
"""

import os
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from fullrank.errors import SettingError, StorageError
from fullrank.report import branches, tables, timeline
from fullrank.report.markup import Html, join, section, sentence, table, text
from fullrank.report.neighbours import gallery, thumbnails
from fullrank.report.run_folder import Run, read_runs
from fullrank.report.spectra import NOTE, figure
from fullrank.report.verdict import SPACES, Verdict, judge, numbers_table, verdict_box

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""the browser itself refuses anything from outside"""
THUMBNAIL_PIXELS = 96
SEVERAL_THUMBNAIL_PIXELS = 64
"""side of a thumbnail on a page of several runs, so that the page stays small enough to send"""


def report(runs: Sequence[str | Path], out: str | Path, *, title: str | None = None, command: str | None = None) -> Path:
    """Write the page of one run, or of a comparison of several, to ``out`` and return its path.

    Reads only files: run folders of `fullrank train`, and folders of feature tables. A missing file becomes a sentence on the
    page; a damaged one is a ``CheckpointError``, as is a folder that is neither. ``command`` is printed at the end of the page.
    The page appears whole or not at all.
    """
    return report_with_verdicts(runs, out, title=title, command=command)[0]


def report_with_verdicts(
    runs: Sequence[str | Path], out: str | Path, *, title: str | None = None, command: str | None = None
) -> tuple[Path, list[tuple[str, Verdict]]]:
    """``report``, and what its page says of each run, and of its other branches: (name, verdict)."""
    if not runs:
        raise SettingError("a report must be about at least one run. Got none; give run folders.")
    found = read_runs([Path(run) for run in runs])
    verdicts = [judge(run) for run in found]
    body = _one(found[0], verdicts[0]) if len(found) == 1 else _several(found, verdicts)
    page = _write(Path(out), _document(body, _title(found, title), command))
    said = []
    for run, verdict in zip(found, verdicts, strict=True):
        said += [(run.name, verdict)] + [(f"{run.name}, {name}", other) for name, other in branches.verdicts(run)]
    return page, said


def _title(runs: Sequence[Run], title: str | None) -> str:
    if title is not None:
        return title
    return f"{runs[0].name}: {runs[0].method}" if len(runs) == 1 else f"Comparison of {len(runs)} runs"


def _one(run: Run, verdict: Verdict) -> Html:
    """Everything about one run, the verdict first."""
    return join([_subtitle(run), verdict_box(verdict), _details(run, verdict, level=2, with_figure=True)])


def _subtitle(run: Run) -> Html:
    words = [str(run.config[key]) for key in ("recipe",) if run.config.get(key)]
    words += [f"{run.steps:,} steps"] if run.steps is not None else []
    words += [str(run.path)]
    return Html(f'<p class="meta">{text(" · ".join(words))}</p>')


def _details(run: Run, verdict: Verdict, level: int, with_figure: bool) -> Html:
    several = not with_figure
    return join(
        [
            section("The numbers that decide", numbers_table(verdict), note=verdict.read_from, level=level),
            branches.side_by_side(run, verdict, level),
            timeline.losses(run, level) if run.metrics or not run.table else Html(""),
            timeline.ranks(run, level) if run.metrics or run.spectrum else Html(""),
            timeline.spread(run, level),
            section("Spectra", figure([(run.name, verdict.spectra)]), note=NOTE, level=level) if with_figure else Html(""),
            _neighbours(run, level, several),
            tables.accuracy(run, level),
            tables.course(run, level),
            tables.background(run, level),
        ]
    )


def _neighbours(run: Run, level: int, several: bool) -> Html:
    heading = "Nearest neighbours"
    if run.table is None or run.features is None:
        said = (
            "This run has no feature table (folder features/), so there is nothing to compare. `fullrank extract` writes one."
        )
        return section(heading, sentence(said, "missing"), level=level)
    pictures, problem = thumbnails(run.features, len(run.table.record))
    if pictures is None:
        return section(heading, sentence(problem, "missing"), level=level)
    side = SEVERAL_THUMBNAIL_PIXELS if several else THUMBNAIL_PIXELS
    return section(heading, gallery(run.table, pictures, max_pixels=side), level=level)


def _several(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> Html:
    """A comparison: one table, overlaid charts, one figure of all; each run's own page folded below."""
    header, rows = _comparison(runs, verdicts)
    boxes = [
        Html(f'<li class="{v.level}"><b>{text(run.name)}</b>: {_word(v)}. {text(v.sentence)}</li>')
        for run, v in zip(runs, verdicts, strict=True)
    ]
    own = [
        Html(f'<details class="run"><summary>{text(run.name)}</summary>{_inner(run, v)}</details>')
        for run, v in zip(runs, verdicts, strict=True)
    ]
    return join(
        [
            Html(f'<ul class="verdicts">{join(boxes)}</ul>'),
            section("Side by side", table(header, rows, "All runs")),
            section("Over time", timeline.overlay(runs)),
            section("Spectra", figure([(run.name, v.spectra) for run, v in zip(runs, verdicts, strict=True)]), note=NOTE),
            section("Each run", *own),
        ]
    )


def _word(verdict: Verdict) -> Html:
    return Html(f'<span class="word">{text(verdict.word)}</span>')


def _inner(run: Run, verdict: Verdict) -> Html:
    return join([_subtitle(run), verdict_box(verdict), _details(run, verdict, level=3, with_figure=False)])


def _comparison(runs: Sequence[Run], verdicts: Sequence[Verdict]) -> tuple[list[str], list[list[object]]]:
    """One row a run; a column that no run fills is left out."""
    scores = [dict(tables.accuracies(run.evaluation)) for run in runs]
    columns: dict[str, list[object]] = {
        "run": [run.name for run in runs],
        "method": [run.method for run in runs],
        "verdict": [Html(f'<span class="{v.level}">{_word(v)}</span>') for v in verdicts],
    }
    for name in dict.fromkeys(name for score in scores for name in score):
        columns[name] = [tables.share(score[name]["top1"]) if name in score else "-" for score in scores]
    for key, label in (("effective_rank", "effective rank"), ("rankme", "RankMe"), ("mean_cosine", "mean cosine")):
        for space in SPACES:
            columns[f"{label}, {space}"] = [verdict.of(space, key) for verdict in verdicts]
    for space in SPACES:
        pairs = [(verdict.of(space, "n"), verdict.of(space, "d")) for verdict in verdicts]
        columns[f"n, d of the {space}"] = ["-" if n == "-" else f"{text(n)}, {text(d)}" for n, d in pairs]
    columns["steps"] = ["-" if run.steps is None else run.steps for run in runs]
    columns["last loss"] = [_last_loss(run) for run in runs]
    kept = [name for name, values in columns.items() if any(value != "-" for value in values)]
    return kept, [[columns[name][i] for name in kept] for i in range(len(runs))]


def _last_loss(run: Run) -> object:
    losses = run.summary.get("losses") or (run.metrics[-1].get("losses") if run.metrics else None)
    return float(sum(losses.values())) if losses else "-"


def _document(body: Html, title: str, command: str | None) -> str:
    from fullrank import __version__

    style = files("fullrank.report").joinpath("style.css").read_text(encoding="utf-8")
    made = f"<p>This page was made by</p><pre><code>{text(command)}</code></pre>" if command else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{text(title)}</title>\n<link rel="icon" href="data:,">\n<style>\n{style}</style>\n</head>\n<body>\n'
        f"<main>\n<h1>{text(title)}</h1>\n{body}\n</main>\n"
        f'<footer class="note">{made}<p>fullrank {text(__version__)}. '
        "This page is complete in itself: it loads nothing.</p></footer>\n"
        "</body>\n</html>\n"
    )


def _write(out: Path, page: str) -> Path:
    temporary = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(page, encoding="utf-8")
        os.replace(temporary, out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = error.strerror or str(error)
        raise StorageError(f"writing {out} failed: {reason}. An older page is intact; choose another --out.") from error
    return out
