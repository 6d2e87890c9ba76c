"""A plan that cannot be made is refused before any data are touched, with one sentence that says what to change."""

from pathlib import Path

import pytest

from fullrank.config import Augmentation
from fullrank.errors import SettingError
from fullrank.types import MaskSpec, TileSpec, ViewPlan, ViewSpec
from fullrank.views.check import check_plan


def plan(size=32, **spec):
    return ViewPlan(groups=(ViewSpec(name="view", augmentation=Augmentation(size_pixels=size), **spec),))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (dict(num_frames=4, strides=(1, 3)), "fit into a clip, which takes 10. Got clips of 8; raise --data.num-frames to 10"),
        (dict(num_frames=9), "Got clips of 8; raise --data.num-frames to 9"),
        (dict(num_frames=0), "num_frames must be at least 1. Got 0"),
        (dict(num_frames=2, strides=()), "strides must be whole numbers"),
        (dict(num_frames=2, strides=(0,)), "strides must be whole numbers"),
        (dict(num_frames=1, stream="difference"), "must have at least 2 frames. Got 1; raise --data.num-frames"),
        (dict(num_blocks=3), "Got 8 frames for 3 blocks; make --data.num-frames a multiple of 3"),
        (dict(num_frames=7, num_blocks=2), "Got 7 frames for 2 blocks"),
        (dict(num_blocks=2, tiles=TileSpec(grid=2)), "into blocks or into tiles"),
        (dict(tiles=TileSpec(grid=1)), "a grid of at least 2"),
        (dict(tiles=TileSpec(grid=2, gap_ratio=1.0)), r"gap_ratio in \[0, 1\)"),
        (dict(tiles=TileSpec(grid=40)), "at least 1 pixel. Got a grid of 40 on 32 pixels"),
        (dict(tiles=TileSpec(grid=4, permutations=10)), "grids of at most 3. Got a grid of 4"),
        (dict(tiles=TileSpec(grid=2, permutations=25)), r"of 4 tiles must be in \[2, 24\]. Got 25"),
        (dict(mask=MaskSpec(ratio=75, patch_pixels=8)), r"must be in \(0, 1\). Got 75. Did you mean 0.75\?"),
        (dict(mask=MaskSpec(ratio=0.5, patch_pixels=7)), "patches of 7 pixels must tile the view. Got 32 pixels"),
        (dict(mask=MaskSpec(ratio=0.5, patch_pixels=8, patch_frames=3)), "patches of 3 frames must tile the view. Got 8"),
        (dict(mask=MaskSpec(ratio=0.5, patch_pixels=8, patch_frames=8), num_blocks=2), "patches of 8 frames .* Got 4"),
        (dict(mask=MaskSpec(ratio=0.01, patch_pixels=16, patch_frames=8)), "Got 0 hidden of 4"),
        (dict(mask=MaskSpec(ratio=0.5, patch_pixels=8), tiles=TileSpec(grid=2)), "Got 14 pixels"),
        (dict(stream="flow"), "--data.cache must be given"),
    ],
)
def test_what_cannot_be_made_is_refused(spec, sentence):
    with pytest.raises(SettingError, match=sentence):
        check_plan(plan(**spec), 8)


@pytest.mark.parametrize(
    "spec",
    [
        dict(num_frames=4, strides=(1, 2)),
        dict(num_frames=2, stream="difference"),
        dict(num_blocks=4),
        dict(tiles=TileSpec(grid=3, permutations=1000)),
        dict(mask=MaskSpec(ratio=0.75, patch_pixels=8, patch_frames=2, kind="tube")),
        dict(stream="flow"),
    ],
)
def test_what_can_be_made_passes(spec):
    check_plan(plan(**spec), 8, cache=Path("somewhere"))


def test_only_a_plan_that_shows_flow_needs_it():
    assert plan(stream="flow").needs_flow
    assert not plan(stream="gray").needs_flow
