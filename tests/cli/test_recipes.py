"""`fullrank recipes`: all, of one method, one; mistakes."""

import json

from fullrank.cli import main
from fullrank.recipes import available, recipe


def shown(capsys, *args):
    assert main(["recipes", *args]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_lists_all_or_those_of_one_method(tmp_path, capsys):
    everything = shown(capsys, "--json", str(tmp_path / "r.json"))
    rows = json.loads((tmp_path / "r.json").read_text())["recipes"]
    assert {row["name"] for row in rows} == set(available())
    assert all(name in everything for name in available())
    few = shown(capsys, "vicreg")
    assert "vicreg.video" in few
    assert "simclr.video" not in few


def test_one_recipe_prints_its_resolved_settings(tmp_path, capsys):
    text = shown(capsys, "vicreg.cifar10", "--json", str(tmp_path / "r.json"))
    for said in (
        "--optimizer.trust-coefficient 0.02 ",
        "--method.augmentation.size-pixels 32 ",
        "--method.projector 2048 2048 2048 ",
        "base x batch / 256 = 0.3.",
        "it reports 92.07 %",
    ):
        assert said in text
    saved = json.loads((tmp_path / "r.json").read_text())
    assert saved["settings"] == json.loads(recipe("vicreg.cifar10").model_dump_json())
    assert saved["learning_rate"] == 0.3


def test_unknown_names_are_a_mistake_of_the_user(capsys):
    for name, hint in (("vicreg.vidoe", "vicreg.video"), ("simcrl", "simclr")):
        assert main(["recipes", name]) == 2
        assert f"Did you mean '{hint}'?" in capsys.readouterr().err
