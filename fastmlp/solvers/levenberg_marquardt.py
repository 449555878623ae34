"""Levenberg-Marquardt, for sums of squares."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp.kernels import cholesky, threads, vectors
from fastmlp.result import Status
from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.solver import Descent, Outcome
from fastmlp.validation import check_number, check_positive

# The matrix and its factor take 8 bytes each for each pair of parameters, some 0.4 GB.
MOST_PARAMETERS = 5000

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False, kw_only=True)
class LevenbergMarquardt(Descent):
    """Gauss-Newton steps for squared error, damped as far as it takes to go down.

    (H + damping I) step = -gradient, with H the Gauss-Newton approximation of the Hessian: see
    `fastmlp.Objective.gauss_newton`. Without damping that is the step to the minimum of the
    linearized problem, with much of it a short step down the gradient. The rule and its defaults
    are those of MATLAB's trainlm: Hagan & Menhaj, IEEE Transactions on Neural Networks 5:989-993
    (1994); Marquardt, SIAM Journal 11:431-441 (1963).

    For a network with the loss "squared_error", with or without `l2`, and for
    `fastmlp.LeastSquares`; up to 5000 parameters.

    Parameters
    ----------
    max_iterations, gradient_tolerance, step_tolerance
        As of the other solvers.
    objective_tolerance : float, default 2.2e-9
        Relative to the objective alone, however small it is: a sum of squares knows its bottom.
    damping : float, default 1e-3
        At the start.
    increase : float, default 10.0
        Factor of the damping for a step that does not lower the objective, which is tried again.
    decrease : float, default 0.1
        Factor of the damping after a step that does.
    largest_damping : float, default 1e10
        With more it gives up. Like `damping` in the units of H, so for an objective in large
        units more is needed.
    bounds : (low, high) or None, default None
        Box that theta stays in: two numbers or two arrays (n_params,), infinite where there is
        no bound; with low equal to high a parameter is fixed. The start is moved into it.
        Parameters at a bound from which the gradient leads out stay there for a step, the
        others' step is cut at the box: Bertsekas, SIAM Journal on Control and Optimization
        20:221-246 (1982).

    Examples
    --------
    A sine by five units, the mean square of the errors below 2e-5:

    >>> import numpy as np
    >>> import fastmlp
    >>> x = np.linspace(-1, 1, 41)[:, None]
    >>> net = fastmlp.MLP([1, 5, 1], activation="tanh", dtype="float64", seed=0)
    >>> result = net.fit(x, np.sin(3 * x), optimizer=fastmlp.LevenbergMarquardt(), epochs=200)
    >>> result.loss < 1e-5
    True
    """

    damping: float = 1e-3
    increase: float = 10.0
    decrease: float = 0.1
    largest_damping: float = 1e10
    bounds: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("damping", self.damping)
        check_number("increase", self.increase, "a number above 1", lambda x: x > 1)
        check_number("decrease", self.decrease, "between 0 and 1", lambda x: 0 < x < 1)
        check_number(
            "largest_damping",
            self.largest_damping,
            "a number of at least damping",
            lambda x: x >= self.damping,
        )
        if self.bounds is not None:
            check_bounds(self.bounds)

    def check(self, function):
        if function.l1 is not None:
            raise ValueError("LevenbergMarquardt takes no l1, which is no sum of squares")
        if not function.is_least_squares:
            raise ValueError(
                "LevenbergMarquardt needs the loss 'squared_error' or a fastmlp.LeastSquares"
            )
        n = function.size
        if n > MOST_PARAMETERS:
            raise ValueError(
                f"LevenbergMarquardt takes at most {MOST_PARAMETERS} parameters, got {n}, whose "
                f"matrix and its factor would take {16 * n**2 / 1e9:.1f} GB"
            )
        if self.bounds is not None:
            check_bounds(self.bounds, n)

    def start(self, function, x0):
        x = self._within(x0)
        value, gradient, hessian = function.gauss_newton(x)
        if not math.isfinite(_largest(hessian)):
            gradient = np.full(x.size, np.nan)
        return {
            "x": x,
            "value": value,
            "gradient": gradient,
            "hessian": hessian,
            "damping": self.damping,
            "decrease": np.inf,
            "change": np.inf,
        }

    def accept(self, state, x, value, gradient):
        before = state["value"]
        super().accept(state, x, value, gradient)
        state["decrease"] = (before - value) / before

    def optimality(self, function, state):
        if self.bounds is None:
            return state["gradient"]
        return np.where(self._free(state["x"], state["gradient"]), state["gradient"], 0.0)

    def step(self, function, state):
        x, value, gradient, hessian = (state[k] for k in ("x", "value", "gradient", "hessian"))
        damping, free = state["damping"], None
        if self.bounds is not None:
            free = np.flatnonzero(self._free(x, gradient))
            gradient, hessian = gradient[free], hessian[np.ix_(free, free)]
        tolerance = max(self.objective_tolerance, 4 * function.resolution)
        is_first, was_finite = True, False
        while damping <= self.largest_damping:
            step = _damped_step(hessian, gradient, damping)
            if step is None:  # not positive definite, by round-off
                damping *= self.increase
                continue
            new = x + step if free is None else self._within(_moved(x, free, step))
            new_value, new_gradient, new_hessian = function.gauss_newton(new, value)
            if new_value < value and math.isfinite(largest := _largest(new_hessian)):
                self.accept(state, new, new_value, new_gradient)
                state["hessian"] = new_hessian
                # Less would be lost in the rounding of H, and take many increases to come back.
                state["damping"] = max(damping * self.decrease, _EPS * largest)
                return None
            if is_first:
                if np.array_equal(new, x):
                    return Outcome(Status.CONVERGED, "theta no longer changes")
                promised = 0.5 * vectors.dot.serial(step, damping * step - gradient)
                if math.isfinite(new_value) and promised <= tolerance * value:
                    return Outcome(
                        Status.CONVERGED,
                        "the linearized problem promises a decrease of less than "
                        f"{tolerance:.2g} of the objective's size",
                    )
            is_first = False
            was_finite = was_finite or math.isfinite(new_value)
            damping *= self.increase
        if not (is_first or was_finite):
            return Outcome(Status.NOT_FINITE, "the objective is not finite at any step tried")
        return Outcome(
            Status.FAILED,
            f"no step lowers the objective, with a damping of up to {damping / self.increase:.2g}: "
            "its derivatives may be wrong, or its values noisy",
        )

    def _within(self, x):
        """The nearest point of the box, a copy."""
        return x.copy() if self.bounds is None else np.clip(x, *check_bounds(self.bounds))

    def _free(self, x, gradient):
        """Which elements of x are not held at a bound by the gradient."""
        low, high = check_bounds(self.bounds)
        return ~(((x <= low) & (gradient >= 0)) | ((x >= high) & (gradient <= 0)))


def _largest(hessian):
    """The largest element of the diagonal, which no other exceeds; NaN or infinite if any is.

    Nor is the gradient of a finite sum of squares larger than finite then, by Cauchy and Schwarz.
    """
    return float(hessian.diagonal().max())


def _moved(x, free, step):
    """x with a step for its `free` elements."""
    new = x.copy()
    new[free] += step
    return new


def _damped_step(hessian, gradient, damping):
    """Solve (hessian + damping I) step = -gradient; None if the matrix is not definite."""
    step = -gradient
    # The product of a block of rows, on average.
    flops = cholesky.BLOCK_ROWS * float(step.size) ** 2 / 3
    n_parts = threads.choose_parts(flops, None, threads.BUSY_REGION_SECONDS)
    address = cholesky.factor_part_address()
    solved = threads.run(cholesky.solve_damped, n_parts, address, hessian, damping, step, n_parts)
    return step if solved else None
