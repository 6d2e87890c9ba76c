"""Alarms between two readings: what is suspected, raised with the step at which it began, withdrawn, and taken up again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fullrank.engine.alarms import Alarms
from fullrank.engine.observers import Lines, read_lines
from fullrank.spectrum.thresholds import ALARMS

HEALTHY = {"n": 64, "d": 100, "std": 1.0, "normalized_std": 0.1, "mean_cosine": 0.0}
POINT = HEALTHY | {"normalized_std": 1e-4, "mean_cosine": 0.9999}
NARROW = HEALTHY | {"normalized_std": 0.01, "mean_cosine": 0.99}
"""a spread of 0.1: complete for the verdict, too wide for an alarm at once"""
EVERY = 10


def alarms(folder: Path) -> Alarms:
    return Alarms(Lines(folder / "events.jsonl"), every=EVERY, batch_size=64, healthy_std=None, signs=())


def event(step: int, losses: dict[str, float] | None = None, promised: dict[str, float] | None = None) -> Any:
    return SimpleNamespace(
        ctx=SimpleNamespace(step=step, total_steps=1000),
        losses=losses or {},
        grad_norm=1.0,
        metrics={},
        elapsed_seconds=float(step),
        method=SimpleNamespace(at_collapse=lambda batch_size: promised or {}),
    )


def test_one_narrow_reading_is_a_start_and_two_are_an_alarm_that_began_at_the_first(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    readings = [POINT, HEALTHY, POINT, POINT, POINT, HEALTHY]
    raised = [mine.cheap(event(EVERY * (i + 1)), {"embedding": row}, []) for i, row in enumerate(readings)]
    assert [found is not None for found in raised] == [False, False, False, True, False, False]
    rows = read_lines(tmp_path / "events.jsonl")
    assert [(row["event"], row["step"], row["began"]) for row in rows] == [("collapse", 40, 30), ("recovered", 60, 30)]
    assert mine.calm


def test_nothing_is_calm_while_something_is_suspected(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    assert mine.calm
    mine.cheap(event(10), {"embedding": POINT}, [])
    assert not mine.calm
    assert not mine.began


def told(folder: Path) -> list[tuple[str, int, int]]:
    return [(row["event"], row["step"], row["began"]) for row in read_lines(folder / "events.jsonl")]


def test_what_stays_narrow_is_an_alarm_in_the_end(tmp_path: Path) -> None:
    """BYOL, BraVe without BatchNorm: a mean cosine of 0.99 from step 30 on, and never more."""
    mine = alarms(tmp_path)
    for step in range(EVERY, 3 * ALARMS.lasting_steps, EVERY):
        mine.cheap(event(step), {"embedding": HEALTHY if step < 50 else NARROW}, [])
    assert told(tmp_path) == [("collapse", 50 + ALARMS.lasting_steps, 50)]


def test_what_is_narrow_for_a_while_is_none(tmp_path: Path) -> None:
    """CVRL without BatchNorm: a mean shift whose batches fall below the verdict's spread for some tens of steps."""
    mine = alarms(tmp_path)
    for step in range(EVERY, 5 * ALARMS.lasting_steps, EVERY):
        mine.cheap(event(step), {"embedding": HEALTHY if step % ALARMS.lasting_steps == 0 else NARROW}, [])
    assert told(tmp_path) == []


def test_neither_a_narrow_start_nor_a_loss_raises_an_alarm_before_training_settled(tmp_path: Path) -> None:
    """Of a long run: 5 % of it, where that is more than the steps that they must last."""
    mine, value, steps = alarms(tmp_path), 4.143, 6 * ALARMS.lasting_steps
    for step in range(EVERY, steps + 1, EVERY):
        now = event(step, {"nt_xent": value}, {"nt_xent": value})
        now.ctx.total_steps = round(steps / ALARMS.settled_share)
        mine.cheap(now, {"embedding": NARROW}, [])
    assert told(tmp_path) == [("collapse", steps, EVERY), ("collapse", steps, EVERY)], "the embedding and the loss"


def test_an_alarm_stands_until_the_verdict_would_not_say_it(tmp_path: Path) -> None:
    """BraVe's was withdrawn at a spread of 0.06, ten steps after it was raised."""
    mine = alarms(tmp_path)
    for i, row in enumerate([HEALTHY, POINT, POINT, NARROW, NARROW, HEALTHY]):
        mine.cheap(event(EVERY * (i + 1)), {"embedding": row}, [])
    assert told(tmp_path) == [("collapse", 30, 20), ("recovered", 60, 20)]


def test_what_is_not_finite_is_an_alarm_at_once(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    found = mine.cheap(event(10), {}, ["embedding"])
    assert found is not None
    assert (found["kind"], found["began"], found["space"]) == ("non_finite", 10, "embedding")
    assert mine.cheap(event(20), {"embedding": HEALTHY}, []) is None
    assert mine.calm


def test_so_is_a_gradient_that_the_loss_does_not_show_yet(tmp_path: Path) -> None:
    mine, now = alarms(tmp_path), event(10)
    now.grad_norm = float("inf")
    found = mine.cheap(now, {"embedding": HEALTHY}, [])
    assert found is not None
    assert (found["kind"], found["space"]) == ("non_finite", "gradient")


def test_a_loss_at_its_collapse_value_must_stay_there(tmp_path: Path) -> None:
    """A start sits near log(2N - 1) as well."""
    mine, value = alarms(tmp_path), 4.143
    steps = range(EVERY, 3 * ALARMS.lasting_steps, EVERY)
    raised = [mine.cheap(event(s, {"nt_xent": value}, {"nt_xent": value}), {"embedding": HEALTHY}, []) for s in steps]
    first = next(found for found in raised if found is not None)
    assert first["step"] - first["began"] == ALARMS.lasting_steps
    assert first["name"] == "loss"
    other = alarms(tmp_path)
    losses = [value if s <= ALARMS.lasting_steps // 2 else 0.8 * value for s in steps]
    assert not any(
        other.cheap(event(s, {"nt_xent": x}, {"nt_xent": value}), {"embedding": HEALTHY}, [])
        for s, x in zip(steps, losses, strict=True)
    )


@pytest.mark.parametrize(("spread", "raised"), [(0.1, False), (0.03, True)])
def test_a_loss_whose_collapse_value_is_the_best_there_is_needs_narrow_embeddings(
    tmp_path: Path, spread: float, raised: bool
) -> None:
    """BYOL at 0: a perfect encoder has it as well."""
    mine, row = alarms(tmp_path), HEALTHY | {"normalized_std": spread}
    found = [
        mine.cheap(event(s, {"regression": 0.0}, {"regression": 0.0}), {"embedding": row}, [])
        for s in range(EVERY, 3 * ALARMS.lasting_steps, EVERY)
    ]
    assert any(each is not None for each in found) is raised


def full(mine: Alarms, step: int, rank: float, space: str = "embedding") -> dict[str, Any] | None:
    return mine.full(event(step), {space: HEALTHY | {"n": 2048, "effective_rank": rank}}, {})


def test_a_narrow_start_that_widens_raises_nothing(tmp_path: Path) -> None:
    """MoCo's: rank and spread fall for some steps and come back."""
    mine = alarms(tmp_path)
    ranks = [60, 20, 3, 2, 2, 4, 10, 25, 40]
    assert not any(full(mine, 10 * (i + 1), rank) for i, rank in enumerate(ranks))


def test_few_directions_after_the_start_are_an_alarm(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    raised = [full(mine, 200 + 50 * i, 2.0) for i in range(4)]
    assert [found is not None for found in raised] == [False, False, True, False], "known from the second on, two in a row"
    assert raised[2]["kind"] == "dimensional"  # type: ignore[index]


def test_few_directions_stand_while_they_grow_slowly(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    for i, rank in enumerate([2.0, 2.0, 2.0, 2.5, 3.5, 5.0, 50.0]):
        full(mine, 200 + 50 * i, rank)
    assert told(tmp_path) == [("collapse", 300, 250), ("recovered", 500, 250)]


def test_a_drop_is_confirmed_by_a_second_reading_and_withdrawn(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    ranks = [50, 52, 49, 51, 10, 11, 12, 50]
    raised = [full(mine, 200 + 50 * i, rank, "representation") for i, rank in enumerate(ranks)]
    assert [found is not None for found in raised] == [False] * 5 + [True, False, False]
    rows = read_lines(tmp_path / "events.jsonl")
    assert [(row["event"], row["began"]) for row in rows] == [("collapse", 400), ("recovered", 400)]
    assert rows[0]["evidence"] == {"effective_rank": 11, "effective_rank_before": 50.5}


def test_one_odd_reading_is_no_drop(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    assert not any(full(mine, 200 + 50 * i, rank) for i, rank in enumerate([50, 52, 49, 51, 10, 50, 50]))


@pytest.mark.parametrize("space", ["prediction", "embedding"])
def test_the_fall_of_ranks_at_the_start_is_no_drop(tmp_path: Path, space: str) -> None:
    """BraVe and BYOL as they are: the prediction falls from 100 to 20 within a hundred steps, the embedding from 100 to 50."""
    mine = alarms(tmp_path)
    ranks = [100, 101, 100, 90, 80, 30, 28, 27, 26, 25, 24]
    assert not any(full(mine, 20 * (i + 1), rank, space) for i, rank in enumerate(ranks))
    assert not mine.suspected


def test_a_rank_that_dropped_is_no_usual_one(tmp_path: Path) -> None:
    """Else a drop would be forgotten after some spectra."""
    mine = alarms(tmp_path)
    for i, rank in enumerate([50.0] * 4 + [11.0] * 10):
        full(mine, 200 + 10 * i, rank)
    assert told(tmp_path) == [("collapse", 250, 240)]


def test_alarms_that_stood_are_taken_up_again(tmp_path: Path) -> None:
    mine = alarms(tmp_path)
    for step in (10, 20):
        mine.cheap(event(step), {"embedding": POINT, "representation": POINT}, [])
    for step in (30, 40):
        mine.cheap(event(step), {"embedding": POINT, "representation": HEALTHY}, [])
    later = alarms(tmp_path)
    later.restore(read_lines(tmp_path / "events.jsonl"))
    assert later.began == {"embedding": 10}
    assert later.cheap(event(50), {"embedding": POINT}, []) is None, "it is known already"
