"""The README's Python example runs as it is printed, but for the folder and a recipe that is quick."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from fullrank.data.sources.moving_digits import World, write_world

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"<!-- test: example -->\n```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None, "the README must mark its example"
    example = found[1]
    assert len([line for line in example.splitlines() if line.strip() and not line.startswith("import")]) == 5
    write_world(tmp_path / "my_videos", World(num_train=32, num_test=16))
    monkeypatch.chdir(tmp_path)
    assert '"vicreg.video"' in example
    example = example.replace('"vicreg.video"', '"vicreg.tiny"')
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})  # noqa: S102  it is our own text
    assert printed.getvalue().startswith("[")
    assert (tmp_path / "features" / "first" / "representation.npy").is_file()
    assert next((tmp_path / "runs").iterdir()).joinpath("checkpoint.pt").is_file()
