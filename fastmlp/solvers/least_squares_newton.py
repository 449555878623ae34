"""A quasi-Newton method whose inverse Hessian is fitted to its pairs by least squares."""

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.kernels.gaussian_process import factor_by_rows, solve_lower, solve_transposed
from fastmlp.solvers.regularized_search import StochasticNewton, euclidean_norm, inner
from fastmlp.validation import check_count, check_positive


@dataclass(frozen=True, eq=False, kw_only=True)
class LeastSquaresNewton(StochasticNewton):
    """Newton's method on mini-batches with an inverse Hessian fitted by least squares.

    The direction is -Hg, where H minimizes ||H Y - S||^2 + lambda ||H - gamma I||^2 in Frobenius
    norms and the columns of S and Y are the last steps and the differences of gradients along
    them: no pair is met exactly, as befits noisy ones, and what they say nothing of is left to
    gamma I. Where -Hg is no direction of descent, which nothing forces it to be, it is -gamma g.

    After Wills, Schön & Jidling, "A fast quasi-Newton-type method for large-scale stochastic
    optimisation", arXiv:1810.01269. Steps are those of `regularized_search`.

    Parameters
    ----------
    history_size : int, default 20
        Pairs that H is fitted to. An update solves equations of this size.
    ridge : float, default 1e-3
        Positive. lambda is ridge times the mean squared norm of Y's columns; for a function that
        is noisy by itself, to this is added what its noise contributes to the sum of them.
    max_iterations, batch_size, learning_rate, largest_step, decay
        As of `StochasticNewton`.

    Notes
    -----
    gamma is ``|sum s'y| / sum y'y`` over the pairs, the multiple of I that is nearest to them.

    Examples
    --------
    By mini-batches of 128 rows:

    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.LeastSquaresNewton(), epochs=20, seed=0)
    >>> result.loss < 1.5
    True
    """

    history_size: int = 20
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("history_size", self.history_size)
        check_positive("ridge", self.ridge)

    def start(self, function, x0):
        shape = (self.history_size, x0.size)
        history = {"S": np.zeros(shape), "Y": np.zeros(shape), "n_pairs": 0}
        return super().start(function, x0) | history

    def direction(self, state, gradient):
        n = min(state["n_pairs"], self.history_size)
        if n == 0:
            return -gradient / max(1.0, euclidean_norm(gradient))
        S, Y = state["S"][:n], state["Y"][:n]
        YY = np.empty((n, n))
        vectors.row_products.serial(Y, Y, YY)
        squares = float(np.trace(YY))
        gamma = abs(inner(S.ravel(), Y.ravel())) / squares
        penalty = self.ridge * squares / n + n * state["gradient_noise"] ** 2
        direction = -fitted_product(S, Y, YY, gamma, penalty, gradient)
        return direction if inner(direction, gradient) < 0 else -gamma * gradient

    def learn(self, state, s, y, Bs):
        row = state["n_pairs"] % self.history_size
        state["S"][row], state["Y"][row] = s, y
        state["n_pairs"] += 1


def fitted_product(
    S: np.ndarray, Y: np.ndarray, YY: np.ndarray, gamma: float, penalty: float, g: np.ndarray
) -> np.ndarray:
    """The product H g for the H that minimizes ||H Y' - S'||^2 + penalty ||H - gamma I||^2.

    S and Y hold their pairs as rows, (m, n), and YY is Y Y'. By the identity of Woodbury it takes
    no more than a system of m equations:
    H = (S'Y + penalty gamma I) (Y'Y + penalty I)^-1, so H g = gamma g + (S - gamma Y)' w with
    w = (Y Y' + penalty I)^-1 Y g. Where rounding keeps that matrix from being positive definite,
    the product is gamma g.
    """
    m, n = Y.shape
    factor, w, product = YY + penalty * np.eye(m), np.empty((m, 1)), np.empty(n)
    if not factor_by_rows.serial(factor):
        return gamma * g
    vectors.row_products.serial(Y, g[np.newaxis], w)
    w = w.reshape(1, m)
    solve_lower.serial(factor, w)
    solve_transposed.serial(factor, w)
    vectors.combine_rows.serial(w[0], S - gamma * Y, product)
    return gamma * g + product
