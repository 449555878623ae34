"""SciPy's minimizers on fastmlp's objective: the reference that others are held against."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from fastmlp.result import Status
from fastmlp.solvers.bounds import check_bounds
from fastmlp.solvers.solver import Outcome, Solver
from fastmlp.validation import check_known

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
    max_iterations : int or None, default None
        As of the other solvers; evaluations for "TNC", which has no other limit.
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

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(0), problem.make_start(0), optimizer=fastmlp.Scipy("L-BFGS-B")
    ... )
    >>> result.theta.round(4)
    array([1., 1.])
    """

    method: str = "L-BFGS-B"
    _: KW_ONLY
    max_iterations: int | None = None
    bounds: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("method", self.method, METHODS)
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
        for name in ("maxiter",) if self.method != "TNC" else ("maxiter", "maxfun"):
            if name in self.options:
                raise ValueError(f"options must not have {name}, which max_iterations stands for")

    def check(self, function):
        if self.bounds is not None:
            check_bounds(self.bounds, function.size)

    def start(self, function, x0):
        x = x0.copy()
        if self.bounds is not None:
            x = np.clip(x, *check_bounds(self.bounds, x.size))
        value, gradient = function.value_and_grad(x)
        # SciPy keeps its state to itself: all answers it was given lead it to where it was.
        return {
            "x": x,
            "value": value,
            "gradient": gradient,
            "start": x,
            "values": [value],
            "gradients": [gradient],
            "iterations": 0,
        }

    def step(self, function, state):
        raise NotImplementedError("SciPy iterates by itself, see run")

    def run(self, function, state, max_iterations, iterate):
        from scipy.optimize import Bounds, minimize

        x0, box = state["start"], None
        if self.bounds is not None:
            box = Bounds(*(np.broadcast_to(b, x0.shape) for b in check_bounds(self.bounds)))
        n_before = state["iterations"]
        most = n_before + max_iterations
        options = dict(self.options)
        if self.method == "L-BFGS-B":
            options.setdefault("maxfun", most * _EVALUATIONS_PER_ITERATION)
        # TNC's own limit is on evaluations, the only one it has.
        options["maxfun" if self.method == "TNC" else "maxiter"] = most
        values, gradients = list(state["values"]), list(state["gradients"])
        state["values"], state["gradients"] = values, gradients
        answers = iter(list(zip(values, gradients, strict=True)))
        latest = {}

        def answer(x):
            value, gradient = next(answers, (np.nan, None))
            if gradient is None:
                value, gradient = function.value_and_grad(x)
                if function.resumable:
                    values.append(value)
                    gradients.append(gradient)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                raise _NotFinite
            latest[x.tobytes()] = (value, gradient)
            return value, gradient

        n_iterations = 0

        def callback(intermediate_result):
            nonlocal n_iterations
            n_iterations += 1
            # TNC, and SLSQP of some versions of SciPy, pass the point alone.
            x = np.array(getattr(intermediate_result, "x", intermediate_result))
            # The iterate is among the points evaluated since the last one.
            value, gradient = latest.get(x.tobytes(), (np.nan, None))
            latest.clear()
            latest[x.tobytes()] = (value, gradient)
            if n_iterations > n_before:
                gradient = np.full(x.shape, np.nan) if gradient is None else gradient
                state.update(x=x, value=value, gradient=gradient, iterations=n_iterations)
                iterate(state)

        try:
            result = minimize(
                answer,
                x0,
                jac=True,
                method=self.method,
                bounds=box,
                callback=callback,
                options=options,
            )
        except _NotFinite:
            return Outcome(Status.NOT_FINITE, "the objective or its gradient is not finite")
        state["x"] = np.array(result.x)
        if result.success:
            status = Status.CONVERGED
        elif result.status == _USED_UP[self.method]:
            status = Status.COMPLETED
        else:
            status = Status.FAILED
        return Outcome(status, f"{self.method}: {str(result.message).strip()}")


class _NotFinite(Exception):
    """Ends SciPy's method where it would go on from a number that is not finite."""
