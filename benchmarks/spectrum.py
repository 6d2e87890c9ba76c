"""Time of the spectrum and the cumulative explained variance of unit rows, against the procedure of the tiny paper's script.

    python benchmarks/spectrum.py --out benchmarks/results/FILE.json

The other procedure: numpy's covariance with a full singular value decomposition of it, then scikit-learn's PCA of the same
features. Ours: one streaming pass and one eigendecomposition for both, in float64. Both start from the same float32 features in
memory and take turns; times are medians (of one for all but the first n), and the largest difference of the curves is written
beside them. The ratio is the other's time divided by ours: above 1 is faster. An n for which the other procedure finds no
memory is left out. The singular values are also held against those of the centred unit rows themselves, by numpy in float64.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _result import goal, origin, write

from fullrank.spectrum.covariance import spectrum_of
from fullrank.spectrum.measures import cheap_measures, cumulative_explained_variance, log_singular_values

WANTED = 4.0
WITHIN = 1e-6
"""of each singular value"""
BYTES_A_VALUE = 36
"""of features, that the other procedure takes at its peak"""
Curves = tuple[np.ndarray, np.ndarray]


def features(n: int, d: int) -> np.ndarray:
    """Power-law features with a common mean, as encoders give them."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((d, d), dtype=np.float32) * (np.arange(1, d + 1, dtype=np.float32) ** -0.5)[:, None]
    return rng.standard_normal((n, d), dtype=np.float32) @ mixing / np.float32(d**0.5) + np.float32(0.1)


def reference(x: np.ndarray) -> Curves:
    """The procedure of the tiny paper's script, in our words."""
    from sklearn.decomposition import PCA

    unit = torch.nn.functional.normalize(torch.from_numpy(x), dim=1).numpy()
    logs = np.log(np.linalg.svd(np.cov(unit.T))[1])
    sigma = PCA().fit(unit).singular_values_
    return logs, np.cumsum(sigma) / sigma.sum()


def ours(x: np.ndarray) -> Curves:
    spectrum = spectrum_of(x, normalized=True)
    return log_singular_values(spectrum), cumulative_explained_variance(spectrum)


def relative_error(x: np.ndarray) -> float:
    """Largest relative difference of our singular values from those of the centred unit rows, which numpy decomposes."""
    unit = x.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    unit -= unit.mean(axis=0)
    want = np.linalg.svd(unit, compute_uv=False)
    spectrum = spectrum_of(x, normalized=True)
    got = np.sqrt(len(x) * spectrum.eigenvalues)[: len(want)]
    return float(np.abs(got / want - 1.0).max())


def enough_memory(n: int, d: int) -> bool:
    return n * d * BYTES_A_VALUE < os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def seconds_of(function: Callable[[np.ndarray], Any], x: np.ndarray) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function(x)
    return time.perf_counter() - start, result


def measure(n: int, d: int, repeats: int) -> dict[str, Any]:
    """Median seconds of both, their ratio, and how far their curves are apart."""
    x = features(n, d)
    times: dict[str, list[float]] = {"reference": [], "fullrank": []}
    curves: dict[str, Curves] = {}
    reference(features(100, 8)), ours(features(100, 8))  # imports and thread pools are not counted
    for _ in range(repeats):
        for name, function in (("reference", reference), ("fullrank", ours)):
            seconds, curves[name] = seconds_of(function, x)
            times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    rank = min(n - 1, d)
    logs, cev = (np.abs(a[:rank] - b[:rank]).max() for a, b in zip(curves["reference"], curves["fullrank"], strict=True))
    return {
        "n": n,
        "d": d,
        "seconds": {name: round(t, 4) for name, t in medians.items()},
        "ratio": round(medians["reference"] / medians["fullrank"], 3),
        "largest_difference": {"log singular values": float(logs), "cumulative explained variance": float(cev)},
    }


def cheap_milliseconds(n: int, d: int, repeats: int) -> float:
    x = torch.randn(n, d, generator=torch.Generator().manual_seed(0))
    return 1e3 * statistics.median(seconds_of(cheap_measures, x)[0] for _ in range(10 * repeats))  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[20_000, 60_000, 120_000, 240_000], help="rows")
    parser.add_argument("--d", type=int, default=2048, help="width")
    parser.add_argument("--repeats", type=int, default=3, help="of the first n; the others run once")
    parser.add_argument("--tiny", action="store_true", help="1,000 and 2,000 rows of width 64, to see that it runs")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    sizes, d, repeats = ([1000, 2000], 64, 1) if args.tiny else (args.n, args.d, args.repeats)
    rows = []
    for n in sizes:
        if not enough_memory(n, d):
            print(f"{n} x {d} left out: the script's procedure takes {n * d * BYTES_A_VALUE / 2**30:.0f} GiB", flush=True)
            continue
        rows.append(measure(n, d, repeats if n == sizes[0] else 1))
        print(json.dumps(rows[-1]), flush=True)
    error = relative_error(features(sizes[0], d))
    cheap = round(cheap_milliseconds(512, 256, repeats), 3)
    table = {
        "header": ["features", "seconds, script's procedure", "seconds, fullrank", "x faster"],
        "rows": [
            [f"{row['n']} x {row['d']}", row["seconds"]["reference"], row["seconds"]["fullrank"], row["ratio"]] for row in rows
        ],
        "note": "Spectrum and cumulative explained variance of L2-normalised features, to the same curves.",
    }
    sums = [goal(f"spectrum of {row['n']} x {row['d']} against the script's", row["ratio"], at_least=WANTED) for row in rows]
    sums.append(goal("largest relative error of a singular value", error, at_most=WITHIN, unit=""))
    measured = [{**row, "cheap_measures_512x256_milliseconds": cheap, "singular_value_error": error} for row in rows]
    write(args.out, {**origin("spectrum.py"), "summary": sums, "tables": {"spectrum": table}, "measured": measured})


if __name__ == "__main__":
    main()
