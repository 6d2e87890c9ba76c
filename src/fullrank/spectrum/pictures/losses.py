"""Curves of each loss term, in training and on held-out records, of several runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import DataError
from fullrank.spectrum.pictures.style import (
    DASHES,
    FAINT,
    INK,
    MARKERS,
    OKABE_ITO,
    WIDTHS,
    columns_of,
    finish,
    legend_below,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, HELD_OUT = "training", "held out"
POINTS = 300
"""a longer curve is drawn as means of so many parts, with the range of each as a shade"""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One term of one run on one side."""

    run: str
    term: str
    side: str
    """TRAIN or HELD_OUT"""
    steps: NDArray[np.float64]
    values: NDArray[np.float64]


def curves(lines: Sequence[Mapping[str, Any]], run: str) -> list[Curve]:
    """All terms in the lines of a run's metrics.jsonl: "losses" of training, "held_out_losses" where there are any.

    >>> line = {"step": 1, "losses": {"variance": 2.0}, "held_out_losses": {"variance": 2.5}}
    >>> [(one.term, one.side, one.values.tolist()) for one in curves([line], "first")]
    [('variance', 'training', [2.0]), ('variance', 'held out', [2.5])]
    """
    found = []
    for key, side in (("losses", TRAIN), ("held_out_losses", HELD_OUT)):
        terms = dict.fromkeys(term for line in lines for term in line.get(key) or {})
        for term in terms:
            points = [(line["step"], line[key][term]) for line in lines if term in (line.get(key) or {})]
            steps, values = np.array(points, dtype=np.float64).T
            found.append(Curve(run=run, term=term, side=side, steps=steps, values=values))
    if not found:
        raise DataError(f"{run} must have loss terms in its metrics.jsonl. Got {len(lines)} lines without any.")
    return found


def figure(all_curves: Sequence[Curve], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """A panel a term: a colour and dash a run, held-out records as markers on the same colour."""
    from matplotlib.lines import Line2D

    runs = list(dict.fromkeys(one.run for one in all_curves))
    terms = list(dict.fromkeys(one.term for one in all_curves))
    sides = {one.side for one in all_curves}
    labels = [*runs, *([TRAIN, HELD_OUT] if HELD_OUT in sides else [])]
    columns = columns_of(labels, width_inches)
    drawn, grid = panels(len(terms), width_inches, 1.5, extra_inches=0.16 * -(-len(labels) // columns))
    for panel, term in zip(grid, terms, strict=True):
        for one in (one for one in all_curves if one.term == term):
            _draw(panel, one, runs.index(one.run))
        finish(panel, INK, title=term.replace("_", " "), xlabel="step")
        panel.margins(x=0.02)
        if _decades(one.values for one in all_curves if one.term == term) > 2:
            panel.set_yscale("log")
            panel.tick_params(axis="y", which="both", labelsize=6.5)
    handles: list[Any] = [Line2D([], [], **_look(i)) for i in range(len(runs))]
    if HELD_OUT in sides:
        handles += [
            Line2D([], [], color=FAINT, linewidth=1.0),
            Line2D([], [], color=FAINT, linestyle="", marker="o", markersize=3),
        ]
    legend_below(drawn, handles, labels, columns)
    return drawn


def _look(i: int) -> dict[str, Any]:
    return {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.0}


def _draw(panel: Any, one: Curve, i: int) -> None:
    if one.side == HELD_OUT:
        steps, values, _, _ = _thinned(one, 25)
        panel.plot(
            steps, values, color=OKABE_ITO[i % len(OKABE_ITO)], linewidth=0.6, marker=MARKERS[i % len(MARKERS)], markersize=3
        )
        return
    steps, values, low, high = _thinned(one, POINTS)
    panel.plot(steps, values, **_look(i))
    if len(steps) < len(one.steps):
        panel.fill_between(steps, low, high, color=OKABE_ITO[i % len(OKABE_ITO)], alpha=0.2, linewidth=0)


def _thinned(one: Curve, parts: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(mean step, mean, lowest, highest) of at most so many consecutive parts."""
    cuts = np.array_split(np.arange(len(one.steps)), min(parts, len(one.steps)))
    means = [np.array([kind(values[cut]) for cut in cuts]) for kind, values in ((np.mean, one.steps), (np.mean, one.values))]
    return means[0], means[1], np.array([one.values[c].min() for c in cuts]), np.array([one.values[c].max() for c in cuts])


def _decades(values: Any) -> float:
    """Over how many powers of ten all values go; 0 where any is not positive."""
    every = np.concatenate(list(values))
    every = every[np.isfinite(every)]
    return float(np.log10(every.max() / every.min())) if len(every) and every.min() > 0 else 0.0
