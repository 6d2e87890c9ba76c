"""The supervised baseline: labels by record index, unknown ones ignored."""

import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.methods.supervised import Supervised


def test_labels_are_looked_up_by_record_index(lab):
    method = lab.build("supervised")
    views = lab.make_views(method)
    labels = method.labels[views.index]
    known = labels >= 0
    assert 0 < int(known.sum()) < 8
    logits = method.classifier(method.backbone(views.pixels["view"][:, 0]))
    output = method(views, lab.context())
    torch.testing.assert_close(output.losses["cross_entropy"], F.cross_entropy(logits[known], labels[known]))
    assert float(output.metrics["accuracy"]) == pytest.approx(float((logits.argmax(1) == labels)[known].float().mean()))


def test_equal_logits_give_the_documented_value(lab):
    method = lab.build("supervised")
    with torch.no_grad():
        method.classifier.weight.zero_()
        method.classifier.bias.zero_()
    assert float(method(lab.make_views(method), lab.context()).loss.detach()) == pytest.approx(math.log(4), abs=1e-6)


def test_labels_are_not_saved_and_a_checkpoint_brings_its_classifier(lab):
    method = lab.build("supervised")
    state = method.state_dict()
    assert "labels" not in state
    fresh = Supervised(Supervised.Config(), lambda role: lab.TinyNet(), 7)
    fresh.load_state_dict(state)
    assert fresh.classifier is not None
    assert torch.equal(fresh.classifier.weight, method.classifier.weight)


def test_mistakes_with_labels_are_named(lab):
    method = Supervised(Supervised.Config(), lambda role: lab.TinyNet(), 5)
    with pytest.raises(SettingError, match="call set_labels"):
        method(lab.make_views(method), lab.context())
    with pytest.raises(SettingError, match="labels must be 5 numbers"):
        method.set_labels(torch.zeros(4, dtype=torch.int64), 2)
    with pytest.raises(SettingError, match="from 0 to 3 for 2 classes"):
        method.set_labels(torch.tensor([0, 1, 2, 3, 0]), 2)
    with pytest.raises(SettingError, match="At least one record"):
        method.set_labels(torch.full((5,), -1), 2)
