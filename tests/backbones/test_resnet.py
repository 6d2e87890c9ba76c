import math

import pytest
import torch
from torch.nn import functional as F

from fullrank.backbones.resnet import BLOCKS, STAGES, ResNet, fold_time, to_channels_last, unfold_time
from fullrank.batch_norm import replace_batch_norm
from fullrank.errors import SettingError, ShapeError


def naive_conv(x, weight, stride):
    """Convolution of every frame as a picture, summed over the taps of the temporal kernel."""
    weight = weight if weight.ndim == 5 else weight[:, :, None]
    taps, pad = weight.shape[2], weight.shape[-1] // 2
    shifted = F.pad(x, (0, 0, 0, 0, taps // 2, taps // 2))
    frames = [
        sum(F.conv2d(shifted[:, :, t + k], weight[:, :, k], stride=stride, padding=pad) for k in range(taps))
        for t in range(x.shape[2])
    ]
    return torch.stack(frames, dim=2)


def naive_norm(x, state, name):
    mean, var = x.mean((0, 2, 3, 4), keepdim=True), x.var((0, 2, 3, 4), correction=0, keepdim=True)
    shape = (1, -1, 1, 1, 1)
    return (x - mean) / torch.sqrt(var + 1e-5) * state[name + ".weight"].view(shape) + state[name + ".bias"].view(shape)


def naive_resnet(state, pixels, depth, stem):
    """The papers' network in train mode, from its state dict alone, over [batch, channels, time, height, width]."""

    def layer(x, conv, norm, stride=1):
        return naive_norm(naive_conv(x, state[conv + ".weight"], stride), state, norm)

    x = F.relu(layer(pixels, "conv1", "bn1", 2 if stem == "imagenet" else 1))
    if stem == "imagenet":
        x = torch.stack([F.max_pool2d(frame, 3, 2, 1) for frame in x.unbind(2)], dim=2)
    for i, count in enumerate(BLOCKS[depth]):
        for j in range(count):
            name, stride = f"layer{i + 1}.{j}.", 2 if i > 0 and j == 0 else 1
            convs = 3 if depth == 50 else 2
            y = x
            for k in range(1, convs + 1):
                here = stride if k == (2 if depth == 50 else 1) else 1
                y = layer(y, f"{name}conv{k}", f"{name}bn{k}", here)
                y = F.relu(y) if k < convs else y
            shortcut = (
                layer(x, name + "downsample.0", name + "downsample.1", stride) if name + "downsample.0.weight" in state else x
            )
            x = F.relu(y + shortcut)
    return x.mean((2, 3, 4))


def small(depth=18, temporal="2d", stem="imagenet", **settings):
    torch.manual_seed(0)
    return ResNet(depth, 1 / 16, stem, temporal, **settings).double()


@pytest.mark.parametrize(
    ("depth", "temporal", "count"),
    [
        (18, "2d", 11_689_512 - 513_000),
        (34, "2d", 21_797_672 - 513_000),
        (50, "2d", 25_557_032 - 2_049_000),
        (50, "slow", 31_634_496),
        (18, "2d3d", 14_057_536),
        (34, "2d3d", 32_422_208),
    ],
)
def test_parameter_counts_are_the_published_ones(depth, temporal, count):
    net = ResNet(depth, temporal=temporal)
    assert sum(parameter.numel() for parameter in net.parameters()) == count
    assert net.embed_dim == (2048 if depth == 50 else 512) // (2 if temporal == "2d3d" else 1)


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize(("temporal", "time"), [("2d", 1), ("2d", 3), ("slow", 1), ("slow", 3)])
def test_equals_the_naive_network(depth, temporal, time):
    net = small(depth, temporal)
    pixels = torch.randn(2, 3, time, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(net(pixels), naive_resnet(net.state_dict(), pixels, depth, "imagenet"), rtol=1e-9, atol=1e-9)


def naive_2d3d(net, pixels):
    """DPC's network in train mode, from its convolutions' weights alone: strides by stage, 3x3x3 in the last two."""
    state = net.state_dict()

    def layer(x, conv, norm, stride):
        weight = state[conv + ".weight"]
        x = F.conv3d(x, weight, stride=stride, padding=tuple(size // 2 for size in weight.shape[2:]))
        return naive_norm(x, state, norm)

    x = F.relu(layer(pixels, "conv1", "bn1", (1, 2, 2)))
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for i, (name, stage) in enumerate((name, getattr(net, name)) for name in STAGES):
        for j in range(len(stage)):
            block, stride = f"{name}.{j}.", (1, (1, 2, 2), 2, 2)[i] if j == 0 else 1
            convs = 3 if block + "conv3.weight" in state else 2
            y = x
            for k in range(1, convs + 1):
                y = layer(y, f"{block}conv{k}", f"{block}bn{k}", stride if k == convs - 1 else 1)
                y = F.relu(y) if k < convs else y
            if block + "downsample.0.weight" in state:
                x = layer(x, block + "downsample.0", block + "downsample.1", stride)
            x = x + y if i == 3 and j == len(stage) - 1 else F.relu(x + y)
    return x


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize(("time", "left"), [(1, 1), (5, 2), (8, 2)])
def test_2d3d_is_dpcs_network_and_halves_time_twice(depth, time, left):
    net = small(depth, "2d3d")
    pixels = torch.randn(2, 3, time, 64, 64, dtype=torch.float64)
    maps = net.maps(pixels)
    assert [m.shape[2] for m in maps.values()] == [time, time, (time + 1) // 2, left]
    assert [m.shape[1] for m in maps.values()] == [4 * w * (4 if depth == 50 else 1) for w in (1, 2, 4, 4)]
    kernels = [
        [tuple(w.shape[2:]) for w in stage.parameters() if w.ndim == 5 and w.shape[-1] == 3]
        for stage in (net.layer2, net.layer3)
    ]
    assert [set(stage) for stage in kernels] == [{(1, 3, 3)}, {(3, 3, 3)}]
    want = naive_2d3d(net, pixels)
    torch.testing.assert_close(maps["layer4"], want, rtol=1e-9, atol=1e-9)
    assert maps["layer4"].min() < 0
    torch.testing.assert_close(net(pixels), want.mean((2, 3, 4)), rtol=1e-9, atol=1e-9)


def test_cifar_stem_keeps_the_size():
    net = small(stem="cifar")
    pixels = torch.randn(2, 3, 1, 8, 8, dtype=torch.float64)
    assert net.maps(pixels)["layer1"].shape == (2, 4, 1, 8, 8)
    torch.testing.assert_close(net(pixels), naive_resnet(net.state_dict(), pixels, 18, "cifar"), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("temporal", "time"), [("2d", 1), ("2d", 3), ("slow", 3), ("2d3d", 3)])
def test_channels_last_computes_the_same_function(temporal, time):
    plain, last = small(temporal=temporal), to_channels_last(small(temporal=temporal))
    pixels = torch.randn(2, 3, time, 32, 32, dtype=torch.float64)
    for net in (plain, last):
        net(pixels).square().sum().backward()
    torch.testing.assert_close(last(pixels), plain(pixels), rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(last.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("temporal", ["2d", "slow"])
def test_channels_last_in_bf16_holds_through_the_whole_network(temporal):
    net, seen = to_channels_last(ResNet(18, 1 / 8, temporal=temporal)), []
    for name, part in net.named_modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _, __, out, name=name: seen.append((name, out)))
    net.conv1.register_forward_pre_hook(lambda _, args: seen.append(("pixels", args[0].bfloat16())))
    with torch.autocast("cpu", torch.bfloat16):
        h = net(torch.randn(2, 3, 2, 64, 64))
    layout = torch.channels_last if temporal == "2d" else torch.channels_last_3d
    assert not [name for name, out in seen if out.dtype != torch.bfloat16 or not out.is_contiguous(memory_format=layout)]
    assert h.dtype == torch.float32
    assert h.is_contiguous()


def test_channels_last_weights_survive_a_state_dict():
    net = to_channels_last(small())
    net.load_state_dict(small().state_dict())
    assert net.conv1.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("temporal", ["2d", "slow"])
def test_maps_are_the_stages_and_average_to_the_representation(temporal):
    net, pixels = small(temporal=temporal).eval(), torch.randn(2, 3, 3, 64, 64, dtype=torch.float64)
    maps = net.maps(pixels)
    assert tuple(maps) == STAGES
    assert [list(maps[s].shape) for s in STAGES] == [[2, 4, 3, 16, 16], [2, 8, 3, 8, 8], [2, 16, 3, 4, 4], [2, 32, 3, 2, 2]]
    torch.testing.assert_close(maps["layer4"].mean((2, 3, 4)), net(pixels))


def test_2d_sees_no_order_of_frames_and_slow_does():
    pixels = torch.randn(2, 3, 4, 32, 32, dtype=torch.float64)
    flat, slow = small().eval(), small(temporal="slow").eval()
    torch.testing.assert_close(flat(pixels.flip(2)), flat(pixels))
    assert (slow(pixels.flip(2)) - slow(pixels)).abs().max() > 1e-3


def test_2d_on_images_uses_no_five_dimensional_operation():
    net = small()
    shapes = []
    for part in net.modules():
        if part is not net:
            part.register_forward_pre_hook(lambda _, args: shapes.append(args[0].ndim))
    net(torch.randn(2, 3, 1, 32, 32, dtype=torch.float64))
    assert set(shapes) == {4}


def test_fold_time_puts_time_first_and_shares_memory_for_one_frame():
    pixels = torch.randn(2, 3, 4, 5, 6)
    folded = fold_time(pixels)
    assert torch.equal(folded[1], pixels[1, :, 0])
    assert torch.equal(folded[2], pixels[0, :, 1])
    assert torch.equal(unfold_time(folded, 4), pixels)
    assert fold_time(pixels[:, :, :1]).data_ptr() == pixels.data_ptr()


@pytest.mark.parametrize("temporal", ["2d", "slow"])
def test_grouped_batch_norm_sees_groups_of_records_whatever_the_number_of_frames(temporal):
    net = replace_batch_norm(small(temporal=temporal), 2)
    pixels = torch.randn(4, 3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(net(pixels), torch.cat([net(pixels[:2]), net(pixels[2:])]), rtol=1e-9, atol=1e-9)


def test_initialisation_is_kaiming_and_zero_init_makes_every_block_its_shortcut():
    torch.manual_seed(0)
    net = ResNet(18, 0.5, temporal="slow")
    weight = net.layer3[0].conv1.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (128 * 27)), rel=0.02)
    assert net.layer1[0].bn2.weight.min() == 1
    zero = small(depth=50, zero_init_residual=True)
    assert all(block.bn3.weight.abs().max() == 0 for stage in STAGES for block in getattr(zero, stage))
    assert zero.layer1[0].bn1.weight.min() == 1


@pytest.mark.usefixtures("wrong_shapes")
@pytest.mark.parametrize(("shape"), [(2, 3, 32, 32), (2, 1, 1, 32, 32)])
def test_pixels_of_other_axes_are_an_error(shape):
    with pytest.raises(ShapeError, match=r"must be \[batch, 3, time, height, width\]"):
        small()(torch.randn(shape))


@pytest.mark.parametrize("settings", [{"depth": 101}, {"stem": "cifar10"}, {"temporal": "3d"}, {"width": 0.001}])
def test_impossible_settings_are_an_error(settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        ResNet(**settings)


def test_other_input_channels():
    assert small(in_channels=2)(torch.randn(1, 2, 1, 64, 64, dtype=torch.float64)).shape == (1, 32)
