"""The words of a diagnosis: what has happened to a space, and the numbers that say so."""

import math

from fullrank.spectrum.rules import Evidence, Kind, is_bulk
from fullrank.spectrum.thresholds import THRESHOLDS

SHOWN_CLIFF = 5.0
"""a step of the spectrum that is worth a word"""
ALONE, ALONE_OF = 0.5, 16
"""one row, or one dimension, with more of the variance than this is worth a word, where there are so many of them"""
COUNTED_MANY = 2
"""rows for each dimension, below which a rank mostly tells the rows"""


def sentence(space: str, kind: Kind, e: Evidence) -> str:
    """One sentence about a space."""
    if kind == "untrained":
        found = f"{rank(e)}, " if "effective_rank" in e else ""
        return f"The {space} starts at {found}{scale(space, e)}."
    if kind == "complete":
        limits = THRESHOLDS[space]
        wide = e["spread"] >= limits.complete_spread and "healthy_std" not in e
        if wide and is_bulk(e, limits):
            return f"The {space} has collapsed completely{but_for_a_few(e)}."
        return f"The {space} has collapsed completely: {scale(space, e)}{_rest(e)}."
    if kind == "cluster":
        return (
            f"The {space} has collapsed to clusters: {100 * e['clustered_ratio']:.0f} % of its rows sit at {e['clusters']} "
            f"points, {e['cluster_gap']:.3g} times as far apart as the rows at one (spread rows: about 1)."
        )
    if kind == "dimensional":
        cosine = f"mean cosine {e['mean_cosine']:.2f} between different records"
        return f"The {space} has collapsed in dimension: {rank(e)}{_cliff(e)}; rows still differ ({cosine})."
    if kind == "temporal":
        return (
            f"The {space} has collapsed in time: records differ (effective rank {e['between_effective_rank']:.1f} of at most "
            f"{e['between_bound']} between them), but their clips hardly: {100 * e['within_share']:.2g} % of the variance lies "
            f"within records, with an effective rank of {e['within_effective_rank']:.1f} of at most {e['within_bound']}."
        )
    if kind == "mean_shift":
        return (
            f"The {space} has a mean shift: its rows share one direction (mean cosine {e['mean_cosine']:.2f} between different "
            f"records), around which they differ enough ({rank(e)}); subtract the mean before comparing by cosine."
        )
    excused = e["mean_cosine"] > min(THRESHOLDS[space].signed_shift_cosine, THRESHOLDS[space].shift_cosine)
    cosine = f"mean cosine {e['mean_cosine']:.2f}" + " (no entry is negative, as behind a ReLU)" * excused
    return f"The {space} is healthy: {rank(e)}, {cosine}, sqrt(d) x normalised std {e['spread']:.2g}."


def scale(space: str, e: Evidence) -> str:
    """What decides "complete"."""
    std = f"std {e['std']:.2g} (healthy {e['healthy_std']:g}), " if "healthy_std" in e else ""
    usual = " (healthy about 1)" if space == "embedding" else ""
    return (
        f"{std}mean cosine {e['mean_cosine']:.4f} between different records, sqrt(d) x normalised std {e['spread']:.2g}{usual}"
    )


def but_for_a_few(e: Evidence, of: str = "") -> str:
    """What decides "complete" where a few rows stand apart; ``of``: what they are a few of."""
    bulk = math.sqrt(e["d"]) * e["trimmed_normalized_std"]
    return (
        f" but for a few records{of}: without the farthest eighth of them sqrt(d) x normalised std is {bulk:.2g} (healthy "
        f"about 1), and one direction holds {100 * e['leading_share']:.1f} % of the variance"
    )


def rank(e: Evidence) -> str:
    """The effective rank with its bound."""
    limit = "n - 1" if e["n"] - 1 < e["d"] else "the width"
    used = f", {e['numerical_rank']} directions used at all" if "numerical_rank" in e else ""
    return f"effective rank {e['effective_rank']:.1f} of at most {e['bound']} ({limit}){used}"


def _cliff(e: Evidence) -> str:
    """Where the spectrum breaks off, if it does so at once and early."""
    factor, directions = e.get("cliff_factor", 1.0), e.get("cliff_directions", 0)
    if factor < SHOWN_CLIFF or directions >= e["bound"]:
        return ""
    how = f"{factor:,.0f} times" if factor < 1e6 else "more than a million times"
    return f", and after {directions} direction{'s' * (directions != 1)} the spectrum falls {how}"


def _rest(e: Evidence) -> str:
    if e["std"] == 0:
        return f"; all {e['n']} rows are equal (effective rank 0 of at most {e['bound']})"
    if "effective_rank" in e:
        return f"; its effective rank, {e['effective_rank']:.1f} of at most {e['bound']}, is that of what little is left"
    return ""


def remarks(space: str, kind: Kind, e: Evidence) -> list[str]:
    """What weakens the verdict."""
    found = []
    if e["n"] < COUNTED_MANY * e["d"]:
        found.append(
            f"The {space} has n = {e['n']} rows for d = {e['d']} dimensions: below n = 2d an effective rank mostly tells n. "
            f"Take at least {COUNTED_MANY * e['d']} rows."
        )
    for what, count in (("row", e["n"]), ("dimension", e["d"])):
        if count >= ALONE_OF and e.get(f"largest_{what}_share", 0.0) > ALONE:
            share, number = 100 * e[f"largest_{what}_share"], e[f"largest_{what}"]
            found.append(
                f"One {what} alone, number {number} counted from 0, holds {share:.0f} % of the {space}'s variance, which "
                "lowers every rank: leave it out and look again."
            )
    if space == "embedding" and kind not in ("complete", "untrained") and "healthy_std" not in e and e["std"] < 0.01:
        found.append(
            f"The embedding's std is {e['std']:.2g}: collapse where the method fixes the scale (VICReg: 1), nothing where it "
            "uses cosines."
        )
    return found


def certainty(confidence: float | None, resamples: int, others: dict[str, int]) -> str:
    """How sure, in words; empty where no resample was drawn.

    >>> certainty(0.9, 20, {"healthy": 2})
    '18 of 20 bootstrap resamples give the same verdict, 2 say healthy.'
    """
    if confidence is None:
        return ""
    said = "".join(f", {count} say{'s' * (count == 1)} {kind.replace('_', ' ')}" for kind, count in sorted(others.items()))
    return f"{round(confidence * resamples)} of {resamples} bootstrap resamples give the same verdict{said}."
