"""Write the tables of README.md and docs/*.md again, or say with --check which of them are stale.

A document marks the place of a table with two comments:

    <!-- table NAME -->
    (whatever stands here is replaced)
    <!-- end of table -->

NAME is `commands`, `recipes`, `methods` or `measures` (made from the code), or a table of a result file. Result files are
benchmarks/results/<date>_<commit>_<hardware>.json:

    {"date": "2026-01-31T17:05", "commit": "abc1234", "hardware": "2 cores ...", "command": "make bench", "seeds": [3, 4, 5],
     "tables": {"NAME": {"header": ["encoder", "digit"], "rows": [["trained", 0.81]], "note": "optional sentence"}}}

Of several files with a table of that name, the one with the latest date is taken (of the same date, the last by file name). A
number in a row is printed with four significant digits; what needs another form is a string already.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- table ([\w.-]+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def documents(root: Path) -> list[Path]:
    """Every document that may hold a marked table."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def cell(value: object) -> str:
    """One cell of a Markdown table."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def markdown(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; columns of numbers stand to the right."""
    numeric = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    lines = [header, ["---:" if right else "---" for right in numeric], *rows]
    return "".join(f"| {' | '.join(cell(value) for value in line)} |\n" for line in lines)


def results(folder: Path) -> dict[str, str]:
    """{table name: Markdown with its origin}, from the result files in order of their dates."""
    found = {}
    read = [(file, json.loads(file.read_text(encoding="utf-8"))) for file in folder.glob("*.json")]
    for file, result in sorted(read, key=lambda pair: (pair[1].get("date", ""), pair[0].name)):
        for name, table in result.get("tables", {}).items():
            found[name] = markdown(table["header"], table["rows"]) + "\n" + _origin(file, result, table)
    return found


def _origin(file: Path, result: dict[str, Any], table: dict[str, Any]) -> str:
    parts = [f"`benchmarks/results/{file.name}`"]
    if "hardware" in result:
        parts.append(str(result["hardware"]))
    if "commit" in result:
        parts.append(f"commit {result['commit']}")
    seeds = table.get("seeds", result.get("seeds"))
    if seeds is not None:
        parts.append("seeds " + ", ".join(str(seed) for seed in seeds))
    if "command" in result:
        parts.append(f"`{result['command']}`")
    note = f"{table['note'].rstrip()} " if table.get("note") else ""
    return f"{note}Measured: {'; '.join(parts)}.\n"


def from_code() -> dict[str, str]:
    """The tables that the code itself gives."""
    from fullrank.cli import commands
    from fullrank.methods._method import available as methods
    from fullrank.methods._method import load_method
    from fullrank.recipes import available as recipes
    from fullrank.spectrum.definitions import MEASURES

    said = {name: (sys.modules[load_method(name).__module__].__doc__ or "").split("\n")[0] for name in methods()}
    have = recipes()
    of = {name: ", ".join(f"`{r.partition('.')[2]}`" for r in have if r.startswith(f"{name}.")) for name in methods()}
    return {
        "commands": markdown(["command", "what it does"], [[f"`fullrank {name}`", text] for name, text in commands().items()]),
        "recipes": markdown(["recipe", "for"], [[f"`{name}`", text] for name, text in have.items()]),
        "methods": markdown(["method", "paper", "recipes"], [[f"`{name}`", said[name], of[name]] for name in said]),
        "measures": markdown(
            ["measure", "of", "equation", "epsilon", "from", "range", "healthy", "all rows equal"],
            [
                [f"`{name}`", of_what(m), f"`{m.equation}`", m.epsilon, m.paper, m.span, m.healthy, m.collapsed]
                for name, m in MEASURES.items()
            ],
        ),
    }


def of_what(measure: Any) -> str:
    """What a measure is computed from, and in which form."""
    form = ("centred" if measure.centred else "as it is") + (", unit rows" if measure.normalized else "")
    needs = {"spectrum": form, "rows": f"sampled rows, {form}", "groups": f"groups of sampled rows, {form}"}
    return needs.get(
        measure.needs, {"pair": "two tables, centred", "scores": "scores [n, k]"}.get(measure.needs, "two scores [n, k]")
    )


def fresh(text: str, tables: dict[str, str]) -> str:
    """``text`` with every marked table written again. A table without a measurement says so."""

    def fill(found: re.Match[str]) -> str:
        start, name, _, end = found.groups()
        return start + tables.get(name, f"Not measured yet: no file in `benchmarks/results/` has a table `{name}`.\n") + end

    return MARKED.sub(fill, text)


def main(argv: Sequence[str]) -> int:
    """0 where nothing is stale; with --check nothing is written."""
    if set(argv) - {"--check"}:
        print("usage: python benchmarks/tables.py [--check]", file=sys.stderr)
        return 2
    tables = from_code() | results(ROOT / "benchmarks" / "results")
    stale = []
    for document in documents(ROOT):
        text = document.read_text(encoding="utf-8")
        if text.count("<!-- table ") != len(MARKED.findall(text)):
            print(f"{document.relative_to(ROOT)}: a marked table has no end, or its name is not a word", file=sys.stderr)
            return 1
        wanted = fresh(text, tables)
        if wanted != text:
            stale.append(str(document.relative_to(ROOT)))
            if "--check" not in argv:
                document.write_text(wanted, encoding="utf-8")
    if stale:
        print(f"{'stale' if '--check' in argv else 'written'}: {', '.join(stale)}")
    return int(bool(stale) and "--check" in argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
