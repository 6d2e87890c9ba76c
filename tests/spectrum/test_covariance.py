"""Streaming spectra equal two-pass ones, whatever the cut, the mean, the shape and the source."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fullrank.errors import DataError, ShapeError
from fullrank.spectrum.covariance import Moments, load_features, spectra_of, spectrum_of


def two_pass(x: np.ndarray, centred: bool = True) -> np.ndarray:
    about = x - x.mean(axis=0) if centred else x
    values = np.linalg.svd(about, compute_uv=False) ** 2 / len(x)
    return np.pad(values, (0, x.shape[1] - len(values)))


def close(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * expected[0])


@pytest.mark.parametrize("mean", [0.0, 1e6])
@pytest.mark.parametrize("batch", [1, 7, 300])
def test_streaming_equals_two_pass(mean: float, batch: int) -> None:
    x = np.random.default_rng(0).normal(size=(300, 12)) * np.arange(1, 13) + mean
    moments = Moments(12)
    for start in range(0, len(x), batch):
        moments.update(x[start : start + batch])
    close(moments.spectrum().eigenvalues, two_pass(x))
    np.testing.assert_allclose(moments.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.spectrum().variance, x.var(axis=0), rtol=1e-10)


def test_the_first_batch_may_be_unlike_the_rest() -> None:
    x = np.random.default_rng(0).normal(size=(200, 6)) + 1e3
    x[:10] -= 1e3
    moments = Moments(6)
    moments.update(x[:10])
    moments.update(x[10:])
    close(moments.spectrum().eigenvalues, two_pass(x))


def test_merging_is_associative_and_commutes_with_updating() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=(n, 5)) + 1e4 * i for i, n in enumerate((30, 1, 50))]

    def of(*some: np.ndarray) -> Moments:
        moments = Moments(5)
        for part in some:
            moments.update(part)
        return moments

    a, b, c = parts
    whole = two_pass(np.concatenate(parts))
    close(of(a).merge(of(b)).merge(of(c)).spectrum().eigenvalues, whole)
    close(of(a).merge(of(b).merge(of(c))).spectrum().eigenvalues, whole)
    close(of(c).merge(of(a, b)).spectrum().eigenvalues, whole)
    close(Moments(5).merge(of(a, b, c)).merge(Moments(5)).spectrum().eigenvalues, whole)


def test_merging_leaves_the_other_alone() -> None:
    a, b = Moments(2), Moments(2)
    b.update(np.array([[1.0, 2.0], [3.0, 5.0]]))
    before = b.spectrum().eigenvalues
    a.merge(b).update(np.array([[9.0, 9.0]]))
    assert b.n == 2
    assert (b.spectrum().eigenvalues == before).all()


def test_moments_of_other_widths_or_forms_do_not_merge() -> None:
    with pytest.raises(ShapeError, match="2 and 3"):
        Moments(2).merge(Moments(3))
    with pytest.raises(ShapeError, match="normalised"):
        Moments(2).merge(Moments(2, normalized=True))


@pytest.mark.parametrize("shape", [(5, 9), (9, 9), (10, 9), (40, 9)])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
def test_tall_and_wide_features_have_one_definition(shape: tuple[int, int], centred: bool, normalized: bool) -> None:
    x = np.random.default_rng(2).normal(size=shape) + 3.0
    rows = x / np.linalg.norm(x, axis=1, keepdims=True) if normalized else x
    got = spectrum_of(x, centred=centred, normalized=normalized)
    close(got.eigenvalues, two_pass(rows, centred))
    assert (got.n, got.d, got.centred, got.normalized) == (*shape, centred, normalized)
    np.testing.assert_allclose(got.variance, rows.var(axis=0), rtol=1e-9)
    assert got.bound == min(shape[0] - centred, 9)


@pytest.mark.parametrize("shape", [(9, 9), (40, 9)])
def test_several_forms_come_from_one_pass(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(2).normal(size=shape) + 3.0
    told: list[int] = []
    forms = [(True, False), (False, False), (True, True), (False, True)]
    found = spectra_of(x, forms, block_rows=11, on_rows=told.append)
    assert list(found) == forms
    assert sum(told) == shape[0], "each row is read once"
    for (centred, normalized), spectrum in found.items():
        alone = spectrum_of(x, centred=centred, normalized=normalized)
        assert (spectrum.centred, spectrum.normalized) == (centred, normalized)
        close(spectrum.eigenvalues, alone.eigenvalues)


def test_equal_rows_have_no_spectrum_at_any_offset() -> None:
    for value in (0.1, 1e6 / 3, 0.0):
        for n in (3, 50):
            for normalized in (True, False):
                values = spectrum_of(np.full((n, 7), value) * np.arange(1, 8), normalized=normalized).eigenvalues
                assert (values == 0).all()


def test_rounding_is_not_taken_for_a_direction() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 8)) @ rng.normal(size=(8, 64))
    values = spectrum_of(x).eigenvalues
    assert np.count_nonzero(values) == 8
    raw = np.linalg.eigvalsh(np.cov(x.T))
    assert np.count_nonzero(raw) > 8, "without a floor the noise would count; this test would show nothing"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_tensors_of_any_float_are_accepted(dtype: torch.dtype) -> None:
    x = torch.randn(30, 4, dtype=torch.float64).to(dtype)
    expected = two_pass(x.double().numpy())
    close(spectrum_of(x).eigenvalues, expected)
    moments = Moments(4)
    moments.update(x)
    close(moments.spectrum().eigenvalues, expected)


def test_files_are_mapped_and_read_in_blocks(tmp_path: Path) -> None:
    x = np.random.default_rng(4).normal(size=(101, 5)).astype(np.float32)
    np.save(tmp_path / "representation.npy", x)
    np.savez(tmp_path / "one.npz", features=x)
    assert isinstance(load_features(tmp_path / "representation.npy"), np.memmap)
    for source in (tmp_path / "representation.npy", str(tmp_path), tmp_path / "one.npz"):
        close(spectrum_of(source, block_rows=7).eigenvalues, two_pass(x.astype(np.float64)))


def test_rows_that_are_not_finite_are_named() -> None:
    x = np.zeros((100, 3))
    x[17, 1], x[60, 0], x[61, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(DataError, match="3 rows: 17, 60, 61"):
        spectrum_of(x)
    with pytest.raises(DataError, match="1 row: 17"):
        spectrum_of(x, block_rows=20)
    x[17] = 0
    with pytest.raises(DataError, match="2 rows: 60, 61"):
        spectrum_of(x, block_rows=20)


def test_one_row_is_no_sample() -> None:
    with pytest.raises(DataError, match="at least 2 rows"):
        spectrum_of(np.ones((1, 4)))
    moments = Moments(4)
    moments.update(np.ones((1, 4)))
    with pytest.raises(DataError, match="at least 2 rows"):
        moments.spectrum()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 3, 4)), "3 axes"),
        (np.array([["a"]]), "real numbers"),
        (np.zeros((3, 3), dtype=complex), "real numbers"),
        (np.zeros((3, 0)), "at least one dimension"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        spectrum_of(array)


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").touch()
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    for name in ("text.npy", "empty.npy", "pickled.npy", "two.npz", "missing.npy"):
        with pytest.raises(DataError, match=name):
            spectrum_of(tmp_path / name)
    with pytest.raises(DataError, match=r"representation\.npy"):
        spectrum_of(tmp_path)


def test_float32_blocks_are_right_to_a_millionth_of_the_largest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6000, 96)) * np.arange(1, 97) ** -1.0 + 3.0
    exact, fast = spectrum_of(x, block_rows=1000), spectrum_of(x, block_rows=1000, float32_blocks=True)
    error = np.abs(fast.eigenvalues - exact.eigenvalues) / exact.eigenvalues[0]
    assert 0 < error.max() < 1e-6
    flat = spectrum_of(np.where(np.arange(96) < 5, x, 3.0), float32_blocks=True)
    assert (flat.eigenvalues > 0).sum() == 5
