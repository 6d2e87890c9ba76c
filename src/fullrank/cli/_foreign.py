"""`fullrank extract` of a file of another codebase."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullrank.cli._io import console, write_json
from fullrank.errors import SettingError

if TYPE_CHECKING:
    from fullrank.checkpoint.imported import ImportedEncoder
    from fullrank.cli.extract import Args
    from fullrank.config import DataConfig

READ = ("path", "name", "split", "limit", "cache", "cache_max_gib", "num_workers")


def extract_file(path: Path, args: "Args", command: str, json_path: str | None) -> None:
    """Load, prepare as its codebase does, encode, and write the table."""
    from fullrank.checkpoint.imported import load_imported
    from fullrank.cli.extract import UNCHANGED, counted
    from fullrank.data.open import open_source
    from fullrank.features.foreign import PER_RECORD, extract_imported
    from fullrank.features.write import stamp

    _check(args)
    encoder = load_imported(path, args.layout, args.device, args.config)
    encoder.branch(args.branch)  # says so now where there is none like it
    source, how = open_source(args.data), encoder.preparation
    clips, crops = args.num_clips or how.clips, args.num_crops or how.crops
    first = os.environ.get("RANK", "0") == "0"  # torchrun's processes share the work, and one speaks
    if first:
        console.print(
            f"{taken_for(encoder)}; {source.description}; "
            f"{clips} x {crops} views of each record, {how.num_frames} frame{'s' * (how.num_frames > 1)} of {how.crop} pixels",
            markup=False,
        )
        for caution in cautions(encoder):
            console.print(caution, markup=False)
    start, before = time.perf_counter(), stamp(args.out)
    table = extract_imported(
        encoder,
        source,
        args.out,
        clips=clips,
        crops=crops,
        batch_size=args.batch_size,
        num_workers=args.data.num_workers,
        branch=args.branch,
        bf16=args.bf16,
        command=command,
        replace=False,
    )
    if not first:
        return
    skipped = table.manifest["skipped"]
    embedding = None if table.embedding is None else table.embedding.shape[1]
    records, after = len(source) - len(skipped), stamp(args.out)
    took = UNCHANGED if before == after else f"{time.perf_counter() - start:.1f} s"
    kind = "none" if embedding is None else f"{embedding} (as the head gives it, and embedding_normalized)"
    console.print(
        f"{counted(len(table.record), 'view')} of {counted(records, 'record')} to {args.out} "
        f"(means of each record in {args.out / PER_RECORD}): "
        f"representation {table.representation.shape[1]}, embedding {kind}, labels {', '.join(table.labels) or 'none'}, "
        f"{took}",
        markup=False,
    )
    for item in skipped:
        console.print(f"left out: {item['record']}: {item['reason']}", markup=False)
    found: dict[str, Any] = {"out": str(args.out), "per_record": str(args.out / PER_RECORD), "rows": len(table.record)}
    found |= {"records": records, "views": [clips, crops], "skipped": skipped}
    found |= {
        "caution": encoder.found.caution,
        "representation": table.representation.shape[1],
        "embedding": embedding,
        "layout": encoder.found.layout.name,
    }
    write_json(json_path, found)


def taken_for(encoder: "ImportedEncoder") -> str:
    """Whose file it is, and how sure that is."""
    found = encoder.found
    return f"{found.layout.codebase}: {found.method}, {found.certainty}"


def cautions(encoder: "ImportedEncoder") -> list[str]:
    """What a user must know of its features, a line each."""
    return [f"caution: {encoder.found.caution}"] if encoder.found.caution else []


def check_data(data: "DataConfig") -> None:
    """How clips are cut is the codebase's own, and no setting."""
    fields = type(data).model_fields
    changed = [name for name in fields if getattr(data, name) != fields[name].default and name not in READ]
    if changed:
        flag = changed[0].replace("_", "-")
        raise SettingError(
            f"--data.{flag} is the codebase's own for such a file. Got {getattr(data, changed[0])}; leave it out, or give "
            "its settings with --config of `fullrank extract`."
        )


def _check(args: "Args") -> None:
    if args.data.path is None:
        raise SettingError("--data.path must be given for a file of another codebase: a folder of videos or images. Got none.")
    check_data(args.data)
    if args.thumbnails:
        raise SettingError("--thumbnails is for runs of our own. Got it with a file of another codebase; leave it out.")
