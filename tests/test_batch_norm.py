import pytest
import torch
from torch import nn

from fullrank.batch_norm import GroupedBatchNorm, average_running_statistics, inverse, replace_batch_norm, shuffle_in_blocks
from fullrank.errors import SettingError, ShapeError

SHAPES = [(12, 3), (12, 3, 5), (12, 3, 4, 5), (12, 3, 2, 4, 5)]
KINDS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}


def data(shape):
    torch.manual_seed(1)
    scale = torch.arange(1, shape[0] + 1).view(-1, *(1,) * (len(shape) - 1))
    return (torch.randn(shape) * scale + scale).double().requires_grad_()


def dressed(norm):
    """The norm with a scale and a shift that matter."""
    torch.manual_seed(2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm.double()


def same(a, b, **tolerance):
    torch.testing.assert_close(a, b, **(tolerance or {"rtol": 1e-10, "atol": 1e-10}))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_group_is_plain_batch_norm(shape, momentum):
    plain = dressed(KINDS[len(shape)](3, momentum=momentum))
    grouped = dressed(GroupedBatchNorm(3, 12, momentum=momentum))
    assert list(grouped.state_dict()) == list(plain.state_dict())
    for _ in range(2):
        x = data(shape)
        y, z = plain(x), data(shape)
        w = grouped(z)
        same(w, y)
        y.square().sum().backward()
        w.square().sum().backward()
        same(z.grad, x.grad)
    for key, value in plain.state_dict().items():
        same(grouped.state_dict()[key], value)
    same(grouped.weight.grad, plain.weight.grad)
    plain.eval(), grouped.eval()
    same(grouped(x), plain(x))


@pytest.mark.parametrize("shape", SHAPES)
def test_groups_are_the_equation_group_by_group(shape):
    norm, x = dressed(GroupedBatchNorm(3, 4)), data(shape)
    axes, view = [0, *range(2, len(shape))], (1, 3, *(1,) * (len(shape) - 2))
    y = norm(x)
    means, variances = [], []
    for g in range(3):
        rows = x[4 * g : 4 * g + 4]
        mean, variance = rows.mean(axes), rows.var(axes, correction=0)
        want = (rows - mean.view(view)) / torch.sqrt(variance.view(view) + 1e-5) * norm.weight.view(view) + norm.bias.view(view)
        same(y[4 * g : 4 * g + 4], want)
        means.append(mean)
        variances.append(rows.var(axes, correction=1))
    same(norm.running_mean, 0.1 * torch.stack(means).mean(0))
    same(norm.running_var, 0.9 + 0.1 * torch.stack(variances).mean(0))
    assert int(norm.num_batches_tracked) == 1
    assert torch.autograd.gradcheck(norm, (x[:8].detach().requires_grad_(),))


def test_two_processes_with_averaged_statistics_equal_one():
    whole, halves = dressed(GroupedBatchNorm(3, 3)), [dressed(GroupedBatchNorm(3, 3)) for _ in range(2)]
    for step in range(3):
        x = data((12, 3, 5)) * (step + 1)
        same(torch.cat([half(part) for half, part in zip(halves, x.chunk(2), strict=True)]), whole(x))
        everyones = torch.cat([torch.cat([half.running_mean, half.running_var])[None] for half in halves])
        for rank, half in enumerate(halves):
            average_running_statistics(nn.Sequential(half), gather(everyones, rank))
        for half in halves:
            same(half.running_mean, whole.running_mean)
            same(half.running_var, whole.running_var)


def gather(everyones, rank):
    """What process ``rank`` gets for its row."""

    def gathered(mine):
        assert torch.equal(mine, everyones[rank : rank + 1])
        return everyones

    return gathered


def test_averaging_without_a_grouped_norm_calls_nothing():
    average_running_statistics(nn.Sequential(nn.BatchNorm1d(2)), lambda x: pytest.fail("a collective without need"))


def test_eval_uses_running_statistics_of_any_number_of_rows():
    norm = dressed(GroupedBatchNorm(3, 4))
    norm(data((8, 3)))
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    x = data((5, 3))
    want = (x - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * norm.weight + norm.bias
    same(norm.eval()(x), want)
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())


def test_without_tracking_batch_statistics_serve_in_eval_too():
    norm = replace_batch_norm(nn.BatchNorm1d(3, affine=False, track_running_stats=False), 4)
    x = data((8, 3))
    assert not norm.state_dict()
    train = norm(x)
    same(norm.eval()(x), train)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keeps_the_layout_and_the_type(dtype):
    x = torch.randn(8, 4, 5, 6).to(dtype, memory_format=torch.channels_last)
    y = GroupedBatchNorm(4, 2)(x)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_replace_keeps_tensors_keys_mode_and_leaves_nothing_plain():
    net = nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(3, eps=1e-3, momentum=0.2), nn.Sequential(nn.BatchNorm2d(4), nn.BatchNorm3d(5))
    )
    parameters, keys = list(net.parameters()), list(net.state_dict())
    net.eval()
    replaced = replace_batch_norm(net, 4)
    assert replaced is net
    assert list(net.state_dict()) == keys
    assert all(a is b for a, b in zip(net.parameters(), parameters, strict=True))
    assert not [part for part in net.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    assert (net[1].eps, net[1].momentum, net[1].group_size, net[1].training) == (1e-3, 0.2, 4, False)


def test_sizes_that_do_not_divide_are_a_sentence():
    with pytest.raises(ShapeError, match="multiple of the batch norm's group size, 4. Got 10"):
        GroupedBatchNorm(3, 4)(torch.randn(10, 3))
    with pytest.raises(SettingError, match="at least 2. Got 1"):
        GroupedBatchNorm(3, 1)
    with pytest.raises(ShapeError, match="multiple of the block, 4. Got 10"):
        shuffle_in_blocks(10, 4, None)


def test_shuffle_stays_in_blocks_and_is_undone_by_its_inverse():
    permutation = shuffle_in_blocks(24, 8, torch.Generator().manual_seed(3))
    assert torch.equal(permutation.sort().values, torch.arange(24))
    assert torch.equal(permutation // 8, torch.arange(24) // 8)
    assert not torch.equal(permutation, torch.arange(24))
    x = torch.randn(24, 2)
    assert torch.equal(x[permutation][inverse(permutation)], x)


def test_a_process_draws_its_part_of_the_whole_permutation():
    whole = shuffle_in_blocks(24, 4, torch.Generator().manual_seed(3))
    for rank in range(2):
        part = shuffle_in_blocks(12, 4, torch.Generator().manual_seed(3))
        assert torch.equal(whole[12 * rank : 12 * rank + 12], part + 12 * rank)


def test_shuffle_reaches_every_order():
    generator = torch.Generator().manual_seed(0)
    assert len({tuple(shuffle_in_blocks(3, 3, generator).tolist()) for _ in range(200)}) == 6
