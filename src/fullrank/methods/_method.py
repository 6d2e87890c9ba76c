"""The contract of a method: a function of (views, step context) to named losses, plus its modules.

It knows no loader, optimizer, logger, device, rank or file. Whatever changes between steps is a registered buffer and
changes only in ``after_step``. docs/decisions/0001-contract.md tries it on MAE, DINO, DPC and jigsaw.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from fullrank.config import Settings
from fullrank.errors import SettingError, did_you_mean
from fullrank.types import Output, StepContext, ViewPlan, Views


class BackboneFactory(Protocol):
    """Makes the networks of a method."""

    def __call__(self, role: str, in_channels: int = 3) -> nn.Module:
        """A new backbone for "student", "broad", ...: ``embed_dim``, forward([batch, in_channels, time, height, width])."""
        ...


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Something that keeps a method from collapsing, as settings that switch it off.

    `fullrank study what_prevents_collapse` removes one after the other.
    """

    off: Mapping[str, Any]
    """the method's settings without it"""
    expect: Literal["complete", "dimensional", "cluster", "no collapse"]
    """what becomes of the embedding without it"""
    source: str
    """who says so: paper and table, figure or section"""
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    """the optimizer's settings without it"""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a method's own metrics read once it has collapsed, where its features do not show it: the live alarm looks.

    ``Sign(kind="complete", says="the output is uniform", below={"kl": 0.02}, above={"assignment_entropy": 6.9})``
    """

    kind: Literal["complete", "dimensional", "cluster"]
    """which collapse it is"""
    says: str
    """the collapse in words, the subject first"""
    below: Mapping[str, float] = field(default_factory=dict)
    """metrics that are then below these values"""
    above: Mapping[str, float] = field(default_factory=dict)
    """metrics that are then above these values"""

    def shows(self, metrics: Mapping[str, float]) -> bool:
        """Whether all of them are."""
        return all(metrics[name] < value for name, value in self.below.items()) and all(
            metrics[name] > value for name, value in self.above.items()
        )


ENTRY_POINTS = "fullrank.methods"


def wide(x: Tensor) -> Tensor:
    """float32, or float64 where it is already: what losses are computed in, whatever the autocast."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class Method(nn.Module):
    """Base of all methods; subclasses define ``Config``, ``views``, ``__init__``, ``forward`` and ``encode``."""

    Config: ClassVar[type[Settings]]
    needs_labels: ClassVar[bool] = False
    """True only for the supervised baseline: the engine then calls ``set_labels`` before the first step"""
    knows_records: ClassVar[bool] = False
    """True where ``forward`` looks something up by the number of a record (labels, a memory bank): it cannot judge others"""
    branches: ClassVar[tuple[str, ...]] = ("student",)
    """what ``encode(branch=...)`` accepts; the first is what the paper evaluates"""
    guards: ClassVar[Mapping[str, Guard]] = {}
    """what prevents its collapse, by name; each is switched off alone"""
    exempt: ClassVar[Mapping[str, str]] = {}
    """{point of fullrank.testing: why it cannot hold for this method}"""

    @classmethod
    def views(cls, cfg: Settings) -> ViewPlan:
        """What the data must provide."""
        raise NotImplementedError

    @classmethod
    def check(cls, cfg: Settings, *, batch_size: int, world: int) -> None:
        """Optional: ``SettingError``, one sentence that says what to change, where the method cannot train on such batches.

        ``batch_size``: records of one micro-batch over all ``world`` processes. Called before any data are touched.
        """

    @classmethod
    def signs(cls, cfg: Settings) -> tuple[Sign, ...]:
        """Optional: how its own metrics show a collapse (a method with a softmax over prototypes)."""
        return ()

    def __init__(self, cfg: Settings, backbone: BackboneFactory, num_records: int):
        super().__init__()

    def forward(self, views: Views, ctx: StepContext) -> Output:
        """Losses and features of one batch; changes nothing but BatchNorm statistics."""
        raise NotImplementedError

    def encode(self, pixels: Tensor, branch: str | None = None) -> Tensor:
        """[batch, channels, time, height, width] -> representation [batch, embed_dim]; None = what the paper evaluates."""
        raise NotImplementedError

    def embed(self, representation: Tensor, branch: str | None = None) -> Tensor | None:
        """Representation -> embedding [batch, d] as the head gives it; None for a method without a projector."""
        return None

    def at_collapse(self, batch_size: int) -> dict[str, float]:
        """{term: its value where every embedding is the same vector} for so many records in the global batch.

        A predictor is taken to have learned that vector. Terms whose value then depends on anything else (weights,
        memory) are left out.
        """
        return {}

    def resolve_branch(self, branch: str | None) -> str:
        """The name of a branch: the first where it is None; ``SettingError`` where the method has none of that name."""
        if branch is None:
            return self.branches[0]
        if branch not in self.branches:
            have = ", ".join(self.branches)
            raise SettingError(f"branch must be one of {have}. Got '{branch}'.{did_you_mean(branch, self.branches)}")
        return branch

    def after_backward(self, ctx: StepContext) -> None:
        """Optional: change gradients before they are clipped (a frozen layer)."""

    def after_step(self, outputs: Sequence[Output], ctx: StepContext) -> None:
        """Optional: what changes between steps (EMA, queue, centre); one output a micro-batch."""

    def decayed(self) -> Iterator[tuple[str, nn.Parameter, bool]]:
        """(name, parameter, takes weight decay and LARS adaptation): biases and norms do not."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield name, parameter, parameter.ndim > 1


def available() -> dict[str, str]:
    """{method name: module path}, by file name; third parties through the entry-point group ``fullrank.methods``."""
    package = importlib.import_module("fullrank.methods")
    found = {
        info.name: f"fullrank.methods.{info.name}"
        for info in pkgutil.iter_modules(package.__path__)
        if not info.name.startswith("_")
    }
    return dict(sorted(found.items())) | {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def load_method(name: str) -> type[Method]:
    """The one Method class of the file ``name``; ``SettingError`` names the nearest where there is none."""
    known = available()
    if name not in known:
        raise SettingError(f"Unknown method '{name}'.{did_you_mean(name, known)} `fullrank methods` lists them.")
    module_name, _, attribute = known[name].partition(":")
    module = importlib.import_module(module_name)
    if attribute:
        return getattr(module, attribute)  # type: ignore[no-any-return]
    classes = [
        c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Method) and c.__module__ == module_name
    ]
    if len(classes) != 1:
        raise SettingError(f"{module_name} must define exactly one Method. Got {len(classes)}.")
    return classes[0]
