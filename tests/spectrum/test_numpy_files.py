""".npy and .npz that are whole, and that are not."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fullrank.errors import DataError
from fullrank.spectrum.files import read_features

X = np.random.default_rng(0).normal(size=(50, 4))


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(800)


@pytest.mark.parametrize("array", [X, X.astype(np.float16), X.astype(">f4"), np.asfortranarray(X), X[:0]])
def test_every_form_is_read(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", x=array)
    for name in ("x.npy", "x.npz"):
        found = read_features(tmp_path / name)
        assert np.array_equal(found, array)
        assert found.dtype == array.dtype


def test_the_name_of_a_file_says_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    np.save(tmp_path / "x.npy", X)
    for here, there in (("x.npz", "X.NPZ"), ("x.npz", "zip.npy"), ("x.npz", "zip.bak"), ("x.npy", "X.NPY"), ("x.npy", "x.pt")):
        (tmp_path / there).write_bytes((tmp_path / here).read_bytes())
        assert np.array_equal(read_features(tmp_path / there), X), there


@pytest.mark.parametrize("shape", ["(-5, 10)", "(4611686018427387904, 1024)", "(100000000, 1024)", "('a', 10)", "(0, -1)"])
def test_shapes_that_the_file_cannot_hold(tmp_path: Path, shape: str) -> None:
    (tmp_path / "x.npy").write_bytes(header(shape))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    for name in ("x.npy", "x.npz"):
        with pytest.raises(DataError, match=r"must be a whole array. It is damaged or cut off"):
            read_features(tmp_path / name)


def test_cut_off_and_damaged_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez_compressed(tmp_path / "x.npz", x=X.round())
    for name in ("x.npy", "x.npz"):
        data = (tmp_path / name).read_bytes()
        changed = bytearray(data)
        changed[len(data) // 2 : len(data) // 2 + 20] = b"\xff" * 20
        cuts = [data[: len(data) // 2], data[:20]] + ([bytes(changed)] if name == "x.npz" else [])
        for cut in cuts:
            (tmp_path / name).write_bytes(cut)
            with pytest.raises(DataError, match=r"damaged or cut off \(.+\); copy it again"):
                read_features(tmp_path / name)


def test_members_that_are_no_arrays_are_passed_over(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=X)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert np.array_equal(read_features(tmp_path / "x.npz"), X)
    with zipfile.ZipFile(tmp_path / "none.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match=r"Got an archive without one \(readme.txt\)"):
        read_features(tmp_path / "none.npz")


def test_objects_are_never_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="pickled objects are never read"):
        read_features(tmp_path / "x.npz")
