"""The alarms of a run: what stands, since when, and what was withdrawn. The rules themselves are spectrum/alarms.py."""

import math
from collections.abc import Mapping
from typing import Any

from fullrank.config import RunConfig
from fullrank.engine.observers import Lines, StepEvent
from fullrank.methods._method import Sign, load_method
from fullrank.spectrum import alarms as rules
from fullrank.spectrum.rules import space_of
from fullrank.spectrum.thresholds import ALARMS, THRESHOLDS

READINGS = 2
"""in a row that make an alarm: one may be a start that is still narrow (MoCo without batch norm)"""
NOT_FINITE = " non_finite"
Found = Mapping[str, dict[str, Any] | None]
"""{name of the alarm: what was found, or None}"""


class Alarms:
    """Writes "collapse" and "recovered" to events.jsonl, each with the step at which it began.

    ``began``: {name: step} of the alarms that stand; a name is the feature's ("embedding") for a complete collapse, else the
    feature's and the kind's. ``every``: steps between two cheap readings; ``batch_size``: records of a micro-batch over all
    processes, which a loss at collapse depends on.
    """

    def __init__(self, events: Lines, *, every: int, batch_size: int, healthy_std: float | None, signs: tuple[Sign, ...]):
        self.events, self.every, self.batch_size, self.healthy_std, self.signs = events, every, batch_size, healthy_std, signs
        self.began: dict[str, int] = {}
        self.suspected: dict[str, tuple[int, int]] = {}
        """{name: (readings in a row, step of the first)}"""
        self.points: dict[str, int] = {}
        """{space: readings in a row that show one point}; what is only narrow is suspected"""
        self.before: dict[str, float] = {}
        """{space: effective rank of the last spectrum}"""
        self.ranks: dict[str, list[float]] = {}
        """{space: effective ranks since training settled}"""

    @classmethod
    def of_run(cls, events: Lines, config: RunConfig[Any], method: str) -> "Alarms":
        """Those of a run with these settings of ``method`` (its name)."""
        return cls(
            events,
            every=config.monitor.cheap_every_steps,
            batch_size=config.data.batch_size // config.optimizer.accumulate_steps,
            # a method that fixes the scale of its embedding has a setting of this name (VICReg's gamma)
            healthy_std=getattr(config.method, "target_std", None),
            signs=load_method(method).signs(config.method),
        )

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Take up the alarms that stood when a run ended, from its events."""
        for row in rows:
            if row["event"] == "collapse" and "name" in row:
                self.began[row["name"]] = row["began"]
            elif row["event"] == "recovered":
                self.began.pop(row.get("name", ""), None)
            elif row["event"] == "rollback":
                self.began.clear()

    def reset(self) -> None:
        """Forget everything: the weights are those of an earlier step."""
        self.began.clear()
        self.suspected.clear()
        self.points.clear()
        self.before.clear()
        self.ranks.clear()

    @property
    def calm(self) -> bool:
        """Whether nothing stands and nothing is suspected."""
        return not self.began and not self.suspected

    def cheap(
        self, event: StepEvent, measures: Mapping[str, Mapping[str, Any]], not_finite: list[str]
    ) -> dict[str, Any] | None:
        """Read scale, metrics and losses of a step; the first new alarm, where one was raised."""
        found: dict[str, dict[str, Any] | None] = {}
        lasting = 1 + -(-ALARMS.lasting_steps // self.every) if _settled(event) else math.inf
        needed = {"loss": lasting}
        for space, numbers in measures.items():
            point = rules.cheap_complete(numbers, space, healthy_std=self.healthy_std)
            self.points[space] = self.points.get(space, 0) + 1 if point else 0
            found[space] = point or rules.cheap_complete(numbers, space, healthy_std=self.healthy_std, lasting=True)
            if self.points[space] < READINGS:
                needed[space] = lasting
        metrics = {name: float(value) for name, value in event.metrics.items()}
        if self.signs:
            found["output"] = rules.by_metrics(self.signs, metrics)
        found["loss"] = self._loss(event, measures)
        found |= {name: None for name in (*self.began, *self.suspected) if name.endswith(NOT_FINITE)}
        if not math.isfinite(float(event.grad_norm)):
            not_finite = [*not_finite, "gradient"]
        for name in not_finite:
            sentence = f"The {name.replace('_', ' ')} is not finite: NaN or infinity in a batch."
            found[f"{name}{NOT_FINITE}"] = {"kind": "non_finite", "sentence": sentence, "evidence": {}}
        needed |= {f"{name}{NOT_FINITE}": 1 for name in not_finite}
        return self._update(event, found, needed, read=dict(measures) | {"output": metrics})

    def full(self, event: StepEvent, spaces: Mapping[str, Mapping[str, Any]], points: Found) -> dict[str, Any] | None:
        """Read the spectra of a step, and whether rows sit at few points; the first new alarm, where one was raised."""
        found: dict[str, dict[str, Any] | None] = {}
        settled = _settled(event)
        for space, numbers in spaces.items():
            now, before = numbers["effective_rank"], self.before.get(space)
            if f"{space} dimensional" in self.began:
                before = now  # it stands until there are directions enough, however slowly they come
            found[f"{space} dimensional"] = rules.few_directions(numbers, space, before) if settled else None
            self.before[space] = now
            if settled:
                history = self.ranks.setdefault(space, [])
                if f"{space} drop" in self.began or f"{space} drop" in self.suspected:
                    history = history[:-1]  # a dropped rank is no usual one
                found[f"{space} drop"] = rules.sudden_drop([*history, now], space)
                self.ranks[space] = [*history, now][-2 * ALARMS.drop_readings :]
        found |= {f"{space} cluster": said if settled else None for space, said in points.items()}
        return self._update(event, found, {}, read=dict(spaces))

    def _loss(self, event: StepEvent, measures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        """At its value for equal outputs; where that is the best there is (0, -1), narrow embeddings must go with it."""
        promised = event.method.at_collapse(self.batch_size)
        said = rules.at_collapse_value({name: float(value) for name, value in event.losses.items()}, promised)
        if said is None or any(value > 0 for value in promised.values()):
            return said
        for space, numbers in measures.items():
            narrow = numbers["d"] ** 0.5 * numbers["normalized_std"] < THRESHOLDS["embedding"].narrow_spread
            if space_of(space) == "embedding" and narrow:
                return said
        return None

    def _update(
        self, event: StepEvent, found: Found, needed: Mapping[str, float], read: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        raised = None
        step = event.ctx.step
        for name, said in found.items():
            space = name.split(" ")[0]
            row = {"step": step, "elapsed_seconds": event.elapsed_seconds, "space": space, "name": name}
            if said is None:
                self.suspected.pop(name, None)
                if name in self.began:
                    self.events.write(
                        {**row, "event": "recovered", "began": self.began.pop(name), "measures": read.get(space, {})}
                    )
                continue
            count, first = self.suspected.get(name, (0, step))
            self.suspected[name] = (count + 1, first)
            if name not in self.began and count + 1 >= needed.get(name, READINGS):
                self.began[name] = first
                alarm = {**row, "event": "collapse", "began": first, **said}
                self.events.write(alarm)
                raised = raised or alarm
        return raised


def _settled(event: StepEvent) -> bool:
    """Whether the start, in which ranks fall and losses sit near their values at collapse, is over."""
    return event.ctx.step >= max(ALARMS.settled_steps, ALARMS.settled_share * event.ctx.total_steps)
