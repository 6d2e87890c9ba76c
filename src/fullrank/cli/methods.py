"""List the methods, or explain one: its idea, what prevents collapse, one step with its shapes, its settings."""

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import tyro

from fullrank.cli import _io
from fullrank.config import Settings
from fullrank.errors import SettingError

if TYPE_CHECKING:
    from fullrank.methods._method import Guard, Method

HEADINGS = (
    "Idea",
    "Data flow",
    "What prevents collapse",
    "What breaks it",
    "At complete collapse",
    "Deviations",
    "The paper's number",
)
"""what the docstring of a method's file says, a paragraph each"""


@dataclass(frozen=True)
class Arguments:
    """Which method; none: a table of all."""

    name: tyro.conf.Positional[Annotated[str | None, tyro.conf.arg(metavar="[METHOD]", help_behavior_hint="")]] = None
    """a method, such as vicreg"""
    recipe: Annotated[str | None, tyro.conf.arg(metavar="RECIPE")] = None
    """whose settings the step has that the page shows, such as vicreg.images (where not given: METHOD.tiny)"""
    json: _io.OptionalFile = None
    """write what is printed to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank methods [NAME]`."""
    args = _io.parse(Arguments, argv, "fullrank methods", description=__doc__)
    from fullrank.methods._method import available, load_method

    if args.name is None:
        if args.recipe is not None:
            raise SettingError(
                "--recipe must follow a method. Got none; for example `fullrank methods vicreg --recipe vicreg.images`."
            )
        found = [_summary(name, load_method(name)) for name in available()]
        header = ("method", "idea", "what prevents collapse", "paper")
        _io.table("", header, [[m["name"], m["idea"], m["what_prevents_collapse"], m["paper"]] for m in found])
        _io.write_json(args.json, {"methods": found})
        return
    method = load_method(args.name)
    text, settings, step = _docstring(method), describe(method.Config), _step(args.name, args.recipe)
    _io.console.print(text + "\n", markup=False)
    _print_step(step)
    _io.console.print("Settings: type, default, meaning")
    for setting in settings:
        # lines and not a table: a flag that is folded cannot be copied
        flag = "--method." + setting["setting"].replace("_", "-")
        _io.console.print(f"  {flag:<36} {setting['type']:<20} {setting['default']}", markup=False)
        _io.console.print(f"      {setting['meaning']}", markup=False)
    guards = [
        {"guard": name, "off": _flags(guard), "then": guard.expect, "source": guard.source}
        for name, guard in method.guards.items()
    ]
    if guards:
        _io.console.print("\nGuards against collapse: how to switch one off, what is then expected, who says so")
    for guard in guards:
        _io.console.print(f"  {guard['guard']:<24} {guard['off']}", markup=False)
        _io.console.print(f"      {guard['then']}; {guard['source']}", markup=False)
    _io.console.print(f"\nBranches of encode: {', '.join(method.branches)}. Recipes: `fullrank recipes {args.name}`.")
    page = {"text": text, "step": step, "branches": method.branches, "settings": settings, "guards": guards}
    _io.write_json(args.json, _summary(args.name, method) | page)


def _step(name: str, recipe: str | None) -> dict[str, Any]:
    """{"recipe", "records", "drawing": lines, "list": rows} of one step that runs now."""
    from fullrank.cli._drawing import draw, listing
    from fullrank.cli._one_step import watch_step

    recipe = recipe or f"{name}.tiny"
    if recipe.split(".")[0] != name:
        raise SettingError(f"--recipe must be one of {name}. Got {recipe}; `fullrank recipes {name}` lists them.")
    step = watch_step(recipe)
    return {"recipe": recipe, "records": step.records, "drawing": draw(step), "list": listing(step)}


def _print_step(step: dict[str, Any]) -> None:
    from fullrank.cli._drawing import PLAIN, lines

    where = f"run just now with the settings of {step['recipe']} on {step['records']} drawn videos"
    text = "\n".join(["Data flow of one step:", *step["drawing"], "", f"One step, {where}:", *lines(step["list"]), ""])
    if not _io.console.encoding.lower().startswith("utf"):
        text = text.translate(PLAIN)
    _io.console.print(text, markup=False)


def _flags(guard: "Guard") -> str:
    """What switches a guard off on the command line."""
    words = []
    for part, changes in (("method", guard.off), ("optimizer", guard.optimizer)):
        for key, value in changes.items():
            name = key.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{part}.{'' if value else 'no-'}{name}")
            else:
                words.append(f"--{part}.{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}")
    return " ".join(words)


def describe(kind: type[Settings]) -> list[dict[str, str]]:
    """{setting, type, default, meaning} of each field of a settings class."""
    return [
        {
            "setting": name,
            "type": " ".join([_type(field.annotation), *map(_bound, field.metadata)]).strip(),
            "default": _shown(field.get_default(call_default_factory=True)),
            "meaning": " ".join((field.description or "").split()),
        }
        for name, field in kind.model_fields.items()
    ]


def _summary(name: str, method: "type[Method]") -> dict[str, Any]:
    text = _docstring(method)
    first = re.match(r"([^(]*?)\s*\((.*)\)\.?$", text.split("\n")[0])
    said = _paragraphs(text)
    return {
        "name": name,
        "title": first[1] if first else text.split("\n")[0],
        "idea": said.get("Idea", ""),
        "what_prevents_collapse": said.get("What prevents collapse", ""),
        "paper": first[2].replace(" (", ", ").replace(")", "") if first else "-",
    }


def _docstring(method: "type[Method]") -> str:
    return inspect.cleandoc(sys.modules[method.__module__].__doc__ or "")


def _paragraphs(text: str) -> dict[str, str]:
    starts = "|".join(re.escape(heading) for heading in HEADINGS)
    found = re.findall(rf"^({starts}): (.*?)(?=^(?:{starts}|With|Not)\b|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return {heading: " ".join(body.split()) for heading, body in found}


def _type(annotation: Any) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " | ".join(str(choice) for choice in inner)
    if origin in (Union, UnionType):
        return " | ".join(map(_type, inner))
    if origin is tuple:
        return " ".join("..." if part is Ellipsis else _type(part) for part in inner)
    return "None" if annotation is NoneType else str(getattr(annotation, "__name__", annotation))


def _bound(constraint: Any) -> str:
    for attribute, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
        if (value := getattr(constraint, attribute, None)) is not None:
            return f"{sign} {value:g}"
    return ""


def _shown(value: Any) -> str:
    if not isinstance(value, Settings):
        return str(value)
    changed = value.model_dump(exclude_defaults=True)
    return ", ".join(f"{key} {inner}" for key, inner in changed.items()) or "as usual"
