"""Measures of sampled rows, of groups, of pairs of tables and of prototypes, against naive loops."""

import math
import re
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fullrank.errors import DataError, SettingError, ShapeError
from fullrank.objectives.clustering import assignment_entropies
from fullrank.objectives.decorrelation import vicreg
from fullrank.spectrum import groups, prototypes, samples
from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.measures import measure
from fullrank.spectrum.similarity import linear_cka
from fullrank.spectrum.spread import off_diagonal_covariance

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)) @ RNG.normal(size=(6, 6)) + 0.5
RECORD = np.repeat(np.arange(10), 4)


def test_coherence_is_that_of_the_left_singular_vectors() -> None:
    left = np.linalg.svd(X, full_matrices=False)[0]
    assert samples.coherence(X) == pytest.approx((left**2).sum(axis=1).max() * 40 / 6, abs=1e-9)
    assert samples.coherence(np.concatenate([X, X], axis=1)) == pytest.approx(samples.coherence(X), abs=1e-6)
    assert samples.coherence(X @ RNG.normal(size=(6, 6))) == pytest.approx(samples.coherence(X), abs=1e-6)
    assert samples.coherence(X[:4]) == pytest.approx(1.0), "fewer rows than dimensions say nothing"
    assert samples.coherence(np.zeros((4, 3))) == 0.0


@pytest.mark.parametrize("n", [40, 1100], ids=["one block", "three blocks"])
def test_uniformity_and_two_nn_are_loops_over_pairs(n: int) -> None:
    x = np.random.default_rng(1).normal(size=(n, 3)) + 1.0
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    apart = torch.pdist(torch.from_numpy(unit)).square()
    assert samples.uniformity(x) == pytest.approx(apart.mul(-2).exp().mean().log().item(), abs=1e-10)
    distance = torch.cdist(torch.from_numpy(x), torch.from_numpy(x), compute_mode="donot_use_mm_for_euclid_dist")
    assert samples.uniformity(np.zeros((5, 3))) == 0.0
    near = distance.sort(dim=1).values[:, 1:3]
    assert samples.two_nn(x) == pytest.approx(n / (near[:, 1] / near[:, 0]).log().sum().item(), abs=1e-8)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_two_nn_finds_the_dimension_of_a_plane(dimension: int) -> None:
    x = np.random.default_rng(2).uniform(size=(2000, dimension)) @ RNG.normal(size=(dimension, 20)) + 1e4
    assert samples.two_nn(x) == pytest.approx(dimension, rel=0.08)


def test_two_nn_counts_equal_rows_once_and_refuses_a_lattice() -> None:
    assert samples.two_nn(np.concatenate([X, X, X[:3]])) == pytest.approx(samples.two_nn(X))
    assert samples.two_nn(np.ones((5, 3))) == samples.two_nn(X[[0, 1, 1, 0]]) == 0.0
    with pytest.raises(DataError, match="lattice"):
        samples.two_nn(np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), axis=-1).reshape(-1, 2))


def test_sigreg_is_that_of_a_normal_for_normal_rows_only() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 12))
    assert np.mean([samples.sigreg(rng.normal(size=(300, 12))) for _ in range(30)]) == pytest.approx(1.06, abs=0.15)
    healthy = samples.sigreg(x)
    assert healthy < 3
    assert samples.sigreg(3 * x) > 10 * healthy
    assert samples.sigreg(x + 1) > 10 * healthy
    assert samples.sigreg(x) == healthy, "the directions are of the seed"
    assert samples.sigreg(np.zeros((100, 4))) == pytest.approx(40.9, abs=0.1)


def test_the_covariance_term_is_vicregs() -> None:
    z = torch.from_numpy(X)
    both = vicreg(torch.stack([z, z], dim=1)).covariance.item()
    assert off_diagonal_covariance(spectrum_of(X)) == pytest.approx(both / 2, abs=1e-10)
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    r = np.corrcoef(standard.T)
    for x in (X, 1e3 * X * np.arange(1, 7) + 5, X @ np.eye(6)[:, ::-1]):
        assert samples.off_diagonal_correlation(x) == pytest.approx(((r - np.eye(6)) ** 2).sum() / 6, abs=1e-10)
    wide = RNG.normal(size=(5, 9))
    r = np.corrcoef(wide.T)
    assert samples.off_diagonal_correlation(wide) == pytest.approx(((r - np.eye(9)) ** 2).sum() / 9, abs=1e-10)
    dead = np.concatenate([X, np.full((40, 2), 0.1)], axis=1)
    assert samples.off_diagonal_correlation(dead) == pytest.approx(samples.off_diagonal_correlation(X) * 6 / 8, abs=1e-10)


def naive_lidar(x: np.ndarray, record: np.ndarray, delta: float = 1e-4, epsilon: float = 1e-7) -> float:
    """From the paper's equations, with a matrix root by eigenvectors."""
    parts = [x[record == g] for g in np.unique(record)]
    means = np.stack([part.mean(axis=0) for part in parts])
    between = sum(np.outer(m - means.mean(axis=0), m - means.mean(axis=0)) for m in means) / (len(parts) - 1)
    rows = len(parts) * (len(parts[0]) - 1)
    within = sum(np.outer(z - m, z - m) for part, m in zip(parts, means, strict=True) for z in part) / rows
    values, vectors = np.linalg.eigh(within + delta * np.eye(x.shape[1]))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    found = np.clip(np.linalg.eigvalsh(root @ between @ root), 0, None)
    p = found / found.sum() + epsilon
    return math.exp(-sum(q * math.log(q) for q in p))


def test_lidar_is_the_papers() -> None:
    assert groups.lidar(X, RECORD) == pytest.approx(naive_lidar(X, RECORD), abs=1e-8)
    wide = RNG.normal(size=(40, 30))
    assert groups.lidar(wide, RECORD) == pytest.approx(naive_lidar(wide, RECORD), abs=1e-6)
    assert groups.lidar(wide, RECORD) <= 9.001
    shuffled = RNG.permutation(40)
    names = np.array([f"video {g}" for g in RECORD[shuffled]])
    assert groups.lidar(X[shuffled], names) == pytest.approx(groups.lidar(X, RECORD), abs=1e-8)


def test_lidar_finds_planted_eigenvalues() -> None:
    """Group means in three directions, within-group spread +-1 in each dimension: Sigma_L is the scatter of the means."""
    means = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    x = np.concatenate([m + s for m in means for s in (np.eye(3), -np.eye(3))])
    spread = 2 * 6 / (36 - 6)
    found = groups.lidar_eigenvalues(x, np.repeat(np.arange(6), 6), delta=0.0)
    assert found == pytest.approx(np.array([18, 8, 2]) / 5 / spread, abs=1e-9)
    same = np.concatenate([np.eye(3), -np.eye(3)] * 6)
    assert groups.lidar(same, np.repeat(np.arange(6), 6)) == 0.0


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (RECORD[:-1], "each of the 40 rows. Got shape [39]"),
        (np.zeros(40, dtype=int), "Got one group"),
        (np.arange(40), "Got 40 groups of one row each"),
        (RECORD[:, None], "Got shape [40, 1]"),
        (RECORD + 0.5, "whole numbers or words. Got float64"),
    ],
)
def test_wrong_groups_are_one_sentence(record: np.ndarray, words: str) -> None:
    for name in ("lidar", "alignment"):
        with pytest.raises((DataError, ShapeError), match=re.escape(words)):
            measure(X, name, groups=record)


def test_groups_may_differ_in_size() -> None:
    record = np.array([0] * 3 + [1] * 20 + [2] * 16 + [3])
    unit = F.normalize(torch.from_numpy(X)).numpy()
    pairs = [
        np.mean([((a - b) ** 2).sum() for i, a in enumerate(part) for j, b in enumerate(part) if i != j])
        for part in (unit[record == g] for g in range(3))
    ]
    assert groups.alignment(X, record) == pytest.approx(np.mean(pairs), abs=1e-10)
    assert 1 <= groups.lidar(X, record) <= 3.001
    with pytest.raises(DataError, match="one size"):
        groups.lidar_of_rows(X, record)


def test_linear_cka() -> None:
    y = X @ RNG.normal(size=(6, 4)) + RNG.normal(size=(40, 4))
    a, b = X - X.mean(axis=0), y - y.mean(axis=0)
    k, l = a @ a.T, b @ b.T
    wanted = (k * l).sum() / math.sqrt((k * k).sum() * (l * l).sum())
    assert linear_cka(X, y) == pytest.approx(wanted, abs=1e-10)
    rotation = np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert linear_cka(5 * X @ rotation - 3, y) == pytest.approx(wanted, abs=1e-10)
    assert linear_cka(X, X) == pytest.approx(1.0)
    assert linear_cka(X, np.ones((40, 2))) == 0.0
    wide = RNG.normal(size=(8, 50))
    assert linear_cka(wide, wide[:, ::-1]) == pytest.approx(1.0)
    assert measure(X, "linear_cka", other=y, rows=4096) == pytest.approx(wanted, abs=1e-10)
    with pytest.raises(ShapeError, match="same rows"):
        linear_cka(X, y[:-1])


def test_prototypes_are_those_of_the_objectives() -> None:
    scores = RNG.normal(size=(50, 7))
    of_mean, mean_of = (value.item() for value in assignment_entropies(torch.from_numpy(scores), temperature=0.3))
    assert prototypes.prototype_entropy(scores, temperature=0.3) == pytest.approx(of_mean, abs=1e-10)
    assert prototypes.assignment_entropy(scores, temperature=0.3) == pytest.approx(mean_of, abs=1e-10)
    assert prototypes.prototype_perplexity(scores, temperature=0.3) == pytest.approx(math.exp(of_mean))
    student = RNG.normal(size=(50, 7))
    p, q = torch.from_numpy(scores / 0.04).log_softmax(1), torch.from_numpy(student / 0.1).log_softmax(1)
    assert measure(scores, "teacher_kl", other=student) == pytest.approx(
        F.kl_div(q, p, log_target=True, reduction="batchmean").item(), abs=1e-9
    )
    assert measure(scores, "teacher_entropy") == pytest.approx(-(p.exp() * p).sum(1).mean().item(), abs=1e-10)


def test_prototypes_at_their_collapses() -> None:
    one, uniform = np.tile([9.0, 0, 0, 0], (20, 1)), np.zeros((20, 4))
    assert measure(one, "prototype_perplexity") == pytest.approx(1.0)
    assert measure(one, "dead_prototypes") == 3
    shares = np.array([0.6, 0.3, 0.076, 0.024])  # dead is below 1/40
    assert prototypes.dead_prototypes(np.log(shares)[None], temperature=1.0) == 1
    assert measure(uniform, "dead_prototypes") == 0
    assert measure(uniform, "prototype_entropy") == measure(uniform, "assignment_entropy") == pytest.approx(math.log(4))
    assert measure(uniform, "teacher_entropy") == pytest.approx(math.log(4))
    assert measure(uniform, "teacher_kl", other=uniform) == 0.0
    with pytest.raises(SettingError, match="temperature must be above 0"):
        prototypes.prototype_entropy(uniform, temperature=0.0)
    with pytest.raises(ShapeError, match=re.escape("[20, 4] and [20, 3]")):
        prototypes.teacher_kl(uniform, uniform[:, :3])


def test_measures_of_rows_know_how_many_they_are_of() -> None:
    x = np.random.default_rng(4).normal(size=(500, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small = measure(x, "uniformity", rows=100, seed=1)
    assert (small.n, small.d, small.bound) == (100, 4, None)
    assert small == measure(x, "uniformity", rows=100, seed=1) != measure(x, "uniformity", rows=100, seed=2)
    assert measure(x, "lidar", groups=np.arange(500) // 5).bound == 4
