"""Every method that is found holds to the contract; broken methods are found out."""

import pytest
import torch

from fullrank.errors import SettingError
from fullrank.methods._method import available, load_method
from fullrank.methods.simclr import SimCLR
from fullrank.recipes import recipe
from fullrank.testing import POINTS, Nonconformance, Subject, check_method
from fullrank.testing.lab import context
from fullrank.testing.processes import check_processes
from fullrank.testing.runs import MARGINS, above_random, resume

METHODS = list(available())


@pytest.mark.parametrize("point", list(POINTS))
@pytest.mark.parametrize("name", METHODS)
def test_conformance(name, point):
    cls = load_method(name)
    if point in cls.exempt:
        pytest.skip(f"exempt: {cls.exempt[point]}")
    POINTS[point](Subject(cls))


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_ends_in_the_same_weights_and_no_label_is_touched(name, tmp_path):
    resume(Subject(load_method(name)), tmp_path)


def test_two_processes_reach_the_weights_of_one(tmp_path):
    check_processes(METHODS, tmp_path)


@pytest.fixture(scope="module")
def trained_in(tmp_path_factory):
    """One world for all runs."""
    return tmp_path_factory.mktemp("trained")


@pytest.mark.slow
@pytest.mark.parametrize("name", MARGINS)
def test_a_tiny_run_beats_random_weights(name, trained_in):
    above_random(recipe(f"{name}.tiny"), trained_in, margins=MARGINS[name])


@pytest.mark.slow
def test_a_run_that_learns_nothing_is_found_out(trained_in, monkeypatch):
    forward = SimCLR.forward

    def constant(self, views, ctx):
        output = forward(self, views, ctx)
        output.losses["nt_xent"] = 0.0 * output.losses["nt_xent"] + 1.0
        return output

    monkeypatch.setattr(SimCLR, "forward", constant)
    with pytest.raises(Nonconformance, match="points above random weights"):
        above_random(recipe("simclr.tiny"), trained_in, margins=MARGINS["simclr"])


def test_a_margin_of_something_else_is_refused(tmp_path):
    with pytest.raises(SettingError, match="digit knn"):
        above_random(recipe("simclr.tiny"), tmp_path, margins={"colour": 1.0})


class Broken(SimCLR):
    """SimCLR with one thing wrong at a time; told apart from its parent by its own name only."""


def broken(**attributes):
    return type("Broken", (SimCLR,), {"__module__": __name__, **attributes})


def _forward_that_counts(self, views, ctx):
    output = SimCLR.forward(self, views, ctx)
    self.projector[0].weight.data.mul_(1.001)
    return output


def _forward_with_its_own_negatives(self, views, ctx):
    return SimCLR.forward(self, views, context())


def _forward_that_knows_the_place(self, views, ctx):
    output = SimCLR.forward(self, views, ctx)
    output.losses["nt_xent"] = output.losses["nt_xent"] * (1 + views.group("view")[0].mean().detach())
    return output


def _encode_over_the_batch(self, pixels, branch=None):
    h = SimCLR.encode(self, pixels, branch)
    return h - h.mean(0)


class Forgetful(SimCLR):
    """Keeps a count in no buffer."""

    count = 0.0

    def forward(self, views, ctx):
        output = super().forward(views, ctx)
        output.losses["nt_xent"] = output.losses["nt_xent"] + self.count
        return output

    def after_step(self, outputs, ctx):
        self.count += 1.0


@pytest.mark.parametrize(
    ("cls", "point"),
    [
        (broken(forward=_forward_that_counts), "purity"),
        (broken(forward=_forward_with_its_own_negatives), "many_processes"),
        (broken(forward=_forward_that_knows_the_place), "batch_order"),
        (broken(encode=_encode_over_the_batch), "encode"),
        (broken(at_collapse=lambda self, batch_size: {"nt_xent": 1.0}), "collapse"),
        (broken(set_labels=lambda self, labels: None), "no_labels"),
        (Forgetful, "saving"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_method_that_breaks_the_contract_is_found_out(cls, point):
    config = recipe("simclr.tiny")
    assert check_method(SimCLR, config, points=[point]) == [point]
    with pytest.raises(Nonconformance, match=point):
        check_method(cls, config, points=[point])


def test_a_frozen_and_an_unused_parameter_are_found_out():
    class Unused(SimCLR):
        def __init__(self, cfg, backbone, num_records):
            super().__init__(cfg, backbone, num_records)
            self.spare = torch.nn.Parameter(torch.zeros(3))

    with pytest.raises(Nonconformance, match="spare is unreached by the gradient"):
        check_method(Unused, recipe("simclr.tiny"), points=["gradients"])


def test_an_unknown_point_names_the_nearest():
    with pytest.raises(Exception, match="Did you mean 'purity'"):
        check_method(SimCLR, recipe("simclr.tiny"), points=["purety"])
