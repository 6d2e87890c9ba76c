"""What happens to one of two processes, one thing after the other; each writes down how its run ended."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from fullrank.checkpoint.encoder import build_method
from fullrank.config import Augmentation, BackboneConfig, CheckpointConfig, DataConfig, OptimizerConfig, RunConfig
from fullrank.data.sources.arrays import ArraySource
from fullrank.engine import loop, parts
from fullrank.errors import FullrankError, MediaError
from fullrank.methods.vicreg import VICReg

RANK = int(os.environ.get("RANK", "0"))


class Source(ArraySource):
    """Noise; from record number ``reads`` on process 1 does ``then``."""

    def __init__(self, then=None, reads=12):
        super().__init__(np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8))
        self.resident = None
        self.then, self.left = then, reads

    def read(self, index, fractions, spec):
        self.left -= 1
        if RANK == 1 and self.left <= 0 and self.then is not None:
            self.then()
        return super().read(index, fractions, spec)


class InStepOne:
    """An observer; only process 0 has any."""

    def __init__(self, then):
        self.then = then

    def on_step(self, event):
        if event.ctx.step == 1:
            self.then()

    def on_end(self, summary):
        pass


def settings(out, **changes):
    plain = {
        "method": VICReg.Config(augmentation=Augmentation(size_pixels=16), projector=(8, 8)),
        "backbone": BackboneConfig(width=0.125),
        "data": DataConfig(num_frames=1, canvas_pixels=16, batch_size=8, num_workers=0),
        "max_steps": 6,
        "epochs": 100.0,
        "precision": "fp32",
        "device": "cpu",
        "out": out,
    }
    return RunConfig[VICReg.Config](**(plain | changes))


def unreadable():
    raise MediaError("x.mp4", "broken")


def full_disk():
    raise OSError(28, "No space left on device")


def not_finite_on_process_1(*args, **kwargs):
    method = build_method(*args, **kwargs)
    forward = method.forward

    def spoiled(views, ctx):
        output = forward(views, ctx)
        if RANK == 1 and ctx.step == 2:
            output.losses["variance"] = output.losses["variance"] * float("nan")
        return output

    method.forward = spoiled
    return method


def scenes(base):
    """(name, settings, source, observers, how the method is built)."""
    each_step = {"checkpoint": CheckpointConfig(every_steps=1)}
    cannot_save = InStepOne((base / "save" / "checkpoint.pt.tmp").mkdir)
    accumulate = {"optimizer": OptimizerConfig(accumulate_steps=2)}
    yield "save", settings(base / "save", **each_step), Source(), (cannot_save,), build_method
    yield "data", settings(base / "data", **each_step), Source(unreadable), (), build_method
    yield "observer", settings(base / "observer"), Source(), (InStepOne(full_disk),), build_method
    yield "loss", settings(base / "loss"), Source(), (), not_finite_on_process_1
    yield "out", settings(base / "data"), Source(), (), build_method
    stop = Source(lambda: os.kill(os.getpid(), signal.SIGINT))
    yield "signal", settings(base / "signal", max_steps=10_000, epochs=1e5), stop, (), build_method
    budget = settings(base / "budget", max_minutes=0.01, max_steps=10_000, epochs=1e5, **accumulate)
    yield "budget", budget, Source(), (), build_method


def main(base: Path) -> None:
    for name, config, source, observers, build in scenes(base):
        parts.build_method = build
        try:
            result = loop.train(config, source=source, observers=observers)
            said = {"steps": result.steps, "stopped": result.stopped}
        except (FullrankError, OSError) as error:
            said = {"error": type(error).__name__, "sentence": str(error), "exit_code": getattr(error, "exit_code", 1)}
        (base / f"{name}-{RANK}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # leaving gloo in the usual way waits for the others
