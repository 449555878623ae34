"""Dense quasi-Newton methods: the secant equation, Dixon's theorem, and how they end."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import reference
from functions import (
    ROSENBROCK_START,
    Plain,
    assert_goes_on_exactly,
    classes,
    rosenbrock,
    small_net,
)
from hypothesis import given
from hypothesis import strategies as st
from marks import both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize
from test_quasi_newton_kernels import triangle

from fastmlp import BFGS, DFP, MLP, SR1, Broyden, Scipy, Status, minimize
from fastmlp.solvers.dense import MOST_PARAMETERS, broyden_factors
from fastmlp.solvers.line_search import Search

BROYDEN_CLASS = {"BFGS": BFGS(), "DFP": DFP(), "Broyden(0.3)": Broyden(0.3)}
SOLVERS = {**BROYDEN_CLASS, "SR1": SR1()}
each_of_the_class = pytest.mark.parametrize("solver", BROYDEN_CLASS.values(), ids=BROYDEN_CLASS)
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def orthogonal(n, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def positive_definite(n, seed):
    """With eigenvalues from 1/5 to 5."""
    Q = orthogonal(n, seed)
    return Q @ np.diag(np.geomspace(0.2, 5, n)) @ Q.T


def square(H):
    """The symmetric matrix of a lower triangle."""
    n = int(np.sqrt(2 * H.size))
    full = np.zeros((n, n))
    full[np.tril_indices(n)] = H
    return full + np.tril(full, -1).T


def steps(solver, function, x0, n_iterations):
    """States before and after each iteration."""
    function = Plain(function, len(x0))
    states = [solver.start(function, np.array(x0, np.float64))]
    for _ in range(n_iterations):
        state = deepcopy(states[-1])
        assert solver.step(function, state) is None
        states.append(state)
    return states


# The update


@given(
    n=st.integers(2, 6),
    seed=st.integers(0, 1000),
    phi=st.floats(0, 1),
)
def test_the_inverse_update_inverts_the_update_of_b(n, seed, phi):
    """B = (1 - phi) B_BFGS + phi B_DFP, each in its form for B, section 6 of Nocedal & Wright."""
    rng = np.random.default_rng(seed)
    H = positive_definite(n, seed)
    B = np.linalg.inv(H)
    s = rng.normal(size=n)
    y = positive_definite(n, seed + 1) @ s
    bfgs = B - np.outer(B @ s, B @ s) / (s @ B @ s) + np.outer(y, y) / (y @ s)
    project = np.eye(n) - np.outer(y, s) / (y @ s)
    dfp = project @ B @ project.T + np.outer(y, y) / (y @ s)
    factors = broyden_factors(s @ y, y @ H @ y, s @ B @ s, phi)
    updated = reference.rank_two_update(H, s, H @ y, *factors)
    # Conditions are at most some thousands.
    expected = np.linalg.inv((1 - phi) * bfgs + phi * dfp)
    assert_allclose(updated, expected, atol=1e-9 * np.abs(expected).max())
    assert np.linalg.eigvalsh(updated).min() > 0


@every_solver
@pytest.mark.parametrize("x0", [ROSENBROCK_START, np.full(5, -1.0)], ids=len)
def test_h_satisfies_the_secant_equation_after_every_step(solver, x0):
    """H y = s, to roundings that H's condition, of thousands here, magnifies."""
    for before, after in pairwise(steps(solver, rosenbrock, x0, 15)):
        s, y = after["x"] - before["x"], after["gradient"] - before["gradient"]
        H = square(after["H"])
        error = H @ y - s
        assert np.abs(error).max() <= 1e-10 * max(np.abs(s).max(), 1)


@each_of_the_class
@pytest.mark.parametrize("x0", [ROSENBROCK_START, np.full(5, -1.0)], ids=len)
def test_h_stays_positive_definite(solver, x0):
    for state in steps(solver, rosenbrock, x0, 20)[1:]:
        assert np.linalg.eigvalsh(square(state["H"])).min() > 0


@every_solver
@pytest.mark.parametrize("x0", [ROSENBROCK_START, np.full(5, -1.0)], ids=len)
def test_every_step_descends_and_satisfies_the_strong_wolfe_conditions(solver, x0):
    for before, after in pairwise(steps(solver, rosenbrock, x0, 20)):
        s = after["x"] - before["x"]
        slope = before["gradient"] @ s
        assert slope < 0
        assert after["value"] <= before["value"] + 1e-3 * slope
        assert abs(after["gradient"] @ s) <= solver.c2 * abs(slope)


def test_the_class_runs_from_bfgs_to_dfp():
    for phi, end in ((0.0, BFGS()), (1.0, DFP())):
        mine = minimize(rosenbrock, ROSENBROCK_START, optimizer=Broyden(phi))
        theirs = minimize(rosenbrock, ROSENBROCK_START, optimizer=end)
        assert_array_equal(mine.trace["objective"], theirs.trace["objective"])


# Exact line searches


def search_exactly(self, function, state, direction, first_step):
    """In place of a method's search: the first zero of the slope along the direction."""

    def slope(step):
        return function.value_and_grad(state["x"] + step * direction)[1] @ direction

    high = 1.0
    while slope(high) < 0:
        high *= 2
    step = optimize.brentq(slope, 0.0, high, xtol=1e-15, rtol=1e-14)
    x = state["x"] + step * direction
    return Search(x, *function.value_and_grad(x), step, None)


def quadratic(A):
    return lambda x: (x @ A @ x / 2, A @ x)


def convex(x):
    """Not quadratic, with a Hessian between I and 10 I near the start."""
    scales = np.arange(1, x.size + 1) / 2
    shifted = x - x.mean() / 2
    inner = scales * np.sinh(shifted)
    return scales @ np.cosh(shifted), inner - inner.sum() / (2 * x.size)


@pytest.mark.parametrize(
    "function", [quadratic(positive_definite(5, 0)), convex], ids=["quadratic", "convex"]
)
def test_the_whole_class_takes_the_same_steps_if_searches_are_exact(function, monkeypatch):
    """Dixon, Mathematical Programming 2:383-387 (1972).

    What the zeros of slopes are not exact to grows on the way by some digits.
    """
    x0 = np.array([0.3, -0.2, 0.5, 0.1, -0.4])
    for method in (BFGS, DFP, Broyden):
        monkeypatch.setattr(method, "search", search_exactly)
    expected = [state["x"] for state in steps(BFGS(), function, x0, 4)]
    lengths = np.linalg.norm(np.diff(expected, axis=0), axis=1)
    assert lengths.min() > 1e-5
    for solver in (DFP(), Broyden(0.3), Broyden(0.8)):
        points = [state["x"] for state in steps(solver, function, x0, 4)]
        assert_allclose(points, expected, atol=1e-8)


@each_of_the_class
@pytest.mark.parametrize("n", [2, 4, 6])
def test_n_exact_searches_find_the_minimum_of_a_quadratic_and_its_hessian(solver, n, monkeypatch):
    A = positive_definite(n, n)
    monkeypatch.setattr(type(solver), "search", search_exactly)
    last = steps(solver, quadratic(A), np.arange(1.0, n + 1), n)[-1]
    assert_allclose(last["x"], 0, atol=1e-6)
    assert_allclose(square(last["H"]), np.linalg.inv(A), atol=1e-5)


@pytest.mark.parametrize("n", [2, 5, 9])
def test_sr1_finds_the_hessian_of_a_quadratic_by_any_n_independent_steps(n):
    """Theorem 6.1 of Nocedal & Wright."""
    A = positive_definite(n, n)
    function, solver = Plain(quadratic(A), n), SR1()
    state = solver.start(function, np.ones(n))
    rng = np.random.default_rng(n)
    for s in rng.normal(size=(n, n)):
        x = state["x"] + s
        search = Search(x, *function.value_and_grad(x), 1.0, None)
        solver.learn(state, search, s)
        solver.accept(state, *search[:3])
    assert_allclose(square(state["H"]), np.linalg.inv(A), atol=1e-9)


@given(n=st.integers(2, 6), seed=st.integers(0, 1000))
def test_the_first_h_of_sr1_is_the_best_conditioned_of_all_multiples_of_the_identity(n, seed):
    function, solver = Plain(quadratic(positive_definite(n, seed)), n), SR1()
    state = solver.start(function, np.random.default_rng(seed).normal(size=n))
    x, gradient = state["x"], state["gradient"]
    assert solver.step(function, state) is None
    s, y = state["x"] - x, state["gradient"] - gradient
    H = square(state["H"])
    assert_allclose(H @ y, s, atol=1e-12)
    eigenvalues = np.linalg.eigvalsh(H)
    assert eigenvalues.min() > 0
    for scale in np.geomspace(1e-3, 1, 50, endpoint=False) * (s @ y) / (y @ y):
        r = s - scale * y
        others = np.linalg.eigvalsh(scale * np.eye(n) + np.outer(r, r) / (r @ y))
        assert eigenvalues.max() / eigenvalues.min() <= others.max() / others.min() * (1 + 1e-9)


def test_sr1_goes_the_other_way_where_h_is_indefinite():
    solver, function = SR1(), Plain(rosenbrock, 2)
    state = solver.start(function, ROSENBROCK_START)
    H = -np.array([[2.0, 0.5], [0.5, 1.0]])
    state.update(H=triangle(H), n_pairs=1)
    gradient = state["gradient"]
    direction, _ = solver.direction(state)
    assert_allclose(direction, H @ gradient, rtol=1e-14)
    assert direction @ gradient < 0
    assert solver.step(function, state) is None
    assert state["value"] < 24.2


# Known minima, and SciPy


@every_solver
@pytest.mark.parametrize("n", [2, 6])
def test_rosenbrock(solver, n):
    """With at most twice the evaluations of SciPy's BFGS; DFP searches to a tenth of the slope."""
    x0 = ROSENBROCK_START if n == 2 else np.full(n, -1.0)
    result = minimize(rosenbrock, x0, optimizer=solver)
    theirs = minimize(rosenbrock, x0, optimizer=Scipy("BFGS"))
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, 1, atol=2e-3)
    most = 4 if isinstance(solver, DFP) else 2
    assert result.n_grad_evals <= most * theirs.n_grad_evals
    assert (np.diff(result.trace["objective"]) <= 0).all()


def test_bfgs_takes_about_as_many_evaluations_as_scipys():
    ours = theirs = 0
    for x0 in ([-1.2, 1.0], [-1.0] * 4, [3.0] * 6, [-2.0] * 10):
        ours += minimize(rosenbrock, x0, optimizer=BFGS()).n_grad_evals
        theirs += minimize(rosenbrock, x0, optimizer=Scipy("BFGS")).n_grad_evals
    assert ours == pytest.approx(theirs, rel=0.25)


@pytest.mark.parametrize("name", ["bfgs", "dfp", "broyden", "broyden(phi=0.9)", "sr1"])
@both_precisions
def test_a_small_network(name, dtype):
    X, y = classes()
    net = small_net(dtype)
    result = net.fit(X, y, optimizer=name, epochs=60, l2=0.01)
    assert result.status in (Status.CONVERGED, Status.COMPLETED)
    assert result.loss == net.loss(X, y, l2=0.01) < 0.55 * np.log(3)
    assert_array_equal(result.theta, net.theta)
    assert (np.diff(result.trace["objective"]) <= 0).all()


# Resumption


@every_solver
def test_going_on_from_a_copied_state_is_exact(solver):
    assert_goes_on_exactly(solver, 9)


# Ends


@every_solver
def test_too_many_parameters_are_refused_with_what_they_would_take(solver):
    def unreachable(x):
        raise AssertionError

    n = MOST_PARAMETERS + 1000
    message = (
        rf"{type(solver).__name__} keeps a matrix for at most 16,000 parameters, 1 GB, and would "
        r"take 1.2 GB for 17,000; LBFGS takes any number"
    )
    with pytest.raises(ValueError, match=message):
        minimize(unreachable, np.zeros(n), optimizer=solver)
    net = MLP([99, 170, 1], seed=0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match="keeps a matrix for at most 16,000 parameters"):
        net.fit(np.zeros((2, 99)), np.zeros(2), optimizer=["adam", solver])
    assert_array_equal(net.theta, before)


@compiled_only
def test_a_thousand_parameters():
    n = 1000
    scales = np.linspace(1, 3, n)
    result = minimize(
        lambda x: (scales @ (x - 1) ** 2 / 2, scales * (x - 1)),
        np.zeros(n),
        optimizer=BFGS(gradient_tolerance=1e-6, objective_tolerance=0.0),
    )
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, 1, atol=1e-6)


@every_solver
def test_a_wrong_gradient_is_a_failed_search_at_the_best_point(solver):
    """Every step along -g goes up."""
    result = minimize(lambda x: (x @ x, -2 * x), [1.0, 2.0], optimizer=solver)
    assert result.status == Status.LINE_SEARCH_FAILED
    assert_array_equal(result.theta, [1, 2])


@every_solver
def test_an_h_that_leads_nowhere_is_dropped(solver):
    function = Plain(rosenbrock, 2)
    state = solver.start(function, ROSENBROCK_START)
    for broken in (np.full(3, np.nan), np.zeros(3), triangle(np.diag([1e-200, 1e-200]))):
        value = state["value"]
        state.update(H=broken.copy(), n_pairs=3)
        assert solver.step(function, state) is None
        assert state["n_pairs"] <= 1
        assert state["value"] < value


@every_solver
def test_a_region_that_is_not_finite_is_kept_out_of(solver):
    """x - log x, infinite or undefined from 0 down; the minimum is at 1."""

    def barrier(x):
        with np.errstate(all="ignore"):
            return float(np.sum(x - np.log(x))), 1 - 1 / x

    result = minimize(barrier, [0.01, 30.0, 2.0], optimizer=solver)
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, 1, atol=1e-4)


@every_solver
def test_nothing_but_the_start_is_finite(solver):
    calls = []

    def function(x):
        calls.append(None)
        return (5.0 if len(calls) == 1 else np.nan), np.ones(2)

    result = minimize(function, [1.0, 2.0], optimizer=solver)
    assert result.status == Status.NOT_FINITE
    assert_array_equal(result.theta, [1, 2])


@every_solver
def test_a_flat_function_has_converged(solver):
    result = minimize(lambda x: (1.0, np.zeros(2)), [1.0, 2.0], optimizer=solver)
    assert result.status == Status.CONVERGED
    assert result.n_iter == 0


@every_solver
def test_a_function_without_a_minimum_is_said_to_be_unbounded(solver):
    result = minimize(lambda x: (-x.sum(), -np.ones(2)), [1.0, 2.0], optimizer=solver)
    assert result.status == Status.UNBOUNDED
    assert result.loss == result.trace["objective"].min() < -1e9


@every_solver
def test_tiny_budgets(solver):
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, max_iterations=1)
    assert (result.status, result.n_iter) == (Status.COMPLETED, 1)
    assert result.loss < 24.2
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, time_limit=1e-9)
    assert result.status == Status.TIME_LIMIT
    assert_array_equal(result.theta, ROSENBROCK_START)


@pytest.mark.parametrize(
    ("phi", "error"), [(-0.1, ValueError), (1.1, ValueError), (None, TypeError)]
)
def test_bad_hyperparameters(phi, error):
    with pytest.raises(error, match=r"phi must be a number in \[0, 1\], got"):
        Broyden(phi)
