"""What the verdict knows of the method: the std that its embedding is driven to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fullrank.config import RunConfig
from fullrank.methods._method import load_method
from fullrank.report.run_folder import read_runs
from fullrank.report.verdict import judge

Fabricate = Callable[..., Path]


def _of(run: Path, method: str, **settings: object) -> Path:
    """The run as one of another method, whose embedding has kept all its directions and lost its scale."""
    kind = load_method(method).Config
    record = json.loads((run / "config.json").read_text())
    config = RunConfig[kind](method=kind())  # type: ignore[valid-type]
    record |= {"method": method, "settings": config.model_dump(mode="json")}
    record["settings"]["method"] |= settings
    (run / "config.json").write_text(json.dumps(record))
    lines = [json.loads(line) for line in (run / "spectrum.jsonl").read_text().splitlines()]
    for line in lines:
        line["spaces"]["embedding"] |= {"std": 1e-3, "mean_cosine": 0.0, "mean_norm": 0.0, "normalized_std": 48**-0.5}
    (run / "spectrum.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("vicreg", "complete"),  # a setting: target_std
        ("lejepa", "complete"),  # a property of the settings: the standard normal's
        ("simclr", "healthy"),  # cosines have no scale
    ],
)
def test_lost_scale_is_collapse_where_the_method_fixes_it(fabricate: Fabricate, method: str, kind: str) -> None:
    (run,) = read_runs([_of(fabricate(with_features=False), method)])
    assert judge(run).kind == kind


def test_settings_of_another_version_are_read_as_they_are(fabricate: Fabricate) -> None:
    (run,) = read_runs([_of(fabricate(with_features=False), "vicreg", a_setting_of_old=1)])
    assert judge(run).kind == "complete"


def test_the_manifest_of_the_features_says_it_too(fabricate: Fabricate) -> None:
    folder = fabricate()
    manifest = folder / "features" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"healthy_std": 1000.0}))
    (run,) = read_runs([folder])
    assert judge(run).kind == "complete"


def test_where_training_shows_something_else_that_is_said(fabricate: Fabricate) -> None:
    (run,) = read_runs([fabricate()])
    assert judge(run).training == ""
    (run,) = read_runs([_of(fabricate("second"), "vicreg")])
    verdict = judge(run)
    assert verdict.kinds["embedding"] == "healthy"
    assert verdict.training in verdict.remarks
    assert verdict.training.startswith("Training disagrees: its last ")
    assert "show the embedding as complete collapse at step" in verdict.training


def test_an_alarm_that_stood_to_the_end_is_said_beside_a_healthy_verdict(fabricate: Fabricate) -> None:
    folder = fabricate()
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"collapsed": {"embedding": 70}}))
    (run,) = read_runs([folder])
    said = "Training disagrees: its alarm of the embedding, begun at step 70, stood to the end."
    assert judge(run).training == said
