"""Images: every mode becomes upright 8-bit RGB, every damaged file a MediaError."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fullrank.data.image import image_info, read_image
from fullrank.errors import MediaError

TWO = np.zeros((40, 60, 3), np.uint8)
TWO[:, :30], TWO[:, 30:] = (200, 40, 40), (20, 60, 220)


def colours(path: Path) -> list[list[int]]:
    frames = read_image(path, 256).frames
    assert frames.shape == (1, 40, 60, 3)
    assert frames.dtype == np.uint8
    return [frames[0, 20, 10].tolist(), frames[0, 20, 50].tolist()]


@pytest.mark.parametrize(("suffix", "tolerance"), [("png", 0), ("jpg", 6), ("webp", 12)])
def test_formats(tmp_path: Path, suffix: str, tolerance: int) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(TWO).save(path, quality=95)
    np.testing.assert_allclose(colours(path), [[200, 40, 40], [20, 60, 220]], atol=tolerance)
    assert read_image(path, 256).pts_seconds.tolist() == [0.0]


def test_modes_become_rgb(tmp_path: Path) -> None:
    rgb = Image.fromarray(TWO)
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    np.testing.assert_allclose(colours(tmp_path / "cmyk.jpg"), [[200, 40, 40], [20, 60, 220]], atol=8)
    rgb.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert colours(tmp_path / "palette.png") == [[200, 40, 40], [20, 60, 220]]
    rgb.convert("L").save(tmp_path / "grey.png")
    assert len(set(colours(tmp_path / "grey.png")[0])) == 1
    deep = np.full((40, 60), 65535, np.uint16)
    deep[:, 30:] = 32896
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert colours(tmp_path / "deep.png") == [[255] * 3, [128] * 3]
    Image.fromarray(TWO[..., 0] > 100).save(tmp_path / "bits.png")
    assert colours(tmp_path / "bits.png") == [[255] * 3, [0] * 3]


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparent_parts_lie_on_white(tmp_path: Path, suffix: str) -> None:
    alpha = np.full((40, 60, 1), 255, np.uint8)
    alpha[:, 30:] = 0
    Image.fromarray(np.concatenate([TWO, alpha], axis=2)).save(tmp_path / f"a.{suffix}", lossless=True)
    assert colours(tmp_path / f"a.{suffix}") == [[200, 40, 40], [255, 255, 255]]


def test_transparency_of_a_palette_lies_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(TWO).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png", transparency=image.getpixel((50, 20)))
    assert colours(tmp_path / "a.png") == [[200, 40, 40], [255, 255, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_carried_out(tmp_path: Path, orientation: int) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 256).frames[0], upright)
    assert image_info(tmp_path / "a.png") == (9, 6, "png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_pictures_are_shrunk_like_an_average(tmp_path: Path, suffix: str) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 1000)[None, :, None], (800, 1000, 3)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / f"a.{suffix}", quality=95)
    small = read_image(tmp_path / f"a.{suffix}", 100).frames[0]
    assert small.shape == (100, 125, 3)
    expected = ramp.reshape(100, 8, 125, 8, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).max() < 4.0
    assert read_image(tmp_path / f"a.{suffix}", 2000).frames.shape == (1, 800, 1000, 3)


def test_bad_files_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8))
    reasons = {
        "empty.jpg": "empty file",
        "text.png": "not an image file",
        "missing.png": "file not found",
        "folder.png": "a folder",
    }
    for suffix in ("jpg", "png", "webp"):
        noise.save(tmp_path / f"whole.{suffix}")
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
        reasons[f"cut.{suffix}"] = ""
    for name, reason in reasons.items():
        for read in (lambda path: read_image(path, 64), image_info):
            with pytest.raises(MediaError) as caught:
                read(tmp_path / name)
            assert caught.value.reason.startswith(reason), name
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match="too large an image"):
        read_image(tmp_path / "whole.png", 64)


@pytest.mark.filterwarnings("error")
def test_a_large_image_below_the_limit_is_read_without_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(TWO).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1500)
    assert read_image(tmp_path / "a.png", 256).frames.shape == (1, 40, 60, 3)
