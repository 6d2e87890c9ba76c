"""`fullrank draw` and `fullrank project` on real runs and tables, and their mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest

from fullrank.cli import main
from fullrank.data.sources.moving_digits import World, write_world
from fullrank.engine.loop import train
from fullrank.features.write import write_table
from fullrank.recipes import recipe

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders of the same thirty records, and one without embedding."""
    folder = tmp_path_factory.mktemp("tables")
    record = np.repeat(np.arange(30), 2)
    for name, embedding in (("one", True), ("two", True), ("three", False)):
        write_table(
            folder / name,
            representation=RNG.normal(size=(60, 6)).astype(np.float32) + 4 * (record % 3)[:, None],
            embedding=RNG.normal(size=(60, 4)).astype(np.float32) if embedding else None,
            labels={"action": record % 3},
            record=record,
            start_seconds=np.zeros(60),
            record_ids=[f"video {i}" for i in range(30)],
            classes={"action": ["run", "jump", "wave"]},
            manifest={"checkpoint_hash": name, "data_fingerprint": "d", "settings_hash": "s", "branch": None},
        )
    return folder


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(list(argv)) == 2
    error = capsys.readouterr().err
    assert error.startswith("fullrank: ")
    assert "Traceback" not in error
    return error


def test_projections_show_both_encoders(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, numbers = tmp_path / "pca.svg", tmp_path / "pca.json"
    argv = ["project", str(tables / "one"), str(tables / "three"), "--method", "pca", "--classes", "2", "--out", str(out)]
    assert main([*argv, "--json", str(numbers)]) == 0
    found = json.loads(numbers.read_text())
    assert (found["label"], len(found["classes"]), len(found["records"])) == ("action", 2, 20)
    assert found["class"].count(found["classes"][0]) == 10
    assert found["inputs"]["one"]["components"][0]["name"] == "action"
    assert np.array(found["inputs"]["three"]["points"]).shape == (20, 2)
    assert out.read_text().startswith("<?xml")
    assert "components: 1" in capsys.readouterr().out


def test_plain_files_with_and_without_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", RNG.normal(size=(20, 5)))
    np.save(tmp_path / "b.npy", RNG.normal(size=(20, 3)))
    np.save(tmp_path / "class.npy", np.arange(20) % 2 + 7)
    both = ["project", str(tmp_path / "a.npy"), str(tmp_path / "b.npy"), "--method", "pca", "--out", str(tmp_path / "x.png")]
    assert main([*both, "--json", str(tmp_path / "o.json")]) == 0
    assert len(json.loads((tmp_path / "o.json").read_text())["records"]) == 20
    assert main([*both, "--class-of", str(tmp_path / "class.npy"), "--json", str(tmp_path / "o.json")]) == 0
    assert json.loads((tmp_path / "o.json").read_text())["classes"] == ["7", "8"]
    np.save(tmp_path / "class.npy", np.arange(9))
    assert "a class for each of 20 rows. Got 9" in said(capsys, *both, "--class-of", str(tmp_path / "class.npy"))
    assert "must be representation for plain files" in said(capsys, *both, "--space", "embedding")


def test_tables_without_labels_are_drawn_in_one_colour(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat, numbers = tmp_path / "flat", tmp_path / "o.json"
    write_table(
        flat,
        representation=RNG.normal(size=(30, 6)).astype(np.float32),
        embedding=None,
        labels={},
        record=np.arange(30),
        start_seconds=np.zeros(30),
        record_ids=[f"video {i}" for i in range(30)],
        classes={},
        manifest={"checkpoint_hash": "flat", "data_fingerprint": "d", "settings_hash": "s", "branch": None},
    )
    draw = ["project", str(flat), "--method", "pca", "--out", str(tmp_path / "x.png")]
    assert main([*draw, "--json", str(numbers)]) == 0
    assert "30 records in one colour, because they have no labels" in capsys.readouterr().out
    assert set(json.loads(numbers.read_text())["class"]) == {"rows"}
    assert "--classes must be left out where the tables have no labels. Got 2" in said(capsys, *draw, "--classes", "2")
    assert "flat must have the label 'action'" in said(capsys, *draw, "--label", "action")
    assert "They have one: action; flat: none" in said(capsys, "project", str(tables / "one"), *draw[1:])


def test_an_array_of_a_file_or_table_can_be_named(tables: Path, tmp_path: Path) -> None:
    a, b = RNG.normal(size=(20, 5)), RNG.normal(size=(20, 3))
    np.savez(tmp_path / "two.npz", a=a, b=b)
    np.save(tmp_path / "b.npy", b)
    out = ["--method", "pca", "--out", str(tmp_path / "x.png"), "--json", str(tmp_path / "o.json")]
    assert main(["project", f"{tmp_path / 'two.npz'}#b", str(tmp_path / "b.npy"), *out]) == 0
    named, plain = json.loads((tmp_path / "o.json").read_text())["inputs"].values()
    assert named["points"] == plain["points"]
    assert main(["project", str(tables / "one"), "--space", "embedding", *out]) == 0
    (wanted,) = json.loads((tmp_path / "o.json").read_text())["inputs"].values()
    assert main(["project", f"{tables / 'one'}#embedding", *out]) == 0
    (found,) = json.loads((tmp_path / "o.json").read_text())["inputs"].values()
    assert found["points"] == wanted["points"]


def test_rows_that_are_not_the_same_records_or_not_finite_are_refused(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, rows in (("a", 20), ("b", 12)):
        np.save(tmp_path / f"{name}.npy", RNG.normal(size=(rows, 5)))
    broken = RNG.normal(size=(20, 5))
    broken[17, 2] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    np.save(tmp_path / "huge.npy", np.full((20, 5), 1e100))
    np.save(tmp_path / "d1.npy", broken[:, :1])
    np.save(tmp_path / "flat.npy", broken[:, 0])
    out = ["--method", "pca", "--rows", "5", "--out", str(tmp_path / "x.png")]
    a, b = str(tmp_path / "a.npy"), str(tmp_path / "b.npy")
    assert f"same rows, in the same order. Got 20 in {a} and 12 in {b}" in said(capsys, "project", a, b, *out)
    for name, sentence in (
        ("nan", "nan.npy: features must be finite. Got NaN or infinity in 1 row: 17"),
        ("huge", "huge.npy: features must be below 3.4e+38"),
        ("d1", "d1.npy must have at least 2 dimensions"),
        ("flat", "flat.npy: features must be [n, d]. Got 1 axes"),
    ):
        assert sentence in said(capsys, "project", str(tmp_path / f"{name}.npy"), *out)
    named = f"{tables / 'one'}#embedding"
    assert "--space must be left out" in said(capsys, "project", named, "--space", "embedding", *out)


def test_what_project_cannot_draw_is_said(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = str(tables / "one")
    out = ["--out", str(tmp_path / "x.png")]
    assert "must be given feature tables" in said(capsys, "project", *out)
    assert "1 to 3" in said(capsys, "project", one, "--classes", "9", *out)
    assert "must have the class 'swim'" in said(capsys, "project", one, "--classes", "swim", "run", *out)
    assert "label 'digit'" in said(capsys, "project", one, "--label", "digit", *out)
    assert "--rows must be at least 5" in said(capsys, "project", one, "--rows", "2", *out)
    assert ".pdf, .svg, .png" in said(capsys, "project", one, "--out", str(tmp_path / "x.jpg"))
    assert "There is no" in said(capsys, "project", str(tmp_path / "nothing"), *out)


def test_gap_and_sides_of_tables(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = str(tables / "one"), str(tables / "two")
    for picture in ("gap", "sides"):
        numbers = tmp_path / f"{picture}.json"
        assert main(["draw", picture, one, two, "--out", str(tmp_path / f"{picture}.png"), "--json", str(numbers)]) == 0
        assert json.loads(numbers.read_text())["picture"] == picture
    assert set(json.loads((tmp_path / "sides.json").read_text())["rows"]) == {"representation", "embedding"}
    assert "must have an embedding" in said(capsys, "draw", "gap", str(tables / "three"))
    assert "pairs of tables" in said(capsys, "draw", "sides", one)
    assert "what to draw" in said(capsys, "draw", "gap")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = recipe("vicreg.tiny")
    data = config.data.model_copy(update={"path": folder / "world", "limit": 40, "batch_size": 8})
    write_world(folder / "world", World(num_train=40, num_test=24))
    train(config.model_copy(update={"data": data, "out": folder / "first", "max_steps": 3, "max_minutes": None}))
    return folder / "first"


def test_pictures_of_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for picture in ("time", "losses", "stages"):
        numbers = tmp_path / f"{picture}.json"
        more = ["--data.split", "test", "--data.limit", "20"] if picture == "stages" else []
        argv = ["draw", picture, str(run), "--labels", "first", "--out", str(tmp_path / f"{picture}.pdf"), *more]
        assert main([*argv, "--json", str(numbers)]) == 0
        assert (tmp_path / f"{picture}.pdf").read_bytes().startswith(b"%PDF")
    found = json.loads((tmp_path / "stages.json").read_text())["networks"]["first"]
    assert {"layer1", "layer4", "representation", "embedding"} <= set(found)
    assert found["layer1"]["n"] == 20
    assert json.loads((tmp_path / "time.json").read_text())["spaces"]["embedding"]["steps"][-1] == 3
    assert "Got 'teacher'" in said(capsys, "draw", "time", str(run), "--spaces", "teacher")
    assert "must be a run with metrics.jsonl" in said(capsys, "draw", "losses", str(tmp_path))


def test_measures_against_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"method": f"m{i}", "knn": i / 10, "ranks": {"embedding": {"cev_auc": -i, "n": 9}}, "linear": 0.5 + i / 20}
        for i in range(6)
    ]
    file, numbers = tmp_path / "runs.json", tmp_path / "out.json"
    file.write_text(json.dumps({"results": rows}))
    argv = ["draw", "accuracy", str(file), "--out", str(tmp_path / "a.png"), "--json", str(numbers)]
    assert main(argv) == 0
    found = json.loads(numbers.read_text())
    assert (found["accuracy"], found["drawn_over"]) == ("knn", "methods (6)")
    assert found["measures"]["embedding cev_auc"]["tau"] == pytest.approx(-1.0)
    assert "other accuracies of the file: linear" in capsys.readouterr().out
    assert "Did you mean 'knn'" in said(capsys, *argv, "--accuracy", "kn")


def test_runs_of_one_method_are_drawn_by_their_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"method": method, "setting": f"weight {i}", "seed": seed, "knn": (i + seed / 9) / 10}
        | {"measures": {space: {"std": i + seed, "nesum": -i - seed} for space in ("representation", "embedding")}}
        for method in ("vicreg", "dino")
        for i in range(5)
        for seed in range(2)
    ]
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    numbers = tmp_path / "out.json"
    argv = ["draw", "accuracy", str(tmp_path / "runs.json"), "--out", str(tmp_path / "a.png"), "--json", str(numbers)]
    for more, what in (
        ([], "methods (2)"),
        (["--methods", "dino"], "settings (5)"),
        (["--by", "setting"], "settings (10)"),
        (["--methods", "dino", "--by", "run"], "runs"),
    ):
        assert main([*argv, "--measures", "std", *more]) == 0
        found = json.loads(numbers.read_text())
        assert found["drawn_over"] == what
        assert list(found["measures"]) == ["representation std", "embedding std"], "in every space that has it"
        assert {one["runs"] for one in found["measures"].values()} == {10 if "dino" in more else 20}
    capsys.readouterr()
    assert "Did you mean 'dino'" in said(capsys, *argv, "--methods", "dinos")
    assert "more than one method" in said(capsys, *argv, "--methods", "dino", "--by", "method")


def test_the_picture_of_many_measures_shows_those_of_the_largest_tau(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = np.random.default_rng(0).normal(size=(20, 13)) + np.linspace(0, 3, 13) * np.arange(20)[:, None]
    rows = [
        {"method": f"m{i}", "knn": i / 20, "ranks": {"embedding": {f"r{k}": -v for k, v in enumerate(row)}}}
        for i, row in enumerate(values)
    ]
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    argv = ["draw", "accuracy", str(tmp_path / "runs.json"), "--out", str(tmp_path / "a.svg")]
    assert main(argv) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "embedding r" in line]
    assert len(lines) == 13
    assert "embedding r0 " in lines[-1], "the one that is noise"
    assert main(argv) == 0
    assert "shows the first 12 of 13" in capsys.readouterr().out
    (tmp_path / "runs.json").write_text(json.dumps(rows[:3]))
    assert main(argv) == 2
    assert "left out: 13 measures: a rank correlation" in capsys.readouterr().err.replace("\n", " ")
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    assert "the 13 that" in said(capsys, *argv, "--measures", "embedding nothing")


def test_a_measure_that_orders_nothing_is_left_out_or_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"method": f"m{i}", "knn": i / 10, "ranks": {"embedding": {"nesum": i, "numerical_rank": 8}}} for i in range(6)]
    (tmp_path / "runs.json").write_text(json.dumps(rows))
    argv = ["draw", "accuracy", str(tmp_path / "runs.json"), "--out", str(tmp_path / "a.svg")]
    assert main(argv) == 0
    assert "left out: embedding numerical_rank" in capsys.readouterr().err.replace("\n", " ")
    assert "one value in all" in said(capsys, *argv, "--measures", "embedding numerical_rank")
    (tmp_path / "runs.json").write_text(json.dumps([{**row, "knn": 0.5} for row in rows]))
    assert main(argv) == 2
    assert "No measure is left" in capsys.readouterr().err


def test_names_of_inputs(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = str(tables / "one")
    assert "name each input once. Got 2 for 1" in said(capsys, "draw", "gap", one, "--labels", "a", "b")
    assert "a name of its own" in said(capsys, "draw", "gap", one, one)
