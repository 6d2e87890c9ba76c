"""Say in one sentence whether an encoder has collapsed, how, how sure that is, and what to change."""

import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import Field

from fullrank.cli._io import console, is_terminal, notes, parse, take, write_json
from fullrank.config import DataConfig, Settings
from fullrank.errors import CheckpointError, DataError, FullrankError, SettingError

if TYPE_CHECKING:
    from fullrank.spectrum.diagnosis import Diagnosis
    from fullrank.spectrum.moments import Array
    from fullrank.types import FeatureTable

ABOUT = (
    f"{__doc__} INPUT is a file of features (.npy [n, d] and others, or a feature table's folder), the folder that training "
    "wrote, or with --data.path a run or a checkpoint of another codebase, whose features are then made. --json FILE writes "
    "verdict, confidence, evidence and sentence."
)
WAITING = "deciding, and again on resamples (--resamples 0 leaves those out)"
VIDEO_CLIPS = 4
"""of each video where features are made: collapse in time shows only between the clips of a record"""


class Args(Settings):
    """Options of `fullrank diagnose INPUT`."""

    data: DataConfig = DataConfig()
    """what to encode, with a run or a checkpoint; not given: the features that the run's training left are read"""
    space: Literal["representation", "embedding"] = "representation"
    """what a plain file holds: it decides what counts as collapsed"""
    records: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """.npy of [n] whole numbers: which record (video) each row of a plain file is of, so that collapse in time is seen"""
    healthy_std: Annotated[float, Field(gt=0.0)] | None = None
    """std that the method drives each dimension of its embedding to (VICReg: 1); runs and tables say it themselves"""
    method: str | None = None
    """method whose settings the advice names (`fullrank methods` lists them); runs say it themselves"""
    resamples: Annotated[int, Field(ge=0)] | None = None
    """bootstrap resamples that say how sure the verdict is; not given: as many as the size allows, 8 to 100; 0: none"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the resamples"""
    num_clips: Annotated[int, Field(ge=1)] | None = None
    """clips of each video where features are made; not given: 4, and 1 of an image"""
    layout: str | None = None
    """of a file of another codebase: which, where its keys do not tell (`fullrank inspect FILE`)"""
    device: str = "cpu"
    """cpu or cuda, where features are made"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is diagnosed, and what is known of where it comes from."""

    spaces: "Mapping[str, Array | None]"
    record: Any = None
    start_seconds: Any = None
    healthy_std: float | None = None
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True
    remarks: tuple[str, ...] = ()
    """what a run itself says: its alarms, and its own metrics"""
    run: Any = None
    """the run itself, whose last measurement may say something else"""


def main(argv: list[str]) -> None:
    """`fullrank diagnose features.npy --json verdict.json`."""
    rest, json_path = take(argv, "--json")
    given = rest.pop(0) if rest and not rest[0].startswith("-") else None
    if given is None and not {"-h", "--help"} & set(rest):
        got = rest[0] if rest else "none"
        raise SettingError(
            f"diagnose must be given features, a run or a checkpoint first. Got {got}; for example "
            "`fullrank diagnose features.npy`."
        )
    args = parse(Args, rest, "fullrank diagnose INPUT", description=ABOUT)
    path = Path(str(given))
    _check(args, path)
    from fullrank.spectrum.diagnosis import diagnose_features

    waiting = notes.status(WAITING) if is_terminal() else nullcontext()
    with tempfile.TemporaryDirectory() as work:
        found = _find(path, args, Path(work))
        try:
            with waiting:
                said = diagnose_features(
                    found.spaces,
                    record=found.record,
                    start_seconds=found.start_seconds,
                    healthy_std=args.healthy_std or found.healthy_std,
                    method=args.method or found.method,
                    settings=found.settings,
                    trained=found.trained,
                    resamples=args.resamples,
                    seed=args.seed,
                )
        except FullrankError as error:
            raise type(error)(f"{path}: {error}") from None
    remarks = (*found.remarks, *_training_says(found, said))
    _show(path, said, remarks)
    write_json(json_path, {"input": str(path), **said.document(), "remarks": list(remarks)})


def _training_says(found: Found, said: "Diagnosis") -> list[str]:
    from fullrank.report.verdict import training_says

    sentence = "" if found.run is None else training_says(found.run, said.kinds)
    return [sentence] if sentence else []


def _check(args: Args, path: Path) -> None:
    if not path.exists() and not Path(str(path).partition("#")[0]).exists():
        raise DataError(f"{path} must be features, a run or a checkpoint. Got nothing there; check the path.")
    if args.method is not None:
        from fullrank.methods._method import load_method

        load_method(args.method)
    if args.records is not None and (path.is_dir() or args.data.path is not None):
        raise SettingError("--records is for a plain file of features. Got it with a folder or data, which say it themselves.")


def _find(path: Path, args: Args, work: Path) -> Found:
    """The features behind ``path``: read, or made in ``work``."""
    run = path.parent if path.name in ("checkpoint.pt", "best.pt", "healthy.pt") else path
    is_run = (run / "config.json").exists()
    encodes = args.data.path is not None or args.data.name != "auto"
    if encodes:
        table, said = _encode(path, args, work)
        return _of_run(run, table, encoded=True) if is_run else replace(_of_table(table), remarks=tuple(said))
    for flag, value in (("--num-clips", args.num_clips), ("--layout", args.layout)):
        if value is not None:
            raise SettingError(
                f"{flag} is for features that are made here. Got it without --data.path; add that, or leave it out."
            )
    if is_run:
        return _of_run(run, None, encoded=False)
    from fullrank.features.table import features_of, table_of

    if (named := table_of(path)) is not None:
        table, space = named
        whole = _of_table(table)
        return replace(whole, spaces={space.removesuffix("_normalized"): features_of(table, space)}) if space else whole
    if _is_checkpoint(path):
        raise SettingError(
            f"A checkpoint must be given data to encode. Got {path} alone; add --data.path with a folder of videos or images."
        )
    return _of_file(path, args)


def _is_checkpoint(path: Path) -> bool:
    """Files that hold tensors by the keys of a known codebase; a lone array [n, d] in such a file is features."""
    from fullrank.checkpoint.interop.identify import identify

    if path.suffix.lower() not in (".pt", ".pth", ".tar", ".pyth", ".safetensors", ".pkl", ".bin", ".ckpt"):
        return False
    try:
        identify(path)
    except CheckpointError:
        return False
    return True


def _encode(path: Path, args: Args, work: Path) -> "tuple[FeatureTable, list[str]]":
    """The features, and what was taken for what."""
    from fullrank.checkpoint.encoder import load
    from fullrank.checkpoint.load import is_foreign
    from fullrank.cli.extract import data_of
    from fullrank.data.open import open_source
    from fullrank.features.extract import extract

    if is_foreign(path, args.layout):
        from fullrank.checkpoint.imported import load_imported
        from fullrank.cli._foreign import cautions, check_data, taken_for
        from fullrank.features.foreign import extract_imported

        check_data(args.data)
        foreign = load_imported(path, args.layout, args.device)
        how = foreign.preparation
        clips = args.num_clips or (VIDEO_CLIPS if how.num_frames > 1 else 1)
        table = extract_imported(foreign, open_source(args.data), work / "features", clips=clips, crops=1)
        return table, [f"taken for {taken_for(foreign)}", *cautions(foreign)]
    if args.layout is not None:
        raise SettingError("--layout is for files of other codebases. Got it with a run of our own; leave it out.")
    encoder = load(path, args.device)
    own = data_of(args.data, encoder.config.data)
    clips = args.num_clips or (VIDEO_CLIPS if encoder.clip_spec.num_frames > 1 else 1)
    return extract(encoder, open_source(own), work / "features", num_clips=clips, device=args.device), []


def _of_file(path: Path, args: Args) -> Found:
    from fullrank.spectrum.covariance import load_features
    from fullrank.spectrum.files import read_numbers

    if args.healthy_std is not None and args.space == "representation":
        raise SettingError("--healthy-std is of an embedding. Got a representation; add --space embedding, or leave it out.")
    x = load_features(path)
    record = None
    if args.records is not None:
        record = read_numbers(args.records)
        if record.shape != (len(x),):
            raise DataError(f"--records must have a number for each of the {len(x)} rows. Got {list(record.shape)}.")
    return Found(spaces={args.space: x}, record=record)


def _of_table(table: "FeatureTable") -> Found:
    manifest = table.manifest
    return Found(
        spaces={"representation": table.representation, "embedding": table.embedding},
        record=table.record,
        start_seconds=table.start_seconds,
        healthy_std=manifest.get("healthy_std"),
        trained=manifest.get("steps") != 0,
    )


def _of_run(run: Path, table: "FeatureTable | None", *, encoded: bool) -> Found:
    from fullrank.report.run_folder import read_runs
    from fullrank.report.verdict import alarm_sentences, shown_by_metrics

    (read,) = read_runs([run])
    table = table if encoded else read.table
    if table is None:
        raise CheckpointError(
            f"{run} must hold features to be diagnosed. Got a run without; add --data.path, or `fullrank report {run}` tells "
            "its last measurement while training."
        )
    shown = shown_by_metrics(read)
    return replace(
        _of_table(table),
        method=read.config.get("method"),
        settings=read.config.get("settings", {}),
        run=read,
        remarks=(*([shown["sentence"]] if shown else []), *alarm_sentences(read)),
    )


def _show(path: Path, said: "Diagnosis", remarks: tuple[str, ...]) -> None:
    console.print(f"{path}: {said.sentence}", markup=False)
    for remark in (said.sure, *said.warnings, *remarks):
        if remark:
            console.print(f"  {remark}", markup=False)
    if said.levers:
        console.print("  To try, in this order:", markup=False)
        for number, lever in enumerate(said.levers, start=1):
            console.print(f"  {number}. {lever}", markup=False)
