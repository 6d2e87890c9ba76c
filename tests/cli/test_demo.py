import json

import pytest

from fullrank.cli import main


@pytest.mark.slow
def test_the_tiny_demo_writes_table_figure_and_report(tmp_path, capsys):
    assert main(["demo", "--tiny", "--out", str(tmp_path / "demo"), "--json", str(tmp_path / "demo.json")]) == 0
    result = json.loads((tmp_path / "demo.json").read_text())
    found = {(row["encoder"], row["space"]) for row in result["rows"]}
    encoders = {"raw pixels", "random weights", "collapsed", "trained", "with labels"}
    assert {encoder for encoder, _ in found} == encoders
    assert {("collapsed", "embedding"), ("trained", "embedding")} <= found
    for row in result["rows"]:
        assert all(0 <= row[key] <= 1 for key in ("digit_knn", "digit_linear", "motion_knn", "motion_linear"))
    assert (tmp_path / "demo" / "spectrum.png").exists()
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "raw_pixels" in page
    assert "collapsed" in page
    shown = capsys.readouterr().out
    assert str(tmp_path / "demo" / "report.html") in shown.replace("\n", "")
    assert all(encoder in shown for encoder in encoders)


def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "must be a new folder or an earlier demo" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"
