"""VICReg: collapse value and weights."""

import pytest
import torch

from fullrank.backbones.build import backbone_factory
from fullrank.config import Augmentation, BackboneConfig
from fullrank.errors import SettingError
from fullrank.methods.vicreg import VICReg
from fullrank.objectives.decorrelation import vicreg_across
from fullrank.testing.lab import context, part, processes
from fullrank.types import Views
from fullrank.views.streams import to_stream

NETWORK = BackboneConfig(depth=18, width=0.125, stem="cifar", temporal="slow")


def test_constant_encoder_gives_the_documented_terms(lab):
    method = lab.build("vicreg", network=lab.Constant)
    losses = method(lab.make_views(method), lab.context()).losses
    assert float(losses["invariance"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(losses["variance"].detach()) == pytest.approx(25.0 * 0.99, abs=1e-4)
    assert float(losses["covariance"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_weights_scale_their_terms(lab):
    views = lab.make_views(lab.build("vicreg"))
    usual = lab.build("vicreg")(views, lab.context()).losses
    changed = lab.build("vicreg", variance_weight=0.0, invariance_weight=5.0, covariance_weight=2.0)(
        views, lab.context()
    ).losses
    assert float(changed["variance"].detach()) == 0.0
    torch.testing.assert_close(changed["invariance"] * 5, usual["invariance"])
    torch.testing.assert_close(changed["covariance"] / 2, usual["covariance"])


def test_without_the_variance_term_training_collapses_the_embedding(lab):
    """The paper's table 7, in a second: mu = 0 shrinks the embedding, mu = 25 keeps it spread."""
    spread = {}
    for weight in (0.0, 25.0):
        method = lab.build("vicreg", variance_weight=weight)
        optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
        for step in range(40):
            output = method(lab.make_views(method, batch=16, seed=step), lab.context())
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
        spread[weight] = float(output.features["embedding"].flatten(0, 1).std(0).mean())
    assert spread[0.0] < 0.05
    assert spread[25.0] > 0.15


def test_the_promised_values_are_those_of_a_constant_encoder(lab):
    method = lab.build("vicreg", network=lab.Constant, variance_weight=10.0, target_std=2.0)
    losses = method(lab.make_views(method), lab.context()).losses
    assert {name: pytest.approx(float(value.detach()), abs=1e-4) for name, value in losses.items()} == method.at_collapse(8)


def test_the_covariance_term_without_its_division_is_as_many_times_larger(lab):
    views = lab.make_views(lab.build("vicreg"))
    divided = lab.build("vicreg")(views, lab.context()).losses
    bare = lab.build("vicreg", covariance_divided=False)(views, lab.context()).losses
    torch.testing.assert_close(bare["covariance"], 16 * divided["covariance"])
    torch.testing.assert_close(bare["variance"], divided["variance"])


def two(rho=1, streams=("rgb", "difference"), separate=True, roles=None, **settings):
    """Two branches, and random views for them: "view" for the first, "second" for the second."""
    torch.manual_seed(0)
    settings = VICReg.Config(
        rho=rho,
        projector=(16, 8),
        streams=streams,
        separate_backbones=separate,
        augmentation=Augmentation(size_pixels=16),
        **settings,
    )
    method = VICReg(settings, backbone_factory(NETWORK, roles=roles or {}), 40)
    rgb = torch.randn(2, 8, rho, 3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    pixels = {name: to_stream(x, stream) for name, x, stream in zip(("view", "second"), rgb, streams, strict=True)}
    return method, Views(pixels=pixels, index=torch.arange(8))


@pytest.mark.parametrize("rho", [1, 2, 3])
def test_two_branches_pull_one_view_of_each_together(rho):
    method, views = two(rho)
    plan = VICReg.views(method.cfg)
    assert [(group.name, group.stream, group.views_per_clip) for group in plan.groups] == [
        ("view", "rgb", 1),
        ("second", "difference", 1),
    ]
    assert plan.num_clips == rho
    output = method(views, context())
    pairs = [(0, 0)] if rho == 1 else [(i, j) for i in range(rho) for j in range(rho) if i != j]
    terms = vicreg_across(output.features["embedding"], output.features["second_embedding"], pairs)
    for name, weight in (("invariance", 25.0), ("variance", 25.0), ("covariance", 1.0)):
        torch.testing.assert_close(output.losses[name].detach(), weight * getattr(terms, name))


def test_separate_backbones_are_two_networks_that_both_learn():
    method, views = two(roles={"second": NETWORK.model_copy(update={"width": 0.25})})
    assert (method.backbone.embed_dim, method.second.embed_dim) == (64, 128)
    method(views, context()).loss.backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in method.parameters())


@pytest.mark.parametrize(("stream", "channels"), [("gray", 1), ("difference", 3), ("flow", 2)])
def test_the_second_backbone_takes_the_channels_of_its_stream(stream, channels):
    method = VICReg(
        VICReg.Config(projector=(8, 8), separate_backbones=True, streams=("rgb", stream)), backbone_factory(NETWORK), 4
    )
    first = next(p for p in method.second.parameters() if p.ndim > 2)
    assert first.shape[1] == channels


def test_encode_shows_each_branch_its_stream():
    method, _ = two()
    method.eval()
    pixels = torch.randn(4, 3, 3, 16, 16)
    torch.testing.assert_close(method.encode(pixels), method.backbone(pixels))
    h = method.encode(pixels, "second")
    torch.testing.assert_close(h, method.second(to_stream(pixels, "difference")))
    torch.testing.assert_close(method.embed(h, "second"), method.second_projector(h))
    shared, _ = two(separate=False)
    shared.eval()
    torch.testing.assert_close(shared.encode(pixels, "second"), shared.backbone(to_stream(pixels, "difference")))


def test_one_network_cannot_see_streams_of_different_channels():
    with pytest.raises(SettingError, match="Got 3 and 1 for rgb and gray; set separate_backbones"):
        VICReg.Config(streams=("rgb", "gray"))


def test_a_single_stream_reaches_the_plan():
    plan = VICReg.views(VICReg.Config(streams=("difference", "difference")))
    assert [(group.name, group.stream, group.views_per_clip) for group in plan.groups] == [("view", "difference", 2)]


def test_two_branches_of_two_processes_give_the_terms_of_one():
    method, views = two(rho=2)
    method.double().eval()
    views.pixels = {name: pixels.double() for name, pixels in views.pixels.items()}
    alone = method(views, context()).losses
    halves = processes(2, lambda rank, ctx: method(part(views, slice(4 * rank, 4 * rank + 4)), ctx))
    for name, value in alone.items():
        torch.testing.assert_close(sum(half.losses[name] for half in halves) / 2, value)
