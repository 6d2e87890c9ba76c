"""What follows training: features of the run's own data, and its report."""

from dataclasses import dataclass
from pathlib import Path

from fullrank.checkpoint.encoder import load
from fullrank.config import DataConfig
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.features.extract import extract
from fullrank.report.page import report


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
    extract(encoder, source, features, num_workers=data.num_workers, thumbnails=True, device=device, command=command)
    return Finished(features=features, page=report([run], run / "report.html", command=command))
