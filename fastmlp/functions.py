"""What solvers minimize: a network's objective, or any function, under a monitor."""

import functools

import numpy as np

from fastmlp.kernels import codes
from fastmlp.least_squares import LeastSquares
from fastmlp.objective import evaluate
from fastmlp.order import random_order
from fastmlp.solvers.function import Function
from fastmlp.sweep import SpareSweep
from fastmlp.validation import as_real, rounded

# Floating-point operations of the normal equations that take longer than a call for the value.
_CHEAP_FLOPS = 1e6


class NetworkFunction(Function):
    """The objective of a network as a function of its parameters in float64.

    Parameters
    ----------
    objective : Objective
    monitor : Monitor or None
        Counts the evaluations and may end them; None where nothing is to be evaluated.
    rng : numpy.random.Generator or None
    batch_size : int or None
        Rows of the mini-batches; None is all.
    resumable : bool
        See `Function`.
    """

    has_kinds = True

    def __init__(self, objective, monitor, rng, batch_size=None, resumable=False):
        self._objective = objective
        self._monitor = monitor
        self._n_rows = objective.n_rows
        self._batch_rows = self._n_rows if batch_size is None else min(batch_size, self._n_rows)
        self._order = np.empty(0, np.int64)
        self._next = 0
        self._spare = SpareSweep(np.inf)
        self.rng = rng
        self.resumable = resumable
        self.size = objective.net.n_params
        self.random = objective.net._pieces.random
        self.truncated = getattr(objective.net, "truncate", None) is not None
        self.resolution = float(np.finfo(objective.net.dtype).eps)
        self.n_batches = -(-self._n_rows // self._batch_rows)
        self.l1 = penalty_factors(objective.net, objective.l1) if objective.l1 else None

    def value_and_grad(self, x):
        return self._evaluate(x, codes.DIFFERENTIATE, self._objective.problem)

    def value(self, x):
        return self._evaluate(x, codes.EVALUATE, self._objective.problem)[0]

    @property
    def runs_lbfgs(self):
        objective = self._objective
        if not objective.is_in_memory:
            return False
        sweep = objective.spare.take(objective.net, objective.problem, objective.samples)
        objective.spare.put_back(sweep)
        return sweep.is_short

    def run_lbfgs(self, run):
        objective, monitor = self._objective, self._monitor
        monitor.admit(1)
        run["most_evaluations"], run["most_seconds"] = monitor.left()
        losses, gradients, passes = monitor.n_loss_evals, monitor.n_grad_evals, monitor.data_passes
        net, problem = objective.net, objective.problem
        sweep = objective.spare.take(net, problem, objective.samples)
        sweep.run_lbfgs(run, *self._scratch, objective.samples)
        objective.spare.put_back(sweep)
        ended, n_done = monitor.seconds, run["n_evaluations"]
        monitor.count(n_done, n_done, n_done)
        times, evaluations, values, squares = run.traced(run["n_iterations"])
        times = (times + (ended - run["seconds"])).tolist()
        evaluations = evaluations.astype(np.int64)
        counts = [(n + evaluations).tolist() for n in (passes, losses, gradients)]
        return list(zip(times, *counts, values.tolist(), np.sqrt(squares).tolist(), strict=True))

    @functools.cached_property
    def _scratch(self):
        """Places for theta and its gradient in the network's dtype."""
        return np.empty((2, self.size), self._objective.net.dtype)

    def smooth_value_and_grad(self, x):
        problem = self._objective.problem._replace(l1=0.0)
        return self._evaluate(x, codes.DIFFERENTIATE, problem)

    @property
    def is_least_squares(self):
        return self._objective.loss == "squared_error" and self.l1 is None

    def gauss_newton(self, x, below=np.inf):
        equations, monitor = self._normal_equations, self._monitor
        if below < np.inf and equations.flops > _CHEAP_FLOPS:
            value = self.value(x)
            if not value < below:
                return value, None, None
        n_errors = equations.n_errors
        monitor.admit(n_errors)
        result = equations.at(self._theta(x), monitor.check)
        monitor.count(1, n_errors, n_errors)
        return result

    @functools.cached_property
    def _normal_equations(self):
        return self._objective.normal_equations()

    def batch(self):
        if self._batch_rows == self._n_rows:
            return self
        if self._next >= self._order.size:
            self._order, self._next = random_order(self.rng, self._n_rows), 0
        rows = self._order[self._next : self._next + self._batch_rows]
        self._next += self._batch_rows
        return _Batch(self, rows)

    def snapshot(self):
        """Where it is in the data, for `restore`."""
        return {
            "order": self._order,
            "next": self._next,
            "rng": self.rng.bit_generator.state,
        }

    def restore(self, snapshot):
        """Go back to where a `snapshot` was taken."""
        self._order, self._next = snapshot["order"], snapshot["next"]
        self.rng.bit_generator.state = snapshot["rng"]

    def _evaluate(self, x, mode, problem, samples=None):
        objective, monitor = self._objective, self._monitor
        passes = problem.n_rows / self._n_rows
        differentiated = mode == codes.DIFFERENTIATE
        monitor.admit(1 if differentiated else 0)
        value, gradient = evaluate(
            objective.net,
            problem,
            objective.samples if samples is None else samples,
            self._theta(x),
            mode,
            objective.spare if samples is None else self._spare,
            monitor.check,
        )
        monitor.count(1, 1 if differentiated else 0, passes)
        return value, gradient.astype(np.float64, copy=False)

    def _theta(self, x):
        return rounded(x, self._objective.net.dtype)  # what overflows is infinite, as is the value


class _Batch(Function):
    """A network's objective estimated from some of its rows."""

    def __init__(self, whole, rows):
        objective = whole._objective
        self._whole = whole
        self._problem = objective.problem._replace(n_rows=rows.size)
        self._samples = objective.take(rows)
        self.size, self.resolution, self.rng = whole.size, whole.resolution, whole.rng
        self.l1 = whole.l1

    def value_and_grad(self, x):
        return self._whole._evaluate(x, codes.DIFFERENTIATE, self._problem, self._samples)

    def value(self, x):
        return self._whole._evaluate(x, codes.EVALUATE, self._problem, self._samples)[0]


def penalty_factors(net, strength):
    """The strength of a penalty for each parameter: as given for weights, 0 for all others."""
    factors = np.zeros(net.n_params)
    for layer in net._layout[net._layout.penalized == 1]:
        factors[layer.w_offset : layer.w_offset + layer.n_in * layer.n_out] = strength
    return factors


class CallableFunction(Function):
    """What `minimize` is given, checked at every call.

    Parameters
    ----------
    value_and_grad : callable
        As of `fastmlp.minimize`.
    size : int
    monitor : Monitor
    rng : numpy.random.Generator
    l1 : ndarray (n,) or None
        Factors of absolute values to be added to the function.
    """

    def __init__(self, value_and_grad, size, monitor, rng, l1=None):
        self._given = value_and_grad
        self._monitor = monitor
        self.size = size
        self.resolution = float(np.finfo(np.float64).eps)
        self.rng = rng
        self.l1 = l1

    def value_and_grad(self, x):
        value, gradient = self.smooth_value_and_grad(x)
        if self.l1 is not None:
            value += float((self.l1 * np.abs(x)).sum())
            gradient = gradient + self.l1 * np.sign(x)
        return value, gradient

    def smooth_value_and_grad(self, x):
        self._monitor.admit(1)
        with self._monitor.callers_errors():
            returned = self._given(x)
        try:
            value, gradient = returned
            value, gradient = float(value), as_real("gradient", gradient).astype(np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"value_and_grad must return a number and a vector of numbers, got {returned!r}"
            ) from None
        if gradient.shape != (self.size,):
            raise ValueError(
                f"value_and_grad must return a gradient of the shape {(self.size,)}, "
                f"got {gradient.shape}"
            )
        self._monitor.count(1, 1, 1)
        return value, gradient

    @property
    def is_least_squares(self):
        return isinstance(self._given, LeastSquares) and self.l1 is None

    def gauss_newton(self, x, below=np.inf):
        self._monitor.admit(1)
        with self._monitor.callers_errors():
            result = self._given.gauss_newton(x)
        self._monitor.count(1, 1, 1)
        return result
