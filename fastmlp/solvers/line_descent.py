"""What methods have in common that choose a direction and then search along it."""

import math
from abc import abstractmethod

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.kernels.line_search import LARGEST_STEP
from fastmlp.result import Status
from fastmlp.solvers.function import Function
from fastmlp.solvers.line_search import Search, strong_wolfe
from fastmlp.solvers.solver import Descent, Outcome, State


class LineDescent(Descent):
    """A descent whose iteration is a line search along a direction of its own.

    Where the search fails, what the method has learnt is dropped and it searches along -g; if
    that fails as well, the run ends. From a point that is lower, though not by enough, it goes on.
    """

    @property
    def c2(self) -> float:
        """Of the strong Wolfe conditions: how much of the slope may be left, in (1e-3, 1)."""
        return 0.9

    def start(self, function, x0):
        return {**super().start(function, x0), "unbounded": ""}

    @abstractmethod
    def direction(self, state: State) -> tuple[np.ndarray, float]:
        """Where to search, and the first step to try: along -g if nothing has been learnt.

        A direction that does not descend counts as a search that failed.
        """

    def has_learnt(self, state: State) -> bool:
        """Whether there is anything to `forget`."""
        return False

    def forget(self, state: State) -> None:
        """Drop what was learnt, so that the next direction is -g."""

    def learn(self, state: State, search: Search, direction: np.ndarray) -> None:
        """Take down what a successful search tells, before the state moves to its end."""

    def search(
        self, function: Function, state: State, direction: np.ndarray, first_step: float
    ) -> Search:
        """Look for the next point."""
        return strong_wolfe(
            function.value_and_grad,
            state["x"],
            state["value"],
            state["gradient"],
            direction,
            first_step,
            c2=self.c2,
            resolution=function.resolution,
        )

    def step(self, function, state):
        search = self._search(function, state)
        if _is_futile(search, state) and self.has_learnt(state):
            self.forget(state)
            search = self._search(function, state)
        if _is_futile(search, state):
            return search.outcome
        self.accept(state, search.x, search.value, search.gradient)
        if search.outcome is not None and search.outcome.status is not Status.CONVERGED:
            # That it went no further does not say that it has converged.
            state["decrease"] = state["change"] = np.inf
            self.forget(state)
            if search.outcome.status is Status.UNBOUNDED:
                state["unbounded"] = search.outcome.message
        return None

    def _search(self, function, state):
        direction, first_step = self.direction(state)
        search = self.search(function, state, direction, first_step)
        if search.outcome is None:
            self.learn(state, search, direction)
        return search

    def finished(self, function, state):
        if state["unbounded"]:
            return Outcome(Status.UNBOUNDED, state["unbounded"])
        return super().finished(function, state)


def _is_futile(search, state):
    """Whether a search found no lower point."""
    return search.outcome is not None and not search.value < state["value"]


def next_step(step: float, slope: float, next_slope: float) -> float:
    """The step that would change the value as much as the last one did, to be tried first.

    `slope` and `next_slope` are those of the value along the directions at the start of the last
    `step` and of the next. At most ten times the last one: a slope may vanish. After equation
    3.60 of Nocedal & Wright, Numerical optimization (2006), without its factor.
    """
    return step * min(slope / next_slope, 10.0) if next_slope < 0.0 else step


def unit_step(gradient: np.ndarray) -> float:
    """The step along -g that is of length 1, where nothing is known of the function's scale."""
    norm = math.sqrt(vectors.dot.serial(gradient, gradient))
    return min(1.0 / norm, LARGEST_STEP) if norm > 0.0 else 1.0
