"""The table of measures that a spectrum gives.

The form from the paper has the plain name; what others publish under the same name has a name of its own, and follows it.
"""

from functools import partial
from typing import Any

from fullrank.spectrum import decay, ranks, spread
from fullrank.spectrum.definition import AS_IS, RANK, TSITSULIN, UNIT, Definition
from fullrank.types import Spectrum


def _alpha(spectrum: Spectrum, **fit: Any) -> float:
    return decay.power_law(spectrum, **fit).alpha


def _alpha_r2(spectrum: Spectrum) -> float:
    return decay.power_law(spectrum).r2


_ALPHA: dict[str, Any] = {"span": "0 to inf", "healthy": "near 1; isotropic 0", "collapsed": "no value; dimensional: large"}

SPECTRAL: dict[str, Definition] = {
    "std": Definition(
        function=spread.mean_std,
        equation="mean_k std(z_k)",
        paper="classic",
        span="0 to inf",
        healthy="what the method fixes (VICReg: 1)",
        collapsed="0",
    ),
    "normalized_std": Definition(
        function=spread.mean_std,
        normalized=True,
        equation="mean_k std(u_k)",
        paper="Chen and He, CVPR 2021",
        span="0 to 1/sqrt(d)",
        healthy="near 1/sqrt(d)",
        collapsed="0",
    ),
    "dead_dimensions": Definition(
        function=spread.dead_dimensions,
        equation="share of k with std(z_k) <= 0.01 max_j std(z_j)",
        paper="practice",
        span="0 to 1",
        healthy="0",
        collapsed="1",
    ),
    "mean_cosine": Definition(
        function=spread.mean_cosine,
        **UNIT,
        has_eigenvalues=False,
        equation="mean over i != j of u_i . u_j",
        paper="classic",
        span="-1/(n-1) to 1",
        healthy="near 0; after a ReLU 0.3 to 0.95",
        collapsed="1",
    ),
    "mean_norm": Definition(
        function=spread.mean_norm,
        **UNIT,
        has_eigenvalues=False,
        equation="norm of mean_i u_i",
        paper="classic",
        span="0 to 1",
        healthy="near 0; after a ReLU 0.5 to 0.97",
        collapsed="1; mean shift: near 1",
    ),
    "off_diagonal_covariance": Definition(
        function=spread.off_diagonal_covariance,
        equation="(1/d) sum_(i != j) C_ij^2, C over n-1",
        paper="Bardes et al., ICLR 2022",
        span="0 to inf",
        healthy="near 0",
        collapsed="0; dimensional: up to (d-1) std^4",
    ),
    "effective_rank": Definition(
        function=ranks.effective_rank, **RANK, equation="exp H(sigma_k / sum sigma)", paper="Roy and Vetterli, EUSIPCO 2007"
    ),
    "rankme": Definition(
        function=ranks.rankme,
        **AS_IS,
        **{**RANK, "span": "1 to min(n, d)", "collapsed": "1; all zero 0"},
        equation="exp H(sigma_k / sum sigma + eps)",
        epsilon="1e-7, not renormalised",
        paper="Garrido et al., ICML 2023",
    ),
    "rankme_eigenvalues": Definition(
        function=ranks.rankme_eigenvalues, **RANK, equation="exp H(lambda_k / sum lambda)", paper="reptrix's RankMe"
    ),
    "rankme_epsilon_1e5": Definition(
        is_live=False,
        function=partial(ranks.rankme, epsilon=1e-5),
        **AS_IS,
        **{**RANK, "span": "1 to above min(n, d)", "collapsed": "1 to 2.6, with d; all zero 0"},
        equation="exp H(sigma_k / sum sigma + eps)",
        epsilon="1e-5, not renormalised",
        paper="stable-pretraining's RankMe",
    ),
    "participation_ratio": Definition(
        function=ranks.participation_ratio, **RANK, equation="(sum lambda)^2 / sum lambda^2", paper="classic"
    ),
    "nesum": Definition(function=ranks.nesum, **RANK, equation="sum lambda / lambda_1", paper="He and Ozay, ICML 2022"),
    "stable_rank": Definition(function=ranks.stable_rank, **RANK, equation="sum sigma^2 / sigma_1^2", paper="classic"),
    "stable_rank_uncentred": Definition(
        is_live=False,
        function=ranks.stable_rank,
        **AS_IS,
        **{**RANK, "span": "1 to min(n, d)", "collapsed": "1; all zero 0"},
        equation="sum sigma^2 / sigma_1^2",
        paper=TSITSULIN,
    ),
    "numerical_rank": Definition(
        function=ranks.numerical_rank, **RANK, equation="number of sigma_k > 1e-4 sigma_1", paper="classic"
    ),
    **{
        f"rank_{share}": Definition(
            function=partial(ranks.rank_at, share=share / 100),
            **{**RANK, "healthy": f"near {share / 100:g} d"},
            equation=f"least k with sum_(j<=k) sigma_j >= {share / 100:g} sum sigma",
            paper="Li et al., ECCV 2022 (its curve)",
        )
        for share in (90, 95, 99)
    },
    **{
        f"variance_rank_{share}": Definition(
            is_live=False,
            function=partial(ranks.variance_rank_at, share=share / 100),
            **{**RANK, "healthy": f"near {share / 100:g} d"},
            equation=f"least k with sum_(j<=k) lambda_j >= {share / 100:g} sum lambda",
            paper="classic",
        )
        for share in (90, 95, 99)
    },
    "vendi": Definition(
        function=ranks.vendi,
        **UNIT,
        **{**RANK, "span": "1 to min(n, d)", "collapsed": "1; all zero 0"},
        equation="exp H(eigenvalues of U U^T / n)",
        paper="Friedman and Dieng, TMLR 2023",
    ),
    "iso_score": Definition(
        function=ranks.iso_score,
        equation="(participation ratio - 1) / (d - 1)",
        paper="Rudman et al., ACL Findings 2022",
        span="0 to 1",
        healthy="near 1",
        collapsed="0; rank one 0",
    ),
    "cev_auc": Definition(
        function=decay.cev_auc,
        equation="(1/r) sum_k CEV(k), r = min(n, d)",
        paper="Li et al., ECCV 2022",
        span="(r+1)/(2r) to 1",
        healthy="near 0.5",
        collapsed="1; rank one 1",
    ),
    "cev_auc_normalized": Definition(
        function=decay.cev_auc,
        normalized=True,
        equation="(1/r) sum_k CEV(k), r = min(n, d)",
        paper="Li et al.'s curve of unit rows, as the figure prints it",
        span="(r+1)/(2r) to 1",
        healthy="near 0.5",
        collapsed="1; rank one 1",
    ),
    "alpha_req": Definition(
        function=_alpha,
        **_ALPHA,
        equation="-slope of log lambda_k on log k, k = 11..100, weights 1/k",
        paper="Agrawal et al., NeurIPS 2022, with their library's range",
    ),
    "alpha_req_r2": Definition(
        function=_alpha_r2,
        equation="share of var(log lambda_k), k = 11..100, that alpha_req's line explains",
        paper="Agrawal et al., NeurIPS 2022",
        span="-inf to 1",
        healthy="near 1: a power law",
        collapsed="no value",
    ),
    "alpha_req_4_100": Definition(
        is_live=False,
        function=partial(_alpha, first=4),
        **_ALPHA,
        equation="the same, k = 4..100, weights 1/k",
        paper="the code of Agrawal et al.'s experiments",
    ),
    "alpha_req_all": Definition(
        is_live=False,
        function=partial(_alpha, first=1, last=1 << 30, weighted=False),
        **_ALPHA,
        equation="the same, all k, no weights",
        paper="Agrawal et al.'s words taken literally",
    ),
    "alpha_req_linear_ramp": Definition(
        is_live=False,
        function=decay.linear_ramp_slope,
        **AS_IS,
        equation="slope of log(sigma_k + eps) on a ramp from 1 to 0 over all k",
        epsilon="1e-12",
        paper="google-research's alpha-ReQ",
        span="0 to inf",
        healthy="low; isotropic 0",
        collapsed="near 0 again; dimensional: large",
    ),
    "condition_number": Definition(
        is_live=False,
        function=decay.condition_number,
        equation="sigma_1 / sigma_r, r = min(n-1, d)",
        paper="classic",
        span="1 to inf",
        healthy="low",
        collapsed="inf",
    ),
    "pseudo_condition_number": Definition(
        function=decay.pseudo_condition_number,
        equation="sigma_r / sigma_1",
        paper=TSITSULIN,
        span="0 to 1",
        healthy="high",
        collapsed="0",
    ),
    "self_cluster": Definition(
        function=spread.self_cluster,
        **UNIT,
        equation="(norm(U U^T)_F^2 - e) / (n^2 - e), e = n + n(n-1)/d",
        paper=TSITSULIN,
        span="about 0 to 1",
        healthy="near 0",
        collapsed="1",
    ),
    "coding_rate": Definition(
        function=spread.coding_rate,
        **UNIT,
        equation="(1/2) log det(I + d/(n eps^2) U^T U), eps^2 = 0.5",
        paper="Yu et al., NeurIPS 2020",
        span="log(1 + 2d)/2 to (d/2) log 3",
        healthy="near (d/2) log 3",
        collapsed="log(1 + 2d)/2",
    ),
}
