"""Limited-memory BFGS: without constraints, within bounds, and orthant-wise for l1."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from fastmlp.kernels import lbfgs, vectors
from fastmlp.result import Status
from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.lbfgs_run import Run, new_run
from fastmlp.solvers.line_descent import LineDescent, unit_step
from fastmlp.solvers.line_search import Point, backtrack, outcome_of, search_wolfe
from fastmlp.solvers.solver import Outcome
from fastmlp.validation import check_count

# Conditions of the searches, as of `strong_wolfe` and, for OWL-QN, `armijo`.
_C1, _C2, _TRIALS = 1e-3, 0.9, 20
_ARMIJO, _SHRINK, _ARMIJO_TRIALS = 1e-4, 0.5, 30

# A parameter so near to a bound that its gradient pulls it to counts as on it.
_NEAR = 1.5e-8


@dataclass(frozen=True, eq=False)
class _LimitedMemory(LineDescent):
    """The history of pairs that stands for the inverse Hessian.

    Where the whole space may be searched, the iteration is that of kernels/lbfgs.py, whose memory
    is all of the state. Else the search is along a curve, and rows S and Y are in the state.
    """

    history_size: int = 10
    _: KW_ONLY

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("history_size", self.history_size)

    def is_free(self, function):
        """Whether it searches along straight lines, anywhere."""
        raise NotImplementedError

    def start(self, function, x0):
        if not self.is_free(function):
            return super().start(function, x0) | self.no_history(x0.size)
        value, gradient = function.value_and_grad(x0)
        state = {"memory": new_run(x0.size, self.history_size)}
        run = Run(state["memory"])
        x, run_gradient = run.point("at")
        x[:], run_gradient[:] = x0, gradient
        run["value"] = value
        run["squared_gradient"] = np.einsum("i,i", run_gradient, run_gradient)
        run["largest_gradient"] = np.abs(run_gradient).max()
        run["c1"], run["c2"], run["most_trials"] = _C1, _C2, _TRIALS
        run["decrease"], run["moves"] = np.inf, 1
        _look(run, state)
        return state

    def step(self, function, state):
        if not self.is_free(function):
            return super().step(function, state)
        run = self._take_up(function, state)
        job = lbfgs.advance.serial(run.memory, np.nan)
        while job == lbfgs.EVALUATE:
            x, gradient = run.point("trial")
            value, gradient[:] = function.value_and_grad(x.copy())
            job = lbfgs.advance.serial(run.memory, float(value))
        if job == lbfgs.FAIL:
            return _outcome(run)
        _look(run, state)
        return None

    def run(self, function, state, max_iterations, iterate):
        if not (self.is_free(function) and function.runs_lbfgs) or iterate.is_watched:
            return super().run(function, state, max_iterations, iterate)
        run, n_left = self._take_up(function, state), max_iterations
        run["gradient_tolerance"] = self.gradient_tolerance
        run["objective_tolerance"] = self.relative_tolerance(function)
        run["target"] = iterate.target
        outcome = self.finished(function, state)
        while outcome is None and n_left > 0:
            run["most_iterations"] = min(n_left, lbfgs.MOST_TRACED)
            rows = function.run_lbfgs(run)
            n_left -= len(rows)
            _look(run, state)
            iterate.several(state, rows)
            outcome = _outcome(run) if run["job"] == lbfgs.FAIL else self.finished(function, state)
        return outcome or Outcome(Status.COMPLETED, f"{max_iterations} iterations done")

    def _take_up(self, function, state):
        """The run of a state, at the start of an iteration."""
        if "memory" not in state:  # of an older checkpoint: the pairs are let go
            state["memory"] = new_run(state["x"].size, self.history_size)
            run = Run(state["memory"])
            run.point("at")[1][:] = state["gradient"]
            run["value"], run["scale"] = state["value"], state["scale"]
            run["squared_gradient"] = np.einsum("i,i", state["gradient"], state["gradient"])
            run["largest_gradient"] = np.abs(state["gradient"]).max()
            run["c1"], run["c2"], run["most_trials"] = _C1, _C2, _TRIALS
        run = Run(state["memory"])
        run["job"] = lbfgs.ITERATE
        run["resolution"] = function.resolution
        run["step_tolerance"] = self.step_tolerance
        run.point("at")[0][:] = state["x"]  # which a callback may have changed
        return run

    def no_history(self, size):
        """The part of the state that is the history of a search along curves, without pairs."""
        n_rows = self.history_size + 1
        return {
            "S": np.zeros((n_rows, size)),
            "Y": np.zeros((n_rows, size)),
            "curvatures": np.zeros(n_rows),
            "last": n_rows - 1,
            "count": 0,
            "scale": 0.0,  # of the inverse Hessian; 0 while nothing is known of it
        }

    def has_learnt(self, state):
        return state["count"] > 0

    def forget(self, state):
        state["count"] = 0

    def learn(self, state, search, direction):
        self.remember(state, search.x, state["gradient"], search.gradient)

    def quasi_newton(self, state, gradient, free):
        """Return -H g of the `free` parameters, H the inverse Hessian, and 0 for the others."""
        direction = np.empty(gradient.size)
        history = lbfgs.History(*(state[name] for name in lbfgs.History._fields))
        scale, mask = state["scale"] or 1.0, free.astype(np.float64)
        lbfgs.two_loop_of_free.serial(history, scale, gradient, mask, direction)
        return direction

    def first_step(self, state, direction):
        """The first trial: a change of Euclidean norm 1 while there is no scale to go by."""
        return 1.0 if state["scale"] else unit_step(direction)

    def remember(self, state, x, old_gradient, gradient):
        """Add the pair of a step to the history, in place of the oldest, if it has curvature."""
        S = state["S"]
        row = (state["last"] + 1) % S.shape[0]
        scale = lbfgs.add_pair.serial(
            S, state["Y"], state["curvatures"], row, state["x"], x, old_gradient, gradient
        )
        if scale > 0.0:
            state["last"], state["scale"] = row, scale
            state["count"] = min(state["count"] + 1, self.history_size)


def _look(run, state):
    """Bring the entries of a state that others look at in step with its run."""
    x, gradient = run.point("at")
    state["x"], state["value"], state["gradient"] = x.copy(), run["value"], gradient
    state["decrease"], state["change"] = run["decrease"], np.inf if run["moves"] else 0.0
    state["largest_gradient"] = run["largest_gradient"]
    state["gradient_norm"] = math.sqrt(run["squared_gradient"])
    state["unbounded"] = ""
    if run["unbounded"]:
        state["unbounded"] = _outcome(run).message


def _outcome(run):
    """Why there is no way on from where a run is."""
    if run["outcome"] == lbfgs.X_NOT_FINITE:
        return Outcome(Status.NOT_FINITE, "theta is not finite")
    return outcome_of(run["outcome"], run["best_step"], run["most_trials"])


@dataclass(frozen=True, eq=False)
class LBFGS(_LimitedMemory):
    """Limited-memory BFGS with a strong Wolfe line search, and bounds.

    Parameters
    ----------
    history_size : int, default 10
        Pairs of steps and gradient differences that stand for the Hessian.
    max_iterations, gradient_tolerance, objective_tolerance, step_tolerance
        As of all that descend. With bounds the gradient is the projected one,
        ``x - clip(x - g, low, high)``.
    bounds : (low, high) or None, default None
        Box that theta stays in: two numbers or two arrays (n_params,), infinite where there is
        no bound. The start is moved into it, and nothing outside is ever evaluated.

    Notes
    -----
    Liu & Nocedal, Mathematical Programming 45:503-528 (1989), with the line search of SciPy's
    L-BFGS-B, see `fastmlp.solvers.line_search.strong_wolfe`. Where a search finds no lower
    point, it is tried once more without history; only then the iteration ends.

    Bounds are met by projection: parameters on a bound that the gradient pulls them to take part
    in nothing else, the others follow the quasi-Newton direction of their own components of the
    pairs, and the line search bends along the box (Bertsekas, SIAM Journal on Control and
    Optimization 20:221-246, 1982).

    With an l1 penalty, which has no gradient at 0, it seldom gets to exact zeros: see `OWLQN`.

    Examples
    --------
    All parameters between -1 and 1:

    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 16, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.LBFGS(bounds=(-1.0, 1.0)), epochs=50)
    >>> bool(abs(net.theta).max() <= 1.0)
    True
    """

    bounds: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bounds is not None:
            check_bounds(self.bounds)

    def check(self, function):
        if self.bounds is not None:
            check_bounds(self.bounds, function.size)

    def is_free(self, function):
        return self.bounds is None

    def start(self, function, x0):
        if self.bounds is not None:
            x0 = np.clip(x0, *check_bounds(self.bounds, x0.size))
        return super().start(function, x0)

    def optimality(self, function, state):
        return state["gradient"] if self.bounds is None else self._projected_gradient(state)

    def direction(self, state):
        low, high = check_bounds(self.bounds)
        x, gradient = state["x"], state["gradient"]
        near = min(_NEAR, vectors.largest.serial(self._projected_gradient(state)))
        held = ((x <= low + near) & (gradient > 0.0)) | ((x >= high - near) & (gradient < 0.0))
        direction = self.quasi_newton(state, gradient, ~held)
        direction[held] = -(state["scale"] or 1.0) * gradient[held]
        direction[((x <= low) & (direction < 0.0)) | ((x >= high) & (direction > 0.0))] = 0.0
        return direction, self.first_step(state, direction)

    def search(self, function, state, direction, first_step):
        low, high = check_bounds(self.bounds)
        x, gradient = state["x"], state["gradient"]

        def along(step):
            beyond = x + step * direction
            trial = np.clip(beyond, low, high)
            value, trial_gradient = function.value_and_grad(trial)
            moves = np.where(trial == beyond, direction, 0.0)
            slope = vectors.dot.serial(trial_gradient, moves)
            return Point(trial, value, trial_gradient, step, slope)

        start = Point(x, state["value"], gradient, 0.0, vectors.dot.serial(gradient, direction))
        return search_wolfe(along, start, first_step, _C1, _C2, _TRIALS, function.resolution)

    def _projected_gradient(self, state):
        x = state["x"]
        return x - np.clip(x - state["gradient"], *check_bounds(self.bounds))


@dataclass(frozen=True, eq=False)
class OWLQN(_LimitedMemory):
    """Orthant-wise limited-memory quasi-Newton: L-BFGS for an l1 penalty, to exact zeros.

    Parameters
    ----------
    history_size : int, default 10
        Pairs of steps and gradient differences that stand for the Hessian of the smooth part.
    max_iterations, gradient_tolerance, objective_tolerance, step_tolerance
        As of all that descend, where the gradient is the subgradient of least norm.

    Notes
    -----
    Andrew & Gao, Proceedings of the 24th International Conference on Machine Learning 33-40
    (2007), but that parameters which stay at 0 have no part in the direction, as of `LBFGS` those
    on a bound: that spares a tenth of the evaluations or more. Parameters without a penalty, such
    as biases, are left to change their sign. Without any penalty it is `LBFGS`.

    Examples
    --------
    A penalty that makes most weights zero, and not just small:

    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 16, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.OWLQN(), l1=0.01, epochs=200)
    >>> bool((net.weights[0] == 0.0).mean() > 0.5)
    True
    """

    def is_free(self, function):
        return function.l1 is None

    def start(self, function, x0):
        if function.l1 is None:
            return super().start(function, x0)
        value, smooth = function.smooth_value_and_grad(x0)
        return {
            "x": x0.copy(),
            "value": value + _penalty(function.l1, x0),
            "gradient": _least_subgradient(smooth, x0, function.l1),
            "smooth_gradient": smooth,
            "decrease": np.inf,
            "change": np.inf,
            "unbounded": "",
            **self.no_history(x0.size),
        }

    def step(self, function, state):
        outcome = super().step(function, state)
        if function.l1 is not None and outcome is None:
            smooth = state["gradient"]
            state["smooth_gradient"] = smooth
            state["gradient"] = _least_subgradient(smooth, state["x"], function.l1)
        return outcome

    def direction(self, state):
        x, gradient = state["x"], state["gradient"]
        direction = self.quasi_newton(state, gradient, (x != 0.0) | (gradient != 0.0))
        return direction, self.first_step(state, direction)

    def learn(self, state, search, direction):
        self.remember(state, search.x, state["smooth_gradient"], search.gradient)

    def search(self, function, state, direction, first_step):
        """Backtrack within an orthant. The gradient of what it finds is that without l1."""
        l1 = function.l1
        x, gradient = state["x"], state["gradient"]
        penalized = l1 > 0.0
        direction = np.where(penalized & (direction * gradient >= 0.0), 0.0, direction)
        orthant = np.sign(np.where(x == 0.0, -gradient, x))
        tilt = l1 * orthant  # the gradient of the penalty all over the orthant

        def along(step):
            trial = x + step * direction
            outside = penalized & (trial * orthant <= 0.0)
            trial[outside] = 0.0
            value, smooth = function.smooth_value_and_grad(trial)
            slope = vectors.dot.serial(smooth + tilt, np.where(outside, 0.0, direction))
            return Point(trial, value + _penalty(l1, trial), smooth, step, slope)

        def required(point):
            return _ARMIJO * vectors.dot.serial(gradient, point.x - x)

        start = Point(x, state["value"], gradient, 0.0, vectors.dot.serial(gradient, direction))
        return backtrack(
            along, start, required, first_step, _SHRINK, _ARMIJO_TRIALS, function.resolution
        )


def _penalty(l1, x):
    return float((l1 * np.abs(x)).sum())


def _least_subgradient(smooth, x, l1):
    """The subgradient of least norm of a smooth function plus the sum of l1 |x|."""
    at_zero = np.sign(smooth) * np.maximum(np.abs(smooth) - l1, 0.0)
    return np.where(x == 0.0, at_zero, smooth + l1 * np.sign(x))
