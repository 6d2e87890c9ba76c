"""The question every evaluation asks: of which class is each test record? And how an answer is scored.

Data flow: two feature tables -> one row a record -> classes matched by name -> Problem -> knn | linear -> Accuracy.
"""

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy.typing import NDArray

from fullrank.errors import CheckpointError, DataError, ShapeError, did_you_mean
from fullrank.evaluation.intervals import Interval, wilson
from fullrank.features.table import features_of, per_record
from fullrank.types import FeatureTable

TOP = 5
"""ranks that are kept of every answer"""
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Features of labelled records, one row each; classes are the training table's."""

    train_features: Float32[np.ndarray, "train d"]
    train_labels: Int64[np.ndarray, " train"]
    test_features: Float32[np.ndarray, "test d"]
    test_labels: Int64[np.ndarray, " test"]
    class_names: list[str]
    unlabelled: int
    """records of both tables without a label: left out"""
    unknown_class: int
    """test records of a class that no training record has: left out"""


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Answers to a problem and how many are right. Intervals are Wilson's at 95 %."""

    top1: float
    """share of test records whose class is the first answer"""
    interval: Interval
    """of ``top1``"""
    top5: float | None
    """share whose class is among the first five answers; None where there are five classes or fewer (it would be 1)"""
    top5_interval: Interval | None
    chance: float
    """share of the commonest class among the test records: no constant answer does better"""
    n: int
    """test records"""
    num_classes: int
    predictions: NDArray[np.int64]
    """[n, up to 5] classes, best first"""
    targets: NDArray[np.int64]
    """[n] the right classes"""
    n_train: int = 0
    """training records (of one fold: the mean, where there are several)"""
    unlabelled: int = 0
    unknown_class: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Everything but the arrays, for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}


def score(predictions: Int64[np.ndarray, "n ranks"], targets: Int64[np.ndarray, " n"], num_classes: int) -> dict[str, Any]:
    """The fields of ``Accuracy`` that follow from answers (best first) and the right classes."""
    hits = predictions == targets[:, None]
    n, right, right5 = len(targets), int(hits[:, 0].sum()), int(hits[:, :TOP].any(axis=1).sum())
    many = num_classes > TOP
    return {
        "top1": right / n,
        "interval": wilson(right, n),
        "top5": right5 / n if many else None,
        "top5_interval": wilson(right5, n) if many else None,
        "chance": int(np.bincount(targets).max()) / n,
        "n": n,
        "num_classes": num_classes,
        "predictions": predictions,
        "targets": targets,
    }


def problem(train: FeatureTable, test: FeatureTable, *, label: str = "label", space: str = "representation") -> Problem:
    """Match two tables of the same encoder: one row a record, classes by name, records without a usable label left out.

    ``DataError`` where a table has no such label, or nothing is left; ``CheckpointError`` where the tables come from
    different encoders.
    """
    _same_encoder(train, test, space)
    train_names, test_names = (_classes(table, label) for table in (train, test))
    (x, y, _), (x_test, y_test, _) = per_record(train, space), per_record(test, space)
    require_finite(x, "training")
    require_finite(x_test, "test")
    train_labels, in_test = y[label], y_test[label]
    seen = set(np.unique(train_labels[train_labels >= 0]).tolist())
    position = {name: i for i, name in enumerate(train_names) if i in seen}
    renumber = np.array([position.get(name, -1) for name in test_names] + [-1], dtype=np.int64)
    test_labels = renumber[in_test]
    labelled, kept = train_labels >= 0, test_labels >= 0
    if not labelled.any() or not kept.any():
        raise DataError(
            f"training and test must share classes of '{label}'. Got {len(seen)} classes with training records, and "
            f"{int((in_test >= 0).sum())} labelled test records, none of these classes; compare `fullrank inspect` of both."
        )
    return Problem(
        train_features=x[labelled],
        train_labels=train_labels[labelled],
        test_features=x_test[kept],
        test_labels=test_labels[kept],
        class_names=train_names,
        unlabelled=int((train_labels < 0).sum() + (in_test < 0).sum()),
        unknown_class=int(((in_test >= 0) & (test_labels < 0)).sum()),
    )


def label_names(*tables: FeatureTable) -> list[str]:
    """The label sets that all tables have; ``DataError`` where there is none."""
    names = [name for name in tables[0].labels if all(name in table.labels for table in tables)]
    names = [name for name in names if all((np.asarray(table.labels[name]) >= 0).any() for table in tables)]
    if not names:
        raise DataError(
            "features must have labels to be evaluated. Got no label set with labels in every table; put the records into one "
            "subfolder a class, or list them in a .csv with a column 'label', and extract again (`fullrank spectrum` and "
            "`fullrank report` need no labels)."
        )
    return names


def _classes(table: FeatureTable, label: str) -> list[str]:
    if label not in table.labels:
        have = ", ".join(table.labels) or "none"
        raise DataError(f"a table must have the label set '{label}'. Got: {have}.{did_you_mean(label, table.labels)}")
    return table.classes[label]


def _same_encoder(train: FeatureTable, test: FeatureTable, space: str) -> None:
    for key, what in (("checkpoint_hash", "checkpoint"), ("branch", "branch")):
        a, b = train.manifest.get(key), test.manifest.get(key)
        if a is not None and b is not None and a != b:
            raise CheckpointError(f"both tables must come from one {what}. Got {a} and {b}; extract both with the same.")
    d_train, d_test = features_of(train, space).shape[1], features_of(test, space).shape[1]
    if d_train != d_test:
        raise ShapeError(f"{space} must have one width in both tables. Got {d_train} and {d_test}; extract both with one run.")


def require_finite(features: Float[np.ndarray, "n d"], name: str = "") -> None:
    """``DataError`` where features hold NaN or infinity; it names the first such row."""
    bad = ~np.isfinite(features.sum(axis=1, dtype=np.float64))
    if bad.any():
        bad = ~np.isfinite(features).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{name + ' ' if name else ''}features must be finite. Got NaN or infinity in {int(bad.sum())} of {len(bad)} rows "
            f"(the first is row {first}); the encoder has diverged or the file is damaged."
        )


def grouped_rows(
    features: Float[np.ndarray, "n d"],
    labels: Int64[np.ndarray, " n"],
    groups: Int64[np.ndarray, " n"],
    num_classes: int | None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64], int]:
    """The rows that have a label and a group, and the number of classes; ``DataError`` where fewer than two groups remain."""
    if not len(features) == len(labels) == len(groups):
        raise ShapeError(
            f"features, labels and groups must have one row each. Got {len(features)}, {len(labels)}, {len(groups)}."
        )
    kept = (np.asarray(labels) >= 0) & (np.asarray(groups) >= 0)
    x, y, g = np.asarray(features)[kept], np.asarray(labels)[kept], np.asarray(groups)[kept]
    if len(np.unique(g)) < 2:
        raise DataError(
            f"leaving one group out must have at least two groups with labelled records. Got {len(np.unique(g))}; "
            "choose another label set as groups."
        )
    require_finite(x)
    return x.astype(np.float32, copy=False), y, g, num_classes or int(y.max()) + 1


def in_memory(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """A writable, contiguous array in memory (torch warns of memory-mapped ones, which are read-only)."""
    return np.ascontiguousarray(array) if array.flags.writeable else np.array(array)
