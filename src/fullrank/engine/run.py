"""What surrounds the loop: devices, settings that cannot work, and how long a run is."""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from fullrank.allocation import keep_memory
from fullrank.checkpoint.device import check_device
from fullrank.config import RunConfig
from fullrank.data.source import Source
from fullrank.errors import SettingError
from fullrank.methods._method import Method
from fullrank.views.check import check_plan


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended."""

    folder: Path
    steps: int
    """optimizer steps, earlier parts of a resumed run included"""
    stopped: str | None
    """why it ended before its time; None where it did not"""
    summary: dict[str, Any]
    """what summary.json holds"""
    source: Source
    """what it was trained on"""


def has_bf16(device: str) -> bool:
    """Whether bf16 arithmetic is native (elsewhere it is emulated and slow)."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def launch(config: RunConfig[Any]) -> Fabric:
    """Fabric on the device and in the precision that the settings ask for, one process for each that torchrun started."""
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    check_device(device)
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16(device))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision, which we print ourselves
    world, local = processes(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Fabric warns that a newer torch has another name for this; torch 2.11 has not
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.*is deprecated")
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # buffers (queues, centres) are equal on all processes by construction: broadcasting them would cost each step
    strategy: Any = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(
        accelerator=device,
        devices=local if world > 1 else 1,
        num_nodes=max(world // local, 1),
        strategy=strategy,
        precision="bf16-mixed" if bf16 else "32-true",
    )
    if device == "cpu":
        keep_memory()
    else:  # shapes stay the same from step to step: let cuDNN try its algorithms once
        torch.backends.cudnn.benchmark = True
    fabric.launch()
    return fabric


def processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def check_settings(config: RunConfig[Any], cls: type[Method], world: int) -> None:
    """Combinations that cannot work on ``world`` processes, named before any data are touched."""
    accumulate = config.optimizer.accumulate_steps
    if config.data.batch_size % (accumulate * world):
        raise SettingError(
            f"data.batch_size must be a multiple of accumulate_steps x processes = {accumulate * world}. "
            f"Got {config.data.batch_size}; change --data.batch-size."
        )
    micro = config.data.batch_size // accumulate
    if micro < 2:
        raise SettingError(
            f"A micro-batch (data.batch_size / accumulate_steps) must have at least 2 records. Got {config.data.batch_size} / "
            f"{accumulate}; raise --data.batch-size."
        )
    plan = cls.views(config.method)
    for group in plan.groups:
        size = group.augmentation.size_pixels
        if size > config.data.canvas_pixels:
            raise SettingError(
                f"The crop (augmentation.size_pixels) must not be larger than the canvas (data.canvas_pixels). Got {size} and "
                f"{config.data.canvas_pixels} for view group '{group.name}'; raise --data.canvas-pixels."
            )
    check_plan(plan, plan.num_frames or config.data.num_frames, config.data.cache)
    cls.check(config.method, batch_size=micro, world=world)


def compile_backbones(method: nn.Module) -> None:
    """torch.compile what has an ``embed_dim``, in place: parameters, buffers and their names stay what they are."""
    for part in method.modules():
        if hasattr(part, "embed_dim"):
            part.compile(dynamic=False)


def total_steps(config: RunConfig[Any], steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    by_epochs = max(1, round(config.epochs * steps_per_epoch))
    return min(by_epochs, config.max_steps) if config.max_steps else by_epochs
