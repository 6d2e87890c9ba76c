"""List the recipes, those of one method, or the resolved settings of one."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fullrank.cli import _io
from fullrank.config import Settings
from fullrank.errors import SettingError, did_you_mean


@dataclass(frozen=True)
class Arguments:
    """Which method or recipe; none: all recipes."""

    name: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="[NAME]", help_behavior_hint="")]] = None
    """a method, such as vicreg, or a recipe, such as vicreg.video"""
    json: _io.OptionalFile = None
    """write what is printed to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank recipes [METHOD | RECIPE]`."""
    args = _io.parse(Arguments, argv, "fullrank recipes", description=__doc__)
    from fullrank.recipes import available

    known = available()
    if args.name in known:
        _one(args.name, args.json)
        return
    chosen = {n: text for n, text in known.items() if args.name is None or n.split(".")[0] == args.name}
    if not chosen:
        near = did_you_mean(args.name or "", [*known, *{n.split(".")[0] for n in known}])
        raise SettingError(f"Unknown recipe or method '{args.name}'.{near} `fullrank recipes` lists them.")
    _io.table("", ("recipe", "what for"), list(chosen.items()))
    _io.console.print("\n`fullrank recipes NAME` prints its settings, `fullrank train NAME` runs it.")
    _io.write_json(args.json, {"recipes": [{"name": name, "text": text} for name, text in chosen.items()]})


def flags(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(flag, value, meaning) of each setting, nested ones after each other."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            yield from flags(value, f"{prefix}{name}.")
        else:
            yield f"--{prefix}{name}".replace("_", "-"), value, field.description or ""


def shown(value: Any) -> str:
    """A value as its flag takes it."""
    if isinstance(value, tuple):
        return " ".join(map(shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _one(name: str, json: Path | None) -> None:
    from fullrank.recipes import recipe

    settings = recipe(name)
    text = inspect.cleandoc(available_text(name))
    rate = settings.optimizer.base_learning_rate * settings.data.batch_size / 256
    _io.console.print(text + "\n", markup=False)
    for flag, value, said in flags(settings):
        # lines and not a table: a flag that is folded cannot be copied
        _io.console.print(f"{flag + ' ' + shown(value):<56} {said}", markup=False)
    _io.console.print(f"\nLearning rate: base x batch / 256 = {rate:.4g}.")
    _io.write_json(json, {"recipe": name, "text": text, "learning_rate": rate, "settings": settings.model_dump(mode="json")})


def available_text(name: str) -> str:
    """The whole docstring of a recipe: what for, where its settings come from, its command, what was measured."""
    import importlib

    method, _, function = name.partition(".")
    return getattr(importlib.import_module(f"fullrank.recipes.{method}"), function).__doc__ or ""
