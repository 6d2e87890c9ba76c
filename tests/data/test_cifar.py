"""CIFAR: official batches as Python 2 wrote them, packs of JPEG files, and nothing that runs code."""

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fullrank.data.sources import cifar
from fullrank.data.sources.cifar import CifarSource
from fullrank.errors import DataError, SettingError
from fullrank.types import ClipSpec

FIRST, SECOND = "data_batch_1", "data_batch_2"


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Writes text and bytes as Python 2's str, and numpy's names as they were then: the official files."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_str2(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)  # BINSTRING
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_str2

    def save_global(self, value: Any, name: str | None = None) -> None:
        places = {np.ndarray: "numpy\nndarray", np.dtype: "numpy\ndtype"}
        if value in places:
            place = places[value]
        elif getattr(value, "__name__", "") == "_reconstruct":
            place = "numpy.core.multiarray\n_reconstruct"
        else:
            place = f"{value.__module__}\n{value.__name__}"
        self.write(b"c" + place.encode() + b"\n")
        self.memoize(value)

    dispatch[type] = dispatch[type(np.dtype)] = dispatch[type(len)] = dispatch[type(lambda: 0)] = save_global


def dump2(value: Any, path: Path) -> None:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(value)


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def rows(pictures: np.ndarray) -> np.ndarray:
    return pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1)


@pytest.fixture
def official10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i in range(1, 6):
        dump2({"data": rows(images(2, i)), "labels": [i, i + 1], "batch_label": "part"}, folder / f"data_batch_{i}")
    dump2({"data": rows(images(3, 9)), "labels": [0, 0, 1]}, folder / "test_batch")
    dump2({"label_names": ["airplane", "automobile"], "num_vis": 3072}, folder / "batches.meta")
    return folder


def test_official_cifar10_is_read_in_order(official10: Path) -> None:
    assert b"numpy.core.multiarray" in (official10 / FIRST).read_bytes()
    source = CifarSource(official10, "cifar10", "train")
    assert len(source) == 10
    assert source.resident is not None
    np.testing.assert_array_equal(source.resident[:, 0], np.concatenate([images(2, i) for i in range(1, 6)]))
    assert source.labels["label"].tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert source.classes == {"label": ["airplane", "automobile"]}
    test = CifarSource(official10.parent, "cifar10", "test")  # the folder above is good too
    assert (len(test), test.description) == (3, "cifar10, test: 3 images")
    assert test.fingerprint != source.fingerprint


def test_official_cifar100_has_coarse_labels(tmp_path: Path) -> None:
    dump2({"data": rows(images(2, 0)), "fine_labels": [7, 8], "coarse_labels": [1, 0]}, tmp_path / "train")
    dump2({"fine_label_names": ["apple"], "coarse_label_names": ["fruit"]}, tmp_path / "meta")
    source = CifarSource(tmp_path, "cifar100")
    assert {name: values.tolist() for name, values in source.labels.items()} == {"label": [7, 8], "coarse": [1, 0]}
    assert source.classes["coarse"] == ["fruit"]


def test_batches_pickled_by_python_3_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": rows(images(2, 0)), "labels": [1, 2]}, protocol=4))
    np.testing.assert_array_equal(cifar.read_batch(tmp_path / "batch")["data"], rows(images(2, 0)))


class Harmful:
    def __init__(self, function: Any, *args: Any):
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (getattr, "getattr"), (np.load, "load"), (pickle.loads, "loads")],
)
def test_a_pickle_that_asks_for_code_is_refused_by_name(official10: Path, function: Any, name: str) -> None:
    marker = official10 / "harmed"
    harm = Harmful(function, f"touch {marker}")
    (official10 / SECOND).write_bytes(pickle.dumps({"data": harm, "labels": []}, protocol=4))
    with pytest.raises(DataError, match=rf"data_batch_2: it asks for \w+\.{name}, which is not data"):
        CifarSource(official10, "cifar10")
    assert not marker.exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", pickle.dumps([1, 2])])
def test_a_damaged_batch_is_one_sentence(official10: Path, content: bytes) -> None:
    (official10 / SECOND).write_bytes(content)
    with pytest.raises(DataError, match="data_batch_2"):
        CifarSource(official10, "cifar10")


def test_missing_parts_are_one_sentence(official10: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold cifar-100-python/ .* or cifar100_train\.npz"):
        CifarSource(tmp_path, "cifar100")
    (official10 / SECOND).unlink()
    with pytest.raises(DataError, match="none named .*data_batch_2"):
        CifarSource(official10, "cifar10")
    with pytest.raises(SettingError, match="train or test. Got 'val'"):
        CifarSource(official10, "cifar10", "val")


def write_pack(path: Path, pictures: np.ndarray) -> list[np.ndarray]:
    blobs = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=92, subsampling=0)
        blobs.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, blobs)])
    jpeg = np.frombuffer(b"".join(blobs), np.uint8)
    labels = np.arange(len(blobs), dtype=np.uint8)
    np.savez(path, jpeg=jpeg, offsets=offsets, labels=labels, classes=np.array([f"c{i}" for i in labels]))
    return [np.asarray(Image.open(io.BytesIO(blob))) for blob in blobs]


def test_a_pack_of_jpegs_is_decoded(tmp_path: Path) -> None:
    expected = write_pack(tmp_path / "cifar10_test.npz", images(3, 0))
    source = CifarSource(tmp_path, "cifar10", "test")
    assert source.resident is not None
    np.testing.assert_array_equal(source.resident[:, 0], expected)
    assert source.labels["label"].tolist() == [0, 1, 2]
    assert source.classes["label"] == ["c0", "c1", "c2"]
    clips = source.read(1, [0.1, 0.9], ClipSpec(num_frames=4, frames_per_second=1.0, canvas_pixels=32))
    assert [clip.frames.shape for clip in clips] == [(1, 32, 32, 3)] * 2


def test_a_damaged_pack_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cifar10_train.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match="A CIFAR pack must hold"):
        CifarSource(tmp_path, "cifar10")


def test_the_data_set_is_recognised_by_its_files(official10: Path, tmp_path: Path) -> None:
    assert cifar.find(official10) == cifar.find(official10.parent) == "cifar10"
    (tmp_path / "packs").mkdir()
    write_pack(tmp_path / "packs" / "cifar100_train.npz", images(1, 0))
    assert cifar.find(tmp_path / "packs") == "cifar100"
    (tmp_path / "other").mkdir()
    assert cifar.find(tmp_path / "other") is None


def test_the_shared_pack_has_the_published_means(shared: Path) -> None:
    source = CifarSource(shared / "data" / "cifar100", "cifar100", "test")
    assert source.resident is not None
    assert source.resident.shape == (10_000, 1, 32, 32, 3)
    np.testing.assert_allclose(source.resident.mean((0, 1, 2, 3)) / 255, [0.509, 0.487, 0.442], atol=0.01)
    assert (np.bincount(source.labels["label"]) == 100).all()
