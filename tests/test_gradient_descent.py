"""Steepest descent and conjugate gradients: known trajectories and rates, and how they end."""

from itertools import pairwise

import numpy as np
import pytest
from functions import (
    ROSENBROCK_START,
    Plain,
    assert_goes_on_exactly,
    classes,
    rosenbrock,
    small_net,
)
from marks import both_precisions
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import ConjugateGradient, GradientDescent, InverseTime, Scipy, Status, minimize
from fastmlp.solvers.line_search import Search

SEARCHES = {
    "armijo": GradientDescent(),
    "strong wolfe": GradientDescent(line_search="strong_wolfe"),
    "conjugate gradient": ConjugateGradient(),
}
SOLVERS = {
    **SEARCHES,
    "fixed": GradientDescent(1e-3, line_search="fixed"),
    "scheduled": GradientDescent(InverseTime(1e-3, t0=50.0), line_search="fixed"),
}
every_search = pytest.mark.parametrize("solver", SEARCHES.values(), ids=SEARCHES)
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def quadratic(eigenvalues, seed=0):
    """x^T A x / 2 with these eigenvalues; also A."""
    n = len(eigenvalues)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    A = Q @ np.diag(eigenvalues) @ Q.T
    return lambda x: (x @ A @ x / 2, A @ x), A


def path(function, x0, solver, n_iterations):
    """All iterates of `minimize`, and its result."""
    points = []
    result = minimize(
        function,
        x0,
        optimizer=solver,
        max_iterations=n_iterations,
        callbacks=[lambda progress: points.append(progress.theta.copy())],
    )
    return np.array(points), result


# Known trajectories


def test_a_fixed_step_is_a_linear_recursion_on_a_quadratic():
    """x_k = (I - a A)^k x_0."""
    function, A = quadratic([1.0, 3.0, 10.0, 20.0])
    x0 = np.array([1.0, -2.0, 0.5, 3.0])
    points, _ = path(function, x0, GradientDescent(0.05, line_search="fixed"), 30)
    shrink = np.eye(4) - 0.05 * A
    expected = [np.linalg.matrix_power(shrink, k) @ x0 for k in range(31)]
    assert_allclose(points, expected, atol=1e-14)


def test_a_schedule_of_fixed_steps():
    """On x^2 / 2 a step of t multiplies x by 1 - t, here of t = 1/2, 1/4, 1/6, 1/8."""
    schedule = InverseTime(0.5)
    points, _ = path(
        lambda x: (x @ x / 2, x.copy()), [1.0], GradientDescent(schedule, line_search="fixed"), 4
    )
    assert_allclose(points[:, 0], [1, 1 / 2, 3 / 8, 5 / 16, 35 / 128], rtol=1e-15)


def exactly_on(A):
    """Replace a method's search by an exact one on the quadratic of A."""

    def search(self, function, state, direction, first_step):
        step = -(state["gradient"] @ direction) / (direction @ A @ direction)
        x = state["x"] + step * direction
        return Search(x, *function.value_and_grad(x), step, None)

    return search


@pytest.mark.parametrize("condition", [1.0, 2.0, 10.0, 100.0])
def test_steepest_descent_zigzags_at_kantorovichs_rate(condition, monkeypatch):
    """(x^2 + c y^2) / 2 from (c, 1), the worst start: x and -y shrink by (c - 1) / (c + 1).

    Section 9.3.2 of Boyd & Vandenberghe, Convex optimization (2004).
    """
    A = np.diag([1.0, condition])
    monkeypatch.setattr(GradientDescent, "search", exactly_on(A))
    rate = (condition - 1) / (condition + 1)
    points, _ = path(lambda x: (x @ A @ x / 2, A @ x), [condition, 1.0], GradientDescent(), 20)
    powers = rate ** np.arange(len(points))
    signs = (-1.0) ** np.arange(len(points))
    expected = np.stack([condition * powers, signs * powers], axis=1)
    assert_allclose(points, expected, rtol=1e-10, atol=1e-14)


def test_no_start_is_worse_than_kantorovichs_rate(monkeypatch):
    function, A = quadratic(np.geomspace(1, 50, 8))
    monkeypatch.setattr(GradientDescent, "search", exactly_on(A))
    for seed in range(5):
        x0 = np.random.default_rng(seed).normal(size=8)
        values = minimize(function, x0, optimizer=GradientDescent(), max_iterations=30).trace[
            "objective"
        ]
        assert (values[1:] / values[:-1]).max() <= (49 / 51) ** 2 * (1 + 1e-12)


@pytest.mark.parametrize("n", [2, 5, 10])
def test_conjugate_gradients_end_on_a_quadratic_after_n_exact_searches(n, monkeypatch):
    """And the gradients on the way are orthogonal to each other, directions conjugate."""
    function, A = quadratic(np.geomspace(1, 30, n), seed=n)
    monkeypatch.setattr(ConjugateGradient, "search", exactly_on(A))
    points, _ = path(function, np.ones(n), ConjugateGradient(gradient_tolerance=1e-9), n)
    assert len(points) == n + 1
    assert_allclose(points[n], 0, atol=1e-10)
    gradients, steps = points[:n] @ A, np.diff(points, axis=0)
    for products in (gradients @ gradients.T, steps @ A @ steps.T):
        scale = np.sqrt(np.outer(np.diag(products), np.diag(products)))
        assert_allclose(products / scale, np.eye(n), atol=1e-6)


def test_conjugate_gradients_take_about_n_iterations_with_their_own_search():
    """Which is exact to a tenth of the slope."""
    for seed in range(5):
        function, _ = quadratic(np.linspace(1, 10, 20), seed)
        x0 = np.random.default_rng(seed).normal(size=20)
        result = minimize(function, x0, optimizer=ConjugateGradient(gradient_tolerance=1e-4))
        assert result.status == Status.CONVERGED
        assert result.n_iter <= 30


# What holds at every step


@every_search
def test_steps_descend_and_lower_the_value_enough(solver):
    points, result = path(rosenbrock, ROSENBROCK_START, solver, 60)
    c1 = 1e-4 if solver is SEARCHES["armijo"] else 1e-3
    for x, after in pairwise(points):
        (value, gradient), (value_after, gradient_after) = rosenbrock(x), rosenbrock(after)
        slope = gradient @ (after - x)
        assert slope < 0
        # A step's own roundings, of about 1e-16 in x, show in values of this size.
        assert value_after <= value + c1 * slope + 1e-13
        if c1 == 1e-3:
            assert abs(gradient_after @ (after - x)) <= solver.c2 * abs(slope) + 1e-13
    assert (np.diff(result.trace["objective"]) < 0).all()


@pytest.mark.parametrize("search", ["armijo", "strong_wolfe", "fixed"])
def test_steepest_descent_steps_along_the_gradient(search):
    solver = GradientDescent(1e-3, line_search=search)
    points, _ = path(rosenbrock, ROSENBROCK_START, solver, 30)
    for x, step in zip(points[:-1], np.diff(points, axis=0), strict=True):
        gradient = rosenbrock(x)[1]
        cosine = -(gradient @ step) / np.linalg.norm(gradient) / np.linalg.norm(step)
        assert cosine == pytest.approx(1, abs=1e-9)


# Known minima, and SciPy


@pytest.mark.parametrize("start", [[-1.2, 1.0], [-1.0] * 6], ids=len)
def test_conjugate_gradients_on_rosenbrock_take_no_more_than_scipys(start):
    result = minimize(rosenbrock, start, optimizer=ConjugateGradient())
    theirs = minimize(rosenbrock, start, optimizer=Scipy("CG"))
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, 1, atol=2e-3)
    assert result.n_grad_evals <= 1.25 * theirs.n_grad_evals


@every_search
def test_a_quadratic(solver):
    function, _ = quadratic([1.0, 3.0, 10.0, 30.0])
    result = minimize(function, np.ones(4), optimizer=solver)
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, 0, atol=1e-3)


@pytest.mark.parametrize(
    "optimizer",
    [
        "gradient_descent",
        "gradient_descent(learning_rate=0.5, line_search='fixed')",
        "gradient_descent(line_search='strong_wolfe')",
        "conjugate_gradient",
    ],
)
@both_precisions
def test_a_small_network(optimizer, dtype):
    X, y = classes()
    net = small_net(dtype)
    result = net.fit(X, y, optimizer=optimizer, epochs=100, l2=0.01)
    assert result.status in (Status.CONVERGED, Status.COMPLETED)
    assert result.loss == net.loss(X, y, l2=0.01) < 0.65 * np.log(3)
    assert_array_equal(result.theta, net.theta)
    assert (np.diff(result.trace["objective"]) <= 0).all()


# Resumption


@every_solver
def test_going_on_from_a_copied_state_is_exact(solver):
    assert_goes_on_exactly(solver, 4)


# Ends


def test_a_fixed_step_that_is_too_long_comes_back_to_the_best_point():
    function, _ = quadratic([1.0, 10.0])
    rising = GradientDescent(0.21, line_search="fixed")
    result = minimize(function, [1.0, 1.0], optimizer=rising, max_iterations=20)
    values = result.trace["objective"]
    assert values[-1] > values[0]
    assert result.status == Status.COMPLETED
    assert result.loss == values.min()
    with np.errstate(over="ignore", invalid="ignore"):
        result = minimize(function, [1.0, 1.0], optimizer=rising, max_iterations=100_000)
    assert result.status == Status.NOT_FINITE
    assert "back at the best finite one" in result.message
    assert result.loss == values.min()


def test_a_fixed_step_converges_where_theta_no_longer_changes():
    solver = GradientDescent(
        1.0, line_search="fixed", gradient_tolerance=0.0, objective_tolerance=0.0
    )
    # (x - 3)^2 / 2: the first step is to the minimum.
    result = minimize(lambda x: ((x - 3) @ (x - 3) / 2, x - 3), [1.0], optimizer=solver)
    assert result.theta == 3
    assert result.status == Status.CONVERGED


@pytest.mark.parametrize("search", ["armijo", "strong_wolfe", "fixed"])
@pytest.mark.parametrize(
    ("tolerance", "message"),
    [
        ({"gradient_tolerance": 0.1}, "no component of the gradient is larger than 0.1"),
        ({"objective_tolerance": 1e-3}, "the objective fell by less than 0.001 of its size"),
        ({"step_tolerance": 1e-2}, "theta no longer changes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_tolerance_ends_it(search, tolerance, message):
    function, A = quadratic([1.0, 4.0])
    none = {"gradient_tolerance": 0.0, "objective_tolerance": 0.0, "step_tolerance": 0.0}
    solver = GradientDescent(0.05, line_search=search, **{**none, **tolerance})
    points, result = path(function, np.array([1.0, -2.0]), solver, 500)
    assert result.status == Status.CONVERGED
    assert result.message == message
    values = [function(x)[0] for x in points]
    met = {
        "gradient_tolerance": np.abs(points @ A).max(axis=1)[1:] <= 0.1,
        "objective_tolerance": -np.diff(values) <= 1e-3 * np.maximum(values[:-1], 1),
        "step_tolerance": (np.abs(np.diff(points, axis=0)) / np.maximum(np.abs(points[1:]), 1)).max(
            axis=1
        )
        <= 1e-2,
    }[next(iter(tolerance))]
    assert met[-1]
    assert not met[:-1].any()


@every_search
def test_a_wrong_gradient_is_a_failed_search_at_the_best_point(solver):
    """Every step along -g goes up."""
    result = minimize(lambda x: (x @ x, -2 * x), [1.0, 2.0], optimizer=solver)
    assert result.status == Status.LINE_SEARCH_FAILED
    assert "line search" in result.message
    assert_array_equal(result.theta, [1, 2])


@every_solver
def test_a_region_that_is_not_finite_is_kept_out_of(solver):
    """x - log x, infinite or undefined from 0 down; the minimum is at 1."""

    def barrier(x):
        with np.errstate(all="ignore"):
            return float(np.sum(x - np.log(x))), 1 - 1 / x

    result = minimize(barrier, [0.01, 30.0], optimizer=solver, max_iterations=2000)
    assert np.isfinite(result.loss)
    assert (result.theta > 0).all()
    if solver.monotone:
        assert result.status == Status.CONVERGED
        assert_allclose(result.theta, 1, atol=1e-2)


@every_solver
def test_nothing_but_the_start_is_finite(solver):
    x0 = np.array([1.0, 2.0])

    calls = []

    def function(x):
        calls.append(None)
        return (5.0 if len(calls) == 1 else np.nan), np.ones(2)

    result = minimize(function, x0, optimizer=solver)
    assert result.status == Status.NOT_FINITE
    assert_array_equal(result.theta, x0)


@every_solver
def test_a_flat_function_has_converged(solver):
    result = minimize(lambda x: (1.0, np.zeros(2)), [1.0, 2.0], optimizer=solver)
    assert result.status == Status.CONVERGED
    assert result.n_iter == 0
    assert_array_equal(result.theta, [1, 2])


@pytest.mark.parametrize("name", ["strong wolfe", "conjugate gradient"])
def test_a_function_without_a_minimum_is_said_to_be_unbounded(name):
    result = minimize(lambda x: (-x.sum(), -np.ones(2)), [1.0, 2.0], optimizer=SOLVERS[name])
    assert result.status == Status.UNBOUNDED
    assert "still falls" in result.message
    assert result.loss == result.trace["objective"].min() < -1e9


@every_solver
def test_tiny_budgets(solver):
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, max_iterations=1)
    assert (result.status, result.n_iter) == (Status.COMPLETED, 1)
    assert result.loss < 24.2
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, time_limit=1e-9)
    assert result.status == Status.TIME_LIMIT
    assert_array_equal(result.theta, ROSENBROCK_START)


def test_conjugate_gradients_restart_where_their_direction_leads_up():
    solver, function = ConjugateGradient(), Plain(rosenbrock, 2)
    state = solver.start(function, ROSENBROCK_START)
    for _ in range(2):
        solver.step(function, state)
    x, value, gradient = state["x"], state["value"], state["gradient"]
    state.update(direction=gradient, conjugate=True)
    assert solver.step(function, state) is None
    assert state["value"] < value
    step = state["x"] - x
    assert_allclose(step / np.linalg.norm(step), -gradient / np.linalg.norm(gradient), rtol=1e-12)


# Hyperparameters


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: GradientDescent(0), ValueError, "learning_rate must be a positive number, got 0"),
        (lambda: GradientDescent("a"), TypeError, "learning_rate must be a positive number"),
        (
            lambda: GradientDescent(-1, line_search="fixed"),
            ValueError,
            "learning_rate must be a positive number or a Schedule, got -1",
        ),
        (
            lambda: GradientDescent(InverseTime(0.1)),
            ValueError,
            'learning_rate must be a number unless line_search is "fixed", got InverseTime',
        ),
        (
            lambda: GradientDescent(line_search="exact"),
            ValueError,
            "line_search must be one of armijo, strong_wolfe, fixed, got 'exact'",
        ),
        (lambda: GradientDescent(line_search=None), TypeError, "line_search must be one of"),
        (lambda: GradientDescent(step_tolerance=-1), ValueError, "step_tolerance must be a numb"),
        (lambda: ConjugateGradient(max_iterations=0), ValueError, "max_iterations must be an int"),
    ],
)
def test_bad_hyperparameters(make, error, message):
    with pytest.raises(error, match=message):
        make()
