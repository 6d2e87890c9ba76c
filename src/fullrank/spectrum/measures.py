"""Measures of collapse by name, each value with what it was computed from.

Each measure has one pinned definition (``definitions.MEASURES``), because public implementations of one name disagree. How far
the forms are apart, on eigenvalues 1/i of width 2,048 (n large): RankMe 1,590 from singular values, 281 from eigenvalues;
participation ratio 41; NESum 8.2; CEV AUC 0.66 from singular values (0.88 had they been squared). The table: docs/measures.md.

Each rank is bounded: none exceeds min(n - 1, d) of centred rows, min(n, d) of others, and below n = 2d a rank mostly tells n.
So n and d always go with it.
"""

import warnings
from collections.abc import Sequence

from numpy.typing import ArrayLike

from fullrank.errors import SettingError, did_you_mean
from fullrank.spectrum.covariance import Form, Source, load_features, spectra_of
from fullrank.spectrum.decay import cev_auc, cumulative_explained_variance, log_singular_values
from fullrank.spectrum.definitions import MEASURES
from fullrank.spectrum.files import records_of
from fullrank.spectrum.groups import checked_groups
from fullrank.spectrum.live import CHEAP, LIVE, Analysis, analyse, cheap_measures, measure_all
from fullrank.spectrum.measurement import Measurement, add_intervals, measurement_of, sample_of
from fullrank.spectrum.ranks import effective_rank, numerical_rank, rankme
from fullrank.spectrum.reservoir import ROWS, Reservoir
from fullrank.types import Spectrum

__all__ = [
    "CHEAP",
    "LIVE",
    "MEASURES",
    "Analysis",
    "Measurement",
    "analyse",
    "cev_auc",
    "cheap_measures",
    "cumulative_explained_variance",
    "effective_rank",
    "log_singular_values",
    "measure",
    "measure_all",
    "numerical_rank",
    "rankme",
]


def measure(
    x: Spectrum | Source,
    name: str,
    *,
    bootstrap: int = 0,
    seed: int = 0,
    rows: int = ROWS,
    groups: ArrayLike | None = None,
    other: Source | None = None,
) -> Measurement:
    """One measure by its name: a number that also knows its n, d, form, bound and interval.

    ``x``: features [n, d] (array, tensor, file, table folder), a fitting spectrum, or scores over prototypes for the measures
    of those. ``groups`` [n]: for LiDAR and alignment; a table with several rows a record has them. ``other``: the second
    table of linear CKA, or the student's scores. ``bootstrap``: so many replicates for the interval. What needs rows is of a
    reservoir of ``rows`` rows, drawn with ``seed``.

    A rank below n = 2d comes with a Python warning. Raises ``SettingError`` for an unknown name (it names the nearest), or
    where something is missing; ``DataError`` where the features have no such value.

    >>> import numpy as np
    >>> m = measure(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), "participation_ratio")
    >>> float(m), m.n, m.d, m.bound
    (2.0, 4, 2, 2)
    """
    if name not in MEASURES:
        known = ", ".join(MEASURES)
        raise SettingError(f"Unknown measure '{name}'.{did_you_mean(name, MEASURES)} There are: {known}.")
    if isinstance(x, Spectrum):
        found = _of_spectrum(x, name, bootstrap)
    else:
        found = _of_source(x, name, bootstrap, seed, rows, groups, other)
    if found.warning:
        warnings.warn(found.warning, stacklevel=2)
    return found


def _of_spectrum(spectrum: Spectrum, name: str, bootstrap: int) -> Measurement:
    each = MEASURES[name]
    if each.needs != "spectrum" or bootstrap:
        what = "an interval" if each.needs == "spectrum" else name
        raise SettingError(f"{what} must be computed from features. Got a spectrum, which has no rows; give the array or file.")
    return Measurement(
        each.function(spectrum),
        name=name,
        n=spectrum.n,
        d=spectrum.d,
        centred=spectrum.centred,
        normalized=spectrum.normalized,
        bound=spectrum.bound if each.is_rank else None,
    )


def _of_source(
    x: Source, name: str, bootstrap: int, seed: int, rows: int, groups: ArrayLike | None, other: Source | None
) -> Measurement:
    each = MEASURES[name]
    if groups is None and each.needs == "groups":
        groups = records_of(x)
    _check_extras(name, groups=groups, other=other)
    features = load_features(x)
    numbers = None if groups is None else checked_groups(groups, len(features))
    # Scores have few columns, and a mean over all rows is what they are for.
    reservoir = Reservoir(max(len(features), 2) if each.needs == "scores" else rows, seed)
    needed: Sequence[Form] = [each.form if each.has_eigenvalues else (True, each.normalized)]
    spectra = spectra_of(features, needed if each.needs == "spectrum" else [], reservoir=reservoir, groups=numbers)
    sample = sample_of(reservoir, grouped=numbers is not None, other=other)
    found = measurement_of(name, spectra, sample)
    if bootstrap:
        add_intervals({name: found}, sample, bootstrap, seed)
    return found


def _check_extras(name: str, **extras: object) -> None:
    wanted = {"groups": "groups", "pair": "other", "two scores": "other"}.get(MEASURES[name].needs)
    for extra, given in extras.items():
        if extra == wanted and given is None:
            raise SettingError(f"{name} must be given {extra}. Got none; pass {extra}=... (docs/measures.md says what).")
        if extra != wanted and given is not None:
            raise SettingError(f"{name} takes no {extra}. Got some; leave them out.")
