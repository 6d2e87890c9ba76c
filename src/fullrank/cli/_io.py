"""What all commands share: parsing with tyro, tables for people, --json for programs."""

import difflib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fullrank.errors import FullrankError, SettingError, StorageError

A = TypeVar("A")
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
"""a flag that takes a file or folder, or is left out; its help shows one word and not both types"""
WORDS = {"INT": "a whole number", "FLOAT": "a number", "STR": "a word", "PATH": "a path"}
"""how tyro's help names a type: how a sentence does"""
_WRONG_TYPE = re.compile(r"Error parsing (--\S+): no type matching (.+?) could be instantiated from (\[.*?\])\. Got errors")
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
"""for results; into a file or a pipe, tables are wide"""
notes = Console(stderr=True, highlight=False)
"""for progress and remarks"""


def take(argv: Sequence[str], flag: str) -> tuple[list[str], str | None]:
    """``argv`` without ``--flag VALUE`` (or ``--flag=VALUE``), and the value; that of --json must be a file to write."""
    rest, value, items = [], None, iter(argv)
    for item in items:
        if item == flag:
            value = next(items, None)
            if value is None or value.startswith("--"):
                raise SettingError(f"{flag} must be followed by a value.")
        elif item.startswith(flag + "="):
            value = item.split("=", 1)[1]
        else:
            rest.append(item)
    if flag == "--json" and value is not None:
        check_json(Path(value))
    return rest, value


def parse(
    kind: type[A],
    argv: Sequence[str],
    prog: str,
    default: A | None = None,
    description: str | None = None,
    own: Sequence[str] = ("--json",),
) -> A:
    """Typed arguments; a mistake is one sentence, or one box that names the nearest flag, and ends with exit code 2.

    ``own``: flags that the command takes itself, so that tyro does not know them and cannot name them.
    """
    extra: dict[str, Any] = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            given: A = tyro.cli(kind, args=list(argv), prog=prog, description=description, **extra)
    except SettingError as error:
        raise SettingError(with_flag(str(error), argv)) from None
    except SystemExit as ended:
        if wrong := wrong_type(said.getvalue(), prog):
            raise SettingError(wrong) from None
        sys.stderr.write(said.getvalue())
        if ended.code:
            _name_nearest(argv, own)
        raise
    sys.stderr.write(said.getvalue())
    if isinstance(file := getattr(given, "json", None), Path):
        check_json(file)
    return given


def with_flag(sentence: str, argv: Sequence[str]) -> str:
    """A sentence about a setting that is wrong, with the flag that set it in place of the setting's name.

    >>> with_flag("max_steps is wrong: it is odd. Got 3.", ["--max-steps", "3"])
    '--max-steps is wrong: it is odd. Got 3.'
    >>> with_flag("augmentation.hue is wrong: it is odd. Got 3.", ["--method.augmentation.hue=3"])
    '--method.augmentation.hue is wrong: it is odd. Got 3.'
    """
    setting, wrong, rest = sentence.partition(" is wrong: ")
    name = re.sub(r"(\.\d+)+$", "", setting).replace("_", "-")  # a part of a tuple is set by the tuple's flag
    for flag in (item.partition("=")[0] for item in argv if wrong and item.startswith("--")):
        if f".{flag[2:]}".replace("_", "-").endswith(f".{name}"):
            return f"{flag}{wrong}{rest}"
    return sentence


def wrong_type(box: str, prog: str) -> str | None:
    """The sentence for tyro's ``box`` about a value that none of a flag's types takes; None where it says something else."""
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m|│", " ", box).split())
    found = _WRONG_TYPE.search(text)
    if found is None:
        return None
    flag, types, values = found.groups()
    kinds = sorted(types.replace("{", "").replace("}", "").split("|"), key=lambda kind: kind == "None")
    takes = ", or ".join(" and ".join(WORDS.get(word, word) for word in kind.split()) for kind in kinds)
    got = " ".join(re.findall(r"'([^']*)'", values)) or values
    return f"{flag} must be {takes}. Got {got}; `{prog} --help` explains every flag."


def _name_nearest(argv: Sequence[str], own: Sequence[str]) -> None:
    for flag in (item.partition("=")[0] for item in argv if item.startswith("--")):
        if hint := nearest(flag, own):
            print(f"fullrank: Unknown flag {flag}.{hint}", file=sys.stderr)


def nearest(flag: str, own: Sequence[str]) -> str:
    """`` Did you mean --x?`` for the one of a command's ``own`` flags that is near and not the flag itself.

    >>> nearest("--recrods", ["--json", "--records"]), nearest("--epochs", ["--json", "--records"])
    (' Did you mean --records?', '')
    """
    near = difflib.get_close_matches(flag, own, n=1, cutoff=0.75)
    return f" Did you mean {near[0]}?" if near and near != [flag] else ""


def check_json(path: Path) -> None:
    """``SettingError`` where ``path`` cannot become a file: said before the work, and not after it."""
    if str(path) == "-":
        raise SettingError("--json must name a file. Got -; name a file, such as result.json.")
    if path.is_dir():
        raise SettingError(
            f"--json must name a file. Got the folder {path}; name a file in it, such as {path / 'result.json'}."
        )
    above = next((folder for folder in path.absolute().parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise SettingError(f"--json must name a file in a folder. Got {path}, and {above} is a file; choose another place.")


def write_json(path: str | Path | None, result: dict[str, Any]) -> None:
    """Write what a command printed, whole or not at all; nothing where ``path`` is None."""
    if path is None:
        return
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    text = json.dumps(result, indent=1, default=str) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):  # what could not be written says more than what could not be taken away
            temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} must be a place to write to. Got '{error.strerror}'; choose another file.") from None


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a header; numbers to the right."""
    drawn = Table(title=escape(title) or None, title_justify="left")
    for i, name in enumerate(header):
        numeric = all(isinstance(row[i], int | float) or row[i] in ("", "-") for row in rows) and bool(rows)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else escape(str(cell)) for cell in row))
    console.print(drawn)


def is_terminal() -> bool:
    """Whether a person watches."""
    return sys.stderr.isatty()


@contextmanager
def named(what: Path | str) -> Iterator[None]:
    """Errors about an array say which file it is, where they do not yet."""
    try:
        yield
    except FullrankError as error:
        text = str(error)
        file = str(what).partition("#")[0] or str(what)
        raise type(error)(text if file in text else f"{what}: {text}") from None
