"""From measures to a sentence: has it collapsed, how, in which space, and which numbers say so.

Scale is read before rank. The effective rank of a completely collapsed embedding is that of its noise (VICReg without its
variance term: 73 of 128 at a standard deviation of 0.004), so spread, mean cosine and standard deviation decide "complete"
first. Spread is sqrt(d) * normalised std: 1 where directions are spread evenly, 0 where all are one; no scale or width
enters it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fullrank.errors import DataError, SettingError
from fullrank.methods._method import Sign

Kind = Literal["untrained", "healthy", "mean_shift", "dimensional", "complete"]
SEVERITY: tuple[Kind, ...] = ("untrained", "healthy", "mean_shift", "dimensional", "complete")
SPACES = ("representation", "embedding")


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What a space must be beyond to be called collapsed."""

    complete_spread: float
    """complete below this sqrt(d) * normalised std"""
    alarm_spread: float
    """the live alarm, stricter: embeddings without batch norm start narrow and widen later"""
    shift_cosine: float
    """mean shift above this mean cosine of different records"""
    low_rank_ratio: float = 0.1
    """dimensional below this effective rank / min(n - 1, d)"""
    unused_ratio: float = 0.6
    """dimensional below this share of directions used at all: numerical rank / min(n - 1, d)"""


THRESHOLDS: dict[str, Thresholds] = {
    # A ReLU makes representations non-negative: their mean cosine is 0.6 to 0.95 at random initialisation and in good encoders.
    "representation": Thresholds(complete_spread=0.03, alarm_spread=0.02, shift_cosine=0.98),
    # Measured on small networks: 0.02 to 0.12 in collapsed embeddings, 0.35 to 0.98 in healthy ones after 100 steps; MoCo's
    # starts at 0.5, falls to 0.07 for some twenty steps, and recovers.
    "embedding": Thresholds(complete_spread=0.15, alarm_spread=0.05, shift_cosine=0.8),
}
BULK_SPREAD = 0.15
"""the live alarm: complete but for a few rows below this sqrt(d) * trimmed normalised std, and ...
Measured on the embedded world: 0.01 to 0.10 in SimSiam without stop-gradient or predictor from step 20 on, at least 0.13 in
SimSiam as it is; narrow starts are below it too"""
LEADING_SHARE = 0.97
"""... above this share of the variance in one direction: 0.987 to 1 in the same collapsed runs, at most 0.95 as it is"""
COMPLETE_STD_RATIO = 0.08
"""complete below this std / healthy std, for methods that fix the scale (VICReg's gamma); a healthy start is at 0.3"""

TINY_STD_RATIO = 0.005
"""the same where directions are still spread: an embedding that shrinks to a point without a common direction"""
NARROW_SPREAD = 0.5
"""sqrt(d) * normalised std below which a small std is already collapse"""

LEVERS: dict[tuple[str, Kind], str] = {
    ("vicreg", "complete"): (
        "What prevents this in VICReg is the variance term: raise method.variance_weight (25 in the paper; 0 collapses), "
        "and log its terms one by one: a covariance term near 0 goes with a collapsed embedding."
    ),
}
"""what to try, only where it is known"""


def space_of(feature: str) -> str:
    """The space that a feature of a method belongs to, by the end of its name.

    >>> space_of("broad_embedding")
    'embedding'
    """
    return feature.rpartition("_")[2]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The verdict about one encoder."""

    verdict: Kind
    """the worst kind of both spaces"""
    space: str
    """where: "representation" or "embedding\""""
    sentence: str
    """for people: the verdict, then the other space"""
    evidence: dict[str, dict[str, float | int]]
    """{space: the numbers that decided}"""
    kinds: dict[str, Kind]
    """{space: kind}"""
    warnings: tuple[str, ...] = ()
    """what weakens the verdict"""
    advice: str | None = None
    """what to try, where it is known for the method"""

    def document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict,
            "space": self.space,
            "sentence": self.sentence,
            "kinds": dict(self.kinds),
            "evidence": self.evidence,
            "warnings": list(self.warnings),
            "advice": self.advice,
        }


def diagnose(
    spaces: Mapping[str, Mapping[str, Any] | None],
    *,
    healthy_std: float | None = None,
    method: str | None = None,
    trained: bool = True,
) -> Diagnosis:
    """The verdict from the measures (``measure_all``) of the representation and, where there is one, the embedding.

    ``healthy_std``: the standard deviation that the method drives each dimension of its embedding to (VICReg:
    ``target_std``); None where its scale is arbitrary (methods that use cosines). ``method`` picks the advice. Of weights
    that are not ``trained`` the same numbers are told without a verdict: a projector of random weights gives nearly
    parallel rows (mean cosine up to 0.99), which is where training starts and no collapse.

    Raises ``DataError`` where a measure is missing or not finite, ``SettingError`` for an unknown space.

    >>> row = {"n": 1000, "d": 16, "std": 1.0, "normalized_std": 0.25, "mean_cosine": 0.0, "effective_rank": 15.9}
    >>> diagnose({"representation": row}).verdict
    'healthy'
    >>> diagnose({"embedding": row | {"normalized_std": 0.005, "mean_cosine": 0.9996}}).verdict
    'complete'
    """
    given = {space: measures for space, measures in spaces.items() if measures is not None}
    if not given or set(given) - set(SPACES):
        raise SettingError(f"diagnose needs the measures of {' or '.join(SPACES)}. Got: {', '.join(given) or 'none'}.")
    evidence = {space: _evidence(space, m, healthy_std if space == "embedding" else None) for space, m in given.items()}
    kinds: dict[str, Kind] = {space: _kind(space, numbers) if trained else "untrained" for space, numbers in evidence.items()}
    # The worst space leads; of two that are equally bad, the representation, which is what is kept.
    order = sorted(kinds, key=lambda space: (-SEVERITY.index(kinds[space]), SPACES.index(space)))
    worst = order[0]
    sentence = "" if trained else "The weights are random, and collapse is something that training does. "
    sentence += " ".join(_sentence(space, kinds[space], evidence[space]) for space in order)
    warnings = tuple(w for space in order for w in _warnings(space, kinds[space], evidence[space]))
    return Diagnosis(
        verdict=kinds[worst],
        space=worst,
        sentence=sentence,
        evidence=evidence,
        kinds=kinds,
        warnings=warnings,
        advice=LEVERS.get((method or "", kinds[worst])),
    )


def cheap_complete(
    measures: Mapping[str, Any], space: str = "embedding", *, healthy_std: float | None = None
) -> dict[str, Any] | None:
    """{"sentence", "evidence"} where ``cheap_measures`` show a complete collapse of ``space``; None where they don't.

    For the live alarm, so stricter than ``diagnose``: heads without batch norm start with a spread near 0.1 and widen. A
    method that fixes the scale of its embedding passes it as ``healthy_std``: its collapse shows in the std some 100 steps
    before it shows in the directions (VICReg without variance term: std 0.03 after 30 steps, mean cosine then 0.88). Of an
    embedding that ends in a BatchNorm a few rows of each batch stay apart, whatever happens: with ``bulk_measures`` among the
    measures, all others are looked at.

    >>> row = {"n": 64, "d": 16, "std": 0.01, "normalized_std": 0.2, "mean_cosine": 0.4}
    >>> cheap_complete(row) is None
    True
    >>> print(cheap_complete(row, healthy_std=1.0)["sentence"])
    The embedding has collapsed completely: std 0.01 (healthy 1), mean cosine 0.4000 between different records,
    sqrt(d) x normalised std 0.8 (healthy about 1).
    """
    kind = space_of(space)
    if kind not in THRESHOLDS:
        return None
    evidence = _evidence(space, measures, healthy_std if kind == "embedding" else None)
    name = space.replace("_", " ")
    if _is_complete(evidence, THRESHOLDS[kind].alarm_spread, COMPLETE_STD_RATIO):
        sentence = f"The {name} has collapsed completely: {_scale(kind, evidence)}."
    elif kind == "embedding" and _is_bulk(measures):
        evidence |= {key: float(measures[key]) for key in ("trimmed_normalized_std", "leading_share")}
        bulk = math.sqrt(evidence["d"]) * evidence["trimmed_normalized_std"]
        sentence = (
            f"The {name} has collapsed completely but for a few records of each batch: without the farthest eighth of them "
            f"sqrt(d) x normalised std is {bulk:.2g} (healthy about 1), and one direction holds "
            f"{100 * evidence['leading_share']:.1f} % of the variance."
        )
    else:
        return None
    return {"kind": "complete", "sentence": sentence, "evidence": evidence}


def by_metrics(signs: Sequence[Sign], metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """{"kind", "sentence", "evidence"} of the first of a method's ``signs`` that its metrics show; None where none does.

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


def _evidence(space: str, measures: Mapping[str, Any], healthy_std: float | None) -> dict[str, float | int]:
    missing = [name for name in ("n", "d", "std", "normalized_std", "mean_cosine") if name not in measures]
    if missing:
        raise DataError(f"a diagnosis of the {space} needs its {', '.join(missing)}. Got: {', '.join(measures)}.")
    n, d = int(measures["n"]), int(measures["d"])
    found: dict[str, float | int] = {"n": n, "d": d, "bound": min(n - 1, d)}
    found |= {name: measures[name] for name in ("std", "mean_cosine", "effective_rank", "numerical_rank") if name in measures}
    found["spread"] = math.sqrt(d) * float(measures["normalized_std"])
    if healthy_std is not None:
        found["healthy_std"] = healthy_std
    bad = [name for name, value in found.items() if not math.isfinite(value)]
    if bad:
        raise DataError(f"a diagnosis of the {space} needs finite measures. Got {found[bad[0]]} as {bad[0]}.")
    return found


def _is_complete(numbers: Mapping[str, float | int], spread: float, std_ratio: float) -> bool:
    fixed = "healthy_std" in numbers and numbers["std"] < std_ratio * numbers["healthy_std"]
    return bool(fixed or numbers["std"] == 0 or numbers["spread"] < spread)


def _is_bulk(measures: Mapping[str, Any]) -> bool:
    if "leading_share" not in measures:
        return False
    spread = math.sqrt(measures["d"]) * measures["trimmed_normalized_std"]
    return bool(spread < BULK_SPREAD and measures["leading_share"] > LEADING_SHARE)


def _kind(space: str, numbers: Mapping[str, float | int]) -> Kind:
    limits = THRESHOLDS[space]
    # In eval mode a network of a few steps has BatchNorm statistics of few steps, and a small std that is still spread over
    # directions; in training (the alarm) the batch's own statistics are used and a small std is enough.
    std_ratio = COMPLETE_STD_RATIO if numbers["spread"] < NARROW_SPREAD else TINY_STD_RATIO
    if _is_complete(numbers, limits.complete_spread, std_ratio):
        return "complete"
    if "effective_rank" not in numbers:
        raise DataError(f"a diagnosis of the {space} needs its effective_rank. Got only the cheap measures; use measure_all.")
    if numbers["effective_rank"] < limits.low_rank_ratio * numbers["bound"] and numbers["bound"] > 1:
        return "dimensional"
    if numbers.get("numerical_rank", numbers["bound"]) < limits.unused_ratio * numbers["bound"]:
        return "dimensional"
    return "mean_shift" if numbers["mean_cosine"] > limits.shift_cosine else "healthy"


def _scale(space: str, e: Mapping[str, float | int]) -> str:
    std = f"std {e['std']:.2g} (healthy {e['healthy_std']:g}), " if "healthy_std" in e else ""
    usual = " (healthy about 1)" if space == "embedding" else ""
    return (
        f"{std}mean cosine {e['mean_cosine']:.4f} between different records, sqrt(d) x normalised std {e['spread']:.2g}{usual}"
    )


def _rank(e: Mapping[str, float | int]) -> str:
    limit = "n - 1" if e["n"] - 1 < e["d"] else "the width"
    used = f", {e['numerical_rank']} directions used at all" if "numerical_rank" in e else ""
    return f"effective rank {e['effective_rank']:.1f} of at most {e['bound']} ({limit}){used}"


def _sentence(space: str, kind: Kind, e: Mapping[str, float | int]) -> str:
    if kind == "untrained":
        rank = f"{_rank(e)}, " if "effective_rank" in e else ""
        return f"The {space} starts at {rank}{_scale(space, e)}."
    if kind == "complete":
        tail = ""
        if e["std"] == 0:
            tail = f"; all {e['n']} rows are equal (effective rank 0 of at most {e['bound']})"
        elif "effective_rank" in e:
            tail = f"; its effective rank, {e['effective_rank']:.1f} of at most {e['bound']}, is that of what little is left"
        return f"The {space} has collapsed completely: {_scale(space, e)}{tail}."
    if kind == "dimensional":
        cosine = f"mean cosine {e['mean_cosine']:.2f} between different records"
        return f"The {space} has collapsed in dimension: {_rank(e)}; rows still differ ({cosine})."
    if kind == "mean_shift":
        return (
            f"The {space} has a mean shift: its rows share one direction (mean cosine {e['mean_cosine']:.2f} between different "
            f"records), around which they differ enough ({_rank(e)}); subtract the mean before comparing by cosine."
        )
    return (
        f"The {space} is healthy: {_rank(e)}, mean cosine {e['mean_cosine']:.2f}, sqrt(d) x normalised std {e['spread']:.2g}."
    )


def _warnings(space: str, kind: Kind, e: Mapping[str, float | int]) -> list[str]:
    found = []
    if e["n"] < 2 * e["d"]:
        found.append(
            f"The {space} has n = {e['n']} rows for d = {e['d']} dimensions: below n = 2d an effective rank mostly tells n. "
            f"Take at least {2 * e['d']} rows."
        )
    if space == "embedding" and kind not in ("complete", "untrained") and "healthy_std" not in e and e["std"] < 0.01:
        found.append(
            f"The embedding's std is {e['std']:.2g}: collapse where the method fixes the scale (VICReg: 1), nothing where it "
            "uses cosines."
        )
    return found
