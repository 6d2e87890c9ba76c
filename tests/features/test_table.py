import json
import os

import numpy as np
import pytest

from fullrank.errors import CheckpointError, DataError, SettingError, ShapeError, StorageError
from fullrank.features import table as table_module
from fullrank.features import write as module
from fullrank.features.table import is_current, per_record, read_table
from fullrank.features.write import TableWriter, write_table

KEY = {"checkpoint_hash": "abc", "data_fingerprint": "def", "settings_hash": "123", "branch": None}


def _arrays(rows=6, d=4, k=3, seed=0):
    random = np.random.default_rng(seed)
    return {
        "representation": random.normal(size=(rows, d)).astype(np.float32),
        "embedding": random.normal(size=(rows, k)).astype(np.float32) if k else None,
        "labels": {"label": np.arange(rows) // 2 % 2, "label_actor": np.full(rows, -1)},
        "record": np.arange(rows) // 2,
        "start_seconds": np.arange(rows) / 2,
    }


def _head(rows=6):
    return {
        "record_ids": [f"video {i}.mp4" for i in range((rows + 1) // 2)],
        "classes": {"label": ["walk", "run"], "label_actor": ["ann"]},
        "manifest": KEY,
    }


def _write(folder, **changes):
    return write_table(folder, **{**_arrays(), **_head(), **changes})


def test_what_is_written_is_read(tmp_path):
    arrays = _arrays()
    table = _write(tmp_path / "new" / "features")
    assert isinstance(table.representation, np.memmap)
    np.testing.assert_array_equal(table.representation, arrays["representation"])
    np.testing.assert_array_equal(table.embedding, arrays["embedding"])
    np.testing.assert_array_equal(table.labels["label"], arrays["labels"]["label"])
    np.testing.assert_array_equal(table.record, arrays["record"])
    np.testing.assert_array_equal(table.start_seconds, arrays["start_seconds"])
    assert table.record_ids == ["video 0.mp4", "video 1.mp4", "video 2.mp4"]
    assert table.classes == {"label": ["walk", "run"], "label_actor": ["ann"]}
    assert table.manifest["rows"] == 6
    assert table.manifest["dims"] == {"representation": 4, "embedding": 3}
    assert KEY.items() <= table.manifest.items()


def test_a_table_without_embedding_and_labels(tmp_path):
    table = _write(tmp_path / "t", embedding=None, labels={})
    assert table.embedding is None
    assert table.labels == {}
    assert not (tmp_path / "t" / "embedding.npy").exists()


def test_batches_give_the_same_files_as_one_call(tmp_path):
    arrays = _arrays(rows=7)
    write_table(tmp_path / "one", **arrays, **_head(7))
    with TableWriter(tmp_path / "many", **_head(7)) as writer:
        for rows in (slice(0, 3), slice(3, 3), slice(3, 7)):
            part = {name: value[rows] for name, value in arrays.items() if name != "labels"}
            writer.append(**part, labels={name: value[rows] for name, value in arrays["labels"].items()})
    for file in (tmp_path / "one").glob("*.npy"):
        assert file.read_bytes() == (tmp_path / "many" / file.name).read_bytes(), file.name


def test_a_plain_numpy_reader_understands_the_files(tmp_path):
    _write(tmp_path / "t")
    with open(tmp_path / "t" / "representation.npy", "rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file)[0] == (6, 4)
        assert file.tell() % 64 == 0


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_older_table_and_nothing_half(tmp_path, error):
    _write(tmp_path / "t")
    before = (tmp_path / "t" / "representation.npy").read_bytes()

    def interrupted():
        with TableWriter(tmp_path / "t", **_head()) as writer:
            writer.append(**_arrays(seed=1))
            raise error

    with pytest.raises(error):
        interrupted()
    assert (tmp_path / "t" / "representation.npy").read_bytes() == before
    assert os.listdir(tmp_path) == ["t"]


def test_a_failing_rename_restores_the_older_table(tmp_path, monkeypatch):
    _write(tmp_path / "t")
    before = (tmp_path / "t" / "representation.npy").read_bytes()
    rename = os.rename

    def refuse_partial(source, target):
        if ".partial-" in str(source):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(module.os, "rename", refuse_partial)
    with pytest.raises(StorageError, match="No space left on device. What was there before is intact"):
        _write(tmp_path / "t", representation=np.ones((6, 4), np.float32))
    assert (tmp_path / "t" / "representation.npy").read_bytes() == before
    assert os.listdir(tmp_path) == ["t"]


def test_a_full_disk_while_appending_is_one_sentence(tmp_path, monkeypatch):
    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module._GrowingArray, "append", full)
    with pytest.raises(StorageError, match="No space left on device"):
        _write(tmp_path / "t")
    assert os.listdir(tmp_path) == []


def test_replacing_keeps_foreign_files_and_drops_stale_arrays(tmp_path):
    _write(tmp_path / "t")
    (tmp_path / "t" / "figure.pdf").write_text("mine")
    table = _write(tmp_path / "t", embedding=None, labels={"label": np.zeros(6, np.int64)})
    assert (tmp_path / "t" / "figure.pdf").read_text() == "mine"
    assert not (tmp_path / "t" / "embedding.npy").exists()
    assert not (tmp_path / "t" / "labels_label_actor.npy").exists()
    assert list(table.labels) == ["label"]
    assert os.listdir(tmp_path) == ["t"]


def test_an_open_table_survives_its_replacement(tmp_path):
    table = _write(tmp_path / "t")
    first = np.array(table.representation)
    _write(tmp_path / "t", representation=np.ones((6, 4), np.float32))
    np.testing.assert_array_equal(table.representation, first)


def test_a_folder_with_other_files_is_never_replaced(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_text("precious")
    with pytest.raises(SettingError, match="must go into a new folder or replace a feature table"):
        _write(tmp_path / "videos")
    (tmp_path / "file").write_text("x")
    with pytest.raises(SettingError, match="must go into a folder"):
        _write(tmp_path / "file")
    assert (tmp_path / "videos" / "a.mp4").read_text() == "precious"


def test_no_rows_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="at least one row"), TableWriter(tmp_path / "t", **_head()):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("wrong_shapes")
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"representation": np.ones(6, np.float32)}, ShapeError, r"representation .* \[6, d\]. Got \[6\]"),
        ({"embedding": np.ones((5, 3), np.float32)}, ShapeError, r"embedding .* \[6, d\]. Got \[5, 3\]"),
        ({"record": np.arange(5)}, ShapeError, r"record .* \[6\]. Got \[5\]"),
        ({"record": np.arange(6)}, ShapeError, r"record must be in 0..2. Got 0..5"),
        ({"labels": {"label": np.full(6, 2)}}, ShapeError, r"label 'label' must be in -1..1. Got 2..2"),
        ({"labels": {"other": np.zeros(6)}}, DataError, "'other' must have class names"),
        ({"classes": {"a/b": []}}, DataError, "usable in a file name. Got 'a/b'"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        _write(tmp_path / "t", **changes)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "message"), [({"embedding": None}, "same arrays"), ({"representation": np.ones((6, 5))}, r"\[6, 4\]. Got")]
)
def test_batches_must_agree(tmp_path, changes, message):
    writer = TableWriter(tmp_path / "t", **_head())
    writer.append(**_arrays())
    with pytest.raises(ShapeError, match=message):
        writer.append(**{**_arrays(), **changes})
    writer.discard()
    assert os.listdir(tmp_path) == []


def test_missing_and_foreign_folders(tmp_path):
    with pytest.raises(CheckpointError, match="There is no .*; `fullrank extract"):
        read_table(tmp_path / "none")
    with pytest.raises(CheckpointError, match="must hold a manifest.json"):
        read_table(tmp_path)
    manifest = tmp_path / "manifest.json"
    for text, message in (
        ("{", "must be JSON"),
        ("[1]", "another file"),
        ('{"kind": "cache"}', "another file"),
        ('{"kind": "features", "format": 9, "fullrank": "7.0"}', "format 1. Got 9, written by fullrank 7.0"),
        ('{"kind": "features", "format": 1}', "must say 'rows'"),
    ):
        manifest.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            read_table(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(b""), "is damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:-8]), "is damaged"),
        (lambda file: np.save(file, np.ones((5, 4), np.float32)), r"must be float32 \[6, 4\].*Got float32 \[5, 4\]"),
        (lambda file: np.save(file, np.ones((6, 4))), r"Got float64 \[6, 4\]"),
        (lambda file: np.save(file, np.array([{}], dtype=object), allow_pickle=True), "is damaged"),
    ],
)
def test_damaged_arrays_are_one_sentence_and_no_cache_hit(tmp_path, damage, message):
    _write(tmp_path / "t")
    assert is_current(tmp_path / "t", KEY)
    damage(tmp_path / "t" / "representation.npy")
    with pytest.raises(CheckpointError, match=message):
        read_table(tmp_path / "t")
    assert not is_current(tmp_path / "t", KEY)


def test_a_cache_hit_needs_every_entry_of_the_key(tmp_path):
    assert not is_current(tmp_path / "t", KEY)
    _write(tmp_path / "t", manifest={**KEY, "crops": (1, 2)})
    assert is_current(tmp_path / "t", KEY)
    assert is_current(tmp_path / "t", {**KEY, "crops": (1, 2)})
    for name in KEY:
        assert not is_current(tmp_path / "t", {**KEY, name: "another"})
    assert not is_current(tmp_path / "t", {**KEY, "new": None})


def test_record_ids_that_are_not_utf8(tmp_path):
    name = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    table = _write(tmp_path / "t", record_ids=[name, "b", "c"])
    assert table.record_ids[0] == name
    json.loads((tmp_path / "t" / "manifest.json").read_text())


def test_per_record_is_the_mean_of_the_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(table_module, "_BLOCK_ROWS", 4)
    random = np.random.default_rng(3)
    record = np.array([4, 0, 2, 4, 4, 0, 2, 2, 2, 2, 4])
    x = random.normal(size=(11, 3)).astype(np.float32)
    table = _write(
        tmp_path / "t",
        representation=x,
        embedding=2 * x,
        labels={"label": (record == 2).astype(int)},
        record=record,
        start_seconds=np.zeros(11),
        record_ids=list("abcde"),
    )
    features, labels, records = per_record(table)
    assert features.dtype == np.float32
    assert records.tolist() == [0, 2, 4]
    assert labels["label"].tolist() == [0, 1, 0]
    for row, name in enumerate((0, 2, 4)):
        np.testing.assert_allclose(
            features[row], np.mean([v for v, r in zip(x, record, strict=True) if r == name], 0), rtol=1e-5
        )
    np.testing.assert_allclose(per_record(table, "embedding")[0], 2 * features, rtol=1e-5)


def test_per_record_of_single_clips_sorts_by_record(tmp_path):
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    table = _write(
        tmp_path / "t", representation=x, embedding=None, labels={}, record=np.array([2, 0, 1]), start_seconds=np.zeros(3)
    )
    np.testing.assert_array_equal(per_record(table)[0], x[[1, 2, 0]])


def test_per_record_errors(tmp_path):
    table = _write(tmp_path / "t", embedding=None, labels={"label": np.array([0, 1, 0, 0, 1, 1])})
    with pytest.raises(ShapeError, match="different ones in the label set 'label'"):
        per_record(table)
    with pytest.raises(SettingError, match="It has none; use representation"):
        per_record(table, "embedding")
    with pytest.raises(
        SettingError, match="space must be one of representation, embedding, embedding_normalized. Got 'latent'"
    ):
        per_record(table, "latent")
