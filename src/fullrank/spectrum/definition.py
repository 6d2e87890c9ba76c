"""What a measure is: what it is computed from, its equation and paper, its range, its healthy and collapsed values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Needs = Literal["spectrum", "rows", "groups", "pair", "scores", "two scores"]


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One measure."""

    function: Callable[..., float]
    needs: Needs = "spectrum"
    """a spectrum; a sample of rows; rows and their groups; two tables; scores over prototypes; teacher's and student's"""
    centred: bool = True
    normalized: bool = False
    """rows are divided by their lengths first"""
    equation: str
    paper: str
    span: str
    """least and largest value"""
    healthy: str
    collapsed: str
    """at a complete collapse (all rows equal), unless another is named"""
    epsilon: str = "none"
    is_rank: bool = False
    """bounded by min(n - 1, d) (min(n, d) where not centred), and telling n below n = 2d"""
    has_eigenvalues: bool = True
    """False: mean and variance of the form are enough"""
    is_live: bool = True
    """read while training, where a spectrum gives it: False for what others publish under a name, and for what is infinite"""
    needs_different_rows: bool = False
    """a bootstrap would repeat rows, which the definition does not survive: intervals are of half-samples"""

    @property
    def form(self) -> tuple[bool, bool]:
        """(centred, normalized)."""
        return self.centred, self.normalized


RANK: dict[str, Any] = {"is_rank": True, "span": "1 to min(n-1, d)", "healthy": "near d", "collapsed": "0; rank one 1"}
"""what all ranks of centred features have in common"""
UNIT: dict[str, Any] = {"centred": False, "normalized": True}
"""of unit rows"""
AS_IS: dict[str, Any] = {"centred": False, "normalized": False}
"""of features as they are"""
TSITSULIN = "Tsitsulin et al. 2023, arXiv 2305.16562"
