"""What follows training: features of the run's own data, and its report."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fullrank.checkpoint.encoder import load
from fullrank.config import DataConfig
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.evaluation.knn import knn_grouped
from fullrank.features.extract import extract
from fullrank.features.table import per_record
from fullrank.report.page import report
from fullrank.types import FeatureTable

NEIGHBOURS = 20


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Where the two things are."""

    features: Path
    page: Path


def finish(
    run: Path, *, source: Source | None = None, records: int = 1000, device: str = "cpu", command: str | None = None
) -> Finished:
    """Features of at most ``records`` records (a fixed random subset) to run/features, and run/report.html."""
    encoder = load(run, device)
    data: DataConfig = encoder.config.data
    if source is None or len(source) > records:
        source = open_source(data.model_copy(update={"limit": min(records, data.limit or records)}))
    features = run / "features"
    table = extract(encoder, source, features, num_workers=data.num_workers, thumbnails=True, device=device, command=command)
    _leave_one_out(run, table)
    return Finished(features=features, page=report([run], run / "report.html", command=command))


def _leave_one_out(run: Path, table: FeatureTable) -> None:
    """Where the data have labels: what the nearest other records know of them, in run/evaluation.json."""
    found: dict[str, dict[str, Any]] = {}
    for space in ("representation", "embedding") if table.embedding is not None else ("representation",):
        features, labels, _ = per_record(table, space)
        for name, values in labels.items():
            if len(np.unique(values[values >= 0])) > 1:
                near = knn_grouped(features, values, np.arange(len(values)), k=NEIGHBOURS)
                found.setdefault(space, {})[f"{name}, kNN leave-one-out"] = near.as_dict()
    if found:
        (run / "evaluation.json").write_text(json.dumps(found, indent=1, default=float) + "\n", encoding="utf-8")
