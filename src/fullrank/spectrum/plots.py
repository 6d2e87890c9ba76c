"""Figures: the spectrum and cumulative explained variance of several encoders, ranks over time, loss terms.

Colours are Okabe and Ito's (safe for colour blindness), line styles differ as well (legible in grey), text is 8 points (a
paper's column). Each function builds its own figure on the Agg backend and leaves matplotlib's global state alone.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fullrank.errors import SettingError
from fullrank.spectrum.covariance import Array, spectrum_of
from fullrank.spectrum.measures import cev_auc, cumulative_explained_variance, log_singular_values
from fullrank.types import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B5A800")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (7, 1, 1, 1, 1, 1)), (0, (3, 3)), (0, (1, 2.5)))
SUFFIXES = (".pdf", ".svg", ".png")
LOG_LIMITS = (-25.0, 0.0)
_BELOW = -60.0
"""where a singular value of zero is drawn: well below the axis, so that the cliff shows"""
_GREY = "#808080"

Table = tuple[str, "Array | Spectrum", "Array | Spectrum | None"]
"""(label, representation, embedding or None): features [n, d], or their centred spectrum of L2-normalised rows"""


def figure_2x2(tables: Sequence[Table], out: str | Path) -> str:
    """Draw the 2x2 figure into ``out`` (.pdf, .svg or .png by its suffix) and return it as SVG too.

    Rows: representation and embedding. Left: log of the singular values of the covariance of the L2-normalised features against
    rank index from 0, y from -25 to 0 (Jing et al., ICLR 2022). Right: cumulative explained variance by the singular
    values of the centred, L2-normalised features (Li et al., ECCV 2022), its area in the legend. A table without an embedding is absent in
    the second row; without any, there is one row. Raises ``SettingError`` for another suffix or no table.
    """
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a figure must be a {', '.join(SUFFIXES)} file. Got '{path.name}'. Give --out one of these suffixes.")
    figure = _draw_2x2(tables)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp{path.suffix}")
    figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=300)
    os.replace(temporary, path)
    return _svg(figure)


def figure_2x2_svg(tables: Sequence[Table]) -> str:
    """The figure of ``figure_2x2`` as an SVG element (no XML header), for a page."""
    return _svg(_draw_2x2(tables))


def _draw_2x2(tables: Sequence[Table]) -> "Figure":
    if not tables:
        raise SettingError("the figure needs at least one table of features. Got none.")
    rows = [("Representation", [(i, label, _unit_spectrum(h)) for i, (label, h, _) in enumerate(tables)])]
    embedded = [(i, label, _unit_spectrum(z)) for i, (label, _, z) in enumerate(tables) if z is not None]
    if embedded:
        rows.append(("Embedding", embedded))
    figure = _figure(6.9, 2.35 * len(rows))
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (title, curves), (left, right) in zip(rows, axes, strict=True):
        for i, label, spectrum in curves:
            style = _style(i)
            logs = np.maximum(log_singular_values(spectrum), _BELOW)
            left.plot(np.arange(len(logs)), logs, label=label, **style)
            curve = cumulative_explained_variance(spectrum)
            right.plot(np.arange(len(curve)), curve, label=f"{label} (AUC={cev_auc(spectrum):.2f})", **style)
        for each, name in ((left, "Log of singular values"), (right, "Cumulative explained variance")):
            each.set(title=title, xlabel="Singular value rank index", ylabel=name)
            each.set_xlim(left=0)
        left.set_ylim(*LOG_LIMITS)
        right.set_ylim(0.0, 1.02)
        left.legend(loc="lower left")
        right.legend(loc="lower right")
    return figure


def _unit_spectrum(x: "Array | Spectrum") -> Spectrum:
    return x if isinstance(x, Spectrum) else spectrum_of(x, normalized=True)


def ranks_over_time(spectrum_rows: Sequence[Mapping[str, Any]]) -> str:
    """SVG of the effective rank of both spaces over the steps, each with its bound min(n - 1, d), from lines of spectrum.jsonl.

    Raises ``SettingError`` where no line holds a spectrum (kind "full").
    """
    full = [row for row in spectrum_rows if row.get("kind") == "full"]
    if not full:
        raise SettingError("ranks over time need at least one line of kind 'full' in spectrum.jsonl. Got none; train longer.")
    figure = _figure(4.4, 2.5)
    axes = figure.subplots()
    for i, space in enumerate(("representation", "embedding")):
        points = [(row["step"], row["spaces"][space]) for row in full if row["spaces"].get(space)]
        if not points:
            continue
        steps = [step for step, _ in points]
        marker = {"marker": "o", "markersize": 3.0} if len(points) < 30 else {}
        axes.plot(steps, [m["effective_rank"] for _, m in points], label=space, **_style(i), **marker)
        bounds = [min(m["n"] - 1, m["d"]) for _, m in points]
        axes.plot(steps, bounds, color=_style(i)["color"], linewidth=0.7, linestyle=":", label=f"its bound ({bounds[-1]})")
    axes.set(xlabel="Step", ylabel="Effective rank")
    axes.set_yscale("log")
    _plain_ticks(axes)
    axes.legend(loc="best", ncols=2)
    return _svg(figure)


def loss_terms(metrics_rows: Sequence[Mapping[str, Any]]) -> str:
    """SVG of each weighted loss term over the steps, from lines of metrics.jsonl; one small panel a term.

    Raises ``SettingError`` where no line holds a loss.
    """
    rows = [row for row in metrics_rows if row.get("losses")]
    terms = list(dict.fromkeys(term for row in rows for term in row["losses"]))
    if not terms:
        raise SettingError("loss terms need at least one line with losses in metrics.jsonl. Got none.")
    columns = min(len(terms), 3)
    lines = -(-len(terms) // columns)
    figure = _figure(2.3 * columns, 1.9 * lines)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for i, (axes, term) in enumerate(zip(panels, terms, strict=False)):
        steps, values = zip(*((row["step"], row["losses"][term]) for row in rows if term in row["losses"]), strict=True)
        axes.plot(steps, values, **(_style(i) | {"linestyle": "-"}))
        axes.set(title=term, xlabel="Step")
    for axes in panels[len(terms) :]:
        axes.set_visible(False)
    return _svg(figure)


def _figure(width_inches: float, height_inches: float) -> "Figure":
    """A figure of its own on Agg: no pyplot, so nothing global changes; transparent, with mid-grey axes for light and dark pages."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _style(i: int) -> dict[str, Any]:
    """A colour and a dash for the i-th curve; seven dashes and eight colours repeat together only after 56."""
    return {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.4}
