"""What a path is, and the settings that change a source."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fullrank.config import DataConfig
from fullrank.data.cache import CachedSource
from fullrank.data.open import open_source, world_folder
from fullrank.data.sources import moving_digits
from fullrank.data.sources.arrays import ArraySource
from fullrank.data.sources.file_list import ListSource
from fullrank.data.sources.folder import FolderSource
from fullrank.data.sources.moving_digits import MovingDigitsSource, World, write_world
from fullrank.data.subset import limited
from fullrank.draws import permutation
from fullrank.errors import DataError, SettingError
from fullrank.types import ClipSpec

SMALL = World(num_train=6, num_test=2, num_frames=8)
SPEC = ClipSpec(num_frames=4, frames_per_second=8.0, canvas_pixels=32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("open") / "world", SMALL)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (10, 8), (i, 0, 0)).save(folder / f"{i}.png")
    return folder


def test_auto_looks_at_the_path(world: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\nimages/1.png\n")
    assert isinstance(open_source(world), MovingDigitsSource)
    assert isinstance(open_source(str(images)), FolderSource)
    assert isinstance(open_source(tmp_path / "list.csv"), ListSource)


def test_the_split_is_passed_on(world: Path) -> None:
    assert len(open_source(DataConfig(path=world, split="test"))) == 2


def test_a_split_of_a_plain_folder_is_refused(images: Path) -> None:
    with pytest.raises(SettingError, match="--data.split is for data sets that have parts. Got 'test'"):
        open_source(DataConfig(path=images, split="test"))


def test_a_missing_or_unsuitable_path_is_one_sentence(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data.path must exist. Got .*nowhere"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(SettingError, match="--data.path must be given"):
        open_source(DataConfig())
    with pytest.raises(DataError, match=r"must be a folder or a .csv file list. Got the file .*0\.png"):
        open_source(images / "0.png")


def test_the_world_without_a_path_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(moving_digits, "World", lambda **changes: World(**(SMALL.model_dump() | changes)))
    source = open_source(DataConfig(name="moving_digits"))
    assert len(source) == 6
    before = (world_folder() / "labels.csv").stat().st_mtime_ns
    open_source(DataConfig(name="moving_digits", split="test"))
    assert (world_folder() / "labels.csv").stat().st_mtime_ns == before


def test_the_limit_is_a_fixed_random_subset(world: Path, images: Path) -> None:
    whole = open_source(world)
    part = open_source(DataConfig(path=world, limit=4))
    kept = sorted(permutation(0, 0, 6)[:4].tolist())
    assert list(part.record_ids) == [whole.record_ids[i] for i in kept]
    assert part.labels["digit"].tolist() == whole.labels["digit"][kept].tolist()
    assert part.fingerprint != whole.fingerprint
    for row, index in enumerate(kept):
        np.testing.assert_array_equal(part.read(row, [0.5], SPEC)[0].frames, whole.read(index, [0.5], SPEC)[0].frames)
    assert len(open_source(DataConfig(path=images, limit=2))) == 2
    assert len(open_source(DataConfig(path=world, limit=99))) == 6


def test_a_limited_array_stays_in_memory() -> None:
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] + np.zeros((5, 2, 2, 3), np.uint8)
    part = limited(ArraySource(frames), 3)
    assert part.resident is not None
    assert [f"{value}" for value in part.resident[:, 0, 0, 0, 0]] == list(part.record_ids)


def test_the_cache_is_built_and_used(world: Path, tmp_path: Path) -> None:
    settings = DataConfig(path=world, limit=3, cache=tmp_path, canvas_pixels=32, num_workers=0)
    first, second = open_source(settings), open_source(settings)
    assert isinstance(first, CachedSource)
    assert isinstance(second, CachedSource)
    assert first.folder == second.folder
    plain = open_source(settings.model_copy(update={"cache": None}))
    np.testing.assert_array_equal(first.read(1, [0.3], SPEC)[0].frames, plain.read(1, [0.3], SPEC)[0].frames)


def test_flow_comes_from_the_cache_of_videos(world: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="optical flow needs fullrank[flow]")
    data = DataConfig(path=world, cache=tmp_path / "cache", canvas_pixels=32)
    assert open_source(data, flow=True).read(0, [0.5], SPEC)[0].streams["flow"].shape == (4, 32, 32, 2)
    assert open_source(data).read(0, [0.5], SPEC)[0].streams == {}


def test_flow_without_a_cache_or_of_images_is_refused(
    world: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingError, match="--data.cache must be given. Got none; name a folder"):
        open_source(DataConfig(path=world), flow=True)
    monkeypatch.setattr("fullrank.data.cache.opencv", lambda: None)
    with pytest.raises(DataError, match="Optical flow needs videos. Got 3 images in"):
        open_source(DataConfig(path=images, cache=tmp_path / "cache"), flow=True)
    in_memory = ArraySource(np.zeros((2, 4, 4, 3), np.uint8))
    monkeypatch.setattr("fullrank.data.open._named", lambda data: in_memory)
    with pytest.raises(DataError, match="Optical flow needs videos. Got"):
        open_source(DataConfig(path=images, cache=tmp_path / "cache"), flow=True)
