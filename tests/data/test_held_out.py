"""Records are held out by their names, whatever their order and number."""

import numpy as np
import pytest

from fullrank.data.held_out import held_out
from fullrank.data.sources.arrays import ArraySource
from fullrank.errors import SettingError


def named(names: list[str]) -> ArraySource:
    source = ArraySource(np.zeros((len(names), 1, 4, 4, 3), np.uint8), {}, {})
    source.record_ids = names
    return source


NAMES = [f"video{i:03d}.mp4" for i in range(200)]


def test_every_record_is_on_one_side_and_the_order_changes_nothing() -> None:
    kept, held = held_out(named(NAMES), 40)
    assert (len(kept), len(held)) == (160, 40)
    assert sorted([*kept.record_ids, *held.record_ids]) == NAMES
    assert set(held_out(named(NAMES[::-1]), 40)[1].record_ids) == set(held.record_ids)
    assert list(held.record_ids) != NAMES[:40], "not the first ones, which may be of one class"


def test_more_held_out_are_the_same_and_others_besides() -> None:
    few, many = (set(held_out(named(NAMES), count)[1].record_ids) for count in (20, 60))
    assert few < many


def test_records_that_are_gone_leave_most_of_the_others_where_they_were() -> None:
    held = set(held_out(named(NAMES), 40)[1].record_ids)
    fewer = [name for name in NAMES if name not in set(sorted(held)[:5])]
    assert held - set(sorted(held)[:5]) <= set(held_out(named(fewer), 40)[1].record_ids)


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(SettingError, match="Got 199 of 200"):
        held_out(named(NAMES), 199)
