"""Shared fixtures: a small source in memory with two known factors, and where the shared data would lie.

And the shapes in the package's annotations are checked at every call that a test makes.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import av
import jaxtyping
import numpy as np
import pytest
import torch
from beartype import beartype


def _names_shapes(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_names_shapes(part) for part in get_args(hint))


def _check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype for the annotations with shapes. The others are mypy's: it knows protocols, ``Self``, and an int for a float."""
    function.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if _names_shapes(hint)}
    return beartype(function) if function.__annotations__ else function


def _modules_with_shapes() -> list[str]:
    """Found in the text, because the hook must be there before they are imported."""
    spec = importlib.util.find_spec("fullrank")
    if spec is None or spec.origin is None:
        raise RuntimeError("fullrank must be installed. Got no package of that name; run `make test`.")
    root = Path(spec.origin).parent
    files = [file for file in root.rglob("*.py") if "from jaxtyping import" in file.read_text(encoding="utf-8")]
    return [".".join(("fullrank", *file.relative_to(root).with_suffix("").parts)) for file in files]


# The hook takes its checker by the name of a module; pytest's name for this file depends on where it was started.
sys.modules["fullrank_shape_checker"] = checker = ModuleType("fullrank_shape_checker")
checker.check = _check_shapes  # type: ignore[attr-defined]
jaxtyping.install_import_hook(_modules_with_shapes(), "fullrank_shape_checker.check")

from fullrank.config import Augmentation, BackboneConfig, DataConfig, OptimizerConfig, RunConfig  # noqa: E402
from fullrank.data.sources.arrays import ArraySource  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture
def wrong_shapes() -> Iterator[None]:
    """For tests that hand over wrong shapes on purpose, to read the sentence that a user would get."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


def coloured_clips(records: int = 32, frames: int = 4, size: int = 16, seed: int = 0) -> ArraySource:
    """Noise in a colour that is the record's own."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (records, 1, 1, 1, 3))
    pixels = np.clip(colours * 0.7 + rng.integers(0, 80, (records, frames, size, size, 3)), 0, 255).astype(np.uint8)
    labels = {"label": (colours[:, 0, 0, 0, 0] > 127).astype(np.int64)}
    return ArraySource(pixels, labels, {"label": ["dark", "bright"]}, frames_per_second=4.0)


@pytest.fixture
def memory_source() -> Callable[..., ArraySource]:
    return coloured_clips


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("the shared data beside the checkout are absent")
    return folder


@pytest.fixture
def vicreg_settings() -> Callable[..., RunConfig[Any]]:
    """Settings of a run of seconds on ``MemorySource``; keyword arguments replace whole sections."""

    def make(**changes: Any) -> RunConfig[Any]:
        from fullrank.methods.vicreg import VICReg

        method = VICReg.Config(rho=2, augmentation=Augmentation(size_pixels=16), projector=(16, 16))
        settings = {
            "method": method,
            "backbone": BackboneConfig(width=0.125, stem="imagenet", temporal="slow"),
            "data": DataConfig(num_frames=2, frames_per_second=4.0, canvas_pixels=16, batch_size=8, num_workers=0),
            "optimizer": OptimizerConfig(base_learning_rate=0.5, momentum=0.9),
            "max_steps": 6,
            "precision": "fp32",
            "device": "cpu",
        }
        return RunConfig[VICReg.Config](**(settings | changes))

    return make


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve short H.264 files of a moving square, in two folders."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(12):
        place = folder / ("left" if number % 2 else "right")
        place.mkdir(exist_ok=True)
        with av.open(str(place / f"{number:02d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=8)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            for t in range(16):
                frame = np.full((32, 48, 3), 20 * number, np.uint8)
                x = (2 * t + 3 * number) % 36
                frame[8:20, x : x + 12] = (255, 10 * number, 40)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    return folder


SMALL = [
    "--backbone.width",
    "0.125",
    "--method.augmentation.size-pixels",
    "32",
    "--data.canvas-pixels",
    "32",
    "--data.batch-size",
    "4",
    "--data.num-workers",
    "0",
    "--data.num-frames",
    "2",
    "--precision",
    "fp32",
    "--device",
    "cpu",
    "--method.projector",
    "16",
    "16",
]
"""flags that make a run of vicreg.video one of seconds"""


@pytest.fixture(scope="session")
def small_flags() -> list[str]:
    return list(SMALL)
