"""Views are a function of (seed, epoch, record, group, view) alone, and of nothing outside the picture."""

import pytest
import torch

from fullrank.config import Augmentation
from fullrank.errors import SettingError, ShapeError
from fullrank.types import ClipBatch, ViewPlan, ViewSpec
from fullrank.views import geometry, policies
from fullrank.views.plan import center_views, make_views, multi_view

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


def batch(records=6, clips=1, time=2, height=20, width=24, epoch=0, index=None, sizes=None):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (records, clips, time, height, width, 3), dtype=torch.uint8, generator=generator)
    return ClipBatch(
        frames=frames,
        sizes=torch.tensor([height, width]).expand(records, clips, 2) if sizes is None else sizes,
        start_seconds=torch.zeros(records, clips, dtype=torch.float64),
        index=torch.arange(records) if index is None else index,
        epoch=epoch,
    )


def take(b, rows):
    return ClipBatch(
        frames=b.frames[rows], sizes=b.sizes[rows], start_seconds=b.start_seconds[rows], index=b.index[rows], epoch=b.epoch
    )


def group(b, aug, seed=0, **spec):
    return make_views(b, ViewPlan(groups=(ViewSpec(name="view", augmentation=aug, **spec),)), seed, CPU).group("view")


def plain(**changes):
    return policies.plain(16).model_copy(update=changes)


@pytest.fixture(params=["matrix products", "8-bit resize"])
def way(request, monkeypatch):
    """Both ways of resampling on a CPU."""
    monkeypatch.setattr(geometry, "DENSE_MAX_PIXELS", 64 if request.param == "matrix products" else 0)


def test_shapes_and_types(way):
    views = group(batch(clips=3), Augmentation(size_pixels=16), views_per_clip=2)
    assert views.shape == (6, 6, 3, 2, 16, 16)
    assert views.dtype == torch.float32
    assert views.isfinite().all()
    assert group(batch(clips=3), Augmentation(size_pixels=16), num_clips=1).shape == (6, 1, 3, 2, 16, 16)


def test_rho_decides_clips_and_views():
    one, three = multi_view(1, Augmentation()), multi_view(3, Augmentation(), name="global")
    assert (one.num_clips, one.groups[0].views_per_clip) == (1, 2)
    assert (three.num_clips, three.groups[0].views_per_clip, three.groups[0].name) == (3, 1, "global")
    with pytest.raises(SettingError, match="rho must be at least 1. Got 0"):
        multi_view(0, Augmentation())


def test_views_of_a_record_are_the_same_in_any_batch_and_order(way):
    b = batch(clips=2)
    whole = group(b, EVERYTHING, views_per_clip=2)
    order = torch.tensor([4, 0, 3])
    torch.testing.assert_close(group(take(b, order), EVERYTHING, views_per_clip=2), whole[order], rtol=0, atol=1e-5)
    for row in range(6):
        alone = group(take(b, torch.tensor([row])), EVERYTHING, views_per_clip=2)
        torch.testing.assert_close(alone[0], whole[row], rtol=0, atol=1e-5)


def test_the_same_batch_gives_identical_views_and_another_seed_epoch_or_group_others(way):
    b = batch()
    first = group(b, EVERYTHING)
    assert torch.equal(first, group(b, EVERYTHING))
    assert not torch.allclose(first, group(b, EVERYTHING, seed=1))
    assert not torch.allclose(first, group(batch(epoch=1), EVERYTHING))
    other = make_views(b, ViewPlan(groups=(ViewSpec(name="local", augmentation=EVERYTHING),)), 0, CPU).group("local")
    assert not torch.allclose(first, other)


def test_a_large_batch_made_in_several_chunks_equals_its_records_alone():
    b = batch(records=200, height=17, width=17)
    whole = group(b, Augmentation(size_pixels=32))
    part = group(take(b, torch.arange(150, 200)), Augmentation(size_pixels=32))
    torch.testing.assert_close(part, whole[150:], rtol=0, atol=1e-5)


def test_view_index_is_clip_major():
    """Clips of one colour each: views_per_clip views of clip 0 come first."""
    b = batch(records=1, clips=3)
    for clip in range(3):
        b.frames[0, clip] = 100 * clip
    seen = group(b, plain(mean=(0.0,) * 3, std=(1.0,) * 3), views_per_clip=2).mean((2, 3, 4, 5))[0]
    assert (seen * 255).tolist() == pytest.approx([0, 0, 100, 100, 200, 200], abs=1e-3)


def test_frames_of_a_clip_agree(way):
    b = batch(records=40, time=1, clips=1)
    b.frames = b.frames.expand(-1, -1, 3, -1, -1, -1)
    views = group(b, EVERYTHING)
    assert torch.equal(views[:, :, :, 0], views[:, :, :, 1])
    assert torch.equal(views[:, :, :, 0], views[:, :, :, 2])


def test_padding_never_leaks(way):
    sizes = torch.tensor([[[20, 24]], [[11, 24]], [[20, 13]], [[9, 9]]])
    b = batch(records=4, sizes=sizes)
    changed = take(b, torch.arange(4))
    changed.frames = changed.frames.clone()
    for row, (height, width) in enumerate(sizes[:, 0].tolist()):
        changed.frames[row, 0, :, height:] = 255 - changed.frames[row, 0, :, height:]
        changed.frames[row, 0, :, :, width:] = 255 - changed.frames[row, 0, :, :, width:]
    for seed in range(8):
        assert torch.equal(group(b, EVERYTHING, seed), group(changed, EVERYTHING, seed))
    center = [center_views(x, 12, (0.5,) * 3, (0.5,) * 3, CPU) for x in (b, changed)]
    assert torch.equal(*center)


def test_padding_to_a_larger_canvas_changes_nothing(way):
    b = batch(records=3)
    larger = take(b, torch.arange(3))
    larger.frames = torch.nn.functional.pad(b.frames, (0, 0, 0, 7, 0, 5), value=200)
    torch.testing.assert_close(group(b, EVERYTHING), group(larger, EVERYTHING), rtol=0, atol=1e-5)


def test_channels_come_last_in_and_first_out(way):
    b = batch(records=1)
    b.frames[..., 0], b.frames[..., 1], b.frames[..., 2] = 51, 102, 204
    views = group(b, plain(mean=(0.0,) * 3, std=(1.0,) * 3))
    assert views.mean((0, 1, 3, 4, 5)).tolist() == pytest.approx([0.2, 0.4, 0.8], abs=1e-6)


def test_pixels_are_normalised_and_clipped(way):
    aug = Augmentation(size_pixels=16, jitter_prob=(1.0,), brightness=3.0, blur_prob=(0.0,))
    views = group(batch(records=40), aug)
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (aug.mean, aug.std))
    pixels = views * std + mean
    assert pixels.min().item() == pytest.approx(0, abs=1e-6)
    assert pixels.max().item() == pytest.approx(1, abs=1e-6)
    assert torch.allclose(
        group(batch(records=1), plain()) * std + mean,
        group(batch(records=1), plain(mean=(0.0,) * 3, std=(1.0,) * 3)),
        atol=1e-5,
    )


def test_a_flipped_view_is_the_mirror_of_the_unflipped_one(way):
    crop = {"min_scale": 0.3, "min_aspect": 0.75, "max_aspect": 1.3}
    straight = group(batch(), plain(**crop, flip_prob=(0.0,)))
    torch.testing.assert_close(group(batch(), plain(**crop, flip_prob=(1.0,))), straight.flip(5), rtol=0, atol=1e-5)


def test_a_rotated_view_is_one_of_three_turns(way):
    straight, turned = group(batch(20), plain()), group(batch(20), plain(rotate_prob=(1.0,)))
    seen = {k for row in range(20) for k in (1, 2, 3) if torch.equal(turned[row], torch.rot90(straight[row], k, (3, 4)))}
    matches = [any(torch.equal(turned[row], torch.rot90(straight[row], k, (3, 4))) for k in (1, 2, 3)) for row in range(20)]
    assert all(matches)
    assert seen == {1, 2, 3}


def test_asymmetric_policies_cycle_over_the_views():
    views = group(batch(), plain(grayscale_prob=(1.0, 0.0), mean=(0.0,) * 3, std=(1.0,) * 3), views_per_clip=4)
    spread = views.amax(2) - views.amin(2)
    assert (spread[:, ::2] < 1e-5).all()
    assert (spread[:, 1::2].amax((2, 3, 4)) > 0.1).all()


def test_both_ways_of_resampling_agree_to_one_grey_level(monkeypatch):
    aug = plain(min_scale=0.3, min_aspect=0.75, max_aspect=1.3, flip_prob=(0.5,), mean=(0.0,) * 3, std=(1.0,) * 3)
    dense = group(batch(), aug)
    monkeypatch.setattr(geometry, "DENSE_MAX_PIXELS", 0)
    assert (group(batch(), aug) - dense).abs().max() <= 1.01 / 255


def test_contrast_is_about_the_mean_grey_of_the_clip(way):
    unit = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    b = batch(records=8, height=16, width=16)
    before, after = group(b, plain(**unit)), group(b, plain(jitter_prob=(1.0,), contrast=0.9, **unit))
    grey = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1, 1)
    for row in range(8):
        away = before[row, 0] - (before[row, 0] * grey).sum(0).mean()
        moved = after[row, 0] - before[row, 0] + away
        unclipped = (after[row, 0] > 0.01) & (after[row, 0] < 0.99) & (away.abs() > 0.05)
        factor = (moved / away)[unclipped]
        assert factor.max() - factor.min() < 2e-3
        assert 0.1 <= factor.mean() <= 1.9


def test_an_expanded_image_is_as_good_as_a_copied_one():
    b = batch(records=3, clips=1, time=1)
    b.frames, b.sizes = b.frames.expand(-1, 2, 4, -1, -1, -1), b.sizes.expand(-1, 2, 2)
    b.start_seconds = b.start_seconds.expand(-1, 2)
    copied = take(b, torch.arange(3))
    copied.frames = b.frames.contiguous()
    assert torch.equal(group(b, EVERYTHING), group(copied, EVERYTHING))


def test_center_views_are_the_resized_middle():
    b = batch(records=2, clips=2, height=20, width=40)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    views = center_views(b, 20, mean, std, CPU)
    middle = b.frames[:, :, :, :, 10:30].permute(0, 1, 5, 2, 3, 4) / 255
    expected = (middle - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    torch.testing.assert_close(views, expected, atol=1e-5, rtol=0)
    assert center_views(b, 8, mean, std, CPU).shape == (2, 2, 3, 2, 8, 8)
    cropped = center_views(b, 10, mean, std, CPU, crop_ratio=0.5)
    torch.testing.assert_close(cropped, expected[..., 5:15, 5:15], atol=1e-5, rtol=0)


def test_center_views_of_64_pixels_and_more_leave_the_border_out():
    b = batch(records=1, height=80, width=80)
    b.frames[:] = 255
    b.frames[..., 5:75, 5:75, :] = 0
    assert center_views(b, 70, (0.0,) * 3, (1.0,) * 3, CPU).max() == 0
    assert center_views(b, 40, (0.0,) * 3, (1.0,) * 3, CPU).max() > 0


def test_wrong_shapes_say_what_is_wanted():
    b = batch()
    b.frames = b.frames[..., :1]
    with pytest.raises(ShapeError, match=r"frames must be uint8 \[batch, clips, time, height, width, 3\]. Got uint8 \[6, 1"):
        group(b, Augmentation(size_pixels=16))
    with pytest.raises(ShapeError, match="must find 2 clips of each record. Got 1"):
        group(batch(), Augmentation(size_pixels=16), num_clips=2)
    with pytest.raises(SettingError, match=r"crop_ratio must be in \(0, 1\]. Got 1.5"):
        center_views(batch(), 16, (0.5,) * 3, (0.5,) * 3, CPU, crop_ratio=1.5)


def test_views_take_no_gradient_and_ignore_autocast():
    b = batch()
    expected = group(b, EVERYTHING)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(group(b, EVERYTHING), expected)
    assert not expected.requires_grad
