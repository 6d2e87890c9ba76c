"""Schedules: a float as a function of progress in [0, 1] (time is an argument, never an attribute)."""

import math


def cosine(progress: float, start: float, end: float) -> float:
    """Half a cosine from ``start`` at progress 0 to ``end`` at progress 1.

    >>> cosine(0.0, 1.0, 0.0), round(cosine(0.5, 1.0, 0.0), 6), cosine(1.0, 1.0, 0.0)
    (1.0, 0.5, 0.0)
    """
    p = min(max(progress, 0.0), 1.0)
    return end + (start - end) * (0.5 + 0.5 * math.cos(math.pi * p))


def warmup_cosine(
    progress: float, peak: float, warmup_ratio: float, end: float = 0.0, start: float = 0.0, *, after_warmup: bool = True
) -> float:
    """Linear from ``start`` to ``peak`` over the first ``warmup_ratio`` of the run, then half a cosine to ``end``.

    Without ``after_warmup`` the cosine begins at progress 0, and warm-up rises to where it is by then.

    >>> warmup_cosine(0.05, 1.0, 0.1), warmup_cosine(0.1, 1.0, 0.1), warmup_cosine(1.0, 1.0, 0.1)
    (0.5, 1.0, 0.0)
    >>> [round(warmup_cosine(p, 1.0, 0.5, after_warmup=False), 6) for p in (0.25, 0.5, 1.0)]
    [0.25, 0.5, 0.0]
    """
    p = min(max(progress, 0.0), 1.0)
    top = peak if after_warmup else cosine(warmup_ratio, peak, end)
    if p < warmup_ratio:
        return start + (top - start) * p / warmup_ratio
    begin = warmup_ratio if after_warmup else 0.0
    return cosine((p - begin) / max(1.0 - begin, 1e-12), peak, end)
