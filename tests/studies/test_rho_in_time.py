"""The study of rho and persistence runs its cases once, on the embedded world, and puts them together."""

from pathlib import Path
from typing import Any

import pytest

from fullrank.cli import main
from fullrank.data.sources.moving_digits import World
from fullrank.errors import SettingError
from fullrank.studies import rho_in_time as study
from fullrank.studies._rho_figure import PANELS, figure


def test_every_case_differs_in_rho_or_in_time() -> None:
    found = study.cases(["simclr"], seeds=(0, 1))
    assert len(found) == len({case.folder for case in found}) == 2 * (1 + 4 + 3)
    assert {(case.rho, case.span) for case in found} == {(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (2, 0.0), (2, 0.1), (2, 0.3)}
    with pytest.raises(SettingError, match="mae must have a rho.*simclr"):
        study.cases(["mae"])


def test_settings_change_the_method_s_rho_and_the_distance_of_clips(tmp_path: Path) -> None:
    case = study.Case(method="byol", rho=3, span=0.5, seed=4)
    config = study.settings(case, tmp_path, first="simclr", steps=7, target="tiny")
    assert (config.method.rho, config.data.clip_span_ratio, config.max_steps, config.seed) == (3, 0.5, 7, 4)
    assert study.seconds_apart(config, World(num_frames=48, frames_per_second=8)) == pytest.approx(0.5 * (6.0 - 1.0))
    alone = study.settings(study.Case(method="byol", rho=1, span=1.0, seed=0), tmp_path, first="simclr", steps=7, target="tiny")
    assert study.seconds_apart(alone, World()) == 0.0


def test_cases_are_run_once_and_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "RHOS", (2,))
    monkeypatch.setattr(study, "SPANS", (0.0,))
    monkeypatch.setattr(study, "PROBE_EPOCHS", 2)
    told: list[str] = []
    ask: dict[str, Any] = {"methods": ["simclr"], "steps": 2, "tell": told.append, "world": World(num_train=40, num_test=24)}
    rows = study.run(tmp_path, **ask)["rows"]
    assert [(row["method"], row["rho"], row["span"]) for row in rows] == [
        (study.RANDOM, 1, 1.0),
        ("simclr", 2, 1.0),
        ("simclr", 2, 0.0),
    ]
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/case.json")}
    assert study.run(tmp_path, **ask)["rows"] == rows
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("*/case.json")} == before
    moved = tmp_path.with_name(f"{tmp_path.name}_moved")
    tmp_path.rename(moved)
    assert study.run(moved, **ask)["rows"] == rows, "where the folder lies does not count"
    assert [file.stat().st_mtime_ns for file in sorted(moved.glob("*/case.json"))] == [before[f] for f in sorted(before)]
    again = study.run(tmp_path, **ask, jobs=2)["rows"]
    aside = {"of", *(f"{label} linear" for label in study.LABELS)}  # other processes have the PROBE_EPOCHS of the module
    first, second = ([{k: v for k, v in row.items() if k not in aside} for row in found] for found in (rows, again))
    assert second == first, "the number of jobs changes nothing, their order neither"
    h = rows[1]["time"]["representation"]
    assert (h["rows"], h["groups"]) == (24 * study.NUM_CLIPS, 24)
    assert sum(h["label_shares"].values()) < 1 - h["within_share"] < 1
    assert [len(line) for line in study.lines(rows)] == [len(study.HEADER)] * 3
    assert len(figure(rows, random=study.RANDOM).axes) == 2 * len(PANELS)
    diverged = [rows[0], {**{k: rows[1][k] for k in ("method", "rho", "span", "seed")}, "diverged": "the loss is NaN"}]
    assert study.lines(diverged)[1][2] == "diverged"


def test_seeds_are_summed_up() -> None:
    part = {"effective_rank": 3.0, "bound": 9}
    time = {
        "representation": {"between": part, "within": part, "within_share": 0.5, "label_shares": {"digit": 0.1, "motion": 0.2}}
    }
    row = {"method": "byol", "rho": 2, "span": 1.0, "seconds_apart": 5.0, "time": time}
    row |= {f"{label} {kind}": 0.5 for label in study.LABELS for kind in ("knn", "linear")}
    (line,) = study.lines([row, {**row, "digit knn": 0.7}])
    assert line[:4] == ["byol", 2, "5", "60 (50 to 70)"]
    assert line[-5:] == ["3 (3 to 3) of 9", "3 (3 to 3) of 9", "50 (50 to 50)", "10 (10 to 10)", "20 (20 to 20)"]


def test_flags_of_the_other_study_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "rho_in_time", "--named"]) == 2
    assert "must go with what_prevents_collapse" in capsys.readouterr().err
    assert main(["study", "what_prevents_collapse", "--jobs", "2"]) == 2
    assert "must go with rho_in_time" in capsys.readouterr().err
