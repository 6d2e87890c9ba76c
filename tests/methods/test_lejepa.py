"""LeJEPA: global and local views, slices of the step's generator, weights."""

import pytest
import torch
from torch.nn import functional as F

from fullrank.config import Augmentation
from fullrank.methods.lejepa import LeJEPA
from fullrank.objectives.gaussianity import lejepa
from fullrank.testing.lab import Subject, blank, context


def test_local_views_are_predicted_but_no_part_of_the_centre():
    subject = Subject(LeJEPA)
    method, views = subject.build(num_local=2), subject.views()
    views.pixels["local"] = torch.randn(8, 4, 3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    method.eval()
    z = [method.projector(method.backbone(views.pixels[g].flatten(0, 1))).unflatten(0, (8, -1)) for g in ("view", "local")]
    directions = F.normalize(torch.randn(32, 64, generator=torch.Generator().manual_seed(5)), dim=0)
    expected = lejepa(torch.cat(z, dim=1), directions, num_global=2)
    losses = method(views, context()).losses
    torch.testing.assert_close(losses["prediction"], 0.95 * expected.prediction)
    torch.testing.assert_close(losses["sigreg"], 0.05 * expected.sigreg)


def test_plan_has_local_views_only_where_asked():
    plain, multi = (LeJEPA.views(LeJEPA.Config(num_local=n, local_augmentation=Augmentation(size_pixels=32))) for n in (0, 3))
    assert [group.name for group in plain.groups] == ["view"]
    assert [(group.name, group.views_per_clip) for group in multi.groups] == [("view", 2), ("local", 3)]


def test_other_slices_in_another_step_and_none_without_weight():
    subject = Subject(LeJEPA)
    method, views = subject.build().eval(), subject.views()
    values = [
        float(method(views, context(generator=torch.Generator().manual_seed(s))).losses["sigreg"].detach()) for s in (1, 2)
    ]
    assert values[0] != values[1]
    assert values[0] == pytest.approx(values[1], rel=0.3)
    assert float(subject.build(sigreg_weight=0.0)(views, context()).losses["sigreg"].detach()) == 0.0


def test_at_collapse_the_prediction_is_0_and_sigreg_large():
    subject = Subject(LeJEPA)
    method = subject.build().eval()
    losses = method(blank(subject.views()), context()).losses
    assert float(losses["prediction"].detach()) == pytest.approx(method.at_collapse(8)["prediction"], abs=1e-6)
    assert float(losses["sigreg"].detach()) > 0.99 * 0.05 * 0.409 * 8


def test_the_alarm_knows_the_scale_of_a_healthy_embedding():
    subject = Subject(LeJEPA)
    assert subject.settings.method.target_std == 1.0
    assert "target_std" not in subject.settings.method.model_dump()
