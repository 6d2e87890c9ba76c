"""One file a method: functions that return a RunConfig. A recipe's name is "<method>.<function>".

Third parties add theirs by the entry-point group ``fullrank.recipes``.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from typing import Any

from fullrank.config import RunConfig
from fullrank.errors import SettingError, did_you_mean
from fullrank.methods._method import available as methods

ENTRY_POINTS = "fullrank.recipes"
"""third parties: {method name: module of its recipes}"""


def _functions(method: str) -> dict[str, Callable[[], RunConfig[Any]]]:
    elsewhere = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    place = elsewhere.get(method, f"fullrank.recipes.{method}")
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name != place:
            raise  # the recipe is there, and something that it imports is not
        return {}
    return {n: f for n, f in vars(module).items() if inspect.isfunction(f) and f.__module__ == module.__name__ and n[0] != "_"}


def available() -> dict[str, str]:
    """{recipe name: first line of its docstring}."""
    return {
        f"{method}.{name}": (inspect.getdoc(function) or "").split("\n")[0]
        for method in methods()
        for name, function in _functions(method).items()
    }


def recipe(name: str) -> RunConfig[Any]:
    """The settings of a recipe such as "vicreg.video"; ``SettingError`` names the nearest where there is none."""
    method, _, function = name.partition(".")
    found = _functions(method) if method in methods() else {}
    if function not in found:
        if found and not function:
            raise SettingError(f"A recipe must be named METHOD.SETTING. Got {name}; it has {_listed(method, found)}.")
        near = did_you_mean(name, available() if function else methods())
        hint = near or (f" {method} has: {', '.join(found)}." if found else "")
        raise SettingError(f"Unknown recipe '{name}'.{hint} `fullrank recipes` lists them.")
    return found[function]()


def _listed(method: str, functions: Iterable[str]) -> str:
    """A method's recipes as one reads them: for one's own videos and images first, and what is only for tests last."""
    order = {"video": 0, "images": 1, "tiny": 3}
    names = [f"{method}.{name}" for name in sorted(functions, key=lambda name: order.get(name, 2))]
    return ", ".join(names) + (" (tiny is for tests)" if f"{method}.tiny" in names else "")
