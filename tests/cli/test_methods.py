"""`fullrank methods`: the table, a page, mistakes."""

import json
import resource
import subprocess
import sys

import pytest

from fullrank.cli import main
from fullrank.methods._method import available, load_method


def test_table_lists_every_method_with_its_paper(tmp_path, capsys):
    assert main(["methods", "--json", str(tmp_path / "m.json")]) == 0
    shown = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads((tmp_path / "m.json").read_text())["methods"]}
    assert set(rows) == set(available())
    for name, row in rows.items():
        assert name in shown
        assert row["idea"].endswith(".")
        assert row["what_prevents_collapse"]
        assert "Data flow" not in row["idea"] + row["what_prevents_collapse"]
    assert "2105.04906" in rows["vicreg"]["paper"]
    assert rows["mae"]["paper"] == "He et al., CVPR 2022, arXiv 2111.06377; clips: VideoMAE, Tong et al., 2022"
    assert rows["moco_v2"]["title"].startswith("MoCo v2")
    assert rows["supervised"]["paper"] == "-"


@pytest.mark.parametrize("name", tuple(available()))
def test_page_shows_text_and_every_setting(name, tmp_path, capsys):
    assert main(["methods", name, "--json", str(tmp_path / "m.json")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    page = json.loads((tmp_path / "m.json").read_text())
    assert "What prevents collapse:" in page["text"]
    assert f"fullrank recipes {name}" in shown
    assert [g["guard"] for g in page["guards"]] == list(load_method(name).guards)
    assert all(g["source"] in shown for g in page["guards"])
    assert [s["setting"] for s in page["settings"]] == list(load_method(name).Config.model_fields)
    for setting in page["settings"]:
        assert setting["meaning"], setting
        assert "--method." + setting["setting"].replace("_", "-") in shown


def test_types_and_bounds_are_readable(tmp_path):
    main(["methods", "moco_v2", "--json", str(tmp_path / "m.json")])
    settings = {s["setting"]: s for s in json.loads((tmp_path / "m.json").read_text())["settings"]}
    assert settings["rho"]["type"] == "int >= 1"
    assert settings["temperature"]["type"] == "float > 0"
    assert settings["projector"]["type"] == "int ..."
    assert settings["batch_norm_group"]["type"] == "int | None"
    assert settings["momentum"]["default"] == "0.999"


def test_unknown_method_names_the_nearest(capsys):
    assert main(["methods", "vicrec"]) == 2
    assert "Did you mean 'vicreg'?" in capsys.readouterr().err


def _processor_seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_answers_within_seconds():
    """Processor time, held against that of importing torch: a busy or slow machine lengthens both."""
    own = _processor_seconds("import sys; from fullrank.cli import main; sys.exit(main(['methods']))")
    assert own < 3 * _processor_seconds("import torch")
