"""SIGReg and LeJEPA against the paper's algorithms, written as they are printed: complex numbers over the whole interval."""

import math

import pytest
import torch

from fullrank.errors import ShapeError
from fullrank.objectives.gaussianity import epps_pulley, lejepa


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def algorithm_1(x, t_max, num_points):
    """Balestriero and LeCun, 2025: the empirical characteristic function on [-t_max, t_max], trapezoid rule, times n."""
    n, step, total = len(x), 2 * t_max / (num_points - 1), 0.0
    for k in range(num_points):
        t = -t_max + k * step
        found = sum(complex(math.cos(t * v), math.sin(t * v)) for v in x.tolist()) / n
        window = math.exp(-0.5 * t * t)
        total += (0.5 if k in (0, num_points - 1) else 1.0) * step * abs(found - window) ** 2 * window
    return n * total


@pytest.mark.parametrize(("t_max", "num_points"), [(5.0, 17), (3.0, 5)])
def test_epps_pulley_is_the_papers_algorithm(t_max, num_points):
    x = normal(9, 3) * 1.5 + 0.3
    got = epps_pulley(x, t_max=t_max, num_points=num_points)
    assert got.tolist() == pytest.approx([algorithm_1(column, t_max, num_points) for column in x.T], abs=1e-10)


def test_epps_pulley_gradient():
    assert torch.autograd.gradcheck(epps_pulley, normal(6, 2).requires_grad_())


def test_normal_samples_give_about_one_and_others_grow_with_their_number():
    expected = math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3))  # of the integral of (1 - phi^2) phi
    for n in (50, 800):
        assert float(epps_pulley(normal(n, 200, seed=n)).mean()) == pytest.approx(expected, abs=0.2)
        for wrong in (3.0 * normal(n, 20), normal(n, 20) + 1.0, torch.zeros(n, 20, dtype=torch.float64)):
            assert float(epps_pulley(wrong).mean()) > 0.05 * n


def test_a_point_and_the_range():
    at_origin = math.sqrt(2 * math.pi) * (1 - math.sqrt(2) + 1 / math.sqrt(3))
    for n in (1, 7):
        assert float(epps_pulley(torch.zeros(n, 1, dtype=torch.float64))) == pytest.approx(n * at_origin, abs=1e-4 * n)
        assert float(epps_pulley(torch.full((n, 1), 3.0, dtype=torch.float64))) > n * at_origin
    assert math.sqrt(2 * math.pi) * (1 + math.sqrt(2) + 1 / math.sqrt(3)) < 7.5


def test_does_not_change_with_sign_or_order():
    x = normal(8, 3)
    torch.testing.assert_close(epps_pulley(-x), epps_pulley(x))
    torch.testing.assert_close(epps_pulley(x.flip(0)), epps_pulley(x))


@pytest.mark.parametrize("num_points", [1, 16])
def test_refuses_an_even_number_of_points(num_points):
    with pytest.raises(ShapeError, match="odd and at least 3"):
        epps_pulley(torch.zeros(4, 2), num_points=num_points)


def test_lejepa_is_the_papers_algorithm():
    z, slices = normal(5, 4, 3), torch.nn.functional.normalize(normal(3, 6, seed=1), dim=0)
    prediction = 0.0
    for n in range(5):
        centre = (z[n, 0] + z[n, 1]) / 2
        prediction += sum(float((centre - z[n, v]).square().mean()) for v in range(4)) / (5 * 4)
    sigreg = sum(algorithm_1(z[:, v] @ a, 5.0, 17) for v in range(4) for a in slices.T) / (4 * 6)
    terms = lejepa(z, slices, num_global=2)
    assert [float(t) for t in terms] == pytest.approx([prediction, sigreg], abs=1e-10)


def test_lejepa_gradient_reaches_the_centre_too():
    z, slices = normal(4, 3, 2).requires_grad_(), torch.eye(2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: tuple(lejepa(x, slices, num_global=2)), z)


def test_lejepa_at_collapse_and_where_views_agree():
    z = torch.full((6, 3, 2), 0.7, dtype=torch.float64)
    terms = lejepa(z, torch.eye(2, dtype=torch.float64), num_global=2)
    assert float(terms.prediction) == 0.0
    assert float(terms.sigreg) > 0.4 * 6
