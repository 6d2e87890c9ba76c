"""MMCR: the equation over any number of clips and views, and the matrices that a decomposition is afraid of."""

import pytest
import torch
from torch.nn import functional as F

from fullrank.errors import SettingError
from fullrank.methods.mmcr import MMCR, nuclear_norm
from fullrank.testing import Subject, check_method
from fullrank.testing.lab import blank, context

SHAPES = [(1, None, 2), (3, None, 3), (1, 5, 5), (2, 2, 4)]
"""(rho, views_per_clip, views)"""


def subject(rho, views_per_clip, **changes):
    found = Subject(MMCR)
    method = found.settings.method.model_copy(update={"rho": rho, "views_per_clip": views_per_clip, **changes})
    return Subject(MMCR, found.settings.model_copy(update={"method": method}))


@pytest.mark.parametrize(("rho", "views_per_clip", "count"), SHAPES)
def test_loss_is_the_papers_equation_for_any_number_of_views(rho, views_per_clip, count):
    lab = subject(rho, views_per_clip, local_weight=0.5)
    output = lab.build()(lab.views(), context())
    z = output.features["embedding"].double()
    assert z.shape[:2] == (8, count)
    unit = torch.stack([torch.stack([v / v.norm() for v in record]) for record in z])
    centroids = torch.stack([sum(record) / count for record in unit])
    wanted = {
        "centroids": -torch.linalg.matrix_norm(centroids, "nuc"),
        "local": 0.5 * sum(torch.linalg.matrix_norm(record, "nuc") for record in unit) / len(unit),
    }
    for name, value in wanted.items():
        torch.testing.assert_close(output.losses[name].detach().double(), value, atol=1e-5, rtol=1e-5)


def test_three_clips_and_the_local_term_hold_to_the_contract():
    lab = subject(3, None, local_weight=0.5)
    points = ["plan", "many_processes", "batch_order", "collapse", "bf16"]
    assert check_method(MMCR, lab.settings, points=points) == points


def test_the_norm_has_the_gradient_of_finite_differences():
    z = torch.randn(5, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: nuclear_norm(F.normalize(z, dim=-1).mean(dim=1)), (z,))


def test_a_collapsed_batch_has_a_finite_gradient():
    lab = subject(2, None)
    method = lab.build().eval()  # BatchNorm of a constant batch would hide it
    method(blank(lab.views()), context()).loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_an_embedding_that_is_not_finite_is_a_term_for_the_engine_to_name():
    lab = subject(2, None)
    method = lab.build()
    with torch.no_grad():
        method.projector[-1].weight[0, 0] = torch.nan
    assert method(lab.views(), context()).losses["centroids"].isnan()


def test_one_view_or_one_record_is_refused():
    with pytest.raises(SettingError, match="at least 2 views. Got rho 1 and views_per_clip 1"):
        MMCR.Config(rho=1, views_per_clip=1)
    with pytest.raises(SettingError, match="at least 2 records at once. Got 1"):
        MMCR.check(MMCR.Config(), batch_size=1, world=1)
