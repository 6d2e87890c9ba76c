"""The live line: loss terms, effective ranks, clips/s, data wait, time left."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fullrank.engine.observers import StepEvent

PLAIN_SECONDS = 10.0
LIVE_SECONDS = 0.25


class Progress:
    """A live line in a terminal; elsewhere a plain line every ten seconds."""

    def __init__(self, total_steps: int, max_minutes: float | None, *, start_step: int = 0):
        self.total_steps, self.max_minutes = total_steps, max_minutes
        self.start_step = start_step
        self.console = Console(stderr=True, highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if sys.stderr.isatty() else None
        self._drawn = time.perf_counter() if self.live is None else 0.0
        self._seconds = self._waited = 0.0
        self._clips = 0
        self._first_elapsed: float | None = None
        if self.live:
            self.live.start()

    def on_step(self, event: StepEvent) -> str | None:
        """Draw when it is time to."""
        self._seconds += event.step_seconds
        self._waited += event.wait_seconds
        self._clips += event.clips
        if self._first_elapsed is None:
            self._first_elapsed = event.elapsed_seconds - event.step_seconds
        now = time.perf_counter()
        if now - self._drawn < (LIVE_SECONDS if self.live else PLAIN_SECONDS):
            return None
        line = self._line(event)
        if self.live:
            self.live.update(Text(line), refresh=True)
        else:
            print(line, file=sys.stderr, flush=True)
        self._drawn, self._seconds, self._waited, self._clips = now, 0.0, 0.0, 0
        return None

    def _line(self, event: StepEvent) -> str:
        ctx = event.ctx
        terms = "  ".join(f"{name} {float(value):.3f}" for name, value in event.losses.items())
        ranks = event.notes.get("ranks", {})
        rank = "  ".join(f"{short} {ranks[s]:.1f}" for short, s in (("h", "representation"), ("z", "embedding")) if s in ranks)
        collapsed = event.notes.get("collapsed", {})
        alarm = f"  COLLAPSED: {', '.join(collapsed)}" if collapsed else ""
        rates = (
            f"{self._clips / max(self._seconds, 1e-9):.0f} clips/s  wait {100 * self._waited / max(self._seconds, 1e-9):.0f}%"
        )
        return (
            f"step {ctx.step}/{self.total_steps}  epoch {ctx.epoch:.1f}  {terms}  "
            f"{'effective rank ' + rank + '  ' if rank else ''}{rates}  {_clock(self._left(event))} left{alarm}"
        )

    def _left(self, event: StepEvent) -> float:
        spent = event.elapsed_seconds - (self._first_elapsed or 0.0)
        by_steps = spent / max(event.ctx.step - self.start_step, 1) * (self.total_steps - event.ctx.step)
        if self.max_minutes is None:
            return by_steps
        return min(by_steps, max(self.max_minutes * 60 - event.elapsed_seconds, 0.0))

    def on_end(self, summary: dict[str, Any]) -> None:
        """Take the line away."""
        if self.live:
            self.live.stop()


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> _clock(75), _clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
