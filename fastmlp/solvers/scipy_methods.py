"""SciPy's minimizers on fastmlp's objective: the reference that others are held against."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from fastmlp.result import Status
from fastmlp.solvers.solver import Outcome, Solver
from fastmlp.validation import check_count, check_known, check_positive

# Those of scipy.optimize.minimize that use a gradient and no Hessian.
METHODS = ("L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "trust-constr")
# Those of them that never leave a box; trust-constr does on its way.
_BOUNDED = ("L-BFGS-B", "TNC", "SLSQP")

# What the status of a result is when the iterations are used up.
_USED_UP = {"L-BFGS-B": 1, "BFGS": 1, "CG": 1, "TNC": 3, "SLSQP": 9, "trust-constr": 0}

# In place of SciPy's own limits on evaluations, which would end a run before its iterations do.
_EVALUATIONS_PER_ITERATION = 100


@dataclass(frozen=True, eq=False)
class Scipy(Solver):
    """A method of ``scipy.optimize.minimize``, on the same objective as all others.

    theta is handed over as float64; the network evaluates in its own dtype.

    Parameters
    ----------
    method : str, default "L-BFGS-B"
        "L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP" or "trust-constr".
    max_iterations : int, default 500
        Used where `fit` is not given `epochs`.
    bounds : (low, high) or None, default None
        Box that theta stays in: two numbers or two arrays (n_params,), infinite where there is
        no bound. The start is moved into it. For "L-BFGS-B", "SLSQP" and "TNC", which wants every
        low below its high.
    options : mapping
        Further options of the method, in SciPy's words, such as ``{"gtol": 1e-8}``.

    Raises
    ------
    ValueError, TypeError
        For an unknown method, bounds that cross or that the method does not know.
    """

    method: str = "L-BFGS-B"
    _: KW_ONLY
    max_iterations: int = 500
    bounds: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_known("method", self.method, METHODS)
        check_count("max_iterations", self.max_iterations)
        if self.bounds is not None:
            low, high = check_bounds(self.bounds)
            if self.method == "TNC" and (low == high).any():  # SciPy's trips over it
                raise ValueError("bounds must have every low below its high for TNC")
            if self.method not in _BOUNDED:
                raise ValueError(
                    f"bounds need one of the methods {', '.join(_BOUNDED)}, got {self.method}"
                )
        if not isinstance(self.options, Mapping):
            raise TypeError(f"options must be a mapping, got {self.options!r}")

    def solve(self, value_and_grad, x0, *, max_iterations, resolution, iterate):
        return run_scipy(
            self.method,
            dict(self.options),
            self.bounds,
            value_and_grad,
            x0,
            max_iterations,
            iterate,
        )


@dataclass(frozen=True, eq=False)
class LBFGS(Solver):
    """Limited-memory BFGS with bounds: SciPy's L-BFGS-B, whose line search is strong Wolfe.

    Liu & Nocedal, Mathematical Programming 45:503-528 (1989); Byrd, Lu, Nocedal & Zhu, SIAM
    Journal on Scientific Computing 16:1190-1208 (1995); line search by Moré & Thuente, ACM
    Transactions on Mathematical Software 20:286-307 (1994).

    Parameters
    ----------
    history_size : int, default 10
        Pairs of steps and gradient differences that stand for the Hessian.
    max_iterations : int, default 500
        Used where `fit` is not given `epochs`.
    gradient_tolerance : float, default 1e-5
        Converged when the largest component of the (projected) gradient is at most this.
    objective_tolerance : float, default 2.2e-9
        Converged when an iteration lowers the objective by less than this, relative to the
        larger of its size and 1. Below four times the resolution of the network's dtype, that
        is used instead: float32 values cannot show a smaller decrease.
    bounds : (low, high) or None, default None
        Box that theta stays in, as of `Scipy`.
    """

    history_size: int = 10
    _: KW_ONLY
    max_iterations: int = 500
    gradient_tolerance: float = 1e-5
    objective_tolerance: float = 2.2e-9
    bounds: Any = None

    def __post_init__(self) -> None:
        check_count("history_size", self.history_size)
        check_count("max_iterations", self.max_iterations)
        check_positive("gradient_tolerance", self.gradient_tolerance)
        check_positive("objective_tolerance", self.objective_tolerance)
        if self.bounds is not None:
            check_bounds(self.bounds)

    def solve(self, value_and_grad, x0, *, max_iterations, resolution, iterate):
        options = {
            "maxcor": self.history_size,
            "gtol": self.gradient_tolerance,
            "ftol": max(self.objective_tolerance, 4 * resolution),
        }
        return run_scipy(
            "L-BFGS-B", options, self.bounds, value_and_grad, x0, max_iterations, iterate
        )


def run_scipy(method, options, bounds, value_and_grad, x0, max_iterations, iterate):
    """Minimize with SciPy and translate what it says."""
    from scipy.optimize import Bounds, minimize

    box = None
    if bounds is not None:
        low, high = (np.broadcast_to(b, x0.shape) for b in check_bounds(bounds, x0.size))
        box = Bounds(low, high)
        x0 = np.clip(x0, low, high)
    evaluations = max_iterations * _EVALUATIONS_PER_ITERATION
    if method == "L-BFGS-B":
        options.setdefault("maxfun", evaluations)
    # TNC's own limit is on evaluations, the only one it has.
    options["maxfun" if method == "TNC" else "maxiter"] = max_iterations
    latest = {}

    def remember(x):
        value, gradient = value_and_grad(x)
        latest[x.tobytes()] = (value, gradient)
        return value, gradient

    def callback(intermediate_result):
        # TNC, and SLSQP of some versions of SciPy, pass the point alone.
        x = np.array(getattr(intermediate_result, "x", intermediate_result))
        # The iterate is among the points evaluated since the last one.
        value, gradient = latest.get(x.tobytes(), (np.nan, None))
        latest.clear()
        latest[x.tobytes()] = (value, gradient)
        iterate(x, value, np.full(x.shape, np.nan) if gradient is None else gradient)

    result = minimize(
        remember, x0, jac=True, method=method, bounds=box, callback=callback, options=options
    )
    if result.success:
        status = Status.CONVERGED
    elif result.status == _USED_UP[method]:
        status = Status.COMPLETED
    else:
        status = Status.FAILED
    return Outcome(np.array(result.x), status, f"{method}: {str(result.message).strip()}")


def check_bounds(bounds, size=None):
    """Check a pair of lower and upper bounds; return it as two float64 arrays.

    Raises
    ------
    ValueError, TypeError
        If they are no pair of numbers or of arrays of one length (`size` if given), hold NaN,
        or a lower bound exceeds its upper one.
    """
    try:
        low, high = (np.asarray(b, np.float64) for b in bounds)
    except (TypeError, ValueError):
        raise TypeError(
            f"bounds must be a pair (low, high) of numbers or arrays, got {bounds!r}"
        ) from None
    for b in (low, high):
        if b.ndim > 1 or (b.ndim == 1 and size is not None and b.size != size):
            raise ValueError(
                f"bounds must be numbers or arrays of the shape ({size or 'n_params'},), "
                f"got {b.shape}"
            )
        if np.isnan(b).any():
            raise ValueError("bounds must not be NaN")
    if low.ndim and high.ndim and low.shape != high.shape:
        raise ValueError(f"bounds must be of one length, got {low.size} and {high.size}")
    if (low > high).any():
        raise ValueError("bounds must have every low at most its high")
    return low, high
