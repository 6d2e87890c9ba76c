import json
from pathlib import Path

import numpy as np
import pytest

from fullrank.cli import main
from fullrank.cli.evaluate import Knn, Linear
from fullrank.features.write import write_table


def _planted(n, seed, classes=3, d=8):
    centres = 10 * np.random.default_rng(99).normal(size=(classes, d))
    labels = np.arange(n) % classes
    return centres[labels] + np.random.default_rng(seed).normal(size=(n, d)), labels


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(folder, x, labels, classes=None, *, data=None, checkpoint="one", embedding=None):
        labels = {name: np.asarray(values) for name, values in labels.items()}
        names = classes or {name: [f"{name} {i}" for i in range(int(v.max()) + 1)] for name, v in labels.items()}
        return write_table(
            folder,
            representation=np.asarray(x, np.float32),
            embedding=embedding,
            labels=labels,
            record=np.arange(len(x)),
            start_seconds=np.zeros(len(x)),
            record_ids=[f"{i}.mp4" for i in range(len(x))],
            classes=names,
            manifest={"checkpoint_hash": checkpoint, "data_fingerprint": data or folder, "branch": None},
        )

    return make


@pytest.fixture
def tables(make):
    for folder, n, seed in (("train", 60, 1), ("test", 30, 2)):
        x, y = _planted(n, seed)
        make(
            folder,
            x,
            {"label": y, "label_actor": np.arange(n) // 3 % 4, "blind": np.random.default_rng(seed).integers(0, 2, n)},
        )


def _fails(capsys, *argv):
    assert main(["evaluate", *argv]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_knn_prints_every_label_set_and_writes_the_same(tables, capsys):
    assert main(["evaluate", "knn", "train", "test", "--json", "out/a.json"]) == 0
    printed = capsys.readouterr().out
    found = json.loads(Path("out/a.json").read_text())
    assert list(found["results"]) == ["label", "label_actor", "blind"]
    label = found["results"]["label"]
    assert label["top1"] == 1.0
    assert label["interval"][0] == pytest.approx(0.8865, abs=1e-4)
    assert label["chance"] == pytest.approx(1 / 3)
    assert (label["n"], label["n_train"], label["k"], label["k_asked"]) == (30, 60, 60, 200)
    assert label["top5"] is None
    assert "88.6-100.0" in printed
    assert "label: k is 60" in printed
    assert "blind: not above chance" in printed
    assert set(found["remarks"]) <= set(printed.splitlines())


def test_linear_says_what_was_chosen(tables, capsys):
    argv = ["linear", "train", "test", "--label", "label", "--epochs", "5", "--learning-rates", "0.01", "0.1", "1"]
    assert main(["evaluate", *argv, "--json", "a.json"]) == 0
    found = json.loads(Path("a.json").read_text())["results"]
    assert list(found) == ["label"]
    assert found["label"]["top1"] == 1.0
    assert len(found["label"]["validation"]) == 9
    assert found["label"]["learning_rate"] in (0.01, 0.1, 1.0)


def test_a_diverged_setting_is_null_in_the_json(tables):
    argv = ["linear", "train", "test", "--label", "label", "--epochs", "5", "--learning-rates", "0.1", "1e38"]
    assert main(["evaluate", *argv, "--weight-decays", "1", "--json", "a.json"]) == 0
    text = Path("a.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["results"]["label"]["validation"][1]["loss"] is None


@pytest.mark.parametrize("protocol", ["knn", "linear"])
def test_leaving_groups_out(tables, capsys, protocol):
    more = ["--epochs", "10"] if protocol == "linear" else ["--k", "5"]
    assert main(["evaluate", protocol, "train", "--groups", "label_actor", "--json", "a.json", *more]) == 0
    found = json.loads(Path("a.json").read_text())
    assert list(found["results"]) == ["label", "blind"]
    assert found["left_out"] == "label_actor"
    assert found["results"]["label"]["top1"] == 1.0
    assert found["results"]["label"]["n_train"] == 45
    if protocol == "linear":
        assert list(found["results"]["label"]["groups"]) == [f"label_actor {i}" for i in range(4)]
        assert "mean over 4 groups" in capsys.readouterr().out


def test_the_embedding(make, capsys):
    x, y = _planted(60, 1)
    noise = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    for folder in ("a", "b"):
        make(folder, x, {"label": y}, embedding=noise)
    assert main(["evaluate", "knn", "a", "b", "--k", "20", "--space", "embedding", "--json", "e.json"]) == 0
    assert json.loads(Path("e.json").read_text())["space"] == "embedding"
    make("c", x, {"label": y})
    assert "It has none; use representation" in _fails(capsys, "knn", "a", "c", "--space", "embedding")


def test_what_is_left_out_is_said(make, capsys):
    make("a", np.eye(4), {"label": [0, 1, 1, -1]}, {"label": ["cat", "dog"]})
    make("b", np.eye(4), {"label": [1, 0, 2, -1]}, {"label": ["dog", "cat", "ape"]})
    assert main(["evaluate", "knn", "a", "b", "--k", "1", "--json", "r.json"]) == 0
    printed = capsys.readouterr().out
    assert "label: left out 2 records without this label." in printed
    assert "label: left out 1 test record of classes that have no training record." in printed
    assert json.loads(Path("r.json").read_text())["results"]["label"]["top1"] == 1.0


def test_every_mistake_is_one_sentence(tables, make, capsys):
    x, y = _planted(12, 0)
    make("bare", x, {})
    make("other", x, {"label": y}, checkpoint="two")
    make("overlap", x, {"label": y}, data="train")
    make("names", x, {"label": y}, {"label": ["x", "y", "z"]})
    make("wide", np.ones((12, 3)), {"label": y})
    make("alone", x, {"label_actor": y})
    make("nan", np.full((12, 8), np.nan), {"label": y})
    for argv, message in (
        ([], "must be told how: knn or linear. Got nothing"),
        (["kmn", "train", "test"], "Got 'kmn'. Did you mean 'knn'?"),
        (["knn", "train"], "Got one table; --groups"),
        (["knn", "train", "test", "--groups", "label"], "--groups must be given with one table"),
        (["knn", "train", "train"], "must be different. Got train twice"),
        (["knn", "train", "overlap"], "Got 12 that are in both tables ('0.mp4', for example)"),
        (["knn", "train", "missing"], "There is no missing; `fullrank extract"),
        (["knn", "train", "."], "must hold a manifest.json"),
        (["knn", "train", "bare"], "must have labels to be evaluated"),
        (["knn", "bare", "--groups", "label"], "must have labels to be evaluated"),
        (["linear", "alone", "--groups", "label_actor"], "labels besides the groups"),
        (
            ["knn", "train", "test", "--label", "lable"],
            "must have the label set 'lable'. Got: label, label_actor, blind. Did you",
        ),
        (["knn", "train", "--groups", "actor"], "--groups must be a label set of the table. Got 'actor'; it has: label"),
        (["knn", "train", "--groups", "label", "--label", "label"], "two label sets. Got 'label' for both"),
        (["knn", "train", "other"], "must come from one checkpoint. Got one and two"),
        (["knn", "train", "names"], "must share classes of 'label'"),
        (["knn", "train", "wide"], "one width in both tables. Got 8 and 3"),
        (["linear", "train", "nan"], "test features must be finite. Got NaN or infinity in 12 of 12 rows"),
        (["knn", "train", "test", "--k", "0"], "k of kNN must be at least 1. Got 0"),
        (["knn", "train", "test", "--temperature", "0"], "temperature of kNN must be above 0"),
        (["linear", "train", "test", "--epochs", "0"], "at least one setting, one epoch"),
        (["linear", "train", "test", "--validation-ratio", "20"], "validation_ratio must be in (0, 1). Got 20.0"),
        (["linear", "train", "test", "--learning-rates", "-1"], "learning rates must be above 0"),
    ):
        assert message in _fails(capsys, *argv), argv


def test_an_unknown_flag_names_the_nearest(tables, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "knn", "train", "test", "--lable", "x"])
    assert ended.value.code == 2
    assert "--label" in capsys.readouterr().err


def test_help(capsys):
    assert main(["evaluate", "--help"]) == 0
    assert "--groups" in capsys.readouterr().out


def test_the_flags_have_the_library_s_defaults():
    import inspect

    from fullrank.evaluation.knn import knn
    from fullrank.evaluation.linear import linear

    for kind, function in ((Knn, knn), (Linear, linear)):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in kind.__dataclass_fields__ and name not in ("train", "test", "label"):
                assert kind.__dataclass_fields__[name].default == parameter.default, name
