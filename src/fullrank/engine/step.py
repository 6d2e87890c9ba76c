"""One optimization step: the one place where order is decided.

views to device -> forward under autocast -> finite check -> backward (repeat for accumulation) -> after_backward ->
clip gradients -> optimizer -> after_step.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import Optimizer

from fullrank import distributed
from fullrank.errors import NonFiniteError
from fullrank.methods._method import Method
from fullrank.types import Output, StepContext, Views

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def check_finite(output: Output, ctx: StepContext) -> None:
    """``NonFiniteError`` that names the guilty terms and the step, on all processes where one has such a term."""
    # not finite on one process, so neither is the mean, and no process waits for one that has given up
    values = distributed.mean(torch.stack([term.detach().float() for term in output.losses.values()]))
    if not bool(torch.isfinite(values).all()):
        guilty = ", ".join(f"{name} = {value}" for name, value in zip(output.losses, values.tolist(), strict=True))
        raise NonFiniteError(
            f"Every loss term must be finite. Got {guilty} at step {ctx.step}. Any earlier checkpoint is kept; "
            "lower the learning rate (--optimizer.base-learning-rate), clip gradients (--optimizer.clip-grad-norm 1) "
            "or use --precision fp32."
        )


def train_step(
    fabric: "Fabric",
    module: nn.Module,
    method: Method,
    optimizer: Optimizer,
    next_views: Sequence[Callable[[], Views]],
    ctx: StepContext,
    *,
    learning_rate: float,
    clip_grad_norm: float | None,
) -> tuple[list[Output], torch.Tensor]:
    """One step over ``next_views`` micro-batches. Returns their outputs and the gradient norm before clipping.

    ``module`` is the method as Fabric wrapped it (only its forward goes through the wrapper).
    """
    outputs = []
    for i, make in enumerate(next_views):
        views = make()
        with fabric.no_backward_sync(module, enabled=i < len(next_views) - 1):  # type: ignore[arg-type]
            output = module(views, ctx)
            check_finite(output, ctx)
            fabric.backward(output.loss / len(next_views))
        outputs.append(output)
    method.after_backward(ctx)
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if clip_grad_norm is not None:
        torch.nn.utils.clip_grads_with_norm_((p for p in method.parameters() if p.grad is not None), clip_grad_norm, norm)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        method.after_step(outputs, ctx)
    return outputs, norm
