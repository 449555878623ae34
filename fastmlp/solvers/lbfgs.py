"""Limited-memory BFGS: without constraints, within bounds, and orthant-wise for l1."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from fastmlp.kernels import lbfgs, vectors
from fastmlp.result import Status
from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.line_search import Point, backtrack, search_wolfe, strong_wolfe
from fastmlp.solvers.solver import Descent
from fastmlp.validation import check_count

# Conditions of the searches along curves, as of `strong_wolfe` and, for OWL-QN, `armijo`.
_C1, _C2, _TRIALS = 1e-3, 0.9, 20
_ARMIJO, _SHRINK, _ARMIJO_TRIALS = 1e-4, 0.5, 30

# A parameter so near to a bound that its gradient pulls it to counts as on it.
_NEAR = 1.5e-8


@dataclass(frozen=True, eq=False)
class _LimitedMemory(Descent):
    """The iteration, and the history of pairs that stands for the inverse Hessian."""

    history_size: int = 10
    _: KW_ONLY

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("history_size", self.history_size)

    def start(self, function, x0):
        return super().start(function, x0) | self.no_history(x0.size)

    def no_history(self, size):
        """The part of the state that is the history, without pairs."""
        n_rows = self.history_size + 1
        return {
            "S": np.zeros((n_rows, size)),
            "Y": np.zeros((n_rows, size)),
            "curvatures": np.zeros(n_rows),
            "last": n_rows - 1,
            "count": 0,
            "scale": 0.0,  # of the inverse Hessian; 0 while nothing is known of it
        }

    def step(self, function, state):
        search = self.search(function, state)
        if not search.value < state["value"] and state["count"]:
            # Pairs from farther away, or from noise, may have led astray.
            state["count"] = 0
            search = self.search(function, state)
        if search.outcome is not None:
            # A point that is only a little lower may be all that the accuracy of values allows.
            unbounded = search.outcome.status is Status.UNBOUNDED
            if unbounded or not search.value < state["value"]:
                return search.outcome
        self.move(function, state, search)
        return None

    def search(self, function, state):
        """Do a line search along a quasi-Newton direction."""
        x, value, gradient = state["x"], state["value"], state["gradient"]
        direction = self.direction(state, gradient)
        first_step = self.first_step(state, direction)
        return strong_wolfe(
            function.value_and_grad,
            x,
            value,
            gradient,
            direction,
            first_step,
            resolution=function.resolution,
        )

    def move(self, function, state, search):
        """Move on to the point that a search found, and remember the pair."""
        self.remember(state, search.x, state["gradient"], search.gradient)
        self.accept(state, search.x, search.value, search.gradient)

    def direction(self, state, gradient, free=None):
        """Return -H g, H the inverse Hessian by the history; -g without any.

        If not all parameters are `free`, only those take part: 0 for the others.
        """
        direction = np.empty(gradient.size)
        history = [state[name] for name in ("S", "Y", "curvatures", "last", "count")]
        scale = state["scale"] or 1.0
        if free is None or free.all():
            lbfgs.two_loop.serial(*history, scale, gradient, direction)
        else:
            lbfgs.two_loop_of_free.serial(
                *history, scale, gradient, free.astype(np.float64), direction
            )
        return direction

    def first_step(self, state, direction):
        """The first trial: a change of Euclidean norm 1 while there is no scale to go by."""
        if state["scale"]:
            return 1.0
        return 1.0 / math.sqrt(vectors.dot.serial(direction, direction))

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
    """

    bounds: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bounds is not None:
            check_bounds(self.bounds)

    def check(self, function):
        if self.bounds is not None:
            check_bounds(self.bounds, function.size)

    def start(self, function, x0):
        if self.bounds is not None:
            x0 = np.clip(x0, *check_bounds(self.bounds, x0.size))
        return super().start(function, x0)

    def optimality(self, function, state):
        x, gradient = state["x"], state["gradient"]
        if self.bounds is None:
            return gradient
        return x - np.clip(x - gradient, *check_bounds(self.bounds))

    def search(self, function, state):
        if self.bounds is None:
            return super().search(function, state)
        low, high = check_bounds(self.bounds)
        x, gradient = state["x"], state["gradient"]
        near = min(_NEAR, float(np.abs(self.optimality(function, state)).max()))
        held = ((x <= low + near) & (gradient > 0.0)) | ((x >= high - near) & (gradient < 0.0))
        direction = self.direction(state, gradient, ~held)
        direction[held] = -(state["scale"] or 1.0) * gradient[held]

        def along(step):
            beyond = x + step * direction
            trial = np.clip(beyond, low, high)
            value, trial_gradient = function.value_and_grad(trial)
            moves = np.where(trial == beyond, direction, 0.0)
            return Point(
                trial, value, trial_gradient, step, vectors.dot.serial(trial_gradient, moves)
            )

        stuck = ((x <= low) & (direction < 0.0)) | ((x >= high) & (direction > 0.0))
        moves = np.where(stuck, 0.0, direction)
        start = Point(x, state["value"], gradient, 0.0, vectors.dot.serial(gradient, moves))
        first_step = self.first_step(state, moves)
        return search_wolfe(along, start, first_step, _C1, _C2, _TRIALS, function.resolution)


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
    (2007). Parameters without a penalty, such as biases, are left to change their sign. Without
    any penalty it is `LBFGS`.
    """

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
            **self.no_history(x0.size),
        }

    def search(self, function, state):
        l1 = function.l1
        if l1 is None:
            return super().search(function, state)
        x, gradient = state["x"], state["gradient"]
        penalized = l1 > 0.0
        direction = self.direction(state, gradient, (x != 0.0) | (gradient != 0.0))
        direction[penalized & (direction * gradient >= 0.0)] = 0.0
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
        first_step = self.first_step(state, direction)
        return backtrack(
            along, start, required, first_step, _SHRINK, _ARMIJO_TRIALS, function.resolution
        )

    def move(self, function, state, search):
        if function.l1 is None:
            super().move(function, state, search)
            return
        smooth = search.gradient
        self.remember(state, search.x, state["smooth_gradient"], smooth)
        gradient = _least_subgradient(smooth, search.x, function.l1)
        self.accept(state, search.x, search.value, gradient)
        state["smooth_gradient"] = smooth


def _penalty(l1, x):
    return float((l1 * np.abs(x)).sum())


def _least_subgradient(smooth, x, l1):
    """The subgradient of least norm of a smooth function plus the sum of l1 |x|."""
    at_zero = np.sign(smooth) * np.maximum(np.abs(smooth) - l1, 0.0)
    return np.where(x == 0.0, at_zero, smooth + l1 * np.sign(x))
