"""A name for each input of a command that draws several: what stands in the legend."""

from collections.abc import Sequence
from pathlib import Path

from fullrank.errors import SettingError


def names_of(inputs: Sequence[Path], labels: Sequence[str]) -> list[str]:
    """``labels`` where they are given, one an input; else the names of the files and folders, or whole paths where two agree.

    >>> names_of([Path("a/test.npy"), Path("b/other")], ())
    ['test', 'other']
    >>> names_of([Path("a/test"), Path("b/test")], ())
    ['a/test', 'b/test']
    """
    if labels and len(labels) != len(inputs):
        raise SettingError(f"--labels must name each input once. Got {len(labels)} for {len(inputs)} inputs.")
    names = list(labels) or [path.stem if path.suffix else path.name for path in inputs]
    names = names if len(set(names)) == len(names) else [str(path) for path in inputs]
    if len(set(names)) < len(names):
        raise SettingError("every input must have a name of its own. Got one twice; give different --labels.")
    return names
