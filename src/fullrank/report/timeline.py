"""Charts of what happened over the steps: loss terms, ranks, spread, with the alarms marked."""

from collections.abc import Sequence
from math import nan, sqrt

from fullrank.report.charts import Mark, Point, Series, legend, line_chart
from fullrank.report.markup import Html, folded, join, section, sentence
from fullrank.report.run_folder import Line, Run

SPACES = ("representation", "embedding")
RANKS = {"effective_rank": "effective rank", "rankme": "RankMe"}
SPREADS = {
    "spread": "normalised std x sqrt(d)",
    "mean_cosine": "mean cosine",
    "std": "std, as it is",
}


def alarms(run: Run) -> list[Mark]:
    """Steps at which the monitor raised an alarm, with its sentence."""
    found = [event for event in run.events if event.get("event") == "collapse"]
    return [Mark(x=float(event["step"]), label=_alarm_sentence(event)) for event in found]


def _alarm_sentence(event: Line) -> str:
    kind, space = event.get("kind", "unknown"), event.get("space", "features")
    return str(event.get("sentence") or f"{kind} collapse of the {space}")


def loss_points(run: Run, term: str | None = None) -> list[Point]:
    """(step, value) of one loss term, or of the loss. A step without it is a gap."""
    if term is None:
        return [(float(line["step"]), _number(line.get("loss"))) for line in run.metrics]
    return [(float(line["step"]), _number(line.get("losses", {}).get(term))) for line in run.metrics]


def space_points(run: Run, space: str, measure: str) -> list[Point]:
    """(step, value) of a measure of a space. Spread is read from the frequent measurements where there are any.

    A frequent ("cheap") measurement sees one batch and a full one the last thousands of rows, so they are not mixed.
    """
    lines = [line for line in run.spectrum if measure in RANKS or line.get("kind") == "cheap"] or run.spectrum
    points = []
    for line in lines:
        values = line.get("spaces", {}).get(space, {})
        if measure == "spread" and "normalized_std" in values and "d" in values:
            points.append((float(line["step"]), _number(values["normalized_std"]) * sqrt(values["d"])))
        elif measure in values:
            points.append((float(line["step"]), _number(values[measure])))
    return points


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else nan


def terms_of(run: Run) -> list[str]:
    """Names of the loss terms, in the order in which they first appear."""
    return list(dict.fromkeys(term for line in run.metrics for term in line.get("losses", {})))


def losses(run: Run, level: int = 2) -> Html:
    """One chart a term, the sum, and what else the method logged."""
    if not run.metrics:
        return section(
            "Loss", sentence("This folder has no metrics.jsonl, so there is no training to draw.", "missing"), level=level
        )
    terms, marks = terms_of(run), alarms(run)
    charts = [_losses_chart(run, term, marks) for term in terms]
    if len(terms) != 1:
        charts.insert(
            0, line_chart([Series(label="loss", points=loss_points(run))], title="loss (sum of its terms)", marks=marks)
        )
    note = "Each term as it enters the loss, already weighted. A red line is an alarm of the collapse monitor."
    return section("Loss terms", _grid(charts), _more(run, marks), note=note, level=level)


def _losses_chart(run: Run, term: str, marks: Sequence[Mark]) -> Html:
    return line_chart([Series(label=term, points=loss_points(run, term))], title=term, marks=marks)


def _more(run: Run, marks: Sequence[Mark]) -> Html:
    names = list(dict.fromkeys(name for line in run.metrics for name in line.get("metrics", {})))
    charts = []
    for name in names:
        points = [(float(line["step"]), _number(line.get("metrics", {}).get(name))) for line in run.metrics]
        charts.append(line_chart([Series(label=name, points=points)], title=name, marks=marks))
    for name, title in (
        ("learning_rate", "learning rate"),
        ("grad_norm", "norm of the gradient, before clipping"),
        ("clips_per_second", "clips per second"),
        ("data_wait_ratio", "share of the step spent waiting for data"),
    ):
        points = [(float(line["step"]), _number(line[name])) for line in run.metrics if name in line]
        if points:
            charts.append(
                line_chart([Series(label=title, points=points)], title=title, floor=None if name == "grad_norm" else 0.0)
            )
    return folded("More: the method's own numbers, learning rate, gradient, speed", _grid(charts)) if charts else Html("")


def ranks(run: Run, level: int = 2) -> Html:
    """Effective rank and RankMe of both spaces over the steps."""
    charts = []
    for space in SPACES:
        series = [
            Series(label=label, points=space_points(run, space, m), colour=i) for i, (m, label) in enumerate(RANKS.items())
        ]
        if any(one.points for one in series):
            charts.append(line_chart(series, title=f"{space}{_bound(run, space)}", marks=alarms(run), floor=0.0))
    if not charts:
        said = "No spectrum was measured during this run: it was too short for that, or spectrum.jsonl is missing."
        return section("Rank over time", sentence(said, "missing"), level=level)
    note = (
        "How many directions the features use: exp of the entropy of the singular values, of the newest rows. "
        "Effective rank is of centred features, RankMe of features as they are. "
        "Effective rank cannot exceed min(n - 1, d), RankMe min(n, d)."
    )
    absent = _absent(run)
    return section(
        "Rank over time", legend(list(RANKS.values())), _grid(charts), absent, _alarm_list(run), note=note, level=level
    )


def _bound(run: Run, space: str) -> str:
    full = [line["spaces"][space] for line in run.spectrum if line.get("kind") == "full" and space in line.get("spaces", {})]
    if not full or "n" not in full[-1] or "d" not in full[-1]:
        return ""
    n, d = int(full[-1]["n"]), int(full[-1]["d"])
    most = f"{d:,}" if n > d else f"{n - 1:,}, RankMe {n:,}"
    return f" (n = {n:,}, d = {d:,}: at most {most})"


def _absent(run: Run) -> Html:
    spaces = {space for line in run.spectrum for space in line.get("spaces", {})}
    if "representation" in spaces and "embedding" not in spaces:
        return sentence("This method has no embedding: only the representation is watched.", "missing")
    return Html("")


def _alarm_list(run: Run) -> Html:
    rows = []
    for event in run.events:
        if event.get("event") == "collapse":
            rows.append(f"Step {event.get('step', '?')}: alarm. {_alarm_sentence(event)}")
        elif event.get("event") == "recovered":
            rows.append(f"Step {event.get('step', '?')}: the {event.get('space', 'feature')}s recovered.")
    return join(sentence(row) for row in rows) if rows else Html("")


def spread(run: Run, level: int = 2) -> Html:
    """Standard deviation and mean cosine over the steps: what is read before any rank."""
    charts = []
    for measure, title in SPREADS.items():
        series = [Series(label=space, points=space_points(run, space, measure), colour=i) for i, space in enumerate(SPACES)]
        if any(one.points for one in series):
            low, high = {"spread": (0.0, 1.0), "mean_cosine": (0.0, 1.0)}.get(measure, (None, None))
            charts.append(line_chart(series, title=title, marks=alarms(run), floor=low, ceiling=high))
    if not charts:
        return Html("")
    note = (
        "Complete collapse is read here, before any rank: normalised std x sqrt(d) is 1 for features spread evenly over all "
        "directions and 0 where all are equal; the mean cosine of two records is then 1."
    )
    return section("Spread over time", legend(SPACES), _grid(charts), note=note, level=level)


def overlay(runs: Sequence[Run]) -> Html:
    """The same charts with one line a run."""

    def chart(title: str, points: Sequence[list[Point]], floor: float | None = None, ceiling: float | None = None) -> Html:
        series = [Series(label=run.name, points=p, colour=i) for i, (run, p) in enumerate(zip(runs, points, strict=True)) if p]
        return line_chart(series, title=title, floor=floor, ceiling=ceiling) if series else Html("")

    charts = [chart("loss (of different methods: compare shapes only)", [loss_points(run) for run in runs])]
    for space in SPACES:
        for measure, label in RANKS.items():
            charts.append(chart(f"{label} of the {space}", [space_points(run, space, measure) for run in runs], 0.0))
    for space in SPACES:
        charts.append(chart(f"{SPREADS['spread']}, {space}", [space_points(run, space, "spread") for run in runs], 0.0, 1.0))
        charts.append(chart(f"mean cosine, {space}", [space_points(run, space, "mean_cosine") for run in runs], 0.0, 1.0))
    drawn = [one for one in charts if one]
    if not drawn:
        return sentence("None of these folders has training logs, so there is nothing to draw over time.", "missing")
    return join([legend([run.name for run in runs]), _grid(drawn)])


def _grid(charts: Sequence[Html]) -> Html:
    return Html(f'<div class="grid">{join(charts)}</div>')
