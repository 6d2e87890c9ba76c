"""What every result file says of its origin."""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit() -> str:
    """Short hash of HEAD, with -dirty where tracked files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], check=False, capture_output=True, text=True, cwd=ROOT).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (
        "-dirty" if git("status", "--porcelain", "--untracked-files=no", "src") else ""
    )


def origin(script: str) -> dict[str, Any]:
    """Date, commit, hardware, command."""
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "hardware": f"{os.cpu_count()} cores {_processor()}, no GPU used, torch {torch.__version__}",
        # of a path only its name: where data lie is nobody's business
        "command": shlex.join(["python", f"benchmarks/{script}", *(Path(a).name if "/" in a else a for a in sys.argv[1:])]),
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """The result as JSON, and a line that says where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, default=float) + "\n", encoding="utf-8")
    print(f"written: {path}")
