"""What all commands share."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullrank.cli import _io, main
from fullrank.errors import SettingError, StorageError


def test_a_json_that_cannot_be_a_file_is_said_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "missing.npy")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    for command in (["spectrum", missing], ["diagnose", missing], ["inspect", missing]):
        assert main([*command, "--json", str(tmp_path / "folder")]) == 2
        assert "--json must name a file. Got the folder" in capsys.readouterr().err, command
        assert main([*command, "--json", "-"]) == 2
        assert "--json must name a file. Got -; name a file" in capsys.readouterr().err, command
    with pytest.raises(SettingError, match="--json must name a file in a folder"):
        _io.check_json(tmp_path / "file" / "below" / "x.json")
    _io.check_json(tmp_path / "new" / "folder" / "x.json")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]


def test_a_result_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(StorageError, match="x.json must be a place to write to. Got 'Is a directory'"):
        _io.write_json(tmp_path / "x.json", {"a": 1})
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]
    _io.write_json(tmp_path / "new" / "y.json", {"a": np.float64(1)})
    assert json.loads((tmp_path / "new" / "y.json").read_text()) == {"a": 1.0}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--max-steps", "ten"], "--max-steps must be a whole number, or None. Got ten; `fullrank train vicreg.video --help`"),
        (["--max-minutes=x"], "--max-minutes must be a number, or None. Got x;"),
        (["--optimizer.betas", "a", "b"], "--optimizer.betas must be a number and a number, or None. Got a b;"),
        (["--max-steps", "-3"], "--max-steps is wrong: input should be greater than or equal to 1. Got -3"),
        (["--data.batch-size=0"], "--data.batch-size is wrong:"),
        (["--method.augmentation.hue", "3"], "--method.augmentation.hue is wrong:"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_flag(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "vicreg.video", "--data.path", "videos", *flags]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fullrank: {sentence}")
    assert said.count("\n") == 1


def test_other_mistakes_keep_their_box(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "vicreg.video", "--epochs", "many"])
    assert ended.value.code == 2
    assert "Error parsing --epochs" in capsys.readouterr().err
