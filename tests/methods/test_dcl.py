"""DCL and DCLW: which objective, and their value at collapse."""

import math

import pytest
import torch

from fullrank.methods.dcl import DCL
from fullrank.objectives.contrastive import decoupled
from fullrank.testing.lab import Subject, blank, context


@pytest.mark.parametrize("weighted", [False, True])
def test_weighted_is_dclw(weighted):
    subject = Subject(DCL)
    output = subject.build(weighted=weighted, sigma=0.4)(subject.views(), context())
    z = output.features["embedding"]
    expected = decoupled(z, temperature=0.2, sigma=0.4 if weighted else None)
    torch.testing.assert_close(output.loss.detach(), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_constant_encoder_gives_the_documented_value(weighted):
    subject = Subject(DCL)
    method = subject.build(weighted=weighted, projector_batch_norm="none").eval()
    assert method.at_collapse(8) == {"decoupled": math.log(2 * 7)}
    assert float(method(blank(subject.views()), context()).loss.detach()) == pytest.approx(math.log(14), abs=1e-4)
