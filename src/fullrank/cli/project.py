"""Draw chosen classes of several encoders side by side in two dimensions, by t-SNE, UMAP or PCA."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from fullrank.cli import _io
from fullrank.cli._names import names_of
from fullrank.errors import DataError, SettingError

if TYPE_CHECKING:
    from fullrank.spectrum.moments import Array
    from fullrank.spectrum.projection import Selection
    from fullrank.types import FeatureTable

ABOUT = (
    f"{__doc__} All encoders show the same records, classes, colours and marks. t-SNE and UMAP keep who is near whom and "
    "forget scale: a completely collapsed encoder looks like any other, so spread and effective rank stand above each picture."
)
PREFERRED = ("label", "digit")
"""label sets that are taken where --label is not given and a table has several"""
OF_ROWS = "class"
"""label set of what has none of its own: plain files, and tables without labels"""
FLOAT32_MAX = 3.4e38
"""as which features are drawn"""


@dataclass(frozen=True)
class Arguments:
    """What to draw."""

    inputs: tyro.conf.Positional[
        Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FEATURES [FEATURES ...]", help_behavior_hint="")]
    ]
    """feature tables of the same data (`fullrank extract`), whose clips of a record are averaged; or files of [n, d] with
    the same rows; FILE#ARRAY of several"""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("projection.pdf")
    """.pdf, .svg or .png"""
    method: Literal["tsne", "umap", "pca"] = "tsne"
    """umap needs `pip install 'fullrank[umap]'`"""
    classes: tuple[str, ...] = ()
    """how many classes, drawn from the seed; or their names (where not given: five, or all where there are fewer)"""
    class_of: _io.OptionalFile = None
    """of plain files: .npy of [n] whole numbers, the class of each row; without it points have one colour"""
    label: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """which label set colours the points, where the tables have several"""
    labels: tuple[str, ...] = ()
    """a name for each input, above its picture; where not given, its folder's"""
    space: Literal["representation", "embedding"] = "representation"
    """which features"""
    rows: int = 500
    """at most so many records, as many of each class"""
    seed: int = 0
    """decides classes, records and the picture"""
    width: Literal["column", "page"] = "page"
    """of the figure: 3.3 inches, a column of a paper, or 6.9"""
    json: _io.OptionalFile = None
    """write classes, records, points and numbers to this file"""


def main(argv: Sequence[str]) -> None:
    """`fullrank project features/a features/b --method tsne --classes 5 --out figure.pdf`."""
    args = _io.parse(Arguments, argv, "fullrank project", description=ABOUT)
    _check(args)
    from fullrank.spectrum.pictures import maps, style
    from fullrank.spectrum.projection import select

    names = names_of(args.inputs, args.labels)
    tables = {name: _table(path, args) for name, path in zip(names, args.inputs, strict=True)}
    _check_rows([(path, table) for path, table in zip(args.inputs, tables.values(), strict=True) if not table.manifest])
    unlabelled = args.label is None and not any(table.labels for table in tables.values())
    if unlabelled:
        tables = _in_one_colour(tables, args)
    label = args.label or _label(tables)
    chosen = select(tables, label=label, space=args.space, num_classes=_wanted(args), rows=args.rows, seed=args.seed)
    drawn, said = [], {}
    for name in tables:
        one, numbers = _map(name, chosen, args)
        drawn.append(one)
        said[name] = numbers
        _io.console.print(f"{name}: {one.note}{_trusted(numbers)}", markup=False)
    several = chosen.classes if len(chosen.classes) > 1 else ()
    figure = maps.figure(drawn, chosen.member, several, width_inches=style.WIDTHS[args.width])
    style.save(figure, args.out)
    shown = "in one colour, because they have no labels" if unlabelled else f"of {label}: {', '.join(chosen.classes)}"
    _io.console.print(f"{len(chosen.records)} records {shown}\nfigure: {args.out}", markup=False)
    body: dict[str, Any] = {
        "method": args.method,
        "seed": args.seed,
        "label": label,
        "space": args.space,
        "classes": list(chosen.classes),
    }
    body |= {"records": list(chosen.records), "class": [chosen.classes[i] for i in chosen.member], "inputs": said}
    _io.write_json(args.json, {**body, "figure": str(args.out)})


def _table(path: Path, args: Arguments) -> "FeatureTable":
    """A feature table; a plain file becomes one whose records are its rows, and a named array the representation."""
    from fullrank.features.table import features_of, read_table, table_of

    if (named := table_of(path)) is not None:
        table, space = named
        if space and args.space != "representation":
            raise SettingError(f"--space must be left out where the input names its array. Got {args.space} with {path}.")
        table = replace(table, representation=features_of(table, space)) if space else table
        _check_features(path, features_of(table, args.space))
        return table
    if path.is_dir() or not (path.exists() or Path(str(path).partition("#")[0]).is_file()):
        return read_table(path)
    return _plain(path, args)


def _plain(path: Path, args: Arguments) -> "FeatureTable":
    import numpy as np

    from fullrank.spectrum.covariance import load_features
    from fullrank.types import FeatureTable

    if args.space != "representation":
        raise SettingError(f"--space must be representation for plain files, which have one. Got {args.space} with {path}.")
    with _io.named(path):
        features = load_features(path)
    _check_features(path, features)
    numbers, classes = _classes(args.class_of, len(features))
    return FeatureTable(
        representation=np.asarray(features, np.float32),
        embedding=None,
        labels={OF_ROWS: numbers},
        record=np.arange(len(features)),
        start_seconds=np.zeros(len(features)),
        record_ids=[f"row {i:06d}" for i in range(len(features))],
        classes={OF_ROWS: classes},
        manifest={},
    )


def _check_features(path: Path, features: "Array") -> None:
    """All rows, drawn or not: a picture of the finite ones would hide that the others are not."""
    from fullrank.spectrum.covariance import blocks
    from fullrank.spectrum.moments import as_float64

    first, width = 0, features.shape[1]
    if width < 2:
        raise DataError(
            f"{path} must have at least 2 dimensions to be placed in two. Got 1; `fullrank spectrum` says how it is spread."
        )
    with _io.named(path):
        for block in blocks(features):
            if abs(as_float64(block, width, first)).max() > FLOAT32_MAX:
                raise DataError(
                    f"features must be below {FLOAT32_MAX:.1e}, as float32 is. Got larger ones; divide by one number."
                )
            first += len(block)


def _check_rows(plain: "Sequence[tuple[Path, FeatureTable]]") -> None:
    """Rows of plain files are the same record only by their number."""
    for path, table in plain[1:]:
        first, rows = plain[0][0], len(plain[0][1].record)
        if len(table.record) != rows:
            raise DataError(
                f"files without names of records must have the same rows, in the same order. Got {rows} in {first} and "
                f"{len(table.record)} in {path}; make features of the same data, or feature tables (`fullrank extract`)."
            )


def _classes(file: Path | None, rows: int) -> tuple[Any, list[str]]:
    """(class number of each row, names of the classes)."""
    import numpy as np

    from fullrank.spectrum.files import read_numbers

    if file is None:
        return np.zeros(rows, np.int64), ["rows"]
    given = np.asarray(read_numbers(file))
    if len(given) != rows:
        raise SettingError(f"--class-of must have a class for each of {rows} rows. Got {len(given)} in {file}.")
    names, numbers = np.unique(given, return_inverse=True)
    return numbers.astype(np.int64), [str(name) for name in names]


def _wanted(args: Arguments) -> int | tuple[str, ...] | None:
    """How many classes, or their names; None: the usual number."""
    if not args.classes:
        return None
    return int(args.classes[0]) if len(args.classes) == 1 and args.classes[0].isdecimal() else args.classes


def _check(args: Arguments) -> None:
    from fullrank.spectrum.pictures.style import check_suffix

    if not args.inputs:
        raise SettingError("project must be given feature tables. Got none; `fullrank extract` writes them.")
    if args.rows < 5:
        raise SettingError(f"--rows must be at least 5. Got {args.rows}.")
    if args.seed < 0:
        raise SettingError(f"--seed must be 0 or more. Got {args.seed}.")
    check_suffix(args.out)


def _label(tables: "Mapping[str, FeatureTable]") -> str:
    """The only label set that all tables have, or the usual one of several."""
    common = [name for name in next(iter(tables.values())).labels if all(name in one.labels for one in tables.values())]
    if not common:
        have = "; ".join(f"{name}: {', '.join(one.labels) or 'none'}" for name, one in tables.items())
        raise SettingError(f"the tables must have a label set in common, to choose classes from. They have {have}.")
    usual = [name for name in PREFERRED if name in common]
    return (usual or common)[0]


def _in_one_colour(tables: "Mapping[str, FeatureTable]", args: Arguments) -> "dict[str, FeatureTable]":
    """Tables without labels, all of whose records become one class."""
    import numpy as np

    if args.classes:
        raise SettingError(
            f"--classes must be left out where the tables have no labels. Got {' '.join(args.classes)}; extract the features "
            "of labelled data."
        )
    return {
        name: replace(one, labels={OF_ROWS: np.zeros(len(one.record), np.int64)}, classes={OF_ROWS: ["rows"]})
        for name, one in tables.items()
    }


def _map(name: str, chosen: "Selection", args: Arguments) -> tuple[Any, dict[str, Any]]:
    from fullrank.spectrum.covariance import spectrum_of
    from fullrank.spectrum.measures import effective_rank, measure
    from fullrank.spectrum.pictures.maps import Map
    from fullrank.spectrum.projection import name_components, project, trustworthiness

    features = chosen.features[name]
    placed = project(features, args.method, seed=args.seed)
    spectrum = spectrum_of(features)
    rank, spread = effective_rank(spectrum), spectrum.d**0.5 * measure(features, "normalized_std")
    numbers: dict[str, Any] = {"effective_rank": rank, "bound": spectrum.bound, "spread": spread, "points": placed.tolist()}
    axes = ("", "")
    if args.method == "pca":
        named = name_components(features, chosen.labels)
        numbers["components"] = [{"share": one.share, "name": one.name, "explained": one.explained} for one in named]
        axes = tuple(_axis(i, one) for i, one in enumerate(named[:2]))  # type: ignore[assignment]
    else:
        numbers["trustworthiness"] = trustworthiness(features, placed)
    note = f"effective rank {rank:.0f} of {spectrum.bound}, spread {spread:.2g}"
    return Map(title=name, note=note, placed=placed, axes=axes), numbers


def _axis(i: int, component: Any) -> str:
    name = component.name
    about = f"\n{name}, $R^2$ {component.explained[name]:.2f}" if name else ""
    return f"component {i + 1} ({100 * component.share:.0f} %){about}"


def _trusted(numbers: dict[str, Any]) -> str:
    if "trustworthiness" in numbers:
        return f", neighbours kept {100 * numbers['trustworthiness']:.0f} %"
    parts = [f"{i + 1} {100 * one['share']:.0f} % {one['name'] or '-'}" for i, one in enumerate(numbers["components"])]
    return f"; components: {', '.join(parts)}"
