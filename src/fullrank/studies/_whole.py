"""Training inside a study: all of it, or none."""

from typing import Any

from fullrank.config import RunConfig
from fullrank.engine.loop import train
from fullrank.engine.run import TrainResult


def train_whole(config: RunConfig[Any], **arguments: Any) -> TrainResult:
    """``train``, whose quiet end by Ctrl-C or SIGTERM would let a study go on with a half-trained network.

    ``KeyboardInterrupt`` there; the run's checkpoint is kept.
    """
    result = train(config, **arguments)
    if result.stopped in ("interrupted", "terminated"):
        raise KeyboardInterrupt
    return result
