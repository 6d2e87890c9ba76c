"""One real process and two reach the same weights after three steps: `check_processes`, and what its processes run.

One torchrun launch trains all methods; each process writes its states to files, and the files decide.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from fullrank import distributed
from fullrank.checkpoint.encoder import build_method
from fullrank.config import OptimizerConfig, RunConfig
from fullrank.engine import loop, parts
from fullrank.methods._method import load_method
from fullrank.testing.lab import Subject
from fullrank.testing.points import Nonconformance

TOLERANCE = 1e-5
"""float64 networks, float32 views; a gather without gradient is off by more than a hundred times this"""
BATCH = 16


def check_processes(names: Sequence[str], folder: Path) -> None:
    """``Nonconformance`` names the methods that reach other weights with two processes.

    And those that gather, but do not notice a gather without gradient.
    """
    for processes, broken in ((1, False), (2, False), (2, True)):
        launch(names, folder / f"{processes}{'-broken' * broken}", processes, broken)
    wrong = []
    for name in names:
        one, gathers = _state(folder / "1", name, 0), json.loads((folder / "2" / f"{name}-0.json").read_text())["gathers"]
        for rank in range(2):
            if (off := difference(one, _state(folder / "2", name, rank))) > TOLERANCE:
                wrong.append(f"{name} is off by {off:.2g} on process {rank}")
        if gathers and difference(one, _state(folder / "2-broken", name, 0)) < 10 * TOLERANCE:
            wrong.append(f"{name} gathers, but does not notice a gather without gradient")
    if wrong:
        raise Nonconformance("Two processes must reach the weights of one: " + "; ".join(wrong))


def launch(names: Sequence[str], out: Path, processes: int, broken: bool) -> None:
    """Run this file in so many processes."""
    out.mkdir(parents=True)
    command = ["-m", "fullrank.testing.processes", str(out), "broken" if broken else "right", *names]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([sys.executable, *torchrun, *command], env=environment, check=False, capture_output=True, text=True)
    if not all((out / f"done-{rank}").exists() for rank in range(processes)):
        raise Nonconformance(f"{processes} processes did not finish: {done.stderr[-2000:]}")


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest distance of two states."""
    if one.keys() != other.keys():
        return float("inf")
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one if one[k].numel())


def _state(folder: Path, name: str, rank: int) -> dict[str, Tensor]:
    return torch.load(folder / f"{name}-{rank}.pt", weights_only=True)  # type: ignore[no-any-return]


def small(subject: Subject, out: Path) -> RunConfig[Any]:
    """Tiny settings with plain SGD, whose steps do not divide by small gradients."""
    config = subject.settings
    update: dict[str, Any] = {
        "data": config.data.model_copy(update={"batch_size": BATCH, "num_workers": 0}),
        "optimizer": OptimizerConfig(name="sgd", base_learning_rate=0.5),
        "epochs": 2.0,
        "max_steps": 3,
        "out": out,
    }
    # groups of two fit into the share of each process; dropout is drawn by each process for itself
    alike = {"batch_norm_group": 2, "dropout": 0.0}
    changes = {name: value for name, value in alike.items() if name in type(config.method).model_fields}
    update["method"] = config.method.model_copy(update=changes)
    return config.model_copy(update=update)


def _in_float64(config: RunConfig[Any]) -> Fabric:
    """Float32 rounding is amplified by ReLU and BatchNorm to 1e-2 within three steps, whatever the number of processes."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    strategy: Any = DDPStrategy(broadcast_buffers=False) if world > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=world, strategy=strategy, precision="64-true")
    fabric.launch()
    return fabric


class _Gather:
    """The gather of the package, counted; or one that forgets the gradient of the other processes."""

    def __init__(self, broken: bool):
        self.right, self.broken, self.calls = distributed.gather, broken, 0

    def __call__(self, x: Tensor) -> Tensor:
        if x.requires_grad:
            self.calls += 1
        if not self.broken:
            return self.right(x)
        rank, rows = distributed.rank(), len(x)
        everywhere = self.right(x.detach())
        return torch.cat([everywhere[: rank * rows], x, everywhere[(rank + 1) * rows :]])


def main(out: Path, broken: bool, names: Sequence[str]) -> None:
    """Three steps of every method on arrays in memory."""
    engine: Any = loop  # functions of both are exchanged
    builder: Any = parts
    engine.launch = _in_float64
    for name in names:
        subject = Subject(load_method(name))
        gather = _Gather(broken)
        distributed.gather = gather
        built: list[Any] = []
        builder.build_method = lambda *args, built=built, **kwargs: built.append(build_method(*args, **kwargs)) or built[0]
        loop.train(small(subject, out / name), source=subject.source(2 * BATCH))
        distributed.gather = gather.right
        torch.save(built[0].state_dict(), out / f"{name}-{distributed.rank()}.pt")
        (out / f"{name}-{distributed.rank()}.json").write_text(json.dumps({"gathers": gather.calls > 0}))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(folder, sys.argv[2] == "broken", sys.argv[3:])
    (folder / f"done-{distributed.rank()}").touch()
    sys.stdout.flush()
    os._exit(0)  # leaving gloo in the usual way waits for the others
