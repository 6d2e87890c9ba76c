"""Figures: the spectrum and cumulative explained variance of several encoders, ranks over time, loss terms.

Colours are Okabe and Ito's (safe for colour blindness), line styles differ as well (legible in grey), text is 8 points (a
paper's column). Each function builds its own figure on the Agg backend and leaves matplotlib's global state alone.
"""

import io
import os
from collections.abc import Sequence
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

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#777777")
"""without its yellow, which a white page swallows, and with a grey for its black, which a dark page does"""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 1, 1, 1, 1, 1)), (0, (3, 3)))
SUFFIXES = (".pdf", ".svg", ".png")
LOG_LIMITS = (-25.0, 0.0)
_BELOW = -60.0
"""where a singular value of zero is drawn: well below the axis, so that the cliff shows"""
_GREY = "#808080"

Table = tuple[str, "Array | Spectrum | None", "Array | Spectrum | None"]
"""(label, representation, embedding): features [n, d], or their centred spectrum of L2-normalised rows; None where
absent"""
Curve = tuple[int, str, Spectrum]


def figure_2x2(tables: Sequence[Table], out: str | Path) -> str:
    """Draw the 2x2 figure into ``out`` (.pdf, .svg or .png by its suffix) and return it as SVG too.

    Rows: representation and embedding. Left: log of the singular values of the covariance of the L2-normalised features
    against rank index from 0, y from -25 to 0 (Jing et al., ICLR 2022). Right: cumulative explained variance by the
    singular values of the centred, L2-normalised features (Li et al., ECCV 2022), its area in the legend. A table without
    an embedding is absent in the second row; without any, there is one row.

    Raises ``SettingError`` for another suffix or no table.
    """
    path = Path(out)
    check_suffix(path)
    rows = _rows(tables)
    figure = _draw_2x2(rows, ink="#000000")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=300, facecolor="white")
    os.replace(temporary, path)
    return _svg(_draw_2x2(rows, ink=_GREY))


def check_suffix(path: Path) -> None:
    """``SettingError`` where a figure cannot be written under this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError(f"a figure must be a {', '.join(SUFFIXES)} file. Got '{path.name}'. Give it one of these suffixes.")


def figure_2x2_svg(tables: Sequence[Table]) -> str:
    """The figure of ``figure_2x2`` as an SVG element (no XML header), transparent with mid-grey axes, for a light or dark
    page.
    """
    return _svg(_draw_2x2(_rows(tables), ink=_GREY))


def _rows(tables: Sequence[Table]) -> list[tuple[str, list[Curve]]]:
    if not tables:
        raise SettingError("the figure needs at least one table of features. Got none.")
    rows = []
    for column, title in ((0, "Representation"), (1, "Embedding")):
        given = [(i, label, (h, z)[column]) for i, (label, h, z) in enumerate(tables)]
        curves = [(i, label, _unit_spectrum(x)) for i, label, x in given if x is not None]
        if curves:
            rows.append((title, curves))
    return rows


def _draw_2x2(rows: Sequence[tuple[str, list[Curve]]], ink: str) -> "Figure":
    figure = _figure(6.9, 2.4 * len(rows))
    panels = figure.subplots(len(rows), 2, squeeze=False)
    for (title, curves), (left, right) in zip(rows, panels, strict=True):
        for i, label, spectrum in curves:
            logs = np.maximum(log_singular_values(spectrum), _BELOW)
            left.plot(np.arange(len(logs)), logs, label=label, **_style(i))
            curve = cumulative_explained_variance(spectrum)
            right.plot(np.arange(len(curve)), curve, label=f"{label} (AUC={cev_auc(spectrum):.2f})", **_style(i))
        _finish(left, ink, title=title, xlabel="Singular value rank index", ylabel="Log of singular values")
        _finish(right, ink, title=title, xlabel="Singular value rank index", ylabel="Cumulative explained variance")
        left.set_ylim(*LOG_LIMITS)
        right.set_ylim(0.0, 1.02)
        _legend(left, ink, loc="best")
        _legend(right, ink, loc="lower right")
    return figure


def _unit_spectrum(x: "Array | Spectrum") -> Spectrum:
    return x if isinstance(x, Spectrum) else spectrum_of(x, normalized=True)


def _figure(width_inches: float, height_inches: float) -> "Figure":
    """A transparent figure of its own on Agg: no pyplot, no rcParams, so nothing global changes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inches, height_inches), layout="constrained", facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def _style(i: int) -> dict[str, Any]:
    """Colour and dash of the i-th curve: 42 pairs before one repeats."""
    return {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.4}


def _finish(axes: "Axes", ink: str, *, xlabel: str, ylabel: str, title: str = "") -> None:
    axes.set_facecolor("none")
    axes.set_title(title, fontsize=9, color=ink)
    axes.set_xlabel(xlabel, fontsize=8, color=ink)
    axes.set_ylabel(ylabel, fontsize=8, color=ink)
    axes.tick_params(labelsize=7, color=ink, labelcolor=ink, width=0.6, length=2.5)
    axes.margins(x=0.02)
    for side, spine in axes.spines.items():
        spine.set(color=ink, linewidth=0.6, visible=side in ("left", "bottom"))


def _legend(axes: "Axes", ink: str, **where: Any) -> None:
    axes.legend(fontsize=7, frameon=False, labelcolor=ink, handlelength=2.6, **where)


def _svg(figure: "Figure") -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]
