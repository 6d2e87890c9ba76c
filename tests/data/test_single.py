"""One file as a source."""

import pytest

from fullrank.data.sources.single import SingleSource, is_single
from fullrank.errors import DataError, MediaError


def test_a_video_is_one_record(video_folder, tmp_path) -> None:
    file = video_folder / "right" / "00.mp4"
    source = SingleSource(file)
    assert (len(source), list(source.record_ids), source.labels) == (1, ["00.mp4"], {})
    (clip,) = source.read_chosen(0, lambda times, rate: [range(len(times))])
    assert clip.frames.shape == (16, 32, 48, 3)
    assert is_single(file)
    assert not is_single(video_folder)


def test_what_is_none(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"must be a video or an image .*Got '.txt'"):
        SingleSource(tmp_path / "a.txt")
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(MediaError, match="not a media file"):
        SingleSource(tmp_path / "a.mp4").read_chosen(0, lambda times, rate: [])
