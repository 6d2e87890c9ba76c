import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.backbones.build import load_weights
from fullrank.backbones.positions import sincos_flat
from fullrank.backbones.resnet import to_channels_last
from fullrank.backbones.transformer import Block
from fullrank.backbones.vit import ViT
from fullrank.errors import SettingError, ShapeError

TOLERANCE = 1e-4


def small(**settings):
    torch.manual_seed(0)
    net = ViT("micro", **({"layers": 2, "patch_pixels": 4, "image_pixels": 12, "max_frames": 4} | settings)).double().eval()
    for parameter in net.parameters():  # away from the zeros and ones of the start, which would hide mistakes
        parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def naive_attention(x, state, name, heads):
    """One token, one head at a time."""
    width = x.shape[-1] // heads
    q, k, v = (x @ state[name + "qkv.weight"].T + state[name + "qkv.bias"]).chunk(3, dim=-1)
    out = torch.zeros_like(x)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for i in range(len(x)):
            weights = torch.softmax(k[:, part] @ q[i, part] / math.sqrt(width), dim=0)
            out[i, part] = weights @ v[:, part]
    return out @ state[name + "proj.weight"].T + state[name + "proj.bias"]


def naive_norm(x, state, name):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-6) * state[name + ".weight"] + state[name + ".bias"]


def naive_vit(state, clip, patch, heads, layers, hidden=None):
    """The papers' network on one clip [channels, time, height, width], from its state dict alone."""
    frames, side, _ = patch
    t, h, w = clip.shape[1] // frames, clip.shape[2] // side, clip.shape[3] // side
    weight = state["patch_embed.proj.weight"].flatten(1)
    rows = []
    for i in range(t):
        for y in range(h):
            for x in range(w):
                cut = clip[:, i * frames : (i + 1) * frames, y * side : (y + 1) * side, x * side : (x + 1) * side]
                rows.append(weight @ cut.flatten() + state["patch_embed.proj.bias"])
    first = int("cls_token" in state)
    x = torch.stack(rows) + state["pos_embed"][0, first:]
    if hidden is not None:
        x = x[~hidden]
    if first:
        x = torch.cat([state["cls_token"][0] + state["pos_embed"][0, :1], x])
    for i in range(layers):
        name = f"blocks.{i}."
        x = x + naive_attention(naive_norm(x, state, name + "norm1"), state, name + "attn.", heads)
        y = naive_norm(x, state, name + "norm2") @ state[name + "mlp.fc1.weight"].T + state[name + "mlp.fc1.bias"]
        y = y * 0.5 * (1 + torch.erf(y / math.sqrt(2)))
        x = x + y @ state[name + "mlp.fc2.weight"].T + state[name + "mlp.fc2.bias"]
    return naive_norm(x, state, "norm")


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_equals_the_naive_network(frames, class_token, masked):
    net = small(patch_frames=frames, class_token=class_token)
    clips = randn(2, 3, 1 if frames == 1 else 4, 12, 12)
    tokens = math.prod(net.grid(clips))
    hidden = torch.stack([torch.arange(tokens) % 3 == row for row in range(2)]) if masked else None
    state = net.state_dict()
    want = torch.stack(
        [naive_vit(state, clip, net.patch, 2, 2, None if hidden is None else hidden[i]) for i, clip in enumerate(clips)]
    )
    torch.testing.assert_close(net.tokens(clips, hidden), want, rtol=1e-9, atol=1e-9)
    if not masked:
        torch.testing.assert_close(net(clips), want[:, 0] if class_token else want.mean(1), rtol=1e-9, atol=1e-9)


def test_with_patches_of_one_frame_frames_go_apart_and_are_averaged():
    net, clips = small(), randn(2, 3, 3, 12, 12)
    apart = torch.stack([net(clips[:, :, t : t + 1]) for t in range(3)])
    torch.testing.assert_close(net(clips), apart.mean(0))
    tokens = torch.stack([net.tokens(clips[:, :, t : t + 1]) for t in range(3)], dim=1)
    want = torch.cat([tokens[:, :, :1].mean(1), tokens[:, :, 1:].flatten(1, 2)], dim=1)
    torch.testing.assert_close(net.tokens(clips), want)
    hidden = torch.zeros(2, 3, 9, dtype=torch.bool)
    hidden[0, 0, 4], hidden[0, 1, 5], hidden[0, 2, 6], hidden[1, :, 0] = True, True, True, True
    part = torch.stack([net.tokens(clips[:, :, t : t + 1], hidden[:, t]) for t in range(3)], dim=1)
    want = torch.cat([part[:, :, :1].mean(1), part[:, :, 1:].flatten(1, 2)], dim=1)
    torch.testing.assert_close(net.tokens(clips, hidden.flatten(1)), want)


def test_tubelets_see_the_order_of_frames():
    net, clips = small(patch_frames=2), randn(2, 3, 4, 12, 12)
    assert (net(clips.flip(2)) - net(clips)).abs().max() > 1e-3


@pytest.mark.parametrize(("frames", "time"), [(1, 1), (1, 3), (2, 4)])
def test_maps_are_the_patch_tokens_of_every_block(frames, time):
    net, clips = small(patch_frames=frames), randn(2, 3, time, 12, 12)
    maps = net.maps(clips)
    assert list(maps) == ["blocks.0", "blocks.1", "norm"]
    assert {tuple(m.shape) for m in maps.values()} == {(2, 64, time // frames, 3, 3)}
    torch.testing.assert_close(maps["norm"].flatten(2).transpose(1, 2), net.tokens(clips)[:, 1:])
    torch.testing.assert_close(net.norm(maps["blocks.1"].movedim(1, -1)).movedim(-1, 1), maps["norm"])
    assert (maps["blocks.0"] - maps["blocks.1"]).abs().max() > 1e-3


def test_mean_pooling_can_be_chosen_beside_a_class_token():
    net, clips = small(pooling="mean"), randn(2, 3, 2, 12, 12)
    torch.testing.assert_close(net(clips), net.tokens(clips)[:, 1:].mean(1))


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"size": "tiny"}, 5_717_416 - 193_000),
        ({"size": "small"}, 22_050_664 - 385_000),
        ({"size": "base"}, 86_567_656 - 769_000),
        ({"size": "large"}, 304_326_632 - 1_025_000),
    ],
)
def test_parameter_counts_are_the_published_ones(settings, count):
    with torch.device("meta"):
        net = ViT(**settings)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_fixed_positions_are_no_parameters_but_in_the_state():
    net = small(positions="sincos", class_token=True, image_pixels=8)
    assert "pos_embed" not in dict(net.named_parameters())
    assert net.state_dict()["pos_embed"].shape == (1, 5, 64)
    assert net.pos_embed[:, 0].abs().max() == 0


def test_channels_last_computes_the_same_function_and_gradient():
    plain, last = small(patch_frames=2), to_channels_last(small(patch_frames=2))
    clips = randn(2, 3, 4, 12, 12)
    for net in (plain, last):
        net(clips).square().sum().backward()
    torch.testing.assert_close(last(clips), plain(clips))
    for ours, theirs in zip(last.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_under_autocast_it_gives_float32_near_the_wide_one():
    net = small(image_pixels=8).float()
    clips = randn(2, 3, 1, 12, 8).float()
    with torch.autocast("cpu", torch.bfloat16):
        h = net(clips)
    assert h.dtype == torch.float32
    assert h.is_contiguous()
    torch.testing.assert_close(h, net(clips), rtol=0.05, atol=0.05)


def test_stochastic_depth_skips_records_in_train_mode_only():
    net = small(drop_path=0.8, layers=3)
    clips = randn(1, 3, 1, 12, 12).expand(64, -1, -1, -1, -1)
    assert net(clips).std(0).max() < 1e-12
    assert [block.drop_path.prob for block in net.blocks] == pytest.approx([0.0, 0.4, 0.8])
    torch.manual_seed(0)
    assert len(net.train()(clips).round(decimals=8).unique(dim=0)) > 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"patch_pixels": 5}, "image_pixels of a transformer must be a multiple of patch_pixels, 5. Got 12; 10 is near"),
        ({"patch_frames": 3}, "max_frames of the ViT must be a multiple of patch_frames, 3. Got 4"),
        ({"heads": 5}, "heads of a transformer must divide its width, 64. Got 5; leave it out for 2"),
        ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\). Got 1.0"),
        ({"positions": "rope"}, "positions of the ViT must be one of"),
        ({"class_token": False, "pooling": "class"}, "pooling of the ViT must be mean"),
    ],
)
def test_impossible_settings_are_a_sentence(settings, sentence):
    with pytest.raises(SettingError, match=sentence):
        small(**settings)


def test_an_unknown_size_is_a_sentence():
    with pytest.raises(SettingError, match="must be one of micro, tiny, small, base, large, huge. Got 'gigantic'"):
        ViT("gigantic")


@pytest.mark.usefixtures("wrong_shapes")
@pytest.mark.parametrize(
    ("settings", "shape", "sentence"),
    [
        ({}, (2, 3, 12, 12), r"must be \[batch, 3, time, height, width\]"),
        ({}, (2, 1, 1, 12, 12), r"must be \[batch, 3, time, height, width\]"),
        ({}, (2, 3, 1, 12, 14), "must be multiples of the ViT's patch, 4 pixels. Got 12 x 14"),
        ({"patch_frames": 2}, (2, 3, 3, 12, 12), "must be a multiple of the ViT's patch, 2 frames. Got 3"),
    ],
)
def test_pixels_that_do_not_fit_are_a_sentence(settings, shape, sentence):
    net = small(**settings)
    for use in (net, net.tokens, net.maps, net.grid):
        with pytest.raises(ShapeError, match=sentence):
            use(randn(*shape))


def test_hidden_tokens_that_do_not_fit_are_a_sentence():
    net, clips = small(), randn(2, 3, 1, 12, 12)
    with pytest.raises(ShapeError, match=r"hidden must be bool \[2, 9\], one value for each of the 1 x 3 x 3 patches"):
        net.tokens(clips, torch.zeros(2, 8, dtype=torch.bool))
    unequal = torch.zeros(2, 9, dtype=torch.bool)
    unequal[0, :2] = unequal[1, :3] = True
    with pytest.raises(ShapeError, match="Got 6 to 7 of 9"):
        net.tokens(clips, unequal)
    with pytest.raises(ShapeError, match="at least one"):
        net.tokens(clips, torch.ones(2, 9, dtype=torch.bool))


def test_frames_apart_must_hide_the_same_number_each():
    hidden = torch.zeros(1, 18, dtype=torch.bool)
    hidden[0, :4] = True
    with pytest.raises(ShapeError, match="kind 'tube'"):
        small().tokens(randn(1, 3, 2, 12, 12), hidden)


def test_positions_of_other_sizes_are_interpolated():
    net = small()
    assert net(randn(2, 3, 1, 16, 8)).shape == (2, 64)
    assert net.tokens(randn(2, 3, 1, 16, 8)).shape == (2, 9, 64)
    assert small(patch_frames=2).tokens(randn(1, 3, 2, 8, 16)).shape == (1, 9, 64)


# What the authors' code computes.


def joined_biases(state):
    """VideoMAE keeps the biases of queries and values apart, and keys have none."""
    joined = {}
    for key, value in state.items():
        if key.endswith("q_bias"):
            other = state[key.replace("q_bias", "v_bias")]
            joined[key.replace("q_bias", "qkv.bias")] = torch.cat([value, torch.zeros_like(value), other])
        elif not key.endswith("v_bias"):
            joined[key] = value
    return joined


@torch.no_grad()
def test_videomaes_vit_small(reference):
    mae = reference("videomae_vit_small")
    net = ViT("small", patch_frames=2, max_frames=16, positions="sincos_flat", class_token=False).eval()
    state = joined_biases(mae.state("encoder."))
    load_weights(net, state | {"pos_embed": net.pos_embed}, "fixture")
    clips, seen = mae.input(), []
    net.blocks[-1].register_forward_hook(lambda _, __, out: seen.append(out.mean(1)))
    tokens = net.tokens(clips)
    assert mae.error("representation", tokens.mean(1)) < TOLERANCE
    assert mae.error("mean_before_norm", seen[0]) < TOLERANCE
    assert mae.error("token_0", tokens[:, 0]) < TOLERANCE
    assert mae.error("token_last", tokens[:, -1]) < TOLERANCE

    # its decoder in the test, to see that hidden tokens are hidden as there: every even one
    hidden = (torch.arange(1568) % 2 == 0).expand(2, -1)
    rest = mae.state()
    places = sincos_flat(192, 1568)
    x = net.tokens(clips, hidden) @ rest["encoder_to_decoder.weight"].T + places[:, 1::2]
    x = torch.cat([x, (rest["mask_token"] + places[:, ::2]).expand(2, -1, -1)], dim=1)
    decoder = joined_biases(mae.state("decoder."))
    for i in range(4):
        block = Block(192, 3).eval()
        load_weights(block, {k.removeprefix(f"blocks.{i}."): v for k, v in decoder.items() if f"blocks.{i}." in k}, "fixture")
        x = block(x)
    x = F.layer_norm(x[:, 784:785], (192,), decoder["norm.weight"], decoder["norm.bias"], 1e-6)
    got = (x @ decoder["head.weight"].T + decoder["head.bias"])[:, 0]
    assert mae.error("masked_pixels_first", got) < TOLERANCE
