"""`fullrank spectrum --time`: how the clips of a video differ, beside how videos differ."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fullrank.cli import _io
from fullrank.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fullrank.spectrum.covariance import Array
    from fullrank.spectrum.temporal import Grouped

LEGEND = (
    "erank: effective rank, of at most so much; share: of the variance of the clips. Within videos near 0 %: every clip of a "
    "video gets the same vector. Chance: the share within videos, or between classes, that mean nothing."
)


@dataclass(frozen=True, kw_only=True)
class Clips:
    """One input."""

    label: str
    path: Path
    spaces: "Mapping[str, Array]"
    """{space: features [clips, d]}"""
    record: "NDArray[Any] | None"
    """[clips]: which video each is of; None where that is unknown"""
    labels: "Mapping[str, NDArray[Any]]"
    """{label set: [clips]}, -1 unknown"""


def in_time(inputs: Iterable[Clips], out: Path | None) -> dict[str, Any]:
    """Print the three spectra and the shares of each input, draw them into ``out``, and return the numbers."""
    from fullrank.spectrum.pictures import in_time as picture
    from fullrank.spectrum.pictures.style import WIDTHS, save
    from fullrank.spectrum.temporal import grouped

    rows: list[list[object]] = []
    numbers: dict[str, Any] = {}
    drawn = []
    for clips in inputs:
        if clips.record is None:
            raise DataError(
                f"{clips.path} must say which video each clip is of, and have several of each, for --time. It does not; "
                "extract the features with --num-clips 4, or give --records."
            )
        numbers[clips.label] = {"path": str(clips.path), "spaces": {}}
        for space, features in clips.spaces.items():
            found = grouped(features, clips.record)
            labels = {name: _of_label(features, values, found) for name, values in clips.labels.items()}
            labels = {name: one for name, one in labels.items() if one}
            numbers[clips.label]["spaces"][space] = {**found.document(), "labels": labels}
            rows += _rows(clips.label, space, found, labels)
            if out is not None:
                title = f"{clips.label}\n{space}"
                drawn.append((title, grouped(features, clips.record, normalized=True)))
    _io.table("", ("input", "space", "of", "n", "erank", "at most", "share"), rows)
    _io.console.print(LEGEND, markup=False)
    if out is not None:
        save(picture.figure(drawn, width_inches=WIDTHS["column"]), out)
        _io.console.print(f"figure: {out}", markup=False)
    return {"time": numbers, "figure": None if out is None else str(out)}


def _of_label(features: "Array", values: "NDArray[Any]", videos: "Grouped") -> dict[str, Any]:
    """The share of the variance that lies between the classes of a label; empty where it has one class, or unknown ones.

    What lies between videos splits exactly into what lies between classes and between the videos of a class.
    """
    import numpy as np

    from fullrank.spectrum.measures import effective_rank
    from fullrank.spectrum.temporal import grouped

    classes = np.unique(values)
    if len(classes) < 2 or len(classes) == len(values) or (classes < 0).any():
        return {}
    found = grouped(features, values)
    between = 1.0 - found.within_share
    # what the means of classes have by chance, the videos being drawn alike in all of them
    chance = (1.0 - videos.within_share) * (len(classes) - 1) / max(1, videos.num_groups - 1)
    rank = {"effective_rank": effective_rank(found.between), "bound": found.between.bound}
    shares = {"between_share": between, "chance_share": chance, "within_class_share": 1.0 - videos.within_share - between}
    return {"classes": len(classes), **shares, **rank}


def _rows(label: str, space: str, found: "Grouped", labels: Mapping[str, Mapping[str, Any]]) -> list[list[object]]:
    from fullrank.spectrum.measures import effective_rank

    within = f"{100 * found.within_share:.1f} % (chance {100 * found.chance_share:.0f} %)"
    shares = ("100 %", f"{100 * (1 - found.within_share):.1f} %", within)
    names = ("clips", "video means", "within videos")
    parts = (found.total, found.between, found.within)
    counts = (found.num_rows, found.num_groups, found.num_rows)
    rows: list[list[object]] = [
        [label, space[:3], name, count, f"{effective_rank(part):.1f}", part.bound, share]
        for name, count, part, share in zip(names, counts, parts, shares, strict=True)
    ]
    for name, one in labels.items():
        share = f"{100 * one['between_share']:.1f} % (chance {100 * one['chance_share']:.1f} %)"
        rows.append([label, space[:3], f"means of {name}", one["classes"], f"{one['effective_rank']:.1f}", one["bound"], share])
    return rows
