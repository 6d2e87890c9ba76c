"""The shape of the project: import order, forbidden constructs, and documents that say what is true."""

import ast
import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "fullrank"

ORDER = [
    *("errors", "config", "types", "draws", "schedules", "allocation", "transfer", "distributed", "batch_norm"),
    *("data", "views", "backbones", "heads", "teacher", "memory", "objectives", "methods", "recipes"),
    *("checkpoint", "features", "spectrum", "engine", "evaluation", "studies", "report", "cli", "testing"),
]
"""A module imports from its own folder and from what stands to the left of it. This list is the only place that says so."""

ANYWHERE = {"__init__", "__main__"}
"""files directly in the package that may name everything: `fullrank.train` is found there when it is used"""
FORBIDDEN_IMPORTS = {"torchvision", "timm", "kornia", "lightly"}
FORBIDDEN_FILES = {"utils.py", "util.py", "common.py", "helpers.py", "misc.py"}
MAX_LINES = 400
HELP_SECONDS = 2.0
"""the aim is one second; a busy machine gets two"""

FILES = sorted(PACKAGE.rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def _part(file: Path) -> str:
    """The name in ORDER that a file belongs to."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of each import, those inside functions and those by string too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield node.lineno, module
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and _called(node) in ("importlib.import_module", "import_module") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def _called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def test_every_part_of_the_package_has_a_place_in_the_order() -> None:
    parts = {_part(file) for file in FILES} - ANYWHERE
    assert parts <= set(ORDER), f"give these a place in ORDER: {sorted(parts - set(ORDER))}"


def test_modules_import_only_from_the_left() -> None:
    wrong = []
    for file in FILES:
        own = _part(file)
        if own in ANYWHERE:
            continue
        for line, module in _imports(_tree(file)):
            if not module.startswith("fullrank."):
                continue
            other = module.split(".")[1]
            if other in ORDER and ORDER.index(other) > ORDER.index(own):
                wrong.append(f"{_name(file)}:{line} imports {module}, which is to the right of {own}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_imports_name_the_whole_package() -> None:
    wrong = [f"{_name(f)}:{line} {m}" for f in FILES for line, m in _imports(_tree(f)) if m.startswith(".")]
    assert not wrong, wrong


def test_only_one_file_imports_torch_distributed() -> None:
    wrong = []
    for file in FILES:
        if _name(file) == "src/fullrank/distributed.py":
            continue
        tree = _tree(file)
        wrong += [f"{_name(file)}:{line}" for line, module in _imports(tree) if module.startswith("torch.distributed")]
        wrong += [
            f"{_name(file)}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("torch.distributed")
        ]
    assert not wrong, wrong


def test_the_libraries_that_we_are_measured_against_are_not_imported() -> None:
    wrong = [f"{_name(f)}:{line} {m}" for f in FILES for line, m in _imports(_tree(f)) if m.split(".")[0] in FORBIDDEN_IMPORTS]
    assert not wrong, wrong


def test_annotations_are_not_postponed() -> None:
    """jaxtyping cannot check annotations that are strings."""
    wrong = [_name(f) for f in FILES for _, m in _imports(_tree(f)) if m == "__future__.annotations"]
    assert not wrong, wrong


def test_no_file_is_named_after_nothing() -> None:
    assert not [_name(file) for file in FILES if file.name in FORBIDDEN_FILES]


def test_the_package_has_no_bare_assert() -> None:
    wrong = [f"{_name(f)}:{n.lineno}" for f in FILES for n in ast.walk(_tree(f)) if isinstance(n, ast.Assert)]
    assert not wrong, f"`python -O` removes assert; raise a FullrankError: {wrong}"


def test_nothing_catches_everything() -> None:
    """BaseException is allowed where it is raised again: that is how a half-written file gets removed."""
    wrong = []
    for file in FILES:
        for node in ast.walk(_tree(file)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = [node.type] if not isinstance(node.type, ast.Tuple) else node.type.elts
            names = {ast.unparse(kind) if kind is not None else "everything" for kind in kinds}
            again = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
            if names & {"everything", "Exception"} or ("BaseException" in names and not again):
                wrong.append(f"{_name(file)}:{node.lineno} catches {', '.join(sorted(names))}")
    assert not wrong, wrong


def test_files_stay_short() -> None:
    lengths = {_name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert not {name: n for name, n in lengths.items() if n > MAX_LINES}


def test_checkpoints_are_data_never_code() -> None:
    """torch.load only with weights_only=True, numpy.load only without pickle, and no pickle at all."""
    wrong = []
    for file in FILES:
        for node in ast.walk(_tree(file)):
            if not isinstance(node, ast.Call):
                continue
            given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            called = _called(node)
            if called == "torch.load" and given.get("weights_only") is not True:
                wrong.append(f"{_name(file)}:{node.lineno} torch.load needs weights_only=True")
            if called in ("np.load", "numpy.load") and given.get("allow_pickle") not in (None, False):
                wrong.append(f"{_name(file)}:{node.lineno} numpy.load must not allow pickle")
            if called in ("pickle.load", "pickle.loads", "joblib.load"):
                wrong.append(f"{_name(file)}:{node.lineno} {called} runs code")
    assert not wrong, wrong


def test_help_answers_at_once() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", "import sys, fullrank.cli; sys.exit(fullrank.cli.main())", "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0, done.stderr
        assert "train" in done.stdout
        if seconds[-1] < HELP_SECONDS:
            return
    pytest.fail(f"`fullrank --help` must answer within {HELP_SECONDS} s. Took {min(seconds):.2f} s at best.")


def test_every_recipe_builds() -> None:
    from fullrank.methods._method import available as methods
    from fullrank.methods._method import load_method
    from fullrank.recipes import available, recipe

    names = available()
    assert {name.split(".")[0] for name in names} == set(methods()), "every method has a recipe file with at least one recipe"
    for name, said in names.items():
        config = recipe(name)
        assert isinstance(config.method, load_method(name.split(".")[0]).Config), name
        assert said, f"recipe {name} needs a docstring: `fullrank recipes` prints its first line"


PATH = re.compile(
    r"`((?:src|docs|tests|benchmarks|examples)/[\w./-]+|[A-Z]+\.md|Makefile|pyproject\.toml|constraints\.txt|\.ci/run)`"
)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_paths_in_documents_exist(document: Path) -> None:
    said = document.read_text(encoding="utf-8")
    missing = [path for path in PATH.findall(said) if not (ROOT / path).exists()]
    missing += [path for path in LINK.findall(said) if not (document.parent / path).exists()]
    assert not missing, f"{_name(document)} names {missing}"


def _command_lines(document: Path) -> Iterator[str]:
    """`fullrank ...` in code blocks (continued lines joined) and in backquotes."""
    said = document.read_text(encoding="utf-8")
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", said, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.search(r"(?:^|[\s$])(fullrank\s+\S.*)$", line.split(" #")[0])
            if found:
                yield found[1].strip()
    yield from (found for found in re.findall(r"`(fullrank [^`]+)`", re.sub(r"```.*?```", "", said, flags=re.DOTALL)))


COMMAND_LINES = sorted({line for document in DOCUMENTS for line in _command_lines(document)})


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_command_lines_in_documents_exist(line: str) -> None:
    """The command exists, and its help names every flag of the line (for `train`, the help of that recipe)."""
    from fullrank import cli

    name, *rest = shlex.split(line)[1:]
    if name.startswith("-") or name.isupper():
        return
    assert name in cli.commands(), f"`{line}`: there is no command {name}"
    flags = {word.split("=")[0] for word in rest if word.startswith("--")} - {"--json"}
    if not flags:
        return
    said = _help(name, rest[0] if rest and not rest[0].startswith("-") else "")
    missing = [flag for flag in sorted(flags) if not re.search(rf"{re.escape(flag)}(?![\w-])", said)]
    assert not missing, f"`{line}`: the help of {name} does not name {missing}"


_helps: dict[tuple[str, str], str] = {}


def _help(name: str, first: str) -> str:
    """What `fullrank NAME [RECIPE] --help` prints; commands that take a recipe show its flags."""
    key = (name, first if name in ("train", "views") and not first.isupper() else "")
    if key not in _helps:
        printed = io.StringIO()
        words = [word for word in key if word]
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), contextlib.suppress(SystemExit):
            importlib.import_module("fullrank.cli").main([*words, "--help"])
        _helps[key] = printed.getvalue()
    return _helps[key]


def test_generated_tables_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_script_of_the_project_compiles() -> None:
    for folder in ("benchmarks", "examples"):
        for file in sorted((ROOT / folder).glob("*.py")):
            ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def test_continuous_integration_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
