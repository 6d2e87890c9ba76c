"""Student and teacher of one run, from training to the page: both extracted, evaluated and shown."""

import json

import numpy as np
import pytest

from fullrank.cli import main
from fullrank.features.table import branch_folder, other_branches, read_table


@pytest.fixture(scope="module")
def run(tmp_path_factory, video_folder, small_flags):
    """BYOL for a few steps; the teacher lags behind, so its features are others."""
    folder = tmp_path_factory.mktemp("branches") / "run"
    flags = ["--data.path", str(video_folder), "--out", str(folder), "--max-steps", "4", "--method.predictor-hidden", "16"]
    assert main(["train", "byol.video", *flags, *small_flags]) == 0
    return folder


def test_training_keeps_and_evaluates_both(run):
    student, others = read_table(run / "features"), other_branches(run / "features")
    assert student.manifest["encoded"] == "student"
    assert list(others) == ["teacher"]
    teacher = others["teacher"]
    assert teacher.manifest["branch"] == "teacher"
    assert np.array_equal(student.record, teacher.record)
    assert not np.allclose(student.representation, teacher.representation)
    known = json.loads((run / "evaluation.json").read_text())
    for found in (known, known["teacher"]):
        assert found["representation"]["label, kNN leave-one-out"]["n"] == 12
        assert found["embedding"]["label, kNN leave-one-out"]["n"] == 12


def test_the_page_shows_them_side_by_side(run, tmp_path, capsys):
    assert main(["report", str(run), "--out", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json")]) == 0
    page = (tmp_path / "r.html").read_text()
    section = page.split("Student and teacher</h2>")[1].split("</section>")[0]
    assert section.count("<tr>") == 3
    for text in (
        '<th scope="row">student</th>',
        '<th scope="row">teacher</th>',
        "representation label, kNN leave-one-out",
        "effective rank, embedding",
    ):
        assert text in section
    verdicts = json.loads((tmp_path / "r.json").read_text())["runs"]
    assert list(verdicts) == ["run", "run, teacher"]
    ranks = [verdict["measures"]["representation"]["effective_rank"] for verdict in verdicts.values()]
    assert ranks[0] != ranks[1]
    assert "run, teacher:" in capsys.readouterr().out


def test_extract_all_and_evaluate_both(run, video_folder, tmp_path, capsys):
    base = ["--data.path", str(video_folder), "--data.num-workers", "0"]
    out = tmp_path / "f"
    assert main(["extract", str(run), *base, "--out", str(out), "--branch", "all", "--json", str(tmp_path / "e.json")]) == 0
    assert json.loads((tmp_path / "e.json").read_text())["branches"] == {
        "student": str(out),
        "teacher": str(branch_folder(out, "teacher")),
    }
    assert "teacher, representation" in capsys.readouterr().out
    alone = tmp_path / "alone"
    assert main(["extract", str(run), *base, "--out", str(alone), "--branch", "teacher"]) == 0
    assert np.array_equal(read_table(alone).representation, other_branches(out)["teacher"].representation)
    assert main(["evaluate", "knn", str(out), "--groups", "label"]) == 2
    capsys.readouterr()
    stamp = (branch_folder(out, "teacher") / "representation.npy").stat().st_mtime_ns
    assert main(["extract", str(run), *base, "--out", str(out), "--branch", "all"]) == 0
    assert (branch_folder(out, "teacher") / "representation.npy").stat().st_mtime_ns == stamp, "read from disk"
    assert main(["extract", str(run), *base, "--out", str(tmp_path / "x"), "--branch", "techer"]) == 2
    assert "student, teacher, or all, for this method. Got techer. Did you mean 'teacher'?" in capsys.readouterr().err


def test_a_table_of_another_checkpoint_is_not_taken_for_a_branch(run, tmp_path):
    for name in ("features", "features-teacher"):
        target = tmp_path / name
        target.mkdir()
        for file in (run / name).iterdir():
            (target / file.name).write_bytes(file.read_bytes())
    assert list(other_branches(tmp_path / "features")) == ["teacher"]
    manifest = json.loads((tmp_path / "features-teacher" / "manifest.json").read_text())
    (tmp_path / "features-teacher" / "manifest.json").write_text(json.dumps(manifest | {"checkpoint_hash": "another"}))
    assert other_branches(tmp_path / "features") == {}


def test_evaluate_prints_a_row_for_each_branch(run, video_folder, tmp_path, capsys):
    """Two tables of both branches: every other record for training, the rest for testing."""
    from fullrank.features.write import write_table

    for part, rows in (("train", slice(0, None, 2)), ("test", slice(1, None, 2))):
        for name, table in {"": read_table(run / "features"), **other_branches(run / "features")}.items():
            write_table(
                branch_folder(tmp_path / part, name) if name else tmp_path / part,
                representation=table.representation[rows],
                embedding=table.embedding[rows],
                labels={key: values[rows] for key, values in table.labels.items()},
                record=table.record[rows],
                start_seconds=table.start_seconds[rows],
                record_ids=table.record_ids,
                classes=table.classes,
                manifest={k: table.manifest[k] for k in ("checkpoint_hash", "settings_hash", "branch", "branches", "encoded")}
                | {"data_fingerprint": part},
            )
    argv = ["evaluate", "knn", str(tmp_path / "train"), str(tmp_path / "test"), "--k", "3"]
    assert main([*argv, "--json", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().out
    assert "label, student" in said
    assert "label, teacher" in said
    found = json.loads((tmp_path / "a.json").read_text())
    assert list(found["branches"]) == ["student", "teacher"]
    assert found["results"] == found["branches"]["student"]
    assert found["branches"]["teacher"]["label"]["n"] == 6
