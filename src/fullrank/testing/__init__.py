"""Conformance: what every method must hold to, ours and third parties'.

    from fullrank.testing import check_method
    check_method(MyMethod, my_tiny_settings)

One file says what is tried with (``lab``), one what must hold (``points``), one how two real processes are compared
with one (``processes``).
"""

from collections.abc import Iterable
from typing import Any

from fullrank.config import RunConfig
from fullrank.errors import FullrankError, SettingError, did_you_mean
from fullrank.methods._method import Method
from fullrank.testing.lab import Subject
from fullrank.testing.points import POINTS, Nonconformance

__all__ = ["POINTS", "Nonconformance", "Subject", "check_method"]


def check_method(
    cls: type[Method],
    config: RunConfig[Any] | None = None,
    *,
    points: Iterable[str] | None = None,
    exempt: Iterable[str] = (),
) -> list[str]:
    """Hold a method to the contract (docs/decisions/0001-contract.md); returns the points that were checked.

    ``config``: small settings that train in seconds, as a recipe's ``tiny()`` returns them; None: the recipe of that
    name. ``points``: names out of ``POINTS``; None: all, but for those that the class itself is exempt from
    (``Method.exempt``) and those in ``exempt``. ``Nonconformance`` lists every point that does not hold, and why.
    """
    subject = Subject(cls, config)
    wanted = list(POINTS) if points is None else list(points)
    for name in (*wanted, *exempt):
        if name not in POINTS:
            raise SettingError(f"Unknown point '{name}'.{did_you_mean(name, POINTS)} There are: {', '.join(POINTS)}.")
    failed, checked = [], []
    for name in wanted:
        if name in exempt or name in cls.exempt:
            continue
        try:
            POINTS[name](subject)
        except (Nonconformance, FullrankError) as error:
            failed.append(f"{name}: {error}")
        checked.append(name)
    if failed:
        raise Nonconformance(f"{cls.__name__} does not hold to {len(failed)} of {len(checked)} points. " + " | ".join(failed))
    return checked
