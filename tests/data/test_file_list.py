"""A CSV file list: columns, labels, parts of files, and errors that name the line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fullrank.data.clips import select_frames
from fullrank.data.sources.file_list import ListSource
from fullrank.errors import DataError, MediaError
from fullrank.types import ClipSpec

SPEC = ClipSpec(num_frames=2, frames_per_second=5.0, canvas_pixels=16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos of 12 frames, ten a second, each frame a grey of its own; and an image."""
    frames = [Image.new("L", (24, 20), 20 * k) for k in range(12)]
    for name in ("a.gif", "sub/b.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
    Image.new("RGB", (30, 20), (9, 8, 7)).save(tmp_path / "c.png")
    return tmp_path


def listed(folder: Path, text: str, **options: int) -> ListSource:
    (folder / "list.csv").write_text(text, encoding="utf-8")
    return ListSource(folder / "list.csv", **options)


def test_a_list_with_every_column(folder: Path) -> None:
    text = "label,Path,start_seconds,end_seconds,label_actor,notes\n"
    text += "walk,a.gif,0.2,0.6,ann,x\n\nrun,sub/b.gif,,,bob,y\n"
    source = listed(folder, text)
    assert list(source.record_ids) == ["a.gif@0.2-0.6", "sub/b.gif"]
    assert source.classes == {"label": ["run", "walk"], "label_actor": ["ann", "bob"]}
    assert source.labels["label"].tolist() == [1, 0]
    assert source.labels["label_actor"].tolist() == [0, 1]
    assert (len(source), source.resident, source.reads_fast) == (2, None, False)
    assert source.description == f"2 files listed in {folder / 'list.csv'}"


def test_start_and_end_bound_the_clip(folder: Path) -> None:
    source = listed(folder, "path,start,end\na.gif,0.5,0.9\na.gif,0.9,\n")
    first = source.read(0, [0.0, 0.999], SPEC)
    assert [np.round(clip.frames[:, 8, 8, 0] / 20).tolist() for clip in first] == [[5, 7], [5, 7]]
    second = source.read(1, [0.0], SPEC)
    assert np.round(second[0].frames[:, 8, 8, 0] / 20).tolist() == [9, 11]
    for index, clips in enumerate((first, second)):
        whole = source.read_all(index, 16)
        chosen = select_frames(
            whole.clip.pts_seconds, whole.duration_seconds, 0.0, SPEC, whole.start_seconds, whole.end_seconds
        )
        np.testing.assert_array_equal(whole.clip.frames[chosen], clips[0].frames)


def test_without_a_header_columns_go_by_position(folder: Path) -> None:
    assert listed(folder, "a.gif\nsub/b.gif\n").labels == {}
    source = listed(folder, f"a.gif,1,0.5,1.0\n{folder / 'sub/b.gif'},0,0,2\n")
    assert source.labels["label"].tolist() == [1, 0]
    assert source.record_ids[0] == "a.gif@0.5-1"
    assert len(source.read(1, [0.5], SPEC)) == 1


def test_numbers_are_kept_and_names_are_numbered(folder: Path) -> None:
    source = listed(folder, "path,label\na.gif,7\na.gif,\nsub/b.gif,-1\nsub/b.gif,2\n")
    assert source.labels["label"].tolist() == [7, -1, -1, 2]
    assert source.classes["label"] == [str(k) for k in range(8)]
    source = listed(folder, "path,label\na.gif,7\na.gif,\nsub/b.gif,x\nsub/b.gif,123456\n")
    assert source.classes["label"] == ["123456", "7", "x"]
    assert source.labels["label"].tolist() == [1, -1, 2, 0]
    assert listed(folder, "path,label\na.gif,\nsub/b.gif,-1\n").labels == {}


def test_videos_and_images_may_be_mixed(folder: Path) -> None:
    source = listed(folder, "path\na.gif\nc.png\n")
    assert [source.read(i, [0.5], SPEC)[0].frames.shape[0] for i in range(2)] == [2, 1]


def test_a_limit_keeps_records_with_their_labels_and_parts(folder: Path) -> None:
    text = "path,label,start\n" + "".join(f"a.gif,{k},{k / 100}\n" for k in range(1, 51))
    source = listed(folder, text, limit=5, seed=1)
    assert len(source) == 5
    assert [f"a.gif@{k / 100:g}-" for k in source.labels["label"]] == list(source.record_ids)


def test_the_fingerprint_follows_files_labels_and_parts(folder: Path) -> None:
    texts = ["path,label\na.gif,1\n", "path,label\na.gif,2\n", "path,start\na.gif,0.1\n", "path\nsub/b.gif\n"]
    seen = [listed(folder, text).fingerprint for text in texts]
    assert listed(folder, texts[-1]).fingerprint == seen[-1]
    (folder / "sub/b.gif").write_bytes(b"GIF89a")
    seen.append(listed(folder, texts[-1]).fingerprint)
    assert len(set(seen)) == 5


def test_a_missing_file_is_an_error_of_its_record_only(folder: Path) -> None:
    source = listed(folder, "path\na.gif\nnowhere.mp4\n")
    with pytest.raises(MediaError, match="file not found"):
        source.read(1, [0.5], SPEC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,start\na.gif,0\nsub/b.gif,soon\n", "line 3: start_seconds must be a number of seconds.* Got 'soon'"),
        ("path,end\na.gif,-1\n", "line 2: end_seconds must be a number"),
        ("path,start,end\n\na.gif,2,1\n", "line 3: end_seconds must be after start_seconds. Got 2 and 1"),
        ("path,label\na.gif\n", r"line 2: must have 2 cells \(path, label\). Got 1"),
        ("path,label\n,3\n", "line 2: the path must not be empty"),
        ("file,label\na.gif,3\n", "line 1: the header must name a column path"),
        ("path,path\na.gif,a.gif\n", "line 1: columns must have different names"),
        ("path\nx.mp4\ny.mp4\n", "line 2: the file must exist. Got .*x.mp4, and none of the others"),
        ("", "Got an empty list"),
        ("path,label\n", "Got a header alone"),
    ],
)
def test_mistakes_name_their_line(folder: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        listed(folder, text)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must exist"):
        ListSource(tmp_path / "none.csv")
    with pytest.raises(DataError, match="readable CSV"):
        ListSource(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="UTF-8"):
        ListSource(tmp_path / "binary.csv")
