"""Say what a run, checkpoint, weights file, feature table or array holds, without running anything in it."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from fullrank.cli import _io
from fullrank.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to look into."""

    path: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="FILE")]]
    """a run folder, a feature table, a checkpoint (.pt .pth .safetensors) of any codebase, or arrays (.npy .npz)"""
    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """write what is printed, and more, to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank inspect runs/first`."""
    args = _io.parse(Arguments, argv, "fullrank inspect", description=__doc__)
    found = inspect_path(args.path)
    _show(found)
    _io.write_json(args.json, found)


def inspect_path(path: Path) -> dict[str, Any]:
    """What a path holds, as plain data; ``CheckpointError`` with one sentence where it is none of ours and no weights."""
    if not path.exists():
        raise CheckpointError(f"inspect must be given a file or folder. There is no {path}; check the path.")
    if not path.is_dir():
        from fullrank.cli._contents import read_file

        return read_file(path)
    if (path / "manifest.json").is_file():
        return _table(path)
    if (path / "config.json").is_file() or (path / "checkpoint.pt").is_file():
        return _run(path)
    names = sorted(item.name for item in path.iterdir())
    got = (
        f"{len(names)} other entries ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        if names
        else "an empty folder"
    )
    raise CheckpointError(
        f"{path} must be a run folder (config.json, checkpoint.pt) or a feature table (manifest.json). Got {got}; "
        "name a file or folder inside."
    )


def _table(path: Path) -> dict[str, Any]:
    import numpy as np

    from fullrank.cli._contents import describe_array
    from fullrank.features.table import read_table

    table = read_table(path)
    arrays = {"representation": table.representation}
    arrays |= {} if table.embedding is None else {"embedding": table.embedding}
    records = np.unique(table.record)
    labels = {}
    for name, values in table.labels.items():
        counts = np.bincount(values[values >= 0], minlength=len(table.classes[name]))
        by_class = dict(zip(table.classes[name], counts.tolist(), strict=True))
        labels[name] = {"classes": len(counts), "rows_of_class": by_class, "unknown_rows": int((values < 0).sum())}
    hidden = ("classes", "record_ids", "labels", "rows", "dims")
    return {
        "path": str(path),
        "kind": "features",
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "rows": len(table.record),
        "records": len(records),
        "records_of_source": len(table.record_ids),
        "arrays": {name: describe_array(array) for name, array in arrays.items()},
        "labels": labels,
        "manifest": {key: value for key, value in table.manifest.items() if key not in hidden},
    }


def _run(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"path": str(path), "kind": "run"}
    for name in ("config", "environment", "summary"):
        file = path / f"{name}.json"
        found[name] = _lines(file)[0] if file.is_file() else None
    metrics, events = _lines(path / "metrics.jsonl"), _lines(path / "events.jsonl")
    found["last_metrics"] = metrics[-1] if metrics else None
    found["events"] = dict(Counter(str(event.get("event")) for event in events))
    found["collapse"] = [e for e in events if e.get("event") == "collapse"]
    found["skipped"] = len(_lines(path / "skipped.jsonl"))
    found["checkpoint"] = None
    if (path / "checkpoint.pt").is_file():
        from fullrank.cli._contents import read_file

        found["checkpoint"] = read_file(path / "checkpoint.pt")
    return found


def _lines(file: Path) -> list[Any]:
    """The values of a .json (one) or .jsonl file; a last line that is cut off is left out, as a run may be writing it."""
    if not file.is_file():
        return []
    text = file.read_text(encoding="utf-8", errors="replace")
    parts = [text] if file.suffix == ".json" else text.splitlines()
    values = []
    for i, part in enumerate(parts):
        try:
            values.append(json.loads(part))
        except json.JSONDecodeError as error:
            if file.suffix == ".jsonl" and i == len(parts) - 1:
                break
            raise CheckpointError(
                f"{file} must be JSON. It is damaged ({error}); the run's other files may be whole."
            ) from error
    return values


def _show(found: dict[str, Any]) -> None:
    kind = found["kind"]
    if kind == "features":
        _show_table(found)
    elif kind == "run":
        _show_run(found)
    elif "arrays" in found:
        _facts(f"{found['path']}: {kind}", {"size": _size(found["bytes"]), "sha256": found["sha256"]})
        _arrays(found["arrays"])
    else:
        _show_weights(found)


def _facts(title: str, facts: dict[str, Any]) -> None:
    _io.table(title, ("what", "value"), [(name, _short(value)) for name, value in facts.items() if value is not None])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 400 else f"{text[:397]}..."


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count} bytes"


def _arrays(arrays: dict[str, dict[str, Any]]) -> None:
    rows = [(name, _shape(about["shape"]), about["dtype"], _broken(about)) for name, about in arrays.items()]
    _io.table("", ("array", "shape", "dtype", "NaN or infinite"), rows)


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape)) or "one value"


def _broken(about: dict[str, Any]) -> str:
    if "not_finite" not in about:
        return "-"
    return f"{about['not_finite']} values" if about["not_finite"] else "none"


def _show_table(found: dict[str, Any]) -> None:
    manifest, skipped = found["manifest"], found["manifest"].get("skipped", [])
    facts = {
        "rows (clips)": found["rows"],
        "records": f"{found['records']} of {found['records_of_source']} of the source",
        "size": _size(found["bytes"]),
        "skipped": len(skipped),
        **{key: value for key, value in manifest.items() if key not in ("skipped", "kind", "format", "dtype")},
    }
    _facts(f"{found['path']}: feature table", facts)
    _arrays(found["arrays"])
    rows = []
    for name, about in found["labels"].items():
        counts = about["rows_of_class"]
        some = ", ".join(f"{key}: {count}" for key, count in list(counts.items())[:12]) + (", ..." if len(counts) > 12 else "")
        rows.append((name, about["classes"], about["unknown_rows"], _short(some)))
    if rows:
        _io.table("", ("labels", "classes", "rows without", "rows of each class"), rows)
    else:
        _io.console.print("No labels.")


def _show_run(found: dict[str, Any]) -> None:
    config, metrics, summary = found["config"] or {}, found["last_metrics"] or {}, found["summary"] or {}
    facts = {
        **{key: config.get(key) for key in ("fullrank", "recipe", "method", "hash", "command")},
        "last step": metrics.get("step"),
        "last losses": metrics.get("losses"),
        "summary": {key: value for key, value in summary.items() if not isinstance(value, dict | list)} or "none: not ended",
        "events": found["events"],
        "skipped records": found["skipped"],
        "collapse": found["collapse"][-1].get("sentence", "yes") if found["collapse"] else "no alarm",
    }
    _facts(f"{found['path']}: run", facts)
    _settings(config.get("settings") or {})
    if found["checkpoint"] is None:
        _io.console.print("No checkpoint yet.")
    else:
        _show_weights(found["checkpoint"])


def _settings(settings: dict[str, Any]) -> None:
    rows = [
        (f"{name}.{key}", value) for name, part in settings.items() if isinstance(part, dict) for key, value in part.items()
    ]
    rows += [(name, value) for name, value in settings.items() if not isinstance(value, dict)]
    if rows:
        _io.table("", ("setting", "value"), [(name, _short(value)) for name, value in rows])


def _show_weights(found: dict[str, Any]) -> None:
    what = "checkpoint of fullrank" if found["kind"] == "checkpoint" else f"weights ({found['format']})"
    facts: dict[str, Any] = {"size": _size(found["bytes"]), "sha256": found["sha256"]}
    facts |= {key: found.get(key) for key in ("checksums", "fullrank", "method_name", "step", "checkpoint_hash", "holds")}
    facts |= found.get("metadata") or {}
    facts |= {
        "tensors": found["tensors"],
        "values": f"{found['parameters']:,} ({_size(found['tensor_bytes'])})",
        "dtypes": found["dtypes"],
        "NaN or infinite": ", ".join(found["not_finite"]) or "none",
    }
    _facts(f"{found['path']}: {what}", facts)
    if found.get("entries"):
        entries = list(found["entries"].items())
        shown = [(_short(name), _short(text)) for name, text in entries[:20]]
        shown += [("...", f"{len(entries) - 20} more")] if len(entries) > 20 else []
        _io.table("", ("key", "holds"), shown)
    if found["parts"]:
        _io.table("", ("part", "tensors", "values"), [(_short(name), *counts) for name, counts in found["parts"].items()])
        _io.table("", ("biggest tensors", "shape"), [(_short(name), _shape(shape)) for name, shape in found["biggest"].items()])
