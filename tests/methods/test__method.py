"""The contract for the first six methods, with networks made for it; tests/test_conformance.py holds all methods to it."""

import copy

import pytest
import torch

from fullrank.errors import SettingError, ShapeError
from fullrank.methods._method import load_method
from fullrank.types import Views

RHO = (1, 2, 3)


def settings_of(name, rho):
    return {} if name == "supervised" else {"rho": rho}


def test_unknown_method_names_the_nearest():
    with pytest.raises(SettingError, match="Did you mean 'vicreg'"):
        load_method("vicrec")


@pytest.mark.parametrize("rho", RHO)
def test_plan_and_terms(lab, name, rho):
    method = lab.build(name, **settings_of(name, rho))
    plan = type(method).views(method.cfg)
    count = 1 if name == "supervised" else max(2, rho)
    views = lab.make_views(method)
    assert views.pixels["view"].shape[1] == count
    assert plan.num_clips == (1 if name == "supervised" else rho)
    output = method(views, lab.context())
    assert all(term.ndim == 0 and bool(term.isfinite()) for term in output.losses.values())
    assert all(metric.ndim == 0 and bool(metric.isfinite()) and not metric.requires_grad for metric in output.metrics.values())
    assert "representation" in output.features
    for feature in output.features.values():
        assert feature.shape[0] == 8
        assert feature.ndim == 3
        assert feature.dtype == torch.float32
        assert not feature.requires_grad
    assert not any(carried.requires_grad for carried in output.carry.values())


def test_forward_is_pure_but_for_batch_norm(lab, name):
    method = lab.build(name)
    views = lab.make_views(method)
    before = copy.deepcopy(method.state_dict())
    first, second = (float(method(views, lab.context()).loss.detach()) for _ in range(2))
    assert first == second
    changed = {key.rsplit(".", 1)[1] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    assert changed <= {"running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("rho", RHO)
def test_every_trainable_parameter_gets_a_gradient_and_the_teacher_none(lab, name, rho):
    method = lab.build(name, **settings_of(name, rho))
    method(lab.make_views(method), lab.context()).loss.backward()
    for key, parameter in method.named_parameters():
        if key.startswith("teacher."):
            assert not parameter.requires_grad
            assert parameter.grad is None
        else:
            assert parameter.grad is not None, key
            assert float(parameter.grad.abs().sum()) > 0, key


def test_does_not_depend_on_the_order_of_the_batch(lab, name):
    method = lab.build(name)
    views = lab.make_views(method)
    order = torch.randperm(8)
    straight, mixed = method(views, lab.context()), method(lab.part(views, order), lab.context())
    for term in straight.losses:
        torch.testing.assert_close(mixed.losses[term], straight.losses[term], atol=2e-5, rtol=1e-5)


def test_encode_is_deterministic_and_of_the_embed_dim(lab, name):
    method = lab.build(name).eval()
    pixels = lab.make_views(method).pixels["view"][:, 0]
    for branch in (None, *method.branches):
        h = method.encode(pixels, branch)
        assert h.shape == (8, 12)
        assert torch.equal(h, method.encode(pixels, branch))
        z = method.embed(h, branch)
        assert (z is None) == (name == "supervised")
    with pytest.raises(SettingError, match="branch must be one of student"):
        method.encode(pixels, "studnt")


def test_embed_is_the_embedding_of_forward(lab, name):
    method = lab.build(name).eval()
    views = lab.make_views(method)
    features = method(views, lab.context()).features
    h = method.encode(views.pixels["view"][:, 0])
    torch.testing.assert_close(h, features["representation"][:, 0])
    if "embedding" in features:
        torch.testing.assert_close(method.embed(h), features["embedding"][:, 0])


def test_bf16_is_finite_and_the_terms_are_float32(lab, name):
    method = lab.build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = method(lab.make_views(method), lab.context())
    output.loss.backward()
    assert all(bool(term.isfinite()) and term.dtype == torch.float32 for term in output.losses.values())
    assert all(bool(p.grad.isfinite().all()) for p in method.parameters() if p.grad is not None)


def test_validation_terms_without_gradient(lab, name):
    method = lab.build(name).eval()
    before = copy.deepcopy(method.state_dict())
    with torch.no_grad():
        output = method(lab.make_views(method), lab.context())
    assert not output.loss.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_a_missing_view_group_is_named(lab, name):
    method = lab.build(name)
    with pytest.raises(ShapeError, match="must contain group 'view'. Got groups: clip"):
        method(Views(pixels={"clip": torch.zeros(4, 2, 3, 1, 8, 8)}, index=torch.arange(4)), lab.context())


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_give_the_terms_and_gradients_of_one(lab, name, count):
    """Running statistics in place of the batch's, so that nothing but ``ctx.gather`` joins the processes."""
    method = lab.build(name).eval()
    views = lab.make_views(method)
    method(views, lab.context()).loss.backward()
    expected = {key: p.grad.clone() for key, p in method.named_parameters() if p.grad is not None}
    alone = {term: float(value.detach()) for term, value in method(views, lab.context()).losses.items()}
    method.zero_grad()
    share = 8 // count
    outputs = lab.processes(count, lambda rank, ctx: method(lab.part(views, slice(rank * share, (rank + 1) * share)), ctx))
    for term, value in alone.items():
        assert sum(float(output.losses[term].detach()) for output in outputs) / count == pytest.approx(value, rel=1e-5)
    sum(output.loss for output in outputs).div(count).backward()  # DDP averages gradients
    for key, gradient in expected.items():
        torch.testing.assert_close(dict(method.named_parameters())[key].grad, gradient, atol=1e-6, rtol=1e-4, msg=key)


def test_after_step_leaves_all_processes_with_the_state_of_one(lab, name):
    for settings in ({}, {"batch_norm_group": 2})[: 2 if name == "moco_v2" else 1]:
        method = lab.build(name, **settings).train(bool(settings))
        views = lab.make_views(method)
        copies = [copy.deepcopy(method) for _ in range(2)]
        ctx = lab.context()
        method.after_step([method(views, ctx)], ctx)

        def work(rank, ctx, copies=copies, views=views):
            mine = copies[rank]
            mine.after_step([mine(lab.part(views, slice(rank * 4, rank * 4 + 4)), ctx)], ctx)

        lab.processes(2, work)
        for other in copies:
            for key, value in method.state_dict().items():
                torch.testing.assert_close(other.state_dict()[key], value, atol=1e-6, rtol=1e-5, msg=key)


def test_state_survives_saving_and_loading(lab, name):
    method, ctx = lab.build(name), lab.context()
    method.after_step([method(lab.make_views(method), ctx)], ctx)
    other = lab.build(name)
    other.load_state_dict(method.state_dict())
    views = lab.make_views(method, seed=1)
    assert float(other(views, lab.context()).loss.detach()) == float(method(views, lab.context()).loss.detach())
