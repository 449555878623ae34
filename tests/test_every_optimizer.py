"""Every optimizer in one table: how far it gets on four problems, and what it does in bad worlds.

An optimizer that has no entry fails a test.
"""

from typing import NamedTuple

import numpy as np
import pytest
from functions import mini_batches
from marks import INTERPRETED
from numpy.testing import assert_array_equal

from fastmlp import (
    BFGS,
    DFP,
    LBFGS,
    MLP,
    OWLQN,
    SGD,
    SPSA,
    SR1,
    AdaGrad,
    Adam,
    AdamW,
    Broyden,
    ConjugateGradient,
    GaussianProcessNewton,
    GradientDescent,
    KieferWolfowitz,
    LeastSquares,
    LeastSquaresNewton,
    LevenbergMarquardt,
    NAdam,
    NoiseTolerantBFGS,
    RMSProp,
    Scipy,
    Status,
    StochasticLBFGS,
    minimize,
)
from fastmlp.training import OPTIMIZERS


class Entry(NamedTuple):
    """An optimizer, or a list, with what it is set to and the budget it gets on each problem.

    A pair is (optimizer, epochs or iterations); a third element is the objective that it gets
    below where that is not the problem's own. `kind` says what it can know of a bad world, see
    EXPECTED.
    """

    kind: str
    quadratic: tuple
    rosenbrock: tuple
    regression: tuple
    classification: tuple


def entry(kind, optimizer, quadratic, rosenbrock, regression, classification):
    """An entry of one setting for all problems."""
    return Entry(
        kind,
        (optimizer, quadratic),
        (optimizer, rosenbrock),
        (optimizer, regression),
        (optimizer, classification),
    )


# What each problem is to get below.
OBJECTIVES = {"quadratic": 1e-3, "rosenbrock": 1e-3, "regression": 0.01, "classification": 0.1}

ENTRIES = {
    "SGD": Entry(
        "update",
        (SGD(0.005, momentum=0.9), 120),
        (SGD(5e-4, momentum=0.9), 3000),
        (SGD(0.1, momentum=0.9), 50),
        (SGD(0.1, momentum=0.9), 20),
    ),
    "AdaGrad": Entry(
        "update",
        (AdaGrad(1.0), 200),
        (AdaGrad(0.5), 5000),
        (AdaGrad(0.2), 150),
        (AdaGrad(0.2), 20),
    ),
    "RMSProp": Entry(
        "update",
        (RMSProp(0.003), 2000),
        (RMSProp(0.001), 5000),
        (RMSProp(0.01), 150),
        (RMSProp(0.01), 40),
    ),
    "Adam": entry("update", Adam(0.05), 700, 1500, 80, 20),
    "Adam, amsgrad": entry("update", Adam(0.05, amsgrad=True), 700, 1500, 80, 20),
    "AdamW": entry("update", AdamW(0.05, weight_decay=1e-4), 700, 1500, 80, 20),
    "NAdam": Entry(
        "update", (NAdam(0.05), 900), (NAdam(0.01), 4000), (NAdam(0.03), 120), (NAdam(0.03), 40)
    ),
    "GradientDescent": entry("search", GradientDescent(), 200, 5000, 90, 30),
    "GradientDescent, strong Wolfe": entry(
        "search", GradientDescent(line_search="strong_wolfe"), 200, 1500, 80, 20
    ),
    "GradientDescent, fixed": Entry(
        "fixed",
        (GradientDescent(0.015, line_search="fixed"), 300),
        (GradientDescent(0.002, line_search="fixed"), 8000),
        (GradientDescent(0.5, line_search="fixed"), 300),
        (GradientDescent(0.5, line_search="fixed"), 60),
    ),
    "ConjugateGradient": entry("search", ConjugateGradient(), 20, 30, 20, 10),
    "BFGS": entry("search", BFGS(), 20, 50, 30, 10),
    "DFP": entry("search", DFP(), 20, 50, 30, 10),
    "Broyden": entry("search", Broyden(), 20, 50, 30, 10),
    "SR1": entry("search", SR1(), 20, 50, 30, 10),
    "LBFGS": entry("search", LBFGS(), 20, 50, 30, 10),
    "OWLQN": entry("search", OWLQN(), 20, 50, 30, 10),
    "LevenbergMarquardt": entry("damped", LevenbergMarquardt(), 3, 40, 10, 10),
    "Scipy": entry("scipy", Scipy(), 20, 50, 30, 10),
    "StochasticLBFGS": entry("batch search", StochasticLBFGS(batch_size=20), 30, 80, 60, 20),
    "LeastSquaresNewton": entry(
        "batch search", LeastSquaresNewton(batch_size=None, decay=100.0), 60, 600, 90, 30
    ),
    "GaussianProcessNewton": entry(
        "batch search", GaussianProcessNewton(batch_size=None, history_size=6), 40, 40, 20, 10
    ),
    "NoiseTolerantBFGS": entry("batch search", NoiseTolerantBFGS(), 30, 60, 40, 10),
    # Gains that fall soon for the sake of noise, of which there is none here.
    "KieferWolfowitz": Entry(
        "values",
        (KieferWolfowitz(a=0.05, c=0.1), 300, 4.0),
        (KieferWolfowitz(a=0.005, c=0.1), 300, 4.0),
        (KieferWolfowitz(a=2.0, c=0.1, batch_size=10), 60, 0.12),
        (KieferWolfowitz(a=2.0, c=0.1, batch_size=10), 60, 0.3),
    ),
    "SPSA": Entry(
        "values",
        (SPSA(a=0.05), 1000, 4.0),
        (SPSA(a=0.005), 1000, 4.0),
        (SPSA(a=1.0, batch_size=10), 100, 0.12),
        (SPSA(a=1.0, batch_size=10), 100, 0.4),
    ),
    "Adam, then LBFGS": Entry(
        "list",
        ([Adam(0.05, epochs=20), LBFGS()], 20),
        ([Adam(0.05, epochs=20), LBFGS()], 50),
        ([Adam(0.05, epochs=5), LBFGS()], 30),
        ([Adam(0.05, epochs=5), LBFGS()], 20),
    ),
    "GradientDescent, then BFGS": entry(
        "search", [GradientDescent(max_iterations=3), BFGS()], 20, 50, 30, 10
    ),
}
every_optimizer = pytest.mark.parametrize("label", ENTRIES)

# Those that lower the objective from iteration to iteration, or come back with the best.
DESCENDING = ("search", "fixed", "damped", "scipy")


def classes_in(optimizer):
    """The classes of an optimizer or list."""
    return {type(o) for o in (optimizer if isinstance(optimizer, list) else [optimizer])}


def test_every_optimizer_has_an_entry():
    tested = set().union(*(classes_in(e.quadratic[0]) for e in ENTRIES.values()))
    missing = [name for name, kind in OPTIMIZERS.items() if kind not in tested]
    assert not missing, f"ENTRIES has no {', '.join(missing)}"


# Good problems

# Half a sum of squares each, so that LevenbergMarquardt can minimize them too.
CENTER = np.array([1.0, -2.0, 3.0, 0.5, 0.0])
_Q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
_ROOT = _Q @ np.diag(np.sqrt([1.0, 3.0, 10.0, 30.0, 100.0])) @ _Q.T
QUADRATIC = LeastSquares(lambda x: (_ROOT @ (x - CENTER), _ROOT))
ROSENBROCK = LeastSquares(
    lambda x: (
        np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]]),
        np.array([[-20 * x[0], 10], [-1, 0]]),
    )
)


@every_optimizer
def test_a_quadratic(label):
    """Of condition 100, from an objective of 175."""
    check_minimum(label, "quadratic", QUADRATIC, np.zeros(5), CENTER)


@every_optimizer
def test_rosenbrock(label):
    """From the standard start, an objective of 12.1; the valley begins at 2."""
    check_minimum(label, "rosenbrock", ROSENBROCK, [-1.2, 1.0], np.ones(2))


def check_minimum(label, problem, function, start, minimizer):
    optimizer, budget, *objective = getattr(ENTRIES[label], problem)
    result = minimize(function, start, optimizer=optimizer, max_iterations=budget, seed=0)
    below = objective[0] if objective else OBJECTIVES[problem]
    assert result.status in (Status.CONVERGED, Status.COMPLETED)
    assert result.loss == function(result.theta)[0] < below
    assert np.linalg.norm(result.theta - minimizer) < 10 * np.sqrt(below)


def sine():
    """One period, and a network with 16 parameters: 1-5-1."""
    X = np.linspace(-1, 1, 8 if INTERPRETED else 40)[:, None]
    net = MLP([1, 5, 1], activation="tanh", dtype="float64", seed=0)
    return net, X, np.sin(np.pi * X)


def three_classes():
    """Overlapping ones, and a network with 27 parameters: 2-4-3."""
    centers = np.array([[0.0, 2.0], [-2.0, -1.0], [2.0, -1.0]])
    labels = np.repeat([0, 1, 2], 3 if INTERPRETED else 20)
    X = centers[labels] + 0.7 * np.random.default_rng(0).normal(size=(labels.size, 2))
    net = MLP([2, 4, 3], activation="tanh", output="softmax", dtype="float64", seed=0)
    return net, X, labels


def three_classes_by_squares():
    """The same with targets 0 and 1 for the squared error."""
    _, X, labels = three_classes()
    return MLP([2, 4, 3], activation="tanh", dtype="float64", seed=0), X, np.eye(3)[labels]


@every_optimizer
def test_a_small_regression_network(label):
    check_fit(label, "regression", *sine())


@every_optimizer
def test_a_small_classification_network(label):
    optimizer, *_ = ENTRIES[label].classification
    squares = LevenbergMarquardt in classes_in(optimizer)
    problem = three_classes_by_squares() if squares else three_classes()
    check_fit(label, "classification", *problem, l2=1e-3)


def check_fit(label, problem, net, X, y, l2=0.0):
    optimizer, budget, *objective = getattr(ENTRIES[label], problem)
    start = net.loss(X, y, l2=l2)
    # Interpreted, it takes too long to get far.
    below = (objective[0] if objective else OBJECTIVES[problem]) if not INTERPRETED else start
    result = net.fit(
        X,
        y,
        optimizer=optimizer,
        epochs=budget if not INTERPRETED else max(budget // 20, 2),
        l2=l2,
        n_threads=1,
        seed=0,
        **mini_batches(optimizer, batch_size=10),
    )
    assert result.status in (Status.CONVERGED, Status.COMPLETED)
    assert result.loss == net.loss(X, y, l2=l2) < below
    assert_array_equal(result.theta, net.theta)


# Bad worlds: a bowl around CENTER, and what is wrong with it

EYE = np.eye(5)


def walled(value):
    """A world in which residuals are `value` beyond a wall, on the way to the minimum."""
    return LeastSquares(lambda x: (np.full(5, value) if x[0] > 0.5 else x - CENTER, EYE))


WORLDS = {
    "gradient of the wrong sign": LeastSquares(lambda x: (x - CENTER, -EYE)),
    "gradient too large": LeastSquares(lambda x: (x - CENTER, 1e3 * EYE)),
    "gradient too small": LeastSquares(lambda x: (x - CENTER, 1e-3 * EYE)),
    "nan beyond a wall": walled(np.nan),
    "infinite beyond a wall": walled(np.inf),
    "gradient nan beyond a wall": LeastSquares(
        lambda x: (x - CENTER, EYE * (np.nan if x[0] > 0.5 else 1.0))
    ),
    "flat": LeastSquares(lambda x: (np.ones(5), np.zeros((5, 5)))),
    # No sum of squares, so not for LevenbergMarquardt.
    "unbounded": lambda x: (x.sum(), np.ones(5)),
    # Every step from the start leads up, whatever the gradient says.
    "no lower point": LeastSquares(lambda x: ((2.0 if x.any() else 1.0) * np.ones(5), EYE)),
}

SEARCHED = {Status.LINE_SEARCH_FAILED, Status.CONVERGED}
DONE = {Status.COMPLETED}
WALL = {
    # A search comes as near to the wall as the tolerance asks for.
    "search": {Status.CONVERGED, Status.LINE_SEARCH_FAILED, Status.NOT_FINITE},
    "damped": {Status.CONVERGED, Status.FAILED, Status.NOT_FINITE},
    "fixed": {Status.NOT_FINITE},
    "scipy": {Status.NOT_FINITE},
    "update": {Status.NOT_FINITE},
    "batch search": {Status.NOT_FINITE, Status.LINE_SEARCH_FAILED},
    # The differences that these take need not reach the wall.
    "values": DONE | {Status.NOT_FINITE},
}

# How each kind may end. Where nothing is said it does what it was asked to.
EXPECTED = {
    "gradient of the wrong sign": {
        "search": {Status.LINE_SEARCH_FAILED},
        "damped": {Status.FAILED},
        "scipy": {Status.FAILED},
        # They go up, the faster the farther, maybe beyond all numbers, or notice.
        "batch search": DONE | {Status.NOT_FINITE, Status.LINE_SEARCH_FAILED},
    },
    "gradient too large": {
        "search": SEARCHED,
        "scipy": {Status.FAILED},
        # The step is 15 times the distance to the minimum: it diverges.
        "fixed": {Status.NOT_FINITE},
    },
    "gradient too small": {
        "search": SEARCHED | DONE,
        "damped": {Status.CONVERGED},
        "scipy": {Status.CONVERGED},
    },
    "nan beyond a wall": WALL,
    "infinite beyond a wall": WALL,
    "gradient nan beyond a wall": WALL,
    "flat": {kind: {Status.CONVERGED} for kind in DESCENDING},
    # Steps that are short by themselves just go down.
    "unbounded": {"search": {Status.UNBOUNDED} | DONE},
    "no lower point": {
        "search": {Status.LINE_SEARCH_FAILED},
        "damped": {Status.FAILED},
        "batch search": DONE | {Status.LINE_SEARCH_FAILED},
        # The second step lowers nothing any more.
        "fixed": {Status.CONVERGED},
        # It takes the start for a minimum that its accuracy does not let it see.
        "scipy": {Status.CONVERGED, Status.FAILED},
    },
}


@every_optimizer
@pytest.mark.parametrize("world", WORLDS)
def test_bad_worlds(label, world, overflow):
    """A finite point comes back, the best one of those that descend, and a status that says why."""
    kind, (optimizer, *_) = ENTRIES[label].kind, ENTRIES[label].quadratic
    function, start = WORLDS[world], np.zeros(5)
    if LevenbergMarquardt in classes_in(optimizer) and not isinstance(function, LeastSquares):
        pytest.skip("it is for sums of squares, which have a bound")
    result = minimize(function, start, optimizer=optimizer, max_iterations=150, seed=0)
    assert np.isfinite(result.theta).all()
    assert np.isfinite(result.loss)
    assert result.loss == function(result.theta)[0]
    assert result.message
    if kind != "list":  # which ends as its last member does, or before
        assert result.status in EXPECTED[world].get(kind, DONE)
    if kind in DESCENDING:
        assert result.loss == result.trace["objective"].min() <= function(start)[0]
    if result.status == Status.NOT_FINITE:
        assert result.message.endswith("x is back at the best finite one")
        assert result.loss <= function(start)[0]
    if world == "unbounded":
        assert result.loss < function(start)[0]


@every_optimizer
def test_a_budget_of_one_iteration(label):
    kind, (optimizer, *_) = ENTRIES[label].kind, ENTRIES[label].quadratic
    start = QUADRATIC(np.zeros(5))[0]
    result = minimize(QUADRATIC, np.zeros(5), optimizer=optimizer, max_iterations=1, seed=0)
    stages = optimizer if isinstance(optimizer, list) else [optimizer]
    assert result.n_iter == sum(stage.budget or 1 for stage in stages)
    assert result.status == Status.COMPLETED
    assert np.isfinite(result.theta).all()
    assert result.loss == QUADRATIC(result.theta)[0]
    if kind in DESCENDING:
        assert result.loss < start


@every_optimizer
def test_a_budget_of_one_pass(label):
    kind, (optimizer, *_) = ENTRIES[label].kind, ENTRIES[label].regression
    net, X, y = sine()
    start = net.loss(X, y)
    options = {"n_threads": 1, "seed": 0, **mini_batches(optimizer, batch_size=10)}
    result = net.fit(X, y, optimizer=optimizer, epochs=1, **options)
    assert result.status == Status.COMPLETED
    assert result.loss == net.loss(X, y)
    assert np.isfinite(result.loss)
    assert_array_equal(result.theta, net.theta)
    if kind in DESCENDING:
        assert result.loss < start
