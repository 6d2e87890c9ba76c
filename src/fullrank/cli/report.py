"""Write one self-contained HTML page about a run, or a comparison of several."""

import shlex
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from fullrank.cli._io import OptionalFile, console, parse, take, write_json
from fullrank.config import Settings
from fullrank.errors import SettingError

ABOUT = f"{__doc__} It needs no network and can be sent as it is. --json FILE writes the verdicts."


class Args(Settings):
    """What the page is about, and where it goes."""

    runs: Positional[Annotated[tuple[Path, ...], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]] = ()
    """folders that `fullrank train` wrote, or feature tables of `fullrank extract`; several give a comparison"""
    out: OptionalFile = None
    """file to write (where not given: report.html in the first run)"""
    title: Annotated[str | None, arg(metavar="TEXT")] = None
    """heading of the page (where not given: the run's name and method)"""


def main(argv: list[str]) -> None:
    """`fullrank report runs/first`, `fullrank report runs/a runs/b --out comparison.html`."""
    rest, json_path = take(argv, "--json")
    args = parse(Args, rest, "fullrank report", description=ABOUT)
    if not args.runs:
        raise SettingError("report must be given at least one run folder. Got none; for example `fullrank report runs/first`.")
    from fullrank.report.page import report_with_verdicts

    out = args.out if args.out is not None else args.runs[0] / "report.html"
    command = shlex.join(["fullrank", "report", *argv])
    page, verdicts = report_with_verdicts(args.runs, out, title=args.title, command=command)
    for name, verdict in verdicts:
        console.print(f"{name}: {verdict.word}. {verdict.sentence}", markup=False)
    console.print(f"report {page}", markup=False)
    said = {
        name: {"verdict": v.kind, "sentence": v.sentence, "remarks": list(v.remarks), "measures": v.spaces}
        for name, v in verdicts
    }
    write_json(json_path, {"report": str(page), "runs": said})
