"""Steepest descent on the whole objective."""

from dataclasses import KW_ONLY, dataclass

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.result import Status
from fastmlp.schedules import (
    Schedule,
    check_learning_rate,
    check_not_of_fit,
    learning_rates,
)
from fastmlp.solvers.line_descent import LineDescent, next_step
from fastmlp.solvers.line_search import Search, armijo
from fastmlp.solvers.solver import Outcome
from fastmlp.validation import check_known, check_positive

_LINE_SEARCHES = ("armijo", "strong_wolfe", "fixed")


@dataclass(frozen=True, eq=False)
class GradientDescent(LineDescent):
    """Steps along -g, the gradient of the whole objective: theta <- theta - t g.

    Cauchy, Comptes rendus de l'Académie des sciences 25:536-538 (1847).

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.1
        Positive: the step t if it is fixed, else the first of all that are tried. Later searches
        begin at the step that would lower the objective as much as the one before. A schedule is
        for fixed steps; its time is the iteration, never the fraction of a fit. No value suits
        every problem.
    line_search : {"armijo", "strong_wolfe", "fixed"}, default "armijo"
        "armijo" halves t until the decrease is 1e-4 of what the slope promises; mostly the first
        t will do. "strong_wolfe" also wants the slope to fall to 0.9 of what it was, for which t
        may grow. "fixed" looks at no decrease: too large a step makes the objective rise, or even
        diverge. The best theta is the result then.

    Raises
    ------
    ValueError, TypeError
        For an unknown search, or a schedule with another than "fixed".

    Examples
    --------
    On an ellipse, whose axes are as 1 to 4, each step with a search of its own:

    >>> import fastmlp
    >>> def ellipse(x):
    ...     return 0.5 * (x[0] ** 2 + 16 * x[1] ** 2), x * [1, 16]
    >>> result = fastmlp.minimize(ellipse, [4.0, 1.0], optimizer=fastmlp.GradientDescent())
    >>> result.loss < 1e-6
    True
    """

    learning_rate: float | Schedule = 0.1
    _: KW_ONLY
    line_search: str = "armijo"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("line_search", self.line_search, _LINE_SEARCHES)
        if self.line_search == "fixed":
            check_learning_rate("learning_rate", self.learning_rate)
            check_not_of_fit("learning_rate", self.learning_rate)
        elif isinstance(self.learning_rate, Schedule):
            raise ValueError(
                'learning_rate must be a number unless line_search is "fixed", '
                f"got {self.learning_rate!r}"
            )
        else:
            check_positive("learning_rate", self.learning_rate)

    @property
    def monotone(self):
        return self.line_search != "fixed"

    def start(self, function, x0):
        return {**super().start(function, x0), "t": 0, "first_step": self._fixed_step(0)}

    def direction(self, state):
        return -state["gradient"], state["first_step"]

    def search(self, function, state, direction, first_step):
        if self.line_search == "strong_wolfe":
            return super().search(function, state, direction, first_step)
        if self.line_search == "fixed":
            return _take(function, state, direction, first_step)
        x, value, gradient = state["x"], state["value"], state["gradient"]
        return armijo(function.value_and_grad, x, value, gradient, direction, first_step)

    def learn(self, state, search, direction):
        state["t"] += 1
        if self.line_search == "fixed":
            state["first_step"] = self._fixed_step(state["t"])
        else:
            slope = -vectors.dot.serial(direction, direction)
            next_slope = -vectors.dot.serial(search.gradient, search.gradient)
            state["first_step"] = next_step(search.step, slope, next_slope)

    def accept(self, state, x, value, gradient):
        super().accept(state, x, value, gradient)
        if self.line_search == "fixed":  # to rise is not to have converged
            state["decrease"] = abs(state["decrease"])

    def _fixed_step(self, t):
        return float(learning_rates(self.learning_rate, t, 1, 1)[0])


def _take(function, state, direction, step):
    """Go the step whatever comes, short of what is not finite."""
    x = state["x"] + step * direction
    if np.isfinite(x).all():
        value, gradient = function.value_and_grad(x)
        if np.isfinite(value) and np.isfinite(gradient).all():
            return Search(x, value, gradient, step, None)
    outcome = Outcome(Status.NOT_FINITE, "the objective or its gradient is not finite")
    return Search(state["x"], state["value"], state["gradient"], 0.0, outcome)
