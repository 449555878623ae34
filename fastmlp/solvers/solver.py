"""What a solver is: a method for any smooth function, known by its values and gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmlp.optimizers import Optimizer
from fastmlp.result import Status


class Outcome(NamedTuple):
    """How a solver ended."""

    x: np.ndarray
    status: Status
    message: str


class Solver(Optimizer, ABC):
    """An optimizer that drives ``value_and_grad(x)`` and never sees the network behind it."""

    max_iterations: int
    bounds: Any = None

    @abstractmethod
    def solve(
        self,
        value_and_grad: Callable[[np.ndarray], tuple[float, np.ndarray]],
        x0: np.ndarray,
        *,
        max_iterations: int,
        resolution: float,
        iterate: Callable[[np.ndarray, float, np.ndarray], None],
    ) -> Outcome:
        """Minimize from `x0`.

        Parameters
        ----------
        value_and_grad : callable
            Takes a float64 vector; returns a float and a float64 vector, both finite. May end
            the solver by raising.
        x0 : ndarray of float64, (n,)
        max_iterations : int
        resolution : float
            Relative accuracy of the values: differences below it are noise.
        iterate : callable
            To be called as ``iterate(x, value, gradient)`` after every iteration. May end the
            solver by raising.
        """
