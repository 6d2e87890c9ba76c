"""The figure that started it: the spectrum and cumulative explained variance of several encoders, both spaces."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fullrank.errors import SettingError
from fullrank.spectrum.covariance import Array, spectrum_of
from fullrank.spectrum.decay import cev_auc, cumulative_explained_variance, drawn_log_singular_values
from fullrank.spectrum.pictures.style import (
    INK,
    OKABE_ITO,
    WIDTHS,
    as_svg,
    check_suffix,
    columns_of,
    finish,
    legend,
    legend_below,
    line_style,
    new_figure,
    save,
)
from fullrank.types import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["OKABE_ITO", "check_suffix", "figure_2x2", "figure_2x2_svg"]
LOG_LIMITS = (-25.0, 0.0)
_GREY = "#808080"
_RANK = "Singular value rank index"

Table = tuple[str, "Array | Spectrum | None", "Array | Spectrum | None"]
"""(label, representation, embedding): features [n, d], or their centred spectrum of L2-normalised rows; None where
absent"""
Curve = tuple[int, str, Spectrum]


def figure_2x2(tables: Sequence[Table], out: str | Path, *, width_inches: float = WIDTHS["page"]) -> str:
    """Draw the 2x2 figure into ``out`` (.pdf, .svg or .png by its suffix) and return it as SVG too.

    Rows: representation and embedding. Left: log of the singular values of the covariance of the L2-normalised features
    against rank index from 0, as far as min(n - 1, d), y from -25 to 0 (Jing et al., ICLR 2022). Right: cumulative explained
    variance by the singular values of the centred, L2-normalised features (Li et al., ECCV 2022), its area in the legend. A
    table without an embedding is absent in the second row; without any, there is one row.

    Raises ``SettingError`` for another suffix or no table.
    """
    path = Path(out)
    check_suffix(path)
    rows = _rows(tables)
    save(_draw_2x2(rows, INK, width_inches), path)
    return as_svg(_draw_2x2(rows, _GREY))


def figure_2x2_svg(tables: Sequence[Table]) -> str:
    """The figure of ``figure_2x2`` as an SVG element (no XML header), transparent with mid-grey axes, for a light or dark
    page.
    """
    return as_svg(_draw_2x2(_rows(tables), _GREY))


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


def _draw_2x2(rows: Sequence[tuple[str, list[Curve]]], ink: str, width_inches: float = WIDTHS["page"]) -> "Figure":
    narrow = width_inches < WIDTHS["page"]
    figure = new_figure(width_inches, (1.6 if narrow else 2.4) * len(rows))
    grid = figure.subplots(len(rows), 2, squeeze=False)
    for (title, curves), (left, right) in zip(rows, grid, strict=True):
        for i, label, spectrum in curves:
            logs = drawn_log_singular_values(spectrum)
            left.plot(np.arange(len(logs)), logs, label=label, **line_style(i))
            curve = cumulative_explained_variance(spectrum)
            area = f"AUC={cev_auc(spectrum):.2f}"
            right.plot(np.arange(len(curve)), curve, label=area if narrow else f"{label} ({area})", **line_style(i))
        variance = "Explained variance" if narrow else "Cumulative explained variance"
        finish(left, ink, title=title, xlabel=_RANK, ylabel="Log of singular values", small=narrow)
        finish(right, ink, title=title, xlabel=_RANK, ylabel=variance, small=narrow)
        left.set_ylim(*LOG_LIMITS)
        right.set_ylim(0.0, 1.02)
        for panel in (left, right):
            panel.margins(x=0.02)
        legend(right, ink, size=6.0 if narrow else 7.0, loc="lower right")
        if not narrow:
            legend(left, ink, size=7.0, loc="best")
    if narrow:
        handles, labels = grid[0][0].get_legend_handles_labels()
        legend_below(figure, handles, labels, columns_of(labels, width_inches))
    return figure


def _unit_spectrum(x: "Array | Spectrum") -> Spectrum:
    return x if isinstance(x, Spectrum) else spectrum_of(x, normalized=True)
