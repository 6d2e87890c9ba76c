import math

import numpy as np
import pytest
import torch

from fullrank.errors import DataError, SettingError, ShapeError
from fullrank.evaluation.knn import knn, knn_grouped, knn_predict


def _naive(bank, labels, query, k, temperature, classes, allowed=None):
    """Wu et al., 2018, equation 10, one query at a time in float64."""
    rows = [i for i in range(len(bank)) if allowed is None or allowed[i]]
    similar = {i: float(np.dot(bank[i], query) / (np.linalg.norm(bank[i]) * np.linalg.norm(query))) for i in rows}
    near = sorted(rows, key=lambda i: (-similar[i], i))[:k]
    votes = [sum(math.exp(similar[i] / temperature) for i in near if labels[i] == c) for c in range(classes)]
    return sorted(range(classes), key=lambda c: (-votes[c], c))[:5]


def _random(n=60, m=25, d=6, classes=7, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), random.integers(0, classes, n), random.normal(size=(m, d))


def _predict(bank, labels, queries, *args, **kwargs):
    tensors = (torch.tensor(bank, dtype=torch.float32), torch.tensor(labels), torch.tensor(queries, dtype=torch.float32))
    return knn_predict(*tensors, *args, **kwargs).tolist()


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.07), (20, 0.1), (60, 1.0), (200, 0.1)])
@pytest.mark.parametrize("block_rows", [None, 4])
def test_equals_the_naive_loop(k, temperature, block_rows):
    bank, labels, queries = _random()
    got = _predict(bank, labels, queries, k, temperature, 7, block_rows=block_rows)
    assert got == [_naive(bank, labels, query, k, temperature, 7) for query in queries]


def test_rows_of_the_own_group_never_vote():
    bank, labels, _ = _random(seed=2)
    groups = np.arange(60) % 6
    result = knn_grouped(bank, labels, groups, k=9, num_classes=7)
    expected = [_naive(bank, labels, bank[i], 9, 0.1, 7, groups != groups[i]) for i in range(60)]
    assert result.predictions.tolist() == expected
    assert result.top1 == np.mean([e[0] == y for e, y in zip(expected, labels, strict=True)])
    assert result.n_train == 50


def test_fewer_other_rows_than_neighbours_asked_for():
    bank, labels, _ = _random(n=12, seed=3)
    groups = np.array([0] * 9 + [1] * 3)
    result = knn_grouped(bank, labels, groups, k=200, num_classes=7)
    assert result.predictions.tolist() == [_naive(bank, labels, bank[i], 12, 0.1, 7, groups != groups[i]) for i in range(12)]
    assert (result.k, result.k_asked) == (9, 200)


def test_leaving_one_out_differs_from_finding_oneself():
    x, labels = np.random.default_rng(0).normal(size=(200, 64)), np.arange(200) % 2
    alone = knn_grouped(x, labels, np.arange(200), k=1)
    assert alone.interval[0] < 0.5 < alone.interval[1]
    assert np.mean(np.array(_predict(x, labels, x, 1, 0.1, 2))[:, 0] == labels) == 1.0


def test_ties_go_to_the_first_rows_and_the_smaller_class():
    bank = np.array([[1.0, 0.0]] * 6 + [[0.0, 1.0]] * 3)
    labels = np.array([2, 2, 1, 1, 1, 0, 0, 0, 0])
    assert _predict(bank, labels, [[3.0, 0.0]], 2, 0.1, 3)[0][0] == 2  # rows 0 and 1 of six equal ones
    assert _predict(bank, labels, [[3.0, 0.0]], 4, 0.1, 3) == [[1, 2, 0]]  # two votes each
    assert _predict(bank, labels, [[3.0, 0.0]] * 200, 5, 0.1, 3) == [[1, 2, 0]] * 200
    assert _predict(bank, labels, [[1.0, 1.0]], 3, 0.1, 3)[0][0] == 2


def test_a_constant_encoder_is_answered_by_the_first_rows():
    x, labels = np.ones((50, 4)), np.arange(50) % 5
    assert _predict(x, labels, x[:3], 1, 0.1, 5) == [[0, 1, 2, 3, 4]] * 3


def test_no_temperature_overflows():
    bank, labels, queries = _random()
    assert _predict(bank, labels, queries, 5, 1e-4, 7) == [
        [best, *[c for c in range(7) if c != best]][:1] + row[1:]
        for row, best in (
            (_predict(bank, labels, query[None], 5, 1e-4, 7)[0], _naive(bank, labels, query, 1, 1.0, 7)[0]) for query in queries
        )
    ]


def test_planted_clusters_are_found_and_random_labels_are_not(make_table, planted):
    (x, y), (x_test, y_test) = planted(120, seed=1), planted(90, seed=2)
    random = np.random.default_rng(0)
    train = make_table(x, {"label": y, "chance": random.integers(0, 3, 120)})
    test = make_table(x_test, {"label": y_test, "chance": random.integers(0, 3, 90)})
    result = knn(train, test, k=10)
    assert result.top1 == 1.0
    assert result.top5 is None
    assert (result.n, result.n_train, result.num_classes) == (90, 120, 3)
    blind = knn(train, test, label="chance", k=10)
    assert blind.interval[0] < 1 / 3 < blind.interval[1]


def test_k_is_clipped_and_said(make_table, planted):
    x, y = planted(30)
    table = make_table(x, {"label": y})
    result = knn(table, table, k=200)
    assert (result.k, result.k_asked) == (30, 200)
    assert "predictions" not in result.as_dict()
    assert result.as_dict()["k"] == 30


def test_the_embedding_can_be_asked(make_table, planted):
    x, y = planted(30)
    random = np.random.default_rng(0)
    train, test = (make_table(random.normal(size=(30, 5)), {"label": y}, embedding=x) for _ in range(2))
    assert knn(train, test, space="embedding", k=5).top1 == 1.0
    assert knn(train, test, k=5).top1 < 0.7


@pytest.mark.usefixtures("wrong_shapes")
def test_sentences(planted):
    x, y = planted(12)
    for arguments, error, message in (
        ((x, y, x, 0, 0.1, 3), SettingError, "k of kNN must be at least 1. Got 0"),
        ((x, y, x, 1, 0.0, 3), SettingError, "temperature of kNN must be above 0"),
        ((x, y, x[:, :2], 1, 0.1, 3), ShapeError, r"Got \[12, 8\], \[12\] and \[12, 2\]"),
        ((x, y, x, 1, 0.1, 2), ShapeError, "bank_labels must be in 0..1. Got 0..2"),
    ):
        with pytest.raises(error, match=message):
            _predict(*arguments)
    with pytest.raises(DataError, match="at least two groups with labelled records. Got 1"):
        knn_grouped(x, y, np.zeros(12, np.int64))
    with pytest.raises(ShapeError, match="Got 12, 12, 11."):
        knn_grouped(x, y, np.zeros(11, np.int64))
