"""What raises an alarm while training: pure functions of numbers. engine/alarms.py keeps what lies between two readings.

Each returns {"kind", "sentence", "evidence"}, or None where there is nothing to say.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fullrank.methods._method import Sign
from fullrank.spectrum.rules import SPACES, evidence_of, is_bulk, is_complete, space_of
from fullrank.spectrum.sentences import but_for_a_few, rank, scale
from fullrank.spectrum.thresholds import ALARMS, THRESHOLDS

LARGEST_K = 1 << 20
"""a collapse value is told as log K for whole K up to this"""


def cheap_complete(
    measures: Mapping[str, Any], space: str = "embedding", *, healthy_std: float | None = None, lasting: bool = False
) -> dict[str, Any] | None:
    """A complete collapse of ``space`` that ``cheap_measures`` of a batch show.

    Stricter than ``diagnose``: heads without batch norm start with a spread near 0.1 and widen. ``lasting`` asks what
    ``diagnose`` would say, which is an alarm only after ``ALARMS.lasting_steps`` in a row, or where one stands.

    A method that fixes the scale of its embedding passes it as ``healthy_std``: its collapse shows in the std some 100 steps
    before it shows in the directions (VICReg without variance term: std 0.03 after 30 steps, mean cosine then 0.88), and where
    both are small, neither has to be as small as alone. Of an embedding that ends in a BatchNorm a few rows of each batch stay
    apart, whatever happens: with ``bulk_measures`` among the measures, all others are looked at.

    >>> row = {"n": 64, "d": 16, "std": 0.01, "normalized_std": 0.2, "mean_cosine": 0.4}
    >>> cheap_complete(row) is None
    True
    >>> narrow = row | {"std": 0.5, "normalized_std": 0.025, "mean_cosine": 0.99}
    >>> cheap_complete(narrow) is None, cheap_complete(narrow, lasting=True) is None
    (True, False)
    >>> print(cheap_complete(row, healthy_std=1.0)["sentence"])
    The embedding has collapsed completely: std 0.01 (healthy 1), mean cosine 0.4000 between different records,
    sqrt(d) x normalised std 0.8 (healthy about 1).
    """
    kind = space_of(space)
    if kind not in THRESHOLDS:
        return None
    evidence = evidence_of(space, measures, healthy_std if kind == "embedding" else None)
    name = space.replace("_", " ")
    small = "healthy_std" in evidence and evidence["std"] < ALARMS.narrow_std_ratio * evidence["healthy_std"]
    spread = THRESHOLDS[kind].complete_spread if lasting or small else ALARMS.spread[kind]
    if is_complete(evidence, spread, ALARMS.std_ratio):
        sentence = f"The {name} has collapsed completely: {scale(kind, evidence)}."
    elif kind == "embedding" and is_bulk(evidence, THRESHOLDS[kind]):
        sentence = f"The {name} has collapsed completely{but_for_a_few(evidence, ' of each batch')}."
    else:
        return None
    return {"kind": "complete", "sentence": sentence, "evidence": evidence}


def by_metrics(signs: Sequence[Sign], metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """The first of a method's ``signs`` that its metrics show.

    DINO's and SwAV's collapse is in what they assign to prototypes: without sharpening the output is uniform while the
    embedding in front of it still differs from record to record.

    >>> uniform = Sign(kind="complete", says="the output is uniform", below={"kl": 0.02}, above={"entropy": 6.9})
    >>> print(by_metrics([uniform], {"kl": 0.001, "entropy": 6.93})["sentence"])
    The output is uniform (complete collapse): kl 0.001 (collapsed below 0.02), entropy 6.93 (collapsed above 6.9).
    >>> by_metrics([uniform], {"kl": 0.5, "entropy": 6.93}) is None
    True
    """
    for sign in signs:
        if sign.shows(metrics):
            bounds = [(name, "below", value) for name, value in sign.below.items()]
            bounds += [(name, "above", value) for name, value in sign.above.items()]
            numbers = ", ".join(f"{name} {metrics[name]:.3g} (collapsed {side} {value:.3g})" for name, side, value in bounds)
            sentence = f"{sign.says[0].upper()}{sign.says[1:]} ({sign.kind} collapse): {numbers}."
            return {"kind": sign.kind, "sentence": sentence, "evidence": {name: metrics[name] for name, _, _ in bounds}}
    return None


def few_directions(measures: Mapping[str, Any], space: str, before: float | None) -> dict[str, Any] | None:
    """A dimensional collapse of an embedding that its spectrum shows, where it no longer widens.

    ``before``: its effective rank at the last spectrum; one that grew by a twentieth since then is on its way. Representations
    start with few directions and are not looked at.

    >>> row = {"n": 2048, "d": 128, "std": 1.0, "normalized_std": 0.08, "mean_cosine": 0.0, "effective_rank": 2.0}
    >>> print(few_directions(row, "embedding", 2.0)["sentence"])
    The embedding has collapsed in dimension: effective rank 2.0 of at most 128 (the width), and it no longer widens.
    >>> few_directions(row, "embedding", 1.5) is None
    True
    """
    if space_of(space) != "embedding" or before is None:
        return None
    evidence = evidence_of(space, measures, None)
    found = evidence["effective_rank"]
    if found >= ALARMS.low_rank_ratio * evidence["bound"] or found > ALARMS.widening * before:
        return None
    sentence = f"The {space.replace('_', ' ')} has collapsed in dimension: {rank(evidence)}, and it no longer widens."
    return {"kind": "dimensional", "sentence": sentence, "evidence": evidence | {"effective_rank_before": before}}


def few_points(measures: Mapping[str, Any], space: str) -> dict[str, Any] | None:
    """A cluster collapse that the rows of many batches show (``cluster_measures``).

    >>> print(few_points({"clusters": 3, "cluster_gap": 40.0, "clustered_ratio": 1.0}, "embedding")["sentence"])
    The embedding has collapsed to clusters: 100 % of the rows sit at 3 points, 40 times as far apart as the rows at one.
    """
    limits = THRESHOLDS.get(space_of(space))
    if limits is None or measures.get("cluster_gap", 1.0) <= limits.cluster_gap:
        return None
    evidence = {name: measures[name] for name in ("clusters", "cluster_gap", "clustered_ratio")}
    sentence = (
        f"The {space.replace('_', ' ')} has collapsed to clusters: {100 * evidence['clustered_ratio']:.0f} % of the rows sit "
        f"at {evidence['clusters']} points, {evidence['cluster_gap']:.3g} times as far apart as the rows at one."
    )
    return {"kind": "cluster", "sentence": sentence, "evidence": evidence}


def sudden_drop(ranks: Sequence[float], space: str) -> dict[str, Any] | None:
    """An effective rank, the last of ``ranks``, far below the median of those before it.

    Of a representation or an embedding: the rank of a prediction falls in healthy runs, for a predictor keeps few directions
    (BYOL's 3 of 128 beside an embedding of 13 to 15). Not of the start, where ranks fall while features are learnt: pass those
    of after ``ALARMS.settled_steps``.

    >>> print(sudden_drop([30.0, 31.0, 29.0, 30.0, 8.0], "embedding")["sentence"])
    The effective rank of the embedding dropped to 8.0, from a median of 30.0 over the last 4 spectra.
    >>> sudden_drop([30.0, 25.0, 20.0, 15.0, 12.0], "embedding") is None
    True
    >>> sudden_drop([30.0, 31.0, 29.0, 30.0, 8.0], "prediction") is None
    True
    """
    earlier = sorted(ranks[-1 - ALARMS.drop_readings : -1])
    if space_of(space) not in SPACES or len(earlier) < ALARMS.drop_readings:
        return None
    half = len(earlier) // 2
    usual = (earlier[half - 1] + earlier[half]) / 2 if len(earlier) % 2 == 0 else earlier[half]
    if ranks[-1] >= ALARMS.drop_ratio * usual:
        return None
    sentence = (
        f"The effective rank of the {space.replace('_', ' ')} dropped to {ranks[-1]:.1f}, from a median of {usual:.1f} over "
        f"the last {len(earlier)} spectra."
    )
    return {"kind": "drop", "sentence": sentence, "evidence": {"effective_rank": ranks[-1], "effective_rank_before": usual}}


def at_collapse_value(losses: Mapping[str, float], promised: Mapping[str, float]) -> dict[str, Any] | None:
    """Every term that the method promises a value for at complete collapse (``Method.at_collapse``) has it.

    Where the value is the term's minimum too (BYOL: 0), a perfect encoder has it as well: ask the spread besides.

    >>> print(at_collapse_value({"swapped": 8.3178}, {"swapped": math.log(4096)})["sentence"])
    The loss is at its value for equal outputs: swapped 8.318 (8.3178 = log 4096: the output is uniform).
    >>> at_collapse_value({"swapped": 8.0}, {"swapped": math.log(4096)}) is None
    True
    """
    if not promised or not all(
        name in losses and abs(losses[name] - value) <= ALARMS.loss_tolerance * (1 + abs(value))
        for name, value in promised.items()
    ):
        return None
    said = ", ".join(f"{name} {losses[name]:.4g} ({_as_log(value)})" for name, value in promised.items())
    evidence = {name: losses[name] for name in promised} | {f"{name}_at_collapse": value for name, value in promised.items()}
    return {"kind": "complete", "sentence": f"The loss is at its value for equal outputs: {said}.", "evidence": evidence}


def _as_log(value: float) -> str:
    """A collapse value in words: "8.3178 = log 4096: the output is uniform" where it is the logarithm of a whole number."""
    whole = math.exp(value) if 0 < value < math.log(LARGEST_K) else 0.0
    if whole > 2 and abs(whole - round(whole)) < 1e-6 * whole:
        return f"{value:.4f} = log {round(whole)}: the output is uniform"
    return f"{value:.4g} at collapse"
