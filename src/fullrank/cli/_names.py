"""A name for each input of a command that draws several: what stands in the legend."""

from collections.abc import Sequence
from pathlib import Path

from fullrank.errors import SettingError


def names_of(inputs: Sequence[Path], labels: Sequence[str]) -> list[str]:
    """``labels`` where they are given, one an input; else the names of the files and folders, or what tells paths apart.

    >>> names_of([Path("a/test.npy"), Path("b/other")], ())
    ['test', 'other']
    >>> names_of([Path("runs/a/test"), Path("runs/b/test")], ())
    ['a', 'b']
    """
    if labels and len(labels) != len(inputs):
        raise SettingError(f"--labels must name each input once. Got {len(labels)} for {len(inputs)} inputs.")
    names = list(labels) or [path.stem if path.suffix else path.name for path in inputs]
    names = names if len(set(names)) == len(names) else _apart(inputs)
    if len(set(names)) < len(names):
        raise SettingError("every input must have a name of its own. Got one twice; give different --labels.")
    return names


def _apart(inputs: Sequence[Path]) -> list[str]:
    """Paths without the folders that all begin or end with; whole, where one has nothing else."""
    parts = [path.parts for path in inputs]
    first = next((i for i, same in enumerate(zip(*parts, strict=False)) if len(set(same)) > 1), 0)
    last = next((i for i, same in enumerate(zip(*(reversed(p) for p in parts), strict=False)) if len(set(same)) > 1), 0)
    names = ["/".join(p[first : len(p) - last]) for p in parts]
    return names if all(names) else [str(path) for path in inputs]
