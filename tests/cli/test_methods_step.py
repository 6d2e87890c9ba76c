"""The step that a method's page shows: it ran, so it agrees with the plan, with the losses and with the paper's order."""

import json
import math
import subprocess
import sys
from collections import Counter

import pytest
import torch

from fullrank.cli import main
from fullrank.cli._drawing import PLAIN, draw, lines, listing
from fullrank.cli._one_step import watch_step
from fullrank.methods._method import available, load_method
from fullrank.recipes import recipe

ORDER = ("data", "views", "forward", "features", "loss", "backward", "optimizer", "after step")


@pytest.mark.parametrize("name", tuple(available()))
def test_shapes_are_those_of_the_plan_and_terms_those_of_the_loss(name):
    step = watch_step(f"{name}.tiny")
    config = recipe(f"{name}.tiny")
    plan = load_method(name).views(config.method)
    frames, side = plan.num_frames or config.data.num_frames, config.data.canvas_pixels
    assert step.frames == (step.records, plan.num_clips, frames, side, side, 3)
    assert list(step.views) == [group.name for group in plan.groups]
    for group in plan.groups:
        clips = group.num_clips or plan.num_clips
        views = clips * group.views_per_clip * group.num_blocks * (group.tiles.grid**2 if group.tiles else 1)
        shape = step.views[group.name]
        assert shape[:2] == (step.records, views)
        assert shape[3] == (group.num_frames or frames) // group.num_blocks
        if group.tiles is None:
            assert shape[4:] == (group.augmentation.size_pixels,) * 2
    rows = listing(step)
    parts = [row["part"] for row in rows]
    assert parts == sorted(parts, key=ORDER.index)
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["what"] for row in rows if row["part"] == "loss"] == list(step.losses)
    assert all(math.isfinite(value) for value, _ in step.losses.values())
    assert step.features["representation"][0][0] == step.records
    ran = {call.name.split(".")[0] for call, _ in step.calls if call.is_module and call.gradient}
    assert set(step.moved) <= set(step.gradients)
    assert ran <= set(step.gradients), "what gradients flow through gets gradients"
    drawn = draw(step)
    assert any(drawn[0].startswith(group) for group in step.views)
    assert all(any(term in line for line in drawn) for term in step.losses)
    assert "teacher" not in step.gradients
    if "teacher" in load_method(name).branches:
        assert "teacher" in step.updated
        assert any("teacher.update" in line for line in drawn)


def _names(step):
    return [(call.name, times) for call, times in step.calls]


def test_moco_runs_in_the_order_of_its_algorithm():
    """He et al., 2020, algorithm 1: queries, keys without gradient, logits against the queue, update, momentum, enqueue."""
    step = watch_step("moco_v2.tiny")
    views = max(2, recipe("moco_v2.tiny").method.rho)
    assert [name for name, _ in _names(step)] == [
        "backbone",
        "projector",
        "teacher",
        "info_nce",
        "teacher.update",
        "queue.push",
    ]
    keys = step.calls[2][0]
    assert not keys.gradient
    loss = step.calls[3][0]
    assert [given.name for given in loss.inputs] == ["query", "keys", "negatives"]
    assert [given.origins for given in loss.inputs] == [{1}, {2}, {"queue.contents"}]
    assert [given.gradient for given in loss.inputs] == [True, False, False]
    assert step.calls[5][0].inputs[0].origins == {2}, "the queue gets the keys"
    assert step.calls[5][0].inputs[0].shape[0] in (8 * (views - 1), 8 * views)
    assert step.losses["info_nce"][1] == {3}
    assert set(step.updated) == {"teacher", "queue"}


def test_simsiam_shows_its_stop_gradient_and_swav_its_codes():
    step = watch_step("simsiam.tiny")
    assert _names(step) == [("backbone", 2), ("projector", 2), ("predictor", 2), ("negative_cosine", 2)]
    prediction, target = step.calls[3][0].inputs
    assert (prediction.origins, prediction.gradient) == ({2}, True)
    assert (target.origins, target.gradient) == ({1}, False)
    drawn = draw(step)
    assert "projector ×2 [8, 64] ┄" in drawn[1]
    assert drawn[2].strip().startswith("loss similarity ◄── negative_cosine ×2 ◄──┘")
    swav = watch_step("swav.tiny")
    names = [name for name, _ in _names(swav)]
    assert names.index("prototypes") < names.index("sinkhorn") < names.index("swapped_prediction")
    assert "prototypes" in swav.updated, "back to the unit sphere"


def test_dpc_feeds_its_predictions_back():
    step = watch_step("dpc.tiny")
    calls = {i: call for i, (call, _) in enumerate(step.calls)}
    predictor = next(i for i, call in calls.items() if call.name == "predictor")
    again = next(i for i, call in calls.items() if call.name == "gru" and i > predictor)
    assert predictor in calls[again].inputs[0].origins
    assert again in calls[predictor].inputs[0].origins
    assert Counter(name for name, _ in _names(step))["dense_nce"] == 1


def test_watching_changes_nothing(tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = watch_step("byol.tiny"), watch_step("byol.tiny")
    assert first == second
    assert torch.equal(before, torch.get_rng_state())


def test_the_page_draws_and_lists_what_json_holds(tmp_path, capsys):
    assert main(["methods", "dino", "--json", str(tmp_path / "m.json")]) == 0
    shown = capsys.readouterr().out
    step = json.loads((tmp_path / "m.json").read_text())["step"]
    assert step["recipe"] == "dino.tiny"
    for line in [*step["drawing"], *lines(step["list"])]:
        assert line in shown
    assert "with the settings of dino.tiny on 8 drawn videos" in shown


def test_another_recipe_can_be_shown(capsys):
    assert main(["methods", "simclr", "--recipe", "simclr.cifar10"]) == 0
    assert "[8, 2, 3, 1, 32, 32]" in capsys.readouterr().out
    assert main(["methods", "simclr", "--recipe", "vicreg.tiny"]) == 2
    assert "--recipe must be one of simclr. Got vicreg.tiny" in capsys.readouterr().err
    assert main(["methods", "--recipe", "vicreg.tiny"]) == 2
    assert "must follow a method" in capsys.readouterr().err


def test_a_terminal_without_the_characters_gets_plain_ones():
    text = "\n".join(draw(watch_step("moco_v2.tiny")))
    assert text.translate(PLAIN).isascii()


def test_a_page_loads_nothing_that_takes_seconds():
    """torch's compiler, Fabric and scikit-learn: each would take a second of the three that a page may take."""
    code = (
        "import sys; from fullrank.cli import main; main(['methods', 'dino']); "
        "print([n for n in ('torch._dynamo', 'sympy', 'lightning_fabric', 'sklearn') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
