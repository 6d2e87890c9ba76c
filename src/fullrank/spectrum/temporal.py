"""Collapse in time: how the clips of one video differ, beside how videos differ.

An encoder may tell all videos apart and give every clip of a video the same vector: positives from far apart in time, pushed
too far, teach exactly that. So the covariance of clips is taken apart into that of the videos' means and that of the
residuals z_clip - mean_video(z). The same with a label in place of the video says how much of the variance is the motion's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy.typing import NDArray

from fullrank.errors import DataError, ShapeError
from fullrank.spectrum.covariance import Array, Moments, blocks, spectrum_of, unit_rows
from fullrank.types import Spectrum


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """Features taken apart by groups of rows (the clips of a video, or the rows of a label)."""

    total: Spectrum
    """of single rows"""
    between: Spectrum
    """of the groups' means, each counted as often as it has rows; its n is the number of groups"""
    within: Spectrum
    """of the residuals z - mean of its group; its n is rows - groups + 1, so that its bound is min(rows - groups, d)"""
    num_rows: int
    num_groups: int

    @property
    def within_share(self) -> float:
        """tr(C_within) / tr(C_total), 0 to 1: the share of variance within groups. Temporal collapse: 0. All rows equal: 0."""
        total = float(self.total.variance.sum())
        return float(self.within.variance.sum()) / total if total > 0 else 0.0

    @property
    def chance_share(self) -> float:
        """(rows - groups) / (rows - 1): the share that is expected within groups which mean nothing, 1 - 1/clips or so.

        Rows that are drawn alike in all groups have this; with two clips a video it is about a half, and not 1.
        """
        return (self.num_rows - self.num_groups) / (self.num_rows - 1)

    def document(self) -> dict[str, Any]:
        """Shares, numbers of rows and groups, and of each part its effective rank with n, d and bound: plain data for JSON."""
        from fullrank.spectrum.measures import effective_rank

        parts = {"total": self.total, "between": self.between, "within": self.within}
        return {
            "within_share": self.within_share,
            "chance_share": self.chance_share,
            "rows": self.num_rows,
            "groups": self.num_groups,
            **{
                name: {"effective_rank": effective_rank(one), "n": one.n, "d": one.d, "bound": one.bound}
                for name, one in parts.items()
            },
        }


def seen_at_two_times(
    record: Int[np.ndarray, " rows"], start_seconds: Float64[np.ndarray, " rows"]
) -> Bool[np.ndarray, " rows"]:
    """Rows of records of which there are clips of two times at least: those of a video shorter than a clip are all the same.

    >>> seen_at_two_times(np.array([7, 7, 9, 9]), np.array([0.0, 0.0, 0.0, 1.5])).tolist()
    [False, False, True, True]
    """
    names, member = np.unique(record, return_inverse=True)
    first, last = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    np.minimum.at(first, member, start_seconds)
    np.maximum.at(last, member, start_seconds)
    return np.asarray((last > first)[member])


def grouped(features: Array, group: Int[np.ndarray, " rows"], *, normalized: bool = False) -> Grouped:
    """The spectra of single rows, of their groups' means and of the residuals: features [rows, d], group [rows] of any numbers.

    C_total = C_between + C_within exactly (the law of total covariance): C_between = sum_g (n_g / n) (m_g - m)(m_g - m)^T,
    C_within = (1/n) sum_i (z_i - m_g(i))(z_i - m_g(i))^T. ``normalized`` divides each row by its length first, before any
    mean. Of clips, ``group`` is ``FeatureTable.record``. With few clips a video, C_between holds a part of what differs within
    videos too (1 / clips of it), as every mean of a sample does.

    Healthy: the effective rank of ``within`` near its bound. Temporal collapse: ``within_share`` near 0, or ``within`` of low
    effective rank while that of ``between`` is high. In the example all that differs within videos is one direction:

    >>> z = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [2.0, 3.0]])
    >>> found = grouped(z, np.array([7, 7, 9, 9]))
    >>> [each.eigenvalues.tolist() for each in (found.total, found.between, found.within)]
    [[2.25, 1.0], [2.25, 0.0], [1.0, 0.0]]
    >>> round(found.within_share, 6), round(found.chance_share, 6)
    (0.307692, 0.666667)

    Raises ``DataError`` where every group has one row, or all rows are one group; ``ShapeError`` where ``group`` has another
    length; and as ``spectrum_of``.
    """
    group = np.asarray(group)
    if group.shape != features.shape[:1]:
        raise ShapeError(f"every row must have a group. Got {list(group.shape)} groups for features {list(features.shape)}.")
    names, member = np.unique(group, return_inverse=True)
    if len(names) == len(group):
        raise DataError(
            f"collapse in time needs several clips a record. Got one of each of {len(names)} records; extract the features "
            "with --num-clips 4 or more."
        )
    if len(names) < 2:
        raise DataError(f"what lies between records needs at least two of them. Got one, with {len(group)} clips.")
    means = group_means(features, member, normalized=normalized)
    parts = (_clips(features, normalized), _means(means, member), _residuals(features, means, member, normalized))
    sizes = (len(group), len(names), len(group) - len(names) + 1)
    total, between, within = (
        replace(_spectrum(part, len(group), features.shape[1]), n=n, normalized=normalized)
        for part, n in zip(parts, sizes, strict=True)
    )
    return Grouped(total=total, between=between, within=within, num_rows=len(group), num_groups=len(names))


def group_means(
    features: Array, member: Int[np.ndarray, " rows"], *, normalized: bool = False
) -> Float64[np.ndarray, "groups d"]:
    """The mean of each group 0..groups - 1, in float64; of the rows' directions where ``normalized``.

    >>> group_means(np.array([[1.0], [3.0], [8.0]]), np.array([0, 0, 1])).tolist()
    [[2.0], [8.0]]
    """
    sums = np.zeros((int(member.max()) + 1, features.shape[1]))
    start = 0
    for rows in _clips(features, normalized):
        some = member[start : start + len(rows)]
        order = np.argsort(some, kind="stable")
        present, starts = np.unique(some[order], return_index=True)
        sums[present] += np.add.reduceat(rows[order], starts, axis=0)
        start += len(rows)
    return np.asarray(sums / np.bincount(member)[:, None])


def _clips(features: Array, normalized: bool) -> Iterator[NDArray[np.float64]]:
    for block in blocks(features):
        rows = np.asarray(block, dtype=np.float64)
        yield unit_rows(rows) if normalized else rows


def _means(means: NDArray[np.float64], member: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    for some in blocks(member[:, None], max(1, (1 << 22) // means.shape[1])):
        yield means[some[:, 0]]


def _residuals(
    features: Array, means: NDArray[np.float64], member: NDArray[np.int64], normalized: bool
) -> Iterator[NDArray[np.float64]]:
    start = 0
    for rows in _clips(features, normalized):
        yield rows - means[member[start : start + len(rows)]]
        start += len(rows)


def _spectrum(part: Iterator[NDArray[np.float64]], n: int, d: int) -> Spectrum:
    """Streamed where the covariance is the smaller matrix, else by inner products of the rows, which fit."""
    if n <= d:
        return spectrum_of(np.concatenate(list(part)))
    moments = Moments(d)
    for rows in part:
        moments.update(rows)
    return moments.spectrum()
