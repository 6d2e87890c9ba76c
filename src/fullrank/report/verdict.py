"""The sentence on top: is the run healthy, and which numbers decide it.

Enters: a run. Leaves: ``Verdict``, from its final features where they are there, else from its last measurement.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from fullrank.report.markup import Html, join, number, sentence, table, text
from fullrank.report.run_folder import Run

SPACES = ("representation", "embedding")
LEVELS = {"healthy": "good", "mean shift": "watch", "unknown": ""}
"""how a kind is coloured; every other kind is "bad\""""
ROWS = (
    ("n", "rows measured (n)"),
    ("d", "width (d)"),
    ("bound", "no rank can exceed min(n - 1, d)"),
    ("std", "std, as it is"),
    ("isotropy", "normalised std x sqrt(d): 0 = all equal, 1 = spread evenly"),
    ("mean_cosine", "mean cosine of two records: 1 = all equal"),
    ("mean_norm", "norm of the mean direction"),
    ("effective_rank", "effective rank"),
    ("rankme", "RankMe"),
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is said about a run, and from what."""

    kind: str
    """"healthy", a kind of collapse, or "unknown\""""
    sentence: str
    spaces: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """{space: {measure: value}} that the sentence was read from"""
    read_from: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """Which colour: "good", "watch", "bad", or none."""
        return LEVELS.get(self.kind, "bad")

    @property
    def word(self) -> str:
        """One or two words for a table."""
        return self.kind if self.kind in LEVELS else f"{self.kind} collapse"

    def of(self, space: str, measure: str) -> object:
        """A number of a space, or "-"."""
        values = self.spaces.get(space, {})
        if measure == "bound" and "n" in values and "d" in values:
            return min(int(values["n"]) - 1, int(values["d"]))
        if measure == "isotropy" and "normalized_std" in values and "d" in values:
            return float(values["normalized_std"]) * sqrt(values["d"])
        return values.get(measure, "-")
