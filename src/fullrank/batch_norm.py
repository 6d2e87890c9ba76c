"""Batch norm over fixed groups of rows, and the shuffling that goes with it (MoCo).

MoCo normalises on each GPU apart and shuffles the keys over GPUs, so that a query and its key never share statistics that
would give the answer away (He et al., CVPR 2020, arXiv 1911.05722, section 3.3). There the result depends on the number of
GPUs. Here the groups are fixed: one process with 8 groups computes what 8 processes with one group compute.

A "row" is one entry of the first axis. The 2D ResNet puts the frames of clips there time first, so that a group holds
different records at the same moment.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.errors import SettingError, ShapeError


class GroupedBatchNorm(nn.Module):
    """Batch norm whose batch is ``group_size`` consecutive rows; for [rows, channels] and [rows, channels, ...].

    In train mode, for each group g and channel: y = (x - mean_g) / sqrt(var_g + eps) * weight + bias, and
    running = (1 - momentum) * running + momentum * (mean over groups of mean_g; of the unbiased var_g).
    In eval mode the running statistics, as ``nn.BatchNorm``. State-dict keys, ``momentum=None`` (cumulative average),
    ``affine`` and ``track_running_stats`` are those of ``nn.BatchNorm1d/2d/3d``.

    It is no subclass of theirs on purpose: what synchronises batch norm over processes leaves it alone.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        group_size: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        if group_size < 2:
            raise SettingError(f"group_size of a batch norm must be at least 2. Got {group_size}; one row has no variance.")
        self.num_features, self.group_size, self.eps, self.momentum = num_features, group_size, eps, momentum
        self.register_parameter("weight", nn.Parameter(torch.ones(num_features)) if affine else None)
        self.register_parameter("bias", nn.Parameter(torch.zeros(num_features)) if affine else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", torch.zeros(num_features) if tracked else None)
        self.register_buffer("running_var", torch.ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64) if tracked else None)

    def forward(self, x: Float[Tensor, "rows channels *rest"]) -> Float[Tensor, "rows channels *rest"]:
        """``ShapeError`` where the rows of a training batch do not divide into whole groups."""
        if not self.training and self.running_mean is not None:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        if x.shape[0] == 0 or x.shape[0] % self.group_size:
            raise ShapeError(
                f"the rows of a batch must be a multiple of the batch norm's group size, {self.group_size}. Got {x.shape[0]}; "
                "change the batch size (of one process and one micro-batch) or the group size."
            )
        # One native call a group: it knows every memory layout and bf16. With momentum 1 it hands out its statistics.
        # (split, not slices: the gradient of a slice is a whole batch of zeros for every group.)
        groups = x.split(self.group_size)
        wide = torch.promote_types(x.dtype, torch.float32)
        means, variances = x.new_zeros(2, len(groups), self.num_features, dtype=wide)
        outputs = [
            F.batch_norm(group, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
            for group, mean, variance in zip(groups, means, variances, strict=True)
        ]
        if self.training:
            self._track(means.mean(0), variances.mean(0))
        return torch.cat(outputs) if len(outputs) > 1 else outputs[0]

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.num_features}, group_size={self.group_size}, eps={self.eps}, momentum={self.momentum}"


def replace_batch_norm(module: nn.Module, group_size: int) -> nn.Module:
    """``module`` with every ``nn.BatchNorm1d/2d/3d`` replaced by a grouped one that keeps its very tensors.

    In place, except where ``module`` is itself a batch norm: use what is returned.
    """
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        tracked, affine = module.running_mean is not None, module.weight is not None
        new = GroupedBatchNorm(module.num_features, group_size, module.eps, module.momentum, affine, tracked)
        new._parameters.update(module._parameters)
        new._buffers.update(module._buffers)
        return new.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, replace_batch_norm(child, group_size))
    return module


@torch.no_grad()
def average_running_statistics(module: nn.Module, gather: Callable[[Tensor], Tensor]) -> None:
    """Make the running statistics of every grouped norm below ``module`` their mean over processes.

    Call it in ``after_step`` with ``ctx.gather``. The statistics are linear in those of the groups, so that the mean over
    processes is what one process with all the groups holds (up to rounding). One collective for all norms.
    """
    norms = [part for part in module.modules() if isinstance(part, GroupedBatchNorm)]
    held = [s for norm in norms for s in (norm.running_mean, norm.running_var) if s is not None]
    if not held:
        return
    mean = gather(torch.cat(held)[None]).mean(0)
    for statistic, value in zip(held, mean.split([len(s) for s in held]), strict=True):
        statistic.copy_(value)


def shuffle_in_blocks(num_records: int, block: int, generator: torch.Generator | None) -> Int64[Tensor, " num_records"]:
    """A permutation that moves records only inside blocks of ``block``: ``x[permutation]`` shuffles, ``inverse`` undoes.

    Every block is shuffled the same way, so that the permutation of a part of the batch that consists of whole blocks is
    the same whether it is drawn for the part or for the whole batch: a process needs to know neither its number nor the
    number of processes, only the shared generator (``ctx.generator``). Take ``block`` as a multiple of the batch norm's
    group size, at least twice it: blocks no larger than a group would leave every record in its group.

    >>> permutation = shuffle_in_blocks(6, 3, torch.Generator().manual_seed(1))
    >>> sorted(permutation[:3].tolist()), (permutation[3:] - permutation[:3]).tolist()
    ([0, 1, 2], [3, 3, 3])
    """
    if block < 1 or num_records < 1 or num_records % block:
        raise ShapeError(
            f"the records to shuffle must be a multiple of the block, {block}. Got {num_records}; "
            "change the batch size (of one process and one micro-batch) or the block."
        )
    inside = torch.randperm(block, generator=generator)
    return (torch.arange(0, num_records, block)[:, None] + inside).flatten()


def inverse(permutation: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The permutation that undoes ``permutation``: ``x[permutation][inverse(permutation)]`` is ``x``."""
    return torch.argsort(permutation)
