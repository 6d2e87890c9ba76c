"""How far apart the measures are that are published under one name, and how much a rank tells of n.

    python benchmarks/measures.py --out benchmarks/results/FILE.json

On planted spectra of width 2,048 (eigenvalues given, n large, so no sampling is in the numbers), on planted groups for
LiDAR, and on isotropic rows of width 256 for n.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from _result import goal, origin, write

from fullrank.spectrum.definitions import MEASURES
from fullrank.spectrum.groups import lidar_eigenvalues
from fullrank.spectrum.live import measure_all
from fullrank.spectrum.survey import survey
from fullrank.types import Spectrum

FAMILIES = {
    "rank by entropy": ("effective_rank", "rankme", "rankme_epsilon_1e5", "rankme_eigenvalues"),
    "rank by squares": ("stable_rank", "stable_rank_uncentred", "nesum", "participation_ratio", "iso_score"),
    "rank at 90 %": ("rank_90", "variance_rank_90"),
    "decay": ("alpha_req", "alpha_req_4_100", "alpha_req_all", "alpha_req_linear_ramp", "cev_auc"),
}
SEEDS = (0, 1, 2)
MANY = 10**6
"""rows that the planted spectra say they are of: enough that min(n - 1, d) is d"""


def spectra(d: int) -> dict[str, tuple[np.ndarray, float]]:
    """{name: (eigenvalues, squared length of a mean along the first direction)}."""
    one = np.arange(1, d + 1) ** -1.0
    alone = np.zeros(d)
    alone[0] = 1.0
    return {
        "isotropic": (np.ones(d), 0.0),
        "1/i": (one, 0.0),
        "1/i, mean shift": (one, 100.0 * float(one.sum())),
        "1/i^2": (one**2, 0.0),
        f"rank {d // 16}": (np.where(np.arange(d) < d // 16, 1.0, 0.0), 0.0),
        "rank one": (alone, 0.0),
    }


def of_spectrum(name: str, eigenvalues: np.ndarray, shift: float) -> float | None:
    """One measure; None where it has no value."""
    each = MEASURES[name]
    values = eigenvalues + (0.0 if each.centred else shift * np.eye(1, len(eigenvalues))[0])
    plain = {"n": MANY, "d": len(eigenvalues), "mean": np.zeros(len(eigenvalues)), "variance": eigenvalues}
    if name.startswith("alpha_req") and each.centred and np.sum(values > 0) < 13:
        return None
    return each.function(Spectrum(eigenvalues=values, centred=each.centred, normalized=False, **plain))


def variants(d: int) -> dict[str, Any]:
    planted = spectra(d)
    rows = [
        [family, f"`{name}`", *(of_spectrum(name, *each) for each in planted.values())]
        for family, names in FAMILIES.items()
        for name in names
    ]
    note = (
        f"Eigenvalues of the covariance as in the header, d = {d:,}, n so large that it plays no part; the mean shift has ten "
        "times the length of the spread. A dash: too few eigenvalues to fit."
    )
    return {"header": ["what", "measure", *planted], "rows": rows, "note": note}


def grouped(d: int, groups: int, views: int) -> dict[str, Any]:
    """LiDAR of planted group means: isotropic, 1/i, in d/8 directions; the spread within groups has std 0.5."""
    names = ("lidar", "lidar_renormalized", "lidar_of_rows")
    spreads = {"isotropic": np.ones(d), "1/i": np.arange(1, d + 1) ** -1.0, f"rank {d // 8}": 1.0 * (np.arange(d) < d // 8)}
    record = np.repeat(np.arange(groups), views)
    columns = []
    for spread in spreads.values():
        rng = np.random.default_rng(0)
        means = rng.normal(size=(groups, d)) * np.sqrt(spread)
        x = means[record] + 0.5 * rng.normal(size=(len(record), d))
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        values = survey(x @ turn, groups=record, rows=len(record)).values
        lambdas = lidar_eigenvalues(x, record)
        columns.append([*(float(values[name]) for name in names), float(lambdas.sum() ** 2 / (lambdas**2).sum())])
    labels = [*(f"`{name}`" for name in names), "participation ratio of the same eigenvalues"]
    note = f"{groups:,} groups of {views} rows, d = {d}; group means as in the header, standard deviation within groups 0.5."
    rows = [[label, *(column[i] for column in columns)] for i, label in enumerate(labels)]
    return {"header": ["measure", *spreads], "rows": rows, "note": note}


def by_rows(d: int) -> dict[str, Any]:
    names = ("effective_rank", "rankme", "rankme_eigenvalues", "participation_ratio", "cev_auc")
    rows = []
    for n in (d // 2, d, 2 * d, 4 * d, 16 * d, 64 * d):
        found = [measure_all(np.random.default_rng(seed).normal(size=(n, d))) for seed in SEEDS]
        rows.append([f"{n:,}", f"{n / d:g} d", *(statistics.mean(row[name] for row in found) for name in names)])
    return {
        "header": ["n", "n / d", *(f"`{name}`" for name in names)],
        "rows": rows,
        "seeds": list(SEEDS),
        "note": f"Isotropic normal rows of width {d}, mean over seeds: with enough rows each rank would be {d}.",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="width 64, to see that it runs")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    wide, groups, few = (64, 100, 32) if args.tiny else (2048, 1000, 256)
    tables = {
        "measures-variants": variants(wide),
        "measures-lidar": grouped(16 if args.tiny else 64, groups, 10),
        "measures-rows": by_rows(few),
    }
    power = spectra(wide)["1/i"]
    ratio = (of_spectrum("rankme", *power) or 0.0) / (of_spectrum("rankme_eigenvalues", *power) or 1.0)
    sums = [goal("RankMe from singular values over RankMe from eigenvalues, at 1/i", ratio)]
    write(args.out, {**origin("measures.py"), "summary": sums, "tables": tables})


if __name__ == "__main__":
    main()
