"""L-BFGS and OWL-QN: runs against SciPy, the conditions that each iteration promises, and how they
end where there is no way on."""

import copy
import itertools
import math

import numpy as np
import pytest
import reference
from functions import rosenbrock
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import LBFGS, MLP, OWLQN, Objective, Scipy, Status, datasets, minimize
from fastmlp.functions import CallableFunction
from fastmlp.monitor import Monitor
from fastmlp.running import run_stages
from fastmlp.solvers.lbfgs_run import Run

EXACT = {"gradient_tolerance": 1e-9, "objective_tolerance": 1e-16}


def convex(n, condition, seed=0):
    """A quadratic of given condition number, its least value 0 somewhere in the unit cube."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(n, n)))[0]
    hessian = (Q * condition ** rng.uniform(0, 1, n)) @ Q.T
    center = rng.uniform(-1, 1, n)

    def value_and_grad(x):
        gradient = hessian @ (x - center)
        return gradient @ (x - center) / 2, gradient

    return value_and_grad


def separable(x):
    """Sums of log cosh: convex, with steps that are never quite those of a quadratic."""
    scale = 10.0 ** np.linspace(-1, 1, x.size)
    return np.logaddexp(scale * x - 1, 1 - scale * x).sum(), scale * np.tanh(scale * x - 1)


def digits(n_rows=1797):
    X, y = datasets.load_digits()
    return X[:n_rows], y[:n_rows]


# Iterations


def function_of(value_and_grad, n, l1=None):
    return CallableFunction(value_and_grad, n, Monitor(), np.random.default_rng(0), l1)


def iterates(solver, function, x0, n):
    """Copies of the state at the start and after each of n steps, or until the solver ends."""
    state = solver.start(function, np.array(x0, dtype=np.float64))
    states = [copy.deepcopy(state)]
    for _ in range(n):
        if solver.finished(function, state) or solver.step(function, state):
            break
        states.append(copy.deepcopy(state))
    return states


@pytest.mark.parametrize(
    ("value_and_grad", "x0"),
    [
        (rosenbrock, [-1.2, 1.0]),
        (rosenbrock, np.tile([-1.2, 1.0], 4)),
        (separable, np.full(6, 4.0)),
        (convex(8, 1e4), np.zeros(8)),
    ],
    ids=["rosenbrock", "rosenbrock 8", "separable", "quadratic"],
)
def test_accepted_steps_satisfy_the_wolfe_conditions(value_and_grad, x0):
    """A step is a multiple of the direction, so that it stands for it in both conditions."""
    states = iterates(LBFGS(), function_of(value_and_grad, len(x0)), x0, 30)
    assert len(states) > 6
    for old, new in itertools.pairwise(states):
        step = new["x"] - old["x"]
        slope = step @ old["gradient"]
        assert slope < 0
        assert new["value"] <= old["value"] + 1e-3 * slope
        assert abs(step @ new["gradient"]) <= 0.9 * abs(slope)
        assert_array_equal(new["gradient"], value_and_grad(new["x"])[1])


def pairs_of(state):
    """The pairs in a state, the oldest first."""
    run = Run(state["memory"])
    S, Y = run.pairs
    rows = [(run["last"] - age) % run["n_rows"] for age in reversed(range(run["count"]))]
    return [(S[row], Y[row]) for row in rows]


def test_the_history_holds_the_latest_pairs():
    states = iterates(LBFGS(4), function_of(rosenbrock, 2), [-1.2, 1.0], 12)
    for i, state in enumerate(states):
        pairs = pairs_of(state)
        assert len(pairs) == min(i, 4)
        for age, (s, y) in enumerate(reversed(pairs)):
            new, old = states[i - age], states[i - age - 1]
            assert_array_equal(s, new["x"] - old["x"])
            assert_array_equal(y, new["gradient"] - old["gradient"])


def test_the_first_trial_is_a_change_of_norm_1_and_then_the_whole_step():
    points = []

    def watched(x):
        points.append(x.copy())
        return rosenbrock(x)

    solver, function = LBFGS(), function_of(watched, 2)
    state = solver.start(function, np.array([-1.2, 1.0]))
    solver.step(function, state)
    assert_allclose(np.linalg.norm(points[1] - points[0]), 1, rtol=1e-14)
    for _ in range(3):
        before, x, scale = len(points), state["x"], Run(state["memory"])["scale"]
        direction = reference.two_loop(pairs_of(state), scale, state["gradient"])
        solver.step(function, state)
        # Roundings grow with the condition number of H, here up to some 1e3.
        assert_allclose(points[before], x + direction, rtol=1e-11)


LASSO_L1 = np.r_[np.full(10, 0.2), np.zeros(2)]
RESUMED = {
    "lbfgs": (LBFGS(3), rosenbrock, np.tile([-1.2, 1.0], 6), None),
    "bounds": (LBFGS(3, bounds=(-1.5, 0.8)), rosenbrock, np.tile([-1.2, 1.0], 6), None),
    "owlqn": (OWLQN(3), convex(12, 100), np.zeros(12), LASSO_L1),
}


@pytest.mark.parametrize(("solver", "value_and_grad", "x0", "l1"), RESUMED.values(), ids=RESUMED)
@pytest.mark.parametrize("n", [1, 5])
def test_a_copied_state_goes_on_bit_for_bit(solver, value_and_grad, x0, l1, n):
    function = function_of(value_and_grad, x0.size, l1)
    state = solver.start(function, x0)
    for _ in range(n):
        assert solver.step(function, state) is None
    resumed = copy.deepcopy(state)
    for _ in range(n):
        solver.step(function, state)
    function = function_of(value_and_grad, x0.size, l1)
    for _ in range(n):
        solver.step(function, resumed)
    assert state.keys() == resumed.keys()
    for name in state:
        assert_array_equal(resumed[name], state[name], err_msg=name)


def test_a_state_of_a_checkpoint_of_before_goes_on_without_its_history():
    """It had x, value, gradient and the scale, and the pairs in matrices of their own."""
    solver, function = LBFGS(), function_of(rosenbrock, 2)
    state = iterates(solver, function, [-1.2, 1.0], 5)[-1]
    run = Run(state.pop("memory"))
    scale = state["scale"] = run["scale"]
    x, gradient, value = state["x"], state["gradient"], state["value"]
    points = []

    def watched(x):
        points.append(x.copy())
        return rosenbrock(x)

    assert solver.step(function_of(watched, 2), state) is None
    assert_allclose(points[0], x - scale * gradient, rtol=1e-14)
    assert state["value"] < value


# Against SciPy


STANDARD = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0]),
    "rosenbrock 10": (rosenbrock, np.tile([-1.2, 1.0], 5)),
    "quadratic": (convex(20, 1e2), np.zeros(20)),
    "hard quadratic": (convex(10, 1e4), np.zeros(10)),
    "separable": (separable, np.full(12, 4.0)),
}


def compared(value_and_grad, x0, bounds=None, history_size=10):
    """Results of ours and of SciPy's L-BFGS-B with the same tolerances."""
    ours = LBFGS(history_size, bounds=bounds, gradient_tolerance=1e-7, objective_tolerance=1e-14)
    options = {"maxcor": history_size, "gtol": 1e-7, "ftol": 1e-14}
    theirs = Scipy("L-BFGS-B", bounds=bounds, options=options)
    return [minimize(value_and_grad, x0, optimizer=o, max_iterations=2000) for o in (ours, theirs)]


@pytest.mark.parametrize("history_size", [5, 10])
def test_the_minimizers_of_scipys_in_as_few_evaluations(history_size):
    """Within 10 % over all: single long runs differ by that much by their roundings alone."""
    counts = []
    for value_and_grad, x0 in STANDARD.values():
        ours, theirs = compared(value_and_grad, x0, history_size=history_size)
        assert ours.status == Status.CONVERGED
        # Along the flattest direction of all, of curvature 1e-2, the end is this uncertain.
        assert_allclose(ours.theta, theirs.theta, atol=1e-4)
        counts.append((ours.n_grad_evals, theirs.n_grad_evals))
    ours, theirs = np.sum(counts, axis=0)
    assert ours <= 1.1 * theirs


@pytest.mark.parametrize(("n", "condition"), [(5, 10), (20, 1e3), (60, 1e4)])
def test_the_bounded_minimizers_of_scipys_in_as_few_evaluations(n, condition):
    """A convex quadratic has but one; a good half of its parameters end on a bound."""
    low, high = np.full(n, -0.4), np.full(n, 0.3)
    counts = []
    for seed in range(4):
        value_and_grad = convex(n, condition, seed)
        ours, theirs = compared(value_and_grad, np.zeros(n), (low, high))
        assert ours.status == Status.CONVERGED
        assert_allclose(ours.theta, theirs.theta, atol=1e-5)
        on_bound = (ours.theta == low) | (ours.theta == high)
        assert on_bound.any()
        gradient = value_and_grad(ours.theta)[1]
        assert (gradient[ours.theta == low] >= 0).all()
        assert (gradient[ours.theta == high] <= 0).all()
        assert_allclose(gradient[~on_bound], 0, atol=1e-3)
        counts.append((ours.n_grad_evals, theirs.n_grad_evals))
    ours, theirs = np.sum(counts, axis=0)
    assert ours <= 1.1 * theirs + 1


def test_bounds_that_the_way_runs_along():
    """Rosenbrock's valley, x_2 = x_1^2, with a wall across, and with a lid on it."""
    for low, high in [((-2, -1), (0.5, 2)), ((-2, -1), (2, 0.25))]:
        box = np.array(low, float), np.array(high, float)
        ours, theirs = compared(rosenbrock, [-1.2, 1.0], box)
        assert ours.status == Status.CONVERGED
        assert_allclose(ours.theta, theirs.theta, atol=1e-5)


@compiled_only
@both_precisions
def test_a_network_of_digits_takes_as_few_evaluations_as_scipys(dtype):
    """To the same objective after 50 iterations: roundings have not yet led far apart."""
    X, y = digits(600)

    def fit(optimizer):
        net = MLP([64, 32, 10], activation="relu", output="softmax", dtype=dtype, seed=0)
        return net.fit(X, y, optimizer=optimizer, epochs=50, l2=1e-3)

    ours, theirs = fit(LBFGS()), fit(Scipy("L-BFGS-B"))
    assert ours.n_iter == theirs.n_iter == 50
    assert ours.n_grad_evals <= 1.1 * theirs.n_grad_evals
    assert_allclose(ours.loss, theirs.loss, rtol=0.02)


# Without a way back to Python


def watch(progress):
    """A callback, for which each iteration comes back to Python."""


NETWORKS = {
    "small": ((4, 16, 3), 150, {"dtype": "float32"}),
    "small float64": ((4, 16, 3), 150, {"dtype": "float64"}),
    "groups": ((12, 40, 40, 3), 1100, {"dtype": "float32"}),
    "slices": ((200, 16, 3), 300, {"dtype": "float64"}),
    "together": ((30, 260, 260, 3), 300, {"dtype": "float32"}),
    "a program": ((12, 20, 20, 3), 400, {"norm": "layer", "residual": True}),
}


def network_fit(network, n_threads, callbacks=(), **options):
    """A fit of some iterations with penalties and weights; the FitResult."""
    sizes, n_rows, kind = NETWORKS[network]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n_rows, sizes[0])), rng.integers(0, sizes[-1], n_rows)
    net = MLP(sizes, activation="tanh", output="softmax", seed=0, **kind)
    return net.fit(
        X,
        y,
        optimizer=LBFGS(gradient_tolerance=0, objective_tolerance=0),
        sample_weight=rng.random(n_rows),
        l1=1e-5,
        l2=1e-4,
        n_threads=n_threads,
        callbacks=callbacks,
        **{"epochs": 30, **options},
    )


def assert_same(one, other):
    """Of two results all that does not depend on the clock."""
    assert_array_equal(one.theta, other.theta)
    for name in ("loss", "status", "message", "n_iter", "n_loss_evals", "n_grad_evals"):
        assert getattr(one, name) == getattr(other, name), name
    for name in ("epoch", "data_passes", "n_loss_evals", "n_grad_evals", "objective"):
        assert_array_equal(one.trace[name], other.trace[name], err_msg=name)
    assert_allclose(one.trace["gradient_norm"], other.trace["gradient_norm"], rtol=1e-12)


@compiled_only
@pytest.mark.parametrize("network", NETWORKS)
def test_who_looks_on_changes_no_bit(network):
    expected = network_fit(network, 1, [watch])
    assert expected.n_iter == 30
    for n_threads in (1, 2, 3):
        result = network_fit(network, n_threads)
        assert_same(result, expected)
        assert (np.diff(result.trace["seconds"]) > 0).all()
        assert result.trace["seconds"][-1] <= result.seconds


@compiled_only
@pytest.mark.parametrize(
    "options",
    [{"target_loss": 1.05}, {"epochs": 1}, {"epochs": 300}, {"target_loss": 10.0}],
    ids=str,
)
def test_it_ends_where_it_would_if_someone_looked_on(options):
    assert_same(network_fit("small", 1, **options), network_fit("small", 1, [watch], **options))


@compiled_only
@pytest.mark.parametrize("tolerance", [{"gradient_tolerance": 0.02}, {"step_tolerance": 0.01}, {}])
def test_tolerances_are_met_where_they_would_be(tolerance):
    X, y = digits(300)

    def fit(callbacks):
        net = MLP([64, 8, 10], activation="tanh", output="softmax", dtype="float64", seed=0)
        optimizer = LBFGS(**{"gradient_tolerance": 1e-3, **tolerance})
        return net.fit(X, y, optimizer=optimizer, l2=1e-2, epochs=500, callbacks=callbacks)

    result = fit([])
    assert result.status == Status.CONVERGED
    assert_same(result, fit([watch]))


@compiled_only
@pytest.mark.parametrize("evaluations", range(1, 9))
def test_a_budget_ends_it_in_the_midst_of_an_iteration(evaluations):
    """The first iteration of this start takes several trials."""
    ends = []
    for callbacks in ((), (watch,)):
        net = MLP([3, 4, 1], activation="tanh", dtype="float64", seed=0)
        net.theta[:] *= 5
        rng = np.random.default_rng(0)
        objective = Objective(net, rng.normal(size=(40, 3)), 20 * rng.normal(size=40))
        with Monitor(network=net, callbacks=callbacks) as monitor:
            stage = LBFGS(gradient_tolerance=0, objective_tolerance=0)
            ends.append(
                run_stages(
                    objective,
                    [stage],
                    [100],
                    monitor,
                    {"rng": rng},
                    gradient_evaluations=[evaluations],
                )
            )
    assert ends[0].n_grad_evals == evaluations
    assert_same(*ends)


@compiled_only
def test_a_time_limit_is_heeded():
    result = network_fit("groups", 1, epochs=10**6, time_limit=0.2)
    assert result.status == Status.TIME_LIMIT
    assert result.n_iter < 10**6


# OWL-QN


def lasso(n_rows, n, seed=0):
    """Least squares with a sparse solution, more unknowns than rows make it degenerate."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n_rows, n)) / math.sqrt(n_rows)
    truth = np.where(rng.random(n) < 0.3, rng.normal(size=n), 0.0)
    b = A @ truth + 0.05 * rng.normal(size=n_rows)

    def value_and_grad(x):
        residual = A @ x - b
        return residual @ residual / 2, A.T @ residual

    return A, b, value_and_grad


def coordinate_descent(A, b, l1, n_sweeps=2000):
    """The lasso's solution, one coordinate after the other by its soft threshold."""
    x, residual, squares = np.zeros(A.shape[1]), b.copy(), np.square(A).sum(axis=0)
    for _ in range(n_sweeps):
        for j in range(x.size):
            pull = A[:, j] @ residual + squares[j] * x[j]
            moved = np.sign(pull) * max(abs(pull) - l1[j], 0.0) / squares[j]
            residual += A[:, j] * (x[j] - moved)
            x[j] = moved
    return x


@pytest.mark.parametrize("l1", [0.01, 0.1, np.r_[0.0, 0.3, np.full(13, 0.05)]], ids=str)
def test_the_lassos_solution(l1):
    A, b, value_and_grad = lasso(40, 15)
    result = minimize(value_and_grad, np.zeros(15), optimizer=OWLQN(**EXACT), l1=l1)
    expected = coordinate_descent(A, b, np.broadcast_to(l1, 15), 100 if INTERPRETED else 300)
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, expected, atol=1e-7)
    assert_array_equal(result.theta == 0, expected == 0)


@pytest.mark.parametrize("seed", range(3))
def test_orthant_wise_steps_meet_the_conditions_of_a_minimum(seed):
    """0 is in the subdifferential: the gradient is -l1 sign(x), or at 0 no larger than l1."""
    _, _, value_and_grad = lasso(30, 40, seed)
    result = minimize(value_and_grad, np.full(40, 0.5), optimizer=OWLQN(**EXACT), l1=0.1)
    gradient = value_and_grad(result.theta)[1]
    zero = result.theta == 0
    assert zero.sum() > 10
    assert (~zero).sum() > 5
    assert (np.abs(gradient[zero]) <= 0.1 + 1e-8).all()
    assert_allclose(gradient[~zero], -0.1 * np.sign(result.theta[~zero]), atol=1e-6)


def test_no_step_leaves_its_orthant_and_each_descends():
    """Sufficiently: by a part of what the pseudo-gradient says."""
    l1 = np.r_[np.full(25, 0.05), np.zeros(5)]
    _, _, value_and_grad = lasso(20, 30, 3)
    x0 = np.random.default_rng(0).normal(size=30)
    states = iterates(OWLQN(), function_of(value_and_grad, 30, l1), x0, 40)
    assert len(states) > 10
    for old, new in itertools.pairwise(states):
        signs = old["x"] * new["x"]
        assert (signs[l1 > 0] >= 0).all()
        left_zero = (old["x"] == 0) & (new["x"] != 0) & (l1 > 0)
        assert (new["x"] * old["gradient"] < 0)[left_zero].all()
        assert new["value"] <= old["value"] + 1e-4 * old["gradient"] @ (new["x"] - old["x"])
        smooth_value, smooth_gradient = value_and_grad(new["x"])
        assert_allclose(new["value"], smooth_value + l1 @ np.abs(new["x"]), rtol=1e-14)
        assert_array_equal(new["smooth_gradient"], smooth_gradient)


def test_free_parameters_may_change_their_sign():
    def value_and_grad(x):
        return (x[0] - 2) ** 2 + (x[1] - 2) ** 2, 2 * (x - 2)

    free = minimize(value_and_grad, [-1.0, -1.0], optimizer=OWLQN(), l1=[0.0, 1.0])
    assert_allclose(free.theta, [2, 1.5], atol=1e-5)


def test_without_l1_it_is_lbfgs():
    ours, plain = (minimize(rosenbrock, [-1.2, 1.0], optimizer=o) for o in (OWLQN(), LBFGS()))
    assert_array_equal(ours.trace["objective"], plain.trace["objective"])
    assert_array_equal(ours.theta, plain.theta)


@both_precisions
def test_a_penalty_that_leaves_nothing_but_biases(dtype):
    """All weights 0: the output's biases alone then give each class its share of the rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), np.repeat([0, 1, 2], [5, 10, 15])
    net = MLP([4, 3, 3], activation="tanh", output="softmax", dtype=dtype, seed=0)
    result = net.fit(X, y, optimizer=OWLQN(), l1=10.0, epochs=200)
    assert result.status in (Status.CONVERGED, Status.LINE_SEARCH_FAILED)
    for W in net.weights:
        assert_array_equal(W, 0)
    assert_allclose(net.predict(X[:1])[0], [1 / 6, 1 / 3, 1 / 2], atol=2e-3)


@compiled_only
@both_precisions
def test_a_network_gets_sparse(dtype):
    X, y = digits(400)
    nets = [
        MLP([64, 16, 10], activation="tanh", output="softmax", dtype=dtype, seed=0)
        for _ in range(2)
    ]
    sparse, dense = (
        net.fit(X, y, optimizer=o, l1=3e-3, epochs=150)
        for net, o in zip(nets, (OWLQN(), LBFGS()), strict=True)
    )
    assert np.mean([np.mean(W == 0) for W in nets[0].weights]) > 0.5
    assert not any((W == 0).any() for W in nets[1].weights)
    assert all((b != 0).any() for b in nets[0].biases)
    assert sparse.loss < 1.1 * dense.loss


# Where there is no way on


def test_entropy_takes_no_more_evaluations_than_scipys_own_test_asks_for():
    """SciPy's tests/test_optimize.py counts 7 function calls, two of them its own."""
    F = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 0, 0]])
    K = np.array([1.0, 0.3, 0.5])

    def entropy(x):
        log_odds = F @ x
        log_total = np.log(np.exp(log_odds).sum())
        return log_total - K @ x, F.T @ np.exp(log_odds - log_total) - K

    for optimizer in (LBFGS(), OWLQN()):
        result = minimize(entropy, np.zeros(3), optimizer=optimizer)
        assert result.n_grad_evals <= 5
        assert_allclose(result.theta, [0, -0.524869316, 0.487525860], atol=1e-4)


KINDS = {
    "lbfgs": (LBFGS(), 0.0),
    "bounds": (LBFGS(bounds=(-1e30, 1e30)), 0.0),
    "owlqn": (OWLQN(), 0.01),
}
every_kind = pytest.mark.parametrize(("solver", "l1"), KINDS.values(), ids=KINDS)


@every_kind
def test_a_wrong_gradient_from_the_start(solver, l1):
    """The gradient has the wrong sign: no way along it leads down."""
    result = minimize(lambda x: (x @ x, -2 * x), [1.0, 2.0], optimizer=solver, l1=l1)
    assert result.status == Status.LINE_SEARCH_FAILED
    assert "found no sufficiently lower point" in result.message
    assert_array_equal(result.theta, [1, 2])
    assert result.n_iter == 0


@every_kind
def test_a_gradient_that_turns_wrong_on_the_way(solver, l1):
    """One component is missing; all that the others can do is done.

    Values are rounded to few digits, so that none falls by the luck of its last digit.
    """

    def value_and_grad(x):
        value, gradient = convex(4, 10)(x)
        gradient[3] = 1.0
        return np.round(value, 9), gradient

    result = minimize(value_and_grad, np.full(4, 5.0), optimizer=solver, l1=l1)
    assert result.status == Status.LINE_SEARCH_FAILED
    assert not result.success
    assert result.loss <= result.trace["objective"].min() * (1 + 1e-15)
    assert result.loss < 0.5 * result.trace["objective"][0]


@every_kind
def test_a_flat_function_with_a_gradient(solver, l1):
    result = minimize(lambda x: (1.0, np.ones(2)), [0.0, 0.0], optimizer=solver, l1=l1)
    assert result.status == Status.LINE_SEARCH_FAILED
    assert_array_equal(result.theta, [0, 0])


@every_kind
def test_a_flat_function(solver, l1):
    result = minimize(lambda x: (1.0, np.zeros(2)), [0.0, 0.0], optimizer=solver, l1=l1)
    assert result.status == Status.CONVERGED
    assert result.n_grad_evals == 1


@pytest.mark.parametrize("solver", [LBFGS(), LBFGS(bounds=(-np.inf, 0.5))], ids=["free", "bounds"])
@pytest.mark.parametrize("steepness", [1e-3, 1.0, 1e3])
def test_a_function_without_a_lower_bound(solver, steepness):
    """It still falls a long way off: the status says so, and the point is the best iterate."""

    def value_and_grad(x):
        return steepness * x.sum(), np.full(2, steepness)

    result = minimize(value_and_grad, [0.0, 0.0], optimizer=solver)
    assert result.status == Status.UNBOUNDED
    assert "still falls" in result.message
    assert np.isfinite(result.theta).all()


@every_kind
def test_a_domain_with_an_edge(solver, l1):
    """x - log x has its minimum at 1; the first trials are left of 0."""

    def value_and_grad(x):
        if (x <= 0).any():
            return math.nan, np.full(2, math.nan)
        return (x - 50 * np.log(x)).sum(), 1 - 50 / x

    result = minimize(value_and_grad, [1e-3, 300.0], optimizer=solver, l1=l1)
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, 50 / (1 + l1), rtol=1e-3)


@every_kind
def test_infinite_values_all_around(solver, l1):
    def value_and_grad(x):
        return (1.0 if (x == 1).all() else math.inf), np.ones(2)

    result = minimize(value_and_grad, [1.0, 1.0], optimizer=solver, l1=l1)
    assert result.status == Status.NOT_FINITE
    assert "not finite" in result.message
    assert_array_equal(result.theta, [1, 1])


@every_kind
def test_one_iteration_comes_back_with_a_lower_point(solver, l1):
    result = minimize(rosenbrock, [-1.2, 1.0], optimizer=solver, l1=l1, max_iterations=1)
    assert result.status == Status.COMPLETED
    assert result.n_iter == 1
    assert result.loss < 24.2 + l1 * 2.2


@every_kind
def test_a_minimum_as_exact_as_it_gets(solver, l1):
    """Without tolerances it ends where values no longer fall, or theta no longer changes."""
    exact = {"gradient_tolerance": 0.0, "objective_tolerance": 0.0}
    options = {} if isinstance(solver, OWLQN) else {"bounds": solver.bounds}
    solver = type(solver)(**exact, **options)
    result = minimize(separable, np.full(5, 2.0), optimizer=solver, l1=l1)
    assert result.status == Status.CONVERGED
    loosely = minimize(separable, np.full(5, 2.0), optimizer=type(solver)(**options), l1=l1)
    assert result.loss <= loosely.loss
    assert_allclose(result.theta, loosely.theta, atol=1e-3)


@both_precisions
@pytest.mark.parametrize("l1", [0.0, 1e-3])
def test_a_second_run_from_the_minimum_converges_at_once(dtype, l1):
    """Rounded values show no lower point there: that is no failure."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 3))
    y = X.sum(axis=1)
    net = MLP([3, 4, 1], activation="tanh", dtype=dtype, seed=0)
    solver = OWLQN if l1 else LBFGS
    tight = {"gradient_tolerance": 1e-12, "objective_tolerance": 1e-12}
    net.fit(X, y, optimizer=solver(), l1=l1, l2=1e-2, epochs=400)
    net.fit(X, y, optimizer=solver(**tight), l1=l1, l2=1e-2, epochs=400)
    again = net.fit(X, y, optimizer=solver(**tight), l1=l1, l2=1e-2, epochs=400)
    assert again.status == Status.CONVERGED
