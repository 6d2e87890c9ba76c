import argparse
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fullrank.checkpoint.save import save_checkpoint
from fullrank.cli import main
from fullrank.features.write import write_table


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _looks(capsys, path):
    assert main(["inspect", str(path), "--json", "found.json"]) == 0
    text = Path("found.json").read_text()
    return json.loads(text), " ".join(capsys.readouterr().out.split())


def _fails(capsys, path):
    assert main(["inspect", str(path)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


class _Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


STATE = {"backbone.conv.weight": torch.ones(4, 3), "backbone.bn.bias": torch.zeros(4), "projector.0.weight": torch.ones(2, 4)}


def _run_folder(folder):
    folder.mkdir()
    settings = {"method": {"rho": 2}, "data": {"batch_size": 8}, "seed": 3}
    config = {"fullrank": "0.1.0", "recipe": "vicreg.video", "method": "vicreg", "settings": settings, "hash": "abc"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "metrics.jsonl").write_text('{"step": 10, "losses": {"variance": 0.5}}\n{"step": 20, "los')
    alarm = {"step": 10, "event": "collapse", "sentence": "the embedding has collapsed", "evidence": {}}
    (folder / "events.jsonl").write_text('{"event": "start"}\n' + json.dumps(alarm) + "\n")
    (folder / "skipped.jsonl").write_text('{"record": "a", "reason": "b"}\n')
    save_checkpoint(
        folder, {"config": config, "step": 20, "method_name": "vicreg", "method": STATE, "optimizer": {}, "engine": {}}
    )
    return folder


def test_a_checkpoint_of_ours(tmp_path, capsys):
    found, printed = _looks(capsys, _run_folder(tmp_path / "run") / "checkpoint.pt")
    assert found["kind"] == "checkpoint"
    assert (found["method_name"], found["step"], found["tensors"], found["parameters"]) == ("vicreg", 20, 3, 24)
    assert found["config"]["settings"]["method"] == {"rho": 2}
    assert found["parts"] == {"backbone": [2, 16], "projector": [1, 8]}
    assert found["checksums"] == "right"
    assert found["checkpoint_hash"] in printed


def test_a_run_folder(tmp_path, capsys):
    found, printed = _looks(capsys, _run_folder(tmp_path / "run"))
    assert found["kind"] == "run"
    assert found["last_metrics"]["step"] == 10
    assert found["events"] == {"start": 1, "collapse": 1}
    assert found["skipped"] == 1
    assert found["checkpoint"]["step"] == 20
    for text in ("vicreg.video", "the embedding has collapsed", "none: not ended", "method.rho", "data.batch_size"):
        assert text in printed
    (tmp_path / "run" / "checkpoint.pt").unlink()
    found, printed = _looks(capsys, tmp_path / "run")
    assert found["checkpoint"] is None
    assert "No checkpoint yet." in printed
    (tmp_path / "run" / "config.json").write_text("{")
    assert "config.json must hold JSON. It is damaged" in _fails(capsys, tmp_path / "run")


def test_foreign_weights(capsys):
    state = {f"module.backbone.{name}": tensor for name, tensor in (("a.weight", torch.ones(2, 3)), ("b.bias", torch.ones(5)))}
    broken = torch.tensor([1.0, torch.nan])
    settings = argparse.Namespace(lr=0.1, arch="resnet50")
    torch.save({"epoch": 7, "best": np.float64(0.5), "args": settings, "net": state, "extra": [broken]}, "w.pth")
    found, printed = _looks(capsys, "w.pth")
    assert found["kind"] == "weights"
    assert list(found["entries"]) == ["epoch", "best", "args", "net", "extra"]
    assert found["entries"]["epoch"] == "7"
    assert found["entries"]["args"] == "settings: lr, arch"
    assert found["entries"]["net"] == "dict of 2, 2 tensors"
    assert (found["tensors"], found["parameters"]) == (3, 13)
    assert found["parts"] == {"net": [2, 11], "extra": [1, 2]}
    assert found["biggest"] == {"net.module.backbone.a.weight": [2, 3], "net.module.backbone.b.bias": [5], "extra.0": [2]}
    assert found["not_finite"] == ["extra.0"]
    assert "extra.0" in printed


def test_the_shared_beginning_of_names_is_skipped(capsys):
    torch.save({f"state_dict.module.{part}.w": torch.ones(2) for part in ("stem", "head")}, "w.pth")
    assert list(_looks(capsys, "w.pth")[0]["parts"]) == ["state_dict.module.stem", "state_dict.module.head"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_list_that_holds_itself_a_bare_tensor_and_the_old_format(capsys, zipped):
    torch.save(torch.ones(2, 2), "t.pt", _use_new_zipfile_serialization=zipped)
    found, _ = _looks(capsys, "t.pt")
    assert (found["holds"], found["parameters"]) == ("float32 [2, 2]", 4)
    endless = [torch.ones(3)]
    endless.append(endless)
    torch.save(endless, "l.pt", _use_new_zipfile_serialization=zipped)
    assert _looks(capsys, "l.pt")[0]["tensors"] == 1


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_wants_to_run_code_is_refused_by_name(capsys, zipped):
    torch.save({"w": torch.ones(2), "evil": _Evil()}, "evil.pt", _use_new_zipfile_serialization=zipped)
    sentence = _fails(capsys, "evil.pt")
    assert "It wants to run posix.system, so it was not opened" in sentence
    assert not os.path.exists("ran")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_whole_modules_and_programs_are_refused(capsys):
    torch.save(torch.nn.Linear(2, 2), "module.pt")
    assert "It wants to run torch.nn.modules.linear.Linear" in _fails(capsys, "module.pt")
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), "jit.pt")
    assert "is a TorchScript program" in _fails(capsys, "jit.pt")


def test_safetensors(capsys):
    save_file(STATE, "w.safetensors", metadata={"format": "pt", "source": "somewhere"})
    found, printed = _looks(capsys, "w.safetensors")
    assert (found["format"], found["tensors"], found["parameters"]) == ("safetensors", 3, 24)
    assert "somewhere" in printed
    os.rename("w.safetensors", "renamed.bin")
    assert _looks(capsys, "renamed.bin")[0]["format"] == "safetensors"
    data = Path("renamed.bin").read_bytes()
    Path("cut.safetensors").write_bytes(data[:-5])
    assert "damaged or cut off" in _fails(capsys, "cut.safetensors")


def test_a_flipped_bit_is_found(capsys):
    torch.save({"w": torch.zeros(10000)}, "w.pt")
    data = bytearray(Path("w.pt").read_bytes())
    data[20000] ^= 1
    Path("w.pt").write_bytes(data)
    found, printed = _looks(capsys, "w.pt")
    assert found["checksums"].startswith("wrong for")
    assert "damaged, or written without checksums" in printed


def test_a_feature_table(tmp_path, capsys):
    representation = np.ones((4, 3), np.float32)
    representation[2, 1] = np.nan
    write_table(
        "table",
        representation=representation,
        embedding=np.ones((4, 2), np.float32),
        labels={"label": np.array([0, 0, 1, -1])},
        record=np.array([0, 0, 2, 3]),
        start_seconds=np.zeros(4),
        record_ids=list("abcd"),
        classes={"label": ["walk", "[red]run"]},
        manifest={"checkpoint_hash": "abc", "branch": "teacher", "skipped": [{"record": "b", "reason": "cut off"}]},
    )
    found, printed = _looks(capsys, "table")
    assert (found["rows"], found["records"], found["records_of_source"]) == (4, 3, 4)
    assert found["arrays"]["representation"] == {"shape": [4, 3], "dtype": "float32", "not_finite": 1}
    assert found["arrays"]["embedding"]["not_finite"] == 0
    assert found["labels"]["label"] == {"classes": 2, "rows_of_class": {"walk": 2, "[red]run": 1}, "unknown_rows": 1}
    assert found["manifest"]["branch"] == "teacher"
    for text in ("3 of 4 of the source", "walk: 2, [red]run: 1", "1 values", "teacher"):
        assert text in printed


def test_a_table_without_labels(capsys):
    write_table(
        "table",
        representation=np.ones((2, 3), np.float32),
        embedding=None,
        labels={},
        record=np.arange(2),
        start_seconds=np.zeros(2),
        record_ids=["a", "b"],
        classes={},
        manifest={},
    )
    assert "No labels." in _looks(capsys, "table")[1]


def test_arrays(capsys):
    np.save("x.npy", np.array([[1.0, np.inf], [2.0, 3.0]]))
    found, printed = _looks(capsys, "x.npy")
    assert found["arrays"]["x"] == {"shape": [2, 2], "dtype": "float64", "not_finite": 1}
    assert "2 x 2" in printed
    np.savez("x.npz", a=np.arange(3), b=np.float32(1.5))
    assert _looks(capsys, "x.npz")[0]["arrays"] == {
        "a": {"shape": [3], "dtype": "int64"},
        "b": {"shape": [], "dtype": "float32", "not_finite": 0},
    }
    np.save("o.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "holds Python objects" in _fails(capsys, "o.npy")
    np.savez("o.npz", a=np.array([{}], dtype=object))
    assert "holds Python objects" in _fails(capsys, "o.npz")


def test_suffixes_in_capitals_and_members_that_are_no_arrays(capsys):
    np.savez("x.npz", a=np.arange(3))
    with zipfile.ZipFile("x.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    os.rename("x.npz", "X.NPZ")
    found, printed = _looks(capsys, "X.NPZ")
    assert found["arrays"] == {"a": {"shape": [3], "dtype": "int64"}}
    assert found["others"] == ["readme.txt"]
    assert "No arrays: readme.txt" in printed


def test_an_array_of_a_file_is_not_a_file(capsys):
    np.savez("x.npz", a=np.arange(3))
    assert "leave '#a' out, it shows every array" in _fails(capsys, "x.npz#a")


@pytest.mark.filterwarnings("ignore")
def test_unusual_tensors_and_arrays_of_numpy_are_described(capsys):
    x = torch.tensor([[1.0, 0.0], [0.0, torch.nan]])
    torch.save(
        {
            "float8": x.to(torch.float8_e4m3fn),
            "sparse": x.to_sparse(),
            "csr": x.to_sparse_csr(),
            "quantised": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8),
            "meta": x.to("meta"),
            "numpy": x.numpy().astype(">f4"),
            "names": np.array(["a", "b"]),
        },
        "x.pt",
    )
    found, _ = _looks(capsys, "x.pt")
    assert found["not_finite"] == ["float8", "sparse", "csr", "numpy"]
    assert (found["entries"]["numpy"], found["entries"]["names"]) == ("numpy float32 [2, 2]", "numpy <U1 [2]")
    assert found["tensors"] == 6


def test_containers_without_end_are_one_sentence(capsys):
    lists = b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b"."
    torch.save({}, "x.pt")
    with zipfile.ZipFile("x.pt") as archive, zipfile.ZipFile("deep.pt", "w") as deep:
        for name in archive.namelist():
            deep.writestr(name, lists if name.endswith("data.pkl") else archive.read(name))
    assert "Got hundreds inside each other" in _fails(capsys, "deep.pt")
    itself = {"w": torch.ones(2)}
    itself["itself"] = itself
    torch.save({"net": itself}, "itself.pt")
    assert "must hold its tensors in dicts that end" in _looks(capsys, "itself.pt")[0]["unknown_layout"]


def test_nothing_and_damaged_files_are_one_sentence(tmp_path, capsys):
    torch.save({"w": torch.zeros(1000)}, "w.pt")
    whole = Path("w.pt").read_bytes()
    np.save("x.npy", np.ones(100))
    files = {
        "empty.pt": b"",
        "cut.pt": whole[: len(whole) // 2],
        "page.pth": b"\n<!DOCTYPE html><html>not found</html>",
        "pointer.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "noise.pth": b"\x00\x01\x02 some noise",
        "text.txt": b"hello\n",
        "cut.npy": Path("x.npy").read_bytes()[:-9],
        "no.npz": b"PK\x03\x04 nothing",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name, message in (
        ("empty.pt", "It is empty"),
        ("cut.pt", "is damaged or cut off"),
        ("page.pth", "It is a web page; download the file itself"),
        ("pointer.pt", "Git LFS pointer to it; run `git lfs pull`"),
        ("noise.pth", "is neither a torch, .safetensors, .npy nor .npz file, or its beginning is damaged"),
        ("text.txt", "is neither a torch"),
        ("cut.npy", "is damaged or cut off"),
        ("no.npz", "is damaged or cut off"),
        ("missing.pt", "There is no missing.pt; check the path"),
    ):
        assert message in _fails(capsys, name), name
    (tmp_path / "sub").mkdir()
    assert "Got an empty folder" in _fails(capsys, "sub")
    assert "(run folder" not in _fails(capsys, ".")
    assert "other entries (cut.npy, cut.pt, empty.pt, ...)" in _fails(capsys, ".")
