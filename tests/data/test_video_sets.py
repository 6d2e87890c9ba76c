"""Official lists of video data sets; what they name and nobody has is left out and counted."""

import json

import pytest

from fullrank.config import DataConfig
from fullrank.data.open import open_source
from fullrank.data.sources.video_sets import VideoSetSource
from fullrank.errors import DataError, SettingError


def videos(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def labels_of(source):
    return [source.classes["label"][i] for i in source.labels["label"]]


def test_kinetics_by_the_official_csv(tmp_path) -> None:
    (tmp_path / "val.csv").write_text(
        "label,youtube_id,time_start,time_end,split\n"
        'abseiling,aaa,1,11,val\n"playing, loudly",b_b,20,30,val\ngone,ccc,0,10,val\n'
    )
    videos(tmp_path, "val/x/aaa_000001_000011.mp4", "val/b_b_000020_000030.mp4", "val/other_000000_000010.mp4")
    source = VideoSetSource(tmp_path, "kinetics400", "val")
    assert list(source.record_ids) == ["val/x/aaa_000001_000011.mp4", "val/b_b_000020_000030.mp4"]
    assert labels_of(source) == ["abseiling", "playing, loudly"]
    assert len(source.classes["label"]) == 3
    assert source.description.endswith("1 of 3 are missing")


def test_kinetics_by_pyslowfasts_csv_and_by_folders(tmp_path) -> None:
    videos(tmp_path, "val/abseiling/a.mp4", "val/zumba/b.mp4", "train/zumba/c.mp4")
    folders = VideoSetSource(tmp_path, "kinetics400", "val")
    assert labels_of(folders) == ["abseiling", "zumba"]
    (tmp_path / "val.csv").write_text("/somewhere/val/zumba/b.mp4 399\n/somewhere/a.mp4 0\n")
    listed = VideoSetSource(tmp_path, "kinetics400", "val")
    assert labels_of(listed) == ["399", "0"]


def test_two_classes_may_have_files_of_one_name(tmp_path) -> None:
    videos(tmp_path, "val/abseiling/1.mp4", "val/zumba/1.mp4", "train/abseiling/1.mp4")
    source = VideoSetSource(tmp_path, "kinetics400", "val")
    assert list(source.record_ids) == ["val/abseiling/1.mp4", "val/zumba/1.mp4"]
    assert labels_of(source) == ["abseiling", "zumba"]
    assert list(VideoSetSource(tmp_path, "kinetics400", "train").record_ids) == ["train/abseiling/1.mp4"]
    (tmp_path / "trainlist01.txt").write_text("abseiling/1.mp4 1\nzumba/1.mp4 2\n")
    assert [name.split("/")[1] for name in VideoSetSource(tmp_path, "ucf101", "train1").record_ids] == ["abseiling", "zumba"]


def test_ucf101_splits(tmp_path) -> None:
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g08_c01.avi 3\nBowling/v_Bowling_g08_c01.avi 16\n")
    (lists / "testlist02.txt").write_text("Archery/v_Archery_g01_c01.avi\n")
    videos(tmp_path, *(f"UCF-101/{n}" for n in ("Archery/v_Archery_g08_c01.avi", "Archery/v_Archery_g01_c01.avi")))
    assert labels_of(VideoSetSource(tmp_path, "ucf101", "train")) == ["Archery"]
    second = open_source(DataConfig(path=tmp_path, name="ucf101", split="test2"))
    assert list(second.record_ids) == ["UCF-101/Archery/v_Archery_g01_c01.avi"]
    with pytest.raises(DataError, match=r"testlist03.txt"):
        VideoSetSource(tmp_path, "ucf101", "test3")
    with pytest.raises(SettingError, match="must be one of train1, test1"):
        VideoSetSource(tmp_path, "ucf101", "val4")


def test_hmdb51_splits(tmp_path) -> None:
    (tmp_path / "brush_hair_test_split1.txt").write_text("a.avi 1 \nb.avi 2 \nc.avi 0 \n")
    (tmp_path / "wave_test_split1.txt").write_text("d.avi 2 \n")
    videos(tmp_path, "brush_hair/a.avi", "brush_hair/b.avi", "brush_hair/c.avi", "wave/d.avi")
    assert labels_of(VideoSetSource(tmp_path, "hmdb51", "train1")) == ["brush_hair"]
    assert labels_of(VideoSetSource(tmp_path, "hmdb51", "test")) == ["brush_hair", "wave"]
    (tmp_path / "wave_test_split3.txt").write_text("d.avi 1\n")
    assert list(VideoSetSource(tmp_path, "hmdb51", "train3").record_ids) == ["wave/d.avi"]
    with pytest.raises(DataError, match="test_split2.txt"):
        VideoSetSource(tmp_path, "hmdb51", "test2")


def test_something_something(tmp_path) -> None:
    rows = [{"id": "7", "template": "Pushing [something]"}, {"id": "8", "template": "Dropping [something]"}]
    (tmp_path / "something-something-v2-validation.json").write_text(json.dumps(rows))
    videos(tmp_path, "20bn-something-something-v2/7.webm", "20bn-something-something-v2/9.webm")
    source = VideoSetSource(tmp_path, "ssv2", "val")
    assert labels_of(source) == ["Pushing something"]
    assert source.missing == 1
    (tmp_path / "something-something-v2-validation.json").write_text("{")
    with pytest.raises(DataError, match="list of videos"):
        VideoSetSource(tmp_path, "ssv2", "val")


def test_a_folder_without_the_videos(tmp_path) -> None:
    (tmp_path / "val.csv").write_text("label,youtube_id,time_start,time_end,split\nabseiling,aaa,1,11,val\n")
    with pytest.raises(DataError, match=r"none of 1 \(the first is aaa_000001_000011\)"):
        VideoSetSource(tmp_path, "kinetics400", "val")
    with pytest.raises(DataError, match="which is none"):
        VideoSetSource(tmp_path / "absent", "kinetics400", "val")
