"""Draw runs and features for a paper: spectra over time, losses, stages, the projector's gap, measures against accuracy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fullrank.cli import _io
from fullrank.cli._names import names_of
from fullrank.config import Settings
from fullrank.errors import DataError, SettingError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = tuple["Figure", dict[str, Any]]
"""a picture, and the numbers in it"""
MOST_PANELS = 12
"""of a picture of measures, where nobody chose them"""
ABOUT = f"""{__doc__}

time RUNS: spectrum over training time, a heat map of rank index against step (--spaces).
losses RUNS: each loss term, of training and of held-out records where the run has them.
stages RUNS or CHECKPOINTS: effective rank of each stage of the backbone, of the data in --data.path.
gap FEATURES: representation beside embedding.
sides FEATURES FEATURES: spectra of training records against held-out ones, in pairs.
accuracy RUNS.json: measures against an accuracy over runs, with Kendall's tau (--accuracy, --measures, --methods, --by).
`fullrank spectrum --out` draws spectra side by side, `fullrank project` draws points."""


class Records(Settings):
    """Of stages: what the networks look at."""

    path: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """videos or images (where not given: the first run's own)"""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """part of a data set that has parts, such as test"""
    limit: int = 1000
    """at most so many records"""


@dataclass(frozen=True)
class Arguments:
    """What to draw."""

    picture: tyro.conf.Positional[Literal["time", "losses", "stages", "gap", "sides", "accuracy"]]
    """which picture"""
    inputs: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="INPUT [INPUT ...]", help_behavior_hint="")]]
    """what it is drawn of"""
    out: _io.OptionalFile = None
    """.pdf, .svg or .png (where not given: PICTURE.pdf)"""
    labels: tuple[str, ...] = ()
    """a name for each input; where not given, its file name"""
    spaces: tuple[str, ...] = ()
    """of time and sides: which features (where not given: representation and embedding, where they are); of time also
    held_out/embedding, stages/layer1, views/1/embedding and the like, where the run watched them"""
    accuracy: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """of accuracy: which one, as the file calls it"""
    measures: tuple[str, ...] = ()
    """of accuracy: which, such as "representation effective_rank", or effective_rank for every space that has it (where not
    given: the table has all, the picture those of the largest tau)"""
    methods: tuple[str, ...] = ()
    """of accuracy: runs of these only (where not given: of all)"""
    by: Literal["method", "setting", "run"] | None = None
    """of accuracy: what is drawn anew for the interval; runs that differ in their seed alone are not independent (where not
    given: method, or the settings of a single one)"""
    data: Records = Records()
    """of stages: what the networks look at"""
    width: Literal["column", "page"] = "column"
    """of the figure: 3.3 inches, a column of a paper, or 6.9"""
    json: _io.OptionalFile = None
    """write the numbers of the picture to this file"""


def main(argv: Sequence[str]) -> None:
    """`fullrank draw time runs/a runs/b --out time.pdf`."""
    args = _io.parse(Arguments, argv, "fullrank draw", description=ABOUT)
    from fullrank.spectrum.pictures.style import WIDTHS, check_suffix, save

    if not args.inputs:
        raise SettingError(f"draw {args.picture} must be given what to draw. Got nothing; `fullrank draw --help` says what.")
    out = args.out or Path(f"{args.picture}.pdf")
    check_suffix(out)
    figure, numbers = PICTURES[args.picture](args, WIDTHS[args.width])
    _io.console.print(f"figure: {save(figure, out)}", markup=False)
    _io.write_json(args.json, {"picture": args.picture, **numbers, "figure": str(out)})


def _lines(path: Path, file: str) -> list[dict[str, Any]]:
    from fullrank.engine.observers import read_lines

    if not (path / file).is_file():
        raise DataError(f"{path} must be a run with {file}. Got none there; give the folder that `fullrank train` wrote.")
    return read_lines(path / file)


def _time(args: Arguments, width: float) -> Drawn:
    from fullrank.spectrum.pictures import over_time

    histories = []
    for path, name in zip(args.inputs, names_of(args.inputs, args.labels), strict=True):
        lines = [line for line in _lines(path, "spectrum.jsonl") if line.get("kind") == "full"]
        there = {space for line in lines for space in over_time.spectra_of_line(line)}
        usual = [space for space in ("representation", "embedding") if space in there]
        spaces = list(args.spaces) or usual or ["representation"]
        title = f"{name}\n" if len(args.inputs) > 1 else ""
        histories += [
            over_time.history(lines, space, f"{title}{space.replace('_', ' ').replace('/', ' ')}") for space in spaces
        ]
    said = [one.label.replace("\n", ": ") for one in histories]
    single = [name for name, one in zip(said, histories, strict=True) if len(one.steps) == 1]
    if single:
        _io.console.print(
            f"{', '.join(single)}: one spectrum only, so the picture shows no course. A run takes as many as fit into a "
            "hundredth of its time; train longer, or with a larger --monitor.max-share.",
            markup=False,
        )
    numbers = {
        name: {"steps": one.steps.tolist(), "effective_rank": one.ranks.tolist()}
        for name, one in zip(said, histories, strict=True)
    }
    return over_time.figure(histories, width_inches=width), {"spaces": numbers}


def _losses(args: Arguments, width: float) -> Drawn:
    from fullrank.spectrum.pictures import losses

    names = names_of(args.inputs, args.labels)
    found = [
        one for path, name in zip(args.inputs, names, strict=True) for one in losses.curves(_lines(path, "metrics.jsonl"), name)
    ]
    last = [{"run": one.run, "term": one.term, "side": one.side, "last": float(one.values[-1])} for one in found]
    return losses.figure(found, width_inches=width), {"curves": last}


def _stages(args: Arguments, width: float) -> Drawn:
    from fullrank.checkpoint.encoder import Encoder
    from fullrank.checkpoint.load import load
    from fullrank.config import DataConfig
    from fullrank.data.open import open_source
    from fullrank.features.stages import stage_features
    from fullrank.spectrum.covariance import spectrum_of
    from fullrank.spectrum.measures import effective_rank
    from fullrank.spectrum.pictures import stages

    encoders = [load(path) for path in args.inputs]
    own = next((one.config.data for one in encoders if isinstance(one, Encoder)), DataConfig())
    given = args.data.path is not None
    data = own.model_copy(update={"path": args.data.path, "name": "auto", "cache": None}) if given else own
    data = data.model_copy(update={"split": args.data.split or data.split, "limit": args.data.limit})
    source = open_source(data)
    networks = []
    for name, encoder in zip(names_of(args.inputs, args.labels), encoders, strict=True):
        features = stage_features(encoder, source)
        networks.append((name, {stage: spectrum_of(rows) for stage, rows in features.items()}))
    numbers = {
        name: {stage: {"effective_rank": effective_rank(s), "n": s.n, "d": s.d} for stage, s in found.items()}
        for name, found in networks
    }
    for name, found in numbers.items():
        said = ", ".join(f"{stage} {m['effective_rank']:.1f}" for stage, m in found.items())
        _io.console.print(f"{name}: effective rank {said}", markup=False)
    return stages.figure(networks, width_inches=width), {"networks": numbers, "data": source.description}


def _gap(args: Arguments, width: float) -> Drawn:
    from fullrank.features.table import read_table
    from fullrank.spectrum.measures import measure_all
    from fullrank.spectrum.pictures import gap

    rows = []
    for path, name in zip(args.inputs, names_of(args.inputs, args.labels), strict=True):
        table = read_table(path)
        if table.embedding is None:
            raise DataError(f"{path} must have an embedding to have a gap. It has a representation only; leave it out.")
        rows.append(gap.gap(name, measure_all(table.representation), measure_all(table.embedding)))
    numbers = {row.label: {"representation": row.representation, "embedding": row.embedding} for row in rows}
    return gap.figure(rows, width_inches=width), {"tables": numbers}


def _sides(args: Arguments, width: float) -> Drawn:
    from fullrank.features.table import features_of, read_table
    from fullrank.spectrum.measures import measure_all
    from fullrank.spectrum.pictures import sides

    if len(args.inputs) % 2 or (args.labels and len(args.labels) != len(args.inputs) // 2):
        raise SettingError(
            "draw sides needs pairs of tables: training, held out, training, held out, ... and a label a pair. "
            f"Got {len(args.inputs)} tables and {len(args.labels)} labels."
        )
    rows, numbers = [], {}
    for i, (first, second) in enumerate(zip(args.inputs[::2], args.inputs[1::2], strict=True)):
        both = read_table(first), read_table(second)
        usual = ["representation"] + ["embedding"] * all(one.embedding is not None for one in both)
        for space in args.spaces or usual:
            name = f"{args.labels[i]}: {space}" if args.labels else space if len(args.inputs) == 2 else f"{first.name}: {space}"
            features = [features_of(one, space) for one in both]
            rows.append((name, *_same_rows(features)))
            numbers[name] = {side: measure_all(x) for side, x in zip(sides.LOOKS, features, strict=True)}
    return sides.figure(rows, width_inches=width), {"rows": numbers}


def _same_rows(both: Sequence[Any]) -> tuple[Any, Any]:
    """Spectra of as many rows of each, spread evenly over the longer one: the tail of a spectrum grows with n."""
    import numpy as np

    from fullrank.spectrum.covariance import spectrum_of

    n = min(map(len, both))
    picked = [one[np.linspace(0, len(one) - 1, n).round().astype(int)] for one in both]
    return spectrum_of(picked[0], normalized=True), spectrum_of(picked[1], normalized=True)


def _accuracy(args: Arguments, width: float) -> Drawn:
    from fullrank.spectrum.pictures import against_accuracy
    from fullrank.spectrum.scored_runs import read_scored_runs

    runs = [run for path in args.inputs for run in read_scored_runs(path)]
    if args.methods:
        there = sorted({run.group for run in runs})
        for name in set(args.methods) - set(there):
            raise SettingError(f"--methods must be of {', '.join(there)}. Got '{name}'.{did_you_mean(name, there)}")
        runs = [run for run in runs if run.group in args.methods]
    known = list(dict.fromkeys(name for run in runs for name in run.accuracies))
    accuracy, by = args.accuracy or known[0], _unit(runs, args.by)
    asked = _measures(args.measures, list(dict.fromkeys(name for run in runs for name in run.measures)))
    found, left_out = [], dict[str, list[str]]()
    for name in asked:
        try:
            found.append(against_accuracy.relation(runs, name, accuracy, by=by))
        except DataError as error:
            if args.measures:
                raise
            left_out.setdefault(str(error).removeprefix(f"{name} and {accuracy}: "), []).append(name)
    for reason, names in left_out.items():
        many = f"{len(names)} measures" if len(names) > MOST_PANELS else ", ".join(names)
        _io.notes.print(f"left out: {many}: {reason}", markup=False)
    if not found:
        raise DataError(f"{accuracy} must differ over at least 4 runs that have a measure. No measure is left; see above.")
    ordered = sorted(found, key=lambda one: -abs(one.tau.value))
    rows = [
        [one.measure, *(f"{v:+.2f}" for v in (one.tau.value, one.tau.low, one.tau.high)), one.tau.num_runs] for one in ordered
    ]
    what = "runs" if by == "run" else f"{by}s ({found[0].tau.num_units})"
    title = f"Kendall's tau with {accuracy}; 95 % interval drawn over {what}"
    _io.table(title, ("measure", "tau", "from", "to", "runs"), rows)
    numbers = {
        one.measure: {"tau": one.tau.value, "interval": [one.tau.low, one.tau.high], "runs": one.tau.num_runs} for one in found
    }
    if len(known) > 1 and args.accuracy is None:
        _io.console.print(f"other accuracies of the file: {', '.join(known[1:])} (--accuracy)", markup=False)
    drawn = found if args.measures else ordered[:MOST_PANELS]
    if len(drawn) < len(found):
        _io.console.print(f"the picture shows the first {len(drawn)} of {len(found)}; --measures chooses others", markup=False)
    figure = against_accuracy.figure(drawn, width_inches=width)
    return figure, {"accuracy": accuracy, "drawn_over": what, "measures": numbers}


def _measures(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """Measures by their whole names; one without a space stands for all that have it. All, where none is asked for."""
    if not asked:
        return list(known)
    return [one for name in asked for one in ([k for k in known if k.split(" ", 1)[-1] == name] or [name])]


def _unit(runs: Sequence[Any], asked: Literal["method", "setting", "run"] | None) -> Literal["method", "setting", "run"]:
    from fullrank.spectrum.pictures.against_accuracy import names_of

    if asked is None:
        return next((by for by in ("method", "setting") if len(set(names_of(runs, by))) > 1), "run")
    if len(set(names_of(runs, asked))) == 1:
        raise SettingError(f"--by {asked} must have more than one {asked} to draw. Got one; take --by run.")
    return asked


PICTURES: dict[str, Callable[[Arguments, float], Drawn]] = {
    "time": _time,
    "losses": _losses,
    "stages": _stages,
    "gap": _gap,
    "sides": _sides,
    "accuracy": _accuracy,
}
