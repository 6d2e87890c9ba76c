import errno
import json
import os
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from fullrank.checkpoint.encoder import load
from fullrank.checkpoint.save import load_checkpoint, save_checkpoint
from fullrank.config import CheckpointConfig, MonitorConfig, OptimizerConfig
from fullrank.engine import loop, parts
from fullrank.engine.loop import train
from fullrank.engine.observers import read_lines
from fullrank.engine.watch import Watch
from fullrank.errors import DataError, NonFiniteError, SettingError, StorageError
from fullrank.methods.vicreg import VICReg


def states_equal(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[k], b[k]) for k in a)


class StopAt:
    """An observer that asks the loop to stop."""

    def __init__(self, step):
        self.step = step

    def on_step(self, event):
        return "asked" if event.ctx.step == self.step else None

    def on_end(self, summary):
        pass


def test_a_run_folder_holds_what_the_guide_says(tmp_path, memory_source, vicreg_settings):
    result = train(vicreg_settings(out=tmp_path / "run"), source=memory_source(), recipe="vicreg.test")
    names = {p.name for p in result.folder.iterdir()}
    expected = {"config.json", "environment.json", "metrics.jsonl", "spectrum.jsonl", "events.jsonl", "summary.json"}
    assert expected | {"checkpoint.pt", "tensorboard"} <= names
    rows = read_lines(result.folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert set(rows[0]["losses"]) == {"invariance", "variance", "covariance"}
    assert rows[0]["loss"] == pytest.approx(sum(rows[0]["losses"].values()))
    last = read_lines(result.folder / "spectrum.jsonl")[-1]
    assert last["kind"] == "full"
    assert {"representation", "embedding"} == set(last["spaces"])
    assert last["spaces"]["embedding"]["d"] == 16


def test_resume_is_bit_identical(tmp_path, memory_source, vicreg_settings):
    whole = train(vicreg_settings(out=tmp_path / "whole"), source=memory_source())
    part = train(vicreg_settings(out=tmp_path / "part"), source=memory_source(), observers=(StopAt(3),))
    assert part.steps == 3
    assert part.stopped == "asked"
    rest = train(resume=tmp_path / "part", source=memory_source())
    assert rest.steps == 6
    a, b = (load_checkpoint(r.folder) for r in (whole, rest))
    assert states_equal(a["method"], b["method"])
    for left, right in zip(a["optimizer"]["state"].values(), b["optimizer"]["state"].values(), strict=True):
        assert states_equal(left, right)
    losses = [[row["losses"] for row in read_lines(r.folder / "metrics.jsonl")] for r in (whole, rest)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("every", "steps"), [(None, [6]), (2, [2, 4, 6]), (4, [4, 6]), (10, [6])])
def test_each_state_is_saved_once(tmp_path, memory_source, vicreg_settings, monkeypatch, every, steps):
    saved = []

    def save(folder, state):
        saved.append(state["step"])
        return save_checkpoint(folder, state)

    monkeypatch.setattr(loop, "save_checkpoint", save)
    train(vicreg_settings(out=tmp_path / "run", checkpoint=CheckpointConfig(every_steps=every)), source=memory_source())
    assert saved == steps
    saved.clear()
    assert train(resume=tmp_path / "run", source=memory_source()).steps == 6
    assert saved == []


def test_a_failed_save_is_not_hidden_by_the_end_that_cannot_be_written_either(
    tmp_path, memory_source, vicreg_settings, monkeypatch
):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space")

    def not_saved(*args, **kwargs):
        raise StorageError("The checkpoint could not be written")

    monkeypatch.setattr(loop, "save_checkpoint", not_saved)
    monkeypatch.setattr(Watch, "end", full)
    with pytest.raises(StorageError, match="checkpoint could not"):
        train(vicreg_settings(out=tmp_path / "run"), source=memory_source())


def test_an_end_that_cannot_be_written_is_an_error(tmp_path, memory_source, vicreg_settings, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Watch, "end", full)
    with pytest.raises(OSError, match="no space"):
        train(vicreg_settings(out=tmp_path / "run"), source=memory_source())


@pytest.mark.parametrize(("device", "pinned"), [("cuda", True), ("cpu", False)])
def test_batches_for_a_gpu_are_pinned(memory_source, vicreg_settings, device, pinned):
    fabric = SimpleNamespace(device=torch.device(device), global_rank=0, world_size=1)
    plan = VICReg.views(vicreg_settings().method)
    found = parts.build(fabric, vicreg_settings(), plan, memory_source(), None)
    assert found.loader.pin_memory is pinned


def test_the_loader_and_the_source_get_what_the_plan_asks_for(memory_source, vicreg_settings, monkeypatch):
    fabric = SimpleNamespace(device=torch.device("cpu"), global_rank=0, world_size=1)
    plan = replace(VICReg.views(vicreg_settings().method), sampling="near")
    assert parts.build(fabric, vicreg_settings(), plan, memory_source(), None).loader.sampling == "near"
    flow = replace(plan, groups=(replace(plan.groups[0], stream="flow"),))
    monkeypatch.setattr(VICReg, "views", classmethod(lambda cls, cfg: flow))
    with pytest.raises(SettingError, match="Optical flow"):
        train(vicreg_settings())


def test_a_run_that_goes_on_over_other_data_says_so(tmp_path, memory_source, vicreg_settings, capsys):
    train(vicreg_settings(out=tmp_path / "run"), source=memory_source(records=32), observers=(StopAt(3),))
    assert "Warning" not in capsys.readouterr().err
    train(resume=tmp_path / "run", source=memory_source(records=31))
    assert "Warning: the run began with 32 records, and there are 31 now" in capsys.readouterr().err


def test_resume_cuts_off_lines_later_than_the_checkpoint(tmp_path, memory_source, vicreg_settings):
    train(vicreg_settings(out=tmp_path / "run"), source=memory_source(), observers=(StopAt(4),))
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 5, "losses": {}}) + "\n" + '{"step": 6, "lo')
    train(resume=tmp_path / "run", source=memory_source())
    assert [row["step"] for row in read_lines(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_good_checkpoint(tmp_path, memory_source, vicreg_settings, number):
    threading.Thread(target=lambda: (time.sleep(1.5), os.kill(os.getpid(), number))).start()
    result = train(vicreg_settings(out=tmp_path / "run", max_steps=100_000, epochs=1e6), source=memory_source())
    assert result.stopped == ("interrupted" if number == signal.SIGINT else "terminated")
    assert 0 < result.steps < 100_000
    assert load_checkpoint(tmp_path / "run")["step"] == result.steps


def test_a_time_budget_is_kept_and_the_schedule_ends_there(tmp_path, memory_source, vicreg_settings):
    begin = time.perf_counter()
    settings = vicreg_settings(out=tmp_path / "run", max_minutes=0.05, max_steps=None, epochs=1e6)
    result = train(settings, source=memory_source())
    assert time.perf_counter() - begin < 0.05 * 60 + 3
    assert result.stopped is None
    rows = read_lines(tmp_path / "run" / "metrics.jsonl")
    assert rows[-1]["progress"] > 0.25
    assert rows[-1]["learning_rate"] < rows[0]["learning_rate"]


def test_a_non_finite_loss_names_term_and_step_and_keeps_the_checkpoint(tmp_path, memory_source, vicreg_settings):
    settings = vicreg_settings(
        out=tmp_path / "run",
        optimizer=OptimizerConfig(base_learning_rate=1e30),
        checkpoint=CheckpointConfig(every_steps=1),
        max_steps=50,
    )
    with pytest.raises(NonFiniteError, match=r"covariance = (nan|inf).* at step \d+"):
        train(settings, source=memory_source())
    kept = load_checkpoint(tmp_path / "run")
    assert kept["step"] >= 1
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] >= kept["step"]


def test_on_collapse_stop_stops_and_warn_goes_on(tmp_path, memory_source, vicreg_settings):
    base = vicreg_settings()
    method = base.method.model_copy(update={"variance_weight": 0.0, "covariance_weight": 0.0})
    assert isinstance(method, VICReg.Config)
    common = {"method": method, "optimizer": OptimizerConfig(base_learning_rate=0.2), "max_steps": 60, "epochs": 1000.0}
    ends = {}
    for choice in ("stop", "warn"):
        monitor = MonitorConfig(on_collapse=choice)
        settings = vicreg_settings(out=tmp_path / choice, monitor=monitor, **common)
        ends[choice] = train(settings, source=memory_source())
        alarms = [row for row in read_lines(tmp_path / choice / "events.jsonl") if row["event"] == "collapse"]
        assert alarms[0]["space"] == "embedding"
        assert alarms[0]["kind"] == "complete"
    assert ends["stop"].steps < 60
    assert ends["stop"].stopped is not None
    assert ends["warn"].steps == 60
    assert ends["warn"].stopped is None


def test_accumulation_takes_the_mean_of_micro_batches(tmp_path, memory_source, vicreg_settings):
    settings = vicreg_settings(out=tmp_path / "run", optimizer=OptimizerConfig(accumulate_steps=2), max_steps=2)
    result = train(settings, source=memory_source())
    assert result.steps == 2
    assert result.summary["epochs"] == pytest.approx(2 * 8 / 32)


def test_an_existing_run_is_never_overwritten(tmp_path, memory_source, vicreg_settings):
    train(vicreg_settings(out=tmp_path / "run"), source=memory_source())
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    with pytest.raises(SettingError, match="--resume"):
        train(vicreg_settings(out=tmp_path / "run"), source=memory_source())
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"canvas_pixels": 12}}, "crop .* must not be larger than the canvas"),
        (
            {"data": {"batch_size": 9}, "optimizer": {"accumulate_steps": 2}},
            "multiple of accumulate_steps x processes = 2. Got 9",
        ),
        ({"data": {"batch_size": 64}}, "64"),
    ],
)
def test_impossible_settings_are_refused_before_the_first_step(tmp_path, memory_source, vicreg_settings, change, message):
    base = vicreg_settings(out=tmp_path / "run")
    sections = {name: getattr(base, name).model_copy(update=values) for name, values in change.items()}
    with pytest.raises((SettingError, DataError), match=message):
        train(base.model_copy(update=sections), source=memory_source())
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_the_encoder_of_a_run_gives_representation_and_embedding(tmp_path, memory_source, vicreg_settings):
    train(vicreg_settings(out=tmp_path / "run"), source=memory_source())
    encoder = load(tmp_path / "run")
    out = encoder(torch.randn(3, 3, 2, 16, 16))
    assert out.representation.shape == (3, 64)
    assert out.embedding.shape == (3, 16)
    again = load(tmp_path / "run")(torch.zeros(1, 3, 2, 16, 16))
    assert torch.equal(again.representation, encoder(torch.zeros(1, 3, 2, 16, 16)).representation)
