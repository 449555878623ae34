"""Line searches: how far to go along a direction."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.result import Status
from fastmlp.solvers.solver import Outcome

# Where the strong Wolfe search stops to look for an end of the descent, as SciPy's does.
LARGEST_STEP = 1e10

# A bracket whose width is at most this part of its larger end is not searched any further.
_BRACKET_TOLERANCE = 0.1

# A slope of less than this part of the first shows that the gradient is right, if values cannot.
_FLATTER = 0.9

# How much nearer to the best step so far the trial after a non-finite one is.
_RETREAT = 0.1

_NO_DESCENT = "the line search was given a direction that does not descend"

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
    if not start.slope < 0.0:
        return start.as_end(Outcome(Status.LINE_SEARCH_FAILED, _NO_DESCENT))
    search = _MoreThuente(start.value, start.slope, c1, c2)
    seen = _Seen(start, resolution)
    step = first_step = min(first_step, LARGEST_STEP)
    for _ in range(max_trials):
        point = along(step)
        if seen.take_down(point):
            step = search.next_step(step, point.value, point.slope)
        else:
            step = search.retreat(step)
        if search.satisfied:
            return point.as_end()
        if step is None:
            break
    best = seen.best
    if search.falling and best.step >= LARGEST_STEP * min(first_step, 1.0):
        reason = f"the objective still falls at the line search's last step, {best.step:.3g}"
        return best.as_end(Outcome(Status.UNBOUNDED, reason))
    if best is not start and best.value <= start.value + c1 * best.step * start.slope:
        return best.as_end()
    return seen.failure(max_trials)


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
        return start.as_end(Outcome(Status.LINE_SEARCH_FAILED, _NO_DESCENT))
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
    """The trials of a search so far, as far as its end has to tell of them."""

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
            self.any_level = self.any_level or abs(point.slope) <= _FLATTER * -start.slope
        return True

    def failure(self, n_trials):
        """The search that found no step of sufficient decrease."""
        if self.any_level:
            status = Status.CONVERGED
            reason = "the objective no longer falls by more than the accuracy of its values"
        # The shortest of trials may be finite because they are the start, but for rounding.
        elif self.any_not_finite and not self.any_change:
            status = Status.NOT_FINITE
            reason = "the objective or its gradient is not finite at any step of the line search"
        else:
            status = Status.LINE_SEARCH_FAILED
            reason = f"the line search found no sufficiently lower point in {n_trials} trials"
        return self.best.as_end(Outcome(status, reason))


class _MoreThuente:
    """The scalar state of the search: MINPACK-2's dcsrch, on Python's floats.

    The names are Moré and Thuente's: an interval with the ends `x`, the best step so far, and
    `y`, each with its value and slope, which once `bracketed` contains a minimizer.
    """

    def __init__(self, value, slope, c1, c2):
        value, slope = float(value), float(slope)
        self.value, self.slope = value, slope
        self.required = c1 * slope  # of each unit of the step
        self.flat = c2 * -slope
        self.satisfied = False
        self.falling = True  # about as steeply as at the start, at the latest step
        self.bracketed = False
        self.above = True  # no step has yet satisfied the first condition and ended the descent
        self.step_x = self.step_y = 0.0
        self.value_x = self.value_y = value
        self.slope_x = self.slope_y = slope
        self.largest = LARGEST_STEP
        self.width, self.older_width = LARGEST_STEP, 2.0 * LARGEST_STEP
        self.low, self.high = 0.0, math.inf

    def next_step(self, step, value, slope):
        """Take down what is at a step; return the next to try, or None at the end."""
        value, slope = float(value), float(slope)
        enough = self.value + step * self.required
        if value <= enough and abs(slope) <= self.flat:
            self.satisfied = True
            return None
        self.falling = value <= enough and slope <= self.required
        if self.falling and step == self.largest:
            return None
        if self.high == math.inf:
            self.high = 5.0 * step
        if self.above and value <= enough and slope >= 0.0:
            self.above = False
        # While a lower value is not low enough, the search is for a minimizer of the value above
        # the line of sufficient decrease.
        tilt = self.required if self.above and enough < value <= self.value_x else 0.0
        step = self._trial(step, value, slope, tilt)
        if self.bracketed:
            if abs(self.step_y - self.step_x) >= 0.66 * self.older_width:
                step = self.step_x + 0.5 * (self.step_y - self.step_x)
            self.older_width, self.width = self.width, abs(self.step_y - self.step_x)
            self.low = min(self.step_x, self.step_y)
            self.high = max(self.step_x, self.step_y)
            narrow = self.high - self.low <= _BRACKET_TOLERANCE * self.high
            if narrow or not self.low < step < self.high:
                return None
            return step
        self.low = step + 1.1 * (step - self.step_x)
        self.high = step + 4.0 * (step - self.step_x)
        step = min(step, self.largest)
        return None if step == self.step_x else step

    def retreat(self, step):
        """Return the next step after one at which the function is not finite."""
        if not self.bracketed:
            self.largest = self.step_x + 0.5 * (step - self.step_x)
        return self.step_x + _RETREAT * (step - self.step_x)

    def _trial(self, step, value, slope, tilt):
        """Do MINPACK-2's dcstep: move the ends of the interval, return a safeguarded new step.

        It sees values and slopes less those of the line through 0 of slope `tilt`.
        """
        x, y = self.step_x, self.step_y
        f, d = value - step * tilt, slope - tilt
        f_x, d_x = self.value_x - x * tilt, self.slope_x - tilt
        f_y, d_y = self.value_y - y * tilt, self.slope_y - tilt
        turned = d * d_x < 0.0
        if f > f_x:
            # Bracketed. The cubic step if it is nearer to x, else halfway to the quadratic one.
            self.bracketed = True
            cubic, _ = _cubic(x, f_x, d_x, step, f, d)
            quadratic = x + d_x / ((f_x - f) / (step - x) + d_x) / 2.0 * (step - x)
            new = cubic
            if not abs(cubic - x) <= abs(quadratic - x):
                new = cubic + (quadratic - cubic) / 2.0
        elif turned:
            # Bracketed. The longer of the cubic and the secant step.
            self.bracketed = True
            cubic, _ = _cubic(step, f, d, x, f_x, d_x)
            new = max(_secant(step, d, x, d_x), cubic, key=lambda end: abs(end - step))
        elif abs(d) < abs(d_x):
            # It falls less steeply than before. The cubic may have no minimizer further on.
            cubic, exists = _cubic(step, f, d, x, f_x, d_x)
            if not exists or (cubic > step) != (step > x):
                cubic = self.high if step > x else self.low
            secant = _secant(step, d, x, d_x)
            if self.bracketed:
                new = min(secant, cubic, key=lambda end: abs(end - step))
                limit = step + 0.66 * (y - step)
                new = min(limit, new) if step > x else max(limit, new)
            else:
                new = max(secant, cubic, key=lambda end: abs(end - step))
                new = min(max(new, self.low), self.high)
        elif self.bracketed:
            new, _ = _cubic(step, f, d, y, f_y, d_y)
        else:
            new = self.high if step > x else self.low
        if f > f_x:
            self.step_y, self.value_y, self.slope_y = step, value, slope
        else:
            if turned:
                self.step_y, self.value_y, self.slope_y = x, self.value_x, self.slope_x
            self.step_x, self.value_x, self.slope_x = step, value, slope
        if math.isnan(new):  # the values are so large that their differences overflow
            new = 0.5 * (self.step_x + self.step_y)
        return new


def _cubic(a, f_a, d_a, b, f_b, d_b):
    """Where the cubic through two points with these values and slopes has its minimizer.

    Also whether it has one; if not, it is where its slope is least.
    """
    theta = 3.0 * (f_a - f_b) / (b - a) + d_a + d_b
    scale = max(abs(theta), abs(d_a), abs(d_b))
    ratio = theta / scale
    square = ratio * ratio - d_a / scale * (d_b / scale)
    gamma = scale * math.sqrt(max(0.0, square))
    if b < a:
        gamma = -gamma
    p = gamma - d_a + theta
    q = gamma - d_a + gamma + d_b
    return (a + p / q * (b - a) if q != 0.0 else math.nan), gamma != 0.0


def _secant(a, d_a, b, d_b):
    """Where the slope vanishes, if it is linear."""
    return a + d_a / (d_a - d_b) * (b - a)
