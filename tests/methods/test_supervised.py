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
    labels = method.labels[views.index, 0]
    known = labels >= 0
    assert 0 < int(known.sum()) < 8
    logits = method.classifiers["label"](method.backbone(views.pixels["view"][:, 0]))
    output = method(views, lab.context())
    torch.testing.assert_close(output.losses["cross_entropy"], F.cross_entropy(logits[known], labels[known]))
    assert float(output.metrics["accuracy"]) == pytest.approx(float((logits.argmax(1) == labels)[known].float().mean()))


def test_equal_logits_give_the_documented_value(lab):
    method = lab.build("supervised")
    with torch.no_grad():
        method.classifiers["label"].weight.zero_()
        method.classifiers["label"].bias.zero_()
    assert float(method(lab.make_views(method), lab.context()).loss.detach()) == pytest.approx(math.log(4), abs=1e-6)


def test_labels_are_not_saved_and_a_checkpoint_brings_its_classifier(lab):
    method = lab.build("supervised")
    state = method.state_dict()
    assert "labels" not in state
    fresh = Supervised(Supervised.Config(), lambda role: lab.TinyNet(), 7)
    fresh.fit_classifiers_to(state)
    fresh.load_state_dict(state)
    assert "label" in fresh.classifiers
    assert torch.equal(fresh.classifiers["label"].weight, method.classifiers["label"].weight)


def test_mistakes_with_labels_are_named(lab):
    method = Supervised(Supervised.Config(), lambda role: lab.TinyNet(), 5)
    with pytest.raises(SettingError, match="call set_labels"):
        method(lab.make_views(method), lab.context())
    with pytest.raises(SettingError, match="labels 'label' must be 5 numbers"):
        method.set_labels({"label": torch.zeros(4, dtype=torch.int64)}, {"label": 2})
    with pytest.raises(SettingError, match="from 0 to 3 for 2 classes"):
        method.set_labels({"label": torch.tensor([0, 1, 2, 3, 0])}, {"label": 2})
    with pytest.raises(SettingError, match="At least one record"):
        method.set_labels({"label": torch.full((5,), -1)}, {"label": 2})


def test_several_label_sets_add_their_terms(lab):
    settings = Supervised.Config(label_names=("a", "b"))
    method = Supervised(settings, lambda role: lab.TinyNet(), 20)
    labels = {"a": torch.arange(20) % 2, "b": torch.arange(20) % 3}
    method.set_labels(labels, {"a": 2, "b": 3})
    output = method(lab.make_views(method), lab.context())
    assert set(output.losses) == {"cross_entropy_a", "cross_entropy_b"}
    assert set(output.metrics) == {"accuracy_a", "accuracy_b"}
