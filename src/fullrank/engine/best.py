"""The best state so far, by a measure that needs no labels."""

import math
from collections.abc import Mapping
from typing import Any

from fullrank.config import CheckpointConfig

SMALLER_IS_BETTER = ("cev_auc",)


class Best:
    """Which reading of ``cfg.keep_best`` was best; readings under an alarm or a suspicion do not count.

    Readings of more rows replace those of fewer, whatever they say: a rank of more rows may be higher for that alone. One that
    is not a number is none.
    """

    def __init__(self, cfg: CheckpointConfig, kept: Mapping[str, Any] | None):
        self.measure, self.space = cfg.keep_best, cfg.best_space
        self.kept: dict[str, Any] | None = dict(kept) if kept and kept["measure"] == self.measure else None

    def offer(self, step: int, numbers: Mapping[str, Any], *, held_out: bool) -> bool:
        """Whether this reading ({measure: value, "n": rows}) is the best, and then it is the one to beat."""
        if self.measure is None or self.measure not in numbers:
            return False
        value, n = float(numbers[self.measure]), int(numbers["n"])
        if math.isnan(value):
            return False
        if self.kept is not None and n <= self.kept["n"]:
            sign = -1.0 if self.measure in SMALLER_IS_BETTER else 1.0
            if n < self.kept["n"] or sign * value <= sign * self.kept["value"]:
                return False
        where = {"space": self.space, "records": "held out" if held_out else "trained on"}
        self.kept = {"measure": self.measure, "value": value, "step": step, "n": n, **where}
        return True
