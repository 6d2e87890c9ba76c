"""The sentence on top: is the run healthy, and which numbers decide it.

Enters: a run. Leaves: ``Verdict``, from its final features where they are there, else from its last measurement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any

import numpy as np

from fullrank.errors import DataError, SettingError
from fullrank.report.markup import Html, join, sentence, table, text
from fullrank.report.run_folder import Run
from fullrank.types import Spectrum

SPACES = ("representation", "embedding")
LEVELS = {
    "healthy": "good",
    "mean_shift": "watch",
    "temporal": "bad",
    "dimensional": "bad",
    "cluster": "bad",
    "complete": "bad",
}
"""how a kind is coloured; an unknown verdict has no colour"""
WORDS = {
    "healthy": "healthy",
    "mean_shift": "mean shift",
    "temporal": "collapse in time",
    "dimensional": "dimensional collapse",
    "cluster": "collapse to clusters",
    "complete": "complete collapse",
}
FINE = ("healthy", "mean_shift", "untrained")
HEALTHY_MEANS = "Healthy says that nothing has collapsed. How good the encoder is, its neighbours and accuracies tell."
ROWS = (
    ("n", "rows measured (n)"),
    ("d", "width (d)"),
    ("bound", "the effective rank cannot exceed min(n - 1, d)"),
    ("std", "standard deviation, as it is"),
    ("spread", "normalised std x sqrt(d): 0 = all equal, 1 = spread evenly"),
    ("mean_cosine", "mean cosine of two rows: 1 = all equal"),
    ("mean_norm", "length of the mean direction"),
    ("effective_rank", "effective rank"),
    ("rankme", "RankMe"),
    ("cev_auc_normalized", "area under explained variance: 0.5 = flat, 1 = one direction"),
    ("clusters", "points at which the rows sit: 1 = none stand apart"),
    ("cluster_gap", "how much farther apart the points are than the rows at one: 1 = not at all"),
    ("within_share", "share of the variance within records"),
    ("within_effective_rank", "effective rank within records"),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said about a run, and from what."""

    kind: str
    """of the worst space: "healthy", a kind of collapse; or "untrained", or "unknown\""""
    sentence: str
    read_from: str = ""
    remarks: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    """{space: kind}"""
    training: str = ""
    """the remark that training shows something else, where it does"""
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{space: {measure: value}} that the sentence was read from"""
    spectra: Mapping[str, Spectrum] = field(default_factory=dict)
    """{space: of its L2-normalised rows}; may hold the first eigenvalues only"""

    @property
    def level(self) -> str:
        """Which colour: "good", "watch", "bad", or none."""
        return LEVELS.get(self.kind, "")

    @property
    def word(self) -> str:
        """One or two words for a table."""
        return WORDS.get(self.kind, self.kind)

    def of(self, space: str, measure: str) -> float | int | str:
        """A number of a space, or "-"."""
        values = self.spaces.get(space, {})
        if measure == "bound" and "n" in values and "d" in values:
            return min(int(values["n"]) - 1, int(values["d"]))
        if measure == "spread" and "normalized_std" in values and "d" in values:
            return float(values["normalized_std"]) * sqrt(values["d"])
        value = values.get(measure, "-")
        return value if isinstance(value, int | float) else "-"


def judge(run: Run) -> Verdict:
    """The verdict on a run, by ``spectrum.diagnosis``; "unknown", with the reason, where nothing was measured."""
    if run.table is not None:
        return _of_features(run)
    full = [line for line in run.spectrum if line.get("kind") == "full" and line.get("spaces")]
    if full:
        spaces = full[-1]["spaces"]
        said = (
            f"Read from the last measurement while training, at step {full[-1]['step']:,}, because there is no feature table."
        )
        return _diagnosed(run, spaces, said, {space: _logged_spectrum(values) for space, values in spaces.items()})
    reason = "Nothing can be said about collapse: this folder has neither a feature table nor a measured spectrum."
    return Verdict(kind="unknown", sentence=reason, remarks=_alarms(run))


def _of_features(run: Run) -> Verdict:
    from fullrank.spectrum.deciding import deciding_measures, time_remark
    from fullrank.spectrum.measures import analyse

    if run.table is None or len(run.table.representation) < 2:
        return Verdict(kind="unknown", sentence="Nothing can be said about collapse: the feature table has a single row.")
    given = {"representation": run.table.representation, "embedding": run.table.embedding}
    features = {space: x for space, x in given.items() if x is not None}
    try:
        analyses = {space: analyse(x) for space, x in features.items()}
    except DataError as error:
        return Verdict(kind="unknown", sentence=f"Nothing can be said about collapse: {error}", remarks=_alarms(run))
    records = len(np.unique(run.table.record))
    rows = len(run.table.record)
    said = f"Read from the final features: {rows:,} rows of {records:,} records."
    times = run.table.record, run.table.start_seconds
    found = {
        space: analysis.row() | deciding_measures(features[space], *times, spectrum=analysis.centred)
        for space, analysis in analyses.items()
    }
    spectra = {space: analysis.unit for space, analysis in analyses.items()}
    verdict = _diagnosed(run, found, said, spectra, (time_remark(*times),))
    training = training_says(run, verdict.kinds)
    return replace(verdict, training=training, remarks=(training, *verdict.remarks)) if training else verdict


def _diagnosed(
    run: Run,
    spaces: Mapping[str, Mapping[str, Any]],
    read_from: str,
    spectra: Mapping[str, Spectrum],
    more: tuple[str, ...] = (),
) -> Verdict:
    from fullrank.spectrum.diagnosis import diagnose

    known = {space: values for space, values in spaces.items() if space in SPACES}
    try:
        found = diagnose(
            known,
            healthy_std=_healthy_std(run),
            method=run.config.get("method"),
            settings=run.config.get("settings"),
            trained=run.training_steps != 0,
        )
    except DataError as error:
        return Verdict(
            kind="unknown", sentence=f"Nothing can be said about collapse: {error}", spaces=known, read_from=read_from
        )
    absent = () if "embedding" in known else ("There is no embedding to look at: only the representation was judged.",)
    shown = shown_by_metrics(run) if found.verdict in ("healthy", "mean_shift") else None
    limits = (HEALTHY_MEANS,) if found.verdict == "healthy" and shown is None else ()
    advice = () if found.advice is None else (found.advice,)
    return Verdict(
        kind=shown["kind"] if shown else found.verdict,
        sentence=f"{shown['sentence']} {found.sentence}" if shown else found.sentence,
        read_from=read_from,
        kinds=dict(found.kinds),
        remarks=(*limits, *found.warnings, *filter(None, more), *advice, *absent, *_alarms(run)),
        spaces=known,
        spectra=spectra,
    )


def training_says(run: Run, kinds: Mapping[str, str]) -> str:
    """What the last spectrum of training says where that is not what the features say; empty where both agree.

    ``kinds``: of the features, by space. Training sees the statistics of each batch, evaluation BatchNorm's
    running averages: after few steps these are not yet those of any batch, and a collapsed batch may be spread by them.
    """
    from fullrank.spectrum.diagnosis import diagnose

    standing = dict(run.summary.get("collapsed") or {})
    if standing and all(kind in FINE for kind in kinds.values()):
        name, began = next(iter(standing.items()))
        return f"Training disagrees: its alarm of the {name.replace('_', ' ')}, begun at step {began:,}, stood to the end."
    full = [line for line in run.spectrum if line.get("kind") == "full" and line.get("spaces")]
    if not full or run.training_steps == 0:
        return ""
    measured = {space: values for space, values in full[-1]["spaces"].items() if space in kinds}
    try:
        then = diagnose(measured, healthy_std=_healthy_std(run)).kinds
    except (DataError, SettingError):
        return ""
    for space, kind in then.items():
        if (kind in FINE) != (kinds[space] in FINE):
            n, step = measured[space]["n"], full[-1]["step"]
            why = "after few steps these are not yet usual ones: train on, and look again"
            if kind not in FINE:
                why = "a collapsed batch may be spread by them"
            return (
                f"Training disagrees: its last {n} rows, with the statistics of their batches, show the {space} as "
                f"{WORDS.get(kind, kind)} at step {step:,}. Evaluation uses BatchNorm's running averages; {why}."
            )
    return ""


def _healthy_std(run: Run) -> float | None:
    """Std that the method drives each dimension of its embedding to, as training asks it; None where it has none."""
    from fullrank.methods._method import available, load_method

    if run.table is not None and "healthy_std" in run.table.manifest:
        return run.table.manifest["healthy_std"]  # type: ignore[no-any-return]
    settings, name = run.config.get("settings", {}).get("method", {}), run.config.get("method")
    if name in available():
        try:
            return getattr(load_method(name).Config(**settings), "target_std", None)
        except SettingError:
            pass  # settings of another version: their dump is all there is
    return settings.get("target_std")  # type: ignore[no-any-return]


def shown_by_metrics(run: Run) -> dict[str, Any] | None:
    """What the method's own metrics said of a collapse at the last logged step; None where they said none."""
    from fullrank.spectrum.alarms import by_metrics

    signs = _signs(run)
    metrics = run.metrics[-1].get("metrics", {}) if run.metrics else {}
    known = all(name in metrics for sign in signs for name in (*sign.below, *sign.above))
    return by_metrics(signs, metrics) if signs and known else None


def _signs(run: Run) -> tuple[Any, ...]:
    from fullrank.methods._method import available, load_method

    name = run.config.get("method")
    if name not in available():
        return ()
    cls = load_method(name)
    try:
        return cls.signs(cls.Config(**run.config.get("settings", {}).get("method", {})))
    except SettingError:
        return ()  # settings of another version: what they mean is not known


def alarm_sentences(run: Run) -> tuple[str, ...]:
    """Every alarm of the collapse monitor while training, with the step at which it began."""
    found = []
    for event in run.events:
        if event.get("event") == "collapse":
            began = event.get("began", event["step"])
            found.append(f"Alarm while training at step {event['step']:,}, begun at {began:,}: {event.get('sentence', '')}")
        elif event.get("event") == "recovered":
            found.append(
                f"Withdrawn at step {event['step']:,}: the alarm of {event.get('space', 'features')} begun at "
                f"{event.get('began', 0):,}."
            )
    return tuple(found)


def _alarms(run: Run) -> tuple[str, ...]:
    alarms = [event for event in run.events if event.get("event") == "collapse"]
    if not alarms:
        return ()
    steps = ", ".join(f"step {event['step']:,} ({event.get('space', 'features')})" for event in alarms)
    return (f"Alarms of the collapse monitor while training: {steps}.",)


def _logged_spectrum(values: Mapping[str, Any]) -> Spectrum:
    """The spectrum of a line of spectrum.jsonl: of the eigenvalues, only the first 256 were kept."""
    kept = np.asarray(values.get("eigenvalues", []), dtype=np.float64)
    n, d = int(values["n"]), int(values["d"])
    nothing = np.zeros(d)
    return Spectrum(eigenvalues=kept, n=n, d=d, centred=True, normalized=True, mean=nothing, variance=nothing)


def verdict_box(verdict: Verdict) -> Html:
    """The verdict as the first thing on the page."""
    remarks = join(sentence(remark, "remark") for remark in verdict.remarks)
    return Html(
        f'<div class="verdict {verdict.level}"><p><span class="word">{text(verdict.word.capitalize())}.</span> '
        f"{text(verdict.sentence)}</p>{remarks}</div>"
    )


def numbers_table(verdict: Verdict) -> Html:
    """The numbers that decide, of both spaces, each with n and d."""
    spaces = [space for space in SPACES if space in verdict.spaces]
    if not spaces:
        return sentence("There are no numbers: nothing was measured.", "missing")
    rows = [[label, *(verdict.of(space, key) for space in spaces)] for key, label in ROWS]
    return table(
        ["measure", *spaces], [row for row in rows if any(value != "-" for value in row[1:])], "Measures of the features"
    )
