"""Train an encoder on a folder of unlabelled videos or images, and write its health report."""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

from fullrank.cli._io import console, nearest, notes, parse, take, write_json
from fullrank.config import RunConfig
from fullrank.errors import CollapseError, FullrankError, SettingError

USAGE = """usage: fullrank train RECIPE [OPTIONS]
       fullrank train --resume RUN

Trains on unlabelled data and writes a run folder: the encoder, metrics, spectra, alarms and report.html.
RECIPE is a method and a setting, such as vicreg.video (any folder of videos) or simclr.images (any folder of images);
`fullrank recipes` lists them, and `fullrank train RECIPE --help` every option of one.

  fullrank train vicreg.video --data.path my_videos/ --out runs/first
  fullrank train vicreg.video --data.path my_videos/ --max-minutes 30
  fullrank train --resume runs/first          goes on where Ctrl-C or a full disk ended it
  torchrun --nproc-per-node 2 -m fullrank train ...

Besides: --no-report leaves features and report out; --json FILE writes the summary."""


INTERRUPTED = 130
"""exit code after Ctrl-C"""
GRACE_SECONDS = 10.0
"""for the first process of a machine to say what all of them met; torchrun then ends the others"""


def main(argv: list[str]) -> None:
    """`fullrank train vicreg.video --data.path my_videos/ --out runs/first`."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        _train(argv)
        return
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _train(argv, said)
    except (FullrankError, OSError, SystemExit) as error:
        if not (isinstance(error, SystemExit) and not error.code):
            time.sleep(GRACE_SECONDS)
            sys.stderr.write(said.getvalue())
        raise
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _train(argv: list[str], errors: TextIO | None = None) -> None:
    """``errors``: where a mistake among the flags is explained; stderr where not given."""
    rest, json_path = take(argv, "--json")
    rest, resume = take(rest, "--resume")
    with_report = "--no-report" not in rest
    rest = [item for item in rest if item != "--no-report"]
    if not rest and resume is None or rest and rest[0] in ("-h", "--help"):
        print(USAGE)
        if not rest:
            raise SettingError("train must be given a recipe or --resume RUN. Got neither.")
        return
    with contextlib.redirect_stderr(errors or sys.stderr):
        config, name = _config(rest, resume)
    command = "fullrank train " + " ".join(argv)
    if resume is not None and (summary := _finished(Path(resume))):
        _already(Path(resume), summary, with_report, command, json_path)
        return
    from fullrank.engine.loop import train

    result = train(config, resume=resume, recipe=name, command=command)
    if int(os.environ.get("RANK", "0")):
        return
    console.print(f"{result.steps} steps, {result.summary['clips_per_second']:.0f} clips/s, run folder {result.folder}")
    if count := result.summary["skipped"]:
        files = f"{count} file{'s' * (count != 1)} could not be read while training"
        console.print(f"{files}; see {result.folder / 'skipped.jsonl'}", markup=False)
    summary = {"folder": str(result.folder), **result.summary}
    if result.stopped in ("interrupted", "terminated"):
        write_json(json_path, summary)
        notes.print(
            f"{result.stopped} at step {result.steps}; `fullrank train --resume {result.folder}` goes on.", markup=False
        )
        raise KeyboardInterrupt
    if with_report:
        summary |= _report(result.folder, result.source, config, command)
    write_json(json_path, summary)
    if result.stopped is not None:
        raise CollapseError(f"Training was stopped at step {result.steps} by the collapse monitor: {result.stopped}")


def _finished(run: Path) -> dict[str, Any]:
    """The summary of a run that has come to its end; empty for one that can go on (or is none: resuming says so)."""
    try:
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        done = summary["steps"] >= summary["total_steps"] or summary["stopped"] == "budget"
    except (OSError, ValueError, KeyError):
        return {}
    return summary if done and (run / "checkpoint.pt").is_file() else {}


def _already(run: Path, summary: dict[str, Any], with_report: bool, command: str, json_path: str | None) -> None:
    """Say that there is nothing to resume, and how to train longer; a report that is missing is made."""
    from fullrank.checkpoint.save import read_run

    if int(os.environ.get("RANK", "0")):
        return
    recipe = read_run(run)["recipe"] or "RECIPE"
    end = "its time was up" if summary["stopped"] == "budget" else "all its steps are done"
    console.print(
        f"{run} is finished at step {summary['steps']} of {summary['total_steps']} ({end}); to train longer, start a new run "
        f"from its weights: `fullrank train {recipe} --backbone.weights {run} --out NEW_RUN`, with --epochs as you like.",
        markup=False,
    )
    if with_report and not (run / "report.html").exists():
        summary = summary | _report(run, None, None, command)
    write_json(json_path, {"folder": str(run), **summary})


def _report(folder: Path, source: Any, config: RunConfig[Any] | None, command: str) -> dict[str, Any]:
    from fullrank.report.finish import finish
    from fullrank.report.run_folder import read_runs
    from fullrank.report.verdict import judge

    device = config.device if config is not None and config.device != "auto" else "cpu"
    done = finish(folder, source=source, device=device, command=command)
    console.print(f"features {done.features}\nreport   {done.page}", markup=False)
    (verdict,) = map(judge, read_runs([folder]))
    for line in (f"{verdict.word.capitalize()}. {verdict.sentence}", verdict.training):
        if line:
            console.print(line, markup=False)
    console.print(f"`fullrank diagnose {folder}` says how sure that is, and what to change.", markup=False)
    said = {"kind": verdict.kind, "sentence": verdict.sentence, "remarks": list(verdict.remarks)}
    return {"features": str(done.features), "report": str(done.page), "verdict": said}


def _config(rest: list[str], resume: str | None) -> tuple[RunConfig[Any] | None, str]:
    if resume is not None:
        if rest:
            raise SettingError(
                f"--resume goes on with the settings of its run and takes no others. Got {' '.join(rest)}; to change settings, "
                "start a new run with --backbone.weights."
            )
        return None, ""
    from fullrank.recipes import recipe

    name = rest[0]
    own = ("--json", "--resume", "--no-report")
    if name.startswith("-"):
        raise SettingError(
            f"train must be given a recipe first. Got {name}; for example `fullrank train vicreg.video {name} ...`."
            + nearest(name, own)
        )
    default = recipe(name)
    return _absolute(parse(type(default), rest[1:], f"fullrank train {name}", default=default, own=own)), name


def _absolute(config: RunConfig[Any]) -> RunConfig[Any]:
    """With whole paths, so that the run can be resumed and evaluated from anywhere."""
    paths = {name: path.absolute() for name in ("path", "cache") if (path := getattr(config.data, name)) is not None}
    return config.model_copy(update={"data": config.data.model_copy(update=paths)})
