"""A sum of squares as a function to minimize, given by its residuals and their Jacobian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastmlp.validation import as_real

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike


class LeastSquares:
    """Half the sum of squared residuals, for `fastmlp.minimize`.

    Every optimizer takes it; `fastmlp.LevenbergMarquardt` needs the residuals and not only the
    sum.

    Parameters
    ----------
    residuals_and_jacobian : callable
        Takes a float64 vector x (n,), which it must not change; returns the residuals r (m,) and
        their Jacobian (m, n), with the derivative of residual i with respect to x_j at (i, j).

    Raises
    ------
    TypeError
        If that is not callable.

    Examples
    --------
    >>> import numpy as np
    >>> from fastmlp import LeastSquares
    >>> valley = LeastSquares(
    ...     lambda x: ([10 * (x[1] - x[0] ** 2), 1 - x[0]], [[-20 * x[0], 10], [-1, 0]])
    ... )
    >>> value, gradient = valley(np.array([-1.2, 1.0]))  # half of Rosenbrock's function
    >>> print(round(value, 12), gradient.round(12))
    12.1 [-107.8  -44. ]
    """

    def __init__(
        self, residuals_and_jacobian: Callable[[np.ndarray], tuple[ArrayLike, ArrayLike]]
    ) -> None:
        if not callable(residuals_and_jacobian):
            raise TypeError(
                f"residuals_and_jacobian must be callable, got {residuals_and_jacobian!r}"
            )
        self._given = residuals_and_jacobian

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """1/2 ||r||^2 and its gradient J^T r at `x`."""
        value, gradient, _ = self._evaluate(x)
        return value, gradient

    def gauss_newton(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """1/2 ||r||^2, its gradient, and J^T J, the Gauss-Newton approximation of its Hessian."""
        value, gradient, J = self._evaluate(x)
        with np.errstate(all="ignore"):
            return value, gradient, J.T @ J

    def _evaluate(self, x):
        returned = self._given(x)
        try:
            residuals, jacobian = returned
            r = as_real("residuals", residuals).astype(np.float64, copy=False)
            J = as_real("jacobian", jacobian).astype(np.float64, copy=False)
        except (TypeError, ValueError):
            raise TypeError(
                "residuals_and_jacobian must return a vector and a matrix of numbers, "
                f"got {returned!r}"
            ) from None
        if r.ndim != 1 or J.shape != (r.size, np.size(x)):
            raise ValueError(
                "residuals_and_jacobian must return residuals of the shape (m,) and a Jacobian "
                f"of the shape (m, {np.size(x)}), got {r.shape} and {J.shape}"
            )
        with np.errstate(all="ignore"):  # what is not finite is told by value
            return 0.5 * float(r @ r), J.T @ r, J
