"""What the monitor sees besides, that seeing changes nothing, what it keeps, and how a run goes back."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fullrank
from fullrank.checkpoint.save import BEST, FILE, HEALTHY, load_checkpoint
from fullrank.config import Augmentation, CheckpointConfig, MonitorConfig, OptimizerConfig, RunConfig
from fullrank.data.held_out import held_out
from fullrank.engine.best import Best
from fullrank.engine.loop import train
from fullrank.engine.observers import Lines, read_lines
from fullrank.engine.rings import Ring, Rings
from fullrank.errors import NonFiniteError, SettingError
from fullrank.methods.byol import BYOL
from fullrank.methods.pirl import PIRL
from fullrank.methods.vicreg import VICReg

ALWAYS: dict[str, Any] = {"max_share": 1.0, "cheap_every_steps": 2}
"""spectra as often as they fit into all of the time"""


def full_lines(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_lines(folder / "spectrum.jsonl") if line["kind"] == "full"]


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [row for row in read_lines(folder / "events.jsonl") if row["event"] == kind]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(folder)["method"]  # type: ignore[no-any-return]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_looking_at_held_out_records_and_stages_changes_no_weight(tmp_path, memory_source, vicreg_settings):
    source = memory_source()
    kept, _ = held_out(source, 8)
    plain = train(vicreg_settings(out=tmp_path / "plain"), source=kept)
    monitor = MonitorConfig(held_out_records=8, stages=True, **ALWAYS)
    watched = train(vicreg_settings(out=tmp_path / "watched", monitor=monitor), source=source)
    assert full_lines(tmp_path / "watched")
    assert same(weights(plain.folder), weights(watched.folder))
    assert watched.source.record_ids == kept.record_ids


def test_a_line_holds_training_and_held_out_side_by_side_by_view_and_stage(tmp_path, memory_source, vicreg_settings):
    monitor = MonitorConfig(held_out_records=16, stages=True, **ALWAYS)
    train(vicreg_settings(out=tmp_path / "run", monitor=monitor), source=memory_source())
    line = full_lines(tmp_path / "run")[-1]
    assert set(line["spaces"]) == set(line["views"]["1"]) == set(line["held_out"]["spaces"]) == {"representation", "embedding"}
    assert [line["stages"][name]["d"] for name in ("layer1", "layer2", "layer3", "layer4")] == [8, 16, 32, 64]
    assert {m["n"] for m in line["stages"].values()} == {16}
    assert set(line["held_out"]["losses"]) == {"invariance", "variance", "covariance"}
    for place in (line["spaces"], line["views"]["1"], line["stages"], line["held_out"]["spaces"]):
        assert all(len(m["eigenvalues"]) == min(m["d"], 256) for m in place.values())
    assert line["spaces"]["embedding"]["eigenvalues"] != line["views"]["1"]["embedding"]["eigenvalues"]
    assert 0 < line["seconds"] <= line["spent_seconds"]
    row = read_lines(tmp_path / "run" / "metrics.jsonl")[-1]
    assert row["held_out_losses"] == line["held_out"]["losses"]
    assert row["losses"].keys() == row["held_out_losses"].keys()


def test_held_out_terms_are_those_of_the_method_in_eval_mode(tmp_path, memory_source, vicreg_settings):
    """With the weights that the run ended with, from the same views."""
    from fullrank.checkpoint.encoder import load
    from fullrank.data.clips import clip_spec
    from fullrank.data.loader import Loader
    from fullrank.types import StepContext
    from fullrank.views.plan import make_views

    config = vicreg_settings(out=tmp_path / "run", monitor=MonitorConfig(held_out_records=8))
    train(config, source=memory_source())
    method, plan = load(tmp_path / "run").method, VICReg.views(config.method)
    _, held = held_out(memory_source(), 8)
    loader = Loader(held, clip_spec(plan, config.data), num_clips=2, batch_size=8, seed=config.seed, num_workers=0)
    views = make_views(next(loader.batches()), plan, config.seed, torch.device("cpu"))
    with torch.no_grad():
        losses = method(views, StepContext(generator=torch.Generator().manual_seed(0))).losses
    found = full_lines(tmp_path / "run")[-1]["held_out"]["losses"]
    assert found == pytest.approx({name: float(value) for name, value in losses.items()}, rel=1e-5)


def test_prediction_and_teacher_have_spectra_too(tmp_path, memory_source, vicreg_settings):
    base = vicreg_settings()
    method = BYOL.Config(rho=2, augmentation=Augmentation(size_pixels=16), projector=(16, 8), predictor_hidden=16)
    fields = {name: getattr(base, name) for name in ("backbone", "data", "optimizer", "max_steps", "precision", "device")}
    train(RunConfig[BYOL.Config](method=method, out=tmp_path / "run", **fields), source=memory_source())
    line = full_lines(tmp_path / "run")[-1]
    assert set(line["spaces"]) == {"representation", "embedding", "prediction", "teacher"}


def test_held_out_records_that_cannot_be_judged_are_refused(tmp_path, memory_source, vicreg_settings):
    with pytest.raises(SettingError, match="micro-batch of 8 records.*Got 4"):
        train(vicreg_settings(out=tmp_path / "few", monitor=MonitorConfig(held_out_records=4)), source=memory_source())
    base = vicreg_settings()
    fields = {name: getattr(base, name) for name in ("backbone", "data", "optimizer", "max_steps", "precision", "device")}
    pirl = RunConfig[PIRL.Config](method=PIRL.Config(), monitor=MonitorConfig(held_out_records=8), **fields)
    with pytest.raises(SettingError, match="by number"):
        train(pirl.model_copy(update={"data": base.data.model_copy(update={"canvas_pixels": 256})}), source=memory_source())


def test_the_best_state_is_kept_and_loads(tmp_path, memory_source, vicreg_settings):
    config = vicreg_settings(
        out=tmp_path / "run", monitor=MonitorConfig(**ALWAYS), checkpoint=CheckpointConfig(keep_best="cev_auc"), max_steps=12
    )
    result = train(config, source=memory_source())
    readings = [(line["step"], line["spaces"]["representation"]) for line in full_lines(tmp_path / "run")]
    most = max(row["n"] for _, row in readings)
    step, best = min(((s, row) for s, row in readings if row["n"] == most), key=lambda pair: pair[1]["cev_auc"])
    assert result.summary["best"]["step"] == step
    assert result.summary["best"]["value"] == best["cev_auc"]
    assert load_checkpoint(tmp_path / "run" / BEST)["step"] == step
    assert events(tmp_path / "run", "best")[-1]["step"] == step
    encoder = fullrank.load(tmp_path / "run" / BEST)
    assert encoder.steps == step
    assert load_checkpoint(tmp_path / "run")["engine"]["best"] == result.summary["best"]


def test_lidar_takes_the_views_of_a_record_as_its_group(tmp_path, memory_source, vicreg_settings):
    config = vicreg_settings(out=tmp_path / "run", checkpoint=CheckpointConfig(keep_best="lidar", best_space="embedding"))
    result = train(config, source=memory_source())
    assert result.summary["best"]["measure"] == "lidar"
    assert 1.0 <= result.summary["best"]["value"] <= 16.0


def test_a_space_that_is_not_there_cannot_choose():
    from fullrank.engine.monitor import CollapseMonitor

    monitor = object.__new__(CollapseMonitor)
    monitor.best = Best(CheckpointConfig(keep_best="rankme", best_space="embedding"), None)
    with pytest.raises(SettingError, match="best_space must be a space that the method has. Got embedding; there is other"):
        monitor._check_best({"other": {}})


def test_readings_of_more_rows_replace_those_of_fewer():
    best = Best(CheckpointConfig(keep_best="rankme"), None)
    assert best.offer(1, {"rankme": 9.0, "n": 100}, held_out=False)
    assert not best.offer(2, {"rankme": 8.0, "n": 100}, held_out=False)
    assert best.offer(3, {"rankme": 5.0, "n": 200}, held_out=False)
    assert not best.offer(4, {"rankme": 9.0, "n": 100}, held_out=False)
    again = Best(CheckpointConfig(keep_best="rankme"), best.kept)
    assert not again.offer(5, {"rankme": 5.0, "n": 200}, held_out=False)
    assert again.offer(6, {"rankme": 5.1, "n": 200}, held_out=False)
    assert Best(CheckpointConfig(keep_best="nesum"), best.kept).kept is None


def test_a_reading_that_is_not_a_number_is_never_the_best():
    best = Best(CheckpointConfig(keep_best="rankme"), None)
    assert not best.offer(1, {"rankme": math.nan, "n": 100}, held_out=False)
    assert best.offer(2, {"rankme": 9.0, "n": 100}, held_out=False)
    assert not best.offer(3, {"rankme": math.nan, "n": 200}, held_out=False)
    assert best.kept is not None
    assert best.kept["step"] == 2


def collapsing(vicreg_settings: Any, **changes: Any) -> RunConfig[Any]:
    """VICReg without what spreads its embedding: collapsed within some twenty steps at this rate."""
    method = vicreg_settings().method.model_copy(update={"variance_weight": 0.0, "covariance_weight": 0.0})
    monitor = MonitorConfig(on_collapse="rollback", rollbacks=2, rollback_factor=0.1, cheap_every_steps=4)
    common = {"method": method, "optimizer": OptimizerConfig(base_learning_rate=1.0), "max_steps": 24, "epochs": 1000.0}
    common |= {"monitor": monitor, "checkpoint": CheckpointConfig(every_steps=4)}
    return vicreg_settings(**(common | changes))  # type: ignore[no-any-return]


def test_a_collapse_goes_back_with_a_smaller_rate_at_most_so_often(tmp_path, memory_source, vicreg_settings):
    config = collapsing(vicreg_settings, out=tmp_path / "run", checkpoint=CheckpointConfig(every_steps=1))
    result = train(config, source=memory_source())
    back = events(tmp_path / "run", "rollback")
    assert [row["number"] for row in back] == [1, 2]
    assert [row["learning_rate_factor"] for row in back] == pytest.approx([0.1, 0.01])
    assert all(row["step"] < row["began"] < row["from_step"] for row in back), "to before the suspicion, not to the last save"
    assert back[0]["kind"] == "complete"
    assert back[0]["sentence"].startswith("The embedding has collapsed completely")
    rows = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, result.steps + 1)), "what was left behind is gone"
    rates = {row["step"]: row["learning_rate"] for row in rows}
    assert rates[back[-1]["step"] + 1] < 0.01 * 8 / 256
    assert load_checkpoint(tmp_path / "run")["engine"]["rollbacks"] == 2
    if result.stopped is not None:
        assert "It went back 2 times before this" in result.stopped


def test_a_run_that_went_back_resumes_as_if_nothing_had_happened(tmp_path, memory_source, vicreg_settings):
    class StopAfterBack:
        def __init__(self, folder: Path):
            self.folder = folder

        def on_step(self, event: Any) -> str | None:
            gone = events(self.folder, "rollback")
            return "asked" if gone and event.ctx.step == gone[0]["step"] + 2 else None

        def on_end(self, summary: dict[str, Any]) -> None:
            pass

    whole = train(collapsing(vicreg_settings, out=tmp_path / "whole"), source=memory_source())
    part = train(
        collapsing(vicreg_settings, out=tmp_path / "part"),
        source=memory_source(),
        observers=(StopAfterBack(tmp_path / "part"),),
    )
    assert part.stopped == "asked"
    rest = train(resume=tmp_path / "part", source=memory_source())
    assert (rest.steps, rest.stopped) == (whole.steps, whole.stopped)
    assert same(weights(whole.folder), weights(rest.folder))
    for kind in ("collapse", "rollback"):
        left, right = (
            [{k: v for k, v in row.items() if k != "elapsed_seconds"} for row in events(r.folder, kind)] for r in (whole, rest)
        )
        assert left == right


def test_a_loss_that_is_not_finite_goes_back_too_and_ends_when_it_may_no_more(tmp_path, memory_source, vicreg_settings):
    config = vicreg_settings(
        out=tmp_path / "run",
        optimizer=OptimizerConfig(base_learning_rate=1e30),
        monitor=MonitorConfig(on_collapse="rollback", rollbacks=2),
        max_steps=20,
    )
    with pytest.raises(NonFiniteError):
        train(config, source=memory_source())
    assert [row["kind"] for row in events(tmp_path / "run", "rollback")] == ["non_finite", "non_finite"]
    alarms = events(tmp_path / "run", "collapse")
    assert len([row for row in alarms if row["kind"] == "non_finite" and row["space"] == "loss"]) == 3


def test_only_a_checkpoint_that_training_went_on_from_is_healthy(tmp_path, memory_source, vicreg_settings):
    monitor = MonitorConfig(on_collapse="rollback")
    config = vicreg_settings(out=tmp_path / "run", monitor=monitor, checkpoint=CheckpointConfig(every_steps=2))
    train(config, source=memory_source())
    assert load_checkpoint(tmp_path / "run" / FILE)["step"] == 6
    assert load_checkpoint(tmp_path / "run" / HEALTHY)["step"] == 4


def test_events_before_a_rollback_survive_a_resume_and_later_ones_do_not(tmp_path):
    file = tmp_path / "events.jsonl"
    rows = [
        {"step": 40, "event": "collapse"},
        {"step": 10, "event": "rollback"},
        {"step": 15, "event": "monitor"},
        {"step": 30, "event": "collapse"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    Lines(file, resume_step=20).close()
    assert [row["step"] for row in read_lines(file)] == [40, 10, 15]


def test_a_ring_knows_its_newest_rows():
    ring, rows = Ring(6), torch.arange(10.0)[:, None]
    for start in (0, 4, 8):
        ring.push(rows[start : start + 4])
    assert ring.newest(3).flatten().tolist() == [7.0, 8.0, 9.0]
    assert sorted(ring.contents().flatten().tolist()) == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert Ring(4).newest(2).numel() == 0


def test_rings_of_views_belong_together_and_leave_out_what_is_not_finite():
    rings = Rings(8)
    batch = torch.tensor(np.random.default_rng(0).normal(size=(6, 3, 2)), dtype=torch.float32)
    batch[2, 0, 1] = float("nan")
    rings.push({"embedding": batch})
    assert torch.equal(rings.of_view(1)["embedding"], batch[:, 1])
    assert len(rings.of_view(0)["embedding"]) == 5
    assert rings.of_view(2) == {}, "two views are kept"
    pairs = rings.pairs("embedding")
    assert pairs is not None
    assert pairs.shape == (6, 2, 2)
    assert rings.pairs("representation") is None


def test_after_a_resume_spectra_wait_for_rows(tmp_path, memory_source, vicreg_settings):
    """32 records in steps of 8: at the fourth step after the resume the buffer has seen as many as there are."""
    config = vicreg_settings(out=tmp_path / "run", max_steps=12, monitor=MonitorConfig(max_share=1.0))

    class Stop:
        def on_step(self, event):
            return "enough" if event.ctx.step == 5 else None

        def on_end(self, summary):
            pass

    train(config, source=memory_source(), observers=(Stop(),))
    train(resume=tmp_path / "run", source=memory_source())
    lines = [row for row in read_lines(tmp_path / "run" / "spectrum.jsonl") if row["kind"] == "full" and row["step"] > 5]
    assert [row["step"] for row in lines][:1] == [9]
    assert min(row["spaces"]["embedding"]["n"] for row in lines) >= 32
