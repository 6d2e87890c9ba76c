"""The row of a finished case in its file, which a later call reads instead of running the case again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_case(file: Path, of: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row in ``file`` where it is of the same settings; None where it is not, or where there is no file.

    Where the folder lay when the case was run does not count: a folder of runs may be moved, or given by another name.
    """
    if not file.exists():
        return None
    row: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return row if _without_places(row["of"]) == _without_places(of) else None


def write_case(file: Path, row: Mapping[str, Any]) -> None:
    """All or nothing, so that a case that was interrupted is never taken for a finished one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(row, default=float) + "\n", encoding="utf-8")
    temporary.replace(file)


def _without_places(of: Mapping[str, Any]) -> dict[str, Any]:
    settings = of["settings"]
    data = {name: value for name, value in settings["data"].items() if name not in ("path", "cache")}
    return {**of, "settings": {**settings, "data": data, "out": None}}
