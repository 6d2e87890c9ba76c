"""Say what a run, checkpoint, weights file, feature table or array holds, without running anything in it."""

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
    layout: str | None = None
    """which codebase wrote the file, where its keys do not tell (a wrong name lists the known ones)"""
    json: _io.OptionalFile = None
    """write what is printed, and more, to this file as JSON"""


def main(argv: Sequence[str]) -> None:
    """`fullrank inspect runs/first`."""
    args = _io.parse(Arguments, argv, "fullrank inspect", description=__doc__)
    found = inspect_path(args.path, args.layout)
    _show(found)
    _io.write_json(args.json, found)


def inspect_path(path: Path, layout: str | None = None) -> dict[str, Any]:
    """What a path holds, as plain data; ``CheckpointError`` or ``DataError`` where it is none of ours, no weights, no array.

    A file of another codebase has "encoder": what `fullrank.load` makes of it, or "unknown_layout": why it makes nothing.
    """
    if not path.exists():
        whole, _, name = str(path).partition("#")
        if name and Path(whole).exists():
            raise CheckpointError(
                f"inspect must be given a whole file or folder. Got one array of it; leave '#{name}' out, it shows every array."
            )
        raise CheckpointError(f"inspect must be given a file or folder. There is no {path}; check the path.")
    if not path.is_dir():
        from fullrank.cli._contents import read_file

        found = read_file(path)
        return found | _encoder(path, layout) if found["kind"] == "weights" or layout else found
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


def _encoder(path: Path, layout: str | None) -> dict[str, Any]:
    from fullrank.checkpoint.interop.identify import describe, identify

    try:
        return {"encoder": describe(identify(path, layout))}
    except CheckpointError as error:
        if layout is not None:
            raise
        return {"unknown_layout": str(error)}


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
    from fullrank.report.run_folder import read_json, read_lines

    found: dict[str, Any] = {"path": str(path), "kind": "run"}
    for name in ("config", "environment", "summary"):
        found[name] = read_json(path / f"{name}.json") or None
    metrics, events = read_lines(path / "metrics.jsonl"), read_lines(path / "events.jsonl")
    found["last_metrics"] = metrics[-1] if metrics else None
    found["events"] = dict(Counter(str(event.get("event")) for event in events))
    found["collapse"] = [e for e in events if e.get("event") == "collapse"]
    found["skipped"] = len(read_lines(path / "skipped.jsonl"))
    found["checkpoint"] = None
    if (path / "checkpoint.pt").is_file():
        from fullrank.cli._contents import read_file

        found["checkpoint"] = read_file(path / "checkpoint.pt")
    return found


def _show(found: dict[str, Any]) -> None:
    kind = found["kind"]
    if kind == "features":
        _show_table(found)
    elif kind == "run":
        _show_run(found)
    elif "arrays" in found:
        _facts(f"{found['path']}: {kind}", {"size": _size(found["bytes"]), "sha256": found["sha256"]})
        _arrays(found["arrays"])
        if "others" in found:
            _io.console.print(f"No arrays: {_short(found['others'])}", markup=False)
    else:
        _show_weights(found)


def _facts(title: str, facts: dict[str, Any]) -> None:
    _io.table(title, ("what", "value"), [(name, _short(value)) for name, value in facts.items() if value is not None])


def _short(value: Any) -> str:
    text = _words(value)
    return text if len(text) <= 400 else f"{text[:397]}..."


def _words(value: Any) -> str:
    """Plain data for people: braces and quotes are for programs."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(inner)}" for key, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)


def _size(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


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
    from fullrank.report.markup import flat

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
    if config.get("settings"):
        _io.table("", ("setting", "value"), [(name, _short(value)) for name, value in flat(config["settings"])])
    if found["checkpoint"] is None:
        _io.console.print("No checkpoint yet.")
    else:
        _show_weights(found["checkpoint"])


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
    if "encoder" in found:
        about = found["encoder"]
        facts = {**about, "dropped": {why: f"({count} tensors)" for why, count in about["dropped"].items()} or None}
        _facts("the encoder in it (`fullrank extract` takes this file)", facts)
    if "unknown_layout" in found:
        _io.console.print(found["unknown_layout"], markup=False)
    if found.get("entries"):
        entries = list(found["entries"].items())
        shown = [(_short(name), _short(text)) for name, text in entries[:20]]
        shown += [("...", f"{len(entries) - 20} more")] if len(entries) > 20 else []
        _io.table("", ("key", "holds"), shown)
    if found["parts"]:
        _io.table("", ("part", "tensors", "values"), [(_short(name), *counts) for name, counts in found["parts"].items()])
        _io.table("", ("biggest tensors", "shape"), [(_short(name), _shape(shape)) for name, shape in found["biggest"].items()])
