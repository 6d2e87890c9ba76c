"""The embedded world: deterministic, balanced, and its labels are what one sees."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullrank import draws
from fullrank.data.clips import uniform_fractions
from fullrank.data.sources.moving_digits import MovingDigitsSource, World, displacement, plan, render, write_world
from fullrank.errors import DataError, SettingError
from fullrank.types import ClipSpec

TINY = World(num_train=20, num_test=10, num_frames=12, shot_frames=8)
SPEC = ClipSpec(num_frames=4, frames_per_second=8.0, canvas_pixels=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("world") / "world", TINY)


def test_the_same_settings_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = write_world(tmp_path / "again", TINY, num_threads=1)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 32
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((folder / file).read_bytes() == (again / file).read_bytes() for file in files)


def test_writing_again_does_nothing_and_other_settings_take_its_place(tmp_path: Path) -> None:
    small = TINY.model_copy(update={"num_train": 2, "num_test": 1})
    folder = write_world(tmp_path / "world", small)
    before = (folder / "labels.csv").stat().st_mtime_ns
    write_world(folder, small)
    assert (folder / "labels.csv").stat().st_mtime_ns == before
    write_world(folder, small.model_copy(update={"seed": 1}))
    assert json.loads((folder / "manifest.json").read_text())["world"]["seed"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".world.lock", "world"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SettingError, match="must be new, empty or a world"):
        write_world(tmp_path, TINY)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fullrank.data.sources.moving_digits._encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path / "world", TINY)
    assert [path.name for path in tmp_path.iterdir()] == [".world.lock"]


def test_splits_share_no_digit_image_and_labels_are_balanced() -> None:
    from sklearn.datasets import load_digits

    world = World()
    train, test = plan(world, "train"), plan(world, "test")
    assert not set(train["image"].tolist()) & set(test["image"].tolist())
    for part, count in ((train, world.num_train), (test, world.num_test)):
        pairs = np.bincount((part["digit"] * 8 + part["motion"]).astype(np.int64), minlength=80)
        assert (pairs == count // 80).all()
        np.testing.assert_array_equal(load_digits().target[part["image"].astype(int)], part["digit"])
    for name in ("down", "right", "phase", "speed"):
        assert not set(train[name].ravel().tolist()) & set(test[name].ravel().tolist())


def test_every_motion_covers_the_canvas_evenly() -> None:
    """One frame says nothing of the motion: positions are uniform for each."""
    world = World(num_train=4000)
    factors = plan(world, "train")
    for motion in range(len(world.motions)):
        rows = np.flatnonzero(factors["motion"] == motion)
        places = []
        for i in rows:
            speed, radius, phase = float(factors["speed"][i]), float(factors["radius"][i]), float(factors["phase"][i, 1])
            path = displacement(world.motions[motion], speed, radius, phase, np.array([13.0]))[0]
            places.append((path + [factors["down"][i, 1], factors["right"][i, 1]]) % world.canvas_pixels)
        counts = np.histogram2d(*np.array(places).T, bins=4, range=[[0, 32], [0, 32]])[0]
        expected = len(rows) / 16
        assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi-squared, 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize("motion", World().motions)
def test_mean_speeds_agree(motion: str) -> None:
    time = np.linspace(0, 4000, 400_001)
    path = displacement(motion, 2.0, 5.0, 0.3, time)  # type: ignore[arg-type]
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1).sum() / 4000
    assert speed == pytest.approx(2.0, rel=1e-3)


def test_clockwise_is_clockwise_on_a_picture_whose_rows_go_down() -> None:
    right = displacement("clockwise", 1.0, 1.0, 0.0, np.array([0.0]))[0]
    later = displacement("clockwise", 1.0, 1.0, 0.0, np.array([0.5]))[0]
    np.testing.assert_allclose(right, [0, 1])
    assert later[0] > 0  # from the rightmost point it goes down


def test_what_leaves_on_one_side_enters_on_the_other() -> None:
    scan = np.random.default_rng(0).random((8, 8))
    inside, wrapped = render(scan, np.array([[16.0, 16.0], [16.0 + 7, 16.0 - 20]]), World())
    np.testing.assert_allclose(wrapped, np.roll(inside, (7, -20), (0, 1)), atol=1e-12)


def test_the_source_shows_what_was_planned(folder: Path) -> None:
    source = MovingDigitsSource(folder, "test")
    assert len(source) == 10
    assert source.labels["digit"].tolist() == list(range(10))
    assert source.classes["motion"] == list(TINY.motions)
    assert source.fingerprint != MovingDigitsSource(folder, "train").fingerprint
    from sklearn.datasets import load_digits

    factors = plan(TINY, "test")
    clip = source.read_all(3, 32).clip
    assert clip.frames.shape == (12, 32, 32, 3)
    np.testing.assert_allclose(clip.pts_seconds, np.arange(12) / 8)
    paths = [
        displacement(TINY.motions[0], float(factors["speed"][3]), 5.0, 0.0, np.arange(float(length)))
        + [factors["down"][3, shot], factors["right"][3, shot]]
        for shot, length in enumerate((8, 4))
    ]
    ink = render(load_digits().images[int(factors["image"][3])] / 16, np.concatenate(paths), TINY)
    for shown, expected in zip(clip.frames[..., 1], ink, strict=True):
        assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.97
    light = np.percentile(clip.frames, 20, axis=(1, 2, 3)) / 255
    np.testing.assert_allclose(light, 0.5 * draws.uniform(0, 1, [3], "light", 12)[0], atol=0.02)


def test_reading_twice_gives_the_same_bits(folder: Path) -> None:
    source = MovingDigitsSource(folder)
    for a, b in zip(*(source.read(5, uniform_fractions(2), SPEC) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.pts_seconds, b.pts_seconds)


def test_wrong_folder_and_split_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold its manifest\.json"):
        MovingDigitsSource(tmp_path)
    with pytest.raises(SettingError, match="train or test. Got 'val'"):
        MovingDigitsSource(folder, "val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_speed": 5.0}, "min_speed must be at most max_speed"),
        ({"digit_pixels": 40}, "digit_pixels must be at most"),
        ({"max_contrast": 0.6}, r"max_background \+ max_contrast must be at most 1"),
    ],
)
def test_impossible_worlds_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        World(**changes)  # type: ignore[arg-type]
