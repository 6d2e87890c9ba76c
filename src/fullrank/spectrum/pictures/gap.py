"""The gap between representation and embedding: what the projector takes away, encoder by encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fullrank.spectrum.pictures.style import INK, MARKERS, OKABE_ITO, WIDTHS, finish, legend_below, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = ("spread", "eff. rank / bound", "CEV AUC")
RANGES = {"CEV AUC": 0.45}
"""where an axis begins; else at 0"""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One encoder."""

    label: str
    representation: dict[str, float]
    """{measure of ``MEASURES``: value}"""
    embedding: dict[str, float]


def gap(label: str, representation: Mapping[str, Any], embedding: Mapping[str, Any]) -> Gap:
    """From the measures (``measure_all``) of both spaces."""
    return Gap(label=label, representation=_numbers(representation), embedding=_numbers(embedding))


def _numbers(m: Mapping[str, Any]) -> dict[str, float]:
    rank = m["effective_rank"] / max(1, min(m["n"] - 1, m["d"]))
    return dict(zip(MEASURES, (m["d"] ** 0.5 * m["normalized_std"], rank, m["cev_auc"]), strict=True))


def figure(rows: Sequence[Gap], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """A row an encoder, a panel a measure: a filled mark for the representation, an open one for the embedding.

    The number is the gap, representation less embedding. Spread is sqrt(d) x normalised std: read it first, because the rank
    of a point is that of its noise. The effective rank stands as a share of its bound min(n - 1, d), because the two spaces
    differ in width; of the area under the cumulative explained variance 0.5 is flat and 1 rank one.
    """
    from matplotlib.lines import Line2D

    drawn, grid = panels(len(MEASURES), width_inches, 0.6 + 0.25 * len(rows), columns=len(MEASURES), extra_inches=0.2)
    for panel, name in zip(grid, MEASURES, strict=True):
        for i, row in enumerate(rows):
            one, two, colour = row.representation[name], row.embedding[name], OKABE_ITO[i % len(OKABE_ITO)]
            panel.plot([one, two], [i, i], color=colour, linewidth=1.2)
            look = _mark(MARKERS[i % len(MARKERS)], colour)
            panel.plot([one], [i], clip_on=False, **look)
            panel.plot([two], [i], clip_on=False, zorder=3, **look | {"markerfacecolor": "white"})
            panel.text((one + two) / 2, i - 0.18, f"{one - two:+.2f}", ha="center", va="bottom", fontsize=6, color=INK)
        finish(panel, INK, xlabel=name)
        panel.set(ylim=(len(rows) - 0.5, -0.9), xlim=(RANGES.get(name, 0.0), 1.02))
        panel.set_yticks(range(len(rows)), [row.label for row in rows] if panel is grid[0] else [])
    both = (_mark("o", INK), _mark("o", INK) | {"markerfacecolor": "white"})
    legend_below(drawn, [Line2D([], [], **look) for look in both], ["representation", "embedding"], 2)
    return drawn


def _mark(marker: str, colour: str) -> dict[str, Any]:
    return {"marker": marker, "markersize": 4.5, "color": colour, "linestyle": ""}
