"""Training against held-out records: both spectra of an encoder in one panel, and what they differ by."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fullrank.spectrum.decay import BELOW, cev_auc, cumulative_explained_variance, drawn_log_singular_values
from fullrank.spectrum.pictures.style import INK, OKABE_ITO, WIDTHS, finish, legend, legend_below, new_figure
from fullrank.types import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sides = tuple[str, Spectrum, Spectrum]
"""(title, of training records, of held-out ones): centred spectra of L2-normalised rows"""
LOOKS: dict[str, dict[str, Any]] = {
    "training": {"color": OKABE_ITO[0], "linestyle": "-"},
    "held out": {"color": OKABE_ITO[1], "linestyle": (0, (3, 1.2))},
}


def figure(rows: Sequence[Sides], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """A row an encoder or space. Left: log of the singular values against rank index. Right: cumulative explained variance.

    Take as many rows of features on both sides: the tail of a spectrum grows with n, and a difference of n would look like one
    of the encoder.
    """
    drawn = new_figure(width_inches, 1.55 * len(rows) + 0.2)
    grid = drawn.subplots(len(rows), 2, squeeze=False)
    for (title, *both), (left, right) in zip(rows, grid, strict=True):
        for (side, look), spectrum in zip(LOOKS.items(), both, strict=True):
            logs = drawn_log_singular_values(spectrum)
            left.plot(np.arange(len(logs)), logs, linewidth=1.2, label=f"{side} (n={spectrum.n:,})", **look)
            curve = cumulative_explained_variance(spectrum)
            right.plot(np.arange(len(curve)), curve, linewidth=1.2, label=f"AUC={cev_auc(spectrum):.3f}", **look)
        seen = [line.get_ydata() for line in left.lines]
        lowest = min(float(values[values > BELOW].min(initial=-1.0)) for values in map(np.asarray, seen))
        finish(left, INK, title=title, xlabel="rank index", ylabel="log of singular values")
        finish(right, INK, title=title, xlabel="rank index", ylabel="explained variance")
        left.set_ylim(max(-25.0, lowest - 0.5), 0.0)
        right.set_ylim(0.0, 1.02)
        legend(right, loc="lower right")
    handles, labels = grid[0][0].get_legend_handles_labels()
    legend_below(drawn, handles, labels, 2)
    return drawn
