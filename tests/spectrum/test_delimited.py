""".csv and .tsv as numpy, pandas, R and spreadsheets write them."""

import numpy as np
import pytest

from fullrank.errors import DataError
from fullrank.spectrum.files import read_features

X = np.random.default_rng(0).normal(size=(20, 3))


def text(header: str | None, first=None, rows: np.ndarray = X, between: str = ",") -> str:
    """As pandas writes it: ``first`` gives the first cell of a row."""
    lines = [] if header is None else [header]
    for i, row in enumerate(rows):
        lines.append(between.join([*([] if first is None else [str(first(i))]), *map(repr, row.tolist())]))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        text(None),
        text("a,b,c"),
        text("0,1,2"),
        text(",0,1,2", lambda i: i),
        text("Unnamed: 0,0,1,2", lambda i: i),
        text(",a,b,c", lambda i: i),
        text('"","V1","V2","V3"', lambda i: f'"{i + 1}"'),
        text("\n\na,b,c"),
        text(",10,20,30", lambda i: i),
    ],
    ids=["bare", "names", "pandas_without_index", "pandas", "pandas_twice", "named", "r", "empty_lines", "numbers_as_names"],
)
def test_headers_and_row_numbers_are_no_features(tmp_path, content) -> None:
    (tmp_path / "x.csv").write_text(content)
    assert np.array_equal(read_features(tmp_path / "x.csv"), X)


def test_an_index_goes_on_over_parts(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fullrank.spectrum.delimited.ROWS", 7)
    (tmp_path / "x.csv").write_text(text(",0,1,2", lambda i: i))
    assert np.array_equal(read_features(tmp_path / "x.csv"), X)


@pytest.mark.parametrize(
    "rows",
    [np.array([[0.0, 2.0], [1.0, 0.5]]), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.arange(12.0)[:, None]]
    + [np.column_stack([np.arange(5.0, 25.0), X])],
    ids=["begins_with_zero", "whole_numbers", "one_dimension", "counts_from_five"],
)
def test_what_only_resembles_a_header_or_an_index_stays(tmp_path, rows) -> None:
    (tmp_path / "x.csv").write_text(text(None, rows=rows))
    assert np.array_equal(read_features(tmp_path / "x.csv"), rows)


def test_a_single_column_that_begins_with_zero_has_no_header(tmp_path) -> None:
    (tmp_path / "x.csv").write_text("0\n2.5\n1\n")
    assert read_features(tmp_path / "x.csv").tolist() == [[0.0], [2.5], [1.0]]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.csv", text(",0,1,2", lambda i: i * 7 % 20), r"a name over every column.*'7' in line 3; leave the index out"),
        ("x.csv", text(",a,b,c", lambda i: f"{i}.jpg"), r"a name over every column.*'0.jpg' in line 2"),
        ("x.csv", text(None, lambda i: i), r"features only. Got a first column that counts the rows, from 0 to 19"),
        ("x.csv", text("id,a,b,c", lambda i: i + 1), r"a first column that counts the rows, from 1 to 20"),
        ("x.csv", text(None, between=";"), r"must have commas between numbers. Got semicolons in line 1"),
        ("x.csv", text("a;b;c", between=";"), r"must have commas between numbers. Got semicolons in line 2"),
        ("x.csv", text(None, between=" "), r"Got spaces in line 1; save it with commas"),
        ("x.csv", text(None, between="\t"), r"Got tabs in line 1; name the file .tsv"),
        ("x.tsv", text(None), r"must have tabs between numbers. Got commas in line 1; name the file .csv"),
        ("x.csv", "1,5;2,5\n3,5;1,0\n", r"must have commas between numbers. Got semicolons in line 1"),
        ("x.csv", '1,2\n"' + "x" * 200_000 + '",3\n', r"one number a cell. Got no such cell in line 2"),
        ("x.csv", "1,\n2,3\n", r"Got an empty cell in line 1, column 2"),
        ("x.csv", "a,b\n1,2\n" + "x" * 500 + ",3\n", r"Got 'x{40}\.\.\.' in line 3"),
        ("x.csv", "1,2\n3,\x004\n", r"must be text"),
    ],
)
def test_bad_tables_are_one_sentence(tmp_path, name, content, sentence) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=sentence) as raised:
        read_features(tmp_path / name)
    assert len(str(raised.value)) < 300 + len(str(tmp_path))


def test_a_spreadsheet_in_utf_16(tmp_path) -> None:
    (tmp_path / "x.csv").write_text(text("a,b,c"), encoding="utf-16")
    assert np.array_equal(read_features(tmp_path / "x.csv"), X)
