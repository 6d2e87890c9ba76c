"""How the command line ends where a file, a disk or a reader is not as it should be."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fullrank.cli.methods
from fullrank.cli import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file, below which nothing can lie."""
    (tmp_path / "file.txt").write_text("")
    return tmp_path / "file.txt"


def test_an_output_that_cannot_be_written_is_one_sentence(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = file.parent / "pictures"
    pictures.mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(pictures / f"{i}.png")
    np.save(file.parent / "x.npy", rng.normal(size=(32, 4)).astype(np.float32))
    data = ["simclr.images", "--data.path", str(pictures)]
    quick = ["--data.num-workers", "0", "--data.batch-size", "2", "--backbone.width", "0.0625", "--max-steps", "1"]
    for command, name in (
        (["spectrum", str(file.parent / "x.npy")], "x.pdf"),
        (["views", *data, "--method.augmentation.size-pixels", "32"], "x.png"),
        (["train", *data, *quick], "x"),
    ):
        assert main([*command, "--out", str(file / name)]) == 2, command
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"fullrank: {file}"), command
        assert "must be a place that can be read and written. Got '" in said
        assert said.endswith("; choose another place.")


def _raise(error: OSError) -> None:
    raise error


def test_a_full_disk_is_a_failure_of_the_machine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")  # writing to an open file names none
    monkeypatch.setattr(fullrank.cli.methods, "main", lambda argv: _raise(full))
    assert main(["methods"]) == 1
    assert "Got 'No space left on device'; make room or choose another place." in capsys.readouterr().err


def test_an_error_that_names_no_file_is_a_bug_and_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError("a bug"), OSError(errno.EINVAL, "a bug")):
        monkeypatch.setattr(fullrank.cli.methods, "main", lambda argv, error=error: _raise(error))
        with pytest.raises(OSError, match="a bug"):
            main(["methods"])


@pytest.mark.parametrize("args", [["--help"], ["methods", "--help"]])
def test_a_reader_that_has_gone_ends_it_quietly(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-m", "fullrank", *args], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
