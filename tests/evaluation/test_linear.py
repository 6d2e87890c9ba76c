import numpy as np
import pytest
import torch

from fullrank.errors import DataError, SettingError
from fullrank.evaluation import linear as module
from fullrank.evaluation.linear import linear, linear_grouped, split


def test_planted_classes_are_read_and_random_labels_are_not(make_table, planted):
    (x, y), (x_test, y_test) = planted(120, seed=1), planted(90, seed=2)
    random = np.random.default_rng(0)
    train = make_table(x, {"label": y, "chance": random.integers(0, 3, 120)})
    test = make_table(x_test, {"label": y_test, "chance": random.integers(0, 3, 90)})
    result = linear(train, test, epochs=10)
    assert result.top1 == 1.0
    assert (result.n, result.n_train, result.n_validation) == (90, 120, 24)
    assert len(result.validation) == len(module.LEARNING_RATES) * len(module.WEIGHT_DECAYS)
    blind = linear(train, test, label="chance", epochs=10)
    assert blind.interval[0] < 1 / 3 < blind.interval[1]


def test_six_classes_have_a_top5(make_table, planted):
    x, y = planted(120, classes=6, apart=1.5)
    table = make_table(x, {"label": y})
    result = linear(table, table, epochs=5)
    assert result.top5 > result.top1
    assert result.top5_interval[0] < result.top5 < result.top5_interval[1]


def test_the_choice_never_sees_the_test_records(make_table, planted):
    (x, y), (x_test, y_test) = planted(90, apart=1.5, seed=1), planted(60, apart=1.5, seed=2)
    names = {"label": ["a", "b", "c"]}
    train = make_table(x, {"label": y}, classes=names)
    honest = linear(train, make_table(x_test, {"label": y_test}, classes=names), epochs=10)
    poisoned = linear(train, make_table(-5 * x_test, {"label": (y_test + 1) % 3}, classes=names), epochs=10)
    assert honest.validation == poisoned.validation
    assert (honest.learning_rate, honest.weight_decay) == (poisoned.learning_rate, poisoned.weight_decay)
    assert poisoned.top1 < honest.top1


def test_the_chosen_setting_is_the_best_on_held_out_training_records(make_table, planted):
    x, y = planted(90, apart=1.0)
    table = make_table(x, {"label": y})
    result = linear(table, table, epochs=10)
    assert len({row["accuracy"] for row in result.validation}) > 1
    best = max(result.validation, key=lambda row: (row["accuracy"], -row["loss"]))
    assert (best["learning_rate"], best["weight_decay"]) == (result.learning_rate, result.weight_decay)


def test_held_out_records_are_not_trained_on(make_table):
    """Random labels of few records in many dimensions: those trained on are all answered rightly, others by chance."""
    random = np.random.default_rng(0)
    table = make_table(random.normal(size=(80, 200)), {"label": np.arange(80) % 2})
    result = linear(table, table, epochs=30, learning_rates=(0.1, 0.3), weight_decays=(0.0,))
    assert result.top1 == 1.0
    assert max(row["accuracy"] for row in result.validation) < 0.9


def test_a_single_setting_needs_no_held_out_records(make_table):
    train = make_table(np.eye(3), {"label": [0, 1, 2]})
    result = linear(train, train, learning_rates=(0.1,), weight_decays=(0.0,), epochs=20)
    assert result.top1 == 1.0
    assert result.validation == []
    with pytest.raises(DataError, match="at least two labelled training records. Got none; give one learning rate"):
        linear(train, train)


def test_standardising_makes_scale_and_shift_irrelevant(make_table, planted):
    (x, y), (x_test, y_test) = planted(90, apart=2.0, seed=1), planted(60, apart=2.0, seed=2)
    plain = linear(make_table(x, {"label": y}), make_table(x_test, {"label": y_test}), epochs=10)
    moved = [np.concatenate([1e-3 * a + 0.5, np.full((len(a), 1), 7.3)], axis=1) for a in (x, x_test)]
    scaled = linear(make_table(moved[0], {"label": y}), make_table(moved[1], {"label": y_test}), epochs=10)
    assert abs(plain.top1 - scaled.top1) <= 1 / 60
    raw = linear(make_table(moved[0], {"label": y}), make_table(moved[1], {"label": y_test}), epochs=10, standardize=False)
    assert raw.top1 < scaled.top1


def test_a_constant_encoder_reads_nothing(make_table):
    table = make_table(np.full((40, 3), 0.7), {"label": np.arange(40) % 2})
    assert linear(table, table, epochs=5).top1 == 0.5


def test_diverging_rates_are_refused(make_table, planted):
    x, y = planted(30)
    table = make_table(x, {"label": y})
    with pytest.raises(SettingError, match="All diverged; give smaller ones"):
        linear(table, table, learning_rates=(1e38, 1e37), weight_decays=(1.0,), epochs=5)
    mixed = linear(table, table, learning_rates=(1e38, 0.1), weight_decays=(1.0,), epochs=5)
    assert mixed.learning_rate == 0.1


def test_split_is_stratified_and_never_takes_a_whole_class():
    labels = np.array([0] * 50 + [1] * 10 + [2] * 2 + [3])
    held_out = split(labels, 0.2, 0)
    assert np.bincount(labels[held_out], minlength=4).tolist() == [10, 2, 1, 0]
    assert (held_out == split(labels, 0.2, 0)).all()
    assert not (held_out == split(labels, 0.2, 1)).all()
    assert np.bincount(labels[split(labels, 0.99, 0)], minlength=4).tolist() == [49, 9, 1, 0]
    with pytest.raises(SettingError, match="A fifth is 0.2"):
        split(labels, 20, 0)


def test_leaving_a_group_out_trains_without_it(planted):
    x, y = planted(60, apart=6.0)
    groups = np.arange(60) // 3 % 4
    result = linear_grouped(x, y, groups, epochs=20, group_names=["ann", "ben", "cid", "dan"])
    assert result.top1 == 1.0
    assert result.groups == {"ann": 1.0, "ben": 1.0, "cid": 1.0, "dan": 1.0}
    assert (result.n, result.n_train) == (60, 45)


def test_a_feature_that_only_marks_the_group_does_not_help():
    """Labels follow the group exactly: a leak reads them off, and without one the commoner class of the others is wrong."""
    groups = np.arange(80) // 10
    assert linear_grouped(np.eye(8)[groups], groups % 2, groups, epochs=20).top1 == 0.0


def test_a_fold_is_what_training_on_the_rest_gives(planted):
    x, y = planted(45, apart=1.5)
    groups = np.arange(45) % 3
    result = linear_grouped(x, y, groups, learning_rates=(0.1,), weight_decays=(0.01,), epochs=10)
    for group in range(3):
        inside, outside = x[groups != group], x[groups == group]
        mean, std = inside.mean(0), inside.std(0)
        probe = module.train_probes(
            torch.from_numpy((inside - mean) / std),
            torch.from_numpy(y[groups != group]),
            [module.Setting(0.1, 0.01)],
            num_classes=3,
            epochs=10,
        )
        expected = probe.logits(torch.from_numpy((outside - mean) / std))[0].argmax(1)
        assert result.predictions[groups == group, 0].tolist() == expected.tolist()


def test_two_groups_choose_by_a_split_of_the_other_ones_records(planted):
    x, y = planted(40, apart=6.0)
    assert linear_grouped(x, y, np.arange(40) // 3 % 2, epochs=10).top1 == 1.0
    with pytest.raises(DataError, match="at least two groups"):
        linear_grouped(x, y, np.zeros(40, np.int64))
    with pytest.raises(SettingError, match="inner_folds must be at least 2. Got 1"):
        linear_grouped(x, y, np.arange(40) % 4, inner_folds=1)


def test_progress_goes_from_zero_to_one(make_table, planted):
    x, y = planted(30)
    table = make_table(x, {"label": y})
    seen = []
    linear(table, table, epochs=3, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_fewer_records_than_dimensions_are_answered_as_with_all_dimensions(make_table, planted, monkeypatch):
    (x, y), (x_test, y_test) = planted(24, d=60, apart=3.0, seed=1), planted(90, d=60, apart=3.0, seed=2)
    train, test = make_table(x, {"label": y}), make_table(x_test, {"label": y_test})
    compact = linear(train, test, epochs=20)
    seen = []
    monkeypatch.setattr(module, "_compact", lambda x, other: seen.append(x.shape) or (x, other))
    whole = linear(train, test, epochs=20)
    assert seen == [(18, 60), (24, 60)]
    assert compact.predictions.tolist() == whole.predictions.tolist()
    for a, b in zip(compact.validation, whole.validation, strict=True):
        assert a == pytest.approx(b, rel=1e-4)
