"""Evaluations over and over: what a network and an objective keep for the next, and what not.

Each is held against the same evaluation by a copy of the network that has kept nothing.
"""

import copy
import gc
import pickle
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_array_equal

from fastmlp import MLP, Objective, mlp, sweep
from fastmlp.kernels import epoch, threads
from fastmlp.kernels.finite import finite

SIZES = (4, 6, 3)
N_CALLS = 2 if INTERPRETED else 50


def problem(dtype="float64", output="identity", n=20, seed=0):
    """Network, X and y; y holds class indices for softmax."""
    rng = np.random.default_rng(seed)
    net = MLP(SIZES, activation="tanh", output=output, dtype=dtype, seed=1)
    X = rng.normal(size=(n, SIZES[0])).astype(dtype)
    indices = rng.integers(SIZES[-1], size=n)
    y = indices if output == "softmax" else rng.normal(size=(n, SIZES[-1])).astype(dtype)
    return net, X, y


def assert_as_if_new(net, X, y, **options):
    expected = net.copy().loss_and_grad(X.copy(), y.copy(), **options)
    value, gradient = net.loss_and_grad(X, y, **options)
    assert value == expected[0] == net.loss(X, y, **options)
    assert_array_equal(gradient, expected[1])
    return value


# What must not be kept


@pytest.mark.parametrize("output", ["identity", "softmax"])
@both_precisions
def test_what_is_changed_in_place_is_evaluated_as_it_is(dtype, output):
    net, X, y = problem(dtype, output)
    values = [assert_as_if_new(net, X, y)]
    X[3, 1] += 1
    values.append(assert_as_if_new(net, X, y))
    y[5] = (y[5] + 1) % 3
    values.append(assert_as_if_new(net, X, y))
    net.weights[0][2] *= 2
    values.append(assert_as_if_new(net, X, y))
    net.theta -= 0.1
    values.append(assert_as_if_new(net, X, y))
    assert len(set(values)) == 5


def test_an_objective_looks_at_theta_anew():
    net, X, y = problem()
    objective, theta = Objective(net, X, y), net.theta.copy()
    first = objective.value_and_grad(theta)
    theta[7] += 1
    second = objective.value_and_grad(theta)
    net.theta = theta
    expected = net.copy().loss_and_grad(X, y)
    assert second[0] == expected[0] != first[0]
    assert_array_equal(second[1], expected[1])


def test_every_gradient_is_an_array_of_its_own():
    net, X, y = problem()
    objective = Objective(net, X, y)
    for evaluate in (lambda: net.loss_and_grad(X, y)[1], lambda: objective.value_and_grad()[1]):
        first = evaluate()
        before = first.copy()
        first[:] = np.nan
        second = evaluate()
        assert not np.shares_memory(first, second)
        assert_array_equal(second, before)


@both_precisions
def test_it_does_not_matter_what_was_evaluated_before(dtype):
    net, X, y = problem(dtype, "softmax")
    probabilities = np.random.default_rng(2).dirichlet(np.ones(3), 20)
    usual = X, y, {}
    others = [
        (X[:7], y[:7], {}),
        (X, probabilities, {}),
        (X, y, {"l1": 0.1}),
        (X, y, {"l2": 0.1}),
        (X, y, {"sample_weight": np.arange(20)}),
        (X, y, {"n_threads": 1}),
        (X, y, {"n_threads": 2}),
        (X, probabilities, {"loss": "huber"}),
        (X, probabilities, {"loss": "huber(0.1)"}),
        (X, probabilities, {"loss": "quantile"}),
    ]
    for data, targets, options in [case for other in others for case in (usual, other)] + others:
        assert_as_if_new(net, data, targets, **options)


def test_an_evaluation_that_overflowed_leaves_no_trace(overflow):
    net = MLP([1, 2, 1], activation="exponential", dtype="float32", seed=0)
    net.theta = np.ones(net.n_params)
    objective = Objective(net, [[1e3], [1.0]], [0, 0])
    for theta, is_finite in ((net.theta, False), (0 * net.theta, True), (net.theta, False)):
        value, gradient = objective.value_and_grad(theta)
        assert np.isfinite(value) == is_finite
        assert np.isfinite(gradient).all() == is_finite
    assert np.isnan(net.loss([[1e3]], [0]))
    assert_as_if_new(net, np.ones((1, 1)), np.zeros(1))


def test_an_evaluation_that_was_ended_leaves_no_trace():
    net, X, y = problem()
    objective = Objective(net, X, y)
    expected = objective.value_and_grad()

    def stop():
        raise StopIteration

    with pytest.raises(StopIteration):
        objective.value_and_grad(check=stop)
    value, gradient = objective.value_and_grad()
    assert value == expected[0]
    assert_array_equal(gradient, expected[1])


@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_data_and_results_live_no_longer_than_their_owner_wants(output):
    net, X, y = problem(output=output)
    _, gradient = net.loss_and_grad(X, y)
    net.loss(X, y)
    references = [weakref.ref(array) for array in (X, y, gradient)]
    del X, y, gradient
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_copies_and_pickles_of_a_network_carry_nothing_along():
    net, X, y = problem()
    size = len(pickle.dumps(net))
    expected = net.loss_and_grad(X, y)
    assert len(pickle.dumps(net)) == size
    for other in (net.copy(), copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        value, gradient = other.loss_and_grad(X, y)
        assert value == expected[0]
        assert_array_equal(gradient, expected[1])
        other.theta *= 2
        assert other.loss(X, y) != net.loss(X, y) == expected[0]


# What is kept


@pytest.fixture
def workspaces(monkeypatch):
    """Rows of every workspace made from here on."""
    rows, make = [], sweep.Workspace

    def counted(*arguments, **options):
        rows.append(options["rows"])
        return make(*arguments, **options)

    monkeypatch.setattr(sweep, "Workspace", counted)
    return rows


def test_a_network_keeps_one_small_workspace(workspaces):
    net, X, y = problem()
    for _ in range(5):
        net.loss_and_grad(X, y)
        net.loss(X + 1, y - 1)
    assert workspaces == [20]
    net.loss(X[:3], y[:3])
    net.loss(X[:3], y[:3])
    net.loss(X, y)
    assert workspaces == [20, 3, 20]


def test_an_objective_keeps_its_own(workspaces):
    net, X, y = problem()
    training, held_out = Objective(net, X[:15], y[:15]), Objective(net, X[15:], y[15:])
    for _ in range(5):
        training.value_and_grad()
        held_out.value()
    assert workspaces == [15, 5]


@compiled_only
def test_the_memory_that_a_network_keeps_is_bounded():
    net = MLP([10, 100, 1], seed=0)
    for n in (1, 10_000):
        net.loss_and_grad(np.zeros((n, 10)), np.zeros(n))  # compiles
    tracemalloc.start()
    try:
        for n in (10_000, 5_000, 2_000, 1_000, 100, 30_000):
            X, y = np.zeros((n, 10), np.float32), np.zeros(n, np.float32)
            net.loss_and_grad(X, y)
            del X, y
            assert tracemalloc.get_traced_memory()[0] < mlp.LARGEST_SPARE + 100_000
    finally:
        tracemalloc.stop()


# Threads


@pytest.mark.parametrize("n_threads", [1, 2, None])
def test_threads_that_evaluate_one_network_at_once(n_threads):
    net, _, _ = problem()
    problems = [problem(n=20 + seed % 2, seed=seed)[1:] for seed in range(8)]
    expected = [net.copy().loss_and_grad(X, y) for X, y in problems]
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(lambda data: net.loss_and_grad(*data, n_threads=n_threads), problems * N_CALLS)
        )
    for (value, gradient), (expected_value, expected_gradient) in zip(
        results, expected * N_CALLS, strict=True
    ):
        assert value == expected_value
        assert_array_equal(gradient, expected_gradient)


def test_threads_that_evaluate_one_objective_at_once():
    net, X, y = problem()
    objective = Objective(net, X, y)
    thetas = [net.theta + 0.1 * i for i in range(8)]
    expected = [Objective(net, X, y).value_and_grad(theta) for theta in thetas]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(objective.value_and_grad, thetas * N_CALLS))
    for (value, gradient), (expected_value, expected_gradient) in zip(
        results, expected * N_CALLS, strict=True
    ):
        assert value == expected_value
        assert_array_equal(gradient, expected_gradient)


@compiled_only
def test_n_threads_is_the_largest_number_and_a_team_goes_first(monkeypatch):
    """Whether it goes on as a team is a matter of time; see the tests of Pace."""
    sizes, region = [], sweep.parallel_region

    def counted(n_parts):
        sizes.append(n_parts)
        return region(n_parts)

    monkeypatch.setattr(sweep, "parallel_region", counted)
    net, X, y = problem(n=600)  # no small work
    net.loss_and_grad(X, y, n_threads=1)
    assert sizes == []
    net.loss_and_grad(X, y, n_threads=2)
    assert set(sizes) == {2}


def test_nobody_counts_cores_for_work_that_is_too_little_for_two(monkeypatch):
    """It would take as long as the evaluation."""
    monkeypatch.setattr(threads, "available_cores", None)
    net, X, y = problem()
    assert_as_if_new(net, X, y)


# Checks


def test_bad_data_are_refused_also_after_good_ones():
    net, X, y = problem("float32", "softmax")
    net.loss_and_grad(X, y)
    y[4] = 3
    with pytest.raises(ValueError, match="y must hold class indices from 0 to 2, got 3"):
        net.loss_and_grad(X, y)
    y[4] = -1
    with pytest.raises(ValueError, match="y must hold class indices from 0 to 2, got -1"):
        net.loss_and_grad(X, y)
    y[4] = 0
    X[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"X must be finite, got nan at index \(2, 3\)"):
        net.loss_and_grad(X, y)
    net.theta[6] = -np.inf
    with pytest.raises(ValueError, match="theta must be finite, got -inf at index 6"):
        net.loss_and_grad(X, y)


NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize("where", ["theta", "X"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "exponential", "identity"])
@pytest.mark.parametrize("n", [1, 20, 600])
def test_no_activation_hides_what_is_not_finite(n, activation, where, bad):
    """Nobody scans X for a gradient: the gradient tells. Weights of 0 hide it neither."""
    net, X, y = problem("float32", n=n)
    net = MLP(SIZES, activation=activation, seed=1)
    for i in (0, net.n_params - 1) if where == "theta" else (0, X.size - 1):
        array = net.theta if where == "theta" else X.reshape(-1)
        good, array[i] = array[i], bad
        for weights in (None, np.arange(n) if n > 1 else None):
            for evaluate in (net.loss, net.loss_and_grad):
                with pytest.raises(ValueError, match=f"{where} must be finite, got {bad} at index"):
                    evaluate(X, y, sample_weight=weights)
        array[i] = good
    net.loss_and_grad(X, y)


@pytest.mark.parametrize("bad", NOT_FINITE)
@pytest.mark.parametrize(
    "loss",
    [
        "squared_error", "absolute_error", "huber", "quantile(0.0)", "quantile(1.0)", "quantile",
        "poisson", "logistic", "hinge", "cross_entropy", "binary_cross_entropy",
    ],
)  # fmt: skip
def test_no_loss_hides_a_target_that_is_not_finite(loss, bad):
    outputs = {"poisson": "softplus", "cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}
    net = MLP(SIZES, output=outputs.get(loss, "identity"), seed=1)
    y = np.ones((20, SIZES[-1]))
    y[7, 1] = bad
    for evaluate in (net.loss, net.loss_and_grad):
        with pytest.raises(ValueError, match=rf"y must be finite, got {bad} at index \(7, 1\)"):
            evaluate(np.ones((20, SIZES[0])), y, loss=loss)


def test_a_class_index_that_is_no_number():
    net = MLP(SIZES, output="softmax", seed=1)
    y = np.zeros(20)
    y[7] = np.nan
    for evaluate in (net.loss, net.loss_and_grad):
        with pytest.raises(ValueError, match="y must be finite, got nan at index 7"):
            evaluate(np.ones((20, SIZES[0])), y)


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_a_bad_target_of_one_output_is_named_by_its_row(shape):
    net = MLP([4, 1])
    y = np.zeros(20)
    y[13] = np.inf
    with pytest.raises(ValueError, match="y must be finite, got inf at index 13"):
        net.loss_and_grad(np.ones((20, 4)), y.reshape(shape))


def test_probabilities_of_a_single_class():
    """Each is 1, and nothing can be learned."""
    net = MLP([4, 1], output="softmax", seed=0)
    X = np.ones((3, 4))
    for y in ([0, 0, 0], [[1], [1], [1]]):
        value, gradient = net.loss_and_grad(X, y)
        assert value == 0
        assert_array_equal(gradient, 0)
    with pytest.raises(ValueError, match=r"sum to 1 in each row, row 1 sums to 0\.5"):
        net.loss(X, [[1], [0.5], [1]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"l1": True}, TypeError, "l1 must be a number of at least 0, got True"),
        ({"l2": np.float64(-0.5)}, ValueError, "l2 must be a number of at least 0, got"),
        ({"l1": -np.inf}, ValueError, "l1 must be a number of at least 0, got -inf"),
        ({"n_threads": True}, TypeError, "n_threads must be an integer of at least 1, got True"),
        ({"loss": ["huber"]}, TypeError, r"loss must be a name, or a pair .*; got \['huber'\]"),
    ],
)
def test_options_are_checked_also_when_equal_ones_were_good(options, error, message):
    net, X, y = problem()
    net.loss_and_grad(X, y, l1=1.0, l2=0.5, n_threads=1, loss="huber")
    with pytest.raises(error, match=message):
        net.loss_and_grad(X, y, **options)


@compiled_only
@both_precisions
def test_no_array_makes_a_kernel_compile_anew(dtype):
    """Read-only ones would, and so would any that are not what kernels take."""
    net, X, y = problem(dtype)
    objective = Objective(net, X, y)
    expected = objective.value_and_grad()
    before = epoch.sweep.n_compiled(), finite.n_compiled()
    theta = net.theta.copy()
    theta.flags.writeable = False
    X.flags.writeable = y.flags.writeable = False
    for evaluate in (
        lambda: objective.value_and_grad(theta),
        lambda: objective.value_and_grad(np.repeat(theta, 2)[::2]),
        lambda: objective.value_and_grad(theta.tolist()),
        lambda: net.loss_and_grad(X, y),
        lambda: net.loss_and_grad(np.asfortranarray(X), y.tolist()),
    ):
        value, gradient = evaluate()
        assert value == expected[0]
        assert_array_equal(gradient, expected[1])
    assert (epoch.sweep.n_compiled(), finite.n_compiled()) == before
