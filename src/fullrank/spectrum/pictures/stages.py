"""Stairs: the effective rank of each stage of a network, from its first layers to its embedding."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fullrank.spectrum.measures import effective_rank
from fullrank.spectrum.pictures.style import FAINT, INK, WIDTHS, columns_of, finish, legend_below, line_style, panels
from fullrank.types import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Stages = Mapping[str, Spectrum]
"""{stage: centred spectrum of its maps, averaged over time and space}, in the order of the data flow"""


def figure(networks: Sequence[tuple[str, Stages]], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """Above, the effective rank with its bound min(n - 1, d) in grey; below, their ratio: one stair a stage, a line a network.

    Stages have different widths, so only the ratio can be compared along a network. Networks with other stages are drawn in
    panels of their own.
    """
    from matplotlib.lines import Line2D

    kinds = list(dict.fromkeys(tuple(stages) for _, stages in networks))
    labels = [label for label, _ in networks]
    columns = columns_of([*labels, "bound"], width_inches)
    extra = 0.16 * -(-(len(labels) + 1) // columns)
    drawn, grid = panels(2 * len(kinds), width_inches, 1.45, columns=len(kinds), extra_inches=extra)
    for k, names in enumerate(kinds):
        ranks, ratios = grid[k], grid[k + len(kinds)]
        edges = np.arange(len(names) + 1)
        for i, (_, stages) in enumerate(networks):
            if tuple(stages) != names:
                continue
            bounds = np.array([spectrum.bound for spectrum in stages.values()], dtype=float)
            values = np.array([effective_rank(spectrum) for spectrum in stages.values()])
            ranks.stairs(bounds, edges, baseline=None, color=FAINT, linewidth=2.4, alpha=0.5)
            ranks.stairs(values, edges, baseline=None, **line_style(i))
            ratios.stairs(values / bounds, edges, baseline=None, **line_style(i))
        finish(ranks, INK, ylabel="effective rank")
        finish(ratios, INK, ylabel="effective rank / bound")
        ranks.set_yscale("log", base=2)
        ranks.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ratios.set_ylim(0.0, 1.02)
        for panel in (ranks, ratios):
            panel.set_xlim(0, len(names))
            panel.set_xticks(edges[:-1] + 0.5, [] if panel is ranks else [_short(name) for name in names])
        if len(names) > 6:
            ratios.tick_params(axis="x", labelrotation=90 if len(names) > 8 else 35)
    handles = [Line2D([], [], **line_style(i)) for i in range(len(labels))]
    handles.append(Line2D([], [], color=FAINT, linewidth=2.4, alpha=0.5))
    legend_below(drawn, handles, [*labels, "bound"], columns)
    return drawn


def _short(name: str) -> str:
    return {"representation": "h", "embedding": "z"}.get(name, name.replace("blocks.", "block "))
