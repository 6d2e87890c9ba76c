"""Measure the spectra of feature files, draw them, and say whether they have collapsed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fullrank.cli import _io
from fullrank.cli._names import names_of
from fullrank.errors import CheckpointError, SettingError

if TYPE_CHECKING:
    from fullrank.cli._time import Clips
    from fullrank.spectrum.covariance import Array
    from fullrank.spectrum.diagnosis import Diagnosis
    from fullrank.spectrum.survey import Survey

_LEGEND = (
    "rep: representation, emb: embedding; erank: effective rank; std: of each dimension; spread: sqrt(d) x std of the "
    "L2-normalised rows (healthy about 1, collapsed 0); cosine: mean, of different rows"
)
HEADLINE = ("effective_rank", "rankme", "cev_auc", "std", "normalized_std", "mean_cosine")
"""measures that are printed with their intervals where no others are named"""
_PATIENCE_SECONDS = 2.0
"""a bar appears when it takes longer"""


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    inputs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FEATURES [FEATURES ...]", help_behavior_hint="")]
    ]
    """feature tables (folders) or files of [n, d]: .npy, .npz, .pt, .safetensors, .csv, .parquet; FILE#ARRAY of several"""
    labels: tuple[str, ...] = ()
    """a name for each input, in the figure and the table; where not given, its file name"""
    out: _io.OptionalFile = None
    """draw the 2x2 figure (with --time, the three spectra) into this .pdf, .svg or .png"""
    width: Literal["column", "page"] = "page"
    """of the 2x2 figure: 3.3 inches, a column of a paper, or 6.9"""
    time: bool = False
    """of several clips a video: the spectra of clips, of videos' means and of what differs within videos, with their shares"""
    space: Literal["representation", "embedding"] = "representation"
    """what plain files hold: it decides what counts as collapsed"""
    healthy_std: float | None = None
    """std that the method drives each dimension of its embedding to (VICReg: 1); tables of `fullrank extract` say it"""
    measures: tuple[str, ...] = ()
    """print these measures too, each with its n, d and interval; "all": every one (docs/measures.md explains them)"""
    records: _io.OptionalFile = None
    """.npy of [n] whole numbers: which record (video, image) each row of a plain file is of, for LiDAR and alignment; tables
    know it"""
    bootstrap: int = 0
    """replicates for a 95 % interval of each measure, or of those in --measures, which is faster (200 is usual)"""
    reservoir: int = 4096
    """rows, drawn at random in the same pass, that intervals and measures of pairs of rows are of"""
    seed: int = 0
    """of the reservoir and the replicates"""
    json: _io.OptionalFile = None
    """write every measure, the verdicts and their evidence to this file"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One input."""

    label: str
    path: Path
    spaces: "dict[str, Survey]"
    diagnosis: "Diagnosis"


def main(argv: Sequence[str]) -> None:
    """`fullrank spectrum features/a features/b --labels A B --out figure.pdf --json spectra.json`."""
    args = _io.parse(Arguments, argv, "fullrank spectrum", description=__doc__)
    labels = _check(args)
    if args.time:
        from fullrank.cli._time import in_time

        _io.write_json(args.json, in_time((_clips(*each, args) for each in zip(args.inputs, labels, strict=True)), args.out))
        return
    found = [_measure(path, label, args) for path, label in zip(args.inputs, labels, strict=True)]
    _show(found)
    if args.measures or args.bootstrap:
        _show_values(found, args)
    if args.out is not None:
        from fullrank.spectrum.pictures.style import WIDTHS
        from fullrank.spectrum.plots import figure_2x2

        tables = [(m.label, *(_drawn(m, space) for space in ("representation", "embedding"))) for m in found]
        figure_2x2(tables, args.out, width_inches=WIDTHS[args.width])
        _io.console.print(f"figure: {args.out}", markup=False)
    _io.write_json(args.json, _document(args, found))


def _check(args: Arguments) -> list[str]:
    if not args.inputs:
        raise SettingError("spectrum must be given feature tables or .npy files. Got none; `fullrank extract` writes tables.")
    labels = names_of(args.inputs, args.labels)
    _check_numbers(args)
    if args.out is not None:
        from fullrank.spectrum.plots import check_suffix

        check_suffix(args.out)
    return labels


def _check_numbers(args: Arguments) -> None:
    from fullrank.errors import did_you_mean
    from fullrank.spectrum.definitions import MEASURES
    from fullrank.spectrum.survey import OF_FEATURES

    for name in args.measures:
        if name in MEASURES and name not in OF_FEATURES:
            needs = "two tables" if MEASURES[name].needs == "pair" else "scores over prototypes"
            raise SettingError(
                f"--measures must name measures of one table of features. Got '{name}', which is of {needs}; call "
                f'fullrank.measure(..., "{name}") from Python.'
            )
        if name not in (*OF_FEATURES, "all"):
            hint = did_you_mean(name, OF_FEATURES)
            raise SettingError(f"Unknown measure '{name}'.{hint} --measures all prints every one of a table.")
    if args.bootstrap and args.bootstrap < 20:
        raise SettingError(f"--bootstrap must be 0 or at least 20. Got {args.bootstrap}; 200 is usual.")
    if args.reservoir < 2:
        raise SettingError(f"--reservoir must be at least 2 rows. Got {args.reservoir}; 4096 is usual.")
    if args.seed < 0:
        raise SettingError(f"--seed must be 0 or more. Got {args.seed}.")
    if args.healthy_std is not None and not args.healthy_std > 0:
        raise SettingError(f"--healthy-std must be above 0. Got {args.healthy_std:g}.")
    if args.records is not None and (len(args.inputs) > 1 or args.inputs[0].is_dir()):
        raise SettingError("--records must go with one plain file. Got a table, which says it itself, or several inputs.")


def _measure(path: Path, label: str, args: Arguments) -> Measured:
    from fullrank.features.table import table_of
    from fullrank.spectrum.deciding import deciding_measures, time_remark
    from fullrank.spectrum.diagnosis import diagnose

    with _io.named(path):
        opened, table = _open(path, args.space), table_of(path)
        records = _records(path, args)
    starts = None if table is None else table[0].start_seconds
    manifest: Mapping[str, Any] = {} if table is None else table[0].manifest
    spaces, measured = {}, {}
    for space, features in opened.items():
        with _io.named(f"{path} ({space})"):
            spaces[space] = _survey(f"{label}: {space}", features, records, args)
            measured[space] = deciding_measures(features, records, starts, spectrum=spaces[space].analysis.centred)
    healthy_std = args.healthy_std or manifest.get("healthy_std")
    found = diagnose(measured, healthy_std=healthy_std, trained=manifest.get("steps") != 0)
    found = replace(found, warnings=(*found.warnings, *filter(None, [time_remark(records, starts)])))
    return Measured(label=label, path=path, spaces=spaces, diagnosis=found)


def _survey(name: str, features: "Array", records: Any, args: Arguments) -> "Survey":
    from fullrank.spectrum.survey import survey

    with _progress(name) as count:
        return survey(
            features,
            groups=records,
            bootstrap=args.bootstrap,
            intervals=None if "all" in args.measures else args.measures or None,
            seed=args.seed,
            rows=args.reservoir,
            on_rows=lambda rows: count("rows", len(features), rows),
            on_replicate=lambda total: count("replicates", total, 1),
        )


def _records(path: Path, args: Arguments) -> Any:
    """Which rows are of one record; None where that is unknown, or every record has one row."""
    from fullrank.spectrum.files import read_numbers, records_of

    return records_of(path) if args.records is None else read_numbers(args.records)


def _clips(path: Path, label: str, args: Arguments) -> "Clips":
    """An input for --time."""
    from fullrank.cli._time import Clips
    from fullrank.features.table import table_of

    with _io.named(path):
        spaces, record, table = _open(path, args.space), _records(path, args), table_of(path)
    return Clips(label=label, path=path, spaces=spaces, record=record, labels={} if table is None else table[0].labels)


def _open(path: Path, space: str) -> "Mapping[str, Array]":
    """{space: features}, memory-mapped."""
    from fullrank.features.table import features_of, table_of
    from fullrank.spectrum.covariance import load_features

    if (named := table_of(path)) is not None:
        table, only = named
        if only:
            return {only.removesuffix("_normalized"): features_of(table, only)}
        return {"representation": table.representation} | ({} if table.embedding is None else {"embedding": table.embedding})
    if not path.is_dir():
        return {space: load_features(path)}
    if (path / "checkpoint.pt").exists() or (path / "metrics.jsonl").exists():
        raise CheckpointError(
            f"{path} must hold features. Got a run; `fullrank extract {path} --out FOLDER` makes features of it."
        )
    embedding = path / "embedding.npy"
    return {"representation": load_features(path)} | ({"embedding": load_features(embedding)} if embedding.exists() else {})


@contextmanager
def _progress(text: str) -> Iterator[Callable[[str, int, int], None]]:
    """Count (what, of how many, how many more), on a bar a thing that appears once two seconds have passed."""
    from rich.progress import Progress, TaskID

    began = time.monotonic()
    tasks: dict[str, TaskID] = {}
    with Progress(console=_io.notes, transient=True, disable=not _io.is_terminal()) as bar:

        def count(what: str, total: int, more: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(f"{text} {what}", total=total, visible=False)
            bar.update(tasks[what], advance=more, visible=time.monotonic() - began > _PATIENCE_SECONDS)

        yield count


def _show(found: Sequence[Measured]) -> None:
    from rich import box
    from rich.table import Table

    # Ten columns fit into a terminal of 80 characters only without lines between them.
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("input", "space", "n", "d", "erank", "RankMe", "CEV AUC", "std", "spread", "cosine"):
        drawn.add_column(name, justify="left" if name in ("input", "space") else "right", overflow="fold")
    for measured in found:
        for space, survey in measured.spaces.items():
            v, d = survey.values, survey.analysis.d
            spread = d**0.5 * v["normalized_std"]
            ranks = (f"{v['effective_rank']:.1f}", f"{v['rankme']:.1f}", f"{v['cev_auc']:.3f}")
            scale = (f"{v['std']:.2g}", f"{spread:.2g}", f"{v['mean_cosine']:.3f}")
            drawn.add_row(measured.label, space[:3], str(survey.analysis.n), str(d), *ranks, *scale)
    _io.console.print(drawn)
    _io.console.print(_LEGEND, markup=False)
    for measured in found:
        _io.console.print(f"\n{measured.label}: {measured.diagnosis.sentence}", markup=False)
        for remark in (*measured.diagnosis.warnings, measured.diagnosis.advice):
            if remark:
                _io.console.print(f"  {remark}", markup=False)


def _show_values(found: Sequence[Measured], args: Arguments) -> None:
    """Each measure that was asked for in each space, or why it has no value."""
    from fullrank.spectrum.survey import OF_FEATURES

    names = OF_FEATURES if "all" in args.measures else args.measures or HEADLINE
    header = ["measure", "value", *(["95 % interval"] if args.bootstrap else []), "n", "d", "of"]
    for measured in found:
        for space, survey in measured.spaces.items():
            document = survey.document()
            rows = [_line(name, document[name], bool(args.bootstrap)) for name in names]
            _io.table(f"\n{measured.label}: {space}", header, rows)
            for name in (name for name in names if name in survey.absent):
                _io.console.print(f"  {name} has no value: {survey.absent[name]}", markup=False)


def _line(name: str, row: Mapping[str, Any], intervals: bool) -> list[object]:
    why = row.get("why", "-")  # a sentence stands below the table
    value = f"{row['value']:.6g}" if row["value"] is not None else why if len(why) < 12 else "-"
    drawn = row.get("interval")
    between = [f"{drawn[0]:.4g} to {drawn[1]:.4g}" if drawn else "-"] if intervals else []
    form = ("centred" if row["centred"] else "as it is") + (", unit rows" if row["normalized"] else "")
    return [name, value, *between, row["n"], row["d"], form]


def _drawn(measured: Measured, space: str) -> Any:
    return measured.spaces[space].analysis.unit if space in measured.spaces else None


def _document(args: Arguments, found: Sequence[Measured]) -> dict[str, Any]:
    """Of one input its measures at the top, those of an embedding beside the representation below "embedding"; of several the
    same by name below "inputs".
    """
    each = {measured.label: _of_input(measured) for measured in found}
    body = next(iter(each.values())) if len(each) == 1 else {"inputs": each}
    figure = None if args.out is None else str(args.out)
    drawn = {"reservoir": {"rows": args.reservoir, "seed": args.seed}, "bootstrap": args.bootstrap, "level": 0.95}
    return body | drawn | {"figure": figure}


def _of_input(measured: Measured) -> dict[str, Any]:
    (first, survey), *others = measured.spaces.items()
    body = {"input": str(measured.path), "space": first, **_of_space(survey)}
    body |= {space: _of_space(other) for space, other in others}
    return body | {"diagnosis": measured.diagnosis.document()}


def _of_space(survey: "Survey") -> dict[str, Any]:
    return {
        "measures": survey.document(),
        "curves": survey.curves(),
        "sampled_rows": survey.rows,
        "warnings": survey.warnings,
    }
