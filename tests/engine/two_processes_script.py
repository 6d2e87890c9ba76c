"""Three steps of every method on arrays in memory; writes the states that each process reached."""

import os
import sys
from pathlib import Path

import numpy as np
import torch

from fullrank import distributed
from fullrank.checkpoint.encoder import build_method
from fullrank.config import BackboneConfig, DataConfig, OptimizerConfig
from fullrank.data.sources.arrays import ArraySource
from fullrank.engine import loop
from fullrank.methods._method import available
from fullrank.recipes import recipe


def source():
    frames = np.random.default_rng(0).integers(0, 256, (32, 4, 20, 20, 3), dtype=np.uint8)
    labels = {"digit": np.arange(32, dtype=np.int64) % 4}
    return ArraySource(frames, labels, {"digit": ["a", "b", "c", "d"]}, frames_per_second=8.0)


def main(out: Path, broken: bool) -> None:
    if broken:
        alone = distributed.gather
        distributed.gather = lambda x: alone(x.detach())
    for name in ("vicreg",) if broken else available():
        config = recipe(f"{name}.tiny")
        method = config.method
        if "batch_norm_group" in type(method).model_fields:
            method = method.model_copy(update={"batch_norm_group": 2})
        config = config.model_copy(
            update={
                "method": method,
                "backbone": BackboneConfig(width=0.125, temporal="slow"),
                "data": DataConfig(num_frames=2, frames_per_second=8.0, canvas_pixels=32, batch_size=16, num_workers=0),
                "optimizer": OptimizerConfig(name="sgd", base_learning_rate=0.5),
                "max_steps": 3,
                "out": out / name,
            }
        )
        built = []
        loop.build_method = lambda *args, built=built, **kwargs: built.append(build_method(*args, **kwargs)) or built[0]
        loop.train(config, source=source())
        torch.save(built[0].state_dict(), out / f"{name}-{os.environ.get('RANK', '0')}.pt")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(folder, "--broken-gather" in sys.argv)
    (folder / f"done-{os.environ.get('RANK', '0')}").touch()
    sys.stdout.flush()
    os._exit(0)
