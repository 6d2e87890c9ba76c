"""A value with what it was computed from, and how it is made of spectra and sampled rows."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import DataError
from fullrank.spectrum.covariance import Form, Source, load_features, spectra_of
from fullrank.spectrum.definition import Definition
from fullrank.spectrum.definitions import MEASURES
from fullrank.spectrum.intervals import interval, resamples
from fullrank.spectrum.live import fitting
from fullrank.spectrum.reservoir import Reservoir
from fullrank.types import Spectrum


class Measurement(float):
    """A value that knows what it was computed from; it is used like any other number.

    ``n`` rows of width ``d``, ``centred``, ``normalized``, the ``bound`` of a rank (None of other measures), the 95 %
    ``interval`` from so many ``replicates`` (None where none was asked for), ``warning`` (None, or why not to trust it).

    >>> m = Measurement(3.2, name="effective_rank", n=10, d=8, centred=True, bound=8)
    >>> m + 1, m.n, m.warning[:36]
    (4.2, 10, 'effective_rank is of n = 10 rows for')
    """

    name: str
    n: int
    d: int
    centred: bool
    normalized: bool
    bound: int | None
    interval: tuple[float, float] | None = None
    replicates: int = 0

    def __new__(
        cls,
        value: float,
        *,
        name: str = "",
        n: int = 0,
        d: int = 0,
        centred: bool = False,
        normalized: bool = False,
        bound: int | None = None,
    ) -> Self:
        """The value as a float, and the rest beside it."""
        self = super().__new__(cls, value)
        self.name, self.n, self.d, self.centred, self.normalized, self.bound = name, n, d, centred, normalized, bound
        return self

    @property
    def value(self) -> float:
        """The plain number."""
        return float(self)

    @property
    def warning(self) -> str | None:
        """Why a rank tells more about n than about the features."""
        if self.bound is None or self.n >= 2 * self.d:
            return None
        return (
            f"{self.name} is of n = {self.n} rows for d = {self.d} dimensions: below n = 2d a rank mostly tells n. "
            f"Take at least {2 * self.d} rows."
        )

    def document(self) -> dict[str, Any]:
        """{"value", "n", "d", "bound", "centred", "normalized"}, with "interval" and "replicates" where asked for, and "why"
        where the value is infinite.
        """
        finite = math.isfinite(self)
        row: dict[str, Any] = {"value": float(self) if finite else None, "n": self.n, "d": self.d, "bound": self.bound}
        row |= {"centred": self.centred, "normalized": self.normalized} | ({} if finite else {"why": "infinite"})
        if self.replicates:
            row |= {"interval": None if self.interval is None else list(self.interval), "replicates": self.replicates}
        return row


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The rows that measures are computed from."""

    rows: NDArray[np.float64]
    """[m, d]"""
    groups: NDArray[np.int64] | None = None
    """[m]"""
    other: NDArray[np.float64] | None = None
    """[m, k] of the same rows: another table, or the student's scores"""

    def drawn(self, positions: NDArray[np.int64], groups: NDArray[np.int64] | None) -> "Sample":
        """The rows at these positions, in these groups."""
        return Sample(rows=self.rows[positions], groups=groups, other=None if self.other is None else self.other[positions])


def sample_of(reservoir: Reservoir, *, grouped: bool = False, other: Source | None = None) -> Sample:
    """What a reservoir holds, and the same rows of ``other``; ``DataError`` where that has not as many rows in all."""
    rows, positions, groups = reservoir.contents()
    if len(rows) < 2:
        raise DataError(
            f"a reservoir must hold two rows of whole records. Got {reservoir.rows} rows and larger records; raise --reservoir."
        )
    second = None
    if other is not None:
        table = load_features(other)
        if len(table) != reservoir.seen:
            raise DataError(f"the two tables must have the same rows. Got {reservoir.seen} and {len(table)}.")
        second = np.asarray(table[positions], dtype=np.float64)
        if not np.isfinite(second).all():
            raise DataError("features must be finite. Got NaN or infinity in the second table; remove these rows from both.")
    return Sample(rows=rows, groups=groups if grouped else None, other=second)


def value_of(each: Definition, spectra: Mapping[Form, Spectrum], sample: Sample) -> float:
    """One measure; ``DataError`` where these features have none."""
    if each.needs == "spectrum":
        return each.function(fitting(each, spectra))
    if each.needs in ("rows", "scores"):
        return each.function(sample.rows)
    if each.needs == "groups":
        if sample.groups is None:
            raise DataError("it needs groups: which rows are of one record. Tables with several clips a record have them.")
        return each.function(sample.rows, sample.groups)
    return each.function(sample.rows, sample.other)


def measurement_of(name: str, spectra: Mapping[Form, Spectrum], sample: Sample) -> Measurement:
    """The same with what it was computed from."""
    each = MEASURES[name]
    value = value_of(each, spectra, sample)
    of = fitting(each, spectra) if each.needs == "spectrum" else None
    n, d = sample.rows.shape if of is None else (of.n, of.d)
    bound = min(n - 1 if each.centred else n, d)
    if each.needs == "groups" and sample.groups is not None:
        bound = min(len(np.unique(sample.groups)) - 1, d)
    centred, normalized = each.form
    bounded = bound if each.is_rank else None
    return Measurement(value, name=name, n=n, d=d, centred=centred, normalized=normalized, bound=bounded)


def add_intervals(
    values: Mapping[str, Measurement],
    sample: Sample,
    replicates: int,
    seed: int,
    on_replicate: Callable[[int], None] | None = None,
) -> None:
    """Set ``interval`` of each measurement, from draws of rows, or of groups where the sample knows them.

    ``on_replicate`` is told at each replicate how many there will be in all.
    """
    kinds = _kinds(values, sample)
    for names, how in kinds:
        drawn: dict[str, list[float]] = {name: [] for name in names}
        needed = [MEASURES[name] for name in names if MEASURES[name].needs == "spectrum"]
        forms = list(dict.fromkeys(each.form if each.has_eigenvalues else (True, each.normalized) for each in needed))
        for positions, groups in resamples(len(sample.rows), replicates, seed, **how):
            part = sample.drawn(positions, groups)
            spectra = spectra_of(part.rows, forms) if forms else {}
            for name in names:
                drawn[name].append(_value_or_nan(MEASURES[name], spectra, part))
            if on_replicate:
                on_replicate(replicates * len(kinds))
        for name in names:
            _set_interval(values[name], np.array(drawn[name]), len(sample.rows))


def _kinds(values: Mapping[str, Measurement], sample: Sample) -> list[tuple[Sequence[str], dict[str, Any]]]:
    """(measures, how their rows are drawn), without empty ones."""
    different = [name for name in values if MEASURES[name].needs_different_rows]
    rest = [name for name in values if name not in different]
    found: list[tuple[Sequence[str], dict[str, Any]]] = [
        (rest, {"groups": sample.groups}),
        (different, {"groups": sample.groups, "different": True}),
    ]
    return [(names, how) for names, how in found if names]


def _value_or_nan(each: Definition, spectra: Mapping[Form, Spectrum], sample: Sample) -> float:
    try:
        return value_of(each, spectra, sample)
    except DataError:
        return math.nan


def _set_interval(value: Measurement, drawn: NDArray[np.float64], m: int) -> None:
    """Without one where the value, or that of a replicate, is none: half an interval would look like a narrow one."""
    value.replicates = len(drawn)
    if np.isfinite(drawn).all() and math.isfinite(value):
        low, high = interval(float(value), drawn, m=m, n=value.n)
        limit = math.inf if value.bound is None else max(float(value.bound), float(value))
        value.interval = low, min(high, limit)
