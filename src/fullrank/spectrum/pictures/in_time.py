"""Spectra of single clips, of the means of videos, and of what differs within them: where a collapse in time shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fullrank.spectrum.decay import BELOW, drawn_log_singular_values
from fullrank.spectrum.pictures.style import INK, WIDTHS, finish, legend_below, line_style, panels
from fullrank.spectrum.temporal import Grouped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {"total": "clips", "between": "video means", "within": "within videos"}


def figure(found: Sequence[tuple[str, Grouped]], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """A panel an encoder and space: log of the singular values of the three covariances against rank index.

    Of L2-normalised rows (``grouped(..., normalized=True)``), so that panels can be compared. The text says which share of the
    variance of the clips lies within videos; the rest lies between their means.
    """
    drawn, grid = panels(len(found), width_inches, 1.75, extra_inches=0.2)
    for panel, (title, parts) in zip(grid, found, strict=True):
        lowest = -1.0
        for i, (name, words) in enumerate(PARTS.items()):
            logs = drawn_log_singular_values(getattr(parts, name))
            panel.plot(np.arange(len(logs)), logs, label=words, **line_style(i))
            lowest = min(lowest, float(logs[logs > BELOW].min(initial=-1.0)))
        finish(panel, INK, title=title, xlabel="rank index", ylabel="log of singular values")
        panel.set_ylim(max(lowest - 0.5, -25.0), 0.0)
        panel.margins(x=0.02)
        said = f"{100 * parts.within_share:.0f} % of variance\nwithin videos"
        panel.text(0.98, 0.98, said, ha="right", va="top", fontsize=6, color=INK, transform=panel.transAxes)
    handles, labels = grid[0].get_legend_handles_labels()
    legend_below(drawn, handles, labels, 3)
    return drawn
