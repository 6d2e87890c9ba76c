import pytest
import torch

from fullrank.backbones.timesformer import DividedBlock, TimeSformer
from fullrank.errors import SettingError, ShapeError


def small(**settings):
    torch.manual_seed(0)
    net = TimeSformer("micro", **({"layers": 2, "patch_pixels": 4, "image_pixels": 12, "max_frames": 3} | settings))
    net = net.double().eval()
    for parameter in net.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def naive_block(block, first, x):
    """One clip: class token [d] and patches [time, places, d], one place and one frame at a time."""
    time, places, _ = x.shape
    moved = torch.empty_like(x)
    for p in range(places):
        moved[:, p] = block.temporal_fc(block.temporal_attn(block.temporal_norm1(x[:, p])[None]))[0]
    x = x + moved
    classes, found = [], torch.empty_like(x)
    for t in range(time):
        frame = block.attn(block.norm1(torch.cat([first[None], x[t]]))[None])[0]
        classes.append(frame[0])
        found[t] = frame[1:]
    first, x = first + sum(classes) / time, x + found
    return first + block.mlp(block.norm2(first)), x + block.mlp(block.norm2(x))


@pytest.mark.parametrize("masked", [True, False])
def test_equals_the_naive_network(masked):
    net, clips = small(), randn(2, 3, 3, 12, 12)
    hidden = torch.zeros(2, 3, 9, dtype=torch.bool)
    if masked:
        hidden[0, :, 2:5] = hidden[1, :, ::3] = True
    want = []
    for clip, out in zip(clips, hidden[:, 0], strict=True):
        patches = net.patch_embed(clip[None])[0].unflatten(0, (3, 9)) + net.pos_embed[:, 1:] + net.time_embed[0][:, None]
        first, x = net.cls_token[0, 0] + net.pos_embed[0, 0], patches[:, ~out]
        for block in net.blocks:
            first, x = naive_block(block, first, x)
        want.append(net.norm(torch.cat([first[None], x.flatten(0, 1)])))
    got = net.tokens(clips, hidden.flatten(1) if masked else None)
    torch.testing.assert_close(got, torch.stack(want), rtol=1e-9, atol=1e-9)
    if not masked:
        torch.testing.assert_close(net(clips), got[:, 0])


def test_it_sees_the_order_of_frames_and_maps_are_its_tokens():
    net, clips = small(), randn(2, 3, 3, 12, 12)
    assert (net(clips.flip(2)) - net(clips)).abs().max() > 1e-3
    maps = net.maps(clips)
    assert list(maps) == ["blocks.0", "blocks.1", "norm"]
    assert maps["blocks.0"].shape == (2, 64, 3, 3, 3)
    torch.testing.assert_close(maps["norm"].flatten(2).transpose(1, 2), net.tokens(clips)[:, 1:])


def test_every_parameter_gets_a_gradient_from_the_start():
    torch.manual_seed(0)
    net = TimeSformer("micro", layers=2, patch_pixels=4, image_pixels=12, max_frames=3)
    net(torch.randn(2, 3, 3, 12, 12)).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]


def test_one_frame_and_other_sizes_take_the_nearest_positions():
    net = small(max_frames=2)
    assert net(randn(2, 3, 1, 12, 12)).shape == (2, 64)
    torch.testing.assert_close(net._in_time(4), net.time_embed[:, [0, 0, 1, 1]])
    torch.testing.assert_close(
        net._in_space((1, 6, 3)), net.pos_embed[:, 1:].unflatten(1, (3, 3)).repeat_interleave(2, 1).flatten(1, 2)
    )


def test_stochastic_depth_skips_whole_clips():
    net, clips = small(drop_path=0.9, layers=2), randn(1, 3, 3, 12, 12).expand(32, -1, -1, -1, -1)
    assert net(clips).std(0).max() < 1e-12
    assert len(net.train()(clips).round(decimals=8).unique(dim=0)) > 2
    block, tokens = DividedBlock(64, 2, drop_path=1 - 1e-9), torch.randn(2, 7, 64)
    assert torch.equal(block(tokens, 3), tokens)  # all three branches were skipped


def test_the_base_network_is_a_vit_base_with_an_attention_a_linear_layer_and_a_norm_more_in_each_block():
    with torch.device("meta"):
        net = TimeSformer("base")
    assert (
        sum(p.numel() for p in net.parameters()) == 85_798_656 + 12 * (4 * 768**2 + 4 * 768 + 768**2 + 768 + 2 * 768) + 8 * 768
    )


@pytest.mark.usefixtures("wrong_shapes")
def test_what_does_not_fit_is_a_sentence():
    net, clips = small(), randn(2, 3, 3, 12, 12)
    with pytest.raises(SettingError, match="image_pixels of a transformer must be a multiple"):
        small(patch_pixels=5)
    with pytest.raises(ShapeError, match="multiples of the TimeSformer's patch, 4 pixels"):
        net(randn(2, 3, 3, 10, 12))
    with pytest.raises(ShapeError, match=r"must be \[batch, 3, time, height, width\]"):
        net(randn(2, 3, 12, 12))
    hidden = torch.zeros(2, 27, dtype=torch.bool)
    hidden[:, 0] = True
    with pytest.raises(ShapeError, match="the same places in every frame of a clip.*kind 'tube'"):
        net.tokens(clips, hidden)
    with pytest.raises(ShapeError, match=r"hidden must be bool \[2, 27\]"):
        net.tokens(clips, hidden[:, :9])
