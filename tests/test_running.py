"""Budgets of single optimizers in a list, restarts, and what both leave in the result."""

import numpy as np
import pytest
from marks import INTERPRETED
from numpy.testing import assert_array_equal

from fastmlp import LBFGS, MLP, SGD, Adam, Scipy, Status, minimize
from fastmlp.monitor import Monitor
from fastmlp.objective import Objective
from fastmlp.running import run_on_function, run_stages
from fastmlp.training import check_batches

N_ROWS = 40 if INTERPRETED else 200


def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS, 3))
    return X, np.sin(2 * X.sum(axis=1))


def small_net(seed=0):
    return MLP([3, 6, 1], activation="tanh", dtype="float64", seed=seed)


# Budgets


def test_members_of_a_list_have_budgets_of_their_own():
    X, y = data()
    stages = [Adam(epochs=3), LBFGS(max_iterations=4), SGD(1e-3)]
    result = small_net().fit(X, y, optimizer=stages, epochs=2)
    # The start, 3 epochs, the solver's start and 4 iterations, 2 epochs that the call asks for.
    assert list(result.trace["epoch"]) == [0, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]
    assert result.n_iter == 9


def test_an_own_budget_comes_before_that_of_the_call():
    X, y = data()
    assert small_net().fit(X, y, optimizer="adam(epochs=3)", epochs=50).n_iter == 3
    assert small_net().fit(X, y, optimizer=Adam(epochs=3)).n_iter == 3


@pytest.mark.parametrize("optimizer", [Adam, SGD])
def test_bad_epochs_of_an_optimizer(optimizer):
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1, got 0"):
        optimizer(epochs=0)


@pytest.mark.parametrize("most", [1, 7, 12, 13, 29, 1000])
def test_a_budget_of_gradient_evaluations_ends_within_an_epoch(most):
    """Two epochs of 12 mini-batches, or 24 updates: fewer if the budget says so, never more."""
    X, y = data()
    batch_size = -(-N_ROWS // 12)
    n_batches = -(-N_ROWS // batch_size)
    objective = Objective(small_net(), X, y)
    batches = check_batches(batch_size, False, None, 0)
    with Monitor(network=objective.net) as monitor:
        result = run_stages(
            objective, [SGD(0.1)], [2], monitor, batches, gradient_evaluations=[most]
        )
    assert result.n_grad_evals == min(most, 2 * n_batches)
    assert result.status == Status.COMPLETED
    rows = N_ROWS * (most // n_batches) + batch_size * (most % n_batches)
    assert result.trace[-1].data_passes == pytest.approx(min(2, rows / N_ROWS))


@pytest.mark.parametrize("solver", [LBFGS(), Scipy("BFGS")], ids=["LBFGS", "BFGS"])
def test_budgets_of_a_solver_on_a_function(solver):
    def bowl(x):
        return float(np.cosh(x).sum()), np.sinh(x)

    for limits in ({"passes": [5]}, {"gradient_evaluations": [5]}):
        with Monitor() as monitor:
            rng = np.random.default_rng(0)
            result = run_on_function(
                bowl, np.array([3.0, -7.0]), [solver], [100], monitor, rng, **limits
            )
        assert result.status == Status.COMPLETED
        assert "budget" in result.message
        assert result.n_grad_evals == 5
        assert result.loss == result.trace["objective"].min()


# l1 of minimize


def test_l1_adds_absolute_values_to_any_function():
    """1/2 (x - c)^2 + l |x| is least where |c| shrinks by l, or at 0: soft thresholding."""
    c = np.array([3.0, -2.0, 0.3])

    def bowl(x):
        return float(((x - c) ** 2).sum() / 2), x - c

    result = minimize(bowl, np.ones(3), optimizer="sgd(learning_rate=0.01)", l1=[1, 0.5, 0])
    np.testing.assert_allclose(result.theta, [2, -1.5, 0.3], atol=1e-3)
    value = bowl(result.theta)[0] + np.abs(result.theta) @ [1, 0.5, 0]
    assert result.loss == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(
    ("l1", "message"),
    [
        (-1, "l1 must not be negative, got -1"),
        ([1, 2], r"l1 must be a number or of the shape \(3,\), got \(2,\)"),
        (np.nan, "l1 must be finite, got nan"),
    ],
)
def test_bad_l1(l1, message):
    with pytest.raises(ValueError, match=message):
        minimize(lambda x: (0.0, x), np.ones(3), l1=l1)


# Restarts


def test_restarts_keep_the_best_of_their_starts():
    X, y = data()
    net = small_net()
    start = net.theta.copy()
    result = net.fit(X, y, optimizer="adam(learning_rate=0.02)", epochs=10, restarts=6, seed=3)
    assert_array_equal(result.theta, net.theta)
    assert result.loss == net.loss(X, y)
    assert "of 6 was best" in result.message
    # Any one of them, taken alone, is no better.
    for restarts in (1, 2, 5):
        one = small_net()
        one.theta = start
        fewer = one.fit(
            X, y, optimizer="adam(learning_rate=0.02)", epochs=10, restarts=restarts, seed=3
        )
        assert fewer.loss >= result.loss


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_restarts_do_not_depend_on_threads(n_threads):
    X, y = data()
    expected, net = small_net(), small_net()
    expected.fit(X, y, epochs=3, restarts=4, seed=0, n_threads=4)
    net.fit(X, y, epochs=3, restarts=4, seed=0, n_threads=n_threads)
    assert_array_equal(net.theta, expected.theta)


def test_a_start_that_diverges_is_never_the_best():
    """From the network's own start, far out, the objective is not finite: any other is better."""
    X, y = data()
    net = small_net()
    net.theta[:] = 1e200
    with np.errstate(over="ignore", invalid="ignore"):
        result = net.fit(X, y, epochs=2, restarts=3, seed=0)
    assert np.isfinite(result.loss)
    assert np.abs(net.theta).max() < 100


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"restarts": 0}, ValueError, "restarts must be an integer of at least 1, got 0"),
        ({"restarts": 2.5}, TypeError, "restarts must be an integer of at least 1, got 2.5"),
        ({"restarts": 2, "checkpoint": "x"}, ValueError, "checkpoint must be None where restarts"),
        ({"restarts": 2, "epochs": 0}, ValueError, "epochs must be an integer of at least 1"),
    ],
)
def test_bad_restarts(options, error, message):
    X, y = data()
    net = small_net()
    start = net.theta.copy()
    with pytest.raises(error, match=message):
        net.fit(X, y, **options)
    assert_array_equal(net.theta, start)


def test_redrawn_keeps_the_architecture_and_the_initialization():
    net = MLP([3, 5, 2], activation="tanh", output="softmax", init="he_normal", seed=0)
    again = net.redrawn(7)
    same = MLP([3, 5, 2], activation="tanh", output="softmax", init="he_normal", seed=7)
    assert_array_equal(again.theta, same.theta)
    assert again.architecture() == net.architecture()
    assert_array_equal(net.theta, MLP([3, 5, 2], activation="tanh", init="he_normal", seed=0).theta)
