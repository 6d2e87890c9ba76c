"""What the steps eat: batches from the loader, made into views on the device."""

import time

from fullrank.engine.parts import Parts
from fullrank.engine.together import together
from fullrank.engine.watch import Watch
from fullrank.types import ClipBatch, Views
from fullrank.views.plan import make_views


class Feed:
    """The micro-batches from step ``step`` on, and what of a step went into waiting for them."""

    def __init__(self, parts: Parts, watch: Watch, step: int):
        self.parts, self.watch = parts, watch
        self.seek(step)

    def seek(self, step: int) -> None:
        """Go on with what step ``step`` sees."""
        self._batches = self.parts.loader.batches(step * self.parts.config.optimizer.accumulate_steps)
        self.begin_step()

    def begin_step(self) -> None:
        """Count from zero."""
        self.waited_seconds, self.clips = 0.0, 0

    def views(self) -> Views:
        """Of the next micro-batch."""
        begin = time.perf_counter()
        batch = together(self.parts.fabric, self._take)
        self.waited_seconds += time.perf_counter() - begin
        self.clips += batch.frames.shape[0] * batch.frames.shape[1]
        return make_views(batch, self.parts.plan, self.parts.config.seed, self.parts.fabric.device)

    def _take(self) -> ClipBatch:
        batch = next(self._batches)
        self.watch.skipped(batch)
        return batch
