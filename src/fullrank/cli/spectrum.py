"""Measure the spectra of feature files, draw them, and say whether they have collapsed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fullrank.cli import _io
from fullrank.errors import CheckpointError, DataError, FullrankError, SettingError

if TYPE_CHECKING:
    from fullrank.spectrum.covariance import Array
    from fullrank.spectrum.diagnosis import Diagnosis
    from fullrank.spectrum.measures import Analysis

_LEGEND = (
    "rep: representation, emb: embedding; erank: effective rank; std: of each dimension; spread: sqrt(d) x std of the "
    "L2-normalised rows (healthy about 1, collapsed 0); cosine: mean, of different rows"
)
_PATIENCE_SECONDS = 2.0
"""a bar appears when it takes longer"""


@dataclass(frozen=True)
class Arguments:
    """What to measure."""

    inputs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FEATURES [FEATURES ...]", help_behavior_hint="")]
    ]
    """feature tables (folders) or .npy files of [n, d]; .npz with one array"""
    labels: tuple[str, ...] = ()
    """a name for each input, in the figure and the table; where not given, its file name"""
    out: _io.OptionalFile = None
    """draw the 2x2 figure into this .pdf, .svg or .png"""
    space: Literal["representation", "embedding"] = "representation"
    """what plain files hold: it decides what counts as collapsed"""
    healthy_std: float | None = None
    """std that the method drives each dimension of its embedding to (VICReg: 1); tables of `fullrank extract` say it"""
    json: _io.OptionalFile = None
    """write every measure, the verdicts and their evidence to this file"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One input."""

    label: str
    path: Path
    spaces: "dict[str, Analysis]"
    diagnosis: "Diagnosis"


def main(argv: Sequence[str]) -> None:
    """`fullrank spectrum features/a features/b --labels A B --out figure.pdf --json spectra.json`."""
    args = _io.parse(Arguments, argv, "fullrank spectrum", description=__doc__)
    labels = _check(args)
    found = [_measure(path, label, args) for path, label in zip(args.inputs, labels, strict=True)]
    _show(found)
    if args.out is not None:
        from fullrank.spectrum.plots import figure_2x2

        figure_2x2([(m.label, *(_drawn(m, space) for space in ("representation", "embedding"))) for m in found], args.out)
        _io.console.print(f"figure: {args.out}", markup=False)
    _io.write_json(args.json, _document(args, found))


def _check(args: Arguments) -> list[str]:
    if not args.inputs:
        raise SettingError("spectrum must be given feature tables or .npy files. Got none; `fullrank extract` writes tables.")
    if args.labels and len(args.labels) != len(args.inputs):
        raise SettingError(f"--labels must name each input once. Got {len(args.labels)} for {len(args.inputs)} inputs.")
    names = list(args.labels) or [path.stem if path.suffix else path.name for path in args.inputs]
    labels = names if len(set(names)) == len(names) else [str(path) for path in args.inputs]
    if len(set(labels)) < len(labels):
        raise SettingError("every input must have a name of its own. Got one twice; give different --labels.")
    if args.healthy_std is not None and not args.healthy_std > 0:
        raise SettingError(f"--healthy-std must be above 0. Got {args.healthy_std:g}.")
    if args.out is not None:
        from fullrank.spectrum.plots import check_suffix

        check_suffix(args.out)
    return labels


def _measure(path: Path, label: str, args: Arguments) -> Measured:
    from fullrank.spectrum.diagnosis import diagnose
    from fullrank.spectrum.measures import analyse

    spaces = {}
    with _named(path):
        opened = _open(path, args.space)
    for space, features in opened.items():
        with _progress(f"{label}: {space}", 2 * len(features)) as count, _named(f"{path} ({space})"):
            spaces[space] = analyse(features, on_rows=count)
    rows = {space: analysis.row() for space, analysis in spaces.items()}
    manifest = _manifest(path)
    healthy_std = args.healthy_std or manifest.get("healthy_std")
    diagnosis = diagnose(rows, healthy_std=healthy_std, trained=manifest.get("steps") != 0)
    return Measured(label=label, path=path, spaces=spaces, diagnosis=diagnosis)


def _manifest(path: Path) -> dict[str, Any]:
    """What a table says of its method and its training; nothing for plain files."""
    from fullrank.features.table import read_table

    return read_table(path).manifest if (path / "manifest.json").exists() else {}


@contextmanager
def _named(what: Path | str) -> Iterator[None]:
    """Errors about an array say which file it is."""
    try:
        yield
    except FullrankError as error:
        text = str(error)
        raise type(error)(text if str(what) in text else f"{what}: {text}") from None


def _open(path: Path, space: str) -> "Mapping[str, Array]":
    """{space: features}, memory-mapped."""
    from fullrank.features.table import read_table
    from fullrank.spectrum.covariance import load_features

    if not path.exists():
        raise DataError(f"{path} must be a feature table or a .npy file. Got nothing there.")
    if not path.is_dir():
        return {space: load_features(path)}
    if (path / "checkpoint.pt").exists() or (path / "metrics.jsonl").exists():
        raise CheckpointError(
            f"{path} must hold features. Got a run; `fullrank extract {path} --out FOLDER` makes features of it."
        )
    if (path / "manifest.json").exists():
        table = read_table(path)
        return {"representation": table.representation} | ({} if table.embedding is None else {"embedding": table.embedding})
    embedding = path / "embedding.npy"
    return {"representation": load_features(path)} | ({"embedding": load_features(embedding)} if embedding.exists() else {})


@contextmanager
def _progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Count rows, on a bar that appears once two seconds have passed."""
    from rich.progress import Progress

    began = time.monotonic()
    with Progress(console=_io.notes, transient=True, disable=not _io.is_terminal()) as bar:
        task = bar.add_task(text, total=total, visible=False)

        def count(rows: int) -> None:
            bar.update(task, advance=rows, visible=time.monotonic() - began > _PATIENCE_SECONDS)

        yield count


def _show(found: Sequence[Measured]) -> None:
    from rich import box
    from rich.table import Table

    # Ten columns fit into a terminal of 80 characters only without lines between them.
    drawn = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("input", "space", "n", "d", "erank", "RankMe", "CEV AUC", "std", "spread", "cosine"):
        drawn.add_column(name, justify="left" if name in ("input", "space") else "right", overflow="fold")
    for measured in found:
        for space, analysis in measured.spaces.items():
            v = analysis.values
            spread = analysis.d**0.5 * v["normalized_std"]
            ranks = (f"{v['effective_rank']:.1f}", f"{v['rankme']:.1f}", f"{v['cev_auc']:.3f}")
            scale = (f"{v['std']:.2g}", f"{spread:.2g}", f"{v['mean_cosine']:.3f}")
            drawn.add_row(measured.label, space[:3], str(analysis.n), str(analysis.d), *ranks, *scale)
    _io.console.print(drawn)
    _io.console.print(_LEGEND, markup=False)
    for measured in found:
        _io.console.print(f"\n{measured.label}: {measured.diagnosis.sentence}", markup=False)
        for remark in (*measured.diagnosis.warnings, measured.diagnosis.advice):
            if remark:
                _io.console.print(f"  {remark}", markup=False)


def _drawn(measured: Measured, space: str) -> Any:
    return measured.spaces[space].unit if space in measured.spaces else None


def _document(args: Arguments, found: Sequence[Measured]) -> dict[str, Any]:
    """A plain file alone: its measures at the top; otherwise by input and space."""
    if len(found) == 1 and not found[0].path.is_dir():
        only = found[0]
        space, analysis = next(iter(only.spaces.items()))
        body: dict[str, Any] = {"input": str(only.path), "space": space, "measures": analysis.document()}
        body["diagnosis"] = only.diagnosis.document()
    else:
        inputs = {
            m.label: {
                "path": str(m.path),
                "spaces": {space: {"measures": analysis.document()} for space, analysis in m.spaces.items()},
                "diagnosis": m.diagnosis.document(),
            }
            for m in found
        }
        body = {"inputs": inputs}
    return body | {"figure": None if args.out is None else str(args.out)}
