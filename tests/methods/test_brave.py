"""BraVe: two networks, two directions, streams, and what keeps the constant away."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fullrank.errors import SettingError, ShapeError
from fullrank.methods.brave import BraVe
from fullrank.types import Views
from fullrank.views.streams import to_stream

SMALL = {"projector": (16, 8), "predictor_hidden": 16, "narrow_frames": 3, "broad_frames": 3, "broad_stride": 2}


class Net(nn.Module):
    """A convolution that keeps time in mind, of its own width and channels."""

    def __init__(self, embed_dim, channels):
        super().__init__()
        self.embed_dim = embed_dim
        self.convolution = nn.Conv3d(channels, embed_dim, (2, 3, 3), padding=(1, 0, 0))

    def forward(self, pixels):
        return self.convolution(pixels).relu().mean((2, 3, 4))


def build(**settings):
    torch.manual_seed(0)
    roles = {"narrow": 12, "broad": 10}
    return BraVe(BraVe.Config(**(SMALL | settings)), lambda role, in_channels=3: Net(roles[role], in_channels), 40)


def make_views(method, batch=8, seed=0):
    random = torch.Generator().manual_seed(seed)
    clips = method.cfg.rho
    broad = to_stream(torch.randn(batch, clips, 3, 3, 6, 6, generator=random), method.cfg.broad_stream)
    narrow = torch.randn(batch, clips, 3, 3, 8, 8, generator=random)
    return Views(pixels={"narrow": narrow, "broad": broad}, index=torch.arange(batch))


@pytest.mark.parametrize("stream", ["rgb", "gray", "difference"])
def test_each_side_predicts_the_other_without_gradient_to_it(lab, stream):
    method = build(broad_stream=stream)
    views = make_views(method)
    z = method.projector(method.backbone(views.pixels["narrow"][:, 0]))
    z_broad = method.broad_projector(method.broad_backbone(views.pixels["broad"][:, 0]))
    p, p_broad = method.predictor(z), method.broad_predictor(z_broad)
    losses = method(views, lab.context()).losses
    there = (F.normalize(p, dim=1) - F.normalize(z_broad, dim=1)).square().sum(1).mean()
    back = (F.normalize(p_broad, dim=1) - F.normalize(z, dim=1)).square().sum(1).mean()
    torch.testing.assert_close(losses["narrow_to_broad"], there, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(losses["broad_to_narrow"], back, atol=1e-5, rtol=1e-5)
    losses["narrow_to_broad"].backward()
    assert method.backbone.convolution.weight.grad is not None
    assert method.broad_backbone.convolution.weight.grad is None


def test_without_stop_gradient_both_sides_move(lab):
    method = build(stop_gradient=False)
    method(make_views(method), lab.context()).losses["narrow_to_broad"].backward()
    assert method.broad_backbone.convolution.weight.grad is not None


def test_with_several_clips_every_narrow_view_meets_every_broad_one(lab):
    method = build(rho=2).eval()
    views = make_views(method)
    p = [method.predictor(method.projector(method.backbone(x))) for x in views.pixels["narrow"].unbind(1)]
    z = [method.broad_projector(method.broad_backbone(x)) for x in views.pixels["broad"].unbind(1)]
    expected = torch.stack([2 - 2 * F.cosine_similarity(a, b, dim=1).mean() for a in p for b in z]).mean()
    torch.testing.assert_close(method(views, lab.context()).losses["narrow_to_broad"], expected, atol=1e-5, rtol=1e-5)


def test_the_plan_spans_the_broad_view():
    plan = BraVe.views(BraVe.Config(**SMALL, broad_stream="flow"))
    narrow, broad = plan.groups
    assert (narrow.name, narrow.num_frames, narrow.strides, narrow.stream) == ("narrow", 3, (1,), "rgb")
    assert (broad.name, broad.num_frames, broad.strides, broad.stream) == ("broad", 3, (2,), "flow")
    assert plan.num_frames == 5


@pytest.mark.parametrize(("stream", "channels"), [("rgb", 3), ("gray", 1), ("difference", 3), ("flow", 2)])
def test_the_broad_network_takes_the_channels_of_its_stream(stream, channels):
    assert build(broad_stream=stream).broad_backbone.convolution.in_channels == channels


def test_encode_gives_each_branch_its_frames_and_its_stream():
    method = build(broad_stream="gray", narrow_stride=3).eval()
    clip = torch.randn(2, 3, 5, 8, 8)
    torch.testing.assert_close(method.encode(clip), method.backbone(clip[:, :, [0, 3]]))
    torch.testing.assert_close(method.encode(clip, "broad"), method.broad_backbone(to_stream(clip[:, :, ::2], "gray")))
    assert method.embed(method.encode(clip, "broad"), "broad").shape == (2, 8)
    assert method.embed(method.encode(clip)).shape == (2, 8)


def test_a_flow_branch_says_that_it_cannot_see_pixels():
    method = build(broad_stream="flow").eval()
    with pytest.raises(SettingError, match="sees optical flow, and encode gets pixels. Take branch 'narrow'"):
        method.encode(torch.zeros(2, 3, 5, 8, 8), "broad")
    with pytest.raises(ShapeError, match="at least 2 frames"):
        build(broad_stream="difference").encode(torch.zeros(2, 3, 1, 8, 8), "broad")


def test_heads_can_lose_their_predictors_and_batch_norms():
    bare = build(predictor=False, batch_norm=False)
    assert isinstance(bare.predictor, nn.Identity)
    assert not any(isinstance(m, nn.BatchNorm1d) for m in bare.modules())
    assert sum(isinstance(m, nn.BatchNorm1d) for m in build().modules()) == 6


def test_without_predictors_stop_gradient_and_batch_norm_the_minimum_is_reached_by_a_constant(lab):
    """The documented 0, within a second."""
    method = build(predictor=False, stop_gradient=False, batch_norm=False)
    optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
    for step in range(80):
        output = method(make_views(method, batch=16, seed=step), lab.context())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert method.at_collapse(16) == {"narrow_to_broad": 0.0, "broad_to_narrow": 0.0}
    assert float(output.loss.detach()) == pytest.approx(0.0, abs=0.02)
    unit = F.normalize(output.features["embedding"][:, 0], dim=1)
    assert float((unit @ unit.T).mean()) > 0.99
