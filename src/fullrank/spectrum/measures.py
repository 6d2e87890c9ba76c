"""Measures of collapse, each with one pinned definition, because public implementations of one name disagree.

Spectral measures are functions of a ``Spectrum``; whether its rows were centred and L2-normalised is part of the measure's
definition (``SPECTRAL``), and the form from the paper is the one with the plain name. How far the forms are apart, on
eigenvalues 1/i of width 2,048 (n large): RankMe 1,590 from singular values, 281 from eigenvalues; participation ratio 41;
NESum 8.2; CEV AUC 0.66 from singular values (0.88 had they been squared).

Each value is bounded: no rank exceeds min(n - 1, d) of centred rows, min(n, d) of others, and below n = 2d a rank mostly
tells n. So n and d always go with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fullrank.errors import DataError, SettingError, ShapeError, did_you_mean
from fullrank.spectrum.covariance import Array, load_features, spectra_of, spectrum_of
from fullrank.types import Spectrum

CHEAP = ("std", "normalized_std", "mean_cosine", "mean_norm")


def _exp_entropy(p: NDArray[np.float64]) -> float:
    inside = p[p > 0]
    return float(np.exp(-np.sum(inside * np.log(inside))))


def effective_rank(spectrum: Spectrum) -> float:
    """How many directions the features fill, weighed by their singular values.

    erank = exp(-sum_k p_k log p_k), p_k = sigma_k / sum_j sigma_j, 0 log 0 = 0 (Roy and Vetterli, EUSIPCO 2007).
    Here of centred features, not normalised; no epsilon. Range 1..min(n - 1, d); all directions equal gives the bound
    (finite n lowers it: 0.9 of d at n = 2d), one direction 1, all rows equal 0 (no direction). Invariant to rotation, shift
    and scale of all features and to the order of rows. Mind: noise has full rank, so read the scale first.

    >>> effective_rank(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    2.0
    """
    sigma = spectrum.singular_values
    total = float(sigma.sum())
    return _exp_entropy(sigma / total) if total > 0 else 0.0


def rankme(spectrum: Spectrum, *, epsilon: float = 1e-7) -> float:
    """RankMe: the exponential of the entropy of the singular values of the features as they are.

    RankMe(Z) = exp(-sum_k p_k log p_k), p_k = sigma_k / ||sigma||_1 + epsilon, k = 1..min(n, d) (Garrido et al., ICML
    2023): uncentred, not normalised, epsilon 1e-7 added and not renormalised. Range 1..min(n, d), and by its epsilon
    slightly above (2,051 for isotropic features of d = 2,048; rank one gives 1.003 there); all rows zero gives 0. A common
    direction lowers it although the covariance is fine: that is a mean shift, which ``effective_rank`` doesn't see. Epsilon
    1e-5 (others) gives 1.27 for rank one at d = 2,048. Invariant to rotation, scale and order, not to shift.

    Raises ``SettingError`` for a centred or normalised spectrum.

    >>> round(rankme(spectrum_of(np.array([[1.0, 0], [0, 1]]), centred=False)), 4)
    2.0
    """
    if spectrum.centred or spectrum.normalized:
        raise SettingError(
            "RankMe must be computed from features as they are. Got a centred or normalised spectrum; "
            "use spectrum_of(x, centred=False)."
        )
    sigma = spectrum.singular_values
    total = float(sigma.sum())
    return _exp_entropy(sigma / total + epsilon) if total > 0 else 0.0


def rankme_eigenvalues(spectrum: Spectrum) -> float:
    """The variant of RankMe that other libraries publish under its name: from eigenvalues, centred.

    exp(-sum_k p_k log p_k), p_k = lambda_k / sum_j lambda_j: the entropy of explained-variance ratios (reptrix). Never
    above ``effective_rank``: 281 against 1,587 on lambda_i = 1/i, d = 2,048. Range and collapse values as there.

    >>> rankme_eigenvalues(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    2.0
    """
    total = float(spectrum.eigenvalues.sum())
    return _exp_entropy(spectrum.eigenvalues / total) if total > 0 else 0.0


def participation_ratio(spectrum: Spectrum) -> float:
    """(sum_k lambda_k)^2 / sum_k lambda_k^2: directions that share the variance.

    Centred, not normalised. Range 1..min(n - 1, d); isotropic d, one direction 1, all rows equal 0. Dominated by the
    largest eigenvalues. Invariant to rotation, shift, scale and order.

    >>> participation_ratio(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    2.0
    """
    squares = float(np.sum(spectrum.eigenvalues**2))
    return float(spectrum.eigenvalues.sum() ** 2 / squares) if squares > 0 else 0.0


def nesum(spectrum: Spectrum) -> float:
    """sum_k lambda_k / lambda_1 (He and Ozay, ICML 2022, definition 4.1).

    Centred, not normalised. Range 1..min(n - 1, d); isotropic d, one direction 1, all rows equal 0.

    >>> nesum(spectrum_of(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])))
    1.25
    """
    largest = float(spectrum.eigenvalues[0])
    return float(spectrum.eigenvalues.sum()) / largest if largest > 0 else 0.0


def stable_rank(spectrum: Spectrum) -> float:
    """||Z||_F^2 / ||Z||_2^2 = sum_k sigma_k^2 / sigma_1^2.

    Here of centred features, where it equals NESum; Tsitsulin et al. (2023, arXiv 2305.16562) take the features as they
    are: ``stable_rank(spectrum_of(x, centred=False))``, which a common direction pulls to 1. Range 1..min(n - 1, d); isotropic
    d, one direction 1, all rows equal 0.

    >>> stable_rank(spectrum_of(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])))
    1.25
    """
    return nesum(spectrum)


def numerical_rank(spectrum: Spectrum, *, tolerance: float = 1e-4) -> int:
    """Directions that are used at all: #{k : sigma_k > tolerance * sigma_1}.

    Centred, not normalised. Range 1..min(n - 1, d); all rows equal 0. The classic tolerance, max(n, d) times the machine's
    epsilon, is below what a squared matrix or float32 features can show, so it is 1e-4 here: planted rank r gives r,
    healthy networks give nearly all.

    >>> numerical_rank(spectrum_of(np.array([[1.0, 1, 0], [-1, -1, 0], [2, 2, 0]])))
    1
    """
    sigma = spectrum.singular_values
    return int(np.sum(sigma > tolerance * sigma[0]))


def cumulative_explained_variance(spectrum: Spectrum) -> NDArray[np.float64]:
    """CEV(k) = sum_{j<=k} sigma_j / sum_j sigma_j, [min(n, d)], of the singular values, which are not squared.

    Li, Efros and Pathak (ECCV 2022, arXiv 2209.15007) draw it for centred features. A straight line is healthy; a curve
    that is 1 from the start is collapsed; all rows equal gives 1 everywhere.

    >>> cumulative_explained_variance(spectrum_of(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]]))).tolist()
    [0.75, 1.0]
    """
    sigma = spectrum.singular_values
    total = float(sigma.sum())
    return np.cumsum(sigma) / total if total > 0 else np.ones_like(sigma)


def cev_auc(spectrum: Spectrum) -> float:
    """Area under the cumulative explained variance: (1/r) sum_k CEV(k), r = min(n, d).

    Li, Efros and Pathak (ECCV 2022). Range (r + 1) / (2r), flat and healthy (about 0.5), to 1, collapsed. ``cev_auc`` is of
    centred features; ``cev_auc_normalized`` divides each row by its length first, and is the area that the figure prints.

    >>> cev_auc(spectrum_of(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])))
    0.875
    """
    return float(cumulative_explained_variance(spectrum).mean())


def log_singular_values(spectrum: Spectrum) -> NDArray[np.float64]:
    """Log of the singular values of the covariance of L2-normalised features, [d]: the logs of its eigenvalues.

    Jing, Vincent, LeCun and Tian (ICLR 2022, arXiv 2110.09348), with the covariance over n - 1. Flat is healthy, a cliff is
    dimensional collapse; eigenvalues below the noise of the computation are -inf (a decomposition without the floor shows
    its rounding there, below -35). Isotropic features give -log d.

    Raises ``SettingError`` where the spectrum is not centred and normalised.

    >>> s = spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), normalized=True)
    >>> log_singular_values(s).round(4).tolist()
    [-0.4055, -0.4055]
    """
    if not (spectrum.centred and spectrum.normalized):
        raise SettingError(
            "the log spectrum must be of centred, L2-normalised features. Got another. Use spectrum_of(x, normalized=True)."
        )
    with np.errstate(divide="ignore"):
        return np.log(spectrum.eigenvalues * (spectrum.n / (spectrum.n - 1)))


def mean_std(spectrum: Spectrum) -> float:
    """(1/d) sum_k std(z_k), the standard deviations over n (not n - 1).

    Of features as they are (``std``): arbitrary for methods that use cosines, about 1 for a healthy VICReg embedding, whose
    collapse is 0 (measured: 0.004). Of unit rows (``normalized_std``; Chen and He, CVPR 2021, section 4.1): range 0 (all
    directions equal) to 1/sqrt(d) (spread evenly, healthy), so that sqrt(d) * normalized_std is comparable across widths;
    equals at most sqrt(1 - mean_norm^2) / sqrt(d).

    >>> round(mean_std(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), normalized=True)) * 2**0.5, 6)
    1.0
    """
    return float(np.sqrt(spectrum.variance).mean())


def mean_cosine(spectrum: Spectrum) -> float:
    """Mean cosine of two different rows, exactly: (||sum_i u_i||^2 - sum_i ||u_i||^2) / (n (n - 1)), u_i = z_i / ||z_i||.

    Of normalised rows, not centred. Range -1/(n - 1) to 1. Healthy embeddings are near 0, non-negative ones (after a ReLU)
    at 0.3 to 0.95 without being collapsed; complete collapse is 1. Invariant to rotation and order, and to the scale of
    each row.

    >>> mean_cosine(spectrum_of(np.array([[2.0, 0], [0, 1.0]]), normalized=True))
    0.0
    """
    _unit_only(spectrum, "mean cosine")
    along = float(spectrum.mean @ spectrum.mean)
    lengths = float(spectrum.variance.sum()) + along
    return min((spectrum.n * along - lengths) / (spectrum.n - 1), 1.0)


def mean_norm(spectrum: Spectrum) -> float:
    """||(1/n) sum_i u_i||, u_i = z_i / ||z_i||: the length of the mean direction.

    Range 0 to 1; its square is the share of the rows' energy that lies along their mean. Healthy near 0 (1/sqrt(n) by
    chance), mean shift and complete collapse near 1.

    >>> mean_norm(spectrum_of(np.array([[2.0, 0], [5.0, 0]]), normalized=True))
    1.0
    """
    _unit_only(spectrum, "norm of the mean")
    return min(float(np.sqrt(spectrum.mean @ spectrum.mean)), 1.0)


def _unit_only(spectrum: Spectrum, name: str) -> None:
    if not spectrum.normalized:
        raise SettingError(f"the {name} must be of L2-normalised features. Got others. Use spectrum_of(x, normalized=True).")


@dataclass(frozen=True)
class Definition:
    """What a measure is computed from."""

    function: Callable[[Spectrum], float]
    centred: bool
    normalized: bool


MEASURES: dict[str, Definition] = {
    "std": Definition(mean_std, True, False),
    "normalized_std": Definition(mean_std, True, True),
    "mean_cosine": Definition(mean_cosine, False, True),
    "mean_norm": Definition(mean_norm, False, True),
    "effective_rank": Definition(effective_rank, True, False),
    "rankme": Definition(rankme, False, False),
    "rankme_eigenvalues": Definition(rankme_eigenvalues, True, False),
    "participation_ratio": Definition(participation_ratio, True, False),
    "stable_rank": Definition(stable_rank, True, False),
    "nesum": Definition(nesum, True, False),
    "numerical_rank": Definition(numerical_rank, True, False),
    "cev_auc": Definition(cev_auc, True, False),
    "cev_auc_normalized": Definition(cev_auc, True, True),
}
"""every scalar measure by its file-safe name"""


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All measures of one space, and the spectra that they came from."""

    n: int
    d: int
    values: dict[str, float]
    """{name in MEASURES: value}"""
    centred: Spectrum
    uncentred: Spectrum
    unit: Spectrum
    """centred, of L2-normalised rows: what the figure draws"""

    def row(self, eigenvalues: int = 0) -> dict[str, Any]:
        """{"n", "d", measures}, with the first so many eigenvalues of ``unit`` where asked for: plain numbers for JSON."""
        extra = {"eigenvalues": self.unit.eigenvalues[:eigenvalues].tolist()} if eigenvalues else {}
        return {"n": self.n, "d": self.d, **self.values, **extra}

    def document(self) -> dict[str, dict[str, float | int | bool]]:
        """{name: {"value", "n", "d", "bound", "centred", "normalized"}}: each value with what a reader must know about
        it.
        """
        return {
            name: {
                "value": value,
                "n": self.n,
                "d": self.d,
                "bound": min(self.n - 1 if MEASURES[name].centred else self.n, self.d),
                "centred": MEASURES[name].centred,
                "normalized": MEASURES[name].normalized,
            }
            for name, value in self.values.items()
        }


def analyse(x: Array | Tensor | str | Path, *, on_rows: Callable[[int], None] | None = None) -> Analysis:
    """Every measure of features [n, d] (array, tensor, file or table folder), with one eigendecomposition a needed form:
    three.

    The rows are read twice (as they are, and normalised); ``on_rows`` is told how many rows each block had.
    """
    features = load_features(x)
    centred, uncentred = spectra_of(features, (True, False), on_rows=on_rows)
    unit = spectra_of(features, (True,), normalized=True, on_rows=on_rows)[0]
    forms = {(True, False): centred, (False, False): uncentred, (True, True): unit, (False, True): unit}
    # The two measures of uncentred unit rows need only their mean and variance, which the centred spectrum has.
    values = {name: each.function(forms[each.centred, each.normalized]) for name, each in MEASURES.items()}
    return Analysis(n=unit.n, d=unit.d, values=values, centred=centred, uncentred=uncentred, unit=unit)


def measure_all(x: Array | Tensor | str | Path, *, eigenvalues: int = 0) -> dict[str, Any]:
    """{"n", "d", and every measure of ``MEASURES``} of features [n, d]; with ``eigenvalues`` also the first so many
    eigenvalues of the covariance of the L2-normalised rows, descending.

    >>> row = measure_all(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    >>> row["n"], row["d"], round(row["effective_rank"], 6), round(row["cev_auc"], 6)
    (4, 2, 2.0, 0.75)
    """
    return analyse(x).row(eigenvalues)


def measure(x: Spectrum | Array | Tensor | str | Path, name: str) -> float:
    """One measure by its name, of features or of a fitting spectrum; ``SettingError`` names the nearest where there is
    none.

    >>> measure(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), "participation_ratio")
    2.0
    """
    if name not in MEASURES:
        raise SettingError(f"Unknown measure '{name}'.{did_you_mean(name, MEASURES)} There are: {', '.join(MEASURES)}.")
    each = MEASURES[name]
    if isinstance(x, Spectrum):
        return each.function(x)
    return each.function(spectrum_of(x, centred=each.centred, normalized=each.normalized))


def cheap_measures(x: Array | Tensor) -> dict[str, float | int]:
    """{"n", "d", "std", "normalized_std", "mean_cosine", "mean_norm"} of [n, d] without an eigendecomposition.

    On the tensor's device, in float64, with one transfer at the end; 512 x 256 takes under a millisecond on a CPU. The
    values are those of ``measure_all`` (equal rows give a normalised std of up to 1e-8 where that gives 0). Raises
    ``DataError`` where they are not finite or there is one row only.

    >>> cheap_measures(torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))["mean_norm"]
    0.0
    """
    rows = (x.detach() if isinstance(x, Tensor) else torch.tensor(x)).double()
    if rows.ndim != 2:
        raise ShapeError(f"features must be [n, d]. Got {rows.ndim} axes: {list(rows.shape)}.")
    n, d = rows.shape
    if n < 2:
        raise DataError(f"the spread of features needs at least 2 rows. Got {n}.")
    each = rows.new_full((n,), 1 / n)
    squares = rows * rows
    inverse = squares.sum(dim=1).sqrt_().clamp_min_(1e-12).reciprocal_()
    direction = (each * inverse) @ rows
    along = direction @ direction
    # Matrix-vector products: torch's own var over rows takes twice the time of all of this together.
    unit_variance = ((each * inverse.square()) @ squares - direction.square()).clamp_min_(0.0)
    variance = each @ (rows - each @ rows).square_()
    cosine = (n * along - unit_variance.sum() - along) / (n - 1)
    numbers = torch.stack(
        [variance.sqrt().mean(), unit_variance.sqrt().mean(), cosine.clamp_max(1.0), along.clamp_max(1.0).sqrt()]
    ).tolist()
    if not np.isfinite(numbers).all():
        raise DataError("features must be finite. Got NaN or infinity in a batch; the loss terms of that step tell where from.")
    return {"n": n, "d": d, **dict(zip(CHEAP, numbers, strict=True))}
