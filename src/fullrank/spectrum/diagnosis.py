"""From measures, or features, to a sentence: has it collapsed, how, in which space, how sure, and what to change.

Rules stand in rules.py, their numbers in thresholds.py, words in sentences.py, what to change in levers.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import SettingError
from fullrank.spectrum.deciding import Certainty, certainty_of, deciding_measures, time_remark
from fullrank.spectrum.levers import levers
from fullrank.spectrum.moments import Array
from fullrank.spectrum.rules import SEVERITY, SPACES, Kind, evidence_of, kind_of
from fullrank.spectrum.sentences import certainty, remarks, sentence

TRIED_FIRST = 3
"""levers that the advice names"""


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
    levers: tuple[str, ...] = ()
    """what to change, the first to be tried first"""
    certainties: Mapping[str, Certainty] | None = None
    """{space: how often resamples gave the same kind}; None where only measures were given"""

    @property
    def confidence(self) -> float | None:
        """Share of bootstrap resamples that give the same kind in every space, at worst; None without resamples."""
        shares = [each.confidence for each in (self.certainties or {}).values() if each.confidence is not None]
        return min(shares) if shares else None

    @property
    def sure(self) -> str:
        """The confidence in words, of the space that leads; empty without resamples."""
        found = (self.certainties or {}).get(self.space)
        return certainty(found.confidence, found.resamples, dict(found.others)) if found else ""

    @property
    def advice(self) -> str | None:
        """The first levers in one sentence; None where there are none."""
        return f"To try, in this order: {'; '.join(self.levers[:TRIED_FIRST])}." if self.levers else None

    def document(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict,
            "confidence": self.confidence,
            "space": self.space,
            "sentence": self.sentence,
            "kinds": dict(self.kinds),
            "evidence": self.evidence,
            "resamples": {
                space: {"count": each.resamples, "same": each.confidence, "others": dict(each.others)}
                for space, each in (self.certainties or {}).items()
            },
            "warnings": list(self.warnings),
            "levers": list(self.levers),
        }


def diagnose(
    spaces: Mapping[str, Mapping[str, Any] | None],
    *,
    healthy_std: float | None = None,
    method: str | None = None,
    settings: Mapping[str, Any] | None = None,
    trained: bool = True,
) -> Diagnosis:
    """The verdict from the measures (``measure_all``) of the representation and, where there is one, the embedding.

    Measures of clusters and of time (``deciding_measures``) are read where they are there. ``healthy_std``: the standard
    deviation that the method drives each dimension of its embedding to (VICReg: ``target_std``); None where its scale is
    arbitrary (methods that use cosines). ``method`` and ``settings`` (as config.json has them) choose what to change. Of
    weights that are not ``trained`` the same numbers are told without a verdict: a projector of random weights gives nearly
    parallel rows (mean cosine up to 0.99), which is where training starts and no collapse.

    Raises ``DataError`` where a measure is missing or not finite, ``SettingError`` for an unknown space.

    >>> row = {"n": 1000, "d": 16, "std": 1.0, "normalized_std": 0.25, "mean_cosine": 0.0, "effective_rank": 15.9}
    >>> diagnose({"representation": row}).verdict
    'healthy'
    >>> diagnose({"embedding": row | {"normalized_std": 0.005, "mean_cosine": 0.9996}}).verdict
    'complete'
    """
    given = {space: measures for space, measures in spaces.items() if measures is not None}
    _check(given)
    evidence = {space: evidence_of(space, m, healthy_std if space == "embedding" else None) for space, m in given.items()}
    kinds: dict[str, Kind] = {space: kind_of(space, numbers) if trained else "untrained" for space, numbers in evidence.items()}
    # The worst space leads; of two that are equally bad, the representation, which is what is kept.
    order = sorted(kinds, key=lambda space: (-SEVERITY.index(kinds[space]), SPACES.index(space)))
    worst = order[0]
    said = "" if trained else "The weights are random, and collapse is something that training does. "
    said += " ".join(sentence(space, kinds[space], evidence[space]) for space in order)
    return Diagnosis(
        verdict=kinds[worst],
        space=worst,
        sentence=said,
        evidence=evidence,
        kinds=kinds,
        warnings=tuple(w for space in order for w in remarks(space, kinds[space], evidence[space])),
        levers=levers(kinds[worst], method, settings),
    )


def diagnose_features(
    spaces: Mapping[str, Array | None],
    *,
    record: NDArray[np.int64] | None = None,
    start_seconds: NDArray[np.float64] | None = None,
    healthy_std: float | None = None,
    method: str | None = None,
    settings: Mapping[str, Any] | None = None,
    trained: bool = True,
    resamples: int | None = None,
    seed: int = 0,
) -> Diagnosis:
    """The verdict from features [n, d] of one or both spaces, with clusters, time and confidence besides.

    ``record`` [n]: which record each row is of, for collapse in time (several clips a record) and so that records and not
    rows are resampled; ``start_seconds`` [n]: when each clip starts. ``resamples``: how many (by default as many as the size
    allows, ``deciding.resample_count``); 0: none.

    >>> rows = np.random.default_rng(0).normal(size=(200, 8))
    >>> found = diagnose_features({"representation": rows}, resamples=20)
    >>> found.verdict, found.confidence
    ('healthy', 1.0)
    """
    given = {space: x for space, x in spaces.items() if x is not None}
    _check(given)
    measures = {space: deciding_measures(x, record, start_seconds) for space, x in given.items()}
    found = diagnose(measures, healthy_std=healthy_std, method=method, settings=settings, trained=trained)
    if not trained:
        return found
    found = replace(found, warnings=(*found.warnings, *filter(None, [time_remark(record, start_seconds)])))
    certainties = {
        space: certainty_of(
            x,
            space,
            found.kinds[space],
            record=record,
            start_seconds=start_seconds,
            healthy_std=healthy_std if space == "embedding" else None,
            resamples=resamples,
            seed=seed,
        )
        for space, x in given.items()
    }
    return replace(found, certainties=certainties)


def _check(spaces: Mapping[str, Any]) -> None:
    if not spaces or set(spaces) - set(SPACES):
        raise SettingError(f"diagnose needs the measures of {' or '.join(SPACES)}. Got: {', '.join(spaces) or 'none'}.")
