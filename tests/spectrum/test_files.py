"""Features from anybody's files."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fullrank.errors import DataError, SettingError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.files import read_features

TABLE = np.random.default_rng(0).normal(size=(50, 4))


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "a.npy", TABLE)
    np.savez(tmp_path / "one.npz", x=TABLE)
    np.savez(tmp_path / "two.npz", reps=TABLE, embeds=TABLE[:, :2])
    torch.save(torch.tensor(TABLE), tmp_path / "tensor.pt")
    torch.save({"reps": torch.tensor(TABLE), "labels": torch.arange(50)}, tmp_path / "dict.pt")
    save_file({"x": torch.tensor(TABLE)}, tmp_path / "x.safetensors")
    np.savetxt(tmp_path / "plain.csv", TABLE, delimiter=",")
    np.savetxt(tmp_path / "header.csv", TABLE, delimiter=",", header="a,b,c,d", comments="")
    np.savetxt(tmp_path / "tabs.tsv", TABLE, delimiter="\t")
    return tmp_path


@pytest.mark.parametrize(
    "name",
    ["a.npy", "one.npz", "two.npz#reps", "tensor.pt", "dict.pt", "dict.pt#reps", "x.safetensors", "plain.csv", "header.csv"]
    + ["tabs.tsv"],
)
def test_every_kind_holds_the_same_numbers(files, name) -> None:
    assert np.allclose(read_features(files / name), TABLE, rtol=0, atol=1e-12)
    assert spectrum_of(files / name).n == 50


def test_half_precision_is_widened(tmp_path) -> None:
    torch.save(torch.tensor(TABLE).bfloat16(), tmp_path / "half.pt")
    assert np.allclose(read_features(tmp_path / "half.pt"), TABLE, atol=0.02)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("words.csv", "a,b\n1,2\n3,x\n", r"numbers only.*line 3"),
        ("uneven.csv", "1,2\n3\n", "as many numbers in every line"),
        ("empty.csv", "", "empty file"),
        ("header.csv", "a,b\n", "hold rows of numbers"),
        ("text.npy", "hello", "as numpy.save writes it"),
        ("page.pt", "<html>", "web page"),
        ("broken.safetensors", "xxxxxxxxxxxx", "damaged"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, name, content, sentence) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_features(tmp_path / name)


def test_several_arrays_must_be_named(files) -> None:
    with pytest.raises(DataError, match=r"Name one: two.npz#reps"):
        read_features(files / "two.npz")
    with pytest.raises(SettingError, match="must hold 'rep'. It holds reps, embeds"):
        read_features(files / "two.npz#rep")


def test_pickled_objects_are_not_read(tmp_path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="pickled objects are never read"):
        read_features(tmp_path / "objects.npy")


def test_parquet(tmp_path, monkeypatch) -> None:
    parquet = tmp_path / "a.parquet"
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        parquet.write_bytes(b"PAR1")
        with pytest.raises(SettingError, match="needs pyarrow"):
            read_features(parquet)
        return
    pyarrow.parquet.write_table(pyarrow.table({f"c{i}": TABLE[:, i] for i in range(4)}), parquet)
    assert np.array_equal(read_features(parquet), TABLE)
    pyarrow.parquet.write_table(pyarrow.table({"x": list(TABLE)}), parquet)
    assert np.array_equal(read_features(parquet), TABLE)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(SettingError, match="needs pyarrow"):
        read_features(parquet)
