"""The sample is a function of the seed and the data, is uniform, and keeps groups whole."""

import numpy as np
import pytest

from fullrank.errors import SettingError, ShapeError
from fullrank.spectrum.covariance import spectra_of
from fullrank.spectrum.reservoir import Reservoir

ROWS = np.arange(1000.0)[:, None]


def filled(rows: int, seed: int = 0, batch: int = 1000) -> Reservoir:
    reservoir = Reservoir(rows, seed)
    for start in range(0, 1000, batch):
        reservoir.update(ROWS[start : start + batch])
    return reservoir


def same(a: Reservoir, b: Reservoir) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.contents(), b.contents(), strict=True))


@pytest.mark.parametrize("batch", [1, 37, 999])
def test_batches_do_not_matter(batch: int) -> None:
    assert same(filled(100), filled(100, batch=batch))
    assert not same(filled(100), filled(100, seed=1))


def test_parts_merge_in_any_order() -> None:
    a, b = Reservoir(100), Reservoir(100)
    a.update(ROWS[:300])
    b.update(ROWS[300:], first=300)
    assert same(b.merge(a), filled(100))
    assert b.seen == 1000
    with pytest.raises(SettingError, match="same size and seed"):
        a.merge(Reservoir(100, seed=1))


def test_rows_are_drawn_evenly_and_given_back_in_order() -> None:
    counts = np.zeros(1000)
    for seed in range(200):
        rows, positions, _ = filled(100, seed).contents()
        assert len(np.unique(positions)) == 100
        assert np.array_equal(rows[:, 0], np.sort(positions))
        counts[positions] += 1
    assert counts.mean() == 20
    assert counts.std() == pytest.approx(np.sqrt(200 * 0.1 * 0.9), rel=0.1)
    assert abs(np.corrcoef(counts, np.arange(1000))[0, 1]) < 0.1


def test_all_rows_where_there_is_room() -> None:
    assert np.array_equal(filled(1000).contents()[0], ROWS)


def test_groups_stay_whole() -> None:
    groups = np.repeat(np.arange(250), 4)
    for rows, batch in ((99, 33), (100, 33), (102, 33), (99, 1000), (102, 500)):
        reservoir = Reservoir(rows)
        for start in range(0, 1000, batch):
            reservoir.update(ROWS[start : start + batch], groups[start : start + batch])
        drawn = reservoir.contents()[2]
        assert len(drawn) == rows // 4 * 4
        assert (np.unique(drawn, return_counts=True)[1] == 4).all()


def test_a_group_that_parts_share_stays_whole() -> None:
    groups = np.arange(1000) % 250
    whole, a, b = Reservoir(102), Reservoir(102), Reservoir(102)
    whole.update(ROWS, groups)
    a.update(ROWS[:300], groups[:300])
    b.update(ROWS[300:], groups[300:], first=300)
    assert same(a.merge(b), whole)
    assert (np.unique(a.contents()[2], return_counts=True)[1] == 4).all()


def test_it_is_filled_in_the_pass_that_makes_the_spectrum() -> None:
    x = np.random.default_rng(0).normal(size=(500, 3))
    for shape in (x, x.T[:, :50]):
        reservoir = Reservoir(40)
        alone = Reservoir(40)
        spectra_of(shape, [(True, False), (False, True)], block_rows=77, reservoir=reservoir)
        alone.update(shape)
        assert same(reservoir, alone)


def test_groups_follow_the_blocks() -> None:
    x, groups = np.random.default_rng(0).normal(size=(500, 3)), np.arange(500) // 4
    reservoir, alone = Reservoir(40), Reservoir(40)
    spectra_of(x, [], block_rows=77, reservoir=reservoir, groups=groups)
    alone.update(x, groups)
    assert same(reservoir, alone)


def test_mistakes() -> None:
    with pytest.raises(SettingError, match="at least 2"):
        Reservoir(1)
    with pytest.raises(ShapeError, match="Got 3 for 1000"):
        Reservoir(5).update(ROWS, np.arange(3))
    with pytest.raises(ShapeError, match="Got none"):
        Reservoir(5).contents()
