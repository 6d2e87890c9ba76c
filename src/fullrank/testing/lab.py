"""What conformance is tried with: tiny settings, real views of random frames, and processes played by threads."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from torch import Tensor

from fullrank.backbones.build import backbone_factory
from fullrank.checkpoint.encoder import method_name
from fullrank.config import RunConfig
from fullrank.data.clips import clip_spec
from fullrank.data.loader import Loader
from fullrank.data.sources.arrays import ArraySource
from fullrank.methods._method import Method
from fullrank.recipes import recipe
from fullrank.types import StepContext, ViewPlan, Views
from fullrank.views.plan import make_views

RECORDS = 40
BATCH = 8
T = TypeVar("T")


class Unlabelled(Mapping[str, Any]):
    """In place of a source's labels: whoever looks is found out."""

    touched = False

    def _refuse(self, *_: Any) -> NoReturn:
        type(self).touched = True
        raise LabelsTouched

    __getitem__ = __iter__ = __len__ = __contains__ = _refuse


class LabelsTouched(Exception):  # noqa: N818  it is not raised to users
    """A method that must not see labels asked for them."""


@dataclass
class Subject:
    """A method under test, with settings that are small enough to try everything in seconds."""

    cls: type[Method]
    config: RunConfig[Any] | None = None
    labels: dict[str, int] = field(default_factory=lambda: {"digit": 4})
    """label sets of the random records, with their number of classes; only a supervised method sees them"""

    def __post_init__(self) -> None:
        name = None if self.config else method_name(self.cls.Config.model_construct())
        self._settings: RunConfig[Any] = self.config or recipe(f"{name}.tiny")

    @property
    def settings(self) -> RunConfig[Any]:
        """The tiny settings."""
        return self._settings

    @property
    def plan(self) -> ViewPlan:
        """What the method asks for."""
        return self.cls.views(self.settings.method)

    def source(self, records: int = RECORDS) -> ArraySource:
        """Random videos, longer than a clip."""
        spec = clip_spec(self.plan, self.settings.data)
        side = self.settings.data.canvas_pixels
        shape = (records, 3 * spec.num_frames, side, side, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        labels = {name: np.arange(records) % count for name, count in self.labels.items()}
        classes = {name: [str(i) for i in range(count)] for name, count in self.labels.items()}
        return ArraySource(frames, labels, classes, frames_per_second=spec.frames_per_second)

    def build(self, **changes: Any) -> Method:
        """A new method, weights from seed 0; ``changes`` are its settings."""
        torch.manual_seed(0)
        config = self.settings
        method = self.cls(
            config.method.model_copy(update=changes), backbone_factory(config.backbone, roles=config.roles), RECORDS
        )
        if method.needs_labels:
            labels = {name: torch.arange(RECORDS) % count for name, count in self.labels.items()}
            method.set_labels(labels, self.labels)  # type: ignore[operator]
        return method

    def views(self, number: int = 0, batch: int = BATCH, dtype: torch.dtype = torch.float32) -> Views:
        """The views of micro-batch ``number`` of the random videos, as training would make them."""
        config, plan = self.settings, self.plan
        loader = Loader(
            self.source(),
            clip_spec(plan, config.data),
            num_clips=plan.num_clips,
            batch_size=batch,
            seed=0,
            num_workers=0,
            sampling=plan.sampling,
        )
        views = make_views(next(iter(loader.batches(number))), plan, 0, torch.device("cpu"))
        views.pixels = {name: pixels.to(dtype) for name, pixels in views.pixels.items()}
        return views


def part(views: Views, rows: Any) -> Views:
    """Some records of a batch."""
    groups = ("pixels", "masks", "targets")
    taken = {group: {name: tensor[rows] for name, tensor in getattr(views, group).items()} for group in groups}
    return Views(index=views.index[rows], **taken)


def context(**changes: Any) -> StepContext:
    """A step in the first third of a run."""
    given: dict[str, Any] = {
        "step": 3,
        "total_steps": 10,
        "steps_per_epoch": 2,
        "progress": 0.3,
        "generator": torch.Generator().manual_seed(5),
    }
    return StepContext(**(given | changes))


def processes(count: int, work: Callable[[int, StepContext], T], **changes: Any) -> list[T]:
    """``work(rank, ctx)`` in one thread a process; ``ctx.gather`` joins their tensors, graphs and all."""
    slots: list[Tensor] = [torch.empty(0)] * count
    barrier = threading.Barrier(count, timeout=60)

    def run(rank: int) -> T:
        def gather(tensor: Tensor) -> Tensor:
            slots[rank] = tensor
            barrier.wait()
            joined = torch.cat(slots)
            barrier.wait()
            return joined

        finished = False
        try:
            result = work(rank, context(gather=gather, **changes))
            finished = True
            return result
        finally:
            if not finished:
                barrier.abort()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def blank(views: Views) -> Views:
    """The same picture everywhere: whatever an encoder is, it then puts out one vector (0 would have no direction)."""
    return replace(views, pixels={name: torch.ones_like(pixels) for name, pixels in views.pixels.items()})
