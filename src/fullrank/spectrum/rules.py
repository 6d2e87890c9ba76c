"""The rules of the diagnosis: from measures to the numbers that decide, and from those to a kind of collapse.

Scale is read before rank. The effective rank of a completely collapsed embedding is that of its noise (VICReg without its
variance term: 73 of 128 at a standard deviation of 0.004), so spread and standard deviation decide "complete" first. Spread is
sqrt(d) * normalised std: 1 where directions are spread evenly, 0 where all are one; no scale or width enters it. Points come
before rank, because K points have a rank of K - 1 at most.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

from fullrank.errors import DataError
from fullrank.spectrum.thresholds import COMPLETE_COSINE, THRESHOLDS, Thresholds

Kind = Literal["untrained", "healthy", "mean_shift", "temporal", "dimensional", "cluster", "complete"]
SEVERITY: tuple[Kind, ...] = ("untrained", "healthy", "mean_shift", "temporal", "dimensional", "cluster", "complete")
SPACES = ("representation", "embedding")
NEEDED = ("n", "d", "std", "normalized_std", "mean_cosine")
TAKEN = (
    *("std", "mean_cosine", "negative_share", "effective_rank", "numerical_rank", "cliff_directions", "cliff_factor"),
    *("trimmed_normalized_std", "leading_share"),
    *("largest_row", "largest_row_share", "largest_dimension", "largest_dimension_share"),
    *("clusters", "cluster_gap", "clustered_ratio"),
    *("within_share", "within_effective_rank", "within_bound"),
    *("between_effective_rank", "between_numerical_rank", "between_bound"),
    *("between_cliff_directions", "between_cliff_factor"),
)
"""of the measures, what the rules read where it is there"""
Evidence = Mapping[str, float | int]


def space_of(feature: str) -> str:
    """The space that a feature of a method belongs to, by the end of its name.

    >>> space_of("broad_embedding")
    'embedding'
    """
    return feature.rpartition("_")[2]


def evidence_of(space: str, measures: Mapping[str, Any], healthy_std: float | None) -> dict[str, float | int]:
    """The numbers that decide about a space; ``DataError`` where one that is needed is missing or not finite."""
    missing = [name for name in NEEDED if name not in measures]
    if missing:
        raise DataError(f"a diagnosis of the {space} needs its {', '.join(missing)}. Got: {', '.join(measures)}.")
    n, d = int(measures["n"]), int(measures["d"])
    found: dict[str, float | int] = {"n": n, "d": d, "bound": min(n - 1, d)}
    found |= {name: measures[name] for name in TAKEN if name in measures}
    found["spread"] = math.sqrt(d) * float(measures["normalized_std"])
    if healthy_std is not None:
        found["healthy_std"] = healthy_std
    bad = [name for name, value in found.items() if not math.isfinite(value)]
    if bad:
        raise DataError(f"a diagnosis of the {space} needs finite measures. Got {found[bad[0]]} as {bad[0]}.")
    return found


def is_complete(numbers: Evidence, spread: float, std_ratio: float) -> bool:
    """All rows are nearly one, by their directions or by the scale that the method fixes.

    A mean cosine near 1 goes with it: the spread alone is as low where few dimensions hold all that differs (one-hot rows).
    """
    fixed = "healthy_std" in numbers and numbers["std"] < std_ratio * numbers["healthy_std"]
    same = numbers["spread"] < spread and numbers["mean_cosine"] > COMPLETE_COSINE
    return bool(fixed or numbers["std"] == 0 or same)


def is_bulk(numbers: Evidence, limits: Thresholds) -> bool:
    """All rows but a few are nearly one (``bulk_measures``): what a BatchNorm at the end of a head leaves of a collapse."""
    if "leading_share" not in numbers:
        return False
    trimmed = math.sqrt(numbers["d"]) * numbers["trimmed_normalized_std"]
    return bool(trimmed < limits.bulk_spread and numbers["leading_share"] > limits.leading_share)


def kind_of(space: str, numbers: Evidence, limits: Thresholds | None = None) -> Kind:
    """The first that holds of complete, cluster, dimensional, temporal, mean shift; else healthy.

    ``limits``: others than those of the space, for tuning. ``DataError`` where the effective rank is missing and the scale does
    not decide alone.
    """
    limits = limits or THRESHOLDS[space]
    # In eval mode a network of a few steps has BatchNorm statistics of few steps, and a small std that is still spread over
    # directions; in training (the alarm) the batch's own statistics are used and a small std is enough.
    narrow = numbers["spread"] < limits.narrow_spread
    if is_complete(numbers, limits.complete_spread, limits.complete_std_ratio if narrow else limits.tiny_std_ratio):
        return "complete"
    if space == "embedding" and is_bulk(numbers, limits):  # backbones end in no BatchNorm
        return "complete"
    if numbers.get("cluster_gap", 1.0) > limits.cluster_gap:
        return "cluster"
    if "effective_rank" not in numbers:
        raise DataError(f"a diagnosis of the {space} needs its effective_rank. Got only the cheap measures; use measure_all.")
    if _is_low(numbers, limits):
        return "dimensional"
    if _is_temporal(numbers, limits):
        return "temporal"
    return "mean_shift" if _is_shifted(numbers, limits) else "healthy"


def _is_low(numbers: Evidence, limits: Thresholds) -> bool:
    # clips that hardly differ within records cannot fill more directions than there are records: then the records decide
    part = "between_" if "within_share" in numbers else ""
    bound = numbers[f"{part}bound"]
    if bound < 2:
        return False
    low = numbers[f"{part}effective_rank"] < limits.low_rank_ratio * bound
    used = numbers.get(f"{part}numerical_rank", bound)
    if numbers.get(f"{part}cliff_factor", 1.0) > limits.cliff_factor:
        used = min(used, numbers[f"{part}cliff_directions"])
    return bool(low or used < limits.unused_ratio * bound)


def _is_shifted(numbers: Evidence, limits: Thresholds) -> bool:
    signed = numbers.get("negative_share", 0.0) > 0.0  # a ReLU leaves none, and is then no explanation
    most = min(limits.shift_cosine, limits.signed_shift_cosine) if signed else limits.shift_cosine
    return bool(numbers["mean_cosine"] > most)


def _is_temporal(numbers: Evidence, limits: Thresholds) -> bool:
    if "within_share" not in numbers:
        return False
    bound = numbers["within_bound"]
    low = bound > 1 and numbers["within_effective_rank"] < limits.within_rank_ratio * bound
    return bool(numbers["within_share"] < limits.within_share or low)
