"""Three steps of every method on arrays in memory; writes the states that each process reached."""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

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


def in_float64(config):
    """Float32 rounding is amplified by ReLU and BatchNorm to 1e-2 within three steps, whatever the number of processes."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=world, strategy=strategy, precision="64-true")
    fabric.launch()
    return fabric


def main(out: Path, broken: bool) -> None:
    loop.launch = in_float64
    if broken:
        right = distributed.gather

        def only_own_part_has_a_gradient(x):
            rank, rows = distributed.rank(), len(x)
            everywhere = right(x.detach())
            return torch.cat([everywhere[: rank * rows], x, everywhere[(rank + 1) * rows :]])

        distributed.gather = only_own_part_has_a_gradient
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
                "epochs": 2.0,
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
