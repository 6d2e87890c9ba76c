"""Encode a folder of videos or images with a trained run, and write a feature table."""

import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fullrank.cli._io import console, parse, take, write_json
from fullrank.config import DataConfig, Settings
from fullrank.errors import SettingError

ABOUT = f"{__doc__} RUN is the folder that training wrote. --json FILE writes what is printed."
READ = ("path", "name", "split", "limit", "cache", "cache_max_gib", "num_workers")
"""data settings that may differ from the run's own; the others decide what a clip is, so that they stay as in training"""


class Args(Settings):
    """Options of `fullrank extract RUN`."""

    data: DataConfig = DataConfig()
    """what to encode (not given: the run's own data); how clips are cut and shrunk is the run's own"""
    out: Path
    """folder of the feature table"""
    num_clips: Annotated[int, Field(ge=1)] = 1
    """clips of each video, evenly spaced; evaluation averages them"""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """records encoded at once"""
    branch: str | None = None
    """"student" or "teacher", for methods that have both; where not given, what the paper evaluates"""
    device: str = "cpu"
    """cpu or cuda"""
    bf16: bool = False
    """bf16 autocast: faster, features within about 1e-2"""
    thumbnails: bool = False
    """keep small pictures for the report's neighbours"""


def main(argv: list[str]) -> None:
    """`fullrank extract runs/first --data.path videos/ --out features/first`."""
    rest, json_path = take(argv, "--json")
    run = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if run is None and not {"-h", "--help"} & set(rest):
        got = rest[0] if rest else "none"
        raise SettingError(
            f"extract must be given a run folder first. Got {got}; "
            "for example `fullrank extract runs/first --out features/first`."
        )
    args = parse(Args, rest, "fullrank extract RUN", description=ABOUT)
    from fullrank.checkpoint.encoder import load
    from fullrank.data.open import open_source
    from fullrank.features.extract import extract

    encoder = load(str(run), args.device)
    branches = type(encoder.method).branches
    if args.branch is not None and args.branch not in branches:
        raise SettingError(f"branch must be one of {', '.join(branches)} for this method. Got {args.branch}.")
    source = open_source(_data(args.data, encoder.config.data))
    start = time.perf_counter()
    table = extract(
        encoder,
        source,
        args.out,
        num_clips=args.num_clips,
        batch_size=args.batch_size,
        num_workers=args.data.num_workers,
        branch=args.branch,
        thumbnails=args.thumbnails,
        device=args.device,
        bf16=args.bf16,
        command="fullrank extract " + " ".join(argv),
    )
    rows, width = table.representation.shape
    skipped = table.manifest["skipped"]
    embedding = "none" if table.embedding is None else f"{table.embedding.shape[1]}"
    console.print(
        f"{rows} rows of {len(source)} records to {args.out}: representation {width}, embedding {embedding}, "
        f"labels {', '.join(table.labels) or 'none'}, {time.perf_counter() - start:.1f} s"
    )
    for item in skipped:
        console.print(f"left out: {item['record']}: {item['reason']}", markup=False)
    write_json(
        json_path,
        {
            "out": str(args.out),
            "rows": rows,
            "records": len(source),
            "representation": width,
            "embedding": embedding,
            "skipped": skipped,
        },
    )


def _data(given: DataConfig, own: DataConfig) -> DataConfig:
    """What to encode: the data that are named, or the run's own with another split or limit; clips as in training."""
    usual = DataConfig()
    changed = {name: value for name in DataConfig.model_fields if (value := getattr(given, name)) != getattr(usual, name)}
    ignored = [name for name in changed if name not in READ]
    if ignored:
        flag = ignored[0].replace("_", "-")
        raise SettingError(
            f"--data.{flag} must stay as in training ({getattr(own, ignored[0])}). Got {changed[ignored[0]]}; leave it out."
        )
    if "path" in changed or "name" in changed:
        changed = {name: getattr(given, name) for name in READ}
    return own.model_copy(update=changed)
