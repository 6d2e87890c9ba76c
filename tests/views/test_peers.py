"""The same operators as torchvision v2, within stated tolerances; in the environment of the benchmarks' peers."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from fullrank import draws
from fullrank.config import Augmentation
from fullrank.types import ClipBatch, ViewPlan, ViewSpec
from fullrank.views import blur, geometry, photometric, policies
from fullrank.views.photometric import Scale
from fullrank.views.plan import make_views

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(not PYTHON.exists(), reason="no environment of peers at .venv-peers (see benchmarks/views.py)"),
]
UNIT = Scale(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from torchvision_shim import import_torchvision
import_torchvision()
import numpy as np, torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F
torch.manual_seed(0)
torch.set_num_threads(1)
given = np.load(sys.argv[2])
x = torch.from_numpy(given["x"])
out = {}
crop = v2.RandomResizedCrop(32, scale=(0.2, 1.0))
boxes = [crop.make_params([torch.zeros(3, 60, 90)]) for _ in range(8000)]
out["boxes"] = np.array([[b[k] for k in ("top", "left", "height", "width")] for b in boxes])
for f in (0.6, 1.4):
    out[f"brightness {f}"] = F.adjust_brightness(x, f)
    out[f"contrast {f}"] = F.adjust_contrast(x, f)
    out[f"saturation {f}"] = F.adjust_saturation(x, f)
for h in (-0.1, 0.05, 0.1):
    out[f"hue {h}"] = F.adjust_hue(x, h)
out["grayscale"] = F.rgb_to_grayscale(x, num_output_channels=3)
out["solarize"] = F.solarize(x, 0.5)
for s in (0.3, 1.0, 2.0):
    out[f"blur {s}"] = F.gaussian_blur(x, [23, 23], [s, s])
picture = torch.from_numpy(given["picture"]).permute(2, 0, 1)
for size in (24, 48, 80):
    out[f"resize {size}"] = F.resized_crop(picture, 5, 7, 50, 61, [size, size], antialias=True)
np.savez(sys.argv[3], **{k: np.asarray(v) for k, v in out.items()})
"""


def smooth(*shape):
    """Pictures that are not noise: differences of colour spaces are then those of photographs."""
    coarse = torch.rand(shape[0], shape[1], 6, 6, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, shape[2:], mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def x():
    return smooth(2, 3, 48, 48)


@pytest.fixture(scope="module")
def picture():
    return (smooth(1, 3, 70, 80)[0].permute(1, 2, 0) * 255).to(torch.uint8)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory, x, picture):
    folder = tmp_path_factory.mktemp("peers")
    np.savez(folder / "in.npz", x=x.numpy(), picture=picture.numpy())
    args = [str(PYTHON), "-c", SCRIPT, str(ROOT / "benchmarks"), str(folder / "in.npz"), str(folder / "out.npz")]
    subprocess.run(args, check=True, capture_output=True)
    return np.load(folder / "out.npz")


def ours(x, b=1.0, c=1.0, s=1.0, h=0.0):
    rows, size = len(x), x.shape[-1]
    matrix = photometric.color_matrix(*(np.full(rows, v) for v in (b, c, s, h)))
    look = photometric.Look(**{**vars(photometric.plain_look(rows)), "matrix": matrix, "pull": np.full(rows, (1 - c) * b)})
    positions = 255 * x.permute(0, 2, 3, 1).reshape(rows, -1, 3)
    colors = photometric.color_map(look, UNIT, torch.device("cpu"))
    out = photometric.color(positions, positions.mean(1), colors).view(rows, 3, 1, size, size)
    photometric.finish_(out, photometric.plain_look(rows), Augmentation(), UNIT)
    return out[:, :, 0].numpy()


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_brightness_contrast_and_saturation(theirs, x, factor):
    """Within 0.001 (theirs weighs red with 0.2989 for grey, ours with 0.299)."""
    np.testing.assert_allclose(ours(x, b=factor), theirs[f"brightness {factor}"], atol=1e-3)
    np.testing.assert_allclose(ours(x, c=factor), theirs[f"contrast {factor}"], atol=1e-3)
    np.testing.assert_allclose(ours(x, s=factor), theirs[f"saturation {factor}"], atol=1e-3)


@pytest.mark.parametrize("hue", [-0.1, 0.05, 0.1])
def test_hue(theirs, x, hue):
    """The hue that comes out is theirs within 0.02 of a turn; brightness differs (R + G + B kept, not the maximum)."""

    def angle(rgb):
        r, g, b = np.moveaxis(rgb, 1, 0)
        return np.arctan2(np.sqrt(3) * (g - b), 2 * r - g - b) / (2 * np.pi)

    matrix = photometric.color_matrix(*np.ones((3, 1)), np.array([hue]))[0]
    unclipped = np.einsum("ck,nkyx->ncyx", matrix, x.double().numpy())
    away = angle(unclipped) - angle(theirs[f"hue {hue}"].astype(float))
    colored = x.numpy().max(1) - x.numpy().min(1) > 0.1
    assert np.abs((away + 0.5) % 1 - 0.5)[colored].max() < 0.02
    np.testing.assert_allclose(unclipped.sum(1), x.double().numpy().sum(1), atol=1e-6)


def test_grayscale_and_solarize(theirs, x):
    np.testing.assert_allclose(ours(x, s=0.0), theirs["grayscale"], atol=1e-3)
    np.testing.assert_allclose(photometric.solarize(x[:, :, None], 0.5, UNIT)[:, :, 0], theirs["solarize"], atol=1e-6)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur(theirs, x, sigma):
    """Within one grey level of 255: our kernel ends at three standard deviations, theirs has 23 taps."""
    out = x[:, :, None].clone()
    blur.blur_(out, np.full(2, sigma))
    np.testing.assert_allclose(out[:, :, 0], theirs[f"blur {sigma}"], atol=1 / 255)


def test_the_distribution_of_crops(theirs):
    """Means and standard deviations of all four numbers of the box within 4 standard errors, and the correlation of sides."""
    u = draws.uniform(0, 0, np.arange(8000), "peers", geometry.NUM_DRAWS)
    p = geometry.draw_placement(u, np.tile([60, 90], (8000, 1)), Augmentation(min_scale=0.2), np.zeros(8000, np.int64))
    mine, other = np.stack([p.top, p.left, p.height, p.width], 1).astype(float), theirs["boxes"].astype(float)
    spread = other.std(0)
    assert (np.abs(mine.mean(0) - other.mean(0)) < 4 * spread * np.sqrt(2 / 8000)).all()
    np.testing.assert_allclose(mine.std(0), spread, rtol=0.04)
    np.testing.assert_allclose(
        np.quantile(mine, [0.1, 0.5, 0.9], axis=0), np.quantile(other, [0.1, 0.5, 0.9], axis=0), atol=2.01
    )
    assert np.corrcoef(mine.T)[2, 3] == pytest.approx(np.corrcoef(other.T)[2, 3], abs=0.05)


@pytest.mark.parametrize("size", [24, 48, 80])
def test_resized_crop(theirs, picture, size, monkeypatch):
    """Within one grey level of 255 (theirs is rounded to bytes, and so is ours above 64 pixels)."""
    box = geometry.Placement(
        **{k: np.array([v]) for k, v in {"top": 5, "left": 7, "height": 50, "width": 61, "flip": False, "turns": 0}.items()}
    )
    monkeypatch.setattr(geometry, "draw_placement", lambda *_: box)
    batch = ClipBatch(
        frames=picture[None, None, None],
        sizes=torch.tensor([[[70, 80]]]),
        start_seconds=torch.zeros(1, 1, dtype=torch.float64),
        index=torch.tensor([0]),
    )
    aug = policies.plain(size).model_copy(update={"mean": UNIT.mean, "std": UNIT.std})
    view = make_views(batch, ViewPlan(groups=(ViewSpec(name="view", augmentation=aug),)), 0, torch.device("cpu")).group("view")
    np.testing.assert_allclose(255 * view[0, 0, :, 0].numpy(), theirs[f"resize {size}"].astype(float), atol=1.01)
