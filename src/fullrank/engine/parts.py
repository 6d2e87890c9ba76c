"""What a run is made of: the loader, the method, the optimizer, and how many steps they do."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.optim import Optimizer

from fullrank import distributed
from fullrank.checkpoint.encoder import build_method
from fullrank.config import RunConfig
from fullrank.data.clips import clip_spec
from fullrank.data.loader import Loader
from fullrank.data.source import Source
from fullrank.engine import optimizers
from fullrank.engine.run import compile_backbones, total_steps
from fullrank.errors import DataError
from fullrank.methods._method import Method
from fullrank.types import ViewPlan


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run is made of."""

    fabric: Fabric
    config: RunConfig[Any]
    plan: ViewPlan
    loader: Loader
    method: Method
    optimizer: Optimizer
    total: int
    """steps of the whole run"""
    steps_per_epoch: int


def build(fabric: Fabric, config: RunConfig[Any], plan: ViewPlan, source: Source, state: dict[str, Any] | None) -> Parts:
    """From settings and a source; the weights from ``state`` where a run goes on. Not yet on the device."""
    accumulate = config.optimizer.accumulate_steps
    loader = Loader(
        source,
        clip_spec(plan, config.data),
        num_clips=plan.num_clips,
        batch_size=config.data.batch_size // accumulate,
        seed=config.seed,
        num_workers=config.data.num_workers,
        rank=fabric.global_rank,
        world=fabric.world_size,
        device=fabric.device,
        sampling=plan.sampling,
    )
    steps_per_epoch = max(loader.batches_per_epoch // accumulate, 1)
    torch.manual_seed(config.seed)
    method = build_method(config, len(source), weights=state is None)
    _give_labels(method, config, source)
    if fabric.world_size > 1:
        distributed.synchronise_batch_norm(method)
    if state is not None:
        method.load_state_dict(state["method"])
    if config.compile:
        compile_backbones(method)
    return Parts(
        fabric=fabric,
        config=config,
        plan=plan,
        loader=loader,
        method=method,
        optimizer=optimizers.build(config.optimizer, method),
        total=total_steps(config, steps_per_epoch),
        steps_per_epoch=steps_per_epoch,
    )


def _give_labels(method: Method, config: RunConfig[Any], source: Source) -> None:
    """Only the supervised baseline gets labels, and only here."""
    if not method.needs_labels:
        return
    for name in config.method.label_names:
        if name not in source.labels:
            have = ", ".join(source.labels) or "none"
            raise DataError(
                f"The data must have labels named '{name}' for a supervised run. Got {have}; set --method.label-names."
            )
    labels = {name: torch.as_tensor(values) for name, values in source.labels.items()}
    method.set_labels(labels, {name: len(names) for name, names in source.classes.items()})  # type: ignore[operator]
