"""The folder of a run: which one it may be, what says how it was made, and that only one training writes there."""

import errno
import fcntl
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fullrank import __version__
from fullrank.checkpoint.save import FILE
from fullrank.config import RunConfig, settings_hash
from fullrank.errors import SettingError

RECORD, EVENTS, BOARD = "config.json", "events.jsonl", "tensorboard"
STARTED = (EVENTS, "environment.json", "metrics.jsonl", "spectrum.jsonl", "skipped.jsonl", "summary.json", FILE + ".tmp")
"""what a run writes before its first checkpoint, besides its record and the files of TensorBoard"""
FINISHED = ("features", "evaluation.json", "report.html")
"""what follows a run"""


def check_out(out: Path) -> None:
    """``SettingError`` where a new run would touch what is there: a run, or other files by the names of ours.

    What a start left that failed before its first checkpoint is no run: its record is there, and no checkpoint.
    """
    if out.exists() and not out.is_dir():
        raise SettingError(f"out must be a folder. Got the file {out}.")
    if (out / FILE).exists():
        raise SettingError(f"out must be a new folder. Got {out}, which holds a run; `fullrank train --resume {out}` goes on.")
    ours = _is_our_record(out / RECORD)
    for name in FINISHED if ours else (RECORD, *STARTED, BOARD, *FINISHED):
        if _holds_something(out / name):
            raise SettingError(
                f"out must be a folder without {name}, which a run would write over. Got {out}, whose {name} is of no run "
                "that this one may replace; choose another folder."
            )


def new_folder(config: RunConfig[Any], recipe: str) -> Path:
    """``config.out``, or runs/<recipe>-<number>, made where there is none; refuses what ``check_out`` refuses."""
    if config.out is not None:
        check_out(config.out)
        config.out.mkdir(parents=True, exist_ok=True)
        return config.out
    number = 1
    while True:
        folder = Path("runs") / f"{recipe or 'run'}-{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """``SettingError`` where another training is at work in ``folder``; while this lasts, no other can begin there.

    A lock on events.jsonl, which falls with the process; a file system without locks cannot tell.
    """
    with open(folder / EVENTS, "a", encoding="utf-8") as file:
        locked = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(
                f"The run folder must be used by one training at a time. Got {folder}, where another is at work; wait for "
                "its end, or choose another folder."
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
                raise
            locked = False
        try:
            yield
        finally:
            if locked:  # said aloud: decoding processes hold the file too and may end a moment later
                fcntl.flock(file, fcntl.LOCK_UN)


def begin(folder: Path, record: dict[str, Any], precision: str, device: str) -> None:
    """Take away what a failed start left and write config.json and environment.json; call it inside ``alone_in``."""
    check_out(folder)
    for name in STARTED[1:]:
        (folder / name).unlink(missing_ok=True)
    for file in (folder / BOARD).glob("events.out.tfevents.*"):
        file.unlink()
    os.truncate(folder / EVENTS, 0)
    _write_json(folder / RECORD, record)
    environment = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "precision": precision,
    }
    _write_json(folder / "environment.json", environment)


def make_record(config: RunConfig[Any], method: str, recipe: str, num_records: int, command: str | None) -> dict[str, Any]:
    """What config.json holds."""
    settings = config.model_dump(mode="json")
    return {
        "fullrank": __version__,
        "recipe": recipe,
        "method": method,
        "settings": settings,
        "hash": settings_hash({k: v for k, v in settings.items() if k != "out"}),
        "num_records": num_records,
        "command": command or " ".join(["python", *sys.argv]),
    }


def _is_our_record(file: Path) -> bool:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and {"fullrank", "method", "settings"} <= record.keys()


def _holds_something(path: Path) -> bool:
    """Nothing is lost where an empty file or folder is written to; a start that ended at once leaves one."""
    return any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size > 0


def _write_json(file: Path, content: dict[str, Any]) -> None:
    """Whole or not at all: half a record would make the folder look like somebody else's."""
    temporary = file.with_name(file.name + ".tmp")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, file)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
