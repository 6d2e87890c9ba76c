"""The cache: the same bits as the files, whole or absent, refused in advance where it would not fit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fullrank.data.cache import CachedSource, cached, expected_bytes
from fullrank.data.flow import STILL, flow_to_next
from fullrank.data.loader import Loader, in_order
from fullrank.data.source import Source, Whole
from fullrank.data.sources.arrays import ArraySource
from fullrank.data.sources.file_list import ListSource
from fullrank.data.sources.folder import FolderSource
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.errors import DataError, MediaError, SettingError
from fullrank.types import ClipSpec

SPECS = [
    ClipSpec(num_frames=4, frames_per_second=8.0, canvas_pixels=24),
    ClipSpec(num_frames=5, frames_per_second=3.3, canvas_pixels=24),
    ClipSpec(num_frames=30, frames_per_second=8.0, canvas_pixels=24),  # longer than the files: looped
]
FRACTIONS = [0.0, 0.31, 0.999]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos, one of them broken."""
    folder = write_world(tmp_path_factory.mktemp("cache") / "world", World(num_train=5, num_test=1, num_frames=12))
    (folder / "train" / "0002.mp4").write_bytes(b"nothing")
    return folder / "train"


def build(source: Source, folder: Path, canvas: int = 24, max_gib: float = 1.0, workers: int = 0) -> CachedSource:
    return cached(source, folder, canvas, max_gib, workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cached_clip_is_the_decoded_clip_bit_for_bit(videos: Path, tmp_path: Path, workers: int) -> None:
    source = FolderSource(videos)
    cache = build(source, tmp_path, workers=workers)
    assert (len(cache), cache.record_ids, cache.fingerprint) == (5, source.record_ids, source.fingerprint)
    for spec in SPECS:
        for index in (0, 1, 3, 4):
            for a, b in zip(source.read(index, FRACTIONS, spec), cache.read(index, FRACTIONS, spec), strict=True):
                np.testing.assert_array_equal(a.frames, b.frames)
                np.testing.assert_array_equal(a.pts_seconds, b.pts_seconds)


def test_parts_of_files_are_cut_the_same(videos: Path, tmp_path: Path) -> None:
    file = videos / "0001.mp4"
    (tmp_path / "list.csv").write_text(f"path,start,end\n{file},0.3,1.1\n{file},0.5,\n{file},9,\n")
    source = ListSource(tmp_path / "list.csv")
    cache = build(source, tmp_path / "cache")
    for index in (0, 1):
        for a, b in zip(source.read(index, FRACTIONS, SPECS[0]), cache.read(index, FRACTIONS, SPECS[0]), strict=True):
            np.testing.assert_array_equal(a.frames, b.frames)
            np.testing.assert_array_equal(a.pts_seconds, b.pts_seconds)
    for either in (source, cache):
        with pytest.raises(MediaError, match="lies behind"):
            either.read(2, [0.5], SPECS[0])


def test_images_stay_one_frame(tmp_path: Path) -> None:
    source = ArraySource(np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), dtype=np.uint8))
    cache = build(source, tmp_path)
    for index in range(3):
        for a, b in zip(source.read(index, [0.1, 0.8], SPECS[0]), cache.read(index, [0.1, 0.8], SPECS[0]), strict=True):
            assert a.frames.shape == (1, 6, 5, 3)
            np.testing.assert_array_equal(a.frames, b.frames)


def test_a_bad_file_stays_bad_with_its_reason(videos: Path, tmp_path: Path) -> None:
    source = FolderSource(videos)
    cache = build(source, tmp_path)
    with pytest.raises(MediaError) as decoded:
        source.read(2, [0.5], SPECS[0])
    with pytest.raises(MediaError) as stored:
        cache.read(2, [0.5], SPECS[0])
    assert stored.value.reason == decoded.value.reason
    assert stored.value.path == "0002.mp4"


def test_batches_from_the_cache_are_the_batches_from_the_files(videos: Path, tmp_path: Path) -> None:
    source = FolderSource(videos)
    streams = [
        Loader(s, SPECS[0], num_clips=2, batch_size=4, seed=0, num_workers=0).batches()
        for s in (source, build(source, tmp_path))
    ]
    for _ in range(3):
        a, b = (next(stream) for stream in streams)
        assert a.index.tolist() == b.index.tolist()
        assert a.skipped == b.skipped
        assert (a.frames == b.frames).all()


def test_what_is_there_is_used_and_another_canvas_gets_its_own(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FolderSource(videos)
    told: list[tuple[int, int]] = []
    first = cached(source, tmp_path, 24, 1.0, 0, lambda done, total: told.append((done, total)))
    assert told == [(i, 5) for i in range(1, 6)]
    second = build(source, tmp_path, canvas=16)
    assert first.folder != second.folder
    assert second.read(0, [0.0], ClipSpec(num_frames=2, frames_per_second=8.0, canvas_pixels=16))[0].frames.shape[1] == 16

    def decode(*args: object) -> Whole:
        raise AssertionError("decoded again")

    monkeypatch.setattr(FolderSource, "read_all", decode)
    assert build(source, tmp_path).folder == first.folder
    with pytest.raises(SettingError, match="The canvas of this cache is 24 pixels. Got 16"):
        first.read(0, [0.0], ClipSpec(num_frames=2, frames_per_second=8.0, canvas_pixels=16))


def test_changed_files_get_a_new_cache(tmp_path: Path) -> None:
    frames = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    before = build(ArraySource(frames), tmp_path)
    after = build(ArraySource(frames + 1), tmp_path)
    assert before.folder != after.folder
    assert after.read_all(0, 24).clip.frames.max() == 1


def test_too_large_a_cache_is_refused_before_anything_is_decoded(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FolderSource(videos)
    assert expected_bytes(source, 24) == pytest.approx(4 * 12 * 24 * 24 * 3)  # the broken one counts as nothing

    def decode(*args: object) -> Whole:
        raise AssertionError("decoded")

    monkeypatch.setattr(FolderSource, "read_all", decode)
    with pytest.raises(DataError, match=r"cache-max-gib, 1e-05 GiB. Got about 7.72e-05 GiB"):
        build(source, tmp_path, max_gib=1e-5)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


class Interrupted(ArraySource):
    """Ctrl-C after the first record."""

    def read_all(self, index: int, canvas_pixels: int) -> Whole:
        if index:
            raise KeyboardInterrupt
        return super().read_all(index, canvas_pixels)


def test_an_interrupted_cache_leaves_nothing_and_can_be_built_again(tmp_path: Path) -> None:
    frames = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    with pytest.raises(KeyboardInterrupt):
        build(Interrupted(frames), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(build(ArraySource(frames), tmp_path)) == 2


def test_a_source_of_bad_files_alone_is_cached_as_such(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.mp4").write_bytes(b"")
    cache = build(FolderSource(tmp_path / "data"), tmp_path / "cache")
    with pytest.raises(MediaError, match="empty file"):
        cache.read(0, [0.5], SPECS[0])


def test_reading_needs_no_workers(videos: Path, tmp_path: Path) -> None:
    cache = build(FolderSource(videos), tmp_path)
    wanted: Sequence[object] = (cache.reads_fast, cache.resident)
    assert wanted == (True, None)


def test_flow_lies_beside_the_frames_and_comes_with_the_clips(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    source = FolderSource(videos)
    plain = build(source, tmp_path)
    assert plain.read(0, [0.5], SPECS[0])[0].streams == {}
    told: list[tuple[int, int]] = []
    cache = cached(source, tmp_path, 24, 1.0, 2, lambda done, total: told.append((done, total)), flow=True)
    assert told == [(i, 5) for i in range(1, 6)]  # nothing was decoded again
    assert cache.folder == plain.folder
    for index in (0, 1, 3, 4):
        expected = flow_to_next(source.read_all(index, 24).clip.frames)
        np.testing.assert_array_equal(cache.read_all(index, 24).clip.streams["flow"], expected)
        for spec in SPECS:
            for a, b in zip(plain.read(index, FRACTIONS, spec), cache.read(index, FRACTIONS, spec), strict=True):
                np.testing.assert_array_equal(a.frames, b.frames)
                whole = cache.read_all(index, 24).clip
                rows = np.searchsorted(whole.pts_seconds, b.pts_seconds)
                np.testing.assert_array_equal(b.streams["flow"], expected[rows])
    with pytest.raises(MediaError):
        cache.read(2, [0.5], SPECS[0])
    assert build(source, tmp_path).read(0, [0.5], SPECS[0])[0].streams == {}


def test_flow_is_computed_once_and_only_where_it_is_asked_for(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    source = FolderSource(videos)
    first = cached(source, tmp_path, 24, 1.0, flow=True).read(0, [0.5], SPECS[0])[0].streams["flow"]

    def compute(frames: object) -> np.ndarray:
        raise AssertionError("computed again")

    monkeypatch.setattr("fullrank.data.cache.flow_to_next", compute)
    again = cached(source, tmp_path, 24, 1.0, flow=True).read(0, [0.5], SPECS[0])[0].streams["flow"]
    np.testing.assert_array_equal(again, first)
    build(source, tmp_path / "other")


def test_interrupted_flow_leaves_the_cache_whole(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    source = FolderSource(videos)

    def interrupted(frames: object) -> np.ndarray:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fullrank.data.cache.flow_to_next", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached(source, tmp_path, 24, 1.0, flow=True)
    place = build(source, tmp_path).folder
    assert sorted(path.name for path in place.iterdir()) == [
        "frames.bin",
        "manifest.json",
        "pts_seconds.npy",
        "records.npy",
        "unreadable.json",
    ]
    assert cached(source, tmp_path, 24, 1.0, flow=True).read(0, [0.5], SPECS[0])[0].streams["flow"].shape == (4, 24, 24, 2)


def test_flow_counts_for_the_size_of_the_cache(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    source = FolderSource(videos)
    gib = 4 * 12 * 24 * 24 * 3 / 2**30
    build(source, tmp_path, max_gib=1.1 * gib)
    with pytest.raises(DataError, match="Got about 0.000129 GiB"):  # 5/3 of the frames
        cached(source, tmp_path, 24, 1.1 * gib, flow=True)
    with pytest.raises(DataError, match="Got about 0.000129 GiB"):
        cached(source, tmp_path / "new", 24, 1.1 * gib, flow=True)


def test_flow_without_opencv_is_refused_before_anything_is_decoded(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise SettingError("no OpenCV")

    monkeypatch.setattr("fullrank.data.cache.opencv", missing)
    with pytest.raises(SettingError, match="no OpenCV"):
        cached(FolderSource(videos), tmp_path, 24, 1.0, flow=True)
    assert not list(tmp_path.iterdir())


def test_batches_bring_flow_padded_with_stillness(tmp_path: Path) -> None:
    """Videos of two sizes, from worlds with two canvases."""
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    for canvas in (24, 32):
        world = World(num_train=2, num_test=1, num_frames=8, canvas_pixels=canvas)
        write_world(tmp_path / "data" / str(canvas), world)
    source = cached(FolderSource(tmp_path / "data"), tmp_path / "cache", 64, 1.0, flow=True)
    spec = ClipSpec(num_frames=4, frames_per_second=8.0, canvas_pixels=64)
    loader = Loader(source, spec, num_clips=2, batch_size=6, seed=0, num_workers=0)
    batch = next(loader.batches())
    assert batch.flow is not None
    assert batch.flow.shape == (6, 2, 4, 32, 32, 2)
    for row, index in enumerate(batch.index.tolist()):
        size = int(batch.sizes[row, 0, 0])
        assert (batch.flow[row, :, :, size:] == STILL).all()
        assert (batch.flow[row, :, :, :, size:] == STILL).all()
        whole = source.read_all(index, 64).clip
        for clip in range(2):
            first = int(np.searchsorted(whole.pts_seconds, float(batch.start_seconds[row, clip])))
            expected = whole.streams["flow"][first]
            np.testing.assert_array_equal(batch.flow[row, clip, 0, :size, :size].numpy(), expected)
    ordered = next(in_order(source, spec, [0.5], batch_size=3, num_workers=0))
    assert ordered.flow is not None
    assert ordered.flow.shape[:3] == (3, 1, 4)
