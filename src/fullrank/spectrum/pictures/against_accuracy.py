"""Each measure against accuracy, a point a run, with Kendall's tau: which would have chosen well."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import DataError, SettingError, did_you_mean
from fullrank.spectrum.kendall import Tau, kendall
from fullrank.spectrum.pictures.style import (
    INK,
    LETTERS_AN_INCH,
    MARKERS,
    NARROWEST_INCHES,
    OKABE_ITO,
    WIDTHS,
    broken,
    columns_of,
    finish,
    legend_below,
    panels,
)
from fullrank.spectrum.scored_runs import ScoredRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_NAMED = 28
"""groups that get a mark and a colour of their own; more are drawn alike"""
MOST_LISTED = 12
"""names in a sentence"""


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One measure and one accuracy over the runs that have both."""

    measure: str
    accuracy: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    groups: tuple[str, ...]
    """of each run its method; where all are of one, its setting"""
    tau: Tau


Unit = Literal["method", "setting", "run"]
"""what is drawn anew for an interval"""


def names_of(runs: Sequence[ScoredRun], by: Unit) -> list[str]:
    """Which method, setting or run each is of."""
    if by == "run":
        return [str(i) for i in range(len(runs))]
    return [run.group if by == "method" else f"{run.group} {run.setting}".strip() for run in runs]


def relation(runs: Sequence[ScoredRun], measure: str, accuracy: str, *, by: Unit, seed: int = 0) -> Relation:
    """``by``: the interval is drawn over methods, or their settings, so that seeds of one don't count as several.

    ``SettingError`` names the nearest where no run has the measure or the accuracy; ``DataError`` as ``kendall``.
    """
    for kind, name, known in (
        ("measure", measure, sorted({name for run in runs for name in run.measures})),
        ("accuracy", accuracy, sorted({name for run in runs for name in run.accuracies})),
    ):
        if name not in known:
            listed = ", ".join(known) if len(known) <= MOST_LISTED else f"the {len(known)} that `fullrank draw accuracy` lists"
            raise SettingError(f"the {kind} must be one of {listed}. Got '{name}'.{did_you_mean(name, known)}")
    both = [run for run in runs if measure in run.measures and accuracy in run.accuracies]
    x = np.array([run.measures[measure] for run in both])
    y = np.array([run.accuracies[accuracy] for run in both])
    try:
        tau = kendall(x, y, names_of(both, by), seed=seed)
    except DataError as error:
        raise DataError(f"{measure} and {accuracy}: {error}") from None
    methods = names_of(both, "method")
    groups = tuple(methods if len(set(methods)) > 1 else [run.setting or run.group for run in both])
    return Relation(measure=measure, accuracy=accuracy, x=x, y=y, groups=groups, tau=tau)


def figure(relations: Sequence[Relation], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """A panel a relation; above it Kendall's tau and its 95 % interval. Accuracies of 0..1 are drawn in %."""
    names = list(dict.fromkeys(group for one in relations for group in one.groups))
    named = 1 < len(names) <= MOST_NAMED
    letters = int(LETTERS_AN_INCH * NARROWEST_INCHES)
    columns = columns_of(names, width_inches, marks=True)
    lines = -(-len(names) // columns) if named else 0
    drawn, grid = panels(len(relations), width_inches, 1.7, extra_inches=0.15 * lines + 0.05)
    for panel, one in zip(grid, relations, strict=True):
        for i, name in enumerate(names):
            rows = [k for k, group in enumerate(one.groups) if group == name]
            panel.plot(one.x[rows], 100 * one.y[rows], linestyle="", **_mark(i if named else 0))
        title = f"$\\tau$ = {one.tau.value:.2f} ({one.tau.low:.2f} to {one.tau.high:.2f})"
        finish(panel, INK, title=title, xlabel=broken(_worded(one.measure), letters), ylabel=f"{_worded(one.accuracy)}, %")
        panel.title.set_fontsize(7)
        panel.margins(0.08)
        if one.x.min() > 0 and one.x.max() / one.x.min() > 100:
            panel.set_xscale("log")
            panel.tick_params(axis="x", which="both", labelsize=6.5)
    engine: Any = drawn.get_layout_engine()
    engine.set(rect=(0.0, 0.0, 0.97, 1.0))  # half of the last number stands beyond its axis
    if named:
        handles, labels = grid[0].get_lines(), names
        legend_below(drawn, handles, labels, columns, marks=True)
    return drawn


def _mark(i: int) -> dict[str, Any]:
    look: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)], "color": OKABE_ITO[i % len(OKABE_ITO)], "markersize": 4}
    return look | {"markeredgewidth": 0.7} | ({"markerfacecolor": "none"} if (i // len(OKABE_ITO)) % 2 else {})


def _worded(name: str) -> str:
    space, _, measure = name.partition(" ")
    short = {"representation": "h", "embedding": "z"}.get(space)
    return f"{measure.replace('_', ' ')} of {short}" if short and measure else name.replace("_", " ")
