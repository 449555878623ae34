"""The test functions of Moré, Garbow & Hillstrom are what the paper says, before others rely on
them: derivatives by complex steps, and minima by another method, Levenberg-Marquardt's."""

import numpy as np
import pytest
from more_garbow_hillstrom import PROBLEMS
from numpy.testing import assert_allclose
from scipy import optimize

every_problem = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)

# Published points at which the residuals vanish.
ZEROS = {
    "rosenbrock": [1, 1],
    "freudenstein_roth": [5, 4],
    "brown_badly_scaled": [1e6, 2e-6],
    "beale": [3, 0.5],
    "helical_valley": [1, 0, 0],
    "gulf": [50, 25, 1.5],
    "box": [1, 10, 1],
    "powell_singular": np.zeros(4),
    "wood": np.ones(4),
    "biggs_exp6": [1, 10, 1, 5, 4, 3],
    "extended_rosenbrock_100": np.ones(100),
    "extended_powell_100": np.zeros(100),
    "variably_dimensioned_10": np.ones(10),
    "trigonometric_10": np.zeros(10),
    "brown_almost_linear_10": np.ones(10),
}


def test_all_of_the_paper_are_there():
    functions = {name.rstrip("0123456789").rstrip("_") for name in PROBLEMS}
    # Osborne's two end in digits of their own.
    assert len(functions - {"osborne"} | {"osborne_1", "osborne_2"}) == 35


@every_problem
def test_jacobian_by_complex_steps(problem):
    """Exact to round-off: no difference is taken. Off the start, where some terms vanish."""
    step = 1e-30
    x = problem.start + 0.01 * np.arange(1, problem.size + 1) / problem.size
    by_steps = [problem.residuals(x + 1j * step * e).imag / step for e in np.eye(problem.size)]
    J = problem.jacobian(x)
    assert_allclose(J, np.transpose(by_steps), rtol=0, atol=1e-14 * np.abs(J).max())


@every_problem
def test_value_and_gradient_are_those_of_the_sum_of_squares(problem):
    """A central difference along one direction, good for half the digits."""
    x = problem.start
    value, gradient = problem.value_and_grad(x)
    assert value == pytest.approx(np.linalg.norm(problem.residuals(x)) ** 2, rel=1e-14)
    step = 1e-6 * np.maximum(np.abs(x), 0.01)
    forward, backward = (problem.value_and_grad(x + s * step)[0] for s in (1, -1))
    scale = max(np.abs(gradient * step).max(), 1e-6 * value)
    assert (forward - backward) / 2 == pytest.approx(gradient @ step, abs=1e-6 * scale)


@every_problem
def test_published_minima(problem):
    """They are printed with six digits."""
    with np.errstate(over="ignore"):  # a trial step goes too far
        found = optimize.least_squares(
            problem.residuals,
            problem.start,
            jac=problem.jacobian,
            method="lm",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
            max_nfev=5000,
        )
    value, _ = problem.value_and_grad(found.x)
    assert any(value == pytest.approx(least, rel=5e-6, abs=1e-25) for least in problem.minima)


@pytest.mark.parametrize("name", ZEROS)
def test_residuals_vanish_where_they_should(name):
    problem = PROBLEMS[name]
    residuals = problem.residuals(np.array(ZEROS[name], np.float64))
    assert_allclose(residuals, 0, atol=1e-13)
