"""Features from anybody's files."""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fullrank.errors import CheckpointError, DataError, SettingError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.files import read_features, read_numbers

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
        ("words.csv", "a,b\n1,2\n3,x\n", r"numbers only.*Got 'x' in line 3, column 'b'; leave such columns out"),
        ("paths.csv", "path,a\nx.jpg,2\n", r"Got 'x.jpg' in line 2, column 'path'"),
        ("bare.csv", "1,2\n3,\n", r"Got an empty cell in line 2, column 2"),
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


def table(folder: Path) -> Path:
    manifest = {"kind": "features", "format": 1, "rows": 50, "dims": {"representation": 4, "embedding": 2}}
    manifest |= {"labels": [], "classes": {}, "record_ids": [str(i) for i in range(50)]}
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    np.save(folder / "representation.npy", TABLE.astype(np.float32))
    np.save(folder / "embedding.npy", TABLE[:, :2].astype(np.float32))
    np.save(folder / "record.npy", np.arange(50))
    np.save(folder / "start_seconds.npy", np.zeros(50))
    return folder


def test_a_table_is_its_representation_or_what_is_named(tmp_path) -> None:
    folder = table(tmp_path / "table")
    assert spectrum_of(folder).d == 4
    assert spectrum_of(f"{folder}#embedding").d == 2
    with pytest.raises(SettingError, match="embedding_normalized"):
        read_features(f"{folder}#embedding_normalized")


def test_a_table_whose_manifest_says_otherwise_is_refused(tmp_path) -> None:
    folder = table(tmp_path / "table")
    np.save(folder / "representation.npy", TABLE[:49].astype(np.float32))
    with pytest.raises(CheckpointError, match=r"float32 \[50, 4\], as its manifest says. Got float32 \[49, 4\]"):
        spectrum_of(folder)
    (folder / "manifest.json").unlink()
    assert spectrum_of(folder).n == 49, "without a manifest it is a folder with an array"


def test_a_name_is_refused_where_there_is_one_array(files) -> None:
    for name in ("a.npy#x", "plain.csv#x"):
        with pytest.raises(SettingError, match="must be named without '#x'"):
            read_features(files / name)


def test_the_record_of_each_row(tmp_path) -> None:
    np.save(tmp_path / "record.npy", np.arange(3))
    assert read_numbers(tmp_path / "record.npy").tolist() == [0, 1, 2]
    np.save(tmp_path / "float.npy", np.zeros((3, 1)))
    with pytest.raises(DataError, match=r"whole numbers, one a row. Got float64 \[3, 1\]"):
        read_numbers(tmp_path / "float.npy")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"0\n1\n",
            r"must be an .npy file of \[n\] whole numbers, one a row. Got another kind of file; write it with numpy.save",
        ),
        (b"", "Got another kind of file"),
        (b"\x93NUMPY\x01\x00", "damaged or cut off"),
    ],
)
def test_records_of_another_kind_of_file_are_one_sentence(tmp_path, content, sentence) -> None:
    (tmp_path / "record.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence) as raised:
        read_numbers(tmp_path / "record.csv")
    assert "allow_pickle" not in str(raised.value)
    with pytest.raises(DataError, match="Got nothing there"):
        read_numbers(tmp_path / "missing.npy")
    with pytest.raises(DataError, match="Got a folder"):
        read_numbers(tmp_path)


@pytest.mark.parametrize("suffix", [".tar", ".ckpt", ".pyth", ".bin", ".pkl", ".torch", ".npy", ".npz", ".PT", ""])
@pytest.mark.parametrize("zipped", [True, False])
def test_torchs_files_are_known_whatever_they_are_called(tmp_path, suffix, zipped) -> None:
    file = tmp_path / f"x{suffix}"
    torch.save({"reps": torch.tensor(TABLE)}, file, _use_new_zipfile_serialization=zipped)
    assert np.array_equal(read_features(file), TABLE)
    assert np.array_equal(read_features(f"{file}#reps"), TABLE)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pkl", ".pt", ".tar"])
def test_a_pickle_is_refused_for_what_it_wants_to_run(tmp_path, suffix) -> None:
    (tmp_path / f"x{suffix}").write_bytes(pickle.dumps(print))
    with pytest.raises(DataError, match="It wants to run builtins.print, so it was not opened"):
        read_features(tmp_path / f"x{suffix}")
