"""The command line: one file a command; a command's help is the first line of its file."""

import ast
import errno
import importlib
import os
import sys
from pathlib import Path

from fullrank.errors import FullrankError, did_you_mean


def commands() -> dict[str, str]:
    """{command: one line of help}, read without importing anything heavy."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        found[file.stem] = text.splitlines()[0] if text else ""
    return found


def _overview() -> str:
    rows = "\n".join(f"  {name:<10} {text}" for name, text in commands().items())
    return (
        "fullrank trains self-supervised encoders of images and video, and shows whether they collapsed.\n\n"
        f"usage: fullrank COMMAND [OPTIONS]\n\n{rows}\n\n"
        "`fullrank COMMAND --help` explains one. Every command takes --json FILE."
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 success, 2 a user's mistake, 1 a failure of the machine or the run."""
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            sys.stdout.flush()  # now, and not when Python ends: there nobody could catch that the reader has gone
    except BrokenPipeError:  # as after `fullrank --help | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if args[0] == "--version":
        from fullrank import __version__

        print(__version__)
        return 0
    name, known = args[0], commands()
    try:
        if name not in known:
            raise FullrankError(f"Unknown command '{name}'.{did_you_mean(name, known)} `fullrank --help` lists them.")
        importlib.import_module(f"fullrank.cli.{name}").main(args[1:])
        return 0
    except FullrankError as error:
        print(f"fullrank: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and (error.errno is None or error.filename is None):
            raise  # not about a file of the user's: a bug, or a pipe whose reader has gone
        place = "The output" if error.filename is None else error.filename
        what = f"{place} must be a place that can be read and written. Got '{error.strerror}'"
        print(f"fullrank: {what}; {'make room or ' if full else ''}choose another place.", file=sys.stderr)
        return 1 if full else 2
    except KeyboardInterrupt:
        print("fullrank: interrupted.", file=sys.stderr)
        return 130
