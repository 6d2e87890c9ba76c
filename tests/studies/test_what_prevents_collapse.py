"""The named collapses come and the alarm names them, the methods as they are stay healthy; the study puts it together."""

import json
import types
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fullrank.cli import main
from fullrank.data.sources.moving_digits import World
from fullrank.errors import SettingError
from fullrank.methods._method import load_method
from fullrank.spectrum.alarms import by_metrics, cheap_complete
from fullrank.spectrum.bulk import bulk_measures
from fullrank.spectrum.measures import cheap_measures
from fullrank.studies import _whole
from fullrank.studies import what_prevents_collapse as study
from fullrank.types import StepContext, Views

RECORDS, STEPS, EVERY = 32, 100, 5
SMALL: dict[str, dict[str, Any]] = {
    "byol": {"projector": (32, 16), "predictor_hidden": 32, "momentum": 0.9},
    "simsiam": {"projector": (32, 32), "predictor_hidden": 8},
    "vicreg": {"projector": (32, 32)},
    "swav": {"projector": (32, 16), "num_prototypes": 12, "freeze_prototypes_epochs": 0.0},
    "dino": {
        "projector": (32, 16),
        "projector_batch_norm": True,
        "num_dimensions": 32,
        "num_local": 0,
        "teacher_temperature": 0.04,
        "warmup_teacher_epochs": 0.0,
        "freeze_last_layer_epochs": 0.0,
        "momentum": 0.97,
    },
}
LEARNING_RATES = {"dino": 3e-3}
"""where not given, 1e-2: what makes the others collapse quickly makes DINO collapse as it is"""


class Net(nn.Module):
    """Two layers on the mean colour of a clip's quarters."""

    embed_dim = 24

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(12, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24), nn.BatchNorm1d(24))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(nn.functional.adaptive_avg_pool2d(pixels[:, :, 0], 2).flatten(1)).relu()


def first_alarm(name: str, off: dict[str, Any]) -> dict[str, Any] | None:
    """Train as the engine does, look as the monitor does: every few steps, two readings in a row."""
    torch.manual_seed(0)
    cls = load_method(name)
    method = cls(cls.Config(**(SMALL[name] | off)), lambda role, in_channels=3: Net(), RECORDS)
    group = cls.views(method.cfg).groups[0].name  # type: ignore[arg-type]
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=LEARNING_RATES.get(name, 1e-2))
    own = torch.randn(RECORDS, 1, 3, 1, 2, 2)
    suspected = 0
    for step in range(1, STEPS + 1):
        ctx = StepContext(
            step=step,
            total_steps=STEPS,
            steps_per_epoch=10,
            progress=0.0,
            gather=lambda x: x,
            generator=torch.Generator().manual_seed(step),
        )
        pixels = own + torch.randn(RECORDS, 2, 3, 1, 2, 2)
        output = method(Views(pixels={group: pixels}, index=torch.arange(RECORDS)), ctx)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        method.after_step([output], ctx)
        if step % EVERY == 0:
            batch = output.features["embedding"][:, 0]
            std = getattr(method.cfg, "target_std", None)
            found = by_metrics(cls.signs(method.cfg), {k: float(v) for k, v in output.metrics.items()}) or cheap_complete(  # type: ignore[arg-type]
                {**cheap_measures(batch), **bulk_measures(batch)}, healthy_std=std
            )
            suspected = suspected + 1 if found else 0
            if found and suspected == 2:
                return {**found, "step": step}
    return None


@pytest.mark.parametrize("name", SMALL)
def test_no_alarm_in_a_method_as_it_is(name):
    assert first_alarm(name, {}) is None


@pytest.mark.parametrize(("name", "guard"), study.NAMED)
def test_the_alarm_names_the_collapse_of_the_paper(name, guard):
    off = load_method(name).guards[guard]
    found = first_alarm(name, dict(off.off))
    assert found is not None, "no alarm in 100 steps"
    assert found["kind"] == off.expect, found["sentence"]


def test_cases_are_every_method_as_it_is_and_without_each_guard():
    found = study.cases(["byol", "swav"])
    assert [case.guard for case in found] == [
        "as it is",
        *(f"no {guard}" for guard in load_method("byol").guards),
        "as it is",
        *(f"no {guard}" for guard in load_method("swav").guards),
    ]
    assert len({case.folder for case in study.cases()}) == len(study.cases())
    assert {(case.method, case.guard) for case in study.named_cases() if case.off} == {(m, f"no {g}") for m, g in study.NAMED}
    with pytest.raises(SettingError, match="supervised must have guards"):
        study.cases(["supervised"])


def test_settings_differ_from_the_twin_in_the_guard_alone(tmp_path):
    twin, *others = (study.settings(case, tmp_path, steps=7, seed=1) for case in study.cases(["byol"]))
    for case, config in zip(study.cases(["byol"])[1:], others, strict=True):
        off = case.off
        changed = {k for k, v in config.method.model_dump().items() if v != twin.method.model_dump()[k]}
        assert changed == set(off.off)
        assert {k for k, v in config.optimizer.model_dump().items() if v != twin.optimizer.model_dump()[k]} == set(
            off.optimizer
        )
        assert config.max_steps == 7
        assert config.data == twin.data


ROWS: list[dict[str, Any]] = [
    {
        "method": "byol",
        "guard": guard,
        "expected": expected,
        "source": "Grill et al., 2020",
        "verdict": verdict,
        "sentence": "The embedding ...",
        "alarms": [{"step": 30, "kind": "complete", "space": "embedding", "sentence": "...", "recovered_step": None}]
        * (verdict == "complete"),
        "measures": {"embedding": {"n": 300, "d": 128, "effective_rank": rank, "std": 1.0, "mean_cosine": 0.1}},
        "curve": [[10, 90.0], [100, rank]],
        "digit_knn": 0.31,
        "motion_knn": 0.42,
    }
    for guard, expected, verdict, rank in [
        ("as it is", "no collapse", "healthy", 60.0),
        ("no predictor", "complete", "complete", 3.0),
        ("no momentum network", "complete", "healthy", 55.0),
    ]
]


def test_the_summary_counts_what_came_and_what_the_alarm_named():
    assert study.summary(ROWS) == (
        "1 of 2 expected collapses came, 1 of 3 runs collapsed; the alarm named 1 of 1, and 0 of 2 runs that did not collapse."
    )
    withdrawn = ROWS[1] | {"alarms": [ROWS[1]["alarms"][0] | {"recovered_step": 60}]}
    assert "the alarm named 0 of 1" in study.summary([ROWS[0], withdrawn])


def test_the_same_rows_give_the_same_figure(tmp_path):
    study.save_figure(ROWS, tmp_path / "a.svg")
    study.save_figure(ROWS, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    diverged = {
        "method": "dino",
        "guard": "as it is",
        "expected": "no collapse",
        "verdict": "diverged",
        "alarms": [],
        "curve": [],
    }
    study.save_figure([*ROWS, diverged], tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_the_command_prints_a_table_that_fits(tmp_path, monkeypatch, capsys):
    rows = [row | {"of": {}} for row in ROWS]
    monkeypatch.setattr(study, "run", lambda *args, **kwargs: {"rows": rows, "steps": 100, "seed": 0})
    monkeypatch.setenv("COLUMNS", "100")
    out = tmp_path / "study"
    out.mkdir()
    assert main(["study", "what_prevents_collapse", "--out", str(out), "--json", str(tmp_path / "s.json")]) == 0
    shown = capsys.readouterr().out
    assert "- momentum network" in shown
    assert "1 of 2 expected collapses came" in shown
    assert max(len(line) for line in shown.splitlines() if set(line) & set("│┃━─")) <= 100
    assert (out / "ranks.svg").exists()
    assert [row["verdict"] for row in json.loads((tmp_path / "s.json").read_text())["rows"]] == [
        "healthy",
        "complete",
        "healthy",
    ]


@pytest.mark.slow
def test_a_case_is_run_once(tmp_path):
    """The whole way, on a world of some videos: training, features, verdict, row; and a second call reads it."""
    told: list[str] = []
    ask = {
        "only": study.cases(["simsiam"])[:1],
        "steps": 3,
        "seed": 0,
        "tell": told.append,
        "world": World(num_train=32, num_test=24),
        "target": "tiny",
    }
    (row,) = study.run(tmp_path, **ask)["rows"]
    assert told == ["1/1 simsiam, as it is"]
    assert row["expected"] == "no collapse"
    assert {"verdict", "sentence", "measures", "digit_knn", "motion_knn"} <= set(row)
    assert row["curve"][-1][0] == 3
    assert study.run(tmp_path, **ask)["rows"] == [row]
    assert len(told) == 1
    moved = tmp_path.with_name(f"{tmp_path.name}_moved")
    tmp_path.rename(moved)
    assert study.run(moved, **ask)["rows"] == [row], "where the folder lies does not count"
    assert len(told) == 1
    assert study.finished(ask["only"][0], moved, steps=4, seed=0, target="tiny") is None
    assert study.finished(ask["only"][0], moved, steps=3, seed=0, target="moving_digits") is None


def test_a_run_that_was_interrupted_is_not_taken_for_a_finished_one(tmp_path, monkeypatch):
    stopped = types.SimpleNamespace(stopped="interrupted")
    monkeypatch.setattr(_whole, "train", lambda *args, **kwargs: stopped)
    (case,) = study.cases(["simsiam"])[:1]
    ask = {"steps": 3, "seed": 0, "target": "tiny"}
    with pytest.raises(KeyboardInterrupt):
        study.run(tmp_path, only=[case], tell=lambda _: None, world=World(num_train=32, num_test=24), **ask)
    assert study.finished(case, tmp_path, **ask) is None
