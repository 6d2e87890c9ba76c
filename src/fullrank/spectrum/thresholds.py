"""What a space must be beyond to be called collapsed: every number of the diagnosis and of the live alarms, and nothing else.

Tuned and tested by `benchmarks/diagnosis.py` on a labelled population (planted kinds, and runs where there are any): the
numbers are chosen on some seeds, the confusion matrix of table `diagnosis` is of others.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Of one space, for a verdict on features in eval mode."""

    complete_spread: float
    """complete below this sqrt(d) * normalised std, which is 1 where directions are spread evenly and 0 where all are one"""
    shift_cosine: float
    """mean shift above this mean cosine of different rows"""
    signed_shift_cosine: float = 0.8
    """the same where any entry is negative: what a ReLU explains is then no explanation"""
    complete_std_ratio: float = 0.08
    """complete below this std / healthy std where directions are narrow too; for methods that fix the scale (VICReg's gamma)"""
    narrow_spread: float = 0.5
    """what "narrow" means there"""
    tiny_std_ratio: float = 0.005
    """the same where directions are still spread: an embedding that shrinks to a point without a common direction"""
    bulk_spread: float = 0.15
    """an embedding is complete but for a few rows below this sqrt(d) * trimmed normalised std, and ...
    Test videos of the study, seed 0: 0.01 to 0.12 where a BatchNorm holds open what stop-gradient, predictor or teacher no
    longer do (SimSiam, BraVe, DINO); at least 0.3 in healthy embeddings, 0.8 with a share as large. The alarm reads the same
    of batches, from step 20 on: 0.01 to 0.10 there, at least 0.13 in SimSiam as it is; narrow starts are below it too"""
    leading_share: float = 0.97
    """... above this share of the variance in one direction: 0.986 to 1 in those, at most 0.95 in SimSiam's batches as it is"""
    cluster_gap: float = 3.2
    """cluster above this ratio of the shortest link between points to the longest within one (`clusters.py`); rows on a line
    reach 2.8"""
    low_rank_ratio: float = 0.1
    """dimensional below this effective rank / min(n - 1, d)"""
    unused_ratio: float = 0.6
    """dimensional below this share of directions used at all: those above a cliff, or the numerical rank, / min(n - 1, d)"""
    cliff_factor: float = 5.0
    """a cliff is a step of the singular values by more than this (``deciding.cliff_measures``)"""
    within_share: float = 0.005
    """temporal below this share of the variance within records"""
    within_rank_ratio: float = 0.1
    """temporal below this effective rank / bound of what remains of clips once the mean of their record is taken away"""


COMPLETE_COSINE = 0.9
"""no complete collapse of directions, in a verdict or an alarm, below this mean cosine of different rows"""

THRESHOLDS: dict[str, Thresholds] = {
    # A ReLU makes representations non-negative: their mean cosine is 0.6 to 0.95 at random initialisation and in good encoders.
    "representation": Thresholds(complete_spread=0.03, shift_cosine=0.95),
    # Positives from several moments make clips of a record alike in the embedding on purpose; what is kept must not follow.
    "embedding": Thresholds(complete_spread=0.15, shift_cosine=0.8, within_share=0.001, within_rank_ratio=0.03),
}


@dataclass(frozen=True, kw_only=True)
class AlarmThresholds:
    """Of the live alarms: stricter, because training starts narrow and widens later.

    "The study": the runs of `benchmarks/study.py`, 300 steps, seed 0, on which what names it was chosen.
    """

    spread: dict[str, float] = field(default_factory=lambda: {"representation": 0.02, "embedding": 0.05})
    """complete below this sqrt(d) * normalised std of a batch. Measured on small networks: 0.02 to 0.12 in collapsed
    embeddings, 0.35 to 0.98 in healthy ones after 100 steps; MoCo's starts at 0.5, falls to 0.07 for some twenty steps, and
    recovers"""
    std_ratio: float = 0.08
    """complete below this std / healthy std of a batch; a healthy start is at 0.3"""
    narrow_std_ratio: float = 0.15
    """... or below this where the spread is below the verdict's ``complete_spread`` too. VICReg without its variance term, in
    the demo: std 0.06 to 0.14 with a spread of 0.05 to 0.10 from step 30 to 85; VICReg and LeJEPA as they are, and without a
    guard that leaves them healthy: at least 0.22, or a spread of 0.75"""
    low_rank_ratio: float = 0.08
    """dimensional below this effective rank / bound of an embedding that no longer widens. The verdict's is 0.1; in training
    the study's healthy runs keep 0.10 (BYOL) and more, those that end dimensional 0.004 to 0.065, and once 0.107"""
    widening: float = 1.05
    """an effective rank that grew by this factor since the last spectrum widens"""
    drop_ratio: float = 0.4
    """a sudden drop below this share of the median of the last effective ranks. Once settled, ranks of the study's healthy runs
    keep 0.76 of it and more; at the start they fall to 0.41, and to 0.33 in a run that ends as a cluster"""
    drop_readings: int = 4
    """so many of them"""
    loss_tolerance: float = 0.002
    """a loss term is at its value at collapse within this share of 1 + |value|"""
    lasting_steps: int = 100
    """... for so many steps in a row: a start may sit near it. As long must a spread that is not below ``spread`` lie below the
    verdict's ``complete_spread`` (0.15) to be complete. Of the study, a reading each ten steps: at most 4 in a row in runs that
    end healthy or as a mean shift (CVRL without BatchNorm), 18 to 28 in the three that nothing else names"""
    settled_steps: int = 100
    """before this step, or this share of the run, whichever is later, no rank, no loss and no lasting spread raises an alarm,
    and no rank is a usual one"""
    settled_share: float = 0.05
    """see ``settled_steps``"""


ALARMS = AlarmThresholds()
