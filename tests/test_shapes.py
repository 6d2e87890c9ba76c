"""The shapes in annotations are checked while the tests run, so that none of them says what is not so."""

import sys

import jaxtyping
import pytest
import torch
from torch import Tensor

from fullrank.objectives.contrastive import info_nce, nt_xent

Z = torch.randn(8, 2, 4)


def test_a_missing_axis_fails():
    nt_xent(Z)
    with pytest.raises(jaxtyping.TypeCheckError, match="n views d"):
        nt_xent(Z[:, 0])


def test_numbers_of_another_type_fail():
    with pytest.raises(jaxtyping.TypeCheckError, match="Float"):
        nt_xent(Z.long())


def test_axes_of_one_name_must_agree():
    query, keys, negatives = torch.randn(8, 4), torch.randn(8, 1, 4), torch.randn(5, 4)
    info_nce(query, keys, negatives)
    with pytest.raises(jaxtyping.TypeCheckError, match="keys"):
        info_nce(query, keys[:3], negatives)


def test_what_comes_back_is_checked_too():
    namespace = {"Float": jaxtyping.Float, "Tensor": Tensor}
    exec('def halves(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:\n    return x[: len(x) // 2]', namespace)
    checked = jaxtyping.jaxtyped(namespace["halves"], typechecker=sys.modules["fullrank_shape_checker"].check)
    with pytest.raises(jaxtyping.TypeCheckError, match="return value"):
        checked(Z[0])


@pytest.mark.usefixtures("wrong_shapes")
def test_a_test_may_ask_for_what_a_user_gets():
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        nt_xent(Z[:, 0, 0])


def test_no_module_with_shapes_was_imported_unchecked():
    with_shapes = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("fullrank.") and any(getattr(v, "__module__", "") == "jaxtyping" for v in vars(module).values())
    ]
    assert len(with_shapes) > 5
    unchecked = [module.__name__ for module in with_shapes if "Jaxtyping" not in type(module.__loader__).__name__]
    assert unchecked == []
