"""Quasi-Newton with an inverse Hessian fitted to noisy differences by least squares."""

from dataclasses import dataclass

import numpy as np

from fastmlp.solvers.regularized_search import StochasticNewton, inner
from fastmlp.validation import check_count, check_positive


@dataclass(frozen=True, eq=False, kw_only=True)
class LeastSquaresNewton(StochasticNewton):
    """Steps along -Hg, where H maps differences of gradients to steps in the least-squares sense.

    H minimizes ||H Y - S||^2 + lambda ||H - gamma I||^2 in the Frobenius norm, over the last
    steps S and gradient differences Y as columns: after Wills, Schön & Jidling, "A fast quasi-Newton-type method for
    large-scale stochastic optimisation", arXiv:1810.01269 (2018).
    """

    history_size: int = 20
    ridge: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("history_size", self.history_size)
        check_positive("ridge", self.ridge)

    def start(self, function, x0):
        shape = (self.history_size, x0.size)
        history = {"S": np.zeros(shape), "Y": np.zeros(shape), "n_pairs": 0}
        return super().start(function, x0) | history

    def direction(self, state, gradient):
        size = np.sqrt(inner(gradient, gradient))
        n = min(state["n_pairs"], self.history_size)
        if n == 0:
            return -gradient / max(1.0, size)
        S, Y = state["S"][:n], state["Y"][:n]
        YY = np.einsum("ij,kj->ik", Y, Y)
        trace = float(np.trace(YY))
        sy = float(np.einsum("ij,ij", S, Y))
        gamma = abs(sy) / trace
        w = np.linalg.solve(
            YY + self.ridge * trace / n * np.eye(n), np.einsum("ij,j->i", Y, gradient)
        )
        d = -gamma * gradient - np.einsum("ij,i->j", S - gamma * Y, w)
        if inner(d, gradient) < 0:
            return d
        return -gamma * gradient

    def learn(self, state, s, y, Bs):
        row = state["n_pairs"] % self.history_size
        state["S"][row], state["Y"][row] = s, y
        state["n_pairs"] += 1
