"""BYOL's regression and DINO's cross-entropy against the papers' equations."""

import math

import pytest
import torch

from fullrank.objectives.distillation import negative_cosine, regression, self_distillation


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_is_the_squared_distance_of_normalised_vectors():
    p, t = normal(5, 3), normal(5, 3, seed=1)
    expected = sum(float((p[i] / p[i].norm() - t[i] / t[i].norm()).square().sum()) for i in range(5)) / 5
    assert float(regression(p, t)) == pytest.approx(expected, abs=1e-10)


def test_gradient_reaches_the_prediction_only():
    p, t = normal(4, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    regression(p, t).backward()
    assert p.grad is not None
    assert t.grad is None
    assert torch.autograd.gradcheck(lambda x: regression(x, t), p)


def test_range_scale_and_collapse():
    p, t = normal(4, 3), normal(4, 3, seed=1)
    assert float(regression(p * 3.0, t * 0.1)) == pytest.approx(float(regression(p, t)), abs=1e-10)
    assert float(regression(p, -p)) == pytest.approx(4.0)
    assert float(regression(torch.ones(4, 3), 5 * torch.ones(4, 3))) == pytest.approx(0.0, abs=1e-6)


def test_negative_cosine_is_simsiams_equation_and_reaches_both_sides():
    p, z = normal(5, 3), normal(5, 3, seed=1)
    expected = -sum(float(p[i] @ z[i] / (p[i].norm() * z[i].norm())) for i in range(5)) / 5
    assert float(negative_cosine(p, z)) == pytest.approx(expected, abs=1e-10)
    assert float(2 + 2 * negative_cosine(p, z)) == pytest.approx(float(regression(p, z)), abs=1e-10)
    assert torch.autograd.gradcheck(negative_cosine, (p.requires_grad_(), z.requires_grad_()))


def test_negative_cosine_range_and_scale():
    p = normal(4, 3)
    assert float(negative_cosine(p, p * 0.1)) == pytest.approx(-1.0)
    assert float(negative_cosine(p, -p)) == pytest.approx(1.0)


def dino_equations(student, teacher, centre, tau_s, tau_t):
    """Caron et al., eq. 1, 2 and algorithm 1: H(P_t, P_s) for every pair of views; entropies of P_t; its mean."""

    def softmax(logits, tau):
        top = [math.exp(float(x) / tau) for x in logits]
        return [x / sum(top) for x in top]

    n, students, k = student.shape
    teachers = teacher.shape[1]
    cross = [[0.0] * students for _ in range(teachers)]
    entropy, mean = [0.0] * teachers, [0.0] * k
    for i in range(n):
        for t in range(teachers):
            p_t = softmax(teacher[i, t] - centre, tau_t)
            entropy[t] -= sum(p * math.log(p) for p in p_t) / n
            mean = [m + p / n / teachers for m, p in zip(mean, p_t, strict=True)]
            for s in range(students):
                p_s = softmax(student[i, s], tau_s)
                cross[t][s] -= sum(a * math.log(b) for a, b in zip(p_t, p_s, strict=True)) / n
    return cross, entropy, mean


def test_self_distillation_is_dinos_equations():
    student, teacher, centre = normal(4, 3, 5).tanh(), normal(4, 2, 5, seed=1).tanh(), 0.3 * normal(5, seed=2)
    terms = self_distillation(student, teacher, centre, student_temperature=0.5, teacher_temperature=0.2)
    for got, expected in zip(terms, dino_equations(student, teacher, centre, 0.5, 0.2), strict=True):
        torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64), atol=1e-10, rtol=0)


def test_self_distillation_gradient_reaches_the_student_only():
    student, teacher = normal(3, 2, 4).tanh().requires_grad_(), normal(3, 2, 4, seed=1).requires_grad_()
    centre = torch.zeros(4, dtype=torch.float64)
    terms = self_distillation(student, teacher, centre)
    assert not terms.entropy.requires_grad
    assert not terms.mean_assignment.requires_grad
    terms.cross_entropy.sum().backward()
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda s: self_distillation(s, teacher, centre).cross_entropy, student)


def test_self_distillation_is_lowest_for_the_teachers_own_assignment():
    teacher = normal(6, 1, 5)
    own = self_distillation(teacher, teacher, torch.zeros(5), student_temperature=0.1, teacher_temperature=0.1)
    assert float(own.cross_entropy) == pytest.approx(float(own.entropy), abs=1e-10)
    for seed in range(3):
        other = self_distillation(normal(6, 1, 5, seed=seed + 1), teacher, torch.zeros(5), teacher_temperature=0.1)
        assert float(other.cross_entropy) > float(own.cross_entropy)


def test_self_distillation_does_not_change_with_a_shift_that_the_centre_follows():
    student, teacher, shift = normal(4, 2, 5), normal(4, 2, 5, seed=1), normal(5, seed=2)
    expected = self_distillation(student, teacher, torch.zeros(5)).cross_entropy
    torch.testing.assert_close(self_distillation(student, teacher + shift, shift).cross_entropy, expected)
    torch.testing.assert_close(self_distillation(student + 3.0, teacher, torch.zeros(5)).cross_entropy, expected)


def test_self_distillation_at_its_two_collapses():
    one = normal(5).expand(6, 2, 5)
    uniform = self_distillation(torch.ones(6, 2, 5), one.float(), one[0, 0].float())
    torch.testing.assert_close(uniform.cross_entropy, torch.full((2, 2), math.log(5)))
    torch.testing.assert_close(uniform.entropy, torch.full((2,), math.log(5)))
    peak = 20.0 * torch.eye(5)[:1].expand(6, 2, 5)
    dominated = self_distillation(peak, peak, torch.zeros(5))
    assert float(dominated.cross_entropy.abs().max()) < 1e-6
    assert float(torch.special.entr(dominated.mean_assignment).sum()) < 1e-6


def test_self_distillation_stays_in_float32_under_autocast():
    student, teacher, centre = torch.randn(8, 3, 16), torch.randn(8, 2, 16), torch.zeros(16)
    expected = self_distillation(student, teacher, centre)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = self_distillation(student, teacher, centre)
    assert torch.equal(got.cross_entropy, expected.cross_entropy)
