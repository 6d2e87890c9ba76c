"""Frames that PySlowFast and PyTorchVideo take, as their own code took them."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullrank.data.positions import positions, pyslowfast, subsample
from fullrank.errors import SettingError
from fullrank.types import Preparation


def _fixture(shared: Path):
    folder = shared / "parity" / "preprocess_video"
    if not folder.is_dir():
        pytest.skip("the parity fixture preprocess_video is absent")
    return json.loads((folder / "cases.json").read_text()), np.load(folder / "expected.npz")


def test_pyslowfast_to_the_frame(shared: Path) -> None:
    cases, expected = _fixture(shared)
    assert len(cases["index_cases"]) == 13
    for case in cases["index_cases"]:
        how = Preparation(
            num_frames=case["num_frames"],
            sampling_rate=case["sampling_rate"],
            frames_per_second=case["target_fps"],
            rule="pyslowfast",
        )
        got = pyslowfast(case["video_frames"], case["fps"], how, case["clip_index"], case["num_clips"])
        assert got.tolist() == expected[case["name"]].tolist(), case["name"]


def test_pytorchvideo_subsamples_to_the_frame(shared: Path) -> None:
    _, expected = _fixture(shared)
    names = [name for name in expected.files if name.startswith("pytorchvideo_indices")]
    assert len(names) == 4
    for name in names:
        assert subsample(int(name.rsplit("_", 1)[1]), 8).tolist() == expected[name].tolist(), name


def test_pytorchvideo_windows_reach_from_the_first_frame_to_the_last() -> None:
    how = Preparation(num_frames=8, sampling_rate=8, rule="pytorchvideo")
    times = np.arange(300) / 30.0
    first, *_, last = positions(how, times, 30.0, 10)
    assert (first[0], first[-1]) == (0, 63)
    assert (last[0], last[-1]) == (236, 299)


def test_consecutive_frames_follow_the_rate() -> None:
    how = Preparation(num_frames=4, sampling_rate=3)
    assert positions(how, np.arange(100) / 30.0, 30.0, 1)[0].tolist() == [45, 48, 51, 54]
    assert np.diff(positions(how, np.arange(100) / 60.0, 60.0, 1)[0]).tolist() == [6, 6, 6]
    own = Preparation(num_frames=4, sampling_rate=3, frames_per_second=0.0)
    assert np.diff(positions(own, np.arange(100) / 60.0, 60.0, 1)[0]).tolist() == [3, 3, 3]


@pytest.mark.parametrize("rule", ["pyslowfast", "pytorchvideo", "consecutive"])
def test_a_short_video_and_an_image_stay_inside(rule) -> None:
    how = Preparation(num_frames=8, sampling_rate=8, rule=rule)
    for count in (1, 5):
        for rows in positions(how, np.arange(count) / 25.0, 25.0, 3):
            assert len(rows) == 8
            assert rows.min() >= 0
            assert rows.max() < count
    with pytest.raises(SettingError, match="at least 1"):
        positions(how, np.zeros(1), 1.0, 0)
