"""From settings, or a path alone, to a source."""

import os
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import Progress

from fullrank.config import DataConfig
from fullrank.data.cache import cached
from fullrank.data.source import Source
from fullrank.data.sources import cifar, moving_digits, video_sets
from fullrank.data.sources.file_list import ListSource
from fullrank.data.sources.folder import FolderSource
from fullrank.data.subset import limited
from fullrank.errors import DataError, SettingError

NO_FLOW_CACHE = (
    "Optical flow is computed once, into the cache of decoded frames, so --data.cache must be given. Got none; name a folder."
)


def open_source(data: DataConfig | str | Path, *, flow: bool = False) -> Source:
    """The records that ``data`` names: settings, or the path of a folder, a .csv file list or a named data set.

    Without a path the embedded world is written once below the user's cache folder. ``DataError`` says what is missing.
    With ``data.cache`` the frames are decoded now, unless they are there already. ``flow`` (a plan's ``needs_flow``):
    clips bring optical flow, which is computed into that cache.
    """
    data = data if isinstance(data, DataConfig) else DataConfig(path=Path(data))
    if flow and data.cache is None:
        raise SettingError(NO_FLOW_CACHE)
    source = _named(data)
    if flow and source.resident is not None:
        raise DataError(f"Optical flow needs videos. Got {source.description}; choose another stream, or data with time.")
    if data.cache is None or source.resident is not None:
        return source
    with Progress(console=Console(stderr=True), transient=True, disable=len(source) < 100) as bar:
        task = bar.add_task("decoding into the cache", total=len(source))
        return cached(
            source,
            data.cache,
            data.canvas_pixels,
            data.cache_max_gib,
            data.num_workers,
            lambda done, total: bar.update(task, completed=done),
            flow,
        )


def world_folder() -> Path:
    """Where the embedded world lies that nobody gave a path: below $XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fullrank" / f"moving_digits-{moving_digits.World().key}"


def _named(data: DataConfig) -> Source:
    path, name = data.path, data.name
    if name == "moving_digits" and path is None:
        path = moving_digits.write_world(world_folder())
    if path is None:
        what = "a folder of videos or images, or a .csv file list" if name == "auto" else f"the folder of {name}"
        raise SettingError(f"--data.path must be given: {what}. Got none.")
    if not path.exists():
        raise DataError(f"--data.path must exist. Got {path}; check the spelling.")
    if name == "auto":
        name = _look(path)
    if name == "moving_digits":
        return limited(moving_digits.MovingDigitsSource(path, data.split), data.limit)
    if name in ("cifar10", "cifar100"):
        return limited(cifar.CifarSource(path, name, data.split), data.limit)
    if name in video_sets.NAMES:
        return limited(video_sets.VideoSetSource(path, name, data.split), data.limit)
    if data.split != "train":
        raise SettingError(
            f"--data.split is for data sets that have parts. Got '{data.split}' with {path}; give the path of the part."
        )
    return ListSource(path, data.limit) if name == "list" else FolderSource(path, data.limit)


def _look(path: Path) -> Literal["folder", "list", "cifar10", "cifar100", "moving_digits"]:
    if path.is_file():
        if path.suffix.lower() != ".csv":
            raise DataError(f"--data.path must be a folder or a .csv file list. Got the file {path}; give its folder.")
        return "list"
    if moving_digits.read_manifest(path) is not None:
        return "moving_digits"
    return cifar.find(path) or "folder"
