"""Contact sheets and the gallery of operators are pictures of the expected panels."""

import numpy as np
import pytest
import torch
from PIL import Image

from fullrank.config import Augmentation
from fullrank.types import ClipBatch, ViewPlan, ViewSpec
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
