"""What a solver is: a method for any smooth function, known by its values and gradients."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.optimizers import BY_NAME, Optimizer, Stochastic
from fastmlp.result import Status
from fastmlp.solvers.function import Function
from fastmlp.validation import check_count, check_not_negative

# All that a solver has to know to go on: arrays, numbers and strings by name, so that it can be
# written to a file. "x", "value" and "gradient" are among them; "largest_gradient", the largest
# component, and "gradient_norm", the Euclidean norm, where the solver knows them.
State = dict[str, Any]


class Outcome(NamedTuple):
    """Why a solver ended by itself.

    Examples
    --------
    >>> from fastmlp import Status
    >>> from fastmlp.solvers import Outcome
    >>> print(Outcome(Status.CONVERGED, "the gradient is zero").status)
    converged
    """

    status: Status
    message: str


class Iterations(Protocol):
    """What is told of the iterations of a solver; it may end it by raising.

    Attributes
    ----------
    is_watched : bool
        Whether the state after each iteration is looked at: else some may be told at once.
    target : float
        A value at which it ends.
    """

    is_watched: bool
    target: float

    def __call__(self, state: State) -> None:
        """Take down one iteration that has led to a state."""

    def several(self, state: State, rows: list) -> None:
        """Take down iterations that have led to a state, see `Function.run_lbfgs`."""


class Solver(Optimizer, ABC):
    """An optimizer that drives a `Function` and never sees the network behind it.

    Attributes
    ----------
    max_iterations : int or None
        Iterations; None is as many as the caller asks for, or `default_iterations`.
    bounds : (low, high) or None
        Box that x stays in.
    batch_size : int or None
        Rows of the mini-batches that the function is to make; None is all.
    stochastic : bool
        Whether it steps from mini-batch to mini-batch: then an iteration is an epoch of them, the
        values are estimates, and it ends where it is, not at the least of them.
    default_iterations : int

    Examples
    --------
    The bold driver: a longer step after each that lowers the value, a shorter one after others.

    >>> import fastmlp
    >>> from fastmlp.solvers import Solver
    >>> class BoldDriver(Solver):
    ...     def start(self, function, x0):
    ...         value, gradient = function.value_and_grad(x0)
    ...         return {"x": x0.copy(), "value": value, "gradient": gradient, "rate": 0.1}
    ...
    ...     def step(self, function, state):
    ...         x = state["x"] - state["rate"] * state["gradient"]
    ...         value, gradient = function.value_and_grad(x)
    ...         if value < state["value"]:
    ...             state.update(x=x, value=value, gradient=gradient, rate=1.1 * state["rate"])
    ...         else:
    ...             state["rate"] /= 2
    >>> square = lambda x: (float(x @ x), 2 * x)
    >>> fastmlp.minimize(square, [3.0, 4.0], optimizer=BoldDriver()).loss < 1e-12
    True
    """

    max_iterations: int | None = None
    bounds: Any = None
    batch_size: int | None = None
    stochastic: ClassVar[bool] = False
    default_iterations: ClassVar[int] = 500

    def __post_init__(self) -> None:
        for name in ("max_iterations", "batch_size"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))

    @property
    def budget(self) -> int | None:
        return self.max_iterations

    @property
    def monotone(self) -> bool:
        """Whether no iteration is to raise the value; else a run ends at the best, not the last."""
        return True

    # A method is an empty check, not an abstract one: most solvers take every function.
    def check(self, function: Function) -> None:
        """Refuse a function that this solver is not for, by a ValueError."""

    @abstractmethod
    def start(self, function: Function, x0: np.ndarray) -> State:
        """Evaluate at `x0`, float64 (n,), and make the state to begin with.

        Its "value" and "gradient" may be non-finite: the caller ends the run then. They are
        those of the point, or NaN for a solver that does not evaluate at the start.
        """

    @abstractmethod
    def step(self, function: Function, state: State) -> Outcome | None:
        """Do one iteration, or for a stochastic solver one update, changing `state` in place.

        None is to go on. An `Outcome` says that there is no way on from the state, whose x,
        value and gradient are then as they were.
        """

    # A method is empty where each step evaluates at x itself.
    def move(self, function: Function, state: State) -> None:
        """Make the state one at its x, where this or the function is not what it comes from."""

    def finished(self, function: Function, state: State) -> Outcome | None:
        """Tell whether the state meets a tolerance."""
        return None

    def run(
        self,
        function: Function,
        state: State,
        max_iterations: int,
        iterate: "Iterations",
    ) -> Outcome:
        """Iterate from `state` on, and call ``iterate(state)`` after each iteration.

        Both the function and `iterate` may end it by raising.
        """
        steps = function.n_batches if self.stochastic else 1
        outcome = self.finished(function, state)
        for _ in range(max_iterations):
            if outcome is not None:
                return outcome
            for _ in range(steps):
                outcome = self.step(function, state)
                if outcome is not None:
                    return outcome
            iterate(state)
            outcome = self.finished(function, state)
        return outcome or Outcome(Status.COMPLETED, f"{max_iterations} iterations done")


def check_solvers(stages: Iterable[Optimizer], function: Function) -> None:
    """Refuse solvers that are not for a function, and factors where there are no kinds.

    Examples
    --------
    What `fastmlp.minimize` does before it starts, for a function of more variables than a matrix
    can be kept of:

    >>> from fastmlp.solvers import BFGS, LBFGS, check_solvers
    >>> class Function:
    ...     size, random, truncated, is_least_squares = 10**6, (), False, False
    >>> check_solvers([LBFGS()], Function())
    >>> try:
    ...     check_solvers([BFGS()], Function())
    ... except ValueError as refusal:
    ...     print(str(refusal)[:22])
    BFGS keeps a matrix fo
    """
    for stage in stages:
        if isinstance(stage, Solver):
            refuse_random_objectives(stage, function)
            stage.check(function)
        elif isinstance(stage, Stochastic) and not function.has_kinds:
            for name in ("factors", "decay_factors"):
                if getattr(stage, name, None):
                    raise ValueError(
                        f"{name} must not be given where a plain function is minimized, whose "
                        f"variables are of no kind, got {getattr(stage, name)!r}"
                    )


def refuse_random_objectives(solver: Solver, function: Function) -> None:
    """Refuse a network whose objective is another one for each mini-batch: solvers need one.

    And its gradient, which truncated backpropagation through time does not give.
    """
    stochastic = ", ".join(kind.__name__ for kind in BY_NAME.values())
    if function.truncated:
        raise ValueError(
            f"optimizer must be one of {stochastic} for a network with truncate, whose gradient is "
            f"not that of the objective, got {type(solver).__name__}"
        )
    if function.random:
        raise ValueError(
            f"optimizer must be one of {stochastic} for a network with "
            f"{' and '.join(function.random)}, whose objective is another one for each "
            f"mini-batch, got {type(solver).__name__}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Descent(Solver):
    """A deterministic solver that lowers the value from iteration to iteration.

    Parameters
    ----------
    max_iterations : int or None, default None
        Iterations. None is as many as `epochs` of `fit` or `max_iterations` of `minimize` say,
        else 500.
    gradient_tolerance : float, default 1e-5
        Converged when no component of the gradient is larger.
    objective_tolerance : float, default 2.2e-9
        Converged when an iteration lowers the objective by no more than this, relative to the
        larger of its size and 1. Below four times the resolution of the network's dtype, that
        is used instead: float32 values cannot show a smaller decrease.
    step_tolerance : float, default 0.0
        Converged when an iteration changes no parameter by more than this, relative to the
        larger of its size and 1; with 0 when theta no longer changes.

    Examples
    --------
    A solver of this kind adds `step`, which ends with `accept`:

    >>> import fastmlp
    >>> from fastmlp.solvers import Descent
    >>> class Halves(Descent):
    ...     def step(self, function, state):
    ...         x = state["x"] - 0.25 * state["gradient"]
    ...         self.accept(state, x, *function.value_and_grad(x))
    >>> square = lambda x: (float(x @ x), 2 * x)
    >>> result = fastmlp.minimize(square, [3.0, 4.0], optimizer=Halves(gradient_tolerance=0.01))
    >>> result.n_iter, result.message
    (10, 'no component of the gradient is larger than 0.01')
    """

    max_iterations: int | None = None
    gradient_tolerance: float = 1e-5
    objective_tolerance: float = 2.2e-9
    step_tolerance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("gradient_tolerance", "objective_tolerance", "step_tolerance"):
            check_not_negative(name, getattr(self, name))

    def start(self, function, x0):
        value, gradient = function.value_and_grad(x0)
        return {
            "x": x0.copy(),
            "value": value,
            "gradient": gradient,
            "decrease": np.inf,
            "change": np.inf,
        }

    def optimality(self, function: Function, state: State) -> np.ndarray:
        """What vanishes at a minimum: the gradient, where nothing else is said."""
        return state["gradient"]

    def relative_tolerance(self, function: Function) -> float:
        """The decrease of the value, relative to its size, at which it has converged."""
        return max(self.objective_tolerance, 4 * function.resolution)

    def accept(self, state: State, x: np.ndarray, value: float, gradient: np.ndarray) -> None:
        """Move the state on to a new point, and take down how far that was."""
        old_x, old_value = state["x"], state["value"]
        state["decrease"] = (old_value - value) / max(abs(old_value), abs(value), 1.0)
        state["change"] = vectors.largest_change.serial(old_x, x)
        state["x"], state["value"], state["gradient"] = x, value, gradient

    def finished(self, function, state):
        largest = state.get("largest_gradient")
        if largest is None:
            largest = vectors.largest.serial(self.optimality(function, state))
        if largest <= self.gradient_tolerance:
            return Outcome(
                Status.CONVERGED,
                f"no component of the gradient is larger than {self.gradient_tolerance:g}",
            )
        if state["change"] <= self.step_tolerance:
            return Outcome(Status.CONVERGED, "theta no longer changes")
        tolerance = self.relative_tolerance(function)
        if state["decrease"] <= tolerance:
            return Outcome(
                Status.CONVERGED, f"the objective fell by less than {tolerance:.2g} of its size"
            )
        return None
