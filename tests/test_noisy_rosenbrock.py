"""Rosenbrock's function with noise N(0, 30^2) on value and gradient, from (-1.2, 1): where a plain
BFGS stops, and how much nearer those come that heed noise.

Near the minimum the valley's floor has the curvature 0.4, so that the mean of N gradients tells
where the minimum is, along the floor, to 30 / 0.4 / sqrt(N): to 1.7 for 2,000 of them. The
distances asserted here are of this order. The example noisy_rosenbrock spends 10,000.
"""

import numpy as np
import pytest
from marks import INTERPRETED

from fastmlp import (
    BFGS,
    GaussianProcessNewton,
    LeastSquaresNewton,
    NoiseTolerantBFGS,
    Scipy,
    Status,
    StochasticLBFGS,
    load_problem,
    minimize,
)
from fastmlp.solvers import Function

N_SEEDS = 3 if INTERPRETED else 100
PROBLEM = load_problem("noisy_rosenbrock")
START, MINIMUM = np.array([-1.2, 1.0]), np.array([1.0, 1.0])


class Counted(Function):
    """A function without a monitor, which counts its evaluations."""

    def __init__(self, value_and_grad):
        self._given = value_and_grad
        self.size, self.resolution, self.n_evals = 2, float(np.finfo(np.float64).eps), 0

    def value_and_grad(self, x):
        self.n_evals += 1
        return self._given(x)


def end(solver, seed, n_evals):
    """Where a solver is once it has spent so many evaluations."""
    function = Counted(PROBLEM.make_function(seed))
    state = solver.start(function, START)
    while function.n_evals < n_evals:
        assert solver.step(function, state) is None
    return state["x"]


def quartiles(values):
    return np.percentile(values, [25, 50, 75])


def distances_and_values(points):
    """Quartiles of the distance from the minimum, and of the value without noise."""
    values = [PROBLEM.exact(x)[0] for x in points]
    return quartiles(np.linalg.norm(points - MINIMUM, axis=1)), quartiles(values)


@pytest.mark.parametrize("solver", [BFGS(), Scipy("BFGS")], ids=["BFGS", "SciPy"])
def test_a_plain_bfgs_stops_at_a_wrong_point(solver):
    """After a few steps, about where it came down to the valley's floor, where f is 4."""
    results = [
        minimize(PROBLEM.make_function(seed), START, optimizer=solver) for seed in range(N_SEEDS)
    ]
    assert {r.status for r in results} <= {
        Status.LINE_SEARCH_FAILED,
        Status.FAILED,
        Status.CONVERGED,  # so it says where noise makes a decrease look tiny
    }
    assert np.median([r.n_grad_evals for r in results]) < 50
    distances, values = distances_and_values(np.array([r.theta for r in results]))
    if not INTERPRETED:
        assert distances[0] > 1.85
        assert 1.9 < distances[1] < 2.2
        assert 4 < values[1] < 8


# Gradient evaluations, and bounds of the median distance and of the median value. Medians of a
# hundred runs scatter by a tenth; these were 1.39, 1.34, 1.24, 1.15 and 1.2, 1.0, 1.5, 0.4.
METHODS = {
    "StochasticLBFGS": (StochasticLBFGS(decay=1000.0), 2000, (1.0, 1.7), (0.6, 2.0)),
    "LeastSquaresNewton": (LeastSquaresNewton(decay=1000.0), 2000, (1.0, 1.65), (0.5, 1.8)),
    "NoiseTolerantBFGS": (NoiseTolerantBFGS(), 2000, (0.9, 1.6), (0.8, 2.2)),
    "GaussianProcessNewton": (GaussianProcessNewton(), 1000, (0.8, 1.5), (0.15, 0.9)),
}


@pytest.mark.parametrize(
    ("solver", "n_evals", "distance_bounds", "value_bounds"), METHODS.values(), ids=METHODS
)
def test_methods_that_heed_noise_come_nearer(solver, n_evals, distance_bounds, value_bounds):
    """Three quarters of their runs come nearer than three quarters of those of a plain BFGS."""
    n_evals = 60 if INTERPRETED else n_evals
    points = np.array([end(solver, seed, n_evals) for seed in range(N_SEEDS)])
    assert np.isfinite(points).all()
    if not INTERPRETED:
        distances, values = distances_and_values(points)
        assert distances[2] < 1.85
        assert distance_bounds[0] < distances[1] < distance_bounds[1]
        assert value_bounds[0] < values[1] < value_bounds[1]
