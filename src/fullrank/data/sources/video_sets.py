"""Video data sets by their official files: Kinetics-400, UCF101, HMDB51, Something-Something v2.

Official lists name more videos than anybody has: those that are not on disk are left out and counted in ``description``.
"""

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fullrank.data.sources.folder import VIDEO_SUFFIXES, FileSource, MediaFile
from fullrank.errors import DataError, SettingError, did_you_mean

NAMES = ("kinetics400", "ucf101", "hmdb51", "ssv2")
SPLITS = {
    "kinetics400": ("train", "val", "test"),
    "ucf101": ("train1", "test1", "train2", "test2", "train3", "test3"),
    "hmdb51": ("train1", "test1", "train2", "test2", "train3", "test3"),
    "ssv2": ("train", "val"),
}
ALIASES = {"train": "train1", "test": "test1", "val": "test1"}
"""for the sets with three splits: the first"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of an official list: the file's name without its ending, and its class where the list says it."""

    stem: str
    label: str | None
    folder: str = ""
    """in which the file lies, where the list says it: two classes may have files of one name"""

    file: Path | None = None
    """where there is no list, but the file itself"""

    def found_in(self, files: Mapping[str, Path]) -> Path | None:
        """The file, wherever it lies, but rather in its folder."""
        return self.file or files.get(f"{self.folder}/{self.stem}") or files.get(self.stem)


class VideoSetSource(FileSource):
    """The videos of one split that are on disk, wherever they lie below ``path``.

    kinetics400: the official csv (label, youtube_id, time_start, time_end, split) or PySlowFast's (``path label``) named after
    the split, else subfolders ``<split>/<class>/``; ucf101: ucfTrainTestlist/{trainlist,testlist}0k.txt; hmdb51:
    <class>_test_split<k>.txt; ssv2: something-something-v2-<split>.json (or <split>.json). ``DataError`` where the lists are
    missing or not one of their videos is on disk; ``SettingError`` for a split that the set does not have.
    """

    def __init__(self, path: Path, name: str, split: str):
        self.root, self.name = path, name
        split = checked_split(name, split)
        entries = list(_entries(path, name, split))
        files = _on_disk(path)
        found = [(entry, file) for entry in entries if (file := entry.found_in(files))]
        if not found:
            example = entries[0].stem if entries else "nothing"
            raise DataError(
                f"{path} must hold the videos of {name}'s split {split}. Got none of {len(entries)} (the first is {example}) "
                f"among {len(set(files.values()))} videos; give the folder that holds lists and videos."
            )
        self.missing = len(entries) - len(found)
        self._files = [MediaFile(path=file) for _, file in found]
        self.record_ids: Sequence[str] = [file.relative_to(path).as_posix() for _, file in found]
        classes = sorted({entry.label for entry in entries if entry.label is not None})
        number = {label: i for i, label in enumerate(classes)}
        self.labels: dict[str, NDArray[np.int64]] = {}
        self.classes: dict[str, list[str]] = {}
        if classes:
            self.labels["label"] = np.array([number.get(entry.label or "", -1) for entry, _ in found], dtype=np.int64)
            self.classes["label"] = classes
        self.fingerprint = _fingerprint(self.record_ids, self._files)
        absent = f"; {self.missing} of {len(entries)} are missing" if self.missing else ""
        self.description = f"{len(found)} videos of {name}'s split {split} in {path}{absent}"

    def file(self, index: int) -> MediaFile:
        """Where record ``index`` lies."""
        return self._files[index]


def checked_split(name: str, split: str) -> str:
    """The split's full name; ``SettingError`` where the set has none like it."""
    known = SPLITS[name]
    full = split if split in known else ALIASES.get(split, split)
    if full not in known:
        raise SettingError(
            f"--data.split of {name} must be one of {', '.join(known)}. Got '{split}'.{did_you_mean(split, known)}"
        )
    return full


def _on_disk(root: Path) -> dict[str, Path]:
    """{name without ending: file} of every video below ``root``, and the same behind the name of its folder and a slash."""
    if not root.is_dir():
        raise DataError(f"--data.path must be the folder that holds lists and videos. Got {root}, which is none.")
    videos = [file for file in sorted(root.rglob("*")) if file.suffix.lower() in VIDEO_SUFFIXES]
    return {file.stem: file for file in videos} | {f"{file.parent.name}/{file.stem}": file for file in videos}


def _entries(root: Path, name: str, split: str) -> Iterator[Entry]:
    readers = {"kinetics400": _kinetics, "ucf101": _ucf101, "hmdb51": _hmdb51, "ssv2": _ssv2}
    return readers[name](root, split)


def _list(root: Path, *names: str) -> Path | None:
    """The first of these files, anywhere below ``root``."""
    for name in names:
        if found := sorted(root.rglob(name)):
            return found[0]
    return None


def _kinetics(root: Path, split: str) -> Iterator[Entry]:
    official = _list(root, f"{split}.csv", f"kinetics400_{split}.csv", f"kinetics_{split}.csv", f"*400*{split}*.csv")
    if official is None:
        folder = root / split if (root / split).is_dir() else root
        for file in sorted(folder.glob("*/*")):
            if file.suffix.lower() in VIDEO_SUFFIXES:
                yield Entry(stem=file.stem, label=file.parent.name, file=file)
        return
    with official.open(newline="", encoding="utf-8") as opened:
        first = opened.readline()
        opened.seek(0)
        if "youtube_id" not in first:  # PySlowFast's: a path and a number
            for line in opened:
                path, _, label = line.strip().replace(",", " ").rpartition(" ")
                if path:
                    yield Entry(stem=Path(path).stem, label=label, folder=Path(path).parent.name)
            return
        for row in csv.DictReader(opened):
            stem = f"{row['youtube_id']}_{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
            yield Entry(stem=stem, label=row.get("label") or None)


def _ucf101(root: Path, split: str) -> Iterator[Entry]:
    part, number = split[:-1], split[-1]
    file = _list(root, f"{part}list0{number}.txt")
    if file is None:
        raise DataError(f"{root} must hold {part}list0{number}.txt of UCF101's ucfTrainTestlist. Got none; unpack it there.")
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            path = Path(line.split()[0])
            yield Entry(stem=path.stem, label=path.parent.name, folder=path.parent.name)


def _hmdb51(root: Path, split: str) -> Iterator[Entry]:
    part, number = split[:-1], split[-1]
    files = sorted(root.rglob(f"*_test_split{number}.txt"))
    if not files:
        raise DataError(f"{root} must hold HMDB51's <class>_test_split{number}.txt. Got none; unpack the splits there.")
    wanted = "1" if part == "train" else "2"
    for file in files:
        label = re.sub(r"_test_split\d$", "", file.stem)
        for line in file.read_text(encoding="utf-8").splitlines():
            name, _, use = line.strip().rpartition(" ")
            if name and use == wanted:
                yield Entry(stem=Path(name.strip()).stem, label=label, folder=label)


def _ssv2(root: Path, split: str) -> Iterator[Entry]:
    names = {"train": ("train",), "val": ("validation", "val")}[split]
    file = _list(root, *(f"something-something-v2-{n}.json" for n in names), *(f"{n}.json" for n in names))
    if file is None:
        raise DataError(f"{root} must hold something-something-v2-{names[0]}.json. Got none; unpack the labels there.")
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        for row in rows:
            template = row.get("template") or row.get("label") or ""
            yield Entry(stem=str(row["id"]), label=re.sub(r"[\[\]]", "", template) or None)
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{file} must be Something-Something's list of videos. Got something else ({error}).") from None


def _fingerprint(ids: Sequence[str], files: Sequence[MediaFile]) -> str:
    digest = hashlib.sha256()
    for name, file in zip(ids, files, strict=True):
        about = file.path.stat()
        digest.update(f"{name}\0{about.st_size} {about.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
