"""Sums of several processes, files and machines are those of one pass, at any offset; and stay within memory."""

import multiprocessing
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

from fullrank.errors import DataError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.moments import Moments


def _process(folder: Path, rank: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=3)
    moments = Moments(5)
    part = np.load(folder / f"{rank}.npy")
    for start in range(0, len(part), 7):
        moments.update(part[start : start + 7])
    moments.over_processes().save(folder / f"whole-{rank}.npz")
    dist.barrier()
    os._exit(0)


def test_processes_add_up_to_one_pass_with_unequal_parts_and_a_large_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked, because a new interpreter takes seconds to import torch; one of the three has no rows."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    x = np.random.default_rng(0).normal(size=(61, 5)) * np.arange(1, 6) + 1e6
    x[40:] += 1e3
    for rank, part in enumerate((x[:40], x[40:], x[:0])):
        np.save(tmp_path / f"{rank}.npy", part)
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=_process, args=(tmp_path, rank)) for rank in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0, 0, 0]
    wanted = spectrum_of(x)
    for rank in range(3):
        found = Moments.load(tmp_path / f"whole-{rank}.npz").spectrum()
        assert found.n == 61
        np.testing.assert_allclose(found.eigenvalues, wanted.eigenvalues, rtol=0, atol=1e-10 * wanted.eigenvalues[0])
        np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-13)


def test_one_process_is_itself() -> None:
    moments = Moments(2)
    assert moments.over_processes() is moments


@pytest.mark.parametrize("normalized", [False, True])
def test_files_of_several_machines_merge(tmp_path: Path, normalized: bool) -> None:
    x = np.random.default_rng(1).normal(size=(50, 4)) + 100
    for name, rows in (("a", x[:20]), ("b", x[20:])):
        moments = Moments(4, normalized=normalized)
        moments.update(rows)
        moments.save(tmp_path / f"{name}.npz")
    whole = Moments.load(tmp_path / "a.npz").merge(Moments.load(tmp_path / "b.npz"))
    wanted = spectrum_of(x, normalized=normalized)
    np.testing.assert_allclose(whole.spectrum().eigenvalues, wanted.eigenvalues, atol=1e-10 * wanted.eigenvalues[0], rtol=0)
    assert whole.spectrum().normalized is normalized


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", x=np.eye(2))
    (tmp_path / "text.npz").write_text("hello")
    for name in ("other.npz", "text.npz", "missing.npz"):
        with pytest.raises(DataError, match=f"{name} must be a file that Moments.save wrote"):
            Moments.load(tmp_path / name)


def test_memory_does_not_grow_with_n(tmp_path: Path) -> None:
    """A file of 16 MiB in blocks of 100 rows: what is held is a few matrices of d x d, and one block."""
    x = np.random.default_rng(2).normal(size=(32_000, 128)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    tracemalloc.start()
    spectrum_of(tmp_path / "x.npy", block_rows=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 8 * 128 * 128


def test_values_too_large_to_be_squared_are_one_sentence() -> None:
    x = np.random.default_rng(3).normal(size=(20, 3)) * 1e200
    with pytest.raises(DataError, match="small enough to be squared"), np.errstate(over="ignore", invalid="ignore"):
        spectrum_of(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_narrow_floats_are_widened_before_they_are_summed(dtype: torch.dtype) -> None:
    x = (torch.randn(400, 3, generator=torch.Generator().manual_seed(0)) + 30).to(dtype)
    moments = Moments(3)
    for part in x.split(11):
        moments.update(part)
    about = x.double().numpy() - x.double().numpy().mean(axis=0)
    wanted = np.linalg.svd(about, compute_uv=False) ** 2 / 400
    np.testing.assert_allclose(moments.spectrum().eigenvalues, wanted, rtol=1e-10)
