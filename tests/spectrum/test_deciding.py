"""What decides is measured as everywhere else, and a verdict near a threshold is unsure."""

import numpy as np
import pytest

from fullrank.errors import DataError
from fullrank.spectrum.deciding import certainty_of, deciding_measures, resample_count, scale_measures, time_measures
from fullrank.spectrum.diagnosis import diagnose_features
from fullrank.spectrum.measures import measure_all
from fullrank.spectrum.thresholds import THRESHOLDS

RNG = np.random.default_rng(0)
N, D = 400, 16
RECORD = np.repeat(np.arange(N // 4), 4)


def videos(residual: np.ndarray) -> np.ndarray:
    return RNG.normal(size=(N // 4, D))[RECORD] + residual


def test_measures_are_those_of_measure_all() -> None:
    x = (RNG.normal(size=(N, D)) + 2.0).astype(np.float32)
    mine, all_of_them = deciding_measures(x), measure_all(x)
    for name in ("n", "d", "std", "normalized_std", "mean_cosine", "effective_rank", "numerical_rank"):
        assert mine[name] == pytest.approx(all_of_them[name], abs=1e-9)


def test_nearly_equal_rows_keep_their_digits() -> None:
    noise = RNG.normal(size=(N, D))
    found = scale_measures(1e6 + 1e-4 * noise)
    assert found["std"] == pytest.approx(1e-4 * noise.std(axis=0).mean(), rel=1e-5)


def test_a_relu_leaves_no_negative_entries() -> None:
    x = RNG.normal(size=(N, D))
    assert scale_measures(np.maximum(x, 0))["negative_share"] == 0.0
    assert scale_measures(x)["negative_share"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("residual", "kind"),
    [
        (0.01 * RNG.normal(size=(N, D)), "temporal"),
        (RNG.normal(size=(N, 1)) @ RNG.normal(size=(1, D)), "temporal"),
        (0.5 * RNG.normal(size=(N, D)), "healthy"),
    ],
    ids=["still", "one motion", "moving"],
)
def test_collapse_in_time_shows_between_the_clips_of_a_record(residual: np.ndarray, kind: str) -> None:
    x = videos(residual)
    found = diagnose_features({"representation": x}, record=RECORD, resamples=10)
    assert (found.verdict, found.confidence) == (kind, 1.0)
    assert ("collapsed in time" in found.sentence) == (kind == "temporal")
    assert diagnose_features({"representation": x}, resamples=0).verdict == "healthy", "unseen without records"


def test_few_records_are_no_dimensional_collapse() -> None:
    """100 videos of still clips in 256 dimensions fill at most 99 directions."""
    record = np.repeat(np.arange(100), 4)
    x = RNG.normal(size=(100, 256))[record] + 1e-3 * RNG.normal(size=(400, 256))
    assert diagnose_features({"representation": x}, record=record, resamples=0).verdict == "temporal"


def test_one_clip_a_record_says_nothing_of_time() -> None:
    x = RNG.normal(size=(N, D))
    assert time_measures(x, np.arange(N)) == {}
    assert time_measures(x, np.zeros(N, dtype=np.int64)) == {}
    assert time_measures(x, None) == {}


def test_videos_no_longer_than_a_clip_say_nothing_of_time() -> None:
    """Their clips are all the same, whatever the encoder."""
    x = videos(np.zeros((N, D)))
    found = diagnose_features({"representation": x}, record=RECORD, start_seconds=np.zeros(N), resamples=5)
    assert found.verdict == "healthy"
    assert any(w.startswith("Collapse in time cannot be judged") for w in found.warnings)
    start = np.tile(np.arange(4.0), N // 4)
    assert diagnose_features({"representation": x}, record=RECORD, start_seconds=start, resamples=5).verdict == "temporal"
    moving = np.where(RECORD < 50, start, 0.0)
    found = diagnose_features({"representation": x}, record=RECORD, start_seconds=moving, resamples=0)
    assert (found.verdict, found.warnings) == ("temporal", ()), "half of the videos are long enough"


def test_a_shared_direction_is_a_shift_whatever_its_size_unless_no_entry_is_negative() -> None:
    noise = RNG.normal(size=(2000, D))
    for shift in (2.2, 2.5, 3.0, 6.0):
        assert diagnose_features({"representation": noise + shift}, resamples=0).verdict == "mean_shift", shift
    positive = np.maximum(noise + 2.5, 0.0)
    found = diagnose_features({"representation": positive}, resamples=0)
    assert found.verdict == "healthy"
    assert "(no entry is negative, as behind a ReLU)" in found.sentence


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e-13, 1.0, 1e13, 1e100])
def test_a_verdict_does_not_depend_on_the_scale(scale: float) -> None:
    nearly_equal = 1.0 + 1e-3 * RNG.normal(size=(N, D))
    assert diagnose_features({"representation": scale * nearly_equal}, resamples=0).verdict == "complete"
    assert scale_measures(scale * nearly_equal)["mean_cosine"] == pytest.approx(1.0, abs=1e-5)


def test_one_row_or_dimension_that_makes_the_spectrum_fall_is_named() -> None:
    x = RNG.normal(size=(2000, 64))
    assert diagnose_features({"representation": x}, resamples=0).warnings == ()
    x[17] *= 1000.0
    (said,) = diagnose_features({"representation": x}, resamples=0).warnings
    assert said.startswith("One row alone, number 17 counted from 0, holds 100 % of the representation's variance")
    y = RNG.normal(size=(2000, 64))
    y[:, 5] *= 300.0
    (said,) = diagnose_features({"representation": y}, resamples=0).warnings
    assert said.startswith("One dimension alone, number 5 counted from 0, holds 100 %")


def test_a_verdict_near_a_threshold_is_unsure_and_the_same_seed_gives_the_same_doubt() -> None:
    limit = THRESHOLDS["embedding"].shift_cosine
    direction = RNG.normal(size=D)
    x = RNG.normal(size=(60, D)) + direction / np.linalg.norm(direction) * np.sqrt(D * limit / (1 - limit))
    first = diagnose_features({"embedding": x}, resamples=40)
    assert 0.0 < (first.confidence or 0.0) < 1.0
    assert "of 40 bootstrap resamples give the same verdict" in first.sure
    again = diagnose_features({"embedding": x}, resamples=40)
    assert again.confidence == first.confidence
    counts = first.document()["resamples"]["embedding"]
    assert counts["same"] * 40 + sum(counts["others"].values()) == pytest.approx(40)


def test_records_and_not_rows_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resample holds all clips of a record or none."""
    from fullrank.spectrum import deciding

    seen = []
    true = deciding.deciding_measures
    monkeypatch.setattr(deciding, "deciding_measures", lambda x, record, start: seen.append(record) or true(x, record, start))
    certainty_of(videos(RNG.normal(size=(N, D))), "representation", "healthy", record=RECORD, resamples=5)
    assert len(seen) == 5
    for record in seen:
        assert set(np.bincount(record)) == {0, 4}
        assert 0.5 < len(record) / N < 0.75


def test_no_resample_no_confidence() -> None:
    found = diagnose_features({"embedding": RNG.normal(size=(N, D))}, resamples=0)
    assert (found.confidence, found.sure) == (None, "")


def test_wide_tables_get_fewer_resamples() -> None:
    assert [resample_count(10_000, d) for d in (64, 1024, 2048, 8192)] == [100, 46, 8, 8]


def test_two_rows_cannot_be_drawn_again() -> None:
    with pytest.raises(DataError, match="--resamples 0"):
        diagnose_features({"embedding": RNG.normal(size=(2, D))}, resamples=50)


@pytest.mark.parametrize("noise", [1e-6, 1e-2, 3e-2])
def test_noise_does_not_hide_that_a_quarter_of_the_directions_is_used(noise: float) -> None:
    """It raises the effective rank; the cliff stays where it is."""
    d, r = 64, 16
    turn = np.linalg.qr(RNG.normal(size=(d, d)))[0]
    x = RNG.normal(size=(800, r)) @ turn[:r] + noise * RNG.normal(size=(800, d))
    found = diagnose_features({"embedding": x}, resamples=5)
    assert (found.verdict, found.confidence) == ("dimensional", 1.0)
    assert found.evidence["embedding"]["cliff_directions"] == r
    assert "after 16 directions the spectrum falls" in found.sentence


@pytest.mark.parametrize(
    "x",
    [
        RNG.normal(size=(300, 64)),
        RNG.normal(size=(65, 64)),
        RNG.normal(size=(64, 300)),
        RNG.normal(size=(300, 64)) / np.arange(1, 65),
        RNG.normal(size=(300, 64)) * np.where(np.arange(64) == 0, 8.0, 1.0),
        RNG.normal(size=(300, 64)) * np.where(np.arange(64) < 50, 1.0, 1e-3),
    ],
    ids=["isotropic", "n = d + 1", "n < d", "power law", "one strong direction", "a few dead directions"],
)
def test_no_cliff_is_seen_where_none_is(x: np.ndarray) -> None:
    assert diagnose_features({"embedding": x}, resamples=0).verdict == "healthy"


def test_equal_rows_have_no_cliff() -> None:
    from fullrank.spectrum.covariance import spectrum_of
    from fullrank.spectrum.deciding import cliff_measures

    assert cliff_measures(spectrum_of(np.ones((9, 4)))) == {"cliff_directions": 0, "cliff_factor": 1.0}
