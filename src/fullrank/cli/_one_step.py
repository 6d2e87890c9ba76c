"""One real training step of a method on a small batch: what went in, which parts ran in which order, what changed.

The step is the engine's own (``engine.step``), watched by ``_trace``; nothing is replaced, so that what is listed is what ran.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fullrank.cli._trace import Call, Origin, Trace, merged, renumbered
from fullrank.config import RunConfig
from fullrank.errors import SettingError
from fullrank.methods._method import Method
from fullrank.types import ClipBatch, StepContext, ViewPlan

RECORDS = 8
"""of the batch, or the next power of two that the method can train on"""
STEPS_PER_EPOCH = 100


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """What a step did, in its order."""

    recipe: str
    records: int
    frames: tuple[int, ...]
    """of the decoded batch: records, clips, time, height, width, channels"""
    views: dict[str, tuple[int, ...]]
    """pixels of each view group"""
    others: dict[str, tuple[int, ...]]
    """masks ("hidden:<group>") and targets made from the data"""
    calls: list[tuple[Call, int]]
    """(call, times); origins are view groups, buffers, or positions in this list"""
    features: dict[str, tuple[tuple[int, ...], frozenset[Origin]]]
    """{name: (shape, origins)} of what the method shows"""
    losses: dict[str, tuple[float, frozenset[Origin]]]
    gradients: list[str]
    """parts whose parameters have a gradient when the optimizer steps"""
    optimizer: str
    """of the recipe; the step that is shown moves weights by plain gradient descent"""
    moved: list[str]
    """parts whose weights moved"""
    updated: dict[str, list[tuple[int, ...]]]
    """{part: shapes of its tensors} that changed after the optimizer"""


class _OneProcess:
    """What ``train_step`` needs of Fabric, for one process and float32."""

    @contextmanager
    def no_backward_sync(self, module: nn.Module, enabled: bool) -> Iterator[None]:
        """There is nothing to synchronise."""
        yield

    def backward(self, loss: Tensor) -> None:
        """Gradients."""
        loss.backward()


class _GradientDescent:
    """A plain optimizer in place of the recipe's: it moves the same weights, and its import takes no second.

    (torch's optimizers import its compiler when the first one is made.)
    """

    def __init__(self, method: nn.Module, before: Callable[[], None], after: Callable[[], None]):
        self.method, self.before, self.after = method, before, after
        self.param_groups: list[dict[str, float]] = [{}]

    @torch.no_grad()
    def step(self) -> None:
        """Every parameter that has a gradient moves against it."""
        self.before()
        for parameter in self.method.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=self.param_groups[0]["lr"])
        self.after()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Gradients are gone."""
        self.method.zero_grad(set_to_none)


class _Changes:
    """Which tensors of a method changed since the last look."""

    def __init__(self, method: nn.Module):
        self.method = method
        self.look()

    def look(self) -> dict[str, tuple[int, ...]]:
        """{name: shape} of those that changed."""
        now = self.method.state_dict()
        before, self._before = getattr(self, "_before", now), {name: value.clone() for name, value in now.items()}
        return {name: tuple(value.shape) for name, value in now.items() if not torch.equal(value, before[name])}


@contextmanager
def _one_thread() -> Iterator[None]:
    """So little work is done sooner by one thread than by several that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def watch_step(recipe: str) -> OneStep:
    """Run one step of a recipe's settings, in the middle of its schedules, on drawn frames; ``SettingError`` as training."""
    from fullrank.checkpoint.encoder import build_method, method_name
    from fullrank.methods._method import load_method
    from fullrank.recipes import recipe as settings_of

    config = settings_of(recipe)
    cls = load_method(method_name(config.method))
    plan = cls.views(config.method)
    records = _records(cls, config)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(config.seed)
        batch = _batch(plan, config, records)
        method = build_method(config, records)
        if method.needs_labels:
            classes = dict.fromkeys(config.method.label_names, 2)
            method.set_labels({name: torch.arange(records) % 2 for name in classes}, classes)  # type: ignore[operator]
        return _step(recipe, method, plan, batch, config)


def _records(cls: type[Method], config: RunConfig[Any]) -> int:
    """The smallest power of two, from ``RECORDS`` on, that the method does not refuse; else the recipe's own."""
    own = config.data.batch_size // config.optimizer.accumulate_steps
    count = RECORDS
    while count < own:
        try:
            cls.check(config.method, batch_size=count, world=1)
        except SettingError:
            count *= 2
        else:
            return count
    return own


def _drawn(records: int, frames: int, side: int) -> NDArray[np.uint8]:
    """Videos of a bright square that moves over noise: [records, frames, side, side, 3]."""
    pixels = np.random.default_rng(0).integers(0, 100, (records, frames, side, side, 3), dtype=np.uint8)
    third = max(side // 3, 1)
    for record in range(records):
        for t in range(frames):
            x = (3 * record + 2 * t) % (side - third + 1)
            pixels[record, t, third : 2 * third, x : x + third] = (255, 20 * record % 256, 128)
    return pixels


def _batch(plan: ViewPlan, config: RunConfig[Any], records: int) -> ClipBatch:
    from fullrank.data.clips import clip_spec
    from fullrank.data.loader import Loader
    from fullrank.data.sources.arrays import ArraySource

    if plan.needs_flow:
        raise SettingError("The step that is shown must need no optical flow. Got a recipe that does; choose another --recipe.")
    spec = clip_spec(plan, config.data)
    frames = _drawn(records, 1 if spec.num_frames == 1 else 2 * spec.num_frames, spec.canvas_pixels)
    source = ArraySource(frames, frames_per_second=spec.frames_per_second)
    loader = Loader(source, spec, num_clips=plan.num_clips, batch_size=records, seed=0, num_workers=0, sampling=plan.sampling)
    return next(iter(loader.batches(0)))


def _step(recipe: str, method: Method, plan: ViewPlan, batch: ClipBatch, config: RunConfig[Any]) -> OneStep:
    from fullrank.engine.step import train_step
    from fullrank.views.plan import make_views

    trace, changes = Trace(method), _Changes(method)
    views = make_views(batch, plan, config.seed, torch.device("cpu"))
    masks = {f"hidden:{name}": mask for name, mask in views.masks.items()}
    trace.name_sources(dict(views.pixels) | masks | views.targets)
    half = STEPS_PER_EPOCH * config.epochs / 2
    ctx = StepContext(
        step=round(half),
        total_steps=round(2 * half),
        steps_per_epoch=STEPS_PER_EPOCH,
        progress=0.5,
        generator=torch.Generator().manual_seed(0),
    )
    gradients: list[str] = []
    moved: list[str] = []

    def before() -> None:
        gradients.extend(_parts(name for name, p in method.named_parameters() if p.grad is not None))
        changes.look()  # what the forward pass changed: BatchNorm's statistics

    with trace:
        (output,), _ = train_step(
            _OneProcess(),  # type: ignore[arg-type]
            method,
            method,
            _GradientDescent(method, before, lambda: moved.extend(_parts(changes.look()))),  # type: ignore[arg-type]
            [lambda: views],
            ctx,
            learning_rate=config.optimizer.base_learning_rate,
            clip_grad_norm=None,
        )
    updated: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in changes.look().items():
        updated.setdefault(name.split(".")[0], []).append(shape)
    calls, row = merged(trace.calls)
    return OneStep(
        recipe=recipe,
        records=len(views.index),
        frames=tuple(batch.frames.shape),
        views=_shapes(views.pixels),
        others=_shapes(masks | views.targets),
        calls=calls,
        features={n: (tuple(t.shape), renumbered(trace.found["features", n], row)) for n, t in output.features.items()},
        losses={n: (float(t.detach()), renumbered(trace.found["losses", n], row)) for n, t in output.losses.items()},
        gradients=gradients,
        optimizer=config.optimizer.name,
        moved=moved,
        updated=updated,
    )


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _parts(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name.split(".")[0] for name in names))
