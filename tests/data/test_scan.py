"""Scanning: every file is decoded, bad ones are named with the reason, and the summary adds up."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fullrank.cli import main
from fullrank.data.scan import FileReport, scan
from fullrank.data.sources.folder import FolderSource

ASSETS = Path(__file__).resolve().parents[2] / "../shared/data/video_test_assets"


def gif(path: Path, milliseconds: list[int], size: tuple[int, int] = (24, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.new("L", size, 8 * k) for k in range(len(milliseconds))]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=milliseconds)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    gif(root / "a.gif", [100] * 10)
    gif(root / "b.gif", [100] * 20, size=(40, 30))
    gif(root / "c.gif", [50, 200, 100, 400, 100, 100])
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("no video " * 30)
    return root


@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_file_is_reported(folder: Path, num_workers: int) -> None:
    seen: list[FileReport] = []
    result = scan(FolderSource(folder), num_workers, canvas_pixels=15, on_file=seen.append)
    assert [file.record for file in result.files] == ["a.gif", "b.gif", "c.gif", "empty.mp4", "text.mp4"]
    assert sorted(file.record for file in seen) == [file.record for file in result.files]
    assert {file.record: file.reason for file in result.bad} == {"empty.mp4": "empty file", "text.mp4": "not a media file"}
    assert (result.usable, result.frames, result.variable_rate) == (3, 36, 1)
    a, b, c = result.files[:3]
    assert (a.frames, a.width, a.height, a.codec, a.constant_rate) == (10, 24, 20, "gif", True)
    assert a.frames_per_second == pytest.approx(10.0)
    assert not c.constant_rate
    assert result.durations is not None
    lengths = [a.duration_seconds, b.duration_seconds, c.duration_seconds]
    np.testing.assert_allclose(lengths, [1.0, 2.0, 0.95])
    for name in ("median", "mean", "std", "min", "max"):
        assert getattr(result.durations, name) == pytest.approx(getattr(np, name)(lengths))
    assert result.sizes == {"24x20": 2, "40x30": 1}
    assert result.codecs == {"gif": 3}
    assert result.cache_bytes == 3 * 15 * (18 * (10 + 6) + 20 * 20)
    assert not multiprocessing.active_children()


def test_images_have_no_durations(tmp_path: Path) -> None:
    Image.new("RGB", (64, 32)).save(tmp_path / "a.png")
    Image.new("RGB", (64, 32)).save(tmp_path / "b.jpg")
    (tmp_path / "c.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:300])
    result = scan(FolderSource(tmp_path), canvas_pixels=16)
    assert result.durations is None
    assert (result.usable, result.codecs, result.cache_bytes) == (2, {"png": 1, "jpeg": 1}, 2 * 3 * 16 * 32)
    assert [file.record for file in result.bad] == ["c.jpg"]


def test_the_command_prints_and_writes_what_it_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = folder.parent / "scan.json"
    assert main(["scan", str(folder), "--num-workers", "0", "--canvas-pixels", "16", "--json", str(report)]) == 0
    out = capsys.readouterr().out
    for words in ("empty.mp4", "not a media file", "median", "3 decode completely", "2 not at all", "24x20 (2), 40x30 (1)"):
        assert words in out
    written = json.loads(report.read_text())
    assert written["usable"] == 3
    assert written["durations"]["max"] == pytest.approx(2.0)
    assert [file["record"] for file in written["files"]] == ["a.gif", "b.gif", "c.gif", "empty.mp4", "text.mp4"]


def test_the_command_takes_a_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "list.csv").write_text("path\na.gif\nmissing.mp4\n")
    assert main(["scan", str(folder / "list.csv"), "--num-workers", "0"]) == 0
    assert "file not found" in capsys.readouterr().out


def test_what_cannot_be_used_ends_with_exit_code_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(folder / "missing")]) == 2
    assert "must exist" in capsys.readouterr().err
    for name in ("a.gif", "b.gif", "c.gif"):
        (folder / name).unlink()
    assert main(["scan", str(folder), "--num-workers", "0"]) == 2
    captured = capsys.readouterr()
    assert "empty file" in captured.out
    assert "Got none of 2" in captured.err
    assert main(["scan", str(folder), "--num-workers", "-1"]) == 2


@pytest.mark.skipif(not ASSETS.exists(), reason="needs the media files of ../shared/data/video_test_assets")
def test_odd_files(tmp_path: Path) -> None:
    for name in ("decord/corrupted.mp4", "torchcodec/av1_video.mkv", "mmaction2/part_0.mp4"):
        (tmp_path / Path(name).name).symlink_to((ASSETS / name).resolve())
    data = (ASSETS / "decord/flipping_a_pancake.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    reports = {file.record: file for file in scan(FolderSource(tmp_path)).files}
    assert all(report.usable for report in reports.values())
    assert "cannot be decoded" in reports["corrupted.mp4"].reason
    assert reports["cut.mkv"].reason.startswith("decodes only to ")
    assert (reports["av1_video.mkv"].reason, reports["av1_video.mkv"].frames) == ("", 125)
    assert not reports["part_0.mp4"].constant_rate
