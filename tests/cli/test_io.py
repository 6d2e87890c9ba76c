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
