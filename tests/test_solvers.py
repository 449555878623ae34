"""Solvers on functions with known minima, against SciPy called directly, within bounds, and
`minimize` with every optimizer."""

import math
import signal

import numpy as np
import pytest
import reference
from functions import ROSENBROCK_START, classes, rosenbrock, small_net
from marks import both_precisions
from numpy.testing import assert_allclose, assert_array_equal
from scipy import optimize

from fastmlp import (
    LBFGS,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    InverseTime,
    LinearDecay,
    RMSProp,
    Scipy,
    Status,
    minimize,
)

METHODS = ("L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "trust-constr")
SOLVERS = {"LBFGS": LBFGS(), **{method: Scipy(method) for method in METHODS}}
BOUNDED = {name: SOLVERS[name] for name in ("LBFGS", "L-BFGS-B", "TNC", "SLSQP")}

every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def within(solver, bounds):
    """The same solver with bounds."""
    return (
        LBFGS(bounds=bounds) if isinstance(solver, LBFGS) else Scipy(solver.method, bounds=bounds)
    )


# A quadratic (x - c)^T A (x - c) / 2 with eigenvalues from 1 to 100.
CENTER = np.array([1.0, -2.0, 3.0, 0.5, 0.0])
_Q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
HESSIAN = _Q @ np.diag([1.0, 3.0, 10.0, 30.0, 100.0]) @ _Q.T


def quadratic(x):
    gradient = HESSIAN @ (x - CENTER)
    return gradient @ (x - CENTER) / 2, gradient


def bowl(x):
    """Squared distance from `CENTER`."""
    return np.sum((x - CENTER) ** 2), 2 * (x - CENTER)


# Known minima


@every_solver
def test_rosenbrock(solver):
    """The minimum is 0 at (1, 1); the Hessian's condition number of 2500 limits accuracy."""
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver)
    assert result.status == Status.CONVERGED
    assert result.success
    assert_allclose(result.theta, [1, 1], atol=2e-3)
    assert result.loss == rosenbrock(result.theta)[0] < 1e-6
    assert_allclose(result.trace["objective"][0], 24.2, rtol=1e-15)
    assert result.trace["objective"][-1] == pytest.approx(result.loss, rel=1e-12)


@every_solver
def test_a_quadratic(solver):
    result = minimize(quadratic, np.zeros(5), optimizer=solver)
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, CENTER, atol=1e-3)


@every_solver
@both_precisions
def test_a_small_network(solver, dtype):
    """Every method gets well below the loss of equal odds, log 3."""
    X, y = classes()
    net = small_net(dtype)
    start = net.loss(X, y, l2=0.01)
    result = net.fit(X, y, optimizer=solver, epochs=60, l2=0.01)
    assert result.status in (Status.CONVERGED, Status.COMPLETED, Status.FAILED)
    assert result.loss == net.loss(X, y, l2=0.01) < 0.6 * math.log(3) < start
    assert_array_equal(result.theta, net.theta)
    assert result.theta.dtype == dtype


def test_the_default_of_minimize_is_lbfgs():
    default = minimize(rosenbrock, ROSENBROCK_START)
    explicit = minimize(rosenbrock, ROSENBROCK_START, optimizer=LBFGS())
    assert_array_equal(default.theta, explicit.theta)
    assert_array_equal(default.trace["objective"], explicit.trace["objective"])


def test_counts_and_path_on_scipys_own_test_problem():
    """Entropy maximization of Berger et al., Computational Linguistics 22:39-72 (1996).

    SciPy's tests/test_optimize.py wants L-BFGS-B to take 5 evaluations (its count of 7 function
    calls holds two of the test's own), and the last two to be at the points below.
    """
    F = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 0, 0]])
    K = np.array([1.0, 0.3, 0.5])
    points = []

    def entropy(x):
        points.append(x.copy())
        log_odds = F @ x
        log_total = np.log(np.exp(log_odds).sum())
        return log_total - K @ x, F.T @ np.exp(log_odds - log_total) - K

    result = minimize(entropy, np.zeros(3), optimizer=LBFGS())
    assert result.n_loss_evals == result.n_grad_evals == 5
    assert_allclose(
        points[3:5],
        [[8.117083e-16, -5.196198e-01, 4.897617e-01], [0, -0.52489628, 0.48753042]],
        atol=1e-14,
        rtol=1e-7,
    )
    assert_allclose(result.theta, [0, -0.524869316, 0.487525860], atol=1e-4)


# Against SciPy


def numpy_objective(net, X, y, l2):
    def value_and_grad(theta):
        layers = reference.unpack(theta, net.layer_sizes)
        problem = {
            "activations": net.activations[:-1],
            "output": net.output,
            "loss": "cross_entropy",
            "l2": l2,
        }
        value = reference.objective(layers, X, y, **problem)
        return value, reference.pack(reference.gradient(layers, X, y, **problem))

    return value_and_grad


@pytest.mark.parametrize(
    ("solver", "method", "options"),
    [
        (LBFGS(), "L-BFGS-B", {"maxcor": 10}),
        (LBFGS(3), "L-BFGS-B", {"maxcor": 3}),
        (Scipy("BFGS"), "BFGS", {}),
        (Scipy("CG"), "CG", {}),
        (Scipy("SLSQP"), "SLSQP", {}),
        (Scipy("L-BFGS-B", options={"maxcor": 5}), "L-BFGS-B", {"maxcor": 5}),
    ],
)
def test_the_same_steps_as_scipy_on_the_twins_objective(solver, method, options):
    """Ten iterations: roundings of the two objectives grow by a digit or two on the way."""
    X, y = classes()
    net = small_net()
    theirs = optimize.minimize(
        numpy_objective(net, X, y, 0.01),
        net.theta.copy(),
        jac=True,
        method=method,
        options={"maxiter": 10, **options},
    )
    result = net.fit(X, y, optimizer=solver, epochs=10, l2=0.01)
    assert result.n_iter == theirs.nit == 10
    assert result.n_grad_evals == theirs.njev
    assert_allclose(result.loss, theirs.fun, rtol=1e-9)
    assert_allclose(net.theta, theirs.x, rtol=1e-6, atol=1e-8)


def test_tolerances_of_lbfgs():
    X, y = classes()
    loose, tight = small_net(), small_net()
    by_gradient = loose.fit(X, y, optimizer=LBFGS(gradient_tolerance=1e-2), l2=0.01)
    assert by_gradient.status == Status.CONVERGED
    assert np.abs(loose.loss_and_grad(X, y, l2=0.01)[1]).max() <= 1e-2
    to_the_end = LBFGS(gradient_tolerance=1e-9, objective_tolerance=1e-30)
    tight.fit(X, y, optimizer=to_the_end, l2=0.01)
    assert np.abs(tight.loss_and_grad(X, y, l2=0.01)[1]).max() <= 1e-6
    by_objective = small_net().fit(X, y, optimizer=LBFGS(objective_tolerance=1e-2), l2=0.01)
    decrease = -np.diff(by_objective.trace["objective"])
    assert decrease[-1] <= 1e-2 < decrease[:-1].min()


# Bounds


BOXES = {
    "numbers": (-1, 1),
    "arrays": (np.array([0, -1, 0, -np.inf, 0.2]), np.array([2, np.inf, 2, 0, 0.3])),
    "one side": (0, np.inf),
}


@pytest.mark.parametrize("solver", BOUNDED.values(), ids=BOUNDED)
@pytest.mark.parametrize("bounds", BOXES.values(), ids=BOXES)
def test_the_bounded_minimum_of_a_bowl_is_the_nearest_point_of_the_box(solver, bounds):
    """No point outside is ever looked at."""
    low, high = bounds

    def watched(x):
        assert (x >= low).all()
        assert (x <= high).all()
        return bowl(x)

    points = []
    result = minimize(
        watched,
        np.full(5, 10.0),
        optimizer=within(solver, bounds),
        callbacks=[lambda progress: points.append(progress.theta.copy())],
    )
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, np.clip(CENTER, low, high), atol=1e-4)
    assert_array_equal(points[0], np.clip(np.full(5, 10.0), low, high))


def test_parameters_that_bounds_hold_fast():
    low, high = np.full(5, -10.0), np.full(5, 10.0)
    low[2] = high[2] = 0.5
    result = minimize(bowl, np.zeros(5), optimizer=LBFGS(bounds=(low, high)))
    assert result.theta[2] == 0.5
    assert_allclose(np.delete(result.theta, 2), np.delete(CENTER, 2), atol=1e-4)


def test_bounds_of_a_quadratic_meet_the_conditions_of_karush_kuhn_and_tucker():
    result = minimize(quadratic, np.zeros(5), optimizer=LBFGS(bounds=(-0.5, 0.5)))
    _, gradient = quadratic(result.theta)
    at_low, at_high = result.theta == -0.5, result.theta == 0.5
    assert at_low.any()
    assert at_high.any()
    assert (gradient[at_low] >= 0).all()
    assert (gradient[at_high] <= 0).all()
    assert_allclose(gradient[~at_low & ~at_high], 0, atol=1e-3)


@both_precisions
def test_bounds_of_a_network(dtype):
    """Bounds that either precision holds exactly; many parameters lie on them in the end."""
    X, y = classes()
    net = small_net(dtype)
    result = net.fit(X, y, optimizer=LBFGS(bounds=(-0.25, 0.5)))
    assert net.theta.min() == -0.25
    assert net.theta.max() == 0.5
    assert result.loss < math.log(3)


@pytest.mark.parametrize("make", [LBFGS, Scipy])
@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        ((1, 0), ValueError, "bounds must have every low at most its high"),
        ((np.nan, 0), ValueError, "bounds must not be NaN"),
        ((0, 1, 2), TypeError, r"bounds must be a pair \(low, high\) .*, got \(0, 1, 2\)"),
        (3, TypeError, r"bounds must be a pair \(low, high\) .*, got 3"),
        (("a", "b"), TypeError, r"bounds must be a pair \(low, high\)"),
        ((np.zeros((2, 2)), 1), ValueError, r"bounds must be numbers or arrays of the shape"),
        ((np.zeros(2), np.ones(3)), ValueError, "bounds must be of one length, got 2 and 3"),
    ],
)
def test_bad_bounds(make, bounds, error, message):
    with pytest.raises(error, match=message):
        make(bounds=bounds)


def test_bounds_of_another_length():
    with pytest.raises(ValueError, match=r"bounds must be .* of the shape \(2,\), got \(3,\)"):
        minimize(rosenbrock, ROSENBROCK_START, optimizer=LBFGS(bounds=(np.zeros(3), 1)))


# Hyperparameters


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LBFGS(0), ValueError, "history_size must be an integer of at least 1, got 0"),
        (lambda: LBFGS(1.5), TypeError, "history_size must be an integer of at least 1, got 1.5"),
        (lambda: LBFGS(max_iterations=0), ValueError, "max_iterations must be an integer"),
        (lambda: LBFGS(gradient_tolerance=-1), ValueError, "gradient_tolerance must be a number"),
        (lambda: LBFGS(objective_tolerance="a"), TypeError, "objective_tolerance must be a numb"),
        (lambda: Scipy("newton"), ValueError, "method must be one of L-BFGS-B, .*, got 'newton'"),
        (lambda: Scipy(None), TypeError, "method must be one of L-BFGS-B, .*, got None"),
        (lambda: Scipy(max_iterations=True), TypeError, "max_iterations must be an integer"),
        (lambda: Scipy(options=3), TypeError, "options must be a mapping, got 3"),
        (
            lambda: Scipy("BFGS", bounds=(0, 1)),
            ValueError,
            "bounds need one of the methods L-BFGS-B, TNC, SLSQP, got BFGS",
        ),
        (
            lambda: Scipy("TNC", bounds=(0, 0)),
            ValueError,
            "bounds must have every low below its high for TNC",
        ),
    ],
)
def test_bad_hyperparameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Ends


@every_solver
def test_the_end_of_the_budget_is_no_failure(solver):
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, max_iterations=4)
    assert result.status == Status.COMPLETED
    assert result.success
    assert result.n_iter <= 4
    assert result.loss < 24.2


@every_solver
def test_target_callback_and_clock_end_a_solver_at_its_best_point(solver):
    target = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, target_loss=3.0)
    assert target.status == Status.TARGET_REACHED
    assert target.loss == target.trace["objective"][-1] <= 3.0

    def stop(progress):
        assert progress.network is None
        if progress.record.epoch == 2:
            raise StopIteration

    stopped = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, callbacks=[stop])
    assert stopped.status == Status.STOPPED
    assert stopped.message == "a callback raised StopIteration"
    assert stopped.n_iter == 2
    assert stopped.loss == stopped.trace["objective"].min()

    late = minimize(rosenbrock, ROSENBROCK_START, optimizer=solver, time_limit=1e-9)
    assert late.status == Status.TIME_LIMIT
    assert_array_equal(late.theta, ROSENBROCK_START)


def test_ctrl_c_after_the_last_iteration_keeps_the_minimizer():
    """It arrives during the evaluation that gives the result's loss: the first after the end."""
    ended = []

    def stop(progress):
        ended.append(True)
        raise StopIteration("enough")

    def function(x):
        if ended:
            signal.raise_signal(signal.SIGINT)
        return rosenbrock(x)

    result = minimize(function, ROSENBROCK_START, callbacks=[stop])
    assert result.status == Status.INTERRUPTED
    assert result.message == "enough; interrupted by the user"
    assert_array_equal(result.theta, ROSENBROCK_START)


def failing_after(n_calls, function, failure):
    """The function, with the failure in place of its value or gradient after some calls."""
    calls = []

    def value_and_grad(x):
        calls.append(None)
        value, gradient = function(x)
        return failure(value, gradient) if len(calls) > n_calls else (value, gradient)

    return value_and_grad


@every_solver
@pytest.mark.parametrize(
    "failure",
    [lambda v, g: (np.nan, g), lambda v, g: (np.inf, g), lambda v, g: (v, g + np.nan)],
    ids=["nan", "inf", "nan in the gradient"],
)
def test_values_that_are_not_finite_end_a_solver_at_its_best_point(solver, failure):
    function = failing_after(6, rosenbrock, failure)
    result = minimize(function, ROSENBROCK_START, optimizer=solver)
    assert result.status == Status.NOT_FINITE
    assert not result.success
    assert "back at the best finite one" in result.message
    assert np.isfinite(result.theta).all()
    assert rosenbrock(result.theta)[0] == result.trace["objective"].min() <= 24.2


def test_a_start_where_the_function_is_not_finite():
    result = minimize(lambda x: (np.nan, x), [1.0, 2.0])
    assert result.status == Status.NOT_FINITE
    assert_array_equal(result.theta, [1, 2])
    assert len(result.trace) == 0


def test_a_line_search_that_finds_no_lower_point_is_a_failure_at_the_best_point():
    """A gradient of the wrong sign: every step along -g goes up."""

    def wrong_sign(x):
        value, gradient = bowl(x)
        return value, -gradient

    result = minimize(wrong_sign, np.zeros(5), optimizer=LBFGS())
    assert result.status == Status.LINE_SEARCH_FAILED
    assert not result.success
    assert result.message == "the line search found no sufficiently lower point in 20 trials"
    assert_array_equal(result.theta, np.zeros(5))


def test_a_list_goes_on_after_a_failure():
    """BFGS without a tolerance it could meet ends by loss of precision; L-BFGS follows."""
    X, y = classes()
    result = small_net("float32").fit(
        X, y, optimizer=[Scipy("BFGS", options={"gtol": 1e-30}), LBFGS()], l2=0.01
    )
    assert result.status == Status.CONVERGED


# minimize with stochastic optimizers


def test_steps_of_sgd_by_hand():
    """x^2 / 2 from 1 with learning rate 1/2: each step halves x."""
    seen = []
    result = minimize(
        lambda x: (x @ x / 2, x.copy()),
        [1.0],
        optimizer=SGD(0.5),
        max_iterations=4,
        callbacks=[lambda progress: seen.append(progress.theta[0])],
    )
    assert seen == [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16]
    assert_array_equal(result.trace["objective"], np.square(seen) / 2)
    assert_array_equal(result.trace["gradient_norm"], seen)
    assert_array_equal(result.trace["epoch"], range(5))
    assert_array_equal(result.trace["n_grad_evals"], range(1, 6))
    assert_array_equal(result.theta, [1 / 16])
    assert (result.loss, result.n_iter) == (1 / 512, 4)
    assert (result.status, result.message) == (Status.COMPLETED, "4 iterations done")


@pytest.mark.parametrize(
    ("optimizer", "path"),
    [
        # v = 1, then 0.5 + 0.5; x = 1, 0.5, 0
        (SGD(0.5, momentum=0.5), [1, 0.5, 0]),
        # Nesterov steps of 1 + 0.5 and, with v = 1/4 + 1/2, of 1/4 + 3/8
        (SGD(0.5, momentum=0.5, nesterov=True), [1, 0.25, -0.0625]),
        # The first step is the learning rate, the second 0.5 / sqrt(1 + 0.25) of it
        (AdaGrad(0.5), [1, 0.5, 0.5 - 0.5 * 0.5 / math.sqrt(1.25)]),
        # Mean squares 1/2 and 1/4 + x^2 / 2
        (
            RMSProp(0.5, rho=0.5),
            [
                1,
                1 - 0.5 * math.sqrt(2),
                (1 - 0.5 * math.sqrt(2))
                * (1 - 0.5 / math.sqrt(0.25 + (1 - 0.5 * math.sqrt(2)) ** 2 / 2)),
            ],
        ),
        # Bias correction makes Adam's first step the learning rate; without memory all are
        (Adam(0.25), [1, 0.75]),
        (Adam(0.25, beta_1=0, beta_2=0), [1, 0.75, 0.5, 0.25]),
        (AdamW(0.25, beta_1=0, beta_2=0, weight_decay=0.4), [1, 0.65, 0.335]),
        (
            AdamW(
                0.25,
                beta_1=0,
                beta_2=0,
                weight_decay=LinearDecay(0.4, final=0.2, until=1, per="update"),
            ),
            [1, 0.65, 0.3675],
        ),
        (SGD(InverseTime(0.5, per="update")), [1, 0.5, 0.375, 0.3125]),
        (SGD(InverseTime(0.5)), [1, 0.5, 0.375, 0.3125]),
    ],
    ids=repr,
)
def test_steps_of_stochastic_optimizers_by_hand(optimizer, path):
    """On x^2 / 2, whose gradient is x. epsilon, 1e-8, shows in the eighth digit."""
    seen = []
    minimize(
        lambda x: (x @ x / 2, x.copy()),
        [1.0],
        optimizer=optimizer,
        max_iterations=len(path) - 1,
        callbacks=[lambda progress: seen.append(progress.theta[0])],
    )
    assert_allclose(seen, path, rtol=1e-6)


def test_stochastic_optimizers_bear_noise():
    """Robbins and Monro: steps 1/t average the noise, so that x is a mean of 4000 draws."""
    rng = np.random.default_rng(0)

    def noisy(x):
        return x @ x / 2, x - CENTER + rng.normal(size=5)

    schedule = InverseTime(1.0, per="update")
    result = minimize(noisy, np.zeros(5), optimizer=SGD(schedule), max_iterations=4000)
    assert_allclose(result.theta, CENTER, atol=5 / math.sqrt(4000))


def test_a_list_of_optimizers_and_names():
    result = minimize(rosenbrock, ROSENBROCK_START, optimizer=["adam(learning_rate=0.05)", "lbfgs"])
    assert result.status == Status.CONVERGED
    assert_allclose(result.theta, [1, 1], atol=1e-3)
    assert result.n_iter > 1000  # what stochastic optimizers get where nothing is said


def test_divergence_of_a_stochastic_optimizer():
    with np.errstate(over="ignore"):
        result = minimize(
            lambda x: (x @ x, 2 * x), [1.0, 1.0], optimizer=SGD(1e10), max_iterations=1000
        )
    assert result.status == Status.NOT_FINITE
    assert_array_equal(result.theta, [1, 1])


@pytest.mark.parametrize("optimizer", ["lbfgs", "sgd(learning_rate=1e-4)"])
def test_x0_is_left_alone(optimizer):
    x0 = np.array([-1.2, 1.0])
    result = minimize(rosenbrock, x0, optimizer=optimizer, max_iterations=3)
    assert_array_equal(x0, [-1.2, 1.0])
    assert not np.shares_memory(result.theta, x0)


def test_progress_shows_a_bar(capsys):
    minimize(rosenbrock, ROSENBROCK_START, max_iterations=3, progress=True)
    assert "3/3" in capsys.readouterr().err


# Bad input of minimize


@pytest.mark.parametrize(
    ("x0", "error", "message"),
    [
        ([], ValueError, r"x0 must be a vector with at least one element, got \(0,\)"),
        ([[1.0]], ValueError, r"x0 must be a vector with at least one element, got \(1, 1\)"),
        (1.0, ValueError, r"x0 must be a vector with at least one element, got \(\)"),
        ([1.0, np.nan], ValueError, "x0 must be finite, got nan at index 1"),
        ([1.0, np.inf], ValueError, "x0 must be finite, got inf at index 1"),
        (["a"], TypeError, "x0 must hold real numbers, got an array of dtype <U1"),
        ([1j], TypeError, "x0 must hold real numbers, got an array of dtype complex128"),
        ([[1], [1, 2]], ValueError, "x0 must be a rectangular array of numbers"),
        (None, TypeError, "x0 must hold real numbers, got an array of dtype object"),
    ],
)
def test_bad_starts(x0, error, message):
    with pytest.raises(error, match=message):
        minimize(bowl, x0)


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        ((1.0, np.zeros(3)), ValueError, r"a gradient of the shape \(2,\), got \(3,\)"),
        ((1.0, np.zeros((2, 1))), ValueError, r"a gradient of the shape \(2,\), got \(2, 1\)"),
        ((1.0, 0.0), ValueError, r"a gradient of the shape \(2,\), got \(\)"),
        (1.0, TypeError, "value_and_grad must return a number and a vector of numbers, got 1.0"),
        (None, TypeError, "value_and_grad must return a number and a vector .*, got None"),
        ((1.0,), TypeError, r"value_and_grad must return a number and a vector .*, got \(1.0,\)"),
        (("a", np.zeros(2)), TypeError, "value_and_grad must return a number and a vector"),
        ((1j, np.zeros(2)), TypeError, "value_and_grad must return a number and a vector"),
        ((1.0, ["a", "b"]), TypeError, "value_and_grad must return a number and a vector"),
        ((1.0, [1j, 0]), TypeError, "value_and_grad must return a number and a vector"),
    ],
)
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_functions_that_return_something_else(returned, error, message, optimizer):
    with pytest.raises(error, match=message):
        minimize(lambda x: returned, [1.0, 2.0], optimizer=optimizer)


def test_exceptions_of_the_function_come_through():
    with pytest.raises(ZeroDivisionError):
        minimize(lambda x: 1 / 0, [1.0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": "newton"}, ValueError, "optimizer must be one of .*, got 'newton'"),
        ({"optimizer": 3}, TypeError, "optimizer must be one of fastmlp's, .*, got 3"),
        ({"max_iterations": 0}, ValueError, "max_iterations must be an integer of at least 1"),
        ({"max_iterations": 1.0}, TypeError, "max_iterations must be an integer of at least 1"),
        ({"callbacks": "abc"}, TypeError, "callbacks must be a sequence of callables"),
        ({"time_limit": -1}, ValueError, "time_limit must be a positive number, got -1"),
        ({"target_loss": np.inf}, ValueError, "target_loss must be a finite number, got inf"),
        ({"progress": 1}, TypeError, "progress must be True or False, got 1"),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        minimize(bowl, CENTER, **options)


def test_the_function_must_be_callable():
    with pytest.raises(TypeError, match="value_and_grad must be callable, got 3"):
        minimize(3, [1.0])
