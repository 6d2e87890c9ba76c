"""What the alarms of finished runs are judged by, and that recorded readings are replayed as they were read."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fullrank.recipes import recipe

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STEPS, EVERY = 300, 10
HEALTHY = {"n": 32, "d": 100, "std": 1.0, "normalized_std": 0.1, "mean_cosine": 0.0}
POINT = HEALTHY | {"normalized_std": 1e-3, "mean_cosine": 0.9999}
NARROW = HEALTHY | {"normalized_std": 0.01, "mean_cosine": 0.99}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("alarms")
    for name in ("alarms", "_replay", "_result"):
        sys.modules.pop(name, None)


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(
    out: Path,
    verdict: str,
    *,
    guard: str = "no batch norm",
    narrow: tuple[int, dict[str, Any]] | None = None,
    ranks: tuple[float, ...] = (),
    events: tuple[dict[str, Any], ...] = (),
    steps: int = STEPS,
) -> Path:
    """A finished case: cheap readings each ten steps, ``narrow`` from its step on; ``ranks`` of spectra from step 100 on."""
    folder = out / f"simclr-{guard}".replace(" ", "_")
    folder.mkdir(parents=True)
    settings = recipe("simclr.tiny").model_dump(mode="json")
    (folder / "config.json").write_text(json.dumps({"method": "simclr", "settings": settings, "num_records": 32}))
    case = {"method": "simclr", "guard": guard, "verdict": verdict, "of": {"steps": STEPS, "seed": 5}}
    (folder / "case.json").write_text(json.dumps(case))
    (folder / "summary.json").write_text(json.dumps({"steps": steps, "total_steps": STEPS}))
    at = {"losses": {"nt_xent": 1.0}, "metrics": {}, "grad_norm": 1.0}
    write(folder / "metrics.jsonl", [{"step": step, "elapsed_seconds": float(step), **at} for step in range(1, steps + 1)])
    begin, row = narrow or (STEPS + 1, POINT)
    cheap = [(step, row if step >= begin else HEALTHY) for step in range(EVERY, steps + 1, EVERY)]
    lines = [{"step": step, "kind": "cheap", "spaces": {"embedding": numbers}} for step, numbers in cheap]
    spectra = [(100 + 20 * i, HEALTHY | {"n": 512, "effective_rank": rank}) for i, rank in enumerate(ranks)]
    lines += [{"step": step, "kind": "full", "spaces": {"embedding": numbers}} for step, numbers in spectra]
    write(folder / "spectrum.jsonl", sorted(lines, key=lambda line: (line["step"], line["kind"])))
    write(folder / "events.jsonl", [{"step": 0, "event": "start", "total_steps": STEPS}, *events])
    return folder


def alarm(step: int, name: str = "embedding", event: str = "collapse", **more: Any) -> dict[str, Any]:
    row = {"step": step, "event": event, "space": name.partition(" ")[0], "name": name, "began": step - EVERY}
    return row | ({"kind": "complete", "sentence": "x", "evidence": {}} if event == "collapse" else {}) | more


@pytest.mark.parametrize(
    ("verdict", "events", "said"),
    [
        ("healthy", (), None),
        ("mean_shift", (alarm(50),), "false"),
        ("healthy", (alarm(50), alarm(80, event="recovered")), "withdrawn"),
        ("complete", (alarm(190),), "in time"),
        ("complete", (alarm(200),), "late"),
        ("complete", (), "missed"),
        ("complete", (alarm(50), alarm(80, event="recovered")), "missed"),
        ("complete", (alarm(50), alarm(80, event="recovered"), alarm(210)), "late"),
    ],
)
def test_an_alarm_is_held_against_the_verdict_and_the_step(
    script: ModuleType, tmp_path: Path, verdict: str, events: tuple[dict[str, Any], ...], said: str | None
) -> None:
    judged = script.judge(run(tmp_path, verdict, narrow=(90, POINT), events=events), again=False)
    assert judged.visible == 90
    assert judged.said == said


def test_a_replay_says_what_the_rules_of_today_say(script: ModuleType, tmp_path: Path) -> None:
    stale = alarm(30, "prediction drop")
    folder = run(tmp_path, "complete", narrow=(50, POINT), ranks=(50.0,) * 5 + (10.0,) * 3, events=(stale,))
    raised = [(a["name"], a["step"], a["recovered_step"]) for a in script.judge(folder, again=True).alarms]
    assert raised == [("embedding", 60, None), ("embedding drop", 220, None)]
    assert [a["name"] for a in script.judge(folder, again=False).alarms] == ["prediction drop"]


def test_what_readings_do_not_hold_is_taken_from_the_run(script: ModuleType, tmp_path: Path) -> None:
    """Rows at points, and features that were not finite."""
    cluster, nan = "embedding cluster", "embedding non_finite"
    events = (
        alarm(130, cluster, began=110, kind="cluster"),
        alarm(130, nan, began=130, kind="non_finite"),
        alarm(140, nan, event="recovered"),
        alarm(170, cluster, event="recovered"),
    )
    folder = run(tmp_path, "healthy", ranks=(50.0,) * 6, events=events)
    raised = {a["name"]: (a["step"], a["recovered_step"]) for a in script.judge(folder, again=True).alarms}
    assert raised == {cluster: (140, 180), nan: (130, 140)}, "at the spectra, each twenty steps here"


def test_runs_are_counted_and_those_that_failed_are_named(script: ModuleType, tmp_path: Path) -> None:
    run(tmp_path, "healthy", guard="as it is")
    run(tmp_path, "complete", guard="no a", narrow=(90, NARROW))
    run(tmp_path, "dimensional", guard="no b", ranks=(50.0, 11.0, 11.0))
    run(tmp_path, "complete", guard="no c", narrow=(90, POINT), steps=200)
    runs, short = script.collect([tmp_path], again=True)
    assert short == ["simclr, no c (seed 5)"]
    found = script.tables(runs, short=short, again=True)
    assert found["alarms"]["rows"] == [
        ["not collapsed, as it is", 1, 0, 0, "-", "-", "-"],
        ["not collapsed, without a guard", 0, 0, 0, "-", "-", "-"],
        ["collapsed, as it is", 0, 0, 0, 0, 0, 0],
        ["collapsed, without a guard", 2, 1, 0, 1, 0, 1],
    ]
    assert "simclr, no c (seed 5)" in found["alarms"]["note"]
    (missed,) = found["alarms-missed"]["rows"]
    assert missed[:5] == ["simclr, no b", "5", "missed", "dimensional", "-"]
    assert missed[5] == "no lasting sign; rank / bound at least 0.110 (step 120) in 3 spectra; spread at least 1.00 (step 100)"
    assert [line["holds"] for line in script.goals(runs)] == [True, True, False, True]
