"""Quasi-Newton methods that keep the whole inverse Hessian: Broyden's class and rank one."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from fastmlp.kernels.quasi_newton import rank_two_update, symmetric_product
from fastmlp.solvers.line_search import strong_wolfe
from fastmlp.solvers.solver import Descent
from fastmlp.validation import check_number

# H of so many takes 0.26 GB, and an iteration passes over it three times, some 50 ms.
MOST_PARAMETERS = 8000

# Of |s| |y|, or for SR1 of |s - H y| |y|: what a denominator has to exceed, lest an update be
# made of rounding errors.
_SMALLEST_COSINE = 1e-8


class Pair(NamedTuple):
    """What an update is made of: a step s, the gradients' difference y, and products with them.

    H s = y would be Newton's equation for a quadratic, B is the inverse of H.
    """

    s: np.ndarray
    y: np.ndarray
    Hy: np.ndarray
    sy: float
    sBs: float
    yHy: float


class DenseQuasiNewton(Descent):
    """What methods with a dense inverse Hessian H have in common.

    A step goes along -H g, by a line search for the strong Wolfe conditions with c1 1e-3 and c2
    0.9 that tries 1 first. The first goes along -g; then H starts as a multiple of the identity.
    """

    name: ClassVar[str]

    def check(self, function):
        n = function.size
        if n > MOST_PARAMETERS:
            raise ValueError(
                f"{type(self).__name__} keeps a matrix for at most {MOST_PARAMETERS} parameters "
                f"({_gigabytes(MOST_PARAMETERS)}), got {n} ({_gigabytes(n)}); LBFGS takes any "
                "number"
            )

    def start(self, function, x0):
        # H is the lower triangle row by row; it says nothing until there is a pair.
        H = np.zeros(_triangle(x0.size))
        return {**super().start(function, x0), "H": H, "n_pairs": 0}
