"""All rows but a few are one point: seen where a BatchNorm keeps the batch apart, not where training starts narrow."""

import math

import pytest
import torch
from torch import nn

from fullrank.errors import ShapeError
from fullrank.spectrum.bulk import bulk_measures
from fullrank.spectrum.measures import cheap_measures

N, D = 64, 32


def rows(seed: int = 0) -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(x: torch.Tensor) -> float:
    return math.sqrt(x.shape[1]) * bulk_measures(x)["trimmed_normalized_std"]


def one_opposite() -> torch.Tensor:
    """A projector that gives everybody the same vector and one record another, behind the BatchNorm that ends it."""
    raw = torch.ones(N, D) + 1e-3 * rows().float()
    raw[7] += 5.0
    return nn.BatchNorm1d(D, affine=False)(raw)


def test_equals_a_naive_computation():
    x = rows() * torch.tensor([9.0] + [1.0] * (D - 1)) + 0.3
    unit = x / x.norm(dim=1, keepdim=True)
    cosine = unit @ unit.mean(0)
    kept = unit[cosine.argsort(descending=True)[: N - N // 8]]
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T))
    found = bulk_measures(x)
    assert found["trimmed_normalized_std"] == pytest.approx(float(kept.std(0, correction=0).mean()), rel=1e-12)
    assert found["leading_share"] == pytest.approx(float(eigenvalues[-1] / eigenvalues.sum()), rel=1e-3)
    assert found["leading_share"] <= float(eigenvalues[-1] / eigenvalues.sum()) + 1e-12


def test_a_collapse_behind_a_batch_norm_shows_here_and_not_in_the_spread():
    x = one_opposite()
    whole = math.sqrt(D) * cheap_measures(x)["normalized_std"]
    assert whole == pytest.approx(2 * math.sqrt(N - 1) / N, rel=0.02)
    assert spread(x) < 0.02
    assert bulk_measures(x)["leading_share"] > 0.999


def test_healthy_rows_are_far_from_both():
    assert spread(rows()) > 0.9
    assert bulk_measures(rows())["leading_share"] < 0.15


def test_a_narrow_start_has_no_leading_direction():
    x = 5 * torch.ones(N, D) + 0.1 * rows()
    assert spread(x) < 0.03
    assert bulk_measures(x)["leading_share"] < 0.15


def test_order_and_scale_do_not_matter_and_the_share_survives_a_rotation():
    x = one_opposite().double()
    for other in (x.flip(0), 1e-6 * x, 1e6 * x):
        assert bulk_measures(other) == pytest.approx(bulk_measures(x), rel=1e-6)
    rotation = torch.linalg.qr(rows(1)[:D])[0]
    assert bulk_measures(x @ rotation)["leading_share"] == pytest.approx(bulk_measures(x)["leading_share"], rel=1e-9)


@pytest.mark.parametrize("n", [3, 4, 9])
def test_equal_rows_are_one_point_without_a_direction(n):
    assert bulk_measures(torch.ones(n, 4)) == pytest.approx({"trimmed_normalized_std": 0.0, "leading_share": 0.0}, abs=1e-12)


def test_two_rows_are_refused():
    with pytest.raises(ShapeError, match=r"at least 3 rows. Got \[2, 4\]"):
        bulk_measures(torch.ones(2, 4))
