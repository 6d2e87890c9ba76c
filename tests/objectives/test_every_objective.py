"""No objective without a loop over its paper's equation and without a gradcheck: what is added and not named here fails."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fullrank import objectives
from fullrank.objectives import (
    classification,
    clustering,
    contrastive,
    decorrelation,
    distillation,
    gaussianity,
    reconstruction,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, -1, 2])
HIDDEN = torch.tensor([[True, False, True]] * 2)
USABLE = torch.tensor([[True, True, False, True]] * 3)
PART = torch.arange(8).view(2, 4)
UNIT = F.normalize(normal(3, 4, seed=5), dim=0)

GRADIENTS: dict[str, list[tuple[Callable[..., Any], tuple[Tensor, ...]]]] = {
    "classification.cross_entropy": [(lambda x: classification.cross_entropy(x, LABELS).loss, (normal(3, 4),))],
    "clustering.swapped_prediction": [
        (clustering.swapped_prediction, (normal(4, 2, 5).softmax(-1), normal(4, 3, 5, seed=1).tanh()))
    ],
    "contrastive.nt_xent": [(contrastive.nt_xent, (normal(3, views, 4),)) for views in (2, 3)],
    "contrastive.info_nce": [
        (lambda q, k, n: contrastive.info_nce(q, k, n).loss, (normal(4, 3), normal(4, 2, 3, seed=1), normal(5, 3, seed=2)))
    ],
    "contrastive.paired_nce": [(lambda a, b: contrastive.paired_nce(a, b).loss, (normal(4, 3), normal(4, 3, seed=1)))],
    # with sigma the weights are detached: test_contrastive.py differentiates that form by hand
    "contrastive.decoupled": [(contrastive.decoupled, (normal(3, views, 4),)) for views in (2, 3)],
    "contrastive.dense_nce": [
        (lambda p, z: contrastive.dense_nce(p, z).loss, (normal(2, 2, 3, 4), normal(2, 2, 3, 4, seed=1)))
    ],
    "contrastive.memory_nce": [
        (
            lambda v, own, others: contrastive.memory_nce(v, own, others, USABLE, temperature=0.5),
            (normal(3, 5), normal(3, 5, seed=1), normal(4, 5, seed=2)),
        )
    ],
    "contrastive.triplet": [
        (lambda z, m=m, n=n: contrastive.triplet(z, margin=0.7, mining=m, normalize=n).loss, (normal(4, views, 3, seed=views),))
        for m in ("semi_hard", "hardest", "all")
        for n in (True, False)
        for views in (2, 3)
    ],
    "decorrelation.invariance": [(decorrelation.invariance, (normal(4, 3), normal(4, 3, seed=1)))],
    "decorrelation.variance": [(decorrelation.variance, (0.5 * normal(5, 3),))],
    "decorrelation.covariance": [(decorrelation.covariance, (normal(5, 3),))],
    "decorrelation.vicreg": [(lambda z: tuple(decorrelation.vicreg(z)), (0.5 * normal(5, views, 3),)) for views in (2, 3)],
    "decorrelation.vicreg_across": [
        (
            lambda x, y: tuple(decorrelation.vicreg_across(x, y, [(0, 1), (1, 0)])),
            (0.5 * normal(5, 2, 3), 0.5 * normal(5, 2, 3, seed=1)),
        )
    ],
    "decorrelation.barlow_twins": [
        (lambda x, y: tuple(decorrelation.barlow_twins(x, y)), (normal(6, 3), normal(6, 3, seed=1)))
    ],
    "decorrelation.whiten": [(lambda v, e=e: decorrelation.whiten(v, epsilon=e), (normal(2, 6, 3),)) for e in (0.0, 0.1)],
    "decorrelation.normalized_mse": [(decorrelation.normalized_mse, (normal(4, views, 3),)) for views in (2, 3)],
    "decorrelation.w_mse": [(lambda v, e=e: decorrelation.w_mse(v, PART, epsilon=e), (normal(8, 3, 2),)) for e in (0.0, 0.1)],
    "decorrelation.second_moment": [(decorrelation.second_moment, (normal(5, 3),))],
    "decorrelation.tico": [
        (lambda z: tuple(decorrelation.tico(z, normal(5, 3, seed=1), normal(3, 3, seed=2))), (normal(5, 3),)),
    ],
    "distillation.regression": [(lambda p: distillation.regression(p, normal(4, 3, seed=1)), (normal(4, 3),))],
    "distillation.negative_cosine": [(distillation.negative_cosine, (normal(4, 3), normal(4, 3, seed=1)))],
    "distillation.self_distillation": [
        (
            lambda s: distillation.self_distillation(s, normal(3, 2, 4, seed=1), normal(4, seed=2)).cross_entropy,
            (normal(3, 3, 4).tanh(),),
        )
    ],
    "gaussianity.epps_pulley": [(gaussianity.epps_pulley, (normal(6, 2),))],
    "gaussianity.lejepa": [(lambda z: tuple(gaussianity.lejepa(z, UNIT, num_global=2)), (normal(4, 3, 3),))],
    "reconstruction.patches": [(lambda x: reconstruction.patches(x, (2, 1, 2)), (normal(1, 2, 2, 2, 4),))],
    "reconstruction.masked_mse": [
        (lambda x, y, n=n: reconstruction.masked_mse(x, y, HIDDEN, normalize=n), (normal(2, 3, 4), normal(2, 3, 4, seed=1)))
        for n in (True, False)
    ],
}
"""every input that the paper's gradient reaches; inputs that an objective detaches are constants here"""

WITHOUT_GRADIENT: dict[str, tuple[Tensor, ...]] = {
    "clustering.sinkhorn": (normal(4, 3),),
    "clustering.assignment_entropies": (normal(4, 3),),
    "contrastive.nearest": (normal(4, 3), normal(5, 3, seed=1)),
}
"""by design: nothing comes back to the inputs"""

LOOPS = {
    "classification.cross_entropy": "test_classification.py::test_is_the_mean_over_labelled_samples",
    "clustering.sinkhorn": "test_clustering.py::test_sinkhorn_is_the_papers_algorithm",
    "clustering.swapped_prediction": "test_clustering.py::test_swapped_prediction_is_the_papers_equation",
    "clustering.assignment_entropies": "test_clustering.py::test_entropies_are_those_of_their_definition",
    "contrastive.nt_xent": "test_contrastive.py::test_two_views_are_the_papers_equation",
    "contrastive.info_nce": "test_contrastive.py::test_info_nce_is_mocos_equation",
    "contrastive.paired_nce": "test_contrastive.py::test_paired_nce_is_nnclrs_algorithm",
    "contrastive.nearest": "test_contrastive.py::test_nearest_is_the_smallest_distance_on_the_sphere",
    "contrastive.decoupled": "test_contrastive.py::test_decoupled_is_the_papers_equation",
    "contrastive.dense_nce": "test_predictive.py::test_dense_nce_equals_a_loop",
    "contrastive.memory_nce": "test_predictive.py::test_memory_nce_equals_a_loop",
    "contrastive.triplet": "test_predictive.py::test_triplet_equals_a_loop",
    "decorrelation.invariance": "test_decorrelation.py::test_each_term_of_vicreg_is_the_papers_equation",
    "decorrelation.variance": "test_decorrelation.py::test_each_term_of_vicreg_is_the_papers_equation",
    "decorrelation.covariance": "test_decorrelation.py::test_each_term_of_vicreg_is_the_papers_equation",
    "decorrelation.vicreg": "test_decorrelation.py::test_is_the_papers_equations",
    "decorrelation.vicreg_across": "test_decorrelation.py::test_vicreg_across_pulls_only_its_pairs_and_spreads_all_views",
    "decorrelation.barlow_twins": "test_decorrelation.py::test_barlow_twins_is_the_papers_equation",
    "decorrelation.whiten": "test_decorrelation.py::test_whitening_is_by_the_inverse_cholesky_factor",
    "decorrelation.normalized_mse": "test_decorrelation.py::test_normalized_mse_is_twice_one_minus_cosine",
    "decorrelation.w_mse": "test_decorrelation.py::test_w_mse_is_the_papers_loss",
    "decorrelation.second_moment": "test_decorrelation.py::test_second_moment_is_the_mean_outer_product_of_unit_rows",
    "decorrelation.tico": "test_decorrelation.py::test_tico_is_the_papers_equation",
    "distillation.regression": "test_distillation.py::test_is_the_squared_distance_of_normalised_vectors",
    "distillation.negative_cosine": "test_distillation.py::test_negative_cosine_is_simsiams_equation_and_reaches_both_sides",
    "distillation.self_distillation": "test_distillation.py::test_self_distillation_is_dinos_equations",
    "gaussianity.epps_pulley": "test_gaussianity.py::test_epps_pulley_is_the_papers_algorithm",
    "gaussianity.lejepa": "test_gaussianity.py::test_lejepa_is_the_papers_algorithm",
    "reconstruction.patches": "test_reconstruction.py::test_patches_are_the_blocks_of_the_clip_in_the_order_time_row_column",
    "reconstruction.masked_mse": "test_reconstruction.py::test_masked_mse_equals_a_loop",
}
"""where the naive loop stands"""


def public() -> dict[str, Callable[..., Any]]:
    """{"module.function"} of all modules of the package, those of tomorrow too."""
    found = {}
    for module in pkgutil.iter_modules(objectives.__path__):
        members = inspect.getmembers(importlib.import_module(f"{objectives.__name__}.{module.name}"), inspect.isfunction)
        here = f"{objectives.__name__}.{module.name}"
        found |= {f"{module.name}.{name}": f for name, f in members if f.__module__ == here and not name.startswith("_")}
    return found


def test_every_public_objective_is_named_here() -> None:
    assert set(GRADIENTS) | set(WITHOUT_GRADIENT) == set(LOOPS) == set(public())
    assert not set(GRADIENTS) & set(WITHOUT_GRADIENT)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str) -> None:
    for function, inputs in GRADIENTS[name]:
        assert torch.autograd.gradcheck(function, tuple(x.clone().requires_grad_() for x in inputs))


@pytest.mark.parametrize("name", WITHOUT_GRADIENT)
def test_no_gradient_by_design(name: str) -> None:
    out = public()[name](*(x.clone().requires_grad_() for x in WITHOUT_GRADIENT[name]))
    assert not any(x.requires_grad for x in (out if isinstance(out, tuple) else (out,)))


@pytest.mark.parametrize("name", LOOPS)
def test_the_loop_exists_and_compares_with_the_objective_to_1e_10(name: str) -> None:
    file, _, test = LOOPS[name].partition("::")
    tree = ast.parse(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    (body,) = [ast.unparse(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == test]
    assert f"{name.partition('.')[2]}(" in body
    assert "1e-10" in body or "torch.equal" in body
