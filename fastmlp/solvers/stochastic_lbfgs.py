"""Multi-batch L-BFGS."""

from dataclasses import dataclass

import numpy as np

from fastmlp.solvers.regularized_search import StochasticNewton, euclidean_norm, inner
from fastmlp.validation import check_count

# A pair must have at least this share of the curvature s'Bs that the method expected.
DAMPING = 0.2


@dataclass(frozen=True, eq=False, kw_only=True)
class StochasticLBFGS(StochasticNewton):
    """Limited-memory BFGS on mini-batches.

    Berahas, Nocedal & Takáč, "A multi-batch L-BFGS method for machine learning", NIPS 2016, with
    full overlap: the difference y of gradients along a step s is taken on the batch that chose
    the step. Pairs are damped after Powell, "A fast algorithm for nonlinearly constrained
    optimization calculations", Lecture Notes in Mathematics 630:144-157 (1978): where s'y is less
    than 0.2 s'Bs, y is moved towards Bs until it is not, so that the approximation B of the
    Hessian stays positive definite. B's value along the step is known: Bs is -step times the
    gradient. Steps are those of `regularized_search`.

    Parameters
    ----------
    history_size : int, default 10
        Pairs (s, y) that stand for the Hessian.
    max_iterations, batch_size, learning_rate, largest_step, decay
        As of `StochasticNewton`.

    Examples
    --------
    By mini-batches of 128 rows:

    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.StochasticLBFGS(), epochs=20, seed=0)
    >>> result.loss < 1.5
    True
    """

    history_size: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("history_size", self.history_size)

    def start(self, function, x0):
        shape = (self.history_size, x0.size)
        history = {"S": np.zeros(shape), "Y": np.zeros(shape), "n_pairs": 0}
        return super().start(function, x0) | history

    def direction(self, state, gradient):
        S, Y, n_pairs = state["S"], state["Y"], state["n_pairs"]
        if n_pairs == 0:
            return -gradient / max(1.0, euclidean_norm(gradient))
        rows = [k % self.history_size for k in range(max(0, n_pairs - self.history_size), n_pairs)]
        d = -gradient
        products = [inner(S[row], Y[row]) for row in rows]
        factors = []
        for row, product in zip(reversed(rows), reversed(products), strict=True):
            factor = inner(S[row], d) / product
            d -= factor * Y[row]
            factors.append(factor)
        latest = Y[rows[-1]]
        d *= products[-1] / inner(latest, latest)
        for row, product, factor in zip(rows, products, reversed(factors), strict=True):
            d += (factor - inner(Y[row], d) / product) * S[row]
        return d

    def learn(self, state, s, y, Bs):
        expected, curvature = inner(s, Bs), inner(s, y)
        if curvature < DAMPING * expected:
            share = (1.0 - DAMPING) * expected / (expected - curvature)
            y = share * y + (1.0 - share) * Bs
        if not inner(s, y) > np.finfo(np.float64).eps * euclidean_norm(s) * euclidean_norm(y):
            return
        row = state["n_pairs"] % self.history_size
        state["S"][row], state["Y"][row] = s, y
        state["n_pairs"] += 1
