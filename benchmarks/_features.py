"""What benchmarks ask of features: their ranks, and the actions of Weizmann with one actor left out at a time."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from fullrank.checkpoint.encoder import Encoder
from fullrank.data.source import Source
from fullrank.evaluation.knn import knn_grouped
from fullrank.evaluation.linear import linear_grouped
from fullrank.features.extract import extract
from fullrank.features.table import per_record
from fullrank.spectrum.measures import measure_all

MEASURES = ("n", "d", "effective_rank", "std", "mean_cosine")


def file_name(label: str) -> str:
    """Of the files that belong to a row of a table: "dino, student" -> "dino-student"."""
    return label.replace(", ", "-").replace(" ", "_")


def ranks(table: Any, keys: tuple[str, ...] = MEASURES) -> dict[str, Any]:
    found = {}
    for space in ("representation", "embedding"):
        features = getattr(table, space)
        if features is not None:
            measures = measure_all(np.asarray(features))
            found[space] = {k: measures[k] for k in keys}
    return found


def rank_cell(row: dict[str, Any], space: str) -> str:
    r = row["ranks"].get(space)
    return f"{r['effective_rank']:.1f} of {min(r['n'] - 1, r['d'])}" if r else "-"


def actors_of(folder: Path, source: Source) -> tuple[np.ndarray, list[str]]:
    with open(folder / "labels.csv", encoding="utf-8") as file:
        actor = {row["path"]: row["actor"] for row in csv.DictReader(file)}
    names = sorted(set(actor.values()))
    return np.array([names.index(actor[record]) for record in source.record_ids]), names


def leave_one_actor_out(encoder: Encoder, source: Source, actors: np.ndarray, out: Path) -> dict[str, Any]:
    table = extract(encoder, source, out, num_clips=3, batch_size=30)
    features, labels, record = per_record(table)
    near = knn_grouped(features, labels["label"], actors[record], k=10)
    probe = linear_grouped(features, labels["label"], actors[record])
    return {
        "knn": near.top1,
        "knn_interval": list(near.interval),
        "linear": probe.top1,
        "linear_interval": list(probe.interval),
        "ranks": ranks(table),
    }
