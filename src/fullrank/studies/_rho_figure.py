"""The figure of rho_in_time.py: what rho and persistence in time do to accuracy, ranks and the variance within videos."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

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

Row = dict[str, Any]
Read = Callable[[Row], float]


def _accuracy(label: str) -> Read:
    return lambda row: 100 * float(row[f"{label} linear"])


def _rank(part: str) -> Read:
    def read(row: Row) -> float:
        one = row["time"]["representation"][part]
        return float(one["effective_rank"]) / float(one["bound"])

    return read


PANELS: tuple[tuple[str, Read], ...] = (
    ("appearance\n(digit), %", _accuracy("digit")),
    ("motion, %", _accuracy("motion")),
    ("eff. rank / bound\nbetween videos", _rank("between")),
    ("eff. rank / bound\nwithin videos", _rank("within")),
    ("variance\nwithin videos, %", lambda row: 100 * float(row["time"]["representation"]["within_share"])),
)
"""(what, how it is read); accuracies are the linear probe's"""


def figure(rows: Sequence[Row], *, random: str) -> "Figure":
    """A row a quantity. Left: against rho, clips anywhere in the video. Right: two clips, against how far apart they may lie.

    A line a method through the means over seeds, a bar from the lowest to the highest seed; in grey, random weights.
    """
    from matplotlib.lines import Line2D

    rows = [row for row in rows if "diverged" not in row]
    methods = list(dict.fromkeys(row["method"] for row in rows if row["method"] != random))
    labels = [*methods, random]
    columns = columns_of(labels, WIDTHS["column"])
    drawn, grid = panels(2 * len(PANELS), WIDTHS["column"], 1.25, columns=2, extra_inches=0.16 * -(-len(labels) // columns))
    for k, (what, read) in enumerate(PANELS):
        left, right = grid[2 * k : 2 * k + 2]
        for panel, key, kept in (
            (left, "rho", lambda row: row["span"] == 1.0),
            (right, "seconds_apart", lambda row: row["rho"] == 2),
        ):
            for i, name in enumerate(methods):
                mine = [row for row in rows if row["method"] == name and kept(row)]
                places = sorted({row[key] for row in mine})
                values = [[read(row) for row in mine if row[key] == place] for place in places]
                means = np.array([np.mean(v) for v in values])
                reach = np.abs(np.array([[min(v), max(v)] for v in values]).reshape(-1, 2).T - means)
                panel.errorbar(places, means, yerr=reach, capsize=1.5, elinewidth=0.7, **_look(i))
            start = [read(row) for row in rows if row["method"] == random]
            if start:
                panel.axhline(float(np.mean(start)), color=FAINT, linewidth=1.0, linestyle=(0, (1, 1)))
            last = k == len(PANELS) - 1
            name = "rho" if panel is left else "clips at most apart, s"
            finish(panel, INK, xlabel=name if last else "", ylabel=what if panel is left else "")
        lows, highs = zip(left.get_ylim(), right.get_ylim(), strict=True)
        for panel in (left, right):
            panel.set_ylim(min(lows), max(highs))
        left.set_xticks(sorted({row["rho"] for row in rows}))
    handles: list[Any] = [Line2D([], [], **_look(i)) for i in range(len(methods))]
    handles.append(Line2D([], [], color=FAINT, linewidth=1.0, linestyle=(0, (1, 1))))
    legend_below(drawn, handles, labels, columns)
    return drawn


def _look(i: int) -> dict[str, Any]:
    look: dict[str, Any] = {"color": OKABE_ITO[i % len(OKABE_ITO)], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.1}
    return look | {"marker": MARKERS[i % len(MARKERS)], "markersize": 3.5}
