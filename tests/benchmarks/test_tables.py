"""Generated tables: written from result files, never by hand."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "tables.py"


@pytest.fixture
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DOCUMENT = "before\n<!-- table speed -->\nold\n<!-- end of table -->\nafter\n"
RESULT = {
    "hardware": "2 cores",
    "commit": "abc",
    "seeds": [3, 4],
    "command": "make bench",
    "tables": {
        "speed": {"header": ["what", "ratio"], "rows": [["views", 12.3456], ["a|b", 12345.6]], "note": "Higher is better."}
    },
}


def test_a_table_comes_with_its_origin(tables: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "2026-01-01_abc.json").write_text(json.dumps(RESULT))
    said = tables.fresh(DOCUMENT, tables.results(tmp_path))
    assert said == (
        "before\n<!-- table speed -->\n| what | ratio |\n| --- | ---: |\n| views | 12.35 |\n| a\\|b | 12,346 |\n\n"
        "Higher is better. Measured: `benchmarks/results/2026-01-01_abc.json`; 2 cores; commit abc; seeds 3, 4; `make bench`.\n"
        "<!-- end of table -->\nafter\n"
    )
    assert tables.fresh(said, tables.results(tmp_path)) == said, "writing twice changes nothing"


def test_the_newest_result_wins(tables: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "2026-01-02_b.json").write_text(json.dumps(RESULT))
    older = json.loads(json.dumps(RESULT).replace("12.3456", "99.0"))
    (tmp_path / "2026-01-01_a.json").write_text(json.dumps(older))
    assert "12.35" in tables.results(tmp_path)["speed"]


def test_of_one_day_the_later_hour_wins(tables: ModuleType, tmp_path: Path) -> None:
    for commit, hour, ratio in (("a", "17", "55.0"), ("b", "09", "44.0")):
        result = {"date": f"2026-01-01T{hour}:00", **json.loads(json.dumps(RESULT).replace("12.3456", ratio))}
        (tmp_path / f"2026-01-01_{commit}.json").write_text(json.dumps(result))
    assert "| 55 |" in tables.results(tmp_path)["speed"]


def test_a_table_without_a_result_says_so(tables: ModuleType) -> None:
    assert "Not measured yet: no file in `benchmarks/results/` has a table `speed`." in tables.fresh(DOCUMENT, {})


def test_check_names_what_is_stale_and_writes_nothing(
    tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "x.json").write_text(json.dumps(RESULT))
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("nothing here\n")
    (tmp_path / "docs" / "results.md").write_text(DOCUMENT)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    assert tables.main(["--check"]) == 1
    assert "stale: docs/results.md" in capsys.readouterr().out
    assert (tmp_path / "docs" / "results.md").read_text() == DOCUMENT
    assert tables.main([]) == 0
    assert "12.35" in (tmp_path / "docs" / "results.md").read_text()
    assert tables.main(["--check"]) == 0
    (tmp_path / "README.md").write_text("<!-- table speed -->\nno end\n")
    assert tables.main(["--check"]) == 1
