"""Planted kinds are told apart, scale before rank; and the live alarm catches a real collapse without crying wolf."""

import numpy as np
import pytest
import torch
from torch import nn

from fullrank.errors import DataError, SettingError
from fullrank.methods._method import Sign
from fullrank.objectives import decorrelation
from fullrank.spectrum.alarms import by_metrics, cheap_complete
from fullrank.spectrum.bulk import bulk_measures
from fullrank.spectrum.diagnosis import diagnose, diagnose_features
from fullrank.spectrum.measures import cheap_measures, measure_all

N, D = 600, 64


def gaussian(n: int = N, d: int = D) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, d))


def low_rank(r: int) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.normal(size=(N, r)) @ rng.normal(size=(r, D)) + 1e-6 * rng.normal(size=(N, D))


DIRECTION = np.random.default_rng(3).normal(size=D)
PLANTED = {
    "isotropic": (gaussian(), "healthy"),
    "power law": (gaussian() / np.sqrt(np.arange(1, D + 1)), "healthy"),
    "rank 3": (low_rank(3), "dimensional"),
    "half the directions": (low_rank(D // 2), "dimensional"),
    "shared direction": (gaussian() + 4 * DIRECTION, "mean_shift"),
    "equal rows": (np.tile(DIRECTION, (N, 1)), "complete"),
    "zeros": (np.zeros((N, D)), "complete"),
    "equal rows and noise of full rank": (DIRECTION + 0.01 * gaussian(), "complete"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_kinds_of_the_embedding(name: str) -> None:
    x, kind = PLANTED[name]
    found = diagnose({"representation": measure_all(gaussian()), "embedding": measure_all(x)})
    assert found.kinds == {"representation": "healthy", "embedding": kind}
    assert found.verdict == kind
    assert found.space == ("representation" if kind == "healthy" else "embedding")


def test_scale_is_read_before_rank() -> None:
    noise = measure_all(PLANTED["equal rows and noise of full rank"][0])
    assert noise["effective_rank"] > 0.9 * D
    found = diagnose({"embedding": noise})
    assert found.verdict == "complete"
    assert found.sentence.startswith("The embedding has collapsed completely: mean cosine 0.9999 between different records")
    assert f"of at most {D}" in found.sentence


def test_both_spaces_and_their_bounds_are_in_the_sentence() -> None:
    found = diagnose({"representation": measure_all(gaussian(40)), "embedding": measure_all(low_rank(3))})
    assert "The embedding has collapsed in dimension: effective rank" in found.sentence
    assert f"of at most {D} (the width)" in found.sentence
    assert "The representation is healthy" in found.sentence
    assert "of at most 39 (n - 1)" in found.sentence
    assert found.evidence["representation"]["bound"] == 39


def test_the_representation_leads_where_both_are_as_bad() -> None:
    same = measure_all(PLANTED["equal rows"][0])
    assert diagnose({"embedding": same, "representation": same}).space == "representation"


def test_few_rows_are_warned_about() -> None:
    assert diagnose({"representation": measure_all(gaussian(2 * D))}).warnings == ()
    (warning,) = diagnose({"representation": measure_all(gaussian(2 * D - 1))}).warnings
    assert "n = 127 rows for d = 64" in warning


def test_a_small_scale_is_collapse_only_where_the_method_fixes_the_scale() -> None:
    tiny = measure_all(0.004 * gaussian())
    free = diagnose({"embedding": tiny})
    assert free.verdict == "healthy"
    assert "std is 0.004" in free.warnings[0]
    fixed = diagnose({"embedding": tiny}, healthy_std=1.0, method="vicreg")
    assert fixed.verdict == "complete"
    assert "std 0.004 (healthy 1)" in fixed.sentence
    assert (fixed.advice or "").startswith("To try, in this order: raise --method.variance-weight")
    assert diagnose({"representation": tiny}, healthy_std=1.0).verdict == "healthy", "the scale of h is free"


def test_the_verdict_does_not_depend_on_scale_rotation_or_order() -> None:
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(D, D)))[0]
    for x, kind in PLANTED.values():
        for changed in (1e-3 * x, 1e3 * x, x[::-1], x @ rotation):
            assert diagnose({"embedding": measure_all(changed)}).verdict == kind


def test_missing_and_bad_measures_are_refused() -> None:
    row = measure_all(gaussian())
    with pytest.raises(DataError, match="mean_cosine"):
        diagnose({"embedding": {k: v for k, v in row.items() if k != "mean_cosine"}})
    with pytest.raises(DataError, match="measure_all"):
        diagnose({"embedding": cheap_measures(gaussian())})
    with pytest.raises(DataError, match="finite"):
        diagnose({"embedding": row | {"std": float("nan")}})
    with pytest.raises(SettingError, match="none"):
        diagnose({"embedding": None})
    with pytest.raises(SettingError, match="teacher"):
        diagnose({"teacher": row})


def relu_network(depth: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(96, 96), nn.ReLU()]
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(3))
def test_random_relu_networks_raise_no_alarm(seed: int) -> None:
    """Their outputs are non-negative, so they share a direction: mean cosine 0.9 and more without being collapsed."""
    x = torch.randn(256, 96, generator=torch.Generator().manual_seed(seed))
    measures = measure_all(relu_network(6, seed)(x))
    assert measures["mean_cosine"] > 0.9
    assert cheap_complete(measures, "representation") is None
    assert diagnose({"representation": measures}).kinds["representation"] != "complete"


def test_a_space_without_thresholds_raises_no_alarm() -> None:
    assert cheap_complete(cheap_measures(PLANTED["zeros"][0]), "prediction") is None


@pytest.mark.parametrize("variance_weight", [0.0, 25.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_alarm_names_vicreg_without_its_variance_term_within_100_steps(variance_weight: float, seed: int) -> None:
    """A small network really trained: the alarm comes with the collapse, and never in the healthy run."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())
    head = nn.Sequential(nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64))
    optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], 0.02, momentum=0.9, weight_decay=5e-4)
    first = None
    for step in range(100):
        x = torch.randn(64, 1, 32)
        h = net((x + 0.3 * torch.randn(64, 2, 32)).flatten(0, 1))
        z = head(h)
        if step % 10 == 0 and first is None:
            alarm = cheap_complete(cheap_measures(z[::2]), "embedding", healthy_std=1.0)
            first = None if alarm is None else step
            assert cheap_complete(cheap_measures(h[::2]), "representation") is None
        terms = decorrelation.vicreg(z.unflatten(0, (64, 2)))
        optimizer.zero_grad()
        (25 * terms.invariance + variance_weight * terms.variance + terms.covariance).backward()
        optimizer.step()
    assert (first is not None) == (variance_weight == 0)
    assert first != 0


def test_a_network_of_a_few_steps_is_not_called_collapsed():
    """Measured: VICReg after six steps, read in eval mode; its directions are spread, only its scale is small."""
    row = {"n": 400, "d": 100, "std": 0.049, "normalized_std": 0.062, "mean_cosine": 0.5672, "effective_rank": 60.0}
    assert diagnose({"embedding": row}, healthy_std=1.0).verdict != "complete"
    assert diagnose({"embedding": row | {"std": 0.001}}, healthy_std=1.0).verdict == "complete"
    assert diagnose({"embedding": row | {"normalized_std": 0.03}}, healthy_std=1.0).verdict == "complete"


def test_random_weights_get_numbers_and_no_verdict() -> None:
    """A projector of random weights gives nearly parallel rows: what would be a complete collapse after training."""
    rows = {space: measure_all(PLANTED["equal rows and noise of full rank"][0]) for space in ("representation", "embedding")}
    assert diagnose(rows).verdict == "complete"
    found = diagnose(rows, trained=False)
    assert (found.verdict, set(found.kinds.values())) == ("untrained", {"untrained"})
    assert "collapsed" not in found.sentence
    assert found.sentence.startswith("The weights are random")
    assert found.evidence == diagnose(rows).evidence


def behind_batch_norm(*, opposite: bool) -> torch.Tensor:
    raw = 1e-3 * torch.as_tensor(gaussian(64, 32), dtype=torch.float32)
    if opposite:
        raw[5] += 3.0
    return nn.BatchNorm1d(32, affine=False, eps=1e-12)(raw)


def test_the_alarm_names_a_collapse_that_a_batch_norm_hides() -> None:
    """SimSiam without stop-gradient: one record opposite to all others, which one batch can't show by its spread."""
    batch = behind_batch_norm(opposite=True)
    assert cheap_complete(cheap_measures(batch)) is None
    found = cheap_complete({**cheap_measures(batch), **bulk_measures(batch)})
    assert found is not None
    assert found["kind"] == "complete"
    assert "completely but for a few records of each batch" in found["sentence"]
    assert "of the variance" in found["sentence"]
    healthy = behind_batch_norm(opposite=False)
    assert cheap_complete({**cheap_measures(healthy), **bulk_measures(healthy)}) is None


def test_the_verdict_names_it_too() -> None:
    """In eval mode as in training: a few records opposite to all others hold open what is one point."""
    rows = behind_batch_norm(opposite=True).numpy()
    found = diagnose_features({"embedding": rows}, resamples=0)
    assert found.verdict == "complete"
    assert "completely but for a few records: without" in found.sentence
    assert diagnose_features({"embedding": behind_batch_norm(opposite=False).numpy()}, resamples=0).verdict == "healthy"
    halves = np.sign(gaussian(400, 1)) * DIRECTION + 0.01 * gaussian(400)
    assert diagnose_features({"embedding": halves}, resamples=0).verdict == "cluster", "two points are not one"
    assert diagnose_features({"representation": rows}, resamples=0).verdict != "complete", "a backbone ends in no BatchNorm"


def test_a_narrow_start_and_a_low_rank_raise_no_alarm() -> None:
    narrow = torch.as_tensor(0.07 * gaussian() + DIRECTION / np.linalg.norm(DIRECTION) * 8)
    low = torch.as_tensor(low_rank(2))
    for batch in (narrow, low):
        assert cheap_complete({**cheap_measures(batch), **bulk_measures(batch)}) is None


def test_a_second_branch_is_read_by_the_thresholds_of_its_space() -> None:
    point = cheap_measures(PLANTED["equal rows and noise of full rank"][0])
    found = cheap_complete(point, "broad_embedding")
    assert found is not None
    assert found["sentence"].startswith("The broad embedding has collapsed completely")
    assert cheap_complete(cheap_measures(relu_network(6, 0)(torch.randn(64, 96))), "broad_representation") is None


def test_a_sign_needs_all_its_metrics() -> None:
    sign = Sign(kind="complete", says="the output is uniform", below={"kl": 0.1}, above={"entropy": 2.0})
    for kl, entropy, shown in [(0.05, 2.2, True), (0.2, 2.2, False), (0.05, 1.9, False)]:
        assert (by_metrics([sign], {"kl": kl, "entropy": entropy}) is not None) is shown
    other = Sign(kind="cluster", says="one wins", below={"entropy": 0.7})
    found = by_metrics([sign, other], {"kl": 0.0, "entropy": 0.1})
    assert found is not None
    assert found["kind"] == "cluster"
    assert found["evidence"] == {"entropy": 0.1}
    assert by_metrics([], {"kl": 0.0}) is None
