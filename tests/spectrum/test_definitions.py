"""Every measure of a spectrum on planted spectra, against references from singular value decompositions, to 1e-6."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fullrank.errors import DataError
from fullrank.spectrum.decay import power_law
from fullrank.spectrum.definitions import MEASURES
from fullrank.spectrum.survey import OF_FEATURES, survey

Array = np.ndarray
SHAPES = {"n<d": (30, 48), "n=d": (40, 40), "n>d": (120, 32)}
WIDE = 24
"""directions of the planted spectra: alpha-ReQ fits ranks from 11 on"""
PLANTED = {
    "isotropic": np.full(WIDE, 2.5),
    "rank 5": np.full(5, 0.3),
    "power law 1": 1.0 / np.arange(1, WIDE + 1),
    "power law 2": np.arange(1, WIDE + 1) ** -2.0,
    "rank one": np.array([4.0]),
}
SPECTRAL = [name for name in OF_FEATURES if MEASURES[name].needs == "spectrum"]


def planted(eigenvalues: Array, n: int, d: int, mean: float = 0.0, seed: int = 0) -> Array:
    """[n, d] whose covariance over n has exactly these eigenvalues, and whose mean is ``mean`` in every dimension."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(n, len(eigenvalues)))
    left = np.linalg.qr(left - left.mean(axis=0))[0]
    right = np.linalg.qr(rng.normal(size=(d, len(eigenvalues))))[0]
    return math.sqrt(n) * (left * np.sqrt(eigenvalues)) @ right.T + mean


def entropy_rank(weights: Array, epsilon: float = 0.0) -> float:
    p = [w / sum(weights) + epsilon for w in weights]
    return math.exp(-sum(q * math.log(q) for q in p if q > 0))


def slope(values: Array, first: int, last: int, weighted: bool) -> float:
    """Weighted least squares through the normal equations, with numpy's lstsq."""
    k = np.arange(first, min(last, len(values)) + 1)
    root = np.sqrt(1 / k) if weighted else np.ones(len(k))
    design = np.stack([np.log(k), np.ones(len(k))], axis=1) * root[:, None]
    return -float(np.linalg.lstsq(design, root * np.log(values[k - 1]), rcond=None)[0][0])


def references(x: Array) -> dict[str, Callable[[], float]]:
    """Each measure from the papers' equations, by decompositions of the rows themselves."""
    n, d = x.shape
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    about, about_unit = x - x.mean(axis=0), unit - unit.mean(axis=0)
    s, raw, s_unit = (np.linalg.svd(a, compute_uv=False) for a in (about, x, about_unit))
    s, s_unit = (np.where(a > 1e-9 * a[0], a, 0.0) for a in (s, s_unit))
    raw = np.where(raw > 1e-9 * raw[0], raw, 0.0)
    lam = s**2 / n
    positive = lam[lam > 0]
    gram = unit @ unit.T
    mu = np.clip(np.linalg.eigvalsh(gram / n), 0, None)
    covariance, r = np.cov(x.T), min(n, d)
    cev, expected = np.cumsum(s) / s.sum(), n + n * (n - 1) / d
    hat = math.sqrt(d) * np.pad(lam, (0, d - len(lam))) / np.linalg.norm(lam)
    defect = np.linalg.norm(hat - 1) / math.sqrt(2 * (d - math.sqrt(d)))
    phi = (d - defect**2 * (d - math.sqrt(d))) ** 2 / d**2
    smallest = s[min(n - 1, d) - 1]
    std = x.std(axis=0)
    ramp = np.stack([np.linspace(1, 0, r), np.ones(r)], axis=1)
    return {
        "std": std.mean,
        "normalized_std": unit.std(axis=0).mean,
        "dead_dimensions": lambda: float(np.mean(std <= 0.01 * std.max())),
        "mean_cosine": lambda: (gram.sum() - n) / (n * (n - 1)),
        "mean_norm": lambda: np.linalg.norm(unit.mean(axis=0)),
        "off_diagonal_covariance": lambda: ((covariance - np.diag(np.diag(covariance))) ** 2).sum() / d,
        "effective_rank": lambda: entropy_rank(s),
        "rankme": lambda: entropy_rank(raw, 1e-7),
        "rankme_eigenvalues": lambda: entropy_rank(lam),
        "rankme_epsilon_1e5": lambda: entropy_rank(raw, 1e-5),
        "participation_ratio": lambda: lam.sum() ** 2 / (lam**2).sum(),
        "nesum": (lam / lam[0]).sum,
        "stable_rank": lambda: np.linalg.norm(about) ** 2 / s[0] ** 2,
        "stable_rank_uncentred": lambda: np.linalg.norm(x) ** 2 / raw[0] ** 2,
        "numerical_rank": lambda: int((s > 1e-4 * s[0]).sum()),
        **{f"rank_{q}": lambda q=q: 1 + int(np.sum(cev < q / 100 - 1e-9)) for q in (90, 95, 99)},
        **{
            f"variance_rank_{q}": lambda q=q: 1 + int(np.sum(np.cumsum(lam) / lam.sum() < q / 100 - 1e-9)) for q in (90, 95, 99)
        },
        "vendi": lambda: entropy_rank(mu),
        "iso_score": lambda: (d * phi - 1) / (d - 1),
        "cev_auc": cev.mean,
        "cev_auc_normalized": (np.cumsum(s_unit) / s_unit.sum()).mean,
        "alpha_req": lambda: slope(positive, 11, 100, True),
        "alpha_req_4_100": lambda: slope(positive, 4, 100, True),
        "alpha_req_all": lambda: slope(positive, 1, len(positive), False),
        "alpha_req_linear_ramp": lambda: float(np.linalg.lstsq(ramp, np.log(raw + 1e-12), rcond=None)[0][0]),
        "condition_number": lambda: s[0] / smallest if smallest else math.inf,
        "pseudo_condition_number": lambda: smallest / s[0],
        "self_cluster": lambda: ((gram**2).sum() - expected) / (n**2 - expected),
        "coding_rate": lambda: 0.5 * np.linalg.slogdet(np.eye(n) + d / (n * 0.5) * gram)[1],
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mean", [0.0, 0.7])
@pytest.mark.parametrize("name", PLANTED)
def test_planted_spectra(name: str, mean: float, shape: str) -> None:
    x = planted(PLANTED[name], *SHAPES[shape], mean=mean)
    found, wanted = survey(x), references(x)
    assert set(wanted) | {"alpha_req_r2"} == set(SPECTRAL), "a measure has no reference"
    for measure, reference in wanted.items():
        if measure in found.absent:
            assert measure.startswith("alpha_req"), measure
            assert len(PLANTED[name]) < 13, measure
            continue
        value = found.values[measure]
        assert value == pytest.approx(reference(), abs=1e-6, rel=1e-6), measure
        if value.bound is not None and measure != "rankme_epsilon_1e5":
            assert 1 - 1e-6 <= value <= value.bound + 1e-3, measure


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5])
def test_the_exponent_of_a_power_law_is_found_whatever_is_fitted(alpha: float) -> None:
    values = survey(planted(np.arange(1, WIDE + 1) ** -alpha, 120, 32)).values
    for name in ("alpha_req", "alpha_req_4_100", "alpha_req_all"):
        assert values[name] == pytest.approx(alpha, abs=1e-6)
    assert values["alpha_req_r2"] == pytest.approx(1.0, abs=1e-9)


def test_the_goodness_of_fit_tells_a_power_law_from_a_cliff() -> None:
    cliff = np.concatenate([np.full(17, 1.0), np.full(7, 1e-3)])
    assert survey(planted(cliff, 120, 32)).values["alpha_req_r2"] < 0.8


def test_a_fit_stops_where_eigenvalues_end() -> None:
    from fullrank.spectrum.covariance import spectrum_of

    fit = power_law(spectrum_of(planted(PLANTED["power law 1"], 120, 32)))
    assert (fit.first, fit.last) == (11, WIDE)
    with pytest.raises(DataError, match="from rank 11 on. Got 0 of d = 32"):
        power_law(spectrum_of(planted(PLANTED["rank 5"], 120, 32)))


def test_all_rows_equal_give_the_values_of_the_table() -> None:
    """At any scale and shape: what definitions call "collapsed"."""
    for n, d in SHAPES.values():
        found = survey(np.tile(np.linspace(-1.0, 2.0, d), (n, 1)))
        assert set(found.absent) == {
            name for name in OF_FEATURES if name.startswith(("alpha_req", "lidar", "alignment")) and "linear" not in name
        }
        zero = [name for name in SPECTRAL if MEASURES[name].collapsed.startswith("0") and name in found.values]
        assert len(zero) > 15
        assert {name: found.values[name] for name in zero} == pytest.approx(dict.fromkeys(zero, 0.0), abs=1e-6)
        one = ["dead_dimensions", "mean_cosine", "mean_norm", "vendi", "stable_rank_uncentred", "cev_auc", "self_cluster"]
        assert {name: found.values[name] for name in one} == pytest.approx(dict.fromkeys(one, 1.0), abs=1e-6)
        assert found.values["coding_rate"] == pytest.approx(math.log(1 + 2 * d) / 2, abs=1e-6)
        assert found.values["condition_number"] == math.inf
        assert found.document()["condition_number"] == {
            **{"value": None, "n": n, "d": d, "bound": None, "centred": True, "normalized": False, "why": "infinite"}
        }
        assert (found.values["uniformity"], found.values["two_nn"]) == (pytest.approx(0, abs=1e-6), 0.0)
        assert found.values["off_diagonal_correlation"] == 0.0


def test_isotropic_rows_give_the_healthy_ends() -> None:
    """Rows +-e_k: isotropic exactly, in every form."""
    d = 16
    values = survey(np.concatenate([np.eye(d), -np.eye(d)])).values
    for name in ("effective_rank", "rankme_eigenvalues", "participation_ratio", "nesum", "vendi", "stable_rank_uncentred"):
        assert values[name] == pytest.approx(d, abs=1e-6), name
    assert values["normalized_std"] == pytest.approx(1 / math.sqrt(d))
    assert values["cev_auc"] == pytest.approx((d + 1) / (2 * d))
    assert values["iso_score"] == values["condition_number"] == pytest.approx(1.0)
    assert values["coding_rate"] == pytest.approx(d / 2 * math.log(3))
    assert (values["rank_90"], values["rank_99"]) == (15, 16)
    assert values["alpha_req"] == pytest.approx(0, abs=1e-9)
    assert values["alpha_req_r2"] == 1.0
    assert abs(values["self_cluster"]) < 0.04


def test_duplicated_features_raise_no_rank() -> None:
    x = planted(PLANTED["power law 1"], 120, 32)
    single, double = survey(x).values, survey(np.concatenate([x, x], axis=1)).values
    for name in SPECTRAL:
        if MEASURES[name].is_rank:
            by_epsilon = {"rankme": 2e-3, "rankme_epsilon_1e5": 0.2}.get(name, 1e-6)
            assert double[name] == pytest.approx(single[name], abs=by_epsilon), name
    assert double["cev_auc"] > single["cev_auc"]
    assert double["off_diagonal_correlation"] > 1


INVARIANT = {
    "rotation": {
        *("dead_dimensions", "std", "normalized_std", "sigreg", "lidar_of_rows"),
        *("off_diagonal_correlation", "off_diagonal_covariance"),
    },
    "scale": {"std", "off_diagonal_covariance", "sigreg"},
    "order of rows": set(),
    "shift": {name for name in OF_FEATURES if MEASURES[name].normalized or not MEASURES[name].centred} - {"two_nn"},
    "scale of each row": {name for name in OF_FEATURES if not MEASURES[name].normalized},
}
"""{change: measures that it may change}; of all others the definitions say that they stay"""


@pytest.mark.parametrize("change", INVARIANT)
def test_invariances(change: str) -> None:
    rng = np.random.default_rng(5)
    x = planted(1.0 / np.arange(1, 33), 120, 32, mean=0.7)
    groups = np.arange(120) // 4
    order = rng.permutation(120) if change == "order of rows" else np.arange(120)
    changed = {
        "rotation": x @ np.linalg.qr(rng.normal(size=(32, 32)))[0],
        "scale": 37.0 * x,
        "order of rows": x[order],
        "shift": x + rng.normal(size=32),
        "scale of each row": x * rng.uniform(0.1, 9.0, (120, 1)),
    }[change]
    base, got = survey(x, groups=groups).values, survey(changed, groups=groups[order]).values
    assert set(base) == set(got) == set(OF_FEATURES)
    for name in set(OF_FEATURES) - INVARIANT[change]:
        loose = 1e-2 if name.startswith("lidar") and change == "scale" else 1e-6
        assert got[name] == pytest.approx(base[name], rel=loose, abs=1e-6), name


def test_every_measure_stands_in_the_document() -> None:
    said = (Path(__file__).resolve().parents[2] / "docs" / "measures.md").read_text(encoding="utf-8")
    assert not [name for name in MEASURES if f"`{name}`" not in said]
