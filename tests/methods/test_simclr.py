"""SimCLR: collapse value and heads."""

import math

import pytest
from torch import nn


@pytest.mark.parametrize("rho", [1, 3])
def test_constant_encoder_gives_the_documented_value(lab, rho):
    method = lab.build("simclr", network=lab.Constant, projector_batch_norm="none", rho=rho)
    value = float(method(lab.make_views(method), lab.context()).losses["nt_xent"].detach())
    assert value == pytest.approx(math.log(1 + max(2, rho) * 7), abs=1e-5)
    assert method.at_collapse(8) == {"nt_xent": pytest.approx(value, abs=1e-5)}


@pytest.mark.parametrize(("where", "count"), [("none", 0), ("hidden", 1), ("all", 2)])
def test_batch_norm_of_the_projector(lab, where, count):
    method = lab.build("simclr", projector_batch_norm=where)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in method.projector.modules()) == count
