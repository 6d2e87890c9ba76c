"""How many directions features fill: each a function of one spectrum, with one pinned definition.

Below, sigma_k are the singular values of the (centred) n x d matrix, lambda_k = sigma_k^2 / n the eigenvalues, in descending
order. "All rows equal" leaves no direction, and gives 0. Every rank is invariant to the rotation of features, to one scale of
all of them and to the order of rows; those of centred features to a shift too.
"""

import numpy as np
from numpy.typing import NDArray

from fullrank.errors import SettingError
from fullrank.types import Spectrum

_ROUNDING = 1e-9
"""a share that is short of its mark by so little has reached it"""


def exp_entropy(p: NDArray[np.float64]) -> float:
    """exp(-sum_k p_k log p_k), 0 log 0 = 0.

    >>> exp_entropy(np.array([0.25, 0.25, 0.25, 0.25]))
    4.0
    """
    inside = p[p > 0]
    return float(np.exp(-np.sum(inside * np.log(inside))))


def effective_rank(spectrum: Spectrum) -> float:
    """How many directions the features fill, weighed by their singular values.

    erank = exp(-sum_k p_k log p_k), p_k = sigma_k / sum_j sigma_j, 0 log 0 = 0 (Roy and Vetterli, EUSIPCO 2007).
    Here of centred features, not normalised; no epsilon. Range 1..min(n - 1, d); all directions equal gives the bound
    (finite n lowers it: 0.9 of d at n = 2d), one direction 1, all rows equal 0 (no direction). Mind: noise has full rank,
    so read the scale first.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> effective_rank(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    2.0
    """
    sigma = spectrum.singular_values
    total = float(sigma.sum())
    return exp_entropy(sigma / total) if total > 0 else 0.0


def rankme(spectrum: Spectrum, *, epsilon: float = 1e-7) -> float:
    """RankMe: the exponential of the entropy of the singular values of the features as they are.

    RankMe(Z) = exp(-sum_k p_k log p_k), p_k = sigma_k / ||sigma||_1 + epsilon, k = 1..min(n, d) (Garrido et al., ICML
    2023): uncentred, not normalised, epsilon 1e-7 added and not renormalised. Range 1..min(n, d), and by its epsilon
    slightly above (2,051 for isotropic features of d = 2,048; rank one gives 1.003 there); all rows zero gives 0. A common
    direction lowers it although the covariance is fine: that is a mean shift, which ``effective_rank`` doesn't see.
    Epsilon 1e-5 (``rankme_epsilon_1e5``, stable-pretraining) gives 1.27 for rank one at d = 2,048.

    Raises ``SettingError`` for a centred or normalised spectrum.

    >>> from fullrank.spectrum.covariance import spectrum_of
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
    return exp_entropy(sigma / total + epsilon) if total > 0 else 0.0


def rankme_eigenvalues(spectrum: Spectrum) -> float:
    """The variant of RankMe that other libraries publish under its name: from eigenvalues, centred.

    exp(-sum_k p_k log p_k), p_k = lambda_k / sum_j lambda_j: the entropy of explained-variance ratios (reptrix, which adds
    1e-7 to each p_k). Never above ``effective_rank``: 281 against 1,587 on lambda_i = 1/i, d = 2,048. Range and collapse
    values as there.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> rankme_eigenvalues(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    2.0
    """
    total = float(spectrum.eigenvalues.sum())
    return exp_entropy(spectrum.eigenvalues / total) if total > 0 else 0.0


def vendi(spectrum: Spectrum) -> float:
    """Vendi score with the cosine as similarity: how many different directions there are among the rows.

    exp(-sum_k mu_k log mu_k), mu_k the eigenvalues of K / n, K_ij = u_i . u_j, u_i = z_i / ||z_i|| (Friedman and Dieng, TMLR
    2023, arXiv 2210.02410): those of the second moment of unit rows. Uncentred, normalised, no epsilon. Range 1..min(n, d):
    isotropic d, all rows in one direction 1, all zero 0. A mean shift lowers it. Invariant to the scale of each row. Rows of
    zeros have no direction and do not count: the mu_k are divided by their sum.

    Raises ``SettingError`` for another form of spectrum.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> round(vendi(spectrum_of(np.array([[2.0, 0], [0, 1.0]]), centred=False, normalized=True)), 6)
    2.0
    """
    if spectrum.centred or not spectrum.normalized:
        raise SettingError(
            "the Vendi score must be of unit rows, not centred. Got another spectrum; use spectrum_of(x, centred=False, "
            "normalized=True)."
        )
    return rankme_eigenvalues(spectrum)


def participation_ratio(spectrum: Spectrum) -> float:
    """(sum_k lambda_k)^2 / sum_k lambda_k^2: directions that share the variance.

    Centred, not normalised. Range 1..min(n - 1, d); isotropic d, one direction 1, all rows equal 0. Dominated by the
    largest eigenvalues.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> participation_ratio(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    2.0
    """
    squares = float(np.sum(spectrum.eigenvalues**2))
    return float(spectrum.eigenvalues.sum() ** 2 / squares) if squares > 0 else 0.0


def iso_score(spectrum: Spectrum) -> float:
    """IsoScore: how evenly all dimensions are used, 0 (one direction) to 1 (isotropic).

    With lambda^ = sqrt(d) lambda / ||lambda||_2 and the defect delta = ||lambda^ - 1||_2 / sqrt(2 (d - sqrt d)), phi =
    (d - delta^2 (d - sqrt d))^2 / d^2 is the share of dimensions used and (d phi - 1) / (d - 1) the score (Rudman, Gillman,
    Rayne and Eickhoff, Findings of ACL 2022, arXiv 2108.07344). Inserted, d phi is the participation ratio, so the score is
    (participation ratio - 1) / (d - 1). Centred, not normalised, no epsilon; at most (n - 2) / (d - 1); all rows equal gives
    0; of d = 1 it says nothing and is 0.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> iso_score(spectrum_of(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]])))
    1.0
    """
    return max(participation_ratio(spectrum) - 1.0, 0.0) / (spectrum.d - 1) if spectrum.d > 1 else 0.0


def nesum(spectrum: Spectrum) -> float:
    """sum_k lambda_k / lambda_1 (He and Ozay, ICML 2022, definition 4.1).

    Centred, not normalised. Range 1..min(n - 1, d); isotropic d, one direction 1, all rows equal 0.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> nesum(spectrum_of(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])))
    1.25
    """
    largest = float(spectrum.eigenvalues[0])
    return float(spectrum.eigenvalues.sum()) / largest if largest > 0 else 0.0


def stable_rank(spectrum: Spectrum) -> float:
    """||Z||_F^2 / ||Z||_2^2 = sum_k sigma_k^2 / sigma_1^2.

    ``stable_rank`` is of centred features, where it equals NESum; ``stable_rank_uncentred`` of features as they are
    (Tsitsulin, Munkhoeva and Perozzi, 2023, arXiv 2305.16562), which a common direction pulls to 1. Range 1..min(n - 1, d);
    isotropic d, one direction 1, all rows equal 0 (uncentred 1, all rows zero 0).

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> stable_rank(spectrum_of(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])))
    1.25
    """
    return nesum(spectrum)


def numerical_rank(spectrum: Spectrum, *, tolerance: float = 1e-4) -> int:
    """Directions that are used at all: #{k : sigma_k > tolerance * sigma_1}.

    Centred, not normalised. Range 1..min(n - 1, d); all rows equal 0. The classic tolerance, max(n, d) times the machine's
    epsilon, is below what a squared matrix or float32 features can show, so it is 1e-4 here: planted rank r gives r,
    healthy networks give nearly all.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> numerical_rank(spectrum_of(np.array([[1.0, 1, 0], [-1, -1, 0], [2, 2, 0]])))
    1
    """
    sigma = spectrum.singular_values
    return int(np.sum(sigma > tolerance * sigma[0]))


def rank_at(spectrum: Spectrum, share: float) -> int:
    """The smallest k with CEV(k) = sum_{j<=k} sigma_j / sum_j sigma_j >= share: directions that hold so much of the sum.

    By singular values, as the cumulative explained variance of Li, Efros and Pathak (ECCV 2022); ``variance_rank_at`` squares
    them. Centred, not normalised. Range 1..min(n - 1, d); isotropic share * d, rounded up; one direction 1, all rows equal 0.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> rank_at(spectrum_of(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])), 0.9)  # 3/4, 1
    2
    """
    return _smallest(spectrum.singular_values, share)


def variance_rank_at(spectrum: Spectrum, share: float) -> int:
    """The smallest k with sum_{j<=k} lambda_j / sum_j lambda_j >= share: principal components that explain so much variance.

    Never above ``rank_at``. Range and collapse values as there.

    >>> from fullrank.spectrum.covariance import spectrum_of
    >>> variance_rank_at(spectrum_of(np.array([[3.0, 0], [-3, 0], [0, 1], [0, -1]])), 0.9)  # 9/10, 1
    1
    """
    return _smallest(spectrum.eigenvalues, share)


def _smallest(weights: NDArray[np.float64], share: float) -> int:
    if not 0 < share <= 1:
        raise SettingError(f"the share must be above 0 and at most 1. Got {share:g}.")
    reached = np.cumsum(weights)
    if not reached[-1] > 0:
        return 0
    return int(np.argmax(reached >= (share - _ROUNDING) * reached[-1])) + 1
