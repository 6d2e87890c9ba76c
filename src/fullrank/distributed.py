"""The only importer of torch.distributed. With one process every function here is the identity.

A loss that is a mean over samples needs nothing from here: DDP averages its gradients. A loss that couples samples gathers
its embeddings (``ctx.gather``) and computes the whole batch on every process; the gradient of the gather is then the sum
over processes, which DDP's average turns into the gradient of one process.
"""

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad.chunk(world_size())[rank()]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad


def gather(x: Tensor) -> Tensor:
    """[n, ...] of this process -> [n * processes, ...] in the order of the processes; differentiable. n must agree."""
    return x if world_size() == 1 else _Gather.apply(x)


@torch.no_grad()
def mean(x: Tensor) -> Tensor:
    """Mean over processes, for logging; no gradient."""
    if world_size() == 1:
        return x
    x = x.detach().clone()
    dist.all_reduce(x)
    return x / world_size()


class SynchronisedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the batch of all processes; same keys as ``nn.BatchNorm``; runs on CPU too, where torch's refuses.

    Two passes in float32 or better (mean, then squared deviations), so that two processes give what one gives.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002
        return

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, ...]; in eval mode the running statistics, as ``nn.BatchNorm``."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        wide = x if x.dtype == torch.float64 else x.float()
        axes = [0, *range(2, x.ndim)]
        shape = (1, -1, *(1,) * (x.ndim - 2))
        count = x.numel() // x.shape[1] * world_size()
        centre = _Sum.apply(wide.sum(axes)) / count
        deviation = wide - centre.view(shape)
        spread = _Sum.apply(deviation.square().sum(axes)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                batches = cast(Tensor, self.num_batches_tracked).add_(1)
                share = self.momentum if self.momentum is not None else 1.0 / float(batches)
                self.running_mean.lerp_(centre.to(self.running_mean.dtype), share)
                self.running_var.lerp_((spread * (count / (count - 1))).to(self.running_var.dtype), share)
        out = deviation * torch.rsqrt(spread + self.eps).view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return cast(Tensor, out.to(x.dtype))


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """Replace every nn.BatchNorm1d/2d/3d below ``module`` by the synchronised one, keys and tensors kept."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            new = SynchronisedBatchNorm(child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats)
            new._parameters.update(child._parameters)
            new._buffers.update(child._buffers)
            new.training = child.training
            setattr(module, name, new)
        else:
            synchronise_batch_norm(child)
    return module
