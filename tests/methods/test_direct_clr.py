"""DirectCLR: the subvector."""

import math

import pytest
import torch

from fullrank.errors import SettingError
from fullrank.methods.direct_clr import DirectCLR
from fullrank.objectives.contrastive import paired_nce
from fullrank.testing.lab import Subject, context


def test_only_the_first_dimensions_have_a_loss():
    subject = Subject(DirectCLR)
    method = subject.build()
    output = method(subject.views(), context())
    h = output.features["representation"]
    expected = (
        paired_nce(h[:, 0, :16], h[:, 1, :16], temperature=0.2).loss
        + paired_nce(h[:, 1, :16], h[:, 0, :16], temperature=0.2).loss
    ) / 2
    torch.testing.assert_close(output.loss.detach(), expected)
    torch.testing.assert_close(output.features["embedding"], h[..., :16])
    output.loss.backward()
    last = [p for name, p in method.backbone.named_parameters() if p.ndim > 1 and "layer4" in name and "conv2" in name][-1]
    assert bool((last.grad[:16].flatten(1).abs().sum(1) > 0).all())
    assert float(last.grad[16:].abs().sum()) == 0.0


def test_without_a_subvector_it_is_the_whole_representation():
    subject = Subject(DirectCLR)
    output = subject.build(subvector_dim=None)(subject.views(), context())
    torch.testing.assert_close(output.features["embedding"], output.features["representation"])


def test_a_subvector_wider_than_the_representation_is_refused():
    with pytest.raises(SettingError, match="at most the representation's width, 64. Got 65; .* which is 11 here"):
        Subject(DirectCLR).build(subvector_dim=65)


def test_at_collapse():
    assert Subject(DirectCLR).build().at_collapse(8) == {"info_nce": math.log(8)}
