"""A tiny backbone, small settings of every method, random views, and processes played by threads."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fullrank.config import Augmentation
from fullrank.methods._method import Method, load_method
from fullrank.types import StepContext, Views

RECORDS = 40
SMALL: dict[str, dict[str, Any]] = {
    "vicreg": {"projector": (16, 16)},
    "simclr": {"projector": (16, 8)},
    "moco_v2": {"projector": (16, 8), "queue_length": 20, "momentum": 0.9, "symmetric": True},
    "byol": {"projector": (16, 8), "predictor_hidden": 16, "momentum": 0.9},
    "swav": {"projector": (16, 8), "num_prototypes": 6, "num_local": 2, "queue_length": 12, "queue_start_epoch": 0.0},
    "supervised": {},
}


class TinyNet(nn.Module):
    """A convolution with BatchNorm, averaged over time and space; keeps what it puts out differentiable and cheap."""

    embed_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(3, 8, 3, stride=(1, 2, 2), padding=1, bias=False)
        self.norm = nn.BatchNorm3d(8)
        self.out = nn.Linear(8, self.embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.out(self.norm(self.convolution(pixels)).relu().mean((2, 3, 4)))


class Constant(nn.Module):
    """An encoder that has collapsed completely."""

    embed_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.point = nn.Parameter(torch.linspace(-1, 1, self.embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.point.expand(len(pixels), -1)


def build(name: str, network: type[nn.Module] = TinyNet, **settings: Any) -> Method:
    torch.manual_seed(0)
    kind = load_method(name)
    method = kind(kind.Config(**(SMALL[name] | settings)), lambda role, in_channels=3: network(), RECORDS)
    if kind.needs_labels:
        method.set_labels({"label": torch.arange(RECORDS) % 5 - 1}, {"label": 4})  # type: ignore[operator]
    return method


def make_views(method: Method, batch: int = 8, seed: int = 0) -> Views:
    """Random pixels of the shapes that the method's plan asks for."""
    plan = type(method).views(method.cfg)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(seed)
    pixels = {
        spec.name: torch.randn(
            batch, (spec.num_clips or plan.num_clips) * spec.views_per_clip, 3, 2, 8 - 2 * i, 8 - 2 * i, generator=random
        )
        for i, spec in enumerate(plan.groups)
    }
    return Views(pixels=pixels, index=torch.arange(batch) + 3)


def part(views: Views, rows: Any) -> Views:
    return Views(pixels={name: tensor[rows] for name, tensor in views.pixels.items()}, index=views.index[rows])


def context(**changes: Any) -> StepContext:
    given = {"step": 3, "total_steps": 10, "steps_per_epoch": 2, "progress": 0.3, "generator": torch.Generator().manual_seed(5)}
    return StepContext(**(given | changes))


def processes(count: int, work: Callable[[int, StepContext], Any], **changes: Any) -> list[Any]:
    """``work(rank, ctx)`` in one thread a process; ``ctx.gather`` joins their tensors, graphs and all."""
    slots: list[Tensor] = [torch.empty(0)] * count
    barrier = threading.Barrier(count, timeout=20)

    def run(rank: int) -> Any:
        def gather(tensor: Tensor) -> Tensor:
            slots[rank] = tensor
            barrier.wait()
            joined = torch.cat(slots)
            barrier.wait()
            return joined

        try:
            return work(rank, context(gather=gather, **changes))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


class Lab:
    """What the tests of methods use."""

    names = tuple(SMALL)
    build, make_views, part, context, processes = map(staticmethod, (build, make_views, part, context, processes))
    TinyNet, Constant, Augmentation = TinyNet, Constant, Augmentation


@pytest.fixture(scope="session")
def lab() -> type[Lab]:
    return Lab


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", SMALL)
