"""Tables of a run: numbers of both spaces, accuracies, speed, skipped files, settings, environment."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fullrank.report.markup import Html, duration, flat, folded, join, number, section, sentence, table
from fullrank.report.neighbours import MOST_VOTES
from fullrank.report.run_folder import Run

MAX_SKIPPED = 200
VOTES = (
    f"kNN leave-one-out: the k nearest other records vote on each record's class. k is {MOST_VOTES}, or one less than the "
    "smallest class (of two records or more) has where that is fewer: with more, other classes would outvote the record's."
)


def accuracies(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(name, result) of every result in an evaluation.json, however deep: a result is what has "top1".

    >>> list(accuracies({"knn": {"digit": {"top1": 0.5}}}))
    [('knn digit', {'top1': 0.5})]
    """
    for key, value in evaluation.items():
        if isinstance(value, Mapping):
            if "top1" in value:
                yield key, value
            else:
                yield from ((f"{key} {name}", result) for name, result in accuracies(value))


def problems(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, why) of every accuracy in an evaluation.json that could not be measured.

    >>> list(problems({"knn": {"digit": {"problem": "too few records"}, "shape": {"top1": 0.5}}}))
    [('knn digit', 'too few records')]
    """
    for key, value in evaluation.items():
        if isinstance(value, Mapping):
            if "problem" in value:
                yield key, str(value["problem"])
            else:
                yield from ((f"{key} {name}", why) for name, why in problems(value))


def share(value: object) -> str:
    """A share as a percentage with one digit.

    >>> share(0.12345).split(), share(None)
    (['12.3', '%'], '-')
    """
    return f"{100 * value:.1f}\u00a0%" if isinstance(value, int | float) else "-"


def _between(value: object) -> str:
    if isinstance(value, Sequence) and len(value) == 2 and all(isinstance(v, int | float) for v in value):
        return f"{100 * value[0]:.1f} to {100 * value[1]:.1f}"
    return "-"


def accuracy(run: Run, level: int = 2) -> Html:
    """What kNN and linear probes answered, where evaluation.json holds it."""
    rows = [
        [
            name,
            share(result["top1"]),
            _between(result.get("interval")),
            share(result.get("top5")),
            share(result.get("chance")),
            result.get("k", "-"),
            result.get("n", "-"),
            result.get("n_train", "-"),
        ]
        for name, result in accuracies(run.evaluation)
    ]
    missing = [sentence(f"{name}: {why}.", "missing") for name, why in problems(run.evaluation)]
    if not rows and missing:
        return section("Accuracy", *missing, level=level)
    if not rows:
        said = "No accuracy was measured: without labels there is none, with labels `fullrank evaluate` gives it."
        return section("Accuracy", sentence(said, "missing"), level=level)
    header = [
        "of frozen features",
        "top-1",
        "95 % interval",
        "top-5",
        "commonest class",
        "k",
        "test records",
        "training records",
    ]
    note = "Intervals are Wilson's: they hold the sampling of the test records, not the seed of the training."
    note += f" {VOTES}" if any("leave-one-out" in row[0] for row in rows) else ""
    return section("Accuracy", table(header, rows, "Accuracy of frozen features"), *missing, note=note, level=level)


def course(run: Run, level: int = 2) -> Html:
    """Length, speed, and the files that could not be read."""
    summary = run.summary
    rows: list[tuple[str, object]] = []
    if run.steps is not None:
        total = summary.get("total_steps")
        rows.append(("steps", f"{run.steps:,}" + (f" of {total:,}" if total and total != run.steps else "")))
    if "epochs" in summary:
        rows.append(("passes over the data (epochs)", number(float(summary["epochs"]))))
    if "seconds" in summary:
        rows.append(("training time", duration(float(summary["seconds"]))))
    if "clips_per_second" in summary:
        rows.append(("clips per second", number(float(summary["clips_per_second"]))))
    for key, label in (
        ("data_wait_ratio", "time spent waiting for data"),
        ("monitor_share", "time spent by the collapse monitor"),
    ):
        if key in summary:
            rows.append((label, share(summary[key])))
    parts = [table(["what", "value"], rows, "Course of the run")] if rows else []
    if run.metrics and not run.finished:
        parts.insert(
            0, sentence(f"This run did not end by itself: its last logged step is {run.metrics[-1]['step']:,}.", "missing")
        )
    elif summary.get("stopped"):
        parts.insert(0, sentence(f"The run ended before its time: {summary['stopped']}"))
    parts.append(_skipped(run))
    return section("Course of the run", *parts, level=level)


def _skipped(run: Run) -> Html:
    """Training and the making of features meet different files: each says how many it could not read."""
    from_table = run.table.manifest.get("skipped", []) if run.table is not None else []
    when: dict[tuple[str, str], list[str]] = {}
    for name, lines in (("training", run.skipped), ("features", from_table)):
        for key in dict.fromkeys((str(line.get("record")), str(line.get("reason"))) for line in lines):
            when.setdefault(key, []).append(name)
    if not when:
        return sentence("Every file that was asked for could be read.") if run.metrics or run.table is not None else Html("")
    training, features = (
        len({record for (record, _), names in when.items() if name in names}) for name in ("training", "features")
    )
    said = []
    if training:
        took = "another took its place" if training == 1 else "others took their place"
        said.append(f"{_files(training)} could not be read while training; {took}.")
    if features:
        said.append(f"{_files(features)} could not be read when features were made, and {_were(features)} left out.")
    rows = [(record, reason, ", ".join(names)) for (record, reason), names in when.items()]
    shown = table(["file", "reason", "when"], rows[:MAX_SKIPPED], "Files that could not be read")
    more = (
        sentence(f"The first {MAX_SKIPPED} are shown; skipped.jsonl and the manifest of the features have all.")
        if len(rows) > MAX_SKIPPED
        else Html("")
    )
    return join([sentence(" ".join(said)), folded("Which files, and why", wide(shown), more, open_=len(rows) <= 5)])


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def background(run: Run, level: int = 2) -> Html:
    """Settings, environment, the command, and where the features come from; folded."""
    parts = []
    command = run.config.get("command")
    if command:
        parts.append(Html(f"<p>This run was made by</p><pre><code>{html.escape(str(command))}</code></pre>"))
    head = {key: run.config[key] for key in ("fullrank", "recipe", "method", "hash") if key in run.config}
    settings = run.config.get("settings")
    if isinstance(settings, Mapping):
        parts.append(folded("Settings", wide(table(["setting", "value"], flat(head | dict(settings)), "Settings"))))
    else:
        parts.append(sentence("This folder has no config.json, so its settings are unknown.", "missing"))
    if run.environment:
        parts.append(folded("Environment", wide(table(["what", "value"], flat(run.environment), "Environment"))))
    if run.table is not None:
        hidden = {"record_ids", "classes", "skipped"}
        manifest = {key: value for key, value in run.table.manifest.items() if key not in hidden}
        parts.append(folded("Features", wide(table(["what", "value"], flat(manifest), "Manifest of the feature table"))))
    return section("How it was made", *parts, level=level)


def wide(made: Html) -> Html:
    """A table of long texts: cells break lines."""
    return Html(made.replace('class="scroll"', 'class="scroll wide"', 1))
