"""Optimizers and their parameter groups. The no-decay rule is stated once: biases and norms (fewer than two axes)."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import SGD, AdamW, Optimizer

from fullrank.config import OptimizerConfig
from fullrank.methods._method import Method
from fullrank.schedules import cosine, warmup_cosine

REFERENCE_BATCH = 256


class LARS(Optimizer):
    """Layer-wise adaptive rate scaling (You, Gitman, Ginsburg, 2017, arXiv 1708.03888), with momentum.

    t = eta * ||w|| / (||g|| + wd * ||w||);  v <- m * v + t * (g + wd * w);  w <- w - lr * v, as apex and solo-learn have it
    (VICReg's authors divide by ||g + wd * w||, which differs where the decay is large). Groups with ``adapt`` False (biases
    and norms) skip decay and adaptation. ``clip_trust`` takes min(t / lr, 1) for t, so that the adapted rate never exceeds the
    scheduled one: the "clip" of LARC that solo-learn's recipes use.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        clip_trust: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
            "clip_trust": clip_trust,
            "adapt": True,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(group, params)
        return loss

    def _update(self, group: dict[str, Any], params: list[torch.Tensor]) -> None:
        updates = [p.grad for p in params if p.grad is not None]
        if group["adapt"]:
            weight_norms = torch._foreach_norm(params)
            grad_norms = torch._foreach_norm(updates)
            updates = list(torch._foreach_add(updates, params, alpha=group["weight_decay"]))
            for update, w, g in zip(updates, weight_norms, grad_norms, strict=True):
                trust = group["trust_coefficient"] * w / (g + group["weight_decay"] * w + 1e-12)
                if group["clip_trust"]:
                    trust = (trust / max(group["lr"], 1e-12)).clamp(max=1.0)
                update.mul_(torch.where((w > 0) & (g > 0), trust, torch.ones_like(trust)))
        buffers = []
        for p, update in zip(params, updates, strict=True):
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(p)
            state["momentum_buffer"].mul_(group["momentum"]).add_(update)
            buffers.append(state["momentum_buffer"])
        torch._foreach_add_(params, buffers, alpha=-group["lr"])


def peak_learning_rate(cfg: OptimizerConfig, batch_size: int) -> float:
    """Base rate times batch / 256 (Goyal et al., 2017: the linear rule)."""
    return cfg.base_learning_rate * batch_size / REFERENCE_BATCH


def learning_rate(cfg: OptimizerConfig, batch_size: int, progress: float, epochs: float) -> float:
    """The rate at ``progress``: linear warm-up, then half a cosine, or the rest of one that began with training."""
    peak = peak_learning_rate(cfg, batch_size)
    warmup, end = min(cfg.warmup_epochs / epochs, 1.0), peak * cfg.end_ratio
    return warmup_cosine(progress, peak, warmup, end=end, after_warmup=cfg.cosine_after_warmup)


def schedule_weight_decay(optimizer: Optimizer, cfg: OptimizerConfig, progress: float) -> None:
    """Move the decay of the decayed weights along half a cosine to ``final_weight_decay``, where there is one."""
    if cfg.final_weight_decay is None:
        return
    for group in optimizer.param_groups:
        if group["decayed"]:
            group["weight_decay"] = cosine(progress, cfg.weight_decay, cfg.final_weight_decay)


def build(cfg: OptimizerConfig, method: Method) -> Optimizer:
    """The optimizer over the method's trainable parameters in two groups: decayed, and biases and norms."""
    named = list(method.decayed())
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p, decay in named if decay], "weight_decay": cfg.weight_decay},
        {"params": [p for _, p, decay in named if not decay], "weight_decay": 0.0},
    ]
    if cfg.final_weight_decay is not None:  # elsewhere groups stay as older checkpoints hold them
        groups[0]["decayed"], groups[1]["decayed"] = True, False
    groups = [group for group in groups if group["params"]]
    rate = cfg.base_learning_rate
    momentum = 0.9 if cfg.momentum is None else cfg.momentum
    if cfg.name == "adamw":
        return AdamW(groups, lr=rate, betas=cfg.betas or (0.9, 0.999))
    if cfg.name == "sgd":
        return SGD(groups, lr=rate, momentum=momentum)
    for group in groups:
        group["adapt"] = any(p.ndim > 1 for p in group["params"])
    return LARS(
        groups,
        lr=rate,
        momentum=momentum,
        trust_coefficient=cfg.trust_coefficient or 1e-3,
        clip_trust=bool(cfg.clip_trust),
    )
