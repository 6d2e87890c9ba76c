"""Everything that can be said of one table of features, from one pass: each value with n, d, and an interval on request."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from fullrank.errors import DataError
from fullrank.spectrum.covariance import Form, Source, load_features, spectra_of
from fullrank.spectrum.decay import cumulative_explained_variance, log_singular_values
from fullrank.spectrum.definitions import MEASURES
from fullrank.spectrum.files import records_of
from fullrank.spectrum.groups import checked_groups
from fullrank.spectrum.live import Analysis, analysis_of
from fullrank.spectrum.measurement import Measurement, add_intervals, measurement_of, sample_of
from fullrank.spectrum.reservoir import ROWS, Reservoir
from fullrank.types import Spectrum

FORMS: tuple[Form, ...] = tuple(dict.fromkeys(each.form for each in MEASURES.values() if each.has_eigenvalues))
OF_FEATURES = tuple(name for name, each in MEASURES.items() if each.needs in ("spectrum", "rows", "groups"))
"""measures of one table; the others are of two tables, or of scores"""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Every measure of one table."""

    analysis: Analysis
    values: dict[str, Measurement]
    absent: dict[str, str]
    """{measure: why it has no value}"""
    rows: int
    """of the reservoir that measures of rows, and intervals, are of"""

    @property
    def warnings(self) -> list[str]:
        """What weakens the values: one sentence for all of one n."""
        short = {(value.n, value.d) for value in self.values.values() if value.warning}
        return [
            f"n = {n} rows for d = {d} dimensions: below n = 2d a rank mostly tells n. Take at least {2 * d} rows."
            for n, d in sorted(short)
        ]

    def document(self) -> dict[str, dict[str, Any]]:
        """{name: ``Measurement.document``}; a measure without a value has None and "why"."""
        n, d = self.analysis.n, self.analysis.d
        found = {}
        for name in OF_FEATURES:
            each = MEASURES[name]
            missing = {"value": None, "n": n, "d": d, "bound": None, "centred": each.centred, "normalized": each.normalized}
            value = self.values.get(name)
            found[name] = missing | {"why": self.absent[name]} if value is None else value.document()
        return found

    def curves(self) -> dict[str, dict[str, Any]]:
        """The two curves of the figure with what they are of; eigenvalues of 0 have no log, and are None."""
        unit, centred = self.analysis.unit, self.analysis.centred
        logs = [value if math.isfinite(value) else None for value in log_singular_values(unit).tolist()]
        return {
            "log_singular_values": _of(unit, logs),
            "cumulative_explained_variance": _of(centred, cumulative_explained_variance(centred).tolist()),
            "cumulative_explained_variance_normalized": _of(unit, cumulative_explained_variance(unit).tolist()),
            "eigenvalues": _of(centred, centred.eigenvalues.tolist()),
        }


def _of(spectrum: Spectrum, values: list[Any]) -> dict[str, Any]:
    said = {"n": spectrum.n, "d": spectrum.d, "centred": spectrum.centred, "normalized": spectrum.normalized}
    return {"values": values, **said}


def survey(
    x: Source,
    *,
    groups: ArrayLike | None = None,
    bootstrap: int = 0,
    intervals: Collection[str] | None = None,
    seed: int = 0,
    rows: int = ROWS,
    on_rows: Callable[[int], None] | None = None,
    on_replicate: Callable[[int], None] | None = None,
) -> Survey:
    """Every measure of features [n, d] (array, tensor, file or table folder), from one pass over them.

    What needs rows is of a reservoir of at most ``rows`` of them, drawn with ``seed``. ``groups`` [n]: which rows belong
    together, for LiDAR and alignment (of a table's folder: its records). ``bootstrap``: replicates for the intervals (200 is
    usual), each as expensive as a survey of ``rows`` rows; ``intervals``: of these measures only. ``on_rows`` is told of each
    block how many rows it had, ``on_replicate`` at each replicate how many there will be.

    >>> import numpy as np
    >>> s = survey(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    >>> round(s.values["effective_rank"], 6), s.absent["alpha_req"][:25]
    (2.0, 'alpha-ReQ must have at le')
    """
    features = load_features(x)
    groups = records_of(x) if groups is None else groups
    numbers = None if groups is None else checked_groups(groups, len(features))
    reservoir = Reservoir(rows, seed)
    spectra = spectra_of(features, FORMS, on_rows=on_rows, reservoir=reservoir, groups=numbers)
    sample = sample_of(reservoir, grouped=numbers is not None)
    values, absent = {}, {}
    for name in OF_FEATURES:
        try:
            values[name] = measurement_of(name, spectra, sample)
        except DataError as error:
            absent[name] = str(error)
    if bootstrap:
        wanted = {name: value for name, value in values.items() if intervals is None or name in intervals}
        add_intervals(wanted, sample, bootstrap, seed, on_replicate)
    return Survey(analysis=analysis_of(spectra), values=values, absent=absent, rows=len(sample.rows))
