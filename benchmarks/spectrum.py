"""Time of the spectrum and the cumulative explained variance of unit rows, against the procedure of the tiny paper's script.

    python benchmarks/spectrum.py --out benchmarks/results/FILE.json

The other procedure: numpy's covariance with a full singular value decomposition of it, then scikit-learn's PCA of the same
features. Ours: one streaming pass and one eigendecomposition for both. Both start from the same float32 features in memory
and take turns; times are medians, and the largest difference of the curves is written beside them. The ratio is the
other's time divided by ours: above 1 is faster.
"""

import argparse
import json
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
    parser.add_argument("--n", type=int, default=20_000, help="rows")
    parser.add_argument("--d", type=int, default=2048, help="width")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="1,000 rows of width 64, to see that it runs")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    n, d, repeats = (1000, 64, 1) if args.tiny else (args.n, args.d, args.repeats)
    row = measure(n, d, repeats)
    row["cheap_measures_512x256_milliseconds"] = round(cheap_milliseconds(512, 256, repeats), 3)
    print(json.dumps(row))
    table = {
        "header": ["features", "seconds, script's procedure", "seconds, fullrank", "x faster"],
        "rows": [[f"{n} x {d}", row["seconds"]["reference"], row["seconds"]["fullrank"], row["ratio"]]],
        "note": "Spectrum and cumulative explained variance of L2-normalised features, to the same curves.",
    }
    sums = [goal("spectrum against the script's procedure", row["ratio"])]
    write(args.out, {**origin("spectrum.py"), "summary": sums, "tables": {"spectrum": table}, "measured": [row]})


if __name__ == "__main__":
    main()
