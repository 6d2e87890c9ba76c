"""Cross-entropy over labelled samples."""

import math

import pytest
import torch

from fullrank.objectives.classification import cross_entropy


def test_is_the_mean_over_labelled_samples():
    logits = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, -1, 3, 2, -1, 1])
    rows = [i for i in range(6) if labels[i] >= 0]
    naive = [-math.log(math.exp(logits[i, labels[i]]) / sum(math.exp(x) for x in logits[i])) for i in rows]
    terms = cross_entropy(logits, labels)
    assert float(terms.loss) == pytest.approx(sum(naive) / 4, abs=1e-10)
    assert float(terms.accuracy) == pytest.approx(sum(int(logits[i].argmax()) == labels[i] for i in rows) / 4)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels).loss, logits.requires_grad_())


def test_unknown_labels_change_nothing():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    extra = cross_entropy(torch.cat([logits, torch.randn(4, 3)]), torch.cat([labels, torch.full((4,), -1)]))
    assert float(extra.loss) == pytest.approx(float(cross_entropy(logits, labels).loss))


def test_no_label_gives_zero_and_no_nan():
    logits = torch.randn(3, 4, requires_grad=True)
    terms = cross_entropy(logits, torch.full((3,), -1))
    terms.loss.backward()
    assert float(terms.loss.detach()) == float(terms.accuracy) == 0.0
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) == 0.0


def test_equal_logits():
    assert float(cross_entropy(torch.ones(4, 10), torch.arange(4)).loss) == pytest.approx(math.log(10))
