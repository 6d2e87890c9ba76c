"""Rules of the live alarms that need more than one batch: loss, rank over time, points."""

import math

import pytest

from fullrank.checkpoint.encoder import build_method
from fullrank.methods._method import Method, available, load_method
from fullrank.recipes import recipe
from fullrank.spectrum.alarms import at_collapse_value, cheap_complete, few_directions, few_points, sudden_drop
from fullrank.spectrum.thresholds import ALARMS

ROW = {"n": 2048, "d": 100, "std": 1.0, "normalized_std": 0.1, "mean_cosine": 0.0}


@pytest.mark.parametrize(
    ("rank", "before", "raised"),
    [(2.0, 2.0, True), (2.0, 10.0, True), (2.0, 1.5, False), (7.0, 7.0, True), (9.0, 9.0, False), (2.0, None, False)],
    ids=["stays", "falls", "widens", "Barlow Twins", "BYOL", "first"],
)
def test_few_directions_are_an_alarm_where_they_do_not_grow(rank: float, before: float | None, raised: bool) -> None:
    assert (few_directions(ROW | {"effective_rank": rank}, "embedding", before) is not None) is raised


def test_few_directions_of_a_representation_are_where_training_starts() -> None:
    assert few_directions(ROW | {"effective_rank": 1.1}, "representation", 1.1) is None


def test_a_drop_is_measured_against_what_was_usual() -> None:
    usual = [50.0, 48.0, 52.0, 49.0]
    assert sudden_drop([*usual, 49.0 * ALARMS.drop_ratio - 1], "representation")["kind"] == "drop"  # type: ignore[index]
    assert sudden_drop([*usual, 49.0 * ALARMS.drop_ratio + 1], "representation") is None
    assert sudden_drop([*usual[:2], 1.0], "representation") is None, "too few readings to know what is usual"
    assert sudden_drop([1.0, *usual[:2], 1.0, 20.0], "representation") is None, "one odd reading before is no rule"


def test_the_rank_of_a_prediction_may_fall() -> None:
    """A predictor keeps few directions: BYOL's 3 of 128 while it is healthy."""
    ranks = [50.0, 48.0, 52.0, 49.0, 3.0]
    assert sudden_drop(ranks, "prediction") is None
    assert sudden_drop(ranks, "teacher") is None, "it follows the student"
    assert sudden_drop(ranks, "broad_embedding") is not None


@pytest.mark.parametrize(("space", "spread"), [("embedding", 0.1), ("representation", 0.025)])
def test_what_the_verdict_calls_complete_is_an_alarm_only_where_it_lasts(space: str, spread: float) -> None:
    row = ROW | {"normalized_std": spread / 10, "mean_cosine": 0.99}
    assert cheap_complete(row, space) is None
    assert cheap_complete(row, space, lasting=True)["kind"] == "complete"  # type: ignore[index]
    wider = row | {"normalized_std": 0.016}
    assert cheap_complete(wider, space, lasting=True) is None


@pytest.mark.parametrize(
    ("std", "spread", "raised"),
    [(0.1, 0.07, True), (0.2, 0.07, False), (0.1, 0.2, False), (0.07, 0.8, True), (1.0, 0.04, True)],
    ids=["both", "scale is kept", "directions are kept", "scale alone", "directions alone"],
)
def test_where_scale_and_directions_are_small_neither_needs_to_be_tiny(std: float, spread: float, raised: bool) -> None:
    """VICReg fixes the std at 1; what fixes none is asked for its directions alone."""
    row = ROW | {"std": std, "normalized_std": spread / 10, "mean_cosine": 0.99}
    assert (cheap_complete(row, healthy_std=1.0) is not None) is raised
    assert (cheap_complete(row) is not None) is (spread < ALARMS.spread["embedding"])


def test_points_are_told_with_their_number() -> None:
    found = few_points({"clusters": 7, "cluster_gap": 50.0, "clustered_ratio": 0.98}, "broad_embedding")
    assert found is not None
    assert "98 % of the rows sit at 7 points" in found["sentence"]
    assert few_points({"clusters": 7, "cluster_gap": 1.2, "clustered_ratio": 0.98}, "embedding") is None
    assert few_points({"clusters": 7, "cluster_gap": 50.0, "clustered_ratio": 0.98}, "prediction") is None


def test_the_loss_of_a_uniform_output_is_told_as_a_logarithm() -> None:
    found = at_collapse_value({"cross_entropy": 8.3178}, {"cross_entropy": math.log(4096)})
    assert found is not None
    assert "8.3178 = log 4096: the output is uniform" in found["sentence"]
    assert "at collapse" in at_collapse_value({"variance": 24.75}, {"variance": 24.75})["sentence"]  # type: ignore[index]


def test_all_terms_must_be_at_their_value() -> None:
    promised = {"invariance": 0.0, "variance": 24.75}
    assert at_collapse_value({"invariance": 0.0, "variance": 24.75, "other": 3.0}, promised) is not None
    assert at_collapse_value({"invariance": 0.1, "variance": 24.75}, promised) is None
    assert at_collapse_value({"invariance": 0.0}, promised) is None
    assert at_collapse_value({"invariance": 0.0}, {}) is None


@pytest.mark.parametrize("method", available())
def test_promised_values_are_recognised(method: str) -> None:
    """Of every method that promises values: at them, and not a tenth away."""
    if load_method(method).at_collapse is Method.at_collapse:
        pytest.skip("it promises none")
    promised = build_method(recipe(f"{method}.tiny"), 8).at_collapse(32)
    assert at_collapse_value(promised, promised) is not None or not promised
    assert at_collapse_value({name: value + 0.1 * (1 + abs(value)) for name, value in promised.items()}, promised) is None
