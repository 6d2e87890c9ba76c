"""Settings that other codebases keep in their files: YAML, read as data."""

from typing import Any

import yaml

from fullrank.errors import CheckpointError


def read_yaml(text: str | None) -> dict[str, Any]:
    """The mapping in ``text``; of a key that stands twice, the last (as the codebases that write such files read them)."""
    if not text:
        return {}
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = (str(error).splitlines() or ["?"])[0]
        raise CheckpointError(f"The settings must be YAML. Got text that is not ({line}).") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"The settings must be a YAML mapping. Got {type(found).__name__}.")
    return found


def section(settings: dict[str, Any], name: str) -> dict[str, Any]:
    """The mapping under ``name``; empty where there is none or it is empty.

    >>> section({"DATA": {"NUM_FRAMES": 8}, "TEST": None}, "DATA"), section({"TEST": None}, "TEST")
    ({'NUM_FRAMES': 8}, {})
    """
    found = settings.get(name) or {}
    if not isinstance(found, dict):
        raise CheckpointError(f"The setting {name} must be a mapping. Got {found!r}.")
    return found


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """At least ``count`` numbers; as many are given back.

    >>> numbers(["0.45", 0.45, 0.45], 3), numbers([256, 320], 1)
    ((0.45, 0.45, 0.45), (256.0,))
    """
    if not isinstance(value, list | tuple) or len(value) < count:
        raise CheckpointError(f"A setting must be a list of {count} numbers or more. Got {value!r}.")
    return tuple(number(each) for each in value[:count])


def number(value: Any) -> float:
    """A number, also one that YAML 1.1 reads as a string ("1e-6").

    >>> number("1e-6"), number(8)
    (1e-06, 8.0)
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise CheckpointError(f"A setting must be a number. Got {value!r}.") from None
