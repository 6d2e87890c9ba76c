"""What every result file says of its origin, and the one line that sums a file up.

    python benchmarks/_result.py benchmarks/results/FILE.json ...

prints that line of each file.
"""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Short hash of HEAD, with -dirty where tracked files differ from it.

    Of an exported tree (`git archive`) what was exported; "none" where nobody knows.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], check=False, capture_output=True, text=True, cwd=ROOT).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "src", "benchmarks/*.py")
    exported = (ROOT / "benchmarks" / "COMMIT").read_text(encoding="utf-8").strip()
    head = git("rev-parse", "--short", "HEAD") or ("none" if exported.startswith("$") else exported)
    return head + ("-dirty" if changed else "")


def _without_paths(word: str) -> str:
    """Of a path only its name: where data lie is nobody's business."""
    flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    return flag + equals + (Path(value).name if "/" in value else value)


def origin(script: str, gpu: str | None = None) -> dict[str, Any]:
    """Date, commit, hardware, command; no path of this machine. ``gpu``: the name of the one that was used."""
    import torch

    used = gpu or "no GPU used"
    return {
        # with the time: of two results of a day the later one counts
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M"),
        "commit": commit(),
        "hardware": f"{os.cpu_count()} cores {_processor()}, {used}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}",
        "command": shlex.join(["python", f"benchmarks/{script}", *map(_without_paths, sys.argv[1:])]),
    }


def goal(
    what: str, got: float, *, at_least: float | None = None, at_most: float | None = None, unit: str = "x"
) -> dict[str, Any]:
    """One number of the summary, with what was wanted of it (nothing, where neither bound is given)."""
    bounds = {"at least": at_least, "at most": at_most}
    wanted = " and ".join(f"{text} {value:g}{unit}" for text, value in bounds.items() if value is not None)
    holds = (at_least is None or got >= at_least) and (at_most is None or got <= at_most)
    return {"what": what, "got": f"{got:.3g}{unit}", "wanted": wanted or None, "holds": holds}


def summary(name: str, result: dict[str, Any]) -> str:
    """One line: what, how much, and how much was wanted."""
    parts = []
    for line in result.get("summary", []):
        wanted = f" (wanted {line['wanted']}{'' if line['holds'] else ', MISSED'})" if line["wanted"] else ""
        parts.append(f"{line['what']} {line['got']}{wanted}")
    tiny = "; run with --tiny: the figures mean nothing" if "--tiny" in result.get("command", "") else ""
    return f"{name}: {'; '.join(parts) or 'has no ratio'}{tiny}"


def write(path: Path | None, result: dict[str, Any]) -> None:
    """The result as JSON, where a path is given; and its line."""
    name = result["command"].split("benchmarks/")[-1].split(".py")[0]
    print(summary(name, result))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, default=float) + "\n", encoding="utf-8")
        print(f"written: {path}", flush=True)


def main(files: Sequence[str]) -> None:
    for file in map(Path, files):
        print(summary(file.stem.split("cores_")[-1], json.loads(file.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main(sys.argv[1:])
