"""The measures that a verdict needs and no others, from features; and how sure it is, from resamples of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fullrank.errors import DataError
from fullrank.spectrum.bulk import bulk_measures
from fullrank.spectrum.clusters import cluster_measures
from fullrank.spectrum.covariance import blocks, spectrum_of
from fullrank.spectrum.moments import Array, unit_rows
from fullrank.spectrum.ranks import effective_rank, numerical_rank
from fullrank.spectrum.rules import Kind, evidence_of, kind_of
from fullrank.spectrum.temporal import grouped, seen_at_two_times
from fullrank.types import Spectrum

MAX_RESAMPLES, MIN_RESAMPLES = 100, 8
COST = 5e10
"""of all decompositions together, in min(n, d)^3: 100 resamples up to d = 793, 8 from 1,842 on"""
CLIFF_SHARE = 0.01
"""of the variance, at most, behind a cliff"""
_FLOOR = 1e-8
"""of the largest singular value: smaller ones are rounding"""
ROWS_A_DIMENSION, MIN_ROWS = 4, 2048
"""rows of a resample, at most: more change no verdict, and cost"""


def deciding_measures(
    x: Array,
    record: NDArray[np.int64] | None = None,
    start_seconds: NDArray[np.float64] | None = None,
    *,
    spectrum: Spectrum | None = None,
) -> dict[str, Any]:
    """What ``rules.evidence_of`` reads, of rows [n, d]; with ``record`` [n], also what differs between and within records.

    ``start_seconds`` [n]: of the clips, as ``time_measures``. One decomposition, unless the ``spectrum`` of the centred rows is
    given (two more with records that have several rows). ``DataError`` as ``spectrum_of``.
    """
    spectrum = spectrum or spectrum_of(x)
    numbers: dict[str, Any] = {"effective_rank": effective_rank(spectrum), "numerical_rank": numerical_rank(spectrum)}
    numbers |= cliff_measures(spectrum) | trimmed_measures(x)
    return {**scale_measures(x), **numbers, **cluster_measures(x, record), **time_measures(x, record, start_seconds)}


def cliff_measures(spectrum: Spectrum) -> dict[str, float | int]:
    """{"cliff_directions", "cliff_factor"}: where the steepest step of the singular values is, and how high.

    The largest sigma_k / sigma_{k+1} among the k behind which at most a hundredth of the variance lies: a step between signal
    and noise, and not one between two signals. A power law has none (near 1), r directions beside noise of 1 % have r and
    about 100 sqrt(d / r); noise raises their effective rank, which then hides them. All rows equal: 0 directions, factor 1.

    >>> cliff_measures(spectrum_of(np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.02], [0.0, -0.02]])))
    {'cliff_directions': 1, 'cliff_factor': 50.0}
    """
    sigma = spectrum.singular_values[: spectrum.bound]
    if len(sigma) < 2 or sigma[0] == 0.0:
        return {"cliff_directions": len(sigma) if len(sigma) and sigma[0] else 0, "cliff_factor": 1.0}
    below = 1.0 - np.cumsum(sigma**2) / np.sum(sigma**2)
    steps = np.where(below[:-1] <= CLIFF_SHARE, sigma[:-1] / np.maximum(sigma[1:], _FLOOR * sigma[0]), 1.0)
    k = int(np.argmax(steps))
    return {"cliff_directions": k + 1, "cliff_factor": round(float(steps[k]), 9)}


def trimmed_measures(x: Array) -> dict[str, float]:
    """``bulk.bulk_measures`` of at most 2,048 rows, evenly spaced; nothing below 3 rows.

    >>> rows = np.array([[3.0, 3.0]] * 15 + [[-45.0, -45.0]])
    >>> {name: round(value, 6) for name, value in trimmed_measures(rows).items()}
    {'trimmed_normalized_std': 0.0, 'leading_share': 1.0}
    """
    if len(x) < 3:
        return {}
    picked = np.unique(np.linspace(0, len(x) - 1, min(len(x), MIN_ROWS)).astype(int))
    return bulk_measures(torch.from_numpy(np.asarray(x[picked], dtype=np.float64)))


def scale_measures(x: Array) -> dict[str, float | int]:
    """{"n", "d", "std", "normalized_std", "mean_cosine"} of rows [n, d] as ``measures.measure_all`` has them, block by block.

    And "negative_share", of all entries: a ReLU leaves none, and gives a mean cosine of 0.6 to 0.95 that is no mean shift.
    And the row and the dimension that hold most of the variance, with their shares: an outlier makes a spectrum fall.
    Two passes, the means first: rows that are nearly one keep their digits.
    """
    n, d = x.shape
    mean, direction, negative = np.zeros(d), np.zeros(d), 0
    start, farthest, largest_row = 0, 0.0, 0
    for rows, unit in _both(x):
        mean += rows.sum(axis=0) / n
        direction += unit.sum(axis=0) / n
        negative += int((rows < 0).sum())
    variance, unit_variance = np.zeros(d), np.zeros(d)
    for rows, unit in _both(x):
        squares = (rows - mean) ** 2
        variance += squares.sum(axis=0) / n
        of_row = squares.sum(axis=1)
        if (most := float(of_row.max())) > farthest:
            farthest, largest_row = most, start + int(of_row.argmax())
        start += len(rows)
        unit_variance += ((unit - direction) ** 2).sum(axis=0) / n
    along = float(direction @ direction)
    cosine = (n * along - float(unit_variance.sum()) - along) / (n - 1)
    std, normalized_std = (float(np.sqrt(each).mean()) for each in (variance, unit_variance))
    found: dict[str, float | int] = {"n": n, "d": d, "std": std, "normalized_std": normalized_std}
    found |= {"mean_cosine": min(cosine, 1.0), "negative_share": negative / (n * d)}
    if (total := float(variance.sum())) > 0.0:
        found |= {"largest_row": largest_row, "largest_row_share": farthest / (n * total)}
        found |= {"largest_dimension": int(variance.argmax()), "largest_dimension_share": float(variance.max()) / total}
    return found


def _both(x: Array) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    for block in blocks(x):
        rows = np.asarray(block, dtype=np.float64)
        yield rows, unit_rows(rows)


def time_measures(
    x: Array, record: NDArray[np.int64] | None, start_seconds: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Share and effective rank within and between records; nothing where no record has two rows, or there is one only.

    Where it is known when clips start, of the records with clips of two times.
    """
    if record is None:
        return {}
    if start_seconds is not None and not (seen := seen_at_two_times(record, start_seconds)).all():
        x, record = x[seen], record[seen]
    count = len(np.unique(record))
    if count < 2 or count == len(record):
        return {}
    parts = grouped(x, record)
    return {
        "within_share": parts.within_share,
        "within_effective_rank": effective_rank(parts.within),
        "within_bound": parts.within.bound,
        "between_effective_rank": effective_rank(parts.between),
        "between_numerical_rank": numerical_rank(parts.between),
        **{f"between_{name}": value for name, value in cliff_measures(parts.between).items()},
        "between_bound": parts.between.bound,
    }


def time_remark(record: NDArray[np.int64] | None, start_seconds: NDArray[np.float64] | None) -> str:
    """Why collapse in time cannot be judged although records have several rows; empty where it can, or they have one.

    >>> time_remark(np.array([0, 0, 1, 1]), np.zeros(4))[:60]
    'Collapse in time cannot be judged: all clips of a record sta'
    """
    if record is None or start_seconds is None or len(np.unique(record)) in (1, len(record)):
        return ""
    if len(np.unique(record[seen_at_two_times(record, start_seconds)])) > 1:
        return ""
    return (
        "Collapse in time cannot be judged: all clips of a record start at the same time, as those of a video no longer than a "
        "clip do."
    )


def resample_count(n: int, d: int) -> int:
    """How many resamples a table of this size gets where nobody asks for a number.

    >>> resample_count(10_000, 128), resample_count(50_000, 2048)
    (100, 8)
    """
    return max(MIN_RESAMPLES, min(MAX_RESAMPLES, int(COST / min(n, d) ** 3)))


@dataclass(frozen=True, kw_only=True)
class Certainty:
    """How often resamples give the same verdict."""

    confidence: float | None
    """share of the resamples with the verdict of all rows; None where none was drawn"""
    resamples: int
    others: Mapping[str, int]
    """{another kind: how many resamples gave it}"""


NOT_ASKED = Certainty(confidence=None, resamples=0, others={})


def certainty_of(
    x: Array,
    space: str,
    kind: Kind,
    *,
    record: NDArray[np.int64] | None = None,
    start_seconds: NDArray[np.float64] | None = None,
    healthy_std: float | None = None,
    resamples: int | None = None,
    seed: int = 0,
) -> Certainty:
    """Draw records (rows where there are none) with replacement, count repeats once, and decide again, ``resamples`` times.

    A record drawn twice enters once: repeated rows would be points, and lower a rank. So a resample holds about 63 % of the
    records, at most 4 d rows (2,048 where that is more). The intervals are those of a bootstrap, a little too wide.
    """
    times = resample_count(len(x), x.shape[1]) if resamples is None else resamples
    if times < 1:
        return NOT_ASKED
    rng = np.random.default_rng(seed)
    names, member = np.unique(np.arange(len(x)) if record is None else record, return_inverse=True)
    most = max(1, int(max(ROWS_A_DIMENSION * x.shape[1], MIN_ROWS) * len(names) / len(x)))
    found: list[Kind] = []
    for _ in range(times):
        drawn = np.unique(rng.integers(0, len(names), len(names)))
        drawn = np.sort(rng.permutation(drawn)[:most])
        rows = np.flatnonzero(np.isin(member, drawn)) if record is not None else drawn
        if len(rows) < 2:
            raise DataError(f"resamples need more rows than there are. Got {len(x)}; ask for none with --resamples 0.")
        of = None if record is None else record[rows]
        measures = deciding_measures(np.asarray(x[rows]), of, None if start_seconds is None else start_seconds[rows])
        found.append(kind_of(space, evidence_of(space, measures, healthy_std)))
    others: dict[str, int] = {other: found.count(other) for other in dict.fromkeys(found) if other != kind}
    return Certainty(confidence=found.count(kind) / times, resamples=times, others=others)
