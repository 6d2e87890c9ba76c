"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): the official python batches, or packs of JPEG files in one .npz.

The official batches are pickles. They are read by an unpickler that builds arrays and plain containers and nothing
else, so a file that pretends to be a batch cannot run code.
"""

import io
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from fullrank.data.sources.arrays import ArraySource
from fullrank.errors import DataError, SettingError

Name = Literal["cifar10", "cifar100"]
SPLITS = ("train", "test")
SIDE = 32
_DAMAGE = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError)


@dataclass(frozen=True)
class _Official:
    """Names of the files of the official folder, and of what is in them."""

    folder: str
    files: dict[str, tuple[str, ...]]
    meta: str
    labels: dict[str, str]
    classes: dict[str, str] = field(default_factory=dict)


_OFFICIAL: dict[str, _Official] = {
    "cifar10": _Official(
        folder="cifar-10-batches-py",
        files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
        meta="batches.meta",
        labels={"label": "labels"},
        classes={"label": "label_names"},
    ),
    "cifar100": _Official(
        folder="cifar-100-python",
        files={"train": ("train",), "test": ("test",)},
        meta="meta",
        labels={"label": "fine_labels", "coarse": "coarse_labels"},
        classes={"label": "fine_label_names", "coarse": "coarse_label_names"},
    ),
}


class CifarSource(ArraySource):
    """One split ("train" or "test") of CIFAR, in memory; labelled "label", and "coarse" from the official CIFAR-100."""

    def __init__(self, path: str | Path, name: Name, split: str = "train"):
        if split not in SPLITS:
            raise SettingError(f"The split of {name} must be train or test. Got '{split}'.")
        folder, official = Path(path), _OFFICIAL[name]
        pack = folder / f"{name}_{split}.npz"
        batches = next((f for f in (folder, folder / official.folder) if (f / official.files[split][0]).is_file()), None)
        if batches is not None:
            images, labels, classes = _read_official(batches, official, split)
        elif pack.is_file():
            images, labels, classes = _read_pack(pack)
        else:
            raise DataError(
                f"The folder of {name} must hold {official.folder}/ (the python version) or {pack.name}. Got {folder}; "
                "give the folder with --data.path."
            )
        super().__init__(images, labels, classes, description=f"{name}, {split}")


def find(path: Path) -> Name | None:
    """Which CIFAR the folder holds, by the names of its files."""
    for name, official in _OFFICIAL.items():
        inside = path.name == official.folder and (path / official.meta).is_file()
        if inside or (path / official.folder).is_dir() or any((path / f"{name}_{split}.npz").is_file() for split in SPLITS):
            return "cifar10" if name == "cifar10" else "cifar100"
    return None


class _DataUnpickler(pickle.Unpickler):
    """Builds what a pickled numpy array needs, and plain containers; refuses every other name."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
    }

    def find_class(self, module: str, name: str) -> Any:
        """The numpy constructor of that name, or ``UnpicklingError``."""
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not data")
        return self.allowed[module, name]


def read_batch(path: Path) -> dict[str, Any]:
    """One official file as a dictionary; ``DataError`` where it is missing, damaged, or asks for more than data."""
    if not path.is_file():
        raise DataError(f"An official CIFAR folder must hold all its files. Got none named {path}; unpack the archive again.")
    try:
        with path.open("rb") as file:
            batch = _DataUnpickler(file, encoding="latin1").load()  # Python 2 wrote them: text and arrays are its str
        return dict(batch)
    except _DAMAGE as error:
        raise DataError(f"An official CIFAR file must be a pickled dictionary. Got {path}: {error}.") from None


def _read_official(
    folder: Path, official: _Official, split: str
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]], dict[str, list[str]]]:
    parts = [(folder / file, read_batch(folder / file)) for file in official.files[split]]
    meta = read_batch(folder / official.meta)
    try:
        # A row is 1,024 red, 1,024 green, 1,024 blue values.
        planes = [np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, SIDE, SIDE) for _, batch in parts]
        labels = {
            name: np.concatenate([np.asarray(batch[key], dtype=np.int64) for _, batch in parts])
            for name, key in official.labels.items()
        }
        classes = {name: [str(word) for word in meta[key]] for name, key in official.classes.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"Official CIFAR files must hold data, labels and their names. Got {folder} without: {error}."
        ) from None
    return np.concatenate(planes).transpose(0, 2, 3, 1), labels, classes


def _read_pack(path: Path) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.int64]], dict[str, list[str]]]:
    """``jpeg`` (all files one after another), ``offsets`` [n + 1], ``labels`` [n], ``classes``."""
    try:
        with np.load(path, allow_pickle=False) as pack:
            images = _decode(pack["jpeg"].tobytes(), pack["offsets"].tolist())
            return images, {"label": pack["labels"].astype(np.int64)}, {"label": [str(name) for name in pack["classes"]]}
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"A CIFAR pack must hold jpeg, offsets, labels and classes. Got {path}: {error}.") from None


def _decode(blob: bytes, offsets: list[int]) -> UInt8[np.ndarray, "records 32 32 3"]:
    from PIL import Image

    images = np.empty((len(offsets) - 1, SIDE, SIDE, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        image[:] = np.asarray(Image.open(io.BytesIO(blob[offsets[i] : offsets[i + 1]])).convert("RGB"))
    return images
