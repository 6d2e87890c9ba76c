"""A folder of media: what is listed, labelled, refused and read."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fullrank.data.clips import select_frames
from fullrank.data.sources.folder import FolderSource
from fullrank.errors import DataError, MediaError
from fullrank.types import ClipSpec

SPEC = ClipSpec(num_frames=4, frames_per_second=5.0, canvas_pixels=16)


def gif(path: Path, count: int = 10) -> None:
    """A video of ``count`` frames, ten a second, each a grey of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.new("L", (24, 20), 20 * k) for k in range(count)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_are_listed_sorted_without_hidden_and_foreign_ones(tmp_path: Path) -> None:
    names = ["b/x.MP4", "a.avi", "b/deep/er/y.webm", "z.gif", "c.mkv", "d.mov", "e.m4v"]
    touch(tmp_path, *names, ".hidden.mp4", ".cache/a.mp4", "notes.txt", "b/labels.csv", "c.mp3", "mp4")
    source = FolderSource(tmp_path)
    assert list(source.record_ids) == sorted(names)
    assert len(source) == 7
    assert source.description == f"7 videos in {tmp_path}"
    assert (source.labels, source.classes, source.resident, source.reads_fast) == ({}, {}, None, False)


def test_first_level_subfolders_are_classes(tmp_path: Path) -> None:
    touch(tmp_path, "walk/a.mp4", "run/x/b.mp4", "walk/y/c.mp4", "empty/notes.txt")
    source = FolderSource(tmp_path)
    assert source.classes == {"label": ["run", "walk"]}
    assert list(source.record_ids) == ["run/x/b.mp4", "walk/a.mp4", "walk/y/c.mp4"]
    assert source.labels["label"].tolist() == [0, 1, 1]
    assert source.labels["label"].dtype == np.int64
    assert "2 classes" in source.description


@pytest.mark.parametrize("names", [["a.mp4", "walk/b.mp4", "run/c.mp4"], ["walk/a.mp4", "walk/run/b.mp4"], ["a.mp4"]])
def test_without_two_subfolders_that_hold_all_there_are_no_labels(tmp_path: Path, names: list[str]) -> None:
    touch(tmp_path, *names)
    assert FolderSource(tmp_path).labels == {}


def test_a_limit_is_a_fixed_random_subset(tmp_path: Path) -> None:
    touch(tmp_path, *[f"{'ab'[k % 2]}/{k:03}.mp4" for k in range(60)])
    everything, some = FolderSource(tmp_path), FolderSource(tmp_path, limit=10, seed=3)
    assert len(some) == 10
    assert list(some.record_ids) == sorted(some.record_ids)
    assert list(FolderSource(tmp_path, limit=10, seed=3).record_ids) == list(some.record_ids)
    assert list(FolderSource(tmp_path, limit=10, seed=4).record_ids) != list(some.record_ids)
    assert list(some.record_ids) != list(everything.record_ids)[:10]
    for name, label in zip(some.record_ids, some.labels["label"], strict=True):
        assert some.classes["label"][label] == name[0]
    assert len({source.fingerprint for source in (everything, some)}) == 2
    assert FolderSource(tmp_path, limit=60).fingerprint == everything.fingerprint


def test_the_fingerprint_follows_names_sizes_and_times(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    seen = [FolderSource(tmp_path).fingerprint]
    assert FolderSource(tmp_path).fingerprint == seen[0]
    (tmp_path / "a.mp4").write_bytes(b"1")
    seen.append(FolderSource(tmp_path).fingerprint)
    os.utime(tmp_path / "a.mp4", (1, 1))
    seen.append(FolderSource(tmp_path).fingerprint)
    (tmp_path / "b.mp4").rename(tmp_path / "c.mp4")
    seen.append(FolderSource(tmp_path).fingerprint)
    assert len(set(seen)) == 4


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "elsewhere/b.mp4", "root/x/a.mp4")
    (root / "x" / "loop").symlink_to(root)
    (root / "a_link").symlink_to(root / "x")
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    (root / "broken.mp4").symlink_to(tmp_path / "nowhere.mp4")
    source = FolderSource(root)
    assert list(source.record_ids) == ["broken.mp4", "linked/b.mp4", "x/a.mp4"]
    with pytest.raises(MediaError, match="file not found"):
        source.read(0, [0.5], SPEC)


def test_what_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    touch(tmp_path, "empty/notes.txt", "both/a.mp4", "both/b.jpg", "file.mp4")
    wrong = {"missing": "Got nothing there", "file.mp4": "Got a file", "empty": "Got none", "both": "Got 1 videos and 1 images"}
    for name, words in wrong.items():
        with pytest.raises(DataError, match=words) as caught:
            FolderSource(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_videos_are_read_as_clips(tmp_path: Path) -> None:
    gif(tmp_path / "a.gif")
    source = FolderSource(tmp_path)
    clips = source.read(0, [0.0, 0.999], SPEC)
    assert [clip.frames.shape for clip in clips] == [(4, 16, 19, 3)] * 2
    assert np.round(clips[0].frames[:, 8, 8, 0] / 20).tolist() == [0, 2, 4, 6]
    whole = source.read_all(0, 16)
    assert len(whole.clip.pts_seconds) == 10
    for fraction, clip in zip([0.0, 0.999], clips, strict=True):
        chosen = select_frames(
            whole.clip.pts_seconds, whole.duration_seconds, fraction, SPEC, whole.start_seconds, whole.end_seconds
        )
        np.testing.assert_array_equal(whole.clip.frames[chosen], clip.frames)


def test_images_are_clips_of_one_frame(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (9, 8, 7)).save(tmp_path / "a.PNG")
    touch(tmp_path, "b.jpg")
    source = FolderSource(tmp_path)
    assert source.description == f"2 images in {tmp_path}"
    clips = source.read(0, [0.1, 0.7], SPEC)
    assert len(clips) == 2
    for clip in (*clips, source.read_all(0, 16).clip):
        assert clip.frames.shape == (1, 16, 24, 3)
        assert clip.frames[0, 0, 0].tolist() == [9, 8, 7]
    with pytest.raises(MediaError, match="empty file"):
        source.read(1, [0.5], SPEC)
