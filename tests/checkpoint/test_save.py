import pickle
import resource
import signal

import pytest
import torch

from fullrank.checkpoint.save import hash_of_tensors, load_checkpoint, save_checkpoint
from fullrank.errors import CheckpointError, StorageError


def state(value=1.0, size=4):
    return {"method": {"w": torch.full((size,), value)}, "method_name": "vicreg", "step": 3, "engine": {}}


def test_what_is_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path, state())
    again = load_checkpoint(tmp_path)
    assert torch.equal(again["method"]["w"], torch.ones(4))
    assert again["step"] == 3


def test_a_failed_write_keeps_the_previous_checkpoint_and_no_rest(tmp_path):
    save_checkpoint(tmp_path, state(1.0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        with pytest.raises(StorageError, match="previous checkpoint.* is intact"):
            save_checkpoint(tmp_path, state(2.0, size=100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.equal(load_checkpoint(tmp_path)["method"]["w"], torch.ones(4))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_rest_that_cannot_be_taken_away_does_not_hide_what_failed(tmp_path):
    (tmp_path / "checkpoint.pt.tmp").mkdir()
    with pytest.raises(StorageError, match="could not be written"):
        save_checkpoint(tmp_path, state())


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize(
    "content",
    [b"", b"<!DOCTYPE html><html></html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", pickle.dumps(Evil())],
)
def test_other_files_are_refused_in_one_sentence_and_run_nothing(tmp_path, capsys, content):
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable checkpoint") as caught:
        load_checkpoint(file)
    assert "\n" not in str(caught.value)
    assert "code ran" not in capsys.readouterr().out


def test_a_malicious_zip_checkpoint_runs_nothing(tmp_path, capsys):
    torch.save({"fullrank": Evil(), "method": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path)
    assert "code ran" not in capsys.readouterr().out


def test_a_missing_checkpoint_says_where_it_looked(tmp_path):
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_checkpoint(tmp_path / "nothing")


def test_a_truncated_checkpoint_is_refused(tmp_path):
    file = save_checkpoint(tmp_path, state(size=10_000))
    file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_checkpoint(tmp_path)


def test_the_hash_sees_every_value():
    a, b = {"w": torch.zeros(3)}, {"w": torch.tensor([0.0, 0.0, 1e-6])}
    assert hash_of_tensors(a) != hash_of_tensors(b)
    assert hash_of_tensors(a) == hash_of_tensors({"w": torch.zeros(3)})
    assert hash_of_tensors({"s": torch.tensor(3)}) != hash_of_tensors({"s": torch.tensor(4)})
