"""How far apart rows are, and whether dimensions move together: functions of one spectrum that read scale, not rank."""

import numpy as np

from fullrank.errors import SettingError
from fullrank.types import Spectrum

DEAD_RATIO = 0.01
"""a dimension is dead below this share of the largest standard deviation"""


def mean_std(spectrum: Spectrum) -> float:
    """(1/d) sum_k std(z_k), the standard deviations over n (not n - 1).

    Of features as they are (``std``): arbitrary for methods that use cosines, about 1 for a healthy VICReg embedding, whose
    collapse is 0 (measured: 0.004). Of unit rows (``normalized_std``; Chen and He, CVPR 2021, section 4.1): range 0 (all
    directions equal) to 1/sqrt(d) (spread evenly, healthy), so that sqrt(d) * normalized_std is comparable across widths;
    equals at most sqrt(1 - mean_norm^2) / sqrt(d).

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(mean_std(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), normalized=True)) * 2**0.5, 6)
    1.0
    """
    return float(np.sqrt(spectrum.variance).mean())


def dead_dimensions(spectrum: Spectrum, *, ratio: float = DEAD_RATIO) -> float:
    """Share of dimensions that do (nearly) not vary: #{k : std(z_k) <= ratio * max_j std(z_j)} / d.

    Of features as they are. Range 0 (healthy) to 1 (all rows equal). A dead dimension is a unit that a ReLU or a BatchNorm
    switched off; a dimensional collapse needs none, since it may lie across all units. Invariant to shift, to scale and to
    the order of rows and dimensions, not to rotation.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> dead_dimensions(spectrum_of(np.array([[1.0, 5, 5, 5], [-1.0, 5, 5, 5]])))
    0.75
    """
    std = np.sqrt(spectrum.variance)
    rounding = 4 * float(np.finfo(np.float64).eps) * float(np.linalg.norm(spectrum.mean))
    return float(np.mean(std <= max(ratio * float(std.max()), rounding)))


def mean_cosine(spectrum: Spectrum) -> float:
    """Mean cosine of two different rows, exactly: (||sum_i u_i||^2 - sum_i ||u_i||^2) / (n (n - 1)), u_i = z_i / ||z_i||.

    Of normalised rows, not centred. Range -1/(n - 1) to 1. Healthy embeddings are near 0, non-negative ones (after a ReLU)
    at 0.3 to 0.95 without being collapsed; complete collapse is 1. Invariant to rotation and order, and to the scale of
    each row.

    >>> from fullrank.spectrum.covariance import spectrum_of
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

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> mean_norm(spectrum_of(np.array([[2.0, 0], [5.0, 0]]), normalized=True))
    1.0
    """
    _unit_only(spectrum, "norm of the mean")
    return min(float(np.sqrt(spectrum.mean @ spectrum.mean)), 1.0)


def off_diagonal_covariance(spectrum: Spectrum) -> float:
    """(1/d) sum_{i != j} C_ij^2, C the covariance over n - 1: VICReg's covariance term of one view.

    Bardes, Ponce and LeCun (ICLR 2022, arXiv 2105.04906, equation 4). As sum_ij C_ij^2 = sum_k lambda_k^2, it follows from
    eigenvalues and variances. Centred, features as they are, so it grows with the fourth power of their scale, and is near 0
    at a complete collapse: read it beside ``std``, or take ``off_diagonal_correlation``. Range [0, inf); healthy near 0, by
    chance (d - 1) / (n - 1) of independent dimensions of variance 1. Invariant to shift, not to scale or rotation.

    Raises ``SettingError`` for a spectrum that is not centred.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(off_diagonal_covariance(spectrum_of(np.array([[1.0, 1.0], [-1.0, -1.0]]))), 6)  # C_ij = 2
    4.0
    """
    if not spectrum.centred:
        raise SettingError("the covariance must be of centred features. Got others. Use spectrum_of(x).")
    unbiased = spectrum.n / (spectrum.n - 1)
    rest = float(np.sum(spectrum.eigenvalues**2) - np.sum(spectrum.variance**2))
    return max(rest, 0.0) * unbiased**2 / spectrum.d


def self_cluster(spectrum: Spectrum) -> float:
    """SelfCluster: how much more alike rows are than random directions, 0 (as random ones) to 1 (one point).

    (||U U^T||_F^2 - e) / (n^2 - e), U the unit rows, e = n + n (n - 1) / d what random directions give (Tsitsulin, Munkhoeva
    and Perozzi, 2023, arXiv 2305.16562). As ||U U^T||_F^2 = n^2 sum_k mu_k^2 with the eigenvalues of the second moment of unit
    rows, it needs no n x n matrix. Uncentred, normalised, no epsilon. A little below 0 where rows are spread more evenly than
    random ones; 1 where all lie along one line, also at a complete collapse (but all rows zero: no direction, below 0);
    of d = 1 it says nothing and is 0.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(self_cluster(spectrum_of(np.array([[2.0, 0], [3.0, 0]]), centred=False, normalized=True)), 6)
    1.0
    """
    _second_moment_only(spectrum, "SelfCluster")
    n, d = spectrum.n, spectrum.d
    expected = n + n * (n - 1) / d
    return (n**2 * float(np.sum(spectrum.eigenvalues**2)) - expected) / (n**2 - expected) if d > 1 else 0.0


def coding_rate(spectrum: Spectrum, *, epsilon_squared: float = 0.5) -> float:
    """Nats a row that coding the rows up to a distortion epsilon takes: (1/2) log det(I + d / (n epsilon^2) U^T U).

    U the unit rows; epsilon^2 = 0.5 (Yu, Chan, You, Song and Ma, "MCR^2", NeurIPS 2020, arXiv 2006.08558). Equals
    (1/2) sum_k log(1 + d mu_k / epsilon^2), mu_k the eigenvalues of the second moment. Uncentred, normalised. Range from
    (1/2) log(1 + d / epsilon^2), all rows in one direction, to (d/2) log(1 + 1 / epsilon^2), isotropic; all zero 0. Invariant
    to rotation, order, and the scale of each row.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> s = spectrum_of(np.array([[2.0, 0], [0, 1.0]]), centred=False, normalized=True)
    >>> round(coding_rate(s), 4)  # log 3
    1.0986
    """
    _second_moment_only(spectrum, "coding rate")
    return 0.5 * float(np.sum(np.log1p(spectrum.d / epsilon_squared * spectrum.eigenvalues)))


def _unit_only(spectrum: Spectrum, name: str) -> None:
    if not spectrum.normalized:
        raise SettingError(f"the {name} must be of L2-normalised features. Got others. Use spectrum_of(x, normalized=True).")


def _second_moment_only(spectrum: Spectrum, name: str) -> None:
    if spectrum.centred or not spectrum.normalized:
        raise SettingError(
            f"the {name} must be of unit rows, not centred. Got another spectrum; use spectrum_of(x, centred=False, "
            "normalized=True)."
        )
