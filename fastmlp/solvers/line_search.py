"""Line searches: how far to go along a direction."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.kernels.line_search import (
    AT_BEST,
    AT_TRIAL,
    FAILED,
    FLATTER,
    LEVEL,
    NO_DESCENT,
    NOT_FINITE,
    TRY,
    UNBOUNDED,
    search_step,
)
from fastmlp.kernels.records import SEARCH, numbers
from fastmlp.result import Status
from fastmlp.solvers.solver import Outcome

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Search(NamedTuple):
    """What a line search found.

    Attributes
    ----------
    x, value, gradient
        The point it ends at; on failure the lowest it saw, which is the start if none was lower.
    step : float
        The multiple of the direction that leads there, 0 at the start.
    outcome : Outcome or None
        None on success, else what went wrong.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    step: float
    outcome: Outcome | None


class Point(NamedTuple):
    """A trial of a search, with what the value changes by for each unit of the step there."""

    x: np.ndarray
    value: float
    gradient: np.ndarray
    step: float
    slope: float

    @property
    def is_finite(self) -> bool:
        # A gradient with a NaN or infinite component has no finite product with any vector.
        return math.isfinite(self.value) and math.isfinite(self.slope)

    def as_end(self, outcome: Outcome | None = None) -> Search:
        """The search that ends here."""
        return Search(self.x, self.value, self.gradient, self.step, outcome)


def strong_wolfe(
    evaluate: Evaluate,
    x: np.ndarray,
    value: float,
    gradient: np.ndarray,
    direction: np.ndarray,
    first_step: float,
    *,
    c1: float = 1e-3,
    c2: float = 0.9,
    max_trials: int = 20,
    resolution: float = 0.0,
) -> Search:
    """Find a step that satisfies the strong Wolfe conditions, by the method of Moré & Thuente.

    These are ``f(x + t d) <= f(x) + c1 t g'd`` and ``|g(x + t d)'d| <= c2 |g'd|``. The trial
    steps are those of MINPACK-2's dcsrch as SciPy's L-BFGS-B calls it. After a non-finite trial
    the next is much shorter.

    Parameters
    ----------
    evaluate : callable
        Gives value and gradient at a vector.
    x, value, gradient
        Where to start.
    direction : ndarray of float64 (n,)
    first_step : float
        The first trial, positive.
    c1, c2 : float
        Factors of the conditions, ``0 < c1 < c2 < 1``.
    max_trials : int
        Most evaluations.
    resolution : float, default 0.0
        Relative accuracy of the values, see `Function`.

    Returns
    -------
    Search
        A success satisfies the first condition, and the second but where the steps that do are
        confined to a bracket of a tenth of their size, the trials are used up, or the function
        is not finite a little further on. Else the outcome is `UNBOUNDED` if the function still
        falls at 1e10, or 1e10 times the first step if that is below 1; `NOT_FINITE` if no trial
        was finite; `CONVERGED` if values are too inaccurate to show a fall: the slope grew flatter
        by a tenth or more where the value was the same but for rounding; or
        `LINE_SEARCH_FAILED`.

    Notes
    -----
    Moré & Thuente, ACM Transactions on Mathematical Software 20:286-307 (1994).
    """
    along, start = _straight(evaluate, x, value, gradient, direction)
    return search_wolfe(along, start, first_step, c1, c2, max_trials, resolution)


def _straight(evaluate, x, value, gradient, direction):
    """The points along a direction, by their steps, and the start."""

    def along(step):
        trial = x + step * direction
        trial_value, trial_gradient = evaluate(trial)
        slope = vectors.dot.serial(trial_gradient, direction)
        return Point(trial, trial_value, trial_gradient, step, slope)

    return along, Point(x, value, gradient, 0.0, vectors.dot.serial(gradient, direction))


def search_wolfe(along, start, first_step, c1, c2, max_trials, resolution):
    """Do what `strong_wolfe` does on any curve.

    ``along(step)`` gives the `Point` at a step; `start` is that at 0.
    """
    search = np.zeros(1, SEARCH)
    for name, setting in {
        "c1": c1,
        "c2": c2,
        "most_trials": max_trials,
        "resolution": resolution,
    }.items():
        search[name] = setting
    search, best = numbers(search).view(np.float64), start
    value, slope = float(start.value), float(start.slope)
    verdict, step, _ = search_step.serial(search, True, value, slope, float(first_step))
    while verdict == TRY:
        point = along(step)
        value, slope = float(point.value), float(point.slope)
        verdict, step, improves = search_step.serial(search, False, value, slope, 0.0)
        if improves:
            best = point
    if verdict == AT_TRIAL:
        return point.as_end()
    return best.as_end(outcome_of(verdict, best.step, max_trials))


def outcome_of(verdict, best_step, n_trials):
    """Why a search ended, by the verdict of kernels/line_search.py; None if it was a success."""
    if verdict in (AT_TRIAL, AT_BEST):
        return None
    status, reason = _OUTCOMES[verdict]
    return Outcome(status, reason.format(best_step=best_step, n_trials=n_trials))


_OUTCOMES = {
    UNBOUNDED: (
        Status.UNBOUNDED,
        "the objective still falls at the line search's last step, {best_step:.3g}",
    ),
    LEVEL: (
        Status.CONVERGED,
        "the objective no longer falls by more than the accuracy of its values",
    ),
    NOT_FINITE: (
        Status.NOT_FINITE,
        "the objective or its gradient is not finite at any step of the line search",
    ),
    FAILED: (
        Status.LINE_SEARCH_FAILED,
        "the line search found no sufficiently lower point in {n_trials} trials",
    ),
    NO_DESCENT: (
        Status.LINE_SEARCH_FAILED,
        "the line search was given a direction that does not descend",
    ),
}


def armijo(
    evaluate: Evaluate,
    x: np.ndarray,
    value: float,
    gradient: np.ndarray,
    direction: np.ndarray,
    first_step: float,
    *,
    c1: float = 1e-4,
    shrink: float = 0.5,
    max_trials: int = 30,
    resolution: float = 0.0,
) -> Search:
    """Find a step of sufficient decrease by backtracking.

    The first of ``first_step``, ``shrink * first_step``, ... with
    ``f(x + t d) <= f(x) + c1 t g'd``. A non-finite trial is one that does not satisfy it.

    Parameters
    ----------
    evaluate, x, value, gradient, direction, first_step, c1
        As of `strong_wolfe`.
    shrink : float
        Between 0 and 1.
    max_trials : int
        Most evaluations.
    resolution : float, default 0.0
        As of `strong_wolfe`.

    Returns
    -------
    Search
        The outcome of a failure is `NOT_FINITE` if no trial was finite, `CONVERGED` as of
        `strong_wolfe`, or `LINE_SEARCH_FAILED`.

    Notes
    -----
    Armijo, Pacific Journal of Mathematics 16:1-3 (1966).
    """
    along, start = _straight(evaluate, x, value, gradient, direction)

    def required(point):
        return c1 * point.step * start.slope

    return backtrack(along, start, required, first_step, shrink, max_trials, resolution)


def backtrack(along, start, required, first_step, shrink, max_trials, resolution):
    """Do what `armijo` does on any curve: ``required(point)`` is the change of value to reach."""
    if not start.slope < 0.0:
        return start.as_end(outcome_of(NO_DESCENT, 0.0, 0))
    seen = _Seen(start, resolution)
    step = first_step
    for _ in range(max_trials):
        point = along(step)
        # What is required may be less than a rounding of the value.
        enough = point.value <= start.value + required(point) and point.value < start.value
        if seen.take_down(point) and enough:
            return point.as_end()
        step *= shrink
    return seen.failure(max_trials)


class _Seen:
    """The trials of a backtracking so far, as far as its end has to tell of them."""

    def __init__(self, start, resolution):
        self.start = self.best = start
        self.any_not_finite = False
        self.any_change = False
        # Whether the slope grew clearly flatter while the value stayed the same but for rounding.
        self.any_level = False
        self._rounding = 4.0 * resolution * max(abs(start.value), 1.0)

    def take_down(self, point):
        """Take down a trial; return whether it is finite."""
        if not point.is_finite:
            self.any_not_finite = True
            return False
        start = self.start
        if point.value < self.best.value:
            self.best = point
        if point.value != start.value:
            self.any_change = True
        if abs(point.value - start.value) <= self._rounding:
            self.any_level = self.any_level or abs(point.slope) <= FLATTER * -start.slope
        return True

    def failure(self, n_trials):
        """The search that found no step of sufficient decrease."""
        verdict = FAILED
        if self.any_level:
            verdict = LEVEL
        # The shortest of trials may be finite because they are the start, but for rounding.
        elif self.any_not_finite and not self.any_change:
            verdict = NOT_FINITE
        return self.best.as_end(outcome_of(verdict, self.best.step, n_trials))
