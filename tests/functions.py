"""Functions and small networks that tests of several solvers minimize."""

from copy import deepcopy

import numpy as np
from marks import INTERPRETED
from numpy.testing import assert_array_equal
from scipy import optimize

from fastmlp import MLP
from fastmlp.optimizers import Stochastic
from fastmlp.solvers import Function
from fastmlp.training import check_optimizers


def mini_batches(optimizer, **options):
    """Options of `fit` about mini-batches, where an optimizer has a use for them."""
    stages = check_optimizers("adam" if optimizer is None else optimizer, 1)
    return options if any(isinstance(stage, Stochastic) for stage in stages) else {}


ROSENBROCK_START = np.array([-1.2, 1.0])


def rosenbrock(x):
    return optimize.rosen(x), optimize.rosen_der(x)


class Plain(Function):
    """A function without a monitor."""

    def __init__(self, value_and_grad, size):
        self._given = value_and_grad
        self.size, self.resolution = size, float(np.finfo(np.float64).eps)

    def value_and_grad(self, x):
        return self._given(x)


def classes():
    """Samples of three classes that a linear function tells apart."""
    n = 20 if INTERPRETED else 60
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 4))
    return X, (X @ rng.normal(size=(4, 3))).argmax(axis=1)


def small_net(dtype="float64"):
    """A network for `classes`."""
    return MLP([4, 5, 3], activation="tanh", output="softmax", dtype=dtype, seed=0)


def assert_goes_on_exactly(solver, n):
    """On Rosenbrock, 10 iterations and 10 more from a copy of the state are 20 bit by bit."""
    function = Plain(rosenbrock, n)
    whole = solver.start(function, np.full(n, -1.0))
    for i in range(20):
        if i == 10:
            part = deepcopy(whole)
        assert solver.step(function, whole) is None
    for _ in range(10):
        assert solver.step(function, part) is None
    assert part.keys() == whole.keys()
    for name in whole:
        assert_array_equal(part[name], whole[name])
