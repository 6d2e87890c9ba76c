"""Encode a folder of videos or images with a trained run, and write a feature table."""

import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from fullrank.cli._io import console, parse, take, write_json
from fullrank.config import DataConfig, Settings
from fullrank.errors import SettingError, did_you_mean

ABOUT = (
    f"{__doc__} RUN is the folder that training wrote, or a checkpoint file of another codebase (`fullrank inspect` says which "
    "are known), whose own preparation and views are then used. --json FILE writes what is printed."
)
BATCH_RECORDS = 32
READ = ("path", "name", "split", "limit", "cache", "cache_max_gib", "num_workers")
"""data settings that may differ from the run's own; the others decide what a clip is, so that they stay as in training"""


UNCHANGED = "unchanged: the table was there already"


class Args(Settings):
    """Options of `fullrank extract RUN`."""

    data: DataConfig = DataConfig()
    """what to encode (not given: the run's own data); how clips are cut and shrunk is the run's own"""
    out: Path
    """folder of the feature table"""
    num_clips: Annotated[int, Field(ge=1)] | None = None
    """clips of each video, spread over it; evaluation averages them. Not given: 1, or as many as the other codebase takes"""
    num_crops: Literal[1, 3] | None = None
    """of a file of another codebase: 1 (the centre) or 3 spatial views; not given: as many as it takes"""
    layout: str | None = None
    """of a file of another codebase: which, where its keys do not tell (`fullrank inspect FILE`)"""
    config: Path | None = None
    """of a PySlowFast file: the YAML with frames, rate and crop, where the file does not hold it"""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """records encoded at once, 32 where not given (of a file of another codebase: views, 4 on a CPU)"""
    branch: str | None = None
    """"student" or "teacher", for methods that have both (or another that `fullrank methods NAME` lists), or "all": what the
    paper evaluates to OUT and the others to OUT-<branch>; where not given, what the paper evaluates"""
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
    from fullrank.checkpoint.load import is_foreign

    if is_foreign(Path(str(run)), args.layout):
        from fullrank.cli._foreign import extract_file

        extract_file(Path(str(run)), args, "fullrank extract " + " ".join(argv), json_path)
        return
    _check_own(args)
    from fullrank.checkpoint.encoder import load
    from fullrank.data.open import open_source
    from fullrank.features.extract import ALL, extract
    from fullrank.features.table import branch_folder, other_branches
    from fullrank.features.write import stamp

    encoder = load(str(run), args.device)
    branches = type(encoder.method).branches
    if args.branch not in (None, ALL, *branches):
        near = did_you_mean(str(args.branch), [*branches, ALL])
        raise SettingError(f"branch must be one of {', '.join(branches)}, or all, for this method. Got {args.branch}.{near}")
    source = open_source(data_of(args.data, encoder.config.data))
    start, before = time.perf_counter(), stamp(args.out)
    table = extract(
        encoder,
        source,
        args.out,
        num_clips=args.num_clips or 1,
        batch_size=args.batch_size or BATCH_RECORDS,
        num_workers=args.data.num_workers,
        branch=args.branch,
        thumbnails=args.thumbnails,
        device=args.device,
        bf16=args.bf16,
        command="fullrank extract " + " ".join(argv),
        replace=False,
    )
    seconds, skipped = time.perf_counter() - start, table.manifest["skipped"]
    took = UNCHANGED if before == stamp(args.out) else f"{seconds:.1f} s"
    records = len(source) - len(skipped)
    others = other_branches(args.out) if args.branch == ALL else {}
    tables = {args.out: table} | {branch_folder(args.out, name): other for name, other in others.items()}
    for place, one in tables.items():
        rows, width = one.representation.shape
        embedding = "none" if one.embedding is None else one.embedding.shape[1]
        branch = f"{one.manifest.get('encoded', 'student')}, " if others else ""
        console.print(
            f"{counted(rows, 'row')} of {counted(records, 'record')} to {place}: {branch}representation {width}, "
            f"embedding {embedding}, labels {', '.join(one.labels) or 'none'}, {took}",
            markup=False,
        )
    for item in skipped:
        console.print(f"left out: {item['record']}: {item['reason']}", markup=False)
    said = {str(place): one.manifest.get("encoded", "student") for place, one in tables.items()}
    write_json(
        json_path,
        {
            "out": str(args.out),
            "rows": len(table.representation),
            "records": records,
            "representation": table.representation.shape[1],
            "embedding": None if table.embedding is None else table.embedding.shape[1],
            "branches": {branch: place for place, branch in said.items()},
            "skipped": skipped,
        },
    )


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "row"), counted(2, "row")
    ('1 row', '2 rows')
    """
    return f"{number} {what}{'s' * (number != 1)}"


def _check_own(args: Args) -> None:
    for name in ("num_crops", "layout", "config"):
        if getattr(args, name) is not None:
            flag = name.replace("_", "-")
            raise SettingError(f"--{flag} is for files of other codebases. Got it with a run of our own; leave it out.")


def data_of(given: DataConfig, own: DataConfig) -> DataConfig:
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
