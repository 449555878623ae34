"""Line-search regularization: backtracking on noisy values, from first steps that shrink as 1/k.

Wills & Schön, "Stochastic quasi-Newton with line-search regularization", Automatica 127:109503
(2021). What the stochastic quasi-Newton methods have in common is here as well.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastmlp import schedules
from fastmlp.kernels import vectors
from fastmlp.result import Status
from fastmlp.schedules import Schedule, check_learning_rate, check_not_of_fit
from fastmlp.solvers.function import Function
from fastmlp.solvers.solver import Outcome, Solver, State
from fastmlp.validation import check_positive

# What stands out of noise: a difference of gradients so many times as long as noise alone makes it
# (root mean square), a value so many standard deviations of a difference above another. Noise in
# two dimensions is four times as long as usual once in ten million times.
OUTSTANDING_LENGTH = 4.0
OUTSTANDING_VALUE = 2.0

# Evaluations that estimate the noise of a function that has been seen to be noisy.
NOISE_DRAWS = 10

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Move(NamedTuple):
    """Where a search came to: the point, what was evaluated there, and the step taken."""

    x: np.ndarray
    value: float
    gradient: np.ndarray
    step: float


def inner(a: np.ndarray, b: np.ndarray) -> float:
    """Inner product in an order that is the same on every machine, unlike that of BLAS."""
    return vectors.dot.serial(a, b)


def euclidean_norm(a: np.ndarray) -> float:
    """Norm of a vector, without BLAS either."""
    return math.sqrt(inner(a, a))


def first_step(k: int, largest_step: float, decay: float) -> float:
    """First trial step of iteration k, counted from 1: min(largest_step, decay / k)."""
    return min(largest_step, decay / k)


def regularized_search(
    evaluate: Evaluate,
    x: np.ndarray,
    value: float,
    slope: float,
    direction: np.ndarray,
    step: float,
    *,
    tolerance: float = 0.0,
    c1: float = 0.1,
    shrink: float = 0.5,
    max_shrinks: int = 10,
) -> Move | None:
    """Shrink the step until the value has fallen enough, but only so many times.

    Enough is ``evaluate(x + step * direction)[0] <= value + tolerance + c1 * step * slope``. The
    last step is taken all the same if it is finite: a value that looks high may only be noisy,
    and by then the step is short.

    Parameters
    ----------
    evaluate : callable
        Gives value and gradient, both for the same samples as `value` and `slope`.
    x, direction : ndarray (n,)
    value : float
        At x.
    slope : float
        Inner product of the gradient at x and the direction; negative.
    step : float
        The first to try, see `first_step`.
    tolerance : float, default 0.0
        Rise that is put down to noise; infinite takes the first finite step.
    c1 : float, default 0.1
        Share of the decrease that the slope promises.
    shrink : float, default 0.5
        Factor of the step after each failure.
    max_shrinks : int, default 10
        How often the step may be shrunk.

    Returns
    -------
    Move, or None if value and gradient were not finite at any trial
    """
    move = None
    for _ in range(max_shrinks + 1):
        trial = x + step * direction
        trial_value, gradient = evaluate(trial)
        if np.isfinite(trial_value) and np.isfinite(gradient).all():
            move = Move(trial, trial_value, gradient, step)
            if trial_value <= value + tolerance + c1 * step * slope:
                break
        else:
            move = None
        step *= shrink
    return move


@dataclass(frozen=True, eq=False, kw_only=True)
class StochasticNewton(Solver):
    """A method that learns of curvature from mini-batch to mini-batch: the base class.

    Each update evaluates one batch at both ends of its step, so that the difference of the
    gradients is curvature alone: with gradients of two batches it would be mostly the difference
    of the batches. Where the function itself is noisy, which two evaluations at the start tell,
    ten measure the noise: then differences that do not stand out of it teach nothing, and a
    rise within it does not shorten a step.

    Parameters
    ----------
    max_iterations : int or None, default None
        Epochs, or updates where there are no data. None is as many as `epochs` of `fit` or
        `max_iterations` of `minimize` say, else 500.
    batch_size : int or None, default 512
        Rows of a mini-batch, None for all. Smaller ones make differences of gradients noisy.
    learning_rate : float, Schedule or None, default None
        Length of the steps, where 1 is that of the quasi-Newton method; a schedule goes by
        epochs or updates. None searches it by
        `regularized_search` on the batch.
    largest_step : float, default 0.9
        Of the search.
    decay : float, default 10.0
        Of the search, whose first trial in update k is the smaller of largest_step and decay / k.
        Noise of more than the curvature shows needs many steps that stay long: about 1000 for
        Rosenbrock's function with noise of standard deviation 30 on value and gradient, of which
        some thousand updates then come near the minimum.
    """

    stochastic = True

    max_iterations: int | None = None
    batch_size: int | None = 512
    learning_rate: float | Schedule | None = None
    largest_step: float = 0.9
    decay: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate is not None:
            check_learning_rate("learning_rate", self.learning_rate)
            check_not_of_fit("learning_rate", self.learning_rate)
        check_positive("largest_step", self.largest_step)
        check_positive("decay", self.decay)

    @abstractmethod
    def direction(self, state: State, gradient: np.ndarray) -> np.ndarray:
        """A direction of descent, whose inner product with the gradient is negative."""

    @abstractmethod
    def learn(self, state: State, s: np.ndarray, y: np.ndarray, Bs: np.ndarray) -> None:
        """Take note of a step s along which the gradient changed by y.

        `Bs` is what the change would be if the direction had been exactly Newton's.
        """

    def start(self, function, x0):
        value, gradient = np.nan, np.full(x0.size, np.nan)
        value_noise = gradient_noise = 0.0
        # A mini-batch is the same at every call; they begin with the first update.
        if function.n_batches == 1:
            value, gradient = function.value_and_grad(x0)
            value_noise, gradient_noise = noise_of_differences(
                function.value_and_grad, x0, value, gradient
            )
        return {
            "x": x0.copy(),
            "value": value,
            "gradient": gradient,
            "value_noise": value_noise,
            "gradient_noise": gradient_noise,
            "n_updates": 0,
        }

    def step(self, function, state):
        batch, x = function.batch(), state["x"]
        value, gradient = batch.value_and_grad(x)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return Outcome(
                Status.NOT_FINITE, "the objective or its gradient is not finite on a mini-batch"
            )
        direction = self.direction(state, gradient)
        step, tolerance = self._first_step(function, state)
        slope = inner(gradient, direction)
        move = regularized_search(
            batch.value_and_grad, x, value, slope, direction, step, tolerance=tolerance
        )
        if move is None:
            return Outcome(
                Status.NOT_FINITE, "the objective or its gradient is not finite at any step tried"
            )
        s, y = move.x - x, move.gradient - gradient
        if euclidean_norm(y) > OUTSTANDING_LENGTH * state["gradient_noise"]:
            self.learn(state, s, y, -move.step * gradient)
        state.update(
            x=move.x, value=move.value, gradient=move.gradient, n_updates=state["n_updates"] + 1
        )
        return None

    def _first_step(self, function: Function, state: State) -> tuple[float, float]:
        """The first step to try, and the rise of the value to put up with."""
        n_updates = state["n_updates"]
        if self.learning_rate is None:
            tolerance = OUTSTANDING_VALUE * state["value_noise"]
            return first_step(n_updates + 1, self.largest_step, self.decay), tolerance
        rates = schedules.learning_rates(self.learning_rate, n_updates, 1, function.n_batches)
        return float(rates[0]), np.inf


def noise_of_differences(
    evaluate: Evaluate, x: np.ndarray, value: float, gradient: np.ndarray
) -> tuple[float, float]:
    """Root mean square of what noise adds to a difference of values, and of gradients.

    `value` and `gradient` are from a first evaluation at x, which is repeated here. Both are 0
    if the second gives the same.
    """
    again, gradient_again = evaluate(x)
    values, gradients = np.array([value, again]), np.array([gradient, gradient_again])
    if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
        return 0.0, 0.0
    if (values == value).all() and (gradients == gradient).all():
        return 0.0, 0.0
    draws = [evaluate(x) for _ in range(NOISE_DRAWS - 2)]
    values = np.append(values, [value for value, _ in draws])
    gradients = np.vstack([gradients, *(gradient for _, gradient in draws)])
    variance = gradients.var(axis=0, ddof=1).sum()
    if not (np.isfinite(values).all() and np.isfinite(variance)):
        return 0.0, 0.0
    return float(np.sqrt(2.0 * values.var(ddof=1))), float(np.sqrt(2.0 * variance))
