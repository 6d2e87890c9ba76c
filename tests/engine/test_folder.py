"""Which folder a run may use, what becomes of what lies there, and one training at a time."""

import errno
import json
import os
from pathlib import Path

import pytest

from fullrank.checkpoint.save import load_checkpoint
from fullrank.engine import folder as run_folder
from fullrank.engine.folder import alone_in, begin, check_out, new_folder
from fullrank.engine.loop import train
from fullrank.engine.observers import read_lines
from fullrank.errors import CheckpointError, SettingError


class FailsAt:
    """An observer that fails as a wrong shape would."""

    def __init__(self, step):
        self.step = step

    def on_step(self, event):
        if event.ctx.step == self.step:
            raise ValueError("shapes do not fit")

    def on_end(self, summary):
        pass


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def failed(tmp_path, memory_source, vicreg_settings):
    """The folder of a start that failed in its third step, and a note of the user's in it."""
    with pytest.raises(ValueError, match="shapes"):
        train(vicreg_settings(out=tmp_path / "run"), source=memory_source(), observers=(FailsAt(3),))
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "tensorboard" / "notes.txt").write_text("mine")
    (tmp_path / "run" / "skipped.jsonl").write_text('{"record": "a", "reason": "b"}\n')
    return tmp_path / "run"


def test_what_a_failed_start_left_may_be_used_again_and_mixes_with_nothing(failed, memory_source, vicreg_settings):
    assert [row["step"] for row in read_lines(failed / "metrics.jsonl")] == [1, 2, 3]
    result = train(vicreg_settings(out=failed, max_steps=2), source=memory_source())
    assert load_checkpoint(failed)["step"] == 2
    for name in ("metrics.jsonl", "spectrum.jsonl"):
        assert {row["step"] for row in read_lines(failed / name)} <= {1, 2}
    assert [row["event"] for row in read_lines(failed / "events.jsonl")].count("start") == 1
    assert len(list((failed / "tensorboard").glob("events.out.tfevents.*"))) == 1
    assert result.summary["skipped"] == 0
    assert json.loads((failed / "config.json").read_text())["settings"]["max_steps"] == 2
    assert (failed / "notes.txt").read_text() == (failed / "tensorboard" / "notes.txt").read_text() == "mine"


def test_a_failed_start_cannot_be_resumed_and_the_message_says_what_can_be_done(failed, memory_source):
    with pytest.raises(CheckpointError, match="again with the same --out"):
        train(resume=failed, source=memory_source())


@pytest.mark.parametrize(
    "name",
    ["config.json", "environment.json", "metrics.jsonl", "events.jsonl", "summary.json", "checkpoint.pt.tmp"]
    + ["tensorboard/a", "features/a.npy", "report.html"],
)
def test_files_of_somebody_else_are_refused_and_stay(tmp_path, memory_source, vicreg_settings, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"mine": true}\n')
    before = contents(tmp_path)
    with pytest.raises(SettingError, match=f"without {name.split('/')[0]}"):
        train(vicreg_settings(out=tmp_path), source=memory_source())
    assert contents(tmp_path) == before


def test_a_report_beside_a_failed_start_is_not_written_over(failed, memory_source, vicreg_settings):
    (failed / "report.html").write_text("of a run whose checkpoint was deleted")
    before = contents(failed)
    with pytest.raises(SettingError, match=r"without report\.html"):
        train(vicreg_settings(out=failed), source=memory_source())
    assert contents(failed) == before


def test_a_folder_with_other_files_is_used_and_they_stay(tmp_path, memory_source, vicreg_settings):
    (tmp_path / "README").write_text("mine")
    train(vicreg_settings(out=tmp_path, max_steps=1), source=memory_source())
    assert (tmp_path / "README").read_text() == "mine"
    assert (tmp_path / "checkpoint.pt").exists()


def test_a_file_cannot_be_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="must be a folder"):
        check_out(tmp_path / "file")


def test_two_trainings_never_share_a_folder(failed, memory_source, vicreg_settings):
    before = contents(failed)
    with alone_in(failed), pytest.raises(SettingError, match="one training at a time"):
        train(vicreg_settings(out=failed), source=memory_source())
    assert contents(failed) == before
    train(vicreg_settings(out=failed, max_steps=1), source=memory_source())
    with alone_in(failed), pytest.raises(SettingError, match="one training at a time"):
        train(resume=failed, source=memory_source())
    with alone_in(failed):
        pass


def test_a_child_that_still_holds_the_file_does_not_hold_the_folder(tmp_path):
    read_end, write_end = os.pipe()
    with alone_in(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(write_end)
            os.read(read_end, 1)
            os._exit(0)
    with alone_in(tmp_path):
        pass
    os.close(write_end)
    os.close(read_end)
    os.waitpid(child, 0)


def test_a_record_that_could_not_be_written_leaves_a_folder_that_can_be_used(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as broken, alone_in(tmp_path):
        broken.setattr(run_folder.os, "replace", full)
        with pytest.raises(OSError, match="no space"):
            begin(tmp_path, {"fullrank": "1"}, "32", "cpu")
    check_out(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["events.jsonl"]


def test_without_out_every_run_gets_a_number_of_its_own(tmp_path, monkeypatch, vicreg_settings):
    monkeypatch.chdir(tmp_path)
    numbers = [str(new_folder(vicreg_settings(), "vicreg.test")) for _ in range(3)]
    assert numbers == ["runs/vicreg.test-1", "runs/vicreg.test-2", "runs/vicreg.test-3"]
