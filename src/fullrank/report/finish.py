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
from fullrank.features.extract import ALL, extract
from fullrank.features.table import other_branches, per_record
from fullrank.report.neighbours import num_votes
from fullrank.report.page import report
from fullrank.types import FeatureTable

TOO_FEW = "too few records of a class for neighbours (every class has one)"
AVERAGED = {"student", "teacher"}
"""branches of a method whose teacher is a moving average of the student"""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Where the two things are."""

    features: Path
    page: Path


def finish(
    run: Path, *, source: Source | None = None, records: int = 1000, device: str = "cpu", command: str | None = None
) -> Finished:
    """Features of at most ``records`` records (a fixed random subset) to run/features, and run/report.html.

    Of a method with an EMA teacher both are kept and evaluated: the other branch's features go to run/features-<branch>.
    """
    encoder = load(run, device)
    data: DataConfig = encoder.config.data
    if source is None or len(source) > records:
        source = open_source(data.model_copy(update={"limit": min(records, data.limit or records)}))
    features = run / "features"
    table = extract(
        encoder,
        source,
        features,
        num_workers=data.num_workers,
        branch=ALL if set(encoder.method.branches) >= AVERAGED else None,
        thumbnails=True,
        device=device,
        command=command,
    )
    found = _leave_one_out(table) | {
        name: known for name, t in other_branches(features).items() if (known := _leave_one_out(t))
    }
    if found:
        (run / "evaluation.json").write_text(json.dumps(found, indent=1, default=float) + "\n", encoding="utf-8")
    return Finished(features=features, page=report([run], run / "report.html", command=command))


def _leave_one_out(table: FeatureTable) -> dict[str, Any]:
    """{space: {label: accuracy, or "problem"}} where the data have labels: what the nearest other records know of them."""
    found: dict[str, Any] = {}
    for space in ("representation", "embedding") if table.embedding is not None else ("representation",):
        features, labels, _ = per_record(table, space)
        for name, values in labels.items():
            if len(np.unique(values[values >= 0])) > 1:
                k = num_votes(values)
                near = knn_grouped(features, values, np.arange(len(values)), k=k).as_dict() if k else {"problem": TOO_FEW}
                found.setdefault(space, {})[f"{name}, kNN leave-one-out"] = near
    return found
