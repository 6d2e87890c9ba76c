"""Back to the last healthy checkpoint, with a smaller learning rate, at most so many times."""

from collections.abc import Callable
from typing import Any

from lightning_fabric import Fabric
from torch.optim import Optimizer

from fullrank.checkpoint.save import HEALTHY, load_checkpoint
from fullrank.config import MonitorConfig
from fullrank.engine.together import together
from fullrank.engine.watch import Watch
from fullrank.methods._method import Method


class Rollback:
    """How often a run went back, and what that does to its learning rate."""

    def __init__(self, cfg: MonitorConfig, done: int):
        self.cfg, self.done = cfg, done

    @property
    def wanted(self) -> bool:
        """Whether an alarm makes the run go back at all."""
        return self.cfg.on_collapse == "rollback"

    @property
    def left(self) -> bool:
        """Whether it may go back once more."""
        return self.wanted and self.done < self.cfg.rollbacks

    @property
    def factor(self) -> float:
        """On the learning rate."""
        return float(self.cfg.rollback_factor**self.done)

    def go(
        self,
        fabric: Fabric,
        method: Method,
        optimizer: Optimizer,
        watch: Watch,
        alarm: dict[str, Any],
        save: Callable[[int], None],
    ) -> int:
        """Restore weights and optimizer of the healthy checkpoint, note it, and save it as the newest: returns its step.

        Saved at once, so that a run that is resumed afterwards knows how often it went back.
        """
        state = together(fabric, lambda: load_checkpoint(watch.folder / HEALTHY))
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        optimizer.zero_grad(set_to_none=True)
        self.done += 1
        step = int(state["step"])
        watch.went_back(step, alarm, self.done, self.factor)
        save(step)
        return step

    def exhausted(self, alarm: dict[str, Any]) -> str:
        """Why the run ends."""
        return f"{alarm['sentence']} It went back {self.done} times before this."
