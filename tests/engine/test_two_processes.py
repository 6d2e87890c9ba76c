"""One process and two reach the same weights after three steps, for every method; a gather without gradient does not.

One torchrun launch trains all methods; each process writes its states to files, and the files decide.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fullrank.methods._method import available

SCRIPT = Path(__file__).with_name("two_processes_script.py")
TOLERANCE = 1e-5
"""float64 networks, float32 losses; a broken gather is off by more than a hundred times this (see the control)"""


def launch(processes: int, out: Path, *flags: str) -> None:
    command = [sys.executable, str(SCRIPT), str(out), *flags]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *torchrun, str(SCRIPT), str(out), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)
    if not (out / "done-0").exists():
        pytest.fail(f"the script did not finish: {done.stderr[-2000:]}")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("processes")
    for name, processes, flags in (("one", 1, ()), ("two", 2, ()), ("broken", 2, ("--broken-gather",))):
        (base / name).mkdir()
        launch(processes, base / name, *flags)
    return base


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a if a[k].numel())


@pytest.mark.parametrize("name", list(available()))
def test_two_processes_reach_the_weights_of_one(folders, name):
    one = torch.load(folders / "one" / f"{name}-0.pt", weights_only=True)
    for rank in range(2):
        two = torch.load(folders / "two" / f"{name}-{rank}.pt", weights_only=True)
        assert largest_difference(one, two) < TOLERANCE


def test_a_gather_without_gradient_is_noticed(folders):
    one = torch.load(folders / "one" / "vicreg-0.pt", weights_only=True)
    broken = torch.load(folders / "broken" / "vicreg-0.pt", weights_only=True)
    assert largest_difference(one, broken) > 100 * TOLERANCE
