"""Seconds a step of a training run, as an observer sees them."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fullrank.config import RunConfig
from fullrank.data.clips import clip_spec
from fullrank.data.sources.arrays import ArraySource
from fullrank.engine.loop import train
from fullrank.engine.observers import StepEvent
from fullrank.methods._method import load_method


class Clock:
    """Waits for the device after each step and notes the time."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def on_step(self, event: StepEvent) -> str | None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        return None

    def on_end(self, summary: dict[str, Any]) -> None:
        pass


def random_source(config: RunConfig[Any], name: str, records: int) -> ArraySource:
    """Records of noise of the size that the settings ask for, with two label sets for the supervised baseline."""
    spec = clip_spec(load_method(name).views(config.method), config.data)
    side = config.data.canvas_pixels
    length = 1 if spec.num_frames == 1 else 2 * spec.num_frames
    frames = np.random.default_rng(0).integers(0, 256, (records, length, side, side, 3), dtype=np.uint8)
    labels = {label: np.arange(records) % 8 for label in ("label", "digit", "motion")}
    classes = {label: [str(i) for i in range(8)] for label in labels}
    return ArraySource(frames, labels, classes, frames_per_second=spec.frames_per_second)


def steps(config: RunConfig[Any], source: ArraySource, count: int, warm_up: int) -> dict[str, float]:
    """{"first": seconds of the first step, "step": median of those after ``warm_up``, "peak_gib": of the GPU, or 0}."""
    clock, gpu = Clock(), torch.cuda.is_available() and config.device == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        update = {"max_steps": count, "epochs": 10_000.0, "max_minutes": None, "out": Path(folder) / "run"}
        result = train(config.model_copy(update=update), source=source, observers=(clock,))
        if result.stopped is not None:
            raise SystemExit(f"the run was {result.stopped} after {result.steps} steps: nothing was measured.")
    seconds = np.diff(clock.times)
    return {
        "first": float(seconds[0]),
        "step": statistics.median(seconds[min(warm_up, len(seconds) - 1) :].tolist()),
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if gpu else 0.0,
    }
