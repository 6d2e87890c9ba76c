"""A spectrum takes memory for d x d numbers, whatever n: measured in a process that may not have more."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from fullrank.spectrum.files import read_features

ROWS, WIDTH, MIB = 500_000, 256, 2**20
LIMITED = """
import resource, sys
import numpy as np
from fullrank.spectrum.covariance import spectrum_of
spectrum_of(np.random.default_rng(0).normal(size=(600, 256)), normalized=True)  # imports and thread pools
used = int(open("/proc/self/status").read().split("VmData:")[1].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]) * 2**20,) * 2)
print(spectrum_of(sys.argv[1], normalized=True).eigenvalues[0])
"""


def limited(path, mib: int) -> subprocess.CompletedProcess[str]:
    """The spectrum of a file in a process that may allocate so much more than it has (mapped files do not count)."""
    command = [sys.executable, "-c", LIMITED, str(path), str(mib)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={"OMP_NUM_THREADS": "1"})


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_DATA") or not sys.platform.startswith("linux"), reason="Linux counts it")
def test_half_a_million_rows(tmp_path) -> None:
    block = np.random.default_rng(1).normal(size=(5000, WIDTH)).astype(np.float32) * np.arange(1, WIDTH + 1) ** -0.5
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (ROWS, WIDTH))
    for start in range(0, ROWS, len(block)):
        array[start : start + len(block)] = block
    del array
    done = limited(tmp_path / "x.npy", 160)  # its float64 takes 977 MiB
    assert done.returncode == 0, done.stderr[-600:]
    unit = block / np.linalg.norm(block, axis=1, keepdims=True)  # equal blocks have the covariance of one
    assert float(done.stdout) == pytest.approx(np.linalg.eigvalsh(np.cov(unit.T, bias=True))[-1], rel=1e-6)
    assert "MemoryError" in limited(tmp_path / "x.npy", 16).stderr, "the limit is none"


def test_an_archive_is_not_read_into_memory(tmp_path) -> None:
    table = np.arange(12.0).reshape(4, 3)
    np.savez_compressed(tmp_path / "x.npz", reps=table, reversed=np.asfortranarray(table))
    for name in ("reps", "reversed"):
        found = read_features(f"{tmp_path / 'x.npz'}#{name}")
        assert isinstance(found, np.memmap)
        assert np.array_equal(found, table)
