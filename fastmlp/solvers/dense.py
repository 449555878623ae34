"""Quasi-Newton methods that keep the whole inverse Hessian: Broyden's class and rank one."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.kernels.quasi_newton import rank_two_update, symmetric_product
from fastmlp.solvers.line_descent import LineDescent, unit_step
from fastmlp.validation import check_number

# H then takes 1 GB; a network of 784-16-16-10 is within.
MOST_PARAMETERS = 16_000

# Lest an update be made of rounding errors: what the cosine of the angle between y and s, or for
# SR1 between y and s - H y, has to exceed.
_SMALLEST_COSINE = 1e-8


class Factors(NamedTuple):
    """Of the update H <- H + ss s s^T + sq (s q^T + q s^T) + qq q q^T with q = H y."""

    ss: float
    sq: float
    qq: float


class DenseQuasiNewton(LineDescent):
    """What methods with a dense inverse Hessian H have in common.

    A step goes along -H g, with a line search that tries the step 1 first. The first goes along
    -g, and is known when H is chosen: a multiple of the identity, updated. So it is again where a
    search fails.
    """

    def check(self, function):
        check_size(type(self).__name__, function.size)

    def start(self, function, x0):
        # H by its lower triangle. It says nothing while n_pairs is 0.
        return {**super().start(function, x0), "H": np.zeros(_triangle(x0.size)), "n_pairs": 0}

    def has_learnt(self, state):
        return state["n_pairs"] > 0

    def forget(self, state):
        state["n_pairs"] = 0

    def direction(self, state):
        gradient = state["gradient"]
        if not state["n_pairs"]:
            return -gradient, unit_step(gradient)
        return -_product(state["H"], gradient), 1.0

    def learn(self, state, search, direction):
        H, gradient = state["H"], state["gradient"]
        s, y = search.x - state["x"], search.gradient - gradient
        ss, sy, yy = _dot(s, s), _dot(s, y), _dot(y, y)
        if not sy > _SMALLEST_COSINE * math.sqrt(ss * yy):
            return
        if state["n_pairs"]:
            q = _product(H, y)
            # s is a multiple of H g, so that B s is one of g.
            sBs = -search.step * _dot(s, gradient)
        else:
            scale = self.first_scale(ss, sy, yy)
            H[:] = 0.0
            H[_diagonal(s.size)] = scale
            q, sBs = scale * y, ss / scale
        factors = self.factors(s, y, q, sBs)
        if factors is not None:
            rank_two_update.serial(H, s, q, *factors)
        state["n_pairs"] += 1

    def first_scale(self, ss: float, sy: float, yy: float) -> float:
        """The multiple of the identity that the first update is made of."""
        return sy / yy

    @abstractmethod
    def factors(self, s: np.ndarray, y: np.ndarray, q: np.ndarray, sBs: float) -> Factors | None:
        """The update for a step s and the gradients' difference y over it, or None for none.

        s'y > 0, q is H y and `sBs` is s'B s with the inverse B of H.
        """


class BFGS(DenseQuasiNewton):
    """The method of Broyden, Fletcher, Goldfarb and Shanno: `Broyden` with phi 0.

    Broyden, Journal of the Institute of Mathematics and its Applications 6:76-90 (1970);
    Fletcher, Computer Journal 13:317-322 (1970); Goldfarb, Mathematics of Computation 24:23-26
    (1970); Shanno, Mathematics of Computation 24:647-656 (1970).

    For at most 16,000 parameters, whose inverse Hessian takes 1 GB; `LBFGS` is for more.

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(0), problem.make_start(0), optimizer=fastmlp.BFGS()
    ... )
    >>> result.theta.round(4)
    array([1., 1.])
    """

    def factors(self, s, y, q, sBs):
        return broyden_factors(_dot(s, y), _dot(y, q), sBs, 0.0)


class DFP(DenseQuasiNewton):
    """The method of Davidon, Fletcher and Powell, the first of all: `Broyden` with phi 1.

    Davidon, Variable metric method for minimization, Argonne National Laboratory, ANL-5990
    (1959); Fletcher & Powell, Computer Journal 6:163-168 (1963).

    For at most 16,000 parameters, whose inverse Hessian takes 1 GB. It recovers slowly from
    searches that are not exact, so that its are for c2 0.1, of several evaluations each.

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(0), problem.make_start(0), optimizer=fastmlp.DFP()
    ... )
    >>> result.theta.round(4)
    array([1., 1.])
    """

    @property
    def c2(self):
        return 0.1

    def factors(self, s, y, q, sBs):
        return broyden_factors(_dot(s, y), _dot(y, q), sBs, 1.0)


@dataclass(frozen=True, eq=False)
class Broyden(DenseQuasiNewton):
    """Broyden's class: between BFGS and DFP in the approximation B of the Hessian.

    B <- (1 - phi) B_BFGS + phi B_DFP, done on the inverse H of B. Were the line searches exact,
    all would take the same steps: Dixon, Mathematical Programming 2:383-387 (1972).

    For at most 16,000 parameters, whose inverse Hessian takes 1 GB.

    Broyden, Mathematics of Computation 21:368-381 (1967); section 6.3 of Nocedal & Wright,
    Numerical optimization (2006).

    Parameters
    ----------
    phi : float, default 0.5
        In [0, 1], where H stays positive definite. 0 is BFGS, 1 is DFP. The line searches'
        condition on the slope goes with it, c2 = 0.9 - 0.8 phi.

    Examples
    --------
    Halfway between `BFGS` and `DFP`:

    >>> import fastmlp
    >>> problem = fastmlp.load_problem("rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(0), problem.make_start(0), optimizer=fastmlp.Broyden(0.5)
    ... )
    >>> result.theta.round(4)
    array([1., 1.])
    """

    phi: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("phi", self.phi, "a number in [0, 1]", lambda x: 0 <= x <= 1)

    @property
    def c2(self):
        return 0.9 - 0.8 * self.phi

    def factors(self, s, y, q, sBs):
        return broyden_factors(_dot(s, y), _dot(y, q), sBs, self.phi)


class SR1(DenseQuasiNewton):
    """Symmetric rank one: the one symmetric change of H by a single vector that gives H y = s.

    H <- H + r r' / r'y with r = s - H y, left out where r'y is tiny. On a quadratic H becomes the
    inverse Hessian after n independent steps, however long they are.

    H may be indefinite: where -H g does not descend the step goes along H g, and H is kept. The H
    to begin with is not s'y / y'y times the identity, for which r'y vanishes, but the smaller
    multiple of the two whose updates are positive definite and best conditioned: Wolkowicz,
    Mathematics of Operations Research 19:815-830 (1994).

    For at most 16,000 parameters, whose inverse Hessian takes 1 GB.

    Broyden, Mathematics of Computation 21:368-381 (1967); section 6.2 of Nocedal & Wright,
    Numerical optimization (2006).

    Examples
    --------
    >>> import fastmlp
    >>> problem = fastmlp.load_problem("rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(0), problem.make_start(0), optimizer=fastmlp.SR1()
    ... )
    >>> result.theta.round(3)
    array([1., 1.])
    """

    def direction(self, state):
        direction, first_step = super().direction(state)
        ascends = _dot(direction, state["gradient"]) > 0.0
        return (-direction if ascends else direction), first_step

    def first_scale(self, ss, sy, yy):
        longest = ss / sy
        return ss / yy / (longest + math.sqrt(max(longest * longest - ss / yy, 0.0)))

    def factors(self, s, y, q, sBs):
        r = s - q
        ry = _dot(r, y)
        if not abs(ry) > _SMALLEST_COSINE * math.sqrt(_dot(r, r) * _dot(y, y)):
            return None
        return Factors(1.0 / ry, -1.0 / ry, 1.0 / ry)


def check_size(name: str, n: int) -> None:
    """Refuse more parameters than a dense matrix is kept for."""
    if n > MOST_PARAMETERS:
        raise ValueError(
            f"{name} keeps a matrix for at most {MOST_PARAMETERS:,} parameters, "
            f"{_gigabytes(MOST_PARAMETERS)}, and would take {_gigabytes(n)} for {n:,}; "
            "LBFGS takes any number"
        )


def broyden_factors(sy, yHy, sBs, phi):
    """The update of the inverse that adds phi (s'Bs) v v' to the BFGS update of B.

    There v = y / s'y - B s / s'Bs. By the Sherman-Morrison formula it is the DFP update of H with
    psi (y'Hy) w w' added, w = s / s'y - H y / y'Hy, where psi = (1 - phi) / (1 + phi (mu - 1))
    and mu = (y'Hy) (s'Bs) / (s'y)^2, which is at least 1.
    """
    mu = max((yHy / sy) * (sBs / sy), 1.0)  # but for roundings
    psi = (1.0 - phi) / (1.0 + phi * (mu - 1.0))
    return Factors((1.0 + psi * yHy / sy) / sy, -psi / sy, (psi - 1.0) / yHy)


def _dot(x, y):
    return vectors.dot.serial(x, y)


def _product(H, x):
    product = np.empty(x.size)
    symmetric_product.serial(H, x, product)
    return product


def _triangle(n):
    """Elements of a lower triangle."""
    return n * (n + 1) // 2


def _diagonal(n):
    """Where the diagonal is in a lower triangle."""
    return np.arange(1, n + 1).cumsum() - 1


def _gigabytes(n):
    return f"{_triangle(n) * 8 / 1e9:.2g} GB"
