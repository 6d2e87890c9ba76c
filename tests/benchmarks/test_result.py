"""What result files say of their origin, how a file is summed up, and how other libraries are asked."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPTS = (
    "backbones",
    "clips",
    "cost",
    "diagnosis",
    "evaluation",
    "extraction",
    "gpu_step",
    "measures",
    "monitor",
    "spectrum",
    "step",
    "views",
)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def one(name: str) -> ModuleType:
        return importlib.import_module(name)

    return one


def test_the_origin_holds_no_path_of_this_machine(load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--videos", "/some/where/ucf101", "--peers=/else/where/python", "--steps", "3"])
    origin = load("_result").origin("clips.py")
    assert origin["command"] == "python benchmarks/clips.py --videos ucf101 --peers=python --steps 3"
    assert "where" not in json.dumps(origin)
    assert str(FOLDER.parent) not in json.dumps(origin)
    assert "no GPU used" in origin["hardware"]
    assert "Nvidia X, torch" in load("_result").origin("clips.py", "Nvidia X")["hardware"]


def test_every_benchmark_writes_through_it_and_has_a_quick_pass() -> None:
    for name in SCRIPTS:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert "from _result import" in text, name
        assert '"--tiny"' in text, name
        assert "rev-parse" not in text, f"{name} has its own origin"
    others = {
        "_population",
        "_result",
        "_peers",
        "_replay",
        "_features",
        "_methods_figure",
        "_timing",
        "tables",
        "torchvision_shim",
    }
    others |= {"alarms", "demo", "real_input", "methods", "measures_and_accuracy", "measures_within", "study"}
    others |= {"choices", "images", "rho_in_time", "keep_best", "cifar10"}
    assert {file.stem for file in FOLDER.glob("*.py")} - others == set(SCRIPTS), "a new script belongs to one of the two"


def test_a_summary_says_what_was_missed(load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = load("_result")
    goals = [
        result.goal("files", 3.456, at_least=3),
        result.goal("cache", 9.9, at_least=10),
        result.goal("wait", 5.1, at_most=5, unit=" %"),
        result.goal("free", 2.0),
    ]
    result.write(tmp_path / "2026_a_2cores_clips.json", {"command": "python benchmarks/clips.py --out x", "summary": goals})
    line = "clips: files 3.46x (wanted at least 3x); cache 9.9x (wanted at least 10x, MISSED); wait 5.1 % (wanted at most 5 %, MISSED); free 2x"
    assert capsys.readouterr().out.splitlines()[0] == line
    result.main([str(tmp_path / "2026_a_2cores_clips.json")])
    assert capsys.readouterr().out.splitlines() == [line]
    assert "mean nothing" in result.summary("x", {"command": "python benchmarks/x.py --tiny"})


def test_clips_are_compared_turn_by_turn(load) -> None:
    clips = load("clips")
    rates = {
        "training": {
            "release": [5, 10, 8],
            "source": [4, 4, 4],
            "files": [10, 10, 24],
            "cache": [50, 50, 50],
            "cache, fp32": [25] * 3,
        },
        "views": {"release": [10] * 3, "source": [5] * 3, "files": [60] * 3, "cache": [400] * 3},
        "network": {"release": [20] * 3, "network": [64] * 3},
    }
    found = clips.compare(rates)
    files = found["training end to end, from the files"]
    assert (files["fullrank"], files["release"]) == (10, 8)
    assert files["x release"] == 2, "the median of 2, 1 and 3, not the ratio of medians"
    assert "source" not in found["the network's step alone"]
    table = clips.table(found, "0.1.5", 7.0)
    assert table["rows"][0] == ["training end to end, from the files", "8.0", "4.0", "10.0", "2.0", "2.5", "3"]
    assert table["rows"][-1][1:] == ["20.0", "-", "64.0", "3.2", "-", "-"]
    assert "8.0 and 16.0 times" in table["note"], "what the network allows"


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    script = tmp_path / "echo.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(FOLDER)!r})\nimport _peers\n"
        "def answer(a):\n    print('noise of a library')\n    return {'twice': 2 * a}\n_peers.serve(answer)\n"
    )
    return script


def test_a_peer_answers_whatever_its_library_prints(load, echo: Path) -> None:
    with load("_peers").Peer(Path(sys.executable), str(echo)) as peer:
        assert [peer.ask(a=3), peer.ask(a=4)] == [{"twice": 6}, {"twice": 8}]
        with pytest.raises(RuntimeError, match="ended"):
            peer.ask(b=1)


def test_what_is_absent_is_named(load, tmp_path: Path) -> None:
    peers = load("_peers")
    assert peers.absent(Path(sys.executable), "numpy") is None
    assert "needs no_such_library" in peers.absent(Path(sys.executable), "numpy", "no_such_library")
    assert peers.versions(tmp_path / "python", "numpy") == {}


@pytest.mark.parametrize(("name", "flag"), [("clips", "--videos"), ("step", "--cifar"), ("views", "--peers")])
def test_without_data_or_peers_a_benchmark_is_skipped(name: str, flag: str, tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), flag, str(tmp_path / "absent"), "--out", str(tmp_path / "x.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: skipped, needs ")
    assert not (tmp_path / "x.json").exists()


def test_an_exported_tree_knows_its_commit(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = load("_result")
    monkeypatch.setattr(result, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "benchmarks").mkdir()
    for text, commit in (("$Format:%h$\n", "none"), ("abc1234\n", "abc1234")):
        (tmp_path / "benchmarks" / "COMMIT").write_text(text)
        assert result.commit() == commit
