"""The figure of methods.py: effective rank of the representation against accuracy, a point a method, names at the side."""

from pathlib import Path
from typing import Any

import numpy as np

PANELS = (("digit linear", "digit (appearance)"), ("motion linear", "motion (time)"))
NAME_HEIGHT = 0.036
"""of the panel: the distance between two names"""


def spread(wanted: np.ndarray, distance: float) -> np.ndarray:
    """Heights in 0..1, in the order of ``wanted``, at least ``distance`` apart and as near to it as that allows.

    >>> spread(np.array([0.5, 0.5]), 0.25).tolist()
    [0.375, 0.625]
    """
    order = np.argsort(wanted, kind="stable")
    steps = np.arange(len(wanted)) * distance
    # nearest non-decreasing heights after the distances are taken off: neighbours that disagree share their mean
    blocks: list[list[float]] = []
    for value in wanted[order] - steps:
        blocks.append([float(value), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (high, n), (low, m) = blocks[-2], blocks.pop()
            blocks[-1] = [(high * n + low * m) / (n + m), n + m]
    level = np.concatenate([np.full(int(count), value) for value, count in blocks])
    level = np.clip(level, 0.0, max(1.0 - steps[-1], 0.0))
    heights = np.empty(len(wanted))
    heights[order] = level + steps
    return heights


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the SVG; the same rows give the same file."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row["method"] for row in rows))
    with mpl.rc_context({"svg.hashsalt": "methods", "font.size": 9, "svg.fonttype": "path"}):
        figure, axes = plt.subplots(1, 2, figsize=(12.5, 6.6), layout="constrained")
        for axis, (key, title) in zip(axes, PANELS, strict=True):
            x, y = (np.array([_mean(rows, name, read) for name in names]) for read in (_rank, lambda row, k=key: 100 * row[k]))
            axis.set(xlabel="effective rank of the representation", ylabel="linear probe, %", title=title)
            axis.margins(0.06)
            random = np.array([name.startswith("random") for name in names])
            axis.scatter(x[~random], y[~random], s=22, color="#1f6fb2", zorder=3)
            axis.scatter(x[random], y[random], s=26, color="#777777", marker="x", zorder=3)
            low, high = axis.get_ylim()
            axis.set_ylim(low, high)
            heights = spread((y - low) / (high - low), NAME_HEIGHT)
            for i, name in enumerate(names):
                axis.annotate(
                    name,
                    (x[i], y[i]),
                    xytext=(1.06, heights[i]),
                    textcoords="axes fraction",
                    va="center",
                    fontsize=8,
                    color="#555555" if random[i] else "black",
                    annotation_clip=False,
                    arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.5, "shrinkB": 2, "relpos": (0, 0.5)},
                )
            axis.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def _mean(rows: list[dict[str, Any]], name: str, read: Any) -> float:
    return float(np.mean([read(row) for row in rows if row["method"] == name]))


def _rank(row: dict[str, Any]) -> float:
    return float(row["ranks"]["representation"]["effective_rank"])
