"""Frames, streams, blocks, tiles and masks of a plan: drawn from (seed, epoch, record, group, view) alone, and what they say.

The views without them are tested in test_plan.py.
"""

import numpy as np
import pytest
import torch

from fullrank import draws
from fullrank.config import Augmentation
from fullrank.errors import SettingError, ShapeError
from fullrank.types import ClipBatch, MaskSpec, TileSpec, ViewPlan, ViewSpec
from fullrank.views import geometry, photometric, policies, streams
from fullrank.views.plan import _render, center_views, make_views
from fullrank.views.pretext import permutations

CPU = torch.device("cpu")
EVERYTHING = Augmentation(
    size_pixels=16,
    min_scale=0.3,
    rotate_prob=(0.5,),
    solarize_prob=(0.3,),
    cutout_prob=(0.3,),
    noise_prob=(0.5,),
    sobel_prob=(0.2,),
)
UNIT = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
FIELDS = {
    "temporal crop": {"views_per_clip": 2, "num_frames": 3, "strides": (1, 2)},
    "gray": {"stream": "gray"},
    "difference": {"stream": "difference", "num_frames": 4},
    "flow": {"stream": "flow", "views_per_clip": 2, "num_frames": 2, "strides": (3,)},
    "flow of all frames": {"stream": "flow", "views_per_clip": 2},
    "blocks": {"num_blocks": 3},
    "tiles": {"views_per_clip": 2, "tiles": TileSpec(grid=2, gap_ratio=0.3)},
    "permuted tiles": {"tiles": TileSpec(grid=2, permutations=24)},
    "random mask": {"views_per_clip": 2, "mask": MaskSpec(ratio=0.6, patch_pixels=4, patch_frames=2)},
    "tube mask": {"num_blocks": 2, "mask": MaskSpec(ratio=0.6, patch_pixels=4, kind="tube")},
}
"""one plan for each field of a ViewSpec that is not about colour"""


def clips(records=6, clips=2, time=6, height=20, epoch=0, index=None):
    """Noise with noise for flow."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (records, clips, time, height, 24, 5), dtype=torch.uint8, generator=generator)
    return ClipBatch(
        frames=noise[..., :3].contiguous(),
        sizes=torch.tensor([height, 24]).expand(records, clips, 2),
        start_seconds=torch.zeros(records, clips, dtype=torch.float64),
        index=torch.arange(records) if index is None else index,
        epoch=epoch,
        flow=noise[..., 3:].contiguous(),
    )


def take(b, rows):
    return ClipBatch(
        frames=b.frames[rows],
        sizes=b.sizes[rows],
        start_seconds=b.start_seconds[rows],
        index=b.index[rows],
        epoch=b.epoch,
        flow=b.flow[rows],
    )


def plain(**changes):
    return policies.plain(16).model_copy(update=changes)


@pytest.fixture(params=["matrix products", "8-bit resize"])
def way(request, monkeypatch):
    """Both ways of resampling on a CPU."""
    monkeypatch.setattr(geometry, "DENSE_MAX_PIXELS", 64 if request.param == "matrix products" else 0)


def views_of(b, seed=0, name="view", aug=EVERYTHING, **spec):
    return make_views(b, ViewPlan(groups=(ViewSpec(name=name, augmentation=aug, **spec),)), seed, CPU)


def parts(views):
    """Everything that a method may read, by name."""
    masks = {f"mask:{name}": mask for name, mask in views.masks.items()}
    return {"pixels": views.group("view")} | masks | views.targets


@pytest.mark.parametrize("spec", FIELDS.values(), ids=FIELDS)
def test_whatever_a_plan_asks_for_is_the_same_in_any_batch_and_order(spec, way):
    b = clips()
    whole = parts(views_of(b, **spec))
    for rows in ([4, 0, 3], [5], [1, 2]):
        alone = parts(views_of(take(b, torch.tensor(rows)), **spec))
        for name, values in whole.items():
            torch.testing.assert_close(alone[name], values[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", FIELDS.values(), ids=FIELDS)
def test_whatever_is_drawn_changes_with_seed_epoch_and_record_and_with_nothing_else(spec):
    """The same frames under another key: what is drawn differs. Colour is off, so only the new fields can."""
    drawn = {"mask:view": True, "pixels": bool({"num_frames", "tiles"} & set(spec))}
    seen = {}
    for key, changes in {"": {}, "again": {}, "epoch": {"epoch": 1}, "record": {"index": torch.arange(6) + 9}}.items():
        seen[key] = parts(views_of(clips(**changes), aug=plain(), **spec))
    seen["seed"] = parts(views_of(clips(), seed=1, aug=plain(), **spec))
    for name in ("pixels", "mask:view"):
        if name in seen[""]:
            assert torch.equal(seen[""][name], seen["again"][name])
            for other in ("epoch", "record", "seed"):
                assert torch.equal(seen[""][name], seen[other][name]) != drawn[name]


def test_plans_without_the_new_fields_draw_and_render_as_ever():
    """One call of ``draws.uniform`` decides all, and the pixels are those of ``_render`` with its placement and look."""
    b, aug = clips(), EVERYTHING
    count = geometry.NUM_DRAWS + photometric.NUM_DRAWS
    u = draws.uniform(7, 0, b.index.numpy(), "view:view", 4 * count).reshape(-1, count)
    number = np.tile(np.arange(4), 6)
    place = geometry.draw_placement(u[:, : geometry.NUM_DRAWS], np.tile([20, 24], (24, 1)), aug, number)
    look = photometric.draw_look(u[:, geometry.NUM_DRAWS :], aug, number)
    expected = _render(b.frames.flatten(0, 1), 2, place, look, aug).view(6, 4, 3, 6, 16, 16)
    views = views_of(b, seed=7, views_per_clip=2)
    assert torch.equal(views.group("view"), expected)
    assert (views.masks, views.targets) == ({}, {})
    all_frames = views_of(b, seed=7, views_per_clip=2, num_frames=6)
    assert torch.equal(all_frames.group("view"), expected)


def numbered(time=8, num_clips=1, records=5):
    """Clips whose frames show their number."""
    b = clips(records=records, clips=num_clips, time=time)
    b.frames[:] = 10 * torch.arange(time, dtype=torch.uint8).view(time, 1, 1, 1)
    return b


def numbers(pixels):
    return (pixels.mean((2, 4, 5)) * 25.5).round().long()


def test_a_temporal_crop_shows_frames_a_stride_apart_from_a_drawn_start(way):
    seen = numbers(
        views_of(numbered(records=40), aug=plain(**UNIT), views_per_clip=2, num_frames=3, strides=(1, 3)).pixels["view"]
    )
    assert (seen.diff(dim=2) == torch.tensor([1, 3])[:, None]).all()
    assert sorted(set(seen[:, 0, 0].tolist())) == [0, 1, 2, 3, 4, 5]
    assert sorted(set(seen[:, 1, 0].tolist())) == [0, 1]


def test_a_temporal_crop_is_the_crop_of_the_whole_view(way):
    """Placement and colours do not depend on which frames are shown. (Contrast is about the mean of the frames: none here.)"""
    b, aug = clips(), Augmentation(size_pixels=16, contrast=0.0)
    whole, crop = (views_of(b, aug=aug, views_per_clip=2, **more).group("view") for more in ({}, {"num_frames": 4}))
    for record in range(6):
        for view in range(4):
            starts = [s for s in range(3) if torch.allclose(crop[record, view], whole[record, view, :, s : s + 4], atol=1e-5)]
            assert len(starts) == 1


def test_blocks_are_consecutive_frames_and_follow_their_view():
    seen = numbers(views_of(numbered(num_clips=2), aug=plain(**UNIT), num_blocks=4).group("view"))
    assert seen.shape == (5, 8, 2)
    assert seen[0].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]] * 2


def test_the_target_says_which_tile_is_where():
    """Without a gap the shown tiles, put back by the permutation that the target names, are the view."""
    b, tiles = clips(records=20), TileSpec(grid=2, gap_ratio=0.0, permutations=10)
    whole = views_of(b, aug=plain(), views_per_clip=2).group("view")
    views = views_of(b, aug=plain(), views_per_clip=2, tiles=tiles)
    target = views.targets["permutation:view"]
    assert target.shape == (20, 4)
    assert target.dtype == torch.int64
    assert len(set(target.flatten().tolist())) == 10
    shown = views.group("view").unflatten(1, (4, 4))
    for record in range(20):
        for view in range(4):
            order = permutations(4, 10)[target[record, view]]
            for position, tile in enumerate(order.tolist()):
                top, left = 8 * (tile // 2), 8 * (tile % 2)
                expected = whole[record, view, :, :, top : top + 8, left : left + 8]
                assert torch.equal(shown[record, view, position], expected)


def test_masks_are_per_record_and_view_and_hide_the_same_number():
    views = views_of(clips(), views_per_clip=2, mask=MaskSpec(ratio=0.75, patch_pixels=4, patch_frames=3))
    hidden = views.masks["view"]
    assert hidden.shape == (6, 4, 2 * 4 * 4)
    assert hidden.dtype == torch.bool
    assert (hidden.sum(2) == 24).all()
    assert len({tuple(row) for row in hidden.flatten(0, 1).tolist()}) == 24
    tubes = views_of(clips(), mask=MaskSpec(ratio=0.5, patch_pixels=8, kind="tube")).masks["view"].unflatten(2, (6, 4))
    assert (tubes == tubes[:, :, :1]).all()


def test_streams_are_made_from_the_augmented_view(way):
    b = clips()
    rgb = views_of(b).group("view")
    for stream in ("gray", "difference"):
        assert torch.equal(views_of(b, stream=stream).group("view"), streams.to_stream(rgb, stream))


def test_flow_has_the_crop_and_frames_of_the_picture_and_no_colour():
    """Flow that is written as the picture's red and green channels comes out where they do."""
    b, aug = clips(), plain(min_scale=0.3, flip_prob=(0.5,), mean=(0.0,) * 3, std=(1.0,) * 3)
    b.frames[..., :2] = b.flow
    crop = {"aug": aug, "views_per_clip": 2, "num_frames": 3, "strides": (2,)}
    rgb, flow = (views_of(b, **crop, **more).group("view") for more in ({}, {"stream": "flow"}))
    assert flow.shape == (6, 4, 2, 3, 16, 16)
    seen = (rgb[:, :, :2] * 255 - 128) / 120
    ratio = (flow * seen).sum((3, 4, 5)) / (seen * seen).sum((3, 4, 5))  # the change of scale, its sign the flip
    torch.testing.assert_close(flow, seen * ratio[..., None, None, None], atol=2e-3, rtol=0)
    assert (ratio[:, :, 1] > 0.5).all()
    assert 0.2 < (ratio[:, :, 0] < 0).float().mean() < 0.8
    still = Augmentation(size_pixels=16, min_scale=0.3, jitter_prob=(1.0,), noise_prob=(1.0,), solarize_prob=(1.0,))
    bare = still.model_copy(update={"jitter_prob": (0.0,), "noise_prob": (0.0,), "solarize_prob": (0.0,)})
    assert torch.equal(*[views_of(b, aug=a, stream="flow").group("view") for a in (still, bare)])


def test_flow_that_is_not_there_is_refused():
    b = clips()
    b.flow = None
    with pytest.raises(ShapeError, match="must bring optical flow.*Got none; open the source with flow=True and --data.cache"):
        views_of(b, stream="flow")


def test_clips_too_short_for_a_plan_are_refused():
    with pytest.raises(SettingError, match="Got clips of 2; raise --data.num-frames to 5"):
        views_of(clips(time=2), num_frames=3, strides=(2,))


def test_center_views_show_any_stream():
    b, mean, std = clips(height=24), (0.5,) * 3, (0.25,) * 3
    rgb = center_views(b, 24, mean, std, CPU)
    for stream in ("gray", "difference"):
        assert torch.equal(center_views(b, 24, mean, std, CPU, stream=stream), streams.to_stream(rgb, stream))
    flow = center_views(b, 24, mean, std, CPU, stream="flow")
    torch.testing.assert_close(flow, (b.flow.permute(0, 1, 5, 2, 3, 4) - 128.0) / 120, atol=1e-5, rtol=0)
