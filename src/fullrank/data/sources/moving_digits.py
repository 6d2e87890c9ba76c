"""The embedded world: real scanned digits that move on a small canvas under known motions, as real H.264 files.

It needs no download (the digits come with scikit-learn) and answers what natural video cannot: does an encoder see
motion, or only appearance? The canvas is a torus: what leaves on one side enters on the other. Start positions are
uniform on it, so for every motion a single frame shows the same distribution of position, size, orientation and
brightness; the motion can be read only from how frames follow each other, and it never changes within a file. A file
has several shots: at each cut the digit goes on elsewhere, at another phase and contrast, so that two clips of a file
share what is to be learned, digit and motion (with its speed and radius), and not where the digit happens to be. The
light flickers from frame to frame, so that pixels are no feature: their nearest neighbours share the flicker.
Training and test files differ in digit image, start, phase, speed, contrast and flicker.
"""

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fullrank import draws
from fullrank.config import Prob, Settings, settings_hash
from fullrank.data.lock import alone
from fullrank.data.sources.folder import FileSource
from fullrank.errors import DataError, SettingError

Motion = Literal["right", "left", "down", "up", "clockwise", "counterclockwise", "sideways", "up_and_down"]
SPLITS = ("train", "test")
SCAN_PIXELS = 8
"""side of scikit-learn's scans"""
CONTENT = 2
"""raise when the same settings would give other pixels"""
_DIRECTIONS = {"right": (0, 1), "left": (0, -1), "down": (1, 0), "up": (-1, 0), "sideways": (0, 1), "up_and_down": (1, 0)}


class World(Settings):
    """All that decides the files; hashed into the manifest."""

    seed: Annotated[int, Field(ge=0)] = 0
    """decides which digit images are for testing, and every factor of every file"""
    num_train: Annotated[int, Field(ge=1)] = 1600
    """training files; digits and motions are balanced where it is a multiple of 10 x motions"""
    num_test: Annotated[int, Field(ge=1)] = 400
    """test files, of digit images that no training file shows"""
    test_image_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """share of the 1,797 digit images that only test files show"""
    motions: Annotated[tuple[Motion, ...], Field(min_length=2)] = (
        "right",
        "left",
        "down",
        "up",
        "clockwise",
        "counterclockwise",
        "sideways",
        "up_and_down",
    )
    """the classes of the label "motion\""""
    canvas_pixels: Annotated[int, Field(ge=16, multiple_of=2)] = 32
    """side of the square frame"""
    digit_pixels: Annotated[int, Field(ge=8)] = 20
    """side of the digit; the scan of 8x8 is enlarged with a cubic kernel"""
    num_frames: Annotated[int, Field(ge=2)] = 48
    """frames of a file"""
    shot_frames: Annotated[int, Field(ge=2)] = 16
    """frames between two cuts"""
    frames_per_second: Annotated[int, Field(ge=1)] = 8
    """rate of a file"""
    min_speed: Annotated[float, Field(gt=0.0)] = 1.0
    """slowest mean speed, in pixels a frame"""
    max_speed: Annotated[float, Field(gt=0.0)] = 4.0
    """fastest mean speed, in pixels a frame"""
    min_radius: Annotated[float, Field(gt=0.0)] = 3.0
    """smallest radius of a circle, or amplitude of a motion to and fro, in pixels"""
    max_radius: Annotated[float, Field(gt=0.0)] = 8.0
    """largest radius or amplitude, in pixels"""
    min_background: Prob = 0.0
    """darkest background, brightness being in 0..1; it is drawn anew for every frame: the light flickers"""
    max_background: Prob = 0.5
    """brightest background; equal to the darkest, neighbours among raw pixels tell the motion"""
    min_contrast: Prob = 0.3
    """faintest ink: how much brighter it is than the background; one draw a shot"""
    max_contrast: Prob = 0.5
    """strongest ink"""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("speed", "radius", "background", "contrast"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name} must be at most max_{name}. Got {low} and {high}")
        if self.max_background + self.max_contrast > 1.0:
            raise ValueError(
                f"max_background + max_contrast must be at most 1. Got {self.max_background} and {self.max_contrast}"
            )
        if self.digit_pixels > self.canvas_pixels:
            raise ValueError(f"digit_pixels must be at most canvas_pixels. Got {self.digit_pixels} and {self.canvas_pixels}")
        return self

    @property
    def key(self) -> str:
        """Twelve hex digits of the settings and the version of the content."""
        return settings_hash({"world": self.model_dump(mode="json"), "content": CONTENT})


def displacement(
    motion: Motion, speed: float, radius: float, phase: float, time: Float64[np.ndarray, " time"]
) -> Float64[np.ndarray, "time 2"]:
    """(down, right) in pixels from the start, at times in frames; its mean speed is ``speed`` for every motion.

    Straight motions go on for ever (the canvas wraps); circles and motions to and fro start anywhere on their path.

    >>> displacement("left", 2.0, 5.0, 0.0, np.arange(3.0))[:, 1].tolist()
    [-0.0, -2.0, -4.0]
    """
    if motion in ("clockwise", "counterclockwise"):
        turn = 1.0 if motion == "clockwise" else -1.0
        angle = 2 * np.pi * phase + turn * speed / radius * time
        return radius * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    direction = np.array(_DIRECTIONS[motion], dtype=np.float64)
    if motion in ("sideways", "up_and_down"):
        # The mean of |cos| is 2 / pi, hence the factor that makes the mean speed the same as of the others.
        return radius * np.sin(2 * np.pi * phase + np.pi / 2 * speed / radius * time)[:, None] * direction
    return speed * time[:, None] * direction


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Catmull-Rom kernel: smooth enlargement that keeps the samples."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def render(
    scan: Float64[np.ndarray, "8 8"], centre: Float64[np.ndarray, "time 2"], world: World
) -> Float64[np.ndarray, "time canvas canvas"]:
    """Ink in 0..1 of a digit whose centre is at (down, right) pixels on the torus; positions may be fractions."""
    canvas, scale = world.canvas_pixels, world.digit_pixels / SCAN_PIXELS
    away = np.arange(canvas)[None, :, None] - centre[:, None, :]
    away = (away + canvas / 2) % canvas - canvas / 2
    taps = _cubic((away / scale + (SCAN_PIXELS - 1) / 2)[..., None] - np.arange(SCAN_PIXELS))
    ink = taps[:, :, 0] @ scan @ taps[:, :, 1].transpose(0, 2, 1)
    return np.asarray(np.clip(ink, 0.0, 1.0))


def plan(world: World, split: str) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """The factors of every file of a split, by name, [files] or, where they change with the shot, [files, shots].

    ``image`` counts scikit-learn's 1,797 scans; ``down`` and ``right`` are pixels.
    """
    from sklearn.datasets import load_digits

    digits = np.asarray(load_digits().target, dtype=np.int64)
    count = world.num_train if split == "train" else world.num_test
    files = np.arange(count)
    order = draws.permutation(world.seed, 0, len(digits))
    images = np.empty(count, dtype=np.int64)
    for digit in range(10):
        mine = order[digits[order] == digit]
        cut = max(1, round(world.test_image_ratio * len(mine)))
        mine = mine[cut:] if split == "train" else mine[:cut]
        rows = files[files % 10 == digit]
        images[rows] = mine[np.arange(len(rows)) % len(mine)]
    shots = -(-world.num_frames // world.shot_frames)
    whole = draws.uniform(world.seed, SPLITS.index(split), files, "moving_digits", 2).T
    down, right, phase, contrast = (
        draws.uniform(world.seed, SPLITS.index(split), files, "shots", 4 * shots).reshape(count, 4, shots).transpose(1, 0, 2)
    )
    return {
        "digit": files % 10,
        "motion": files // 10 % len(world.motions),
        "image": images,
        "speed": world.min_speed + (world.max_speed - world.min_speed) * whole[0],
        "radius": world.min_radius + (world.max_radius - world.min_radius) * whole[1],
        "down": down * world.canvas_pixels,
        "right": right * world.canvas_pixels,
        "phase": phase,
        "contrast": world.min_contrast + (world.max_contrast - world.min_contrast) * contrast,
    }


def _brightness(world: World, split: str, factors: dict[str, Any], file: int, scan: NDArray[np.float64]) -> NDArray[np.float64]:
    motion, ink = world.motions[factors["motion"]], []
    for shot, start in enumerate(range(0, world.num_frames, world.shot_frames)):
        time = np.arange(min(world.shot_frames, world.num_frames - start), dtype=np.float64)
        path = displacement(motion, factors["speed"], factors["radius"], factors["phase"][shot], time)
        centre = path + [factors["down"][shot], factors["right"][shot]]
        ink.append(factors["contrast"][shot] * render(scan, centre, world))
    light = draws.uniform(world.seed, SPLITS.index(split), [file], "light", world.num_frames)[0][:, None, None]
    return np.asarray(world.min_background + (world.max_background - world.min_background) * light + np.concatenate(ink))


def _encode(path: Path, bright: NDArray[np.float64], frames_per_second: int) -> None:
    import av

    count, side, _ = bright.shape
    planes = np.full((side * 3 // 2, side), 128, dtype=np.uint8)  # luma, then two neutral chroma planes
    luma = (16 + np.rint(219 * bright)).astype(np.uint8)  # BT.601 "limited" range
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=frames_per_second, options={"preset": "ultrafast", "crf": "16"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # a file must not depend on the number of cores
        for i in range(count):
            planes[:side] = luma[i]
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _write_split(folder: Path, world: World, split: str, num_threads: int) -> list[dict[str, object]]:
    from sklearn.datasets import load_digits

    scans = np.asarray(load_digits().images, dtype=np.float64) / 16.0
    table = plan(world, split)
    rows = [{name: column[i].tolist() for name, column in table.items()} for i in range(len(table["digit"]))]
    (folder / split).mkdir()

    def one(i: int) -> None:
        bright = _brightness(world, split, rows[i], i, scans[rows[i]["image"]])
        _encode(folder / split / f"{i:04d}.mp4", bright, world.frames_per_second)

    with ThreadPoolExecutor(num_threads) as threads:
        for _ in threads.map(one, range(len(rows))):
            pass
    named = [
        {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in row.items()}
        | {"motion": world.motions[row["motion"]]}
        for row in rows
    ]
    return [{"path": f"{split}/{i:04d}.mp4", "split": split} | row for i, row in enumerate(named)]


def write_world(folder: str | Path, world: World | None = None, *, num_threads: int = 2) -> Path:
    """Write the world's files below ``folder``/{train,test}, with labels.csv and manifest.json; returns ``folder``.

    All or nothing; where the same world is there already nothing is done, and another world takes the place of an
    older one. ``SettingError`` where the folder holds anything else.
    """
    folder, world = Path(folder), world or World()
    with alone(folder.parent / f".{folder.name}.lock"):
        manifest = read_manifest(folder)
        if manifest is not None and manifest["key"] == world.key:
            return folder
        if manifest is None and folder.exists() and any(folder.iterdir()):
            raise SettingError(f"The folder of the embedded world must be new, empty or a world. Got {folder}; choose another.")
        building = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)  # of a process that was killed
        building.mkdir()
        try:
            _write(building, world, num_threads)
            if folder.exists():
                shutil.rmtree(folder)
            os.replace(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return folder


def _write(folder: Path, world: World, num_threads: int) -> None:
    rows = [row for split in SPLITS for row in _write_split(folder, world, split, num_threads)]
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    saved = {"fullrank": "moving_digits", "key": world.key, "world": world.model_dump(mode="json")}
    (folder / "manifest.json").write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, object] | None:
    """What ``write_world`` saved, or None where the folder is not a world."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    is_world = isinstance(manifest, dict) and manifest.get("fullrank") == "moving_digits"
    return manifest if is_world else None


class MovingDigitsSource(FileSource):
    """One split of a written world, labelled with "digit" and "motion", read through the ordinary video decoder."""

    def __init__(self, folder: str | Path, split: str = "train"):
        self.root = Path(folder)
        manifest = read_manifest(self.root)
        if manifest is None:
            raise DataError(
                f"The folder of the embedded world must hold its manifest.json. Got {folder}; `fullrank demo` writes one."
            )
        if split not in SPLITS:
            raise SettingError(f"The split of the embedded world must be train or test. Got '{split}'.")
        with (self.root / "labels.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == split]
        motions = list(World(**manifest["world"]).motions)  # type: ignore[arg-type]
        self.record_ids = [row["path"] for row in rows]
        self.labels = {
            "digit": np.array([int(row["digit"]) for row in rows], dtype=np.int64),
            "motion": np.array([motions.index(row["motion"]) for row in rows], dtype=np.int64),  # type: ignore[arg-type]
        }
        self.classes = {"digit": [str(digit) for digit in range(10)], "motion": [str(motion) for motion in motions]}
        self.fingerprint = settings_hash({"key": manifest["key"], "split": split})
        self.description = f"moving digits, {split}: {len(rows)} videos, 10 digits, {len(motions)} motions"
