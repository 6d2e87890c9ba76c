"""What is measured while training and in reports: every measure that three spectra give, and four that need none."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fullrank.errors import DataError, ShapeError
from fullrank.spectrum.covariance import Array, Form, Source, spectra_of
from fullrank.spectrum.definition import Definition
from fullrank.spectrum.definitions import MEASURES
from fullrank.types import Spectrum

CHEAP = ("std", "normalized_std", "mean_cosine", "mean_norm")
FORMS: tuple[Form, ...] = ((True, False), (False, False), (True, True))
"""(centred, L2-normalised) of the spectra that the monitor and the report make"""
LIVE = tuple(
    name
    for name, each in MEASURES.items()
    if each.is_live and each.needs == "spectrum" and (each.form in FORMS or not each.has_eigenvalues)
)
"""measures of those spectra"""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The measures of one space that its spectra give, and the spectra."""

    n: int
    d: int
    values: dict[str, float | None]
    """{name in LIVE: value}; None where it has none (too few eigenvalues for a fit, or infinite)"""
    centred: Spectrum
    uncentred: Spectrum
    unit: Spectrum
    """centred, of L2-normalised rows: what the figure draws"""

    def row(self, eigenvalues: int = 0) -> dict[str, Any]:
        """{"n", "d", measures}, with the first so many eigenvalues of ``unit`` where asked for: plain numbers for JSON."""
        extra = {"eigenvalues": self.unit.eigenvalues[:eigenvalues].tolist()} if eigenvalues else {}
        return {"n": self.n, "d": self.d, **self.values, **extra}


def analyse(x: Source, *, on_rows: Callable[[int], None] | None = None) -> Analysis:
    """Every measure of features [n, d] (array, tensor, file or table folder) that a spectrum gives: one pass, and one
    eigendecomposition a needed form: three.

    ``on_rows`` is told how many rows each block had.
    """
    return analysis_of(spectra_of(x, FORMS, on_rows=on_rows))


def analysis_of(spectra: Mapping[Form, Spectrum]) -> Analysis:
    """The same of spectra in (at least) the three ``FORMS``."""
    centred, uncentred, unit = (spectra[form] for form in FORMS)
    values = {name: finite_or_none(MEASURES[name], spectra) for name in LIVE}
    return Analysis(n=unit.n, d=unit.d, values=values, centred=centred, uncentred=uncentred, unit=unit)


def finite_or_none(each: Definition, spectra: Mapping[Form, Spectrum]) -> float | None:
    """The value, or None where the definition gives none."""
    try:
        value = each.function(fitting(each, spectra))
    except DataError:
        return None
    return value if math.isfinite(value) else None


def fitting(each: Definition, spectra: Mapping[Form, Spectrum]) -> Spectrum:
    """The spectrum that a measure is of. Mean and variance of unit rows are the same, centred or not."""
    return spectra[each.form] if each.has_eigenvalues else spectra[True, each.normalized]


def measure_all(x: Source, *, eigenvalues: int = 0) -> dict[str, Any]:
    """{"n", "d", and every measure of ``LIVE``} of features [n, d], None where one has no value; with ``eigenvalues`` also
    the first so many eigenvalues of the covariance of the L2-normalised rows, descending.

    >>> row = measure_all(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    >>> row["n"], row["d"], round(row["effective_rank"], 6), round(row["cev_auc"], 6)
    (4, 2, 2.0, 0.75)
    """
    return analyse(x).row(eigenvalues)


def cheap_measures(x: Array | Tensor) -> dict[str, float | int]:
    """{"n", "d", "std", "normalized_std", "mean_cosine", "mean_norm"} of [n, d] without an eigendecomposition.

    On the tensor's device, in float64, with one transfer at the end; 512 x 256 takes under a millisecond on a CPU. The
    values are those of ``measure_all`` (equal rows give a normalised std of up to 1e-8 where that gives 0). Raises
    ``DataError`` where they are not finite or there is one row only.

    >>> cheap_measures(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))["mean_norm"]
    0.0
    """
    rows = (x.detach() if isinstance(x, Tensor) else torch.tensor(x)).double()
    if rows.ndim != 2:
        raise ShapeError(f"features must be [n, d]. Got {rows.ndim} axes: {list(rows.shape)}.")
    n, d = rows.shape
    if n < 2:
        raise DataError(f"the spread of features needs at least 2 rows. Got {n}.")
    each = rows.new_full((n,), 1 / n)
    squares = rows * rows
    inverse = squares.sum(dim=1).sqrt_().clamp_min_(1e-12).reciprocal_()
    direction = (each * inverse) @ rows
    along = direction @ direction
    # Matrix-vector products: torch's own var over rows takes twice the time of all of this together.
    unit_variance = ((each * inverse.square()) @ squares - direction.square()).clamp_min_(0.0)
    variance = each @ (rows - each @ rows).square_()
    cosine = (n * along - unit_variance.sum() - along) / (n - 1)
    numbers = torch.stack(
        [variance.sqrt().mean(), unit_variance.sqrt().mean(), cosine.clamp_max(1.0), along.clamp_max(1.0).sqrt()]
    ).tolist()
    if not np.isfinite(numbers).all():
        raise DataError("features must be finite. Got NaN or infinity in a batch; the loss terms of that step tell where from.")
    return {"n": n, "d": d, **dict(zip(CHEAP, numbers, strict=True))}
