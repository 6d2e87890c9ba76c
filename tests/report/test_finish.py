"""What follows training: how well the nearest other records know the labels, with as many as the data allow."""

import numpy as np

from fullrank.report import finish
from fullrank.types import FeatureTable


def _table(classes: np.ndarray) -> FeatureTable:
    """Features of a short training: nearly equal rows, and a little of the class in each."""
    records = len(classes)
    rows = (
        5
        + 0.05 * np.eye(classes.max() + 1)[classes]
        + 0.001 * np.random.default_rng(0).normal(size=(records, classes.max() + 1))
    )
    return FeatureTable(
        representation=rows.astype(np.float32),
        embedding=None,
        labels={"action": classes},
        record=np.arange(records),
        start_seconds=np.zeros(records),
        record_ids=[f"r{i}" for i in range(records)],
        classes={"action": [str(i) for i in range(classes.max() + 1)]},
        manifest={},
    )


def test_classes_of_few_records_are_told_apart_where_the_features_tell_them_apart():
    (found,) = finish._leave_one_out(_table(np.repeat(np.arange(4), 6)))["representation"].values()
    assert (found["k"], found["top1"]) == (5, 1.0)


def test_classes_of_one_record_each_have_no_accuracy_but_a_reason():
    (found,) = finish._leave_one_out(_table(np.arange(5)))["representation"].values()
    assert found == {"problem": "too few records of a class for neighbours (every class has one)"}
