"""Records that the weights are tried on while training, in eval mode without gradient: those held out, stage by stage too."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.config import RunConfig
from fullrank.data.clips import clip_spec
from fullrank.data.held_out import held_out
from fullrank.data.loader import Loader
from fullrank.data.source import Source
from fullrank.errors import SettingError
from fullrank.methods._method import Method
from fullrank.types import StepContext, ViewPlan, Views
from fullrank.views.plan import make_views

STAGE_RECORDS = 256
"""that stages are measured on where none are held out"""
FORWARD_SHARE = 0.5
"""of a training step, a guess of what a step without gradient takes"""


def split(source: Source, config: RunConfig[Any], cls: type[Method]) -> tuple[Source, Source | None]:
    """(what is trained on, what is held out or None), as the settings ask; ``SettingError`` where that cannot be."""
    count, micro = config.monitor.held_out_records, config.data.batch_size // config.optimizer.accumulate_steps
    if not count:
        return source, None
    if cls.knows_records:
        raise SettingError(
            "monitor.held_out_records must be 0 for a method that looks records up by number while training. Got "
            f"{count} for {cls.__name__}; leave it out, and evaluate other records after training."
        )
    if count < micro:
        raise SettingError(
            f"monitor.held_out_records must be at least a micro-batch of {micro} records, or its loss terms do not compare. "
            f"Got {count}; raise --monitor.held-out-records."
        )
    return held_out(source, count)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look gave."""

    features: dict[str, Tensor]
    """{name: [records, d]} of the first view, on the CPU; empty where no records are held out"""
    losses: dict[str, float]
    metrics: dict[str, float]
    stages: dict[str, Tensor]
    """{stage: [records, channels]}, averaged over space and time, on the CPU"""


class Probe:
    """Looks at the same views of the same records every time, with the weights of the moment; changes nothing.

    ``held``: the records held out, whose losses and features are taken; without them ``source`` gives the records that only the
    stages are measured on. On the first process alone: no gather, no collective.
    """

    def __init__(
        self,
        source: Source,
        held: Source | None,
        config: RunConfig[Any],
        plan: ViewPlan,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[None]],
    ):
        self.config, self.plan, self.device, self.autocast = config, plan, device, autocast
        self.stages, self.losses = config.monitor.stages, held is not None
        records = held if held is not None else held_out(source, min(STAGE_RECORDS, len(source) - 2))[1]
        micro = min(config.data.batch_size // config.optimizer.accumulate_steps, len(records))
        self.loader = Loader(
            records,
            clip_spec(plan, config.data),
            num_clips=plan.num_clips,
            batch_size=micro,
            seed=config.seed,
            num_workers=0,
            sampling=plan.sampling,
        )

    def expected(self, step_seconds: float) -> float:
        """A guess of the time of one look."""
        return FORWARD_SHARE * step_seconds * self.loader.batches_per_epoch

    @torch.no_grad()
    def look(self, method: Method, ctx: StepContext) -> Seen:
        """Features, losses and metrics (means over batches) in eval mode."""
        features: dict[str, list[Tensor]] = {}
        stages: dict[str, list[Tensor]] = {}
        losses: list[dict[str, Tensor]] = []
        metrics: list[dict[str, Tensor]] = []
        with _evaluating(method):
            for views in self._views():
                own = StepContext(
                    step=ctx.step,
                    total_steps=ctx.total_steps,
                    steps_per_epoch=ctx.steps_per_epoch,
                    progress=ctx.progress,
                    generator=torch.Generator().manual_seed(0),
                )
                with self.autocast():
                    output = method(views, own) if self.losses else None
                    maps = _maps(method, views, self.plan) if self.stages else {}
                for name, x in output.features.items() if output is not None else ():
                    features.setdefault(name, []).append(x[:, 0].float().cpu())
                for name, x in maps.items():
                    stages.setdefault(name, []).append(x.float().cpu())
                if output is not None:
                    losses.append(output.losses)
                    metrics.append(output.metrics)
        return Seen(
            features={name: torch.cat(parts) for name, parts in features.items()},
            losses=_means(losses),
            metrics=_means(metrics),
            stages={name: torch.cat(parts) for name, parts in stages.items()},
        )

    def _views(self) -> Iterator[Views]:
        """Every whole batch once, of epoch 0: the same views each time."""
        for batch in itertools.islice(self.loader.batches(), self.loader.batches_per_epoch):
            yield make_views(batch, self.plan, self.config.seed, self.device)


def check_stages(method: nn.Module) -> None:
    """``SettingError`` where the backbone has no stages to look at."""
    if not hasattr(getattr(method, "backbone", None), "maps"):
        raise SettingError(
            "monitor.stages must be off for a backbone without `maps` (stage by stage). Got it on; leave --monitor.stages out."
        )


def _maps(method: Method, views: Views, plan: ViewPlan) -> dict[str, Tensor]:
    """{stage: [records, channels]} of the first view of the first group, averaged over space and time."""
    pixels = views.group(plan.groups[0].name)[:, 0]
    maps: dict[str, Tensor] = method.backbone.maps(pixels)  # type: ignore[operator, union-attr]
    return {name: x.flatten(2).mean(dim=2) for name, x in maps.items()}


def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    return {name: float(torch.stack([row[name].float() for row in rows]).mean()) for name in (rows[0] if rows else {})}


@contextmanager
def _evaluating(method: nn.Module) -> Iterator[None]:
    """Eval mode, and afterwards each module in the mode that it had."""
    modes = [(module, module.training) for module in method.modules()]
    method.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
