"""Stochastic approximation from noisy values alone, without gradients."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from fastmlp.result import Status
from fastmlp.solvers.function import Function
from fastmlp.solvers.solver import Outcome, Solver
from fastmlp.validation import check_not_negative, check_positive


@dataclass(frozen=True, eq=False, kw_only=True)
class FiniteDifferenceDescent(Solver):
    """Gradient descent along a gradient estimated from differences of values: the base class.

    All values of an update are of one mini-batch. The value it tells of is their mean, which is
    one of the neighbourhood of x before the update.

    Parameters
    ----------
    a, c : float
        Positive. Gains: the factor of the steps, and of the distance between the points that are
        compared.
    max_iterations : int or None, default None
        Epochs, or updates where there are no data. None is as many as `epochs` of `fit` or
        `max_iterations` of `minimize` say, else 500.
    batch_size : int or None, default 128
        Rows of a mini-batch, None for all.
    """

    stochastic = True

    a: float = 1.0
    c: float = 1.0
    max_iterations: int | None = None
    batch_size: int | None = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("a", self.a)
        check_positive("c", self.c)

    @abstractmethod
    def gains(self, n: int) -> tuple[float, float]:
        """The step size and the distance of update n, counted from 1."""

    @abstractmethod
    def estimate(
        self, function: Function, x: np.ndarray, distance: float
    ) -> tuple[float, np.ndarray]:
        """Mean of the values around x that were compared, and the gradient that they suggest."""

    def start(self, function, x0):
        # Mini-batches begin with the first update.
        value = function.value(x0) if function.n_batches == 1 else np.nan
        return {
            "x": x0.copy(),
            "value": value,
            "gradient": np.full(x0.size, np.nan),
            "n_updates": 0,
        }

    def step(self, function, state):
        n = state["n_updates"] + 1
        step_size, distance = self.gains(n)
        value, gradient = self.estimate(function, state["x"], distance)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return Outcome(Status.NOT_FINITE, "the objective is not finite around theta")
        state.update(
            x=state["x"] - step_size * gradient, value=value, gradient=gradient, n_updates=n
        )
        return None


@dataclass(frozen=True, eq=False, kw_only=True)
class KieferWolfowitz(FiniteDifferenceDescent):
    """Kiefer and Wolfowitz's stochastic approximation of a minimum.

    x <- x - a_n * g with a_n = a / n and the central differences
    g_i = (J(x + c_n e_i) - J(x - c_n e_i)) / (2 c_n), c_n = c / n^(1/3), in update n = 1, 2, ...

    Kiefer & Wolfowitz, "Stochastic estimation of the maximum of a regression function", Annals
    of Mathematical Statistics 23:462-466 (1952), for several parameters as by Blum, Annals of
    Mathematical Statistics 25:737-744 (1954). Each update takes two values for each parameter;
    `SPSA` takes two in all.

    Parameters
    ----------
    a : float, default 1.0
        Positive. For the fastest convergence about the inverse of the function's curvature; the
        first steps go astray if it is much more.
    c : float, default 1.0
        Positive. The larger, the less noise in the differences and the more of the third
        derivatives. Both defaults are those of the paper's example.
    max_iterations, batch_size
        As of `FiniteDifferenceDescent`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> def value(x):
    ...     return float(((x - [1.0, -2.0]) ** 2).sum()), np.zeros(2)  # no gradient
    >>> optimizer = fastmlp.KieferWolfowitz(a=0.5)
    >>> fastmlp.minimize(value, [0.0, 0.0], optimizer=optimizer).theta.round(2)
    array([ 1., -2.])
    """

    def gains(self, n):
        return self.a / n, self.c / n ** (1 / 3)

    def estimate(self, function, x, distance):
        batch = function.batch()
        values = np.empty((x.size, 2))
        for i in range(x.size):
            for side, sign in enumerate((1.0, -1.0)):
                point = x.copy()
                point[i] += sign * distance
                values[i, side] = batch.value(point)
        return float(values.mean()), (values[:, 0] - values[:, 1]) / (2.0 * distance)


@dataclass(frozen=True, eq=False, kw_only=True)
class SPSA(FiniteDifferenceDescent):
    """Simultaneous perturbation stochastic approximation: one random difference an update.

    x <- x - a_n * g with g_i = (J(x + c_n d) - J(x - c_n d)) / (2 c_n d_i), where each d_i is 1 or
    -1 with equal odds, a_n = a / (stability + n)^0.602 and c_n = c / n^0.101 in update
    n = 1, 2, ...

    Spall, IEEE Transactions on Automatic Control 37:332-341 (1992); gains after Spall,
    "Implementation of the simultaneous perturbation algorithm for stochastic optimization", IEEE
    Transactions on Aerospace and Electronic Systems 34:817-823 (1998).

    Parameters
    ----------
    a : float, default 0.1
        Positive. Spall would have a_1 move the parameters by as much as they should change at
        first; with the default stability, a_1 is 0.06 a. The estimated gradient of n parameters
        is about sqrt(n) times as long as the gradient: the more of them, the smaller a has to be.
        The default suits networks of a few thousand.
    c : float, default 0.1
        Positive. Spall's advice is about the standard deviation of the noise in the values.
    stability : float, default 100.0
        At least 0. Spall's advice is a tenth of the updates, here of 1000.
    max_iterations, batch_size
        As of `FiniteDifferenceDescent`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> def value(x):
    ...     return float(((x - 3.0) ** 2).sum()), np.zeros(100)  # no gradient
    >>> optimizer = fastmlp.SPSA(a=0.1, c=0.01, max_iterations=2000)
    >>> result = fastmlp.minimize(value, np.zeros(100), optimizer=optimizer, seed=0)
    >>> result.loss < 1.0  # from 900
    True
    """

    a: float = 0.1
    c: float = 0.1
    stability: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("stability", self.stability)

    def gains(self, n):
        return self.a / (self.stability + n) ** 0.602, self.c / n**0.101

    def estimate(self, function, x, distance):
        batch = function.batch()
        signs = 2.0 * function.rng.integers(0, 2, x.size) - 1.0
        above = batch.value(x + distance * signs)
        below = batch.value(x - distance * signs)
        return (above + below) / 2.0, (above - below) / (2.0 * distance) * signs
