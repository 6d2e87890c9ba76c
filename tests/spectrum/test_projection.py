"""Two dimensions of features: the same records everywhere, reproducible, and components that say what they are about."""

import builtins
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from fullrank.errors import DataError, SettingError
from fullrank.spectrum.projection import components, eta_squared, name_components, project, select, trustworthiness
from fullrank.types import FeatureTable

RNG = np.random.default_rng(0)
CENTRES = 20 * RNG.normal(size=(3, 10))
MEMBER = np.repeat(np.arange(3), 20)
BLOBS = CENTRES[MEMBER] + RNG.normal(size=(60, 10))


def table(records: np.ndarray, clips: int = 2, shift: float = 0.0) -> FeatureTable:
    """Records named by number, whose class is number % 4; row = record number + shift, but for the clip."""
    record = np.repeat(np.arange(len(records)), clips)
    value = records[record].astype(np.float32) + shift
    clip = np.tile(np.linspace(-1, 1, clips), len(records)).astype(np.float32)
    return FeatureTable(
        representation=np.stack([value, clip], axis=1),
        embedding=None,
        labels={"action": records[record] % 4, "actor": records[record] // 4},
        record=record,
        start_seconds=clip.astype(np.float64),
        record_ids=[f"v{i:02d}" for i in records],
        classes={"action": ["run", "jump", "wave", "bend"], "actor": [str(i) for i in range(20)]},
        manifest={},
    )


def chosen(**changes: Any) -> Any:
    ask = {"label": "action", "space": "representation", "num_classes": 2, "rows": 12, "seed": 0} | changes
    return select({"one": table(np.arange(40)), "two": table(RNG.permutation(40), shift=100.0)}, **ask)


def test_every_encoder_shows_the_same_records_of_the_same_classes() -> None:
    found = chosen()
    assert len(found.classes) == 2
    np.testing.assert_array_equal(np.bincount(found.member), [6, 6])
    numbers = np.array([int(name[1:]) for name in found.records])
    np.testing.assert_array_equal(found.features["one"][:, 0], numbers)
    np.testing.assert_array_equal(found.features["two"][:, 0], numbers + 100)
    names = ["run", "jump", "wave", "bend"]
    assert [found.classes[i] for i in found.member] == [names[i % 4] for i in numbers]
    np.testing.assert_array_equal(found.labels["actor"], numbers // 4)


def test_the_choice_is_the_seeds_and_classes_can_be_named() -> None:
    assert chosen().records == chosen().records
    assert {chosen(seed=s).classes for s in range(8)} != {chosen().classes}
    assert chosen(num_classes=("wave", "run")).classes == ("wave", "run")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": "digit"}, "must have the label 'digit'.*action, actor"),
        ({"num_classes": 9}, "1 to 4.*Got 9"),
        ({"num_classes": ("swim",)}, "must have the class 'swim'"),
    ],
)
def test_what_is_not_in_the_tables_is_said(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        chosen(**changes)


def test_tables_of_other_data_have_no_picture() -> None:
    tables = {"one": table(np.arange(20)), "two": table(np.arange(50, 70))}
    with pytest.raises(DataError, match="labelled records .'action'. in common"):
        select(tables, label="action", space="representation", num_classes=2, rows=9, seed=0)


def test_pca_is_scikit_learns() -> None:
    mine, shares = components(BLOBS)
    model = PCA(n_components=4).fit(BLOBS)
    np.testing.assert_allclose(np.abs(mine[:, :4]), np.abs(model.transform(BLOBS)), atol=1e-9)
    np.testing.assert_allclose(shares[:4], model.explained_variance_ratio_, atol=1e-12)


def test_tsne_keeps_groups_apart_and_is_the_same_again() -> None:
    placed = project(BLOBS, "tsne", seed=3)
    np.testing.assert_array_equal(placed, project(BLOBS, "tsne", seed=3))
    nearest = np.linalg.norm(placed[:, None] - placed, axis=2)
    np.fill_diagonal(nearest, np.inf)
    assert (MEMBER[nearest.argmin(axis=1)] == MEMBER).all()
    assert trustworthiness(BLOBS, placed) > 0.8


def test_equal_rows_are_one_point() -> None:
    for kind in ("tsne", "pca"):
        assert not project(np.ones((8, 4)), kind).any()  # type: ignore[arg-type]


def test_components_are_named_by_what_explains_them() -> None:
    digit, motion = np.repeat(np.arange(4), 16), np.tile(np.arange(4), 16)
    x = np.stack([9.0 * digit, 3.0 * motion, 0.1 * RNG.normal(size=64)], axis=1)
    found = name_components(x - x.mean(axis=0), {"digit": digit, "motion": motion})
    assert [one.name for one in found[:2]] == ["digit", "motion"]
    assert found[0].share == pytest.approx(81 / 90, abs=0.01)
    assert found[0].explained["motion"] < 0.05
    assert eta_squared(RNG.normal(size=4000), np.repeat(np.arange(4), 1000)) < 0.01


def test_a_missing_umap_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "umap":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"pip install 'fullrank\[umap\]'"):
        project(BLOBS, "umap")


def test_umap_is_the_same_again() -> None:
    pytest.importorskip("umap", reason="umap-learn is an extra: pip install 'fullrank[umap]'")
    placed = project(BLOBS, "umap", seed=1)
    np.testing.assert_array_equal(placed, project(BLOBS, "umap", seed=1))
    assert placed.shape == (60, 2)


def test_few_or_broken_rows_are_refused() -> None:
    with pytest.raises(DataError, match="at least 5 rows. Got 3"):
        project(BLOBS[:3], "pca")
    with pytest.raises(DataError, match="finite"):
        project(np.full((9, 2), np.nan), "tsne")
