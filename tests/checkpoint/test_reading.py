"""Files of weights read as data: what numpy leaves in them, what pickles want, and why a file cannot be read."""

import contextlib
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fullrank.checkpoint.reading import load_plain, read_head, read_weights
from fullrank.errors import CheckpointError


class _Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("ran").exists()


def read(name: str) -> object:
    return load_plain(Path(name), read_head(Path(name)).startswith(b"PK"))


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.arange(6, dtype=">i2"),
    np.asfortranarray(np.arange(6.0, dtype=np.float16).reshape(2, 3)),
    np.array(["a", "bc"]),
    np.array([True, False]),
    np.zeros((0, 3), np.complex64),
    np.array(1.5),
]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_arrays_of_numpy_come_back(array, zipped) -> None:
    torch.save({"x": array, "y": [np.float32(2.5)]}, "x.pt", _use_new_zipfile_serialization=zipped)
    found = read("x.pt")
    assert np.array_equal(found["x"], array)
    assert found["x"].dtype == array.dtype.newbyteorder("=")
    assert found["y"] == [np.float32(2.5)]


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([{}], dtype=object), "Python objects"),
        (np.array([_Evil()], dtype=object), "It wants to run posix.system"),
        (np.zeros(2, [("a", "f4")]), "dtype 'V4'"),
        (np.zeros(2, "M8[s]"), "dtype 'M8'"),
    ],
)
def test_arrays_that_are_not_plain_are_refused(array, kind) -> None:
    torch.save({"x": array}, "x.pt")
    with pytest.raises(CheckpointError, match=kind):
        read("x.pt")


@pytest.mark.parametrize(
    ("dtype", "shape", "data"),
    [
        ("O8", (1,), b"AAAAAAAA"),  # eight bytes as the address of an object
        ("f8", (4,), b"AAAAAAAA"),  # more numbers than bytes
        ("f8", (-1,), b"AAAAAAAA"),
        ("f8", (1,), [1.0]),
        ("V8", (1,), b"AAAAAAAA"),
        ("f8,O8", (1,), b"A" * 16),
    ],
)
def test_made_up_states_of_arrays_are_refused(dtype, shape, data) -> None:
    class Made:
        def __reduce__(self):
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, shape, Type(), False, data)

    class Type:
        def __reduce__(self):
            return np.dtype, (dtype, False, True), (3, "|", None, None, None, -1, -1, 0)

    torch.save({"x": Made()}, "x.pt")
    with pytest.raises(CheckpointError, match="must be"):
        read("x.pt")


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_is_not_torchs_says_what_it_wants(protocol) -> None:
    Path("x.pkl").write_bytes(pickle.dumps({"x": np.zeros(3), "y": _Evil()}, protocol=protocol))
    with pytest.raises(CheckpointError, match=r"It wants to run posix.system, so it was not opened; .* numpy.save"):
        read("x.pkl")
    Path("x.pkl").write_bytes(pickle.dumps({"x": np.zeros(3)}, protocol=protocol))
    with pytest.raises(CheckpointError, match=r"It is a plain pickle, whose reading could run code, .* numpy.save"):
        read("x.pkl")


@pytest.mark.filterwarnings("ignore")
def test_files_with_a_byte_changed_or_cut_off_are_read_or_refused() -> None:
    torch.save({"x": torch.zeros(3), "y": np.zeros(2)}, "x.pt", _use_new_zipfile_serialization=False)
    whole = Path("x.pt").read_bytes()
    for at in range(0, len(whole), 3):
        for damaged in (whole[:at] + b"\x21" + whole[at + 1 :], whole[:at]):
            Path("x.pt").write_bytes(damaged)
            with contextlib.suppress(CheckpointError):
                read("x.pt")


def test_safetensors_are_known_by_name_in_capitals() -> None:
    Path("X.SAFETENSORS").write_bytes(b"no such thing")
    with pytest.raises(CheckpointError, match="must be a whole .safetensors file"):
        read_weights(Path("X.SAFETENSORS"))


def test_a_zip_of_something_else_is_one_sentence() -> None:
    with zipfile.ZipFile("x.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        read("x.pt")
