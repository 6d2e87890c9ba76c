"""Pictures of image files, by Pillow: an image is a clip of one frame."""

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fullrank.data.clips import kept_size
from fullrank.errors import MediaError
from fullrank.types import Clip

_FAILURES = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""what Pillow's readers raise on damaged files"""


def read_image(path: str | os.PathLike[str], canvas_pixels: int) -> Clip:
    """The picture as a clip: uint8 [1, height, width, 3], upright, shrunk to ``kept_size``; of an animation the first frame.

    Transparent parts lie on white; 16 bits are scaled to 8. ``MediaError`` where the file is damaged, cut off, no image,
    or larger than Pillow opens (about 179 million pixels: a decompression bomb).
    """
    picture = _open(Path(path), canvas_pixels)
    return Clip(frames=np.asarray(picture, dtype=np.uint8)[None], pts_seconds=np.zeros(1, dtype=np.float64))


def image_info(path: str | os.PathLike[str]) -> tuple[int, int, str]:
    """(width, height, format) after decoding the picture completely; width and height as shown."""
    with _reading(Path(path)) as image:
        name = (image.format or "unknown").lower()
        return *_upright(Path(path), image).size, name


def _open(path: Path, canvas_pixels: int) -> Image.Image:
    with _reading(path) as image:
        if image.format == "JPEG":
            image.draft("RGB", kept_size(*image.size, canvas_pixels))  # the DCT shrinks by 2, 4 or 8, never below this
        picture = _upright(path, image)
    size = kept_size(*picture.size, canvas_pixels)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


def _reading(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large, but below the size that is refused
            return Image.open(path)
    except Image.DecompressionBombError as error:
        raise MediaError(path, f"too large an image: {_words(error)}") from None
    except UnidentifiedImageError:
        raise MediaError(path, "empty file" if path.stat().st_size == 0 else "not an image file") from None
    except FileNotFoundError:
        raise MediaError(path, "file not found") from None
    except IsADirectoryError:
        raise MediaError(path, "a folder, not a file") from None
    except PermissionError:
        raise MediaError(path, "permission denied") from None
    except _FAILURES as error:
        raise MediaError(path, f"cannot be decoded: {_words(error)}") from None


def _upright(path: Path, image: Image.Image) -> Image.Image:
    try:
        image.load()
        return _rgb(ImageOps.exif_transpose(image))
    except _FAILURES as error:
        raise MediaError(path, f"cannot be decoded: {_words(error)}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip at 255
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        colour = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colour.size, "white"), colour).convert("RGB")
    return image.convert("RGB")


def _words(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
