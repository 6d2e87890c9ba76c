"""The spectrum over training time: a heat map of rank index against step, the effective rank drawn over it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import DataError
from fullrank.spectrum.pictures.style import INK, LETTERS_AN_INCH, SHADES, WIDTHS, broken, finish, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOWEST_LOG = -25.0
"""the scale reaches no further down, as in the figure of spectra"""


@dataclass(frozen=True, kw_only=True)
class History:
    """Spectra of one space of one run, in the order of their steps."""

    label: str
    steps: NDArray[np.int64]
    logs: NDArray[np.float64]
    """[spectra, rank index]: log of the singular values of the covariance of the L2-normalised rows; NaN where none is kept"""
    ranks: NDArray[np.float64]
    """effective rank at each step"""
    bounds: NDArray[np.int64]
    """min(n - 1, d) at each step"""


def history(lines: Sequence[Mapping[str, Any]], space: str, label: str) -> History:
    """What a run's spectrum.jsonl says of one space (a name of ``spectra_of_line``); ``DataError`` names those that there are.

    >>> row = {"n": 3, "d": 2, "effective_rank": 1.8, "eigenvalues": [1.0, 0.5]}
    >>> found = history([{"step": 1, "kind": "full", "spaces": {"embedding": row}}], "embedding", "run")
    >>> found.steps.tolist(), found.bounds.tolist(), found.logs.round(2).tolist()
    ([1], [2], [[0.41, -0.29]])
    """
    found = [(int(line["step"]), spectra_of_line(line)) for line in lines]
    rows = sorted(((step, spectra[space]) for step, spectra in found if space in spectra), key=lambda row: row[0])
    if not rows:
        known = list(dict.fromkeys(name for _, spectra in found for name in spectra))
        raise DataError(
            f"spectra over time must be of what the run watched. Got '{space}'; its spectrum.jsonl has "
            f"{', '.join(known) or 'none'}."
        )
    logs = np.full((len(rows), max(len(m["eigenvalues"]) for _, m in rows)), np.nan)
    for row, (_, m) in zip(logs, rows, strict=True):
        values = np.array(m["eigenvalues"], dtype=np.float64) * (m["n"] / (m["n"] - 1))
        with np.errstate(divide="ignore"):
            row[: len(values)] = np.maximum(np.log(values), LOWEST_LOG)
    return History(
        label=label,
        steps=np.array([step for step, _ in rows]),
        logs=logs,
        ranks=np.array([m["effective_rank"] for _, m in rows], dtype=np.float64),
        bounds=np.array([min(m["n"] - 1, m["d"]) for _, m in rows]),
    )


def spectra_of_line(line: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """{"embedding", "views/1/embedding", "stages/layer1", "held_out/embedding": measures with eigenvalues} of a line.

    >>> m = {"eigenvalues": [1.0]}
    >>> list(spectra_of_line({"spaces": {"embedding": m}, "held_out": {"spaces": {"embedding": m}}, "stages": {"layer1": m}}))
    ['embedding', 'held_out/embedding', 'stages/layer1']
    """
    groups = {"": line.get("spaces"), "held_out/": line.get("held_out", {}).get("spaces"), "stages/": line.get("stages")}
    groups |= {f"views/{view}/": spaces for view, spaces in line.get("views", {}).items()}
    return {
        f"{group}{name}": measures
        for group, spaces in groups.items()
        for name, measures in (spaces or {}).items()
        if measures.get("eigenvalues")
    }


def figure(histories: Sequence[History], *, width_inches: float = WIDTHS["column"]) -> "Figure":
    """A panel a history, all in one scale of shades: a spectrum a column, which ends at its step.

    The line is the effective rank, the dotted one its bound min(n - 1, d), which rises while the monitor's buffer fills.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    columns = min(len(histories), 2 if width_inches < 4 else 4)
    letters = int(LETTERS_AN_INCH * 0.85 * width_inches / columns)  # the colour bar has the rest
    titles = ["\n".join(broken(line, letters) for line in one.label.split("\n")) for one in histories]
    height = 1.75 + 0.13 * max(title.count("\n") - 1 for title in titles)
    drawn, grid = panels(len(histories), width_inches, height, columns=columns)
    lowest = min(
        float(np.nanmin(np.where(one.logs > LOWEST_LOG, one.logs, np.nan))) if _has(one) else -1.0 for one in histories
    )
    highest = max(float(np.nanmax(one.logs)) for one in histories)
    scale = Normalize(max(lowest, LOWEST_LOG), max(highest, lowest + 1e-6))
    for panel, one, title in zip(grid, histories, titles, strict=True):
        edges = _edges(one.steps)
        ranks = np.arange(one.logs.shape[1] + 1)
        panel.pcolormesh(edges, ranks, one.logs.T, cmap=SHADES, norm=scale, rasterized=True)
        for values, dash in ((one.ranks, "-"), (one.bounds, (0, (1, 1.2)))):
            for colour, thickness in (("black", 2.2), ("white", 1.1)):
                panel.step(edges, [values[0], *values], where="pre", color=colour, linewidth=thickness, linestyle=dash)
        finish(panel, INK, title=title, xlabel="step", ylabel="rank index")
        panel.set(xlim=(edges[0], edges[-1]), ylim=(0, len(ranks) - 1))
        panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    bar = drawn.colorbar(ScalarMappable(scale, SHADES), ax=grid, pad=0.02, aspect=30)
    bar.set_label("log of singular value", fontsize=7)
    bar.ax.tick_params(labelsize=6.5, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)
    return drawn


def _has(one: History) -> bool:
    return bool((one.logs > LOWEST_LOG).any())


def _edges(steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Where the column of each spectrum begins and ends: it is of the newest rows up to its step, so it ends there."""
    first = float(steps[0]) - (float(steps[1] - steps[0]) if len(steps) > 1 else 1.0)
    return np.array([max(0.0, first) if steps[0] > 0 else first, *steps.astype(float)])
