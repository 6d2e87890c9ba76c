"""Contact sheets and the gallery of operators are pictures of the expected panels."""

import numpy as np
import pytest
import torch
from PIL import Image

from fullrank.config import Augmentation
from fullrank.types import ClipBatch, MaskSpec, TileSpec, ViewPlan, ViewSpec
from fullrank.views import gallery, policies
from fullrank.views.plan import make_views


def clip(time, height=30, width=40):
    return np.random.default_rng(0).integers(0, 256, (time, height, width, 3), dtype=np.uint8)


def test_a_strip_shows_four_frames_of_a_clip_and_one_of_an_image_with_true_colours():
    aug = policies.plain(20)
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1, 1).expand(3, 8, 20, 20)
    mean, std = (torch.tensor(v).view(3, 1, 1, 1) for v in (aug.mean, aug.std))
    picture = gallery.strip((red - mean) / std, aug, cell_pixels=60)
    assert picture.size == (4 * 60 + 3 * 2, 60)
    assert picture.getpixel((30, 30)) == (255, 0, 0)
    assert gallery.strip((red - mean)[:, :1] / std, aug, cell_pixels=20).size == (20, 20)


def test_contact_sheet_has_a_row_for_each_record_and_a_column_for_each_view(tmp_path):
    frames = torch.from_numpy(np.stack([clip(1)] * 3))[:, None]
    batch = ClipBatch(
        frames=frames,
        sizes=torch.tensor([30, 40]).expand(3, 1, 2),
        start_seconds=torch.zeros(3, 1, dtype=torch.float64),
        index=torch.tensor([4, 9, 2]),
    )
    specs = (
        ViewSpec(name="global", augmentation=Augmentation(size_pixels=64), views_per_clip=2),
        ViewSpec(name="local", augmentation=Augmentation(size_pixels=32), views_per_clip=3),
    )
    plan = ViewPlan(groups=specs)
    path = gallery.contact_sheet(make_views(batch, plan, 0, torch.device("cpu")), plan, tmp_path / "new" / "sheet.png")
    width, height = Image.open(path).size
    assert width > 5 * 128 > width - 5 * 10 - 90
    assert height > 3 * 128 > height - 3 * 10 - 20


def test_there_are_ten_operators_and_each_changes_the_picture_in_its_own_way():
    panels = gallery.operators(32)
    assert [caption[:3] for caption in panels] == [f"({letter})" for letter in "abcdefghij"]
    frames = torch.from_numpy(clip(1))[None, None]
    batch = ClipBatch(
        frames=frames,
        sizes=torch.tensor([[[30, 40]]]),
        start_seconds=torch.zeros(1, 1, dtype=torch.float64),
        index=torch.tensor([0]),
    )
    seen = [
        make_views(batch, ViewPlan(groups=(ViewSpec(name="view", augmentation=aug),)), 0, torch.device("cpu")).group("view")
        for aug in panels.values()
    ]
    for i in range(10):
        for j in range(i):
            assert (seen[i] - seen[j]).abs().max() > 0.1


@pytest.mark.parametrize("times", [[1], [1, 8]])
def test_operator_gallery_draws_a_block_for_each_clip(tmp_path, times):
    path = gallery.operator_gallery([clip(t) for t in times], tmp_path / "operators.png", size_pixels=40)
    width, height = Image.open(path).size
    assert width >= 5 * 40
    assert height >= 2 * 40 * len(times)
    assert len(Image.open(path).convert("RGB").getcolors(10**6)) > 1000


def views_of(spec, time=4, flow=None):
    frames = torch.from_numpy(np.stack([clip(time, 32, 32)] * 2))[:, None]
    batch = ClipBatch(
        frames=frames,
        sizes=torch.tensor([32, 32]).expand(2, 1, 2),
        start_seconds=torch.zeros(2, 1, dtype=torch.float64),
        index=torch.tensor([4, 9]),
        flow=flow,
    )
    return make_views(batch, ViewPlan(groups=(spec,)), 0, torch.device("cpu"))


def sheet(spec, path, **changes):
    gallery.contact_sheet(views_of(spec, **changes), ViewPlan(groups=(spec,)), path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


LEFT, TOP = 80, 16
"""where the first picture of a sheet begins"""


def test_hidden_patches_are_grey_and_the_others_are_the_view(tmp_path):
    mask = MaskSpec(ratio=0.5, patch_pixels=8, patch_frames=2)
    spec = ViewSpec(name="view", augmentation=policies.plain(32), mask=mask)
    picture = sheet(spec, tmp_path / "masked.png")
    bare = sheet(ViewSpec(name="view", augmentation=policies.plain(32)), tmp_path / "bare.png")
    hidden = views_of(spec).masks["view"][0, 0].view(2, 4, 4)
    for frame in range(4):
        for row in range(4):
            for column in range(4):
                y, x = TOP + 32 * row, LEFT + frame * 130 + 32 * column  # a pixel of 32 is shown as 4 of 128
                part, whole = (p[y : y + 32, x : x + 32] for p in (picture, bare))
                assert (part == 128).all() if hidden[frame // 2, row, column] else (part == whole).all()


def test_tiles_make_one_picture_in_the_order_shown_and_the_row_names_it(tmp_path):
    spec = ViewSpec(name="tiles", augmentation=policies.plain(32), tiles=TileSpec(grid=2, permutations=24))
    picture, views = sheet(spec, tmp_path / "tiles.png"), views_of(spec)
    tiles = views.group("tiles")[0, :, :, 0] * torch.tensor(spec.augmentation.std)[:, None, None]
    tiles = ((tiles + torch.tensor(spec.augmentation.mean)[:, None, None]).clamp(0, 1) * 255).round().int()
    side = tiles.shape[-1]
    factor = 128 // (2 * side + 1)
    for number, tile in enumerate(tiles):
        y, x = TOP + factor * (side + 1) * (number // 2), LEFT + factor * (side + 1) * (number % 2)
        shown = picture[y : y + factor * side : factor, x : x + factor * side : factor]
        np.testing.assert_array_equal(shown, tile.permute(1, 2, 0).numpy())
    assert picture[TOP, LEFT + factor * side].tolist() == [255] * 3  # the line between them
    assert (picture[20:60, :LEFT] < 128).any()  # "order 17" below "record 4"


@pytest.mark.parametrize(
    ("right", "down", "colour"),
    [(60, 0, (255, 0, 0)), (-60, 0, (0, 255, 255)), (0, 60, (128, 255, 0)), (0, -60, (128, 0, 255)), (0, 0, (255, 255, 255))],
)
def test_motion_is_a_colour_and_stillness_white(tmp_path, right, down, colour):
    """The left half of the picture moves."""
    flow = torch.full((2, 1, 4, 32, 32, 2), 128, dtype=torch.uint8)
    flow[..., :16, 0], flow[..., :16, 1] = 128 + right, 128 + down
    spec = ViewSpec(name="flow", augmentation=policies.plain(32), stream="flow")
    picture = sheet(spec, tmp_path / "flow.png", flow=flow)
    assert picture[TOP + 20, LEFT + 20].tolist() == pytest.approx(colour, abs=1)
    assert picture[TOP + 20, LEFT + 110].tolist() == [255] * 3


def test_change_is_about_grey_and_brightness_has_no_colour(tmp_path):
    aug = policies.plain(32)
    still = sheet(ViewSpec(name="view", augmentation=aug, stream="difference"), tmp_path / "change.png")
    strip = still[TOP : TOP + 128, LEFT : LEFT + 128]
    assert abs(strip.mean() - 128) < 5
    assert strip.std() > 40  # noise changes
    grey = sheet(ViewSpec(name="view", augmentation=aug, stream="gray"), tmp_path / "gray.png")[
        TOP : TOP + 128, LEFT : LEFT + 128
    ]
    assert (grey == grey[..., :1]).all()
    bare = sheet(ViewSpec(name="view", augmentation=aug), tmp_path / "bare.png")[TOP : TOP + 128, LEFT : LEFT + 128]
    assert np.abs(grey[..., 0] - bare @ [0.299, 0.587, 0.114]).max() < 8  # the channels have almost one std


def test_every_block_is_a_column(tmp_path):
    wide, narrow = (
        sheet(ViewSpec(name="view", augmentation=policies.plain(32), num_blocks=blocks), tmp_path / f"{blocks}.png").shape[1]
        for blocks in (4, 1)
    )
    assert wide == LEFT + 4 * (128 + 6)
    assert narrow == LEFT + 4 * 128 + 3 * 2 + 6
