"""Several encoders side by side in two dimensions, with the same records, classes, colours and marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullrank.spectrum.pictures.style import (
    FAINT,
    INK,
    LETTERS_AN_INCH,
    MARKERS,
    OKABE_ITO,
    WIDTHS,
    broken,
    columns_of,
    legend_below,
    panels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Map:
    """One encoder's rows in two dimensions."""

    title: str
    note: str
    """a second line: what the picture does not show"""
    placed: NDArray[np.float64]
    """[rows, 2]"""
    axes: tuple[str, str] = ("", "")
    """names of the two, where they mean something"""


def figure(maps: Sequence[Map], member: NDArray[np.int64], classes: Sequence[str], *, width_inches: float) -> "Figure":
    """A panel an encoder, a colour and a mark a class."""
    from matplotlib.lines import Line2D

    columns = columns_of(classes, width_inches) if classes else 1
    lines = -(-len(classes) // columns) if classes else 0
    beside = max(1, int(width_inches / 1.6))
    side = width_inches / min(len(maps), beside)
    side = min(side, WIDTHS["column"])
    titles = [broken(one.title, max(8, int(LETTERS_AN_INCH * side))) for one in maps]
    # about square once titles have their room; a fixed aspect would push the titles out of the figure
    height = side + 0.25 + 0.13 * max(title.count("\n") for title in titles)
    drawn, grid = panels(len(maps), width_inches, height, columns=beside, extra_inches=0.16 * lines)
    size = max(3.0, 18.0 - len(member) / 60) * (0.5 if side < 2 else 1.0)
    for panel, one, title in zip(grid, maps, titles, strict=True):
        for i in range(max(1, len(classes))):
            rows = member == i
            panel.scatter(one.placed[rows, 0], one.placed[rows, 1], s=size, **_look(i, bool(classes)))
        panel.set_title(title, fontsize=8, color=INK, pad=11)
        panel.text(0.5, 1.01, one.note, ha="center", va="bottom", fontsize=6, color="#444444", transform=panel.transAxes)
        panel.set_xlabel(one.axes[0], fontsize=6.5, color=INK)
        panel.set_ylabel(one.axes[1], fontsize=6.5, color=INK)
        panel.set(xticks=[], yticks=[], facecolor="none")
        panel.margins(0.06)
        for spine in panel.spines.values():
            spine.set(color=FAINT, linewidth=0.6)
    if classes:
        handles = [Line2D([], [], linestyle="", markersize=4, **_mark(i)) for i in range(len(classes))]
        legend_below(drawn, handles, list(classes), columns)
    return drawn


def _look(i: int, named: bool) -> dict[str, Any]:
    look = {
        "color": OKABE_ITO[i % len(OKABE_ITO)],
        "marker": MARKERS[i % len(MARKERS)],
        "linewidths": 0.3,
        "edgecolors": "white",
    }
    return look if named else look | {"color": OKABE_ITO[-1], "marker": "o"}


def _mark(i: int) -> dict[str, Any]:
    return {"color": OKABE_ITO[i % len(OKABE_ITO)], "marker": MARKERS[i % len(MARKERS)]}
