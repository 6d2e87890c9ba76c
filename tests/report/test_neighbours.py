"""Nearest neighbours: the right records, never the query's own."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fullrank.report import neighbours
from fullrank.report.neighbours import find, gallery, thumbnails
from fullrank.types import FeatureTable


def _table(representation: np.ndarray, record: np.ndarray, ids: list[str] | None = None) -> FeatureTable:
    return FeatureTable(
        representation=representation.astype(np.float32),
        embedding=None,
        labels={},
        record=record.astype(np.int64),
        start_seconds=np.zeros(len(record)),
        record_ids=ids or [f"r{i}" for i in range(int(record.max()) + 1)],
        classes={},
        manifest={},
    )


def test_neighbours_equal_a_naive_search_over_records() -> None:
    draw = np.random.default_rng(1)
    record = np.repeat(np.arange(20), 3)
    features = draw.normal(size=(60, 8)) * draw.uniform(0.1, 9, size=(60, 1))
    found, _ = find(_table(features, record), num_queries=20)
    assert len(found) == 20
    for one in found:
        assert one.query % 3 == 1, "the middle of three clips asks"
        best = {}
        for row in range(60):
            if record[row] != record[one.query]:
                a, b = features[one.query].astype(np.float32), features[row].astype(np.float32)
                cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
                best[record[row]] = max(best.get(record[row], (-9.0, -1)), (cosine, row))
        expected = sorted(best.values(), reverse=True)[:5]
        assert one.rows == [row for _, row in expected]
        np.testing.assert_allclose(one.cosines, [cosine for cosine, _ in expected], atol=1e-5)


def test_reading_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, record = np.random.default_rng(2).normal(size=(50, 6)), np.arange(50)
    whole, mean = find(_table(features, record))
    monkeypatch.setattr(neighbours, "CHUNK_ROWS", 7)
    parts, again = find(_table(features, record))
    assert [one.rows for one in whole] == [one.rows for one in parts]
    assert mean == pytest.approx(again)


def test_the_same_records_are_asked_every_time() -> None:
    one, two = (find(_table(np.random.default_rng(s).normal(size=(40, 4)), np.arange(40)))[0] for s in (3, 4))
    assert [a.query for a in one] == [b.query for b in two]
    assert len({a.query for a in one}) == 12


def test_rows_of_zeros_are_no_error() -> None:
    found, mean = find(_table(np.zeros((8, 4)), np.arange(8)))
    assert found[0].cosines == [0.0] * 5
    assert mean == 0.0


def test_a_single_record_has_no_neighbours_and_the_page_says_so() -> None:
    table = _table(np.ones((3, 4)), np.zeros(3))
    assert "single record" in gallery(table, np.zeros((3, 8, 8, 3), np.uint8))


def test_pictures_are_the_ones_of_their_rows() -> None:
    pictures = np.stack([np.full((16, 16, 3), 12 * i, np.uint8) for i in range(20)])
    table = _table(np.random.default_rng(5).normal(size=(20, 4)), np.arange(20))
    html = gallery(table, pictures, num_queries=2)
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).mean() / 12
        for data in re.findall(r"data:image/webp;base64,([\w+/=]+)", html)
    ]
    found, _ = find(table, num_queries=2)
    assert shown == pytest.approx([row for one in found for row in (one.query, *one.rows)])


def test_names_of_records_are_escaped() -> None:
    table = _table(np.random.default_rng(6).normal(size=(6, 4)), np.arange(6), ["<script>.mp4"] * 6)
    html = gallery(table, np.zeros((6, 8, 8, 3), np.uint8))
    assert "<script>" not in html
    assert "&lt;script&gt;.mp4" in html


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 8, 8, 3), np.float32), np.zeros((5, 8, 8, 3), np.uint8), np.zeros((4, 8, 8), np.uint8)]
)
def test_thumbnails_of_something_else_are_refused_with_a_reason(tmp_path: Path, wrong: np.ndarray) -> None:
    np.save(tmp_path / "thumbnails.npy", wrong)
    pictures, reason = thumbnails(tmp_path, 4)
    assert pictures is None
    assert str(list(wrong.shape)) in reason
    assert "4 rows" in reason


def test_missing_thumbnails_are_said(tmp_path: Path) -> None:
    pictures, reason = thumbnails(tmp_path, 4)
    assert pictures is None
    assert "without thumbnails" in reason
