"""A survey: every measure of one table from one pass, as JSON can hold it."""

import json
from pathlib import Path

import numpy as np
import pytest

import fullrank
from fullrank.errors import DataError, ShapeError
from fullrank.features.write import write_table
from fullrank.spectrum.definitions import MEASURES
from fullrank.spectrum.measures import measure
from fullrank.spectrum.survey import OF_FEATURES, survey

X = np.random.default_rng(0).normal(size=(300, 16)) * np.arange(1, 17) ** -0.5 + 0.2


def test_each_value_is_that_of_measure_and_strict_json_holds_all() -> None:
    groups = np.arange(300) // 3
    found = fullrank.survey(X, groups=groups)
    document = json.loads(json.dumps(found.document(), allow_nan=False))
    assert list(document) == list(OF_FEATURES)
    for name, row in document.items():
        each = MEASURES[name]
        assert (row["centred"], row["normalized"], row["n"], row["d"]) == (each.centred, each.normalized, 300, 16)
        assert row["value"] == pytest.approx(
            fullrank.measure(X, name, groups=groups if each.needs == "groups" else None), abs=1e-9
        )
    assert found.warnings == []
    assert found.rows == 300


def test_rows_are_read_once_and_pairs_are_of_the_reservoir() -> None:
    told: list[int] = []
    found = survey(X, rows=100, seed=4, on_rows=told.append)
    assert sum(told) == 300
    assert found.values["uniformity"].n == 100
    assert found.values["effective_rank"].n == 300
    assert found.values["uniformity"] == measure(X, "uniformity", rows=100, seed=4)


def test_intervals_may_be_of_some_measures_only() -> None:
    totals: list[int] = []
    found = survey(X, bootstrap=20, intervals=["rankme", "two_nn"], on_replicate=totals.append)
    assert {name for name, value in found.values.items() if value.replicates} == {"rankme", "two_nn"}
    assert totals == [40] * 40
    assert found.values["rankme"].value == float(found.values["rankme"])


def test_without_groups_what_needs_them_says_so() -> None:
    found = survey(X)
    assert set(found.absent) == {"lidar", "lidar_renormalized", "lidar_of_rows", "alignment"}
    assert found.document()["lidar"]["value"] is None
    assert "groups" in found.document()["lidar"]["why"]


def test_a_table_knows_its_records(tmp_path: Path) -> None:
    record = np.repeat(np.arange(100), 3)
    write_table(
        tmp_path / "table",
        **{"representation": X.astype(np.float32), "embedding": None, "labels": {}, "record": record},
        start_seconds=np.zeros(300),
        record_ids=[str(i) for i in range(100)],
        classes={},
        manifest={"checkpoint_hash": "a", "data_fingerprint": "b", "settings_hash": "c", "branch": None},
    )
    wanted = measure(X.astype(np.float32), "lidar", groups=record)
    assert measure(tmp_path / "table", "lidar") == wanted
    assert survey(str(tmp_path / "table")).values["lidar"] == wanted


def test_curves_say_what_they_are_of() -> None:
    curves = json.loads(json.dumps(survey(X[:10]).curves(), allow_nan=False))
    logs = curves["log_singular_values"]
    assert (logs["n"], logs["d"], logs["centred"], logs["normalized"]) == (10, 16, True, True)
    assert logs["values"][9:] == [None] * 7, "no log of what is 0"
    assert curves["cumulative_explained_variance"]["values"][-1] == pytest.approx(1.0)
    assert len(curves["eigenvalues"]["values"]) == 16


def test_few_rows_are_warned_of_once() -> None:
    (warning,) = survey(X[:31]).warnings
    assert warning.startswith("n = 31 rows for d = 16")
    assert survey(X[:32]).warnings == []


def test_bad_features_are_one_sentence() -> None:
    bad = X.copy()
    bad[[7, 9]] = np.nan
    with pytest.raises(DataError, match="2 rows: 7, 9"):
        survey(bad)
    with pytest.raises(DataError, match="at least 2 rows of features. Got 1"):
        survey(X[:1])
    with pytest.raises(ShapeError, match="each of the 300 rows"):
        survey(X, groups=[0, 0, 1])
