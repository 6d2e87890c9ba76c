"""How fast a spectrum falls: its curves, their areas, the exponent of a power law, the ratio of its ends."""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import DataError, SettingError
from fullrank.types import Spectrum

FIRST, LAST = 11, 100
"""ranks that alpha-ReQ's authors fit in their library (reptrix); in the code of their paper's experiments from rank 4 on"""
BELOW = -60.0
"""where a picture draws the logarithm of a singular value of zero: well below its axis, so that the cliff shows"""


def cumulative_explained_variance(spectrum: Spectrum) -> NDArray[np.float64]:
    """CEV(k) = sum_{j<=k} sigma_j / sum_j sigma_j, [min(n, d)], of the singular values, which are not squared.

    Li, Efros and Pathak (ECCV 2022, arXiv 2209.15007) draw it for centred features. A straight line is healthy; a curve
    that is 1 from the start is collapsed; all rows equal gives 1 everywhere.

    >>> from fullrank.spectrum.covariance import spectrum_of
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

    >>> from fullrank.spectrum.covariance import spectrum_of
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

    >>> from fullrank.spectrum.covariance import spectrum_of
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


def drawn_log_singular_values(spectrum: Spectrum, lowest: float = BELOW) -> NDArray[np.float64]:
    """What a picture shows of ``log_singular_values``: the first min(n - 1, d), none of them below ``lowest``.

    So few rows span no further directions, whatever encoder made them: drawn, they would look like its collapse.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> s = spectrum_of(np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]), normalized=True)
    >>> drawn_log_singular_values(s, -25.0).round(4).tolist()
    [-0.6931, -0.6931]
    """
    return np.maximum(log_singular_values(spectrum)[: spectrum.bound], lowest)


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """A line through log lambda_k over log k."""

    alpha: float
    """minus its slope"""
    r2: float
    """share of the variance of log lambda_k within the range that the line explains; 1 where there is none"""
    first: int
    last: int
    """ranks that were fitted, from 1, both included"""


def power_law(spectrum: Spectrum, *, first: int = FIRST, last: int = LAST, weighted: bool = True) -> PowerLaw:
    """alpha-ReQ: lambda_k ~ k^(-alpha), fitted to log lambda_k over log k by least squares with weights 1/k.

    Agrawal, Mondal, Ghosh and Richards (NeurIPS 2022). The paper fits "the eigenspectrum in log-log scale" and says neither
    range nor weights; its authors' library takes ranks 11 to 100 and weights 1/k (``alpha_req``), the code of its experiments
    ranks 4 to 100 (``alpha_req_4_100``), the words alone all ranks without weights (``alpha_req_all``). Of centred features,
    not normalised; eigenvalues of 0 end the range. Isotropic 0, healthy near 1, collapse is large. Exact where the spectrum is
    a power law.

    Raises ``DataError`` where fewer than three eigenvalues are left: narrow features, or collapsed ones.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> s = spectrum_of(np.diag([1.0, 1 / 2, 1 / 3, 1 / 4]), centred=False)  # lambda_k ~ k^(-2)
    >>> round(power_law(s, first=1).alpha, 6)
    2.0
    """  # noqa: D403
    last = min(last, int(np.sum(spectrum.eigenvalues > 0)))
    if last < first + 2:
        raise DataError(
            f"alpha-ReQ must have at least 3 eigenvalues above 0 from rank {first} on. Got {max(last - first + 1, 0)} of "
            f"d = {spectrum.d}; alpha_req_all fits all ranks."
        )
    rank = np.arange(first, last + 1, dtype=np.float64)
    x, y = np.log(rank), np.log(spectrum.eigenvalues[first - 1 : last])
    weight = 1.0 / rank if weighted else np.ones_like(rank)
    weight /= weight.sum()
    about_x, about_y = x - weight @ x, y - weight @ y
    slope = float((weight * about_x) @ about_y / ((weight * about_x) @ about_x))
    residual = float(np.sum((about_y - slope * about_x) ** 2))
    total = float(np.sum((y - y.mean()) ** 2))
    r2 = 1.0 - residual / total if total > len(rank) * 1e-20 else 1.0
    return PowerLaw(alpha=0.0 - slope, r2=r2, first=first, last=last)


def linear_ramp_slope(spectrum: Spectrum) -> float:
    """What google-research's graph_embedding publishes as alpha-ReQ: the slope of log sigma_k over a ramp from 1 to 0.

    Least squares of log(sigma_k + 1e-12), k = 1..min(n, d), on linspace(1, 0): the exponential decay over all ranks of the
    uncentred features, another quantity under one name. Range [0, inf); isotropic 0. It rises with a dimensional collapse and
    falls again to near 0 at rank one, because the logs of all zeros are the epsilon's: 12.1 for rank 128 of 2,048, 0.1 for
    rank one. All rows zero 0.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(linear_ramp_slope(spectrum_of(np.diag([4.0, 2.0, 1.0]), centred=False)), 4)  # 2 log 2
    1.3863
    """
    sigma = spectrum.singular_values
    if len(sigma) < 2:
        return 0.0
    ramp = np.linspace(1.0, 0.0, len(sigma))
    return float(np.polyfit(ramp, np.log(sigma + 1e-12), 1)[0]) + 0.0


def condition_number(spectrum: Spectrum) -> float:
    """sigma_1 / sigma_r, r = min(n - 1, d): how much longer the longest direction is than the shortest.

    Centred, not normalised, no epsilon (stable-pretraining divides by max(sigma_r, 1e-10), uncentred). Range 1 (isotropic) to
    infinity (fewer than r directions; all rows equal). Invariant to rotation, shift, scale and order.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(condition_number(spectrum_of(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]]))), 6)
    3.0
    """
    share = pseudo_condition_number(spectrum)
    return 1.0 / share if share > 0 else inf


def pseudo_condition_number(spectrum: Spectrum) -> float:
    """sigma_r / sigma_1, r = min(n - 1, d), the inverse of ``condition_number``: finite at every collapse.

    Tsitsulin, Munkhoeva and Perozzi (2023, arXiv 2305.16562), here of centred features. Range 0 (fewer than r directions;
    all rows equal) to 1 (isotropic).

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(pseudo_condition_number(spectrum_of(np.array([[4.0, 0], [-4, 0], [0, 1], [0, -1]]))), 6)
    0.25
    """
    sigma = spectrum.singular_values
    return float(sigma[spectrum.bound - 1] / sigma[0]) if sigma[0] > 0 else 0.0
