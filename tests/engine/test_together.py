"""What one of two processes meets ends both in the same way, and none waits for the other."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fullrank.engine.together import agree, on_first, together
from fullrank.errors import DataError

SCRIPT = Path(__file__).with_name("together_script.py")
LONGEST_SECONDS = 120


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """{scene: how it ended on each of two processes}; one launch for all scenes."""
    base = tmp_path_factory.mktemp("together")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(base)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    process = subprocess.Popen([sys.executable, *torchrun], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        said = process.communicate(timeout=LONGEST_SECONDS)[1]
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun takes its processes along
        said = "a process waited for the other\n" + process.communicate()[1]
    found: dict[str, list[dict[str, object]]] = {}
    for rank in range(2):
        for file in base.glob(f"*-{rank}.json"):
            found.setdefault(file.stem[:-2], []).append(json.loads(file.read_text()))
    return found, said, base


@pytest.mark.parametrize(
    ("scene", "error", "exit_code", "sentence"),
    [
        ("save", "StorageError", 1, "could not be written"),
        ("data", "DataError", 2, ": broken. `fullrank scan`"),
        ("observer", "OSError", 1, "No space left on device"),
        ("loss", "NonFiniteError", 1, "variance = nan, "),
        ("out", "SettingError", 2, "holds a run"),
    ],
)
def test_an_error_of_one_process_is_the_error_of_both(ends, scene, error, exit_code, sentence):
    found, said, _ = ends
    assert len(found.get(scene, [])) == 2, said[-2000:]
    first, second = found[scene]
    assert first == second
    assert first["error"] == error
    assert first["exit_code"] == exit_code
    assert sentence in first["sentence"]


def test_a_signal_to_one_process_stops_both_after_the_same_step(ends):
    found, said, base = ends
    assert len(found.get("signal", [])) == 2, said[-2000:]
    first, second = found["signal"]
    assert first == second
    assert first["stopped"] == "interrupted"
    assert json.loads((base / "signal" / "summary.json").read_text())["steps"] == first["steps"] > 0


def test_the_budget_ends_both_after_the_same_step(ends):
    found, said, _ = ends
    assert len(found.get("budget", [])) == 2, said[-2000:]
    first, second = found["budget"]
    assert first == second
    assert first["stopped"] is None
    assert 0 < first["steps"] < 10_000


def test_one_process_keeps_its_words_and_its_errors():
    alone = SimpleNamespace(world_size=1, is_global_zero=True)
    assert agree(alone, None, "b") == [None, "b"]
    assert together(alone, lambda: 3) == 3
    done = []
    on_first(alone, lambda: done.append(1))
    assert done == [1]

    def fail():
        raise DataError("empty")

    with pytest.raises(DataError, match="empty"):
        together(alone, fail)
