import numpy as np
import pytest

from fullrank.errors import CheckpointError, DataError, ShapeError
from fullrank.evaluation.problem import label_names, problem, score


def test_classes_are_matched_by_name_and_the_rest_is_counted(make_table):
    train = make_table(np.eye(4), {"label": [0, 1, 1, -1]}, classes={"label": ["cat", "dog", "never trained"]})
    test = make_table(
        np.eye(4)[[0, 1, 2, 3, 3]], {"label": [1, 0, 2, -1, 3]}, classes={"label": ["dog", "cat", "ape", "never trained"]}
    )
    p = problem(train, test)
    assert p.class_names == ["cat", "dog", "never trained"]
    assert p.test_labels.tolist() == [0, 1]
    np.testing.assert_array_equal(p.test_features, np.eye(4)[:2])
    assert p.train_labels.tolist() == [0, 1, 1]
    assert p.unlabelled == 2
    assert p.unknown_class == 2


def test_rows_are_records(make_table):
    train = make_table([[1, 1], [3, 1], [0, 0]], {"label": [0, 0, 1]}, record=np.array([0, 0, 1]))
    assert problem(train, train).train_features.tolist() == [[2, 1], [0, 0]]


def test_sentences(make_table):
    train = make_table(np.eye(3), {"label": [0, 1, 1]})
    with pytest.raises(DataError, match="label set 'labl'. Got: label. Did you mean 'label'"):
        problem(train, train, label="labl")
    with pytest.raises(DataError, match="must share classes of 'label'. Got 2 classes .* 1 labelled test records, none"):
        problem(train, make_table(np.eye(3)[:1], {"label": [0]}, classes={"label": ["other"]}))
    with pytest.raises(CheckpointError, match="one checkpoint. Got one and two"):
        problem(train, make_table(np.eye(3), {"label": [0, 1, 1]}, checkpoint="two"))
    with pytest.raises(ShapeError, match="one width in both tables. Got 3 and 4"):
        problem(train, make_table(np.eye(4), {"label": [0, 1, 1, 0]}))
    broken = np.eye(3)
    broken[1, 2] = np.nan
    with pytest.raises(
        DataError, match=r"test features must be finite. Got NaN or infinity in 1 of 3 rows \(the first is row 1\)"
    ):
        problem(train, make_table(broken, {"label": [0, 1, 1]}))


def test_label_names_are_those_of_all_tables(make_table):
    both = make_table(np.eye(2), {"label": [0, 1], "empty": [-1, -1]}, classes={"label": ["a", "b"], "empty": []})
    one = make_table(np.eye(2), {"other": [0, 1], "label": [0, 0]})
    assert label_names(both, one) == ["label"]
    with pytest.raises(DataError, match="subfolder a class, or list them in a .csv"):
        label_names(both, make_table(np.eye(2), {}))


def test_score_counts_first_and_first_five():
    predictions = np.array([[0, 1, 2, 3, 4], [5, 1, 2, 3, 4], [3, 2, 1, 0, 5]])
    result = score(predictions, np.array([0, 1, 4]), 6)
    assert result["top1"] == pytest.approx(1 / 3)
    assert result["top5"] == pytest.approx(2 / 3)
    assert result["chance"] == pytest.approx(1 / 3)
    assert score(predictions, np.array([0, 1, 4]), 5)["top5"] is None
