"""Feature tables: memory-mapped arrays in a folder, and a manifest that says where they come from.

A folder holds representation.npy [rows, d], embedding.npy [rows, k] (where there is one, as the head gives it; of other
codebases' checkpoints embedding_normalized.npy too, L2-normalised), record.npy, start_seconds.npy, labels_<name>.npy and
manifest.json. One row is one clip. ``write.py`` writes them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import NDArray

from fullrank.errors import CheckpointError, SettingError, ShapeError
from fullrank.types import FeatureTable

FORMAT = 1
"""raised when a reader of the old form would misread the new one"""
SPACES = ("representation", "embedding", "embedding_normalized")
OF_A_RUN = "features"
"""where training leaves the features of a run"""
_BLOCK_ROWS = 65536


def file_name(array: str) -> str:
    """Of an array of a table."""
    return f"{array}.npy"


def read_table(folder: str | Path) -> FeatureTable:
    """Open a feature table; arrays are memory-mapped and read when they are used.

    ``CheckpointError`` where the folder is missing, is no feature table, is damaged, or where an array's shape is not the
    manifest's.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    rows, dims, names = manifest["rows"], manifest["dims"], manifest["labels"]
    shapes: dict[str, tuple[int, ...]] = {space: (rows, width) for space, width in dims.items()}
    shapes |= {"record": (rows,), "start_seconds": (rows,)} | {f"labels_{name}": (rows,) for name in names}
    dtypes = dict.fromkeys(SPACES, "float32") | {"start_seconds": "float64"}
    arrays = {}
    for name, shape in shapes.items():
        array = _open_array(folder / file_name(name))
        if array.shape != shape or array.dtype != dtypes.get(name, "int64"):
            raise CheckpointError(
                f"{folder / file_name(name)} must be {dtypes.get(name, 'int64')} {list(shape)}, as its manifest says. "
                f"Got {array.dtype} {list(array.shape)}; extract the features again."
            )
        arrays[name] = array
    return FeatureTable(
        representation=arrays["representation"],
        embedding=arrays.get("embedding"),
        embedding_normalized=arrays.get("embedding_normalized"),
        labels={name: arrays[f"labels_{name}"] for name in names},
        record=arrays["record"],
        start_seconds=arrays["start_seconds"],
        record_ids=manifest["record_ids"],
        classes=manifest["classes"],
        manifest=manifest,
    )


def table_of(path: str | Path) -> tuple[FeatureTable, str] | None:
    """The table that "FOLDER" or "FOLDER#embedding" names, and the space ("": all of it); None where it is no table.

    FOLDER may be a run whose training left features.
    """
    named, _, space = (str(path), "", "") if Path(path).exists() else str(path).rpartition("#")
    for folder in (Path(named), Path(named) / OF_A_RUN):
        if (folder / "manifest.json").exists():
            return read_table(folder), space
    return None


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a table's manifest says; ``CheckpointError`` where there is none, or it is another file."""
    path = folder / "manifest.json"
    if not folder.exists():
        raise CheckpointError(
            f"a feature table must be a folder. There is no {folder}; `fullrank extract RUN --data.path DATA --out {folder}` "
            "writes one."
        )
    if not path.is_file():
        raise CheckpointError(f"{folder} must hold a manifest.json to be a feature table. Give what `fullrank extract` wrote.")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} must be JSON. It is damaged ({error}); extract the features again.") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != "features":
        raise CheckpointError(f"{path} must be the manifest of a feature table. It is another file; give what `extract` wrote.")
    if manifest.get("format") != FORMAT:
        got = manifest.get("format")
        raise CheckpointError(f"{path} must have format {FORMAT}. Got {got}, written by fullrank {manifest.get('fullrank')}.")
    missing = [key for key in ("rows", "dims", "labels", "classes", "record_ids") if key not in manifest]
    if missing or "representation" not in manifest["dims"]:
        lacking = missing[0] if missing else "representation"
        raise CheckpointError(f"{path} must say '{lacking}'. It does not; extract the features again.")
    return manifest


def _open_array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} must exist, as the manifest says. It is missing; extract the features again.") from error
    except (ValueError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} must be a whole .npy array. It is damaged ({error}); extract again.") from error
    return array  # type: ignore[no-any-return]


def is_current(folder: str | Path, manifest_key: Mapping[str, Any]) -> bool:
    """Whether ``folder`` holds a whole feature table whose manifest agrees with every entry of ``manifest_key``.

    The key holds what decides the features (checkpoint_hash, data_fingerprint, settings_hash, branch): the same key is a
    cache hit. A missing or damaged table is none.
    """
    try:
        manifest = read_table(folder).manifest
    except CheckpointError:
        return False
    wanted = json.loads(json.dumps(dict(manifest_key)))
    return all(name in manifest and manifest[name] == value for name, value in wanted.items())


def branch_folder(folder: str | Path, branch: str) -> Path:
    """Where the table of another branch lies: beside the one of what the paper evaluates.

    >>> branch_folder("features/first", "teacher").as_posix()
    'features/first-teacher'
    """
    folder = Path(folder)
    return folder.with_name(f"{folder.name}-{branch}")


def other_branches(folder: str | Path) -> dict[str, FeatureTable]:
    """{branch: table} of the same checkpoint, data and settings beside the table ``folder``; empty where there are none."""
    manifest = read_table(folder).manifest
    same = {key: manifest.get(key) for key in ("checkpoint_hash", "data_fingerprint", "settings_hash")}
    places = {branch: branch_folder(folder, branch) for branch in manifest.get("branches", [])}
    return {
        branch: read_table(place)
        for branch, place in places.items()
        if branch != manifest.get("encoded") and is_current(place, same | {"branch": branch})
    }


def per_record(
    table: FeatureTable, space: str = "representation"
) -> tuple[Float[np.ndarray, "records d"], dict[str, Int64[np.ndarray, " records"]], Int64[np.ndarray, " records"]]:
    """One row a record: the mean over its clips of the features as they are (not normalised).

    Returns float32 features [records, d], labels {name: [records]} and the records' positions in the source, ascending.
    Means are summed in float64. ``ShapeError`` where clips of a record have different labels.
    """
    features = features_of(table, space)
    records, first, inverse, counts = np.unique(
        np.asarray(table.record), return_index=True, return_inverse=True, return_counts=True
    )
    labels = {}
    for name, values in table.labels.items():
        labels[name] = np.asarray(values)[first]
        if not np.array_equal(labels[name][inverse], values):
            raise ShapeError(f"all clips of a record must have the same label. Got different ones in the label set '{name}'.")
    if len(records) == len(features):
        return np.asarray(features)[first], labels, records
    sums = np.zeros((len(records), features.shape[1]))
    for start in range(0, len(features), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        order = np.argsort(inverse[rows], kind="stable")
        present, starts = np.unique(inverse[rows][order], return_index=True)
        sums[present] += np.add.reduceat(np.asarray(features[rows], np.float64)[order], starts, axis=0)
    return (sums / counts[:, None]).astype(np.float32), labels, records


def features_of(table: FeatureTable, space: str) -> Float[np.ndarray, "rows d"]:
    """The features of one space, as they are on disk; ``SettingError`` where the table has no such space."""
    if space not in SPACES:
        raise SettingError(f"space must be one of {', '.join(SPACES)}. Got '{space}'.")
    features = getattr(table, space)
    if features is None:
        raise SettingError(f"the feature table must have an embedding for space '{space}'. It has none; use representation.")
    return features  # type: ignore[no-any-return]
