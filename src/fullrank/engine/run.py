"""What surrounds the loop: devices, the run folder, and how long a run is."""

import json
import logging
import os
import platform
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from fullrank import __version__
from fullrank.config import RunConfig, settings_hash
from fullrank.errors import SettingError
from fullrank.types import ViewPlan


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


def has_bf16(device: str) -> bool:
    """Whether bf16 arithmetic is native (elsewhere it is emulated and slow)."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def launch(config: RunConfig[Any]) -> Fabric:
    """Fabric on the device and in the precision that the settings ask for, one process for each that torchrun started."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device must be cpu or auto on this machine. Got cuda, and torch sees no GPU.")
    device = config.device if config.device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = config.precision == "bf16" or (config.precision == "auto" and has_bf16(device))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision, which we print ourselves
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
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
    fabric.launch()
    return fabric


def check_settings(config: RunConfig[Any], plan: ViewPlan, world: int) -> None:
    """Combinations that cannot work, named before any data are touched."""
    micro = config.optimizer.accumulate_steps * world
    if config.data.batch_size % micro:
        raise SettingError(
            f"data.batch_size must be a multiple of accumulate_steps x processes = {micro}. Got {config.data.batch_size}."
        )
    for group in plan.groups:
        size = group.augmentation.size_pixels
        if size > config.data.canvas_pixels:
            raise SettingError(
                f"The crop (augmentation.size_pixels) must not be larger than the canvas (data.canvas_pixels). Got {size} and "
                f"{config.data.canvas_pixels} for view group '{group.name}'; raise --data.canvas-pixels."
            )


def new_folder(config: RunConfig[Any], recipe: str) -> Path:
    """``config.out``, or runs/<recipe>-<number>; refuses a folder that already holds a run."""
    if config.out is not None:
        folder = config.out
        if (folder / "config.json").exists():
            raise SettingError(
                f"out must be a new folder. Got {folder}, which holds a run; `fullrank train --resume {folder}` goes on."
            )
        if folder.exists() and not folder.is_dir():
            raise SettingError(f"out must be a folder. Got the file {folder}.")
    else:
        number = 1
        while (folder := Path("runs") / f"{recipe or 'run'}-{number}").exists():
            number += 1
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_record(folder: Path, record: dict[str, Any], precision: str, device: str) -> None:
    """config.json and environment.json."""
    (folder / "config.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    environment = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "precision": precision,
    }
    (folder / "environment.json").write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def make_record(config: RunConfig[Any], method: str, recipe: str, num_records: int, command: str | None) -> dict[str, Any]:
    """What config.json holds."""
    settings = config.model_dump(mode="json")
    return {
        "fullrank": __version__,
        "recipe": recipe,
        "method": method,
        "settings": settings,
        "hash": settings_hash({k: v for k, v in settings.items() if k != "out"}),
        "num_records": num_records,
        "command": command or " ".join(["python", *sys.argv]),
    }


def total_steps(config: RunConfig[Any], steps_per_epoch: int) -> int:
    """Optimizer steps of the whole run."""
    by_epochs = max(1, round(config.epochs * steps_per_epoch))
    return min(by_epochs, config.max_steps) if config.max_steps else by_epochs
