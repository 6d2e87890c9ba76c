"""Ask features what they know about labels: nearest neighbours or a linear probe, with intervals."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fullrank.cli import _io
from fullrank.errors import DataError, SettingError, did_you_mean

if TYPE_CHECKING:
    from fullrank.evaluation.problem import Accuracy
    from fullrank.types import FeatureTable

USAGE = """usage: fullrank evaluate knn|linear TRAIN_TABLE TEST_TABLE [OPTIONS]
       fullrank evaluate knn|linear TABLE --groups NAME [OPTIONS]

Accuracy of frozen features, one row a record (the mean over its clips), with Wilson's 95 % interval and the chance level.
  knn     temperature-weighted vote of the nearest training records; nothing is trained
  linear  softmax regression; learning rate and weight decay are chosen on a part of the training records

  fullrank evaluate knn features/train features/test
  fullrank evaluate linear features/train features/test --space embedding --json accuracy.json
  fullrank evaluate linear features/all --groups label_actor      every actor is asked of a probe that never saw them

Tables of `fullrank extract --branch all` are asked for every branch: student and teacher side by side.

`fullrank evaluate knn --help` and `fullrank evaluate linear --help` list the options."""


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What both protocols take."""

    train: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="TRAIN_TABLE")]]
    """feature table of the training records (with --groups: of all records)"""
    test: tyro.conf.Positional[Annotated[Path | None, tyro.conf.arg(metavar="TEST_TABLE")]] = None
    """feature table of the test records (none with --groups)"""
    label: str | None = None
    """the label set to ask for; where not given, every label set that both tables have"""
    space: Literal["representation", "embedding"] = "representation"
    """the backbone's output, or the projector's"""
    groups: str | None = None
    """leave one group out: the label set that names the groups (an actor, a camera, a place)"""
    json: _io.OptionalFile = None
    """write what is printed to this file as JSON"""


@dataclass(frozen=True, kw_only=True)
class Knn(Tables):
    """Options of `fullrank evaluate knn`."""

    k: int = 200
    """neighbours that vote"""
    temperature: float = 0.1
    """a neighbour's vote is exp(cosine / temperature)"""


@dataclass(frozen=True, kw_only=True)
class Linear(Tables):
    """Options of `fullrank evaluate linear`."""

    learning_rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    """all are trained, one is chosen on held-out training records"""
    weight_decays: tuple[float, ...] = (0.0, 1e-4, 1e-2)
    """each with every learning rate"""
    epochs: int = 100
    """passes over the training records"""
    batch_size: int = 256
    """records of a step"""
    seed: int = 0
    """decides the order and which training records are held out"""
    validation_ratio: float = 0.2
    """share of every class's training records that is held out while choosing (with --groups, whole groups are)"""
    standardize: bool = True
    """each dimension to mean 0 and standard deviation 1 of the training records"""


def main(argv: Sequence[str]) -> None:
    """`fullrank evaluate knn features/train features/test`."""
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE)
        return
    protocol, rest = (argv[0], list(argv[1:])) if argv else ("", [])
    kinds: dict[str, type[Knn] | type[Linear]] = {"knn": Knn, "linear": Linear}
    if protocol not in kinds:
        got = f"Got '{protocol}'.{did_you_mean(protocol, kinds)}" if protocol else "Got nothing."
        raise SettingError(f"evaluate must be told how: knn or linear. {got} `fullrank evaluate --help` shows both.")
    args = _io.parse(kinds[protocol], rest, f"fullrank evaluate {protocol}")
    _check(args)
    from fullrank.evaluation.problem import label_names

    branches = _branches([args.train] + ([] if args.test is None else [args.test]))
    tables = next(iter(branches.values()))
    if len(tables) == 2:
        _check_apart(*tables)
    names = [args.label] if args.label else [name for name in label_names(*tables) if name != args.groups]
    if not names:
        raise DataError(f"there must be labels besides the groups. Got only '{args.groups}'; extract with labels.")
    start = time.perf_counter()
    results = {branch: {name: _evaluate(args, both, name) for name in names} for branch, both in branches.items()}
    shown = {
        name if len(branches) == 1 else f"{name}, {branch}": r for branch, found in results.items() for name, r in found.items()
    }
    _show(args, protocol, shown)
    remarks = [text for name, result in shown.items() for text in _remarks(name, result)]
    for text in remarks:
        _io.console.print(text, markup=False)
    _io.write_json(args.json, _plain(_as_json(args, protocol, results, remarks) | {"seconds": time.perf_counter() - start}))


def _branches(folders: Sequence[Path]) -> "dict[str, list[FeatureTable]]":
    """{branch: its table in every folder}, what the paper evaluates first; the others where every folder has them."""
    from fullrank.features.table import other_branches, read_table

    main = [read_table(folder) for folder in folders]
    others = [other_branches(folder) for folder in folders]
    common = [name for name in others[0] if all(name in found for found in others)]
    first = str(main[0].manifest.get("encoded") or main[0].manifest.get("branch") or "student")
    return {first: main} | {name: [found[name] for found in others] for name in common}


def _check(args: Tables) -> None:
    if args.groups is None and args.test is None:
        raise SettingError(
            "evaluate must be given a training and a test table, or one table and --groups NAME. Got one table; "
            "--groups leaves one group of records out at a time."
        )
    if args.groups is not None and args.test is not None:
        raise SettingError("--groups must be given with one table, whose groups are left out in turn. Got two tables.")
    if args.test is not None and args.train.resolve() == args.test.resolve():
        raise SettingError(
            f"training and test tables must be different. Got {args.train} twice, so that every record would find itself; "
            "give another table, or --groups NAME."
        )


def _check_apart(train: "FeatureTable", test: "FeatureTable") -> None:
    import numpy as np

    if train.manifest.get("data_fingerprint") != test.manifest.get("data_fingerprint"):
        return
    ours, theirs = ({table.record_ids[i] for i in np.unique(table.record).tolist()} for table in (train, test))
    if ours & theirs:
        raise DataError(
            f"test records must not be training records. Got {len(ours & theirs)} that are in both tables "
            f"('{min(ours & theirs)}', for example); extract a test set of its own, or use one table with --groups NAME."
        )


def _evaluate(args: Knn | Linear, tables: "list[FeatureTable]", name: str) -> "Accuracy":
    if args.groups is not None:
        return _leave_out(args, tables[0], name, args.groups)
    train, test = tables
    if isinstance(args, Knn):
        from fullrank.evaluation.knn import knn

        return knn(train, test, label=name, space=args.space, k=args.k, temperature=args.temperature)
    from fullrank.evaluation.linear import linear

    with _progress(f"linear probe of {name}") as progress:
        return linear(
            train,
            test,
            label=name,
            space=args.space,
            learning_rates=args.learning_rates,
            weight_decays=args.weight_decays,
            epochs=args.epochs,
            batch_size=args.batch_size,
            seed=args.seed,
            validation_ratio=args.validation_ratio,
            standardize=args.standardize,
            progress=progress,
        )


def _leave_out(args: Knn | Linear, table: "FeatureTable", name: str, groups: str) -> "Accuracy":
    from fullrank.features.table import per_record

    features, labels, _ = per_record(table, args.space)
    for wanted, what in ((name, "label"), (groups, "groups")):
        if wanted not in labels:
            have = ", ".join(labels) or "none"
            near = did_you_mean(wanted, labels)
            raise DataError(f"--{what} must be a label set of the table. Got '{wanted}'; it has: {have}.{near}")
    if name == groups:
        raise SettingError(f"--label and --groups must be two label sets. Got '{name}' for both.")
    classes = len(table.classes[name])
    if isinstance(args, Knn):
        from fullrank.evaluation.knn import knn_grouped

        return knn_grouped(features, labels[name], labels[groups], k=args.k, temperature=args.temperature, num_classes=classes)
    from fullrank.evaluation.linear import linear_grouped

    with _progress(f"linear probe of {name}, one {groups} left out at a time") as progress:
        return linear_grouped(
            features,
            labels[name],
            labels[groups],
            learning_rates=args.learning_rates,
            weight_decays=args.weight_decays,
            epochs=args.epochs,
            batch_size=args.batch_size,
            seed=args.seed,
            standardize=args.standardize,
            num_classes=classes,
            group_names=table.classes[groups],
            progress=progress,
        )


@contextmanager
def _progress(text: str) -> Iterator[Callable[[float], None] | None]:
    if not _io.is_terminal():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=_io.notes, transient=True) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda done: bar.update(task, completed=done)


def _show(args: Knn | Linear, protocol: str, results: "dict[str, Accuracy]") -> None:
    what = f"{args.train} -> {args.test}" if args.test else f"{args.train}, one {args.groups} left out at a time"
    how = f"k {args.k}, temperature {args.temperature:g}" if isinstance(args, Knn) else f"{args.epochs} epochs"
    header = ["label", "top-1 %", "95 %", "top-5 %", "chance %", "test", "train"]
    header += ["rate, decay"] if isinstance(args, Linear) else []
    rows = [_row(name, result) for name, result in results.items()]
    _io.table(f"{protocol} of the {args.space}: {what}, {how}", header, rows)


def _row(name: str, result: "Accuracy") -> list[object]:
    from fullrank.evaluation.linear import LinearResult

    low, high = (f"{100 * bound:.1f}" for bound in result.interval)
    top5 = "-" if result.top5 is None else 100 * result.top5
    row: list[object] = [name, 100 * result.top1, f"{low}-{high}", top5, 100 * result.chance, result.n, result.n_train]
    return row + ([f"{result.learning_rate:g}, {result.weight_decay:g}"] if isinstance(result, LinearResult) else [])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _remarks(name: str, result: Any) -> list[str]:
    """What a reader must know beside the numbers."""
    said = []
    if result.interval[0] <= result.chance:
        said.append(f"{name}: not above chance, which lies inside or above the interval.")
    if result.unlabelled:
        said.append(f"{name}: left out {_count(result.unlabelled, 'record')} without this label.")
    if result.unknown_class:
        many = _count(result.unknown_class, "test record")
        said.append(f"{name}: left out {many} of classes that have no training record.")
    if getattr(result, "k", 0) < getattr(result, "k_asked", 0):
        said.append(f"{name}: k is {result.k}, as there are no more training records (asked: {result.k_asked}).")
    rates = sorted({row["learning_rate"] for row in getattr(result, "validation", [])})
    if len(rates) > 1 and result.learning_rate in (rates[0], rates[-1]):
        edge = "smallest" if result.learning_rate == rates[0] else "largest"
        said.append(f"{name}: the chosen learning rate is the {edge} of the grid; a wider --learning-rates may do better.")
    groups = getattr(result, "groups", {})
    if groups:
        low, high = result.groups_interval
        worst = min(groups, key=lambda group: groups[group])
        said.append(
            f"{name}: mean over {len(groups)} groups {100 * sum(groups.values()) / len(groups):.1f} % "
            f"({100 * low:.1f} to {100 * high:.1f}); worst {worst} with {100 * groups[worst]:.1f} %."
        )
    return said


def _as_json(args: Tables, protocol: str, results: "dict[str, dict[str, Accuracy]]", remarks: list[str]) -> dict[str, Any]:
    branches = {branch: {name: r.as_dict() for name, r in found.items()} for branch, found in results.items()}
    return {
        "protocol": protocol,
        "train": str(args.train),
        "test": None if args.test is None else str(args.test),
        "space": args.space,
        "left_out": args.groups,
        "results": next(iter(branches.values())),
        "branches": branches,
        "remarks": remarks,
    }


def _plain(value: Any) -> Any:
    """JSON has no infinity: the loss of a setting that diverged becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
