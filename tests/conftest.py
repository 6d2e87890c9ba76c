"""Shared fixtures: a small source in memory with two known factors, and where the shared data would lie."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fullrank.config import Augmentation, BackboneConfig, DataConfig, OptimizerConfig, RunConfig
from fullrank.types import Clip, ClipSpec

torch.set_num_threads(1)


class MemorySource:
    """Coloured squares that move: enough to train on for a few steps."""

    def __init__(self, records: int = 32, frames: int = 4, size: int = 16, seed: int = 0):
        rng = np.random.default_rng(seed)
        colours = rng.integers(0, 256, (records, 1, 1, 1, 3))
        noise = rng.integers(0, 80, (records, frames, size, size, 3))
        self.resident = np.clip(colours * 0.7 + noise, 0, 255).astype(np.uint8)
        self.description = f"{records} synthetic clips"
        self.fingerprint = hashlib.sha256(self.resident.tobytes()).hexdigest()[:12]
        self.record_ids = [f"{i:04d}" for i in range(records)]
        self.labels = {"label": (colours[:, 0, 0, 0, 0] > 127).astype(np.int64)}
        self.classes = {"label": ["dark", "bright"]}
        self.reads_fast = True

    def __len__(self) -> int:
        return len(self.resident)

    def read(self, index: int, fractions: Sequence[float], spec: ClipSpec) -> list[Clip]:
        frames = self.resident[index]
        pts = np.arange(len(frames)) / spec.frames_per_second
        return [Clip(frames=frames[: spec.num_frames], pts_seconds=pts[: spec.num_frames]) for _ in fractions]


@pytest.fixture
def memory_source() -> Callable[..., MemorySource]:
    return MemorySource


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
