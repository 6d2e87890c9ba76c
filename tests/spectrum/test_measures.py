"""Measures on planted spectra, against references written from the papers' equations, to 1e-6."""

import copy
import json
import math
import pickle
import warnings

import numpy as np
import pytest
import torch

from fullrank.errors import DataError, SettingError
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.measures import (
    LIVE,
    cev_auc,
    cheap_measures,
    cumulative_explained_variance,
    effective_rank,
    log_singular_values,
    measure,
    measure_all,
    rankme,
)
from fullrank.types import Spectrum

Array = np.ndarray


def planted(eigenvalues: Array, n: int, d: int, seed: int = 0, mean: Array | float = 0.0) -> Array:
    """Features [n, d] whose covariance (1/n) has exactly these eigenvalues, and whose mean is ``mean``."""
    rng = np.random.default_rng(seed)
    r = len(eigenvalues)
    left = rng.normal(size=(n, r))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right = np.linalg.qr(rng.normal(size=(d, r)))[0]
    return math.sqrt(n) * (left * np.sqrt(eigenvalues)) @ right.T + mean


def reference_entropy_rank(weights: list[float]) -> float:
    total, entropy = sum(weights), 0.0
    for w in weights:
        if w > 0:
            entropy -= w / total * math.log(w / total)
    return math.exp(entropy)


SPECTRA = {
    "isotropic": np.full(16, 2.5),
    "rank 5": np.full(5, 0.3),
    "power law 1": 1.0 / np.arange(1, 17),
    "power law 2": np.arange(1, 17) ** -2.0,
    "rank one": np.array([4.0]),
}


@pytest.mark.parametrize("shape", [(17, 40), (40, 40), (90, 20)], ids=["n<d", "n=d", "n>d"])
@pytest.mark.parametrize("name", SPECTRA)
def test_planted_spectra(name: str, shape: tuple[int, int]) -> None:
    lam = SPECTRA[name]
    got = measure_all(planted(lam, *shape))
    sigma = [math.sqrt(v) for v in lam]
    r = min(shape)
    curve = [sum(sigma[: k + 1]) / sum(sigma) for k in range(r)]
    expected = {
        "effective_rank": reference_entropy_rank(sigma),
        "rankme_eigenvalues": reference_entropy_rank(list(lam)),
        "participation_ratio": sum(lam) ** 2 / sum(v * v for v in lam),
        "nesum": sum(lam) / lam[0],
        "stable_rank": sum(lam) / lam[0],
        "numerical_rank": len(lam),
        "cev_auc": sum(curve) / r,
    }
    assert {key: got[key] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert (got["n"], got["d"]) == shape
    assert 1 - 1e-9 <= got["effective_rank"] <= min(shape[0] - 1, shape[1]) + 1e-9


@pytest.mark.parametrize("name", SPECTRA)
def test_rankme_is_the_papers(name: str) -> None:
    x = planted(SPECTRA[name], 50, 20, mean=np.linspace(0, 3, 20))
    sigma = np.linalg.svd(x, compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    assert measure(x, "rankme") == pytest.approx(math.exp(-sum(q * math.log(q) for q in p)), abs=1e-6)


def test_the_variants_are_as_far_apart_as_the_docstring_says() -> None:
    lam = 1.0 / np.arange(1, 2049)
    plain = {"eigenvalues": lam, "n": 10**6, "d": 2048, "mean": np.zeros(2048), "variance": lam, "normalized": False}
    centred, uncentred = Spectrum(centred=True, **plain), Spectrum(centred=False, **plain)
    assert round(rankme(uncentred)) == 1590
    assert round(measure(centred, "rankme_eigenvalues")) == 281
    assert round(effective_rank(centred)) == 1587
    one = Spectrum(centred=False, **(plain | {"eigenvalues": np.eye(2048)[0]}))
    assert rankme(one) == pytest.approx(1.003, abs=1e-3)
    assert rankme(one, epsilon=1e-5) == pytest.approx(1.27, abs=1e-2)


def test_equal_rows_give_the_documented_collapse_values() -> None:
    got = measure_all(np.tile(np.arange(1.0, 9.0), (30, 1)))
    zero = ("std", "normalized_std", "effective_rank", "rankme_eigenvalues", "participation_ratio", "nesum", "stable_rank")
    assert {name: got[name] for name in zero} == dict.fromkeys(zero, 0.0)
    assert got["numerical_rank"] == 0
    one = ("mean_cosine", "mean_norm", "cev_auc", "cev_auc_normalized")
    assert {name: got[name] for name in one} == pytest.approx(dict.fromkeys(one, 1.0), abs=1e-12)
    assert got["rankme"] == pytest.approx(1.0, abs=1e-4)


def test_zeros_everywhere_are_no_error() -> None:
    got = measure_all(np.zeros((5, 3)))
    assert got["effective_rank"] == got["rankme"] == got["mean_cosine"] == got["mean_norm"] == 0.0


def test_duplicated_features_do_not_raise_a_rank() -> None:
    x = planted(SPECTRA["power law 1"], 60, 20)
    single, double = measure_all(x), measure_all(np.concatenate([x, x], axis=1))
    for name in ("effective_rank", "rankme_eigenvalues", "participation_ratio", "nesum"):
        assert double[name] == pytest.approx(single[name], abs=1e-6)


def test_a_mean_shift_is_seen_by_rankme_and_cosine_and_not_by_centred_ranks() -> None:
    lam = np.full(20, 1.0)
    plain, shifted = measure_all(planted(lam, 80, 20)), measure_all(planted(lam, 80, 20, mean=5.0))
    for name in ("std", "effective_rank", "participation_ratio", "nesum", "cev_auc"):
        assert shifted[name] == pytest.approx(plain[name], abs=1e-6)
    assert shifted["rankme"] < 0.95 * plain["rankme"]
    assert plain["mean_cosine"] == pytest.approx(0, abs=0.05)
    assert shifted["mean_cosine"] > 0.9


def test_invariances() -> None:
    rng = np.random.default_rng(5)
    x = planted(SPECTRA["power law 1"], 60, 20, mean=0.7)
    rotation = np.linalg.qr(rng.normal(size=(20, 20)))[0]
    base = measure_all(x)
    for changed in (x @ rotation, x[rng.permutation(60)], 37.0 * x):
        got = measure_all(changed)
        for name in set(LIVE) - {"std", "normalized_std", "dead_dimensions", "off_diagonal_covariance"}:
            assert got[name] == pytest.approx(base[name], abs=1e-6), name
    assert measure_all(x[:, ::-1])["std"] == pytest.approx(base["std"])
    assert measure_all(37.0 * x)["normalized_std"] == pytest.approx(base["normalized_std"])
    by_row = measure_all(x * rng.uniform(0.1, 9.0, (60, 1)))
    for name in ("normalized_std", "mean_cosine", "mean_norm", "cev_auc_normalized"):
        assert by_row[name] == pytest.approx(base[name], abs=1e-6), name


def test_scale_measures_equal_naive_loops() -> None:
    x = np.random.default_rng(6).normal(size=(23, 6)) + 0.4
    got = measure_all(x)
    unit = [row / np.linalg.norm(row) for row in x]
    cosines = [float(u @ v) for i, u in enumerate(unit) for j, v in enumerate(unit) if i != j]
    assert got["mean_cosine"] == pytest.approx(np.mean(cosines), abs=1e-12)
    assert got["mean_norm"] == pytest.approx(np.linalg.norm(np.mean(unit, axis=0)), abs=1e-12)
    assert got["std"] == pytest.approx(np.mean([np.std(x[:, k]) for k in range(6)]), abs=1e-12)
    assert got["normalized_std"] == pytest.approx(np.mean([np.std([u[k] for u in unit]) for k in range(6)]), abs=1e-12)


@pytest.mark.parametrize("shape", [(64, 16), (16, 16), (10, 16)])
def test_the_figures_curves_are_the_seeds_procedure(shape: tuple[int, int]) -> None:
    """numpy's covariance of unit rows with a full SVD, and scikit-learn's PCA."""
    from sklearn.decomposition import PCA

    x = np.random.default_rng(7).normal(size=shape) * np.arange(1, 17) + 1.0
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    spectrum = spectrum_of(x, normalized=True)
    logs = np.log(np.linalg.svd(np.cov(unit.T))[1])
    rank = min(shape[0] - 1, 16)
    np.testing.assert_allclose(log_singular_values(spectrum)[:rank], logs[:rank], atol=1e-9)
    sigma = PCA().fit(unit).singular_values_
    np.testing.assert_allclose(cumulative_explained_variance(spectrum), np.cumsum(sigma) / sigma.sum(), atol=1e-6)
    assert cev_auc(spectrum) == pytest.approx(np.cumsum(sigma).sum() / len(sigma) / sigma.sum(), abs=1e-6)


@pytest.mark.parametrize("shape", [(64, 16), (8, 16)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_cheap_measures_are_those_of_the_spectrum(shape: tuple[int, int], dtype: torch.dtype) -> None:
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5).to(dtype)
    whole = measure_all(x)
    cheap = cheap_measures(x.requires_grad_())
    assert cheap == pytest.approx({name: whole[name] for name in cheap}, abs=1e-9)
    assert cheap_measures(x.detach().double().numpy()) == pytest.approx(cheap, abs=1e-12)


def test_cheap_measures_refuse_what_is_not_finite() -> None:
    with pytest.raises(DataError, match="finite"):
        cheap_measures(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))
    with pytest.raises(DataError, match="2 rows"):
        cheap_measures(torch.ones(1, 3))


def test_each_value_comes_with_what_it_was_computed_from() -> None:
    x = planted(SPECTRA["isotropic"], 50, 20)
    rank = measure(x, "effective_rank")
    assert rank == pytest.approx(16)
    assert (rank.n, rank.d, rank.bound, rank.centred, rank.normalized, rank.warning) == (50, 20, 20, True, False, None)
    assert not measure(x, "rankme").centred
    assert measure(x, "cev_auc_normalized").normalized
    unit = measure(spectrum_of(x, normalized=True), "effective_rank")
    assert unit.normalized, "a spectrum says itself what it is of"
    live = measure_all(x)
    for name in LIVE:
        if live[name] is not None:
            assert measure(x, name) == pytest.approx(live[name], abs=1e-9), name


def test_a_number_survives_copying_and_json() -> None:
    rank = measure(planted(SPECTRA["isotropic"], 50, 20), "effective_rank")
    again = pickle.loads(pickle.dumps(copy.deepcopy(rank)))
    assert (again, again.n, again.name) == (rank, 50, "effective_rank")
    assert json.loads(json.dumps({"x": rank})) == {"x": float(rank)}


def test_below_two_rows_a_dimension_a_rank_comes_with_a_warning() -> None:
    x = np.random.default_rng(0).normal(size=(39, 20))
    with pytest.warns(UserWarning, match="n = 39 rows for d = 20.*Take at least 40 rows"):
        assert measure(x, "rankme").warning
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(x, "mean_cosine")
        measure(np.concatenate([x, x[:1]]), "rankme")


def test_what_a_measure_lacks_is_said() -> None:
    x = planted(SPECTRA["isotropic"], 50, 20)
    with pytest.raises(SettingError, match="lidar must be given groups"):
        measure(x, "lidar")
    with pytest.raises(SettingError, match="linear_cka must be given other"):
        measure(x, "linear_cka")
    with pytest.raises(SettingError, match="rankme takes no groups"):
        measure(x, "rankme", groups=np.arange(50))
    with pytest.raises(DataError, match="50 and 49"):
        measure(x, "linear_cka", other=x[:49])
    with pytest.raises(SettingError, match="two_nn must be computed from features"):
        measure(spectrum_of(x), "two_nn")
    with pytest.raises(SettingError, match="an interval must be computed from features"):
        measure(spectrum_of(x), "effective_rank", bootstrap=20)
    with pytest.raises(DataError, match="Got 2 of d = 16; alpha_req_all"):
        measure(planted(np.full(12, 1.0), 40, 16), "alpha_req")


def test_asked_for_eigenvalues_are_of_unit_rows_and_descend() -> None:
    x = planted(SPECTRA["power law 1"], 60, 20, mean=0.3)
    values = measure_all(x, eigenvalues=4)["eigenvalues"]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert values == pytest.approx(np.linalg.eigvalsh(np.cov(unit.T, bias=True))[::-1][:4], abs=1e-12)
    assert "eigenvalues" not in measure_all(x)


def test_a_spectrum_of_the_wrong_form_is_refused() -> None:
    x = planted(SPECTRA["isotropic"], 50, 20)
    with pytest.raises(SettingError, match="centred=False"):
        rankme(spectrum_of(x))
    with pytest.raises(SettingError, match="normalized=True"):
        log_singular_values(spectrum_of(x))
    with pytest.raises(SettingError, match="normalized=True"):
        measure(spectrum_of(x), "mean_cosine")
    with pytest.raises(SettingError, match="Did you mean 'rankme'"):
        measure(x, "rank_me")
