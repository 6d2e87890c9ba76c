"""What is special to Jigsaw, PIRL, MAE, DPC and the triplet network."""

import pytest
import torch

from fullrank.backbones.build import backbone_factory
from fullrank.config import BackboneConfig
from fullrank.errors import SettingError, ShapeError
from fullrank.methods.dpc import DPC
from fullrank.methods.jigsaw import Jigsaw
from fullrank.methods.mae import MAE
from fullrank.methods.pirl import PIRL
from fullrank.methods.triplet import Triplet
from fullrank.testing.lab import BATCH, Subject, context


def test_jigsaw_learns_the_order_of_one_batch():
    subject = Subject(Jigsaw)
    method, views = subject.build(), subject.views()
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    for _ in range(30):
        output = method(views, context())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert float(output.metrics["accuracy"]) == 1.0


def test_jigsaw_tiles_do_not_tell_their_brightness():
    subject = Subject(Jigsaw)
    method, views = subject.build().eval(), subject.views()
    brighter = {"tiles": views.pixels["tiles"] * 1.5 + torch.arange(4.0).view(1, 4, 1, 1, 1, 1)}
    value = method(views, context()).loss
    views.pixels = brighter
    torch.testing.assert_close(method(views, context()).loss, value, atol=1e-3, rtol=1e-3)


def test_pirl_moves_the_vectors_of_the_batch_and_no_others():
    subject = Subject(PIRL)
    method, views = subject.build(), subject.views()
    before = method.bank.vectors.clone()
    output = method(views, context())
    method.after_step([output], context())
    changed = (method.bank.vectors != before).any(1).nonzero()[:, 0]
    assert sorted(changed.tolist()) == sorted(views.index.tolist())
    new = torch.nn.functional.normalize(output.carry["embedding"], dim=1)
    wanted = torch.nn.functional.normalize(0.5 * before[views.index] + 0.5 * new, dim=1)
    torch.testing.assert_close(method.bank.vectors[views.index], wanted)


def test_pirl_with_rotation_needs_no_tiles():
    subject = Subject(
        PIRL, Subject(PIRL).settings.model_copy(update={"method": PIRL.Config(transform="rotation", num_negatives=8)})
    )
    assert subject.plan.groups[1].tiles is None
    assert subject.plan.groups[1].augmentation.rotate_prob == (1.0,)


def test_mae_sees_nothing_of_what_is_hidden():
    subject = Subject(MAE)
    method, views = subject.build().eval(), subject.views()
    pixels, hidden = views.group("view"), views.masks["view"][:, 0]
    frames, side = method.patch[0], method.patch[1]
    grid = method.backbone.grid(pixels[:, 0])
    over = hidden.view(BATCH, *grid).repeat_interleave(frames, 1).repeat_interleave(side, 2).repeat_interleave(side, 3)
    h = method(views, context()).features["representation"]
    views.pixels = {"view": torch.where(over[:, None, None], torch.randn_like(pixels), pixels)}
    torch.testing.assert_close(method(views, context()).features["representation"], h)
    views.pixels = {"view": torch.where(~over[:, None, None], torch.randn_like(pixels), pixels)}
    assert not torch.allclose(method(views, context()).features["representation"], h)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (BackboneConfig(depth=18, width=0.125), "must be a transformer"),
        (BackboneConfig(name="vit", size="micro", patch_pixels=8, image_pixels=16), "patches of MAE must be the backbone's"),
    ],
)
def test_mae_says_what_backbone_it_needs(backbone, message):
    with pytest.raises(SettingError, match=message):
        MAE(Subject(MAE).settings.method, backbone_factory(backbone), 4)


def test_dpc_predicts_from_the_past_alone():
    subject = Subject(DPC)
    method, views = subject.build().eval(), subject.views()
    guess = method(views, context()).features["prediction"]
    future = views.pixels["blocks"].clone()
    future[:, -method.cfg.predicted_blocks :] += 1.0
    views.pixels = {"blocks": future}
    torch.testing.assert_close(method(views, context()).features["prediction"], guess)


def test_dpc_refuses_clips_and_settings_that_do_not_fit():
    method = Subject(DPC).build().eval()
    with pytest.raises(ShapeError, match="multiple of 2. Got 3"):
        method.encode(torch.zeros(1, 3, 3, 32, 32))
    with pytest.raises(SettingError, match="must be less than num_blocks, 2. Got 2"):
        DPC.check(DPC.Config(num_blocks=2, predicted_blocks=2), batch_size=8, world=1)


def test_triplet_says_how_many_triplets_are_left():
    subject = Subject(Triplet)
    output = subject.build(margin=100.0)(subject.views(), context())
    assert float(output.metrics["active"]) == 1.0
