"""BFGS for functions whose values and gradients are noisy."""

import math
from dataclasses import dataclass

import numpy as np

from fastmlp.kernels.quasi_newton import rank_two_update, symmetric_product
from fastmlp.result import Status
from fastmlp.solvers.dense import broyden_factors, check_size
from fastmlp.solvers.function import Function
from fastmlp.solvers.regularized_search import Move, euclidean_norm, inner, noise_of_differences
from fastmlp.solvers.solver import Outcome, Solver, State
from fastmlp.validation import check_count, check_not_negative

# Of the relaxed Armijo condition, of the condition on the slope, and of how far the change of the
# slope has to stand out of the noise; all are those of the paper.
C1, C2, C3 = 1e-4, 0.9, 0.5

# Most points tried for the step, and most doublings of the interval for the gradients' difference.
MOST_TRIALS = 30
MOST_DOUBLINGS = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseTolerantBFGS(Solver):
    """BFGS with steps and differences of gradients that heed how noisy values and gradients are.

    Shi, Xie, Byrd & Nocedal, "A noise-tolerant quasi-Newton algorithm for unconstrained
    optimization", SIAM Journal on Optimization 32:29-55 (2022), arXiv:2010.04352. A step alpha
    along the direction p is accepted by the Armijo condition relaxed by the noise eps_f of values,

        f(x + alpha p) <= f(x) + c1 alpha g'p + 2 eps_f,

    without its term in g'p where -g'p <= eps_g ||p||, the noise of gradients: the slope then means
    nothing. H is updated over an interval beta p, whose gradients differ by more than noise:

        ``|(g(x + beta p) - g(x))'p| >= 2 (1 + c3) eps_g ||p||``.

    Both are the same point where it satisfies both and (g(x + alpha p) - c2 g(x))'p >= 0, which
    bisection looks for. Else the interval is doubled until its condition holds, from twice the
    step on, or from half of the last interval if that is longer. Without noise this is BFGS with
    the Wolfe conditions. c1 is 1e-4, c2 0.9, c3 0.5.

    Of itself the method ends in a region where noise is as large as the gradient. To get further,
    values and gradients are means over a number of mini-batches, or of evaluations of a noisy
    function, which grows by one after each `patience` iterations in which the slope meant
    nothing; eps_f and eps_g fall as its root.

    For at most 16,000 parameters, whose inverse Hessian takes 1 GB.

    Parameters
    ----------
    max_iterations : int or None, default None
        Epochs, or updates where there are no data. None is as many as `epochs` of `fit` or
        `max_iterations` of `minimize` say, else 500.
    batch_size : int or None, default None
        Rows of a mini-batch, None for all.
    value_noise : float or None, default None
        eps_f, of a mini-batch's value. None is the standard deviation over ten mini-batches, or
        evaluations, at the start: 0 without further ones if the first two agree exactly.
    gradient_noise : float or None, default None
        eps_g, the Euclidean length of what noise adds to a gradient: None is its root mean square
        over the same.
    patience : int, default 30
        See above.

    Examples
    --------
    Values and gradients with noise of standard deviation 0.001:

    >>> import numpy as np
    >>> import fastmlp
    >>> rng = np.random.default_rng(0)
    >>> def noisy(x):
    ...     noise = 0.001 * rng.normal(size=3)
    ...     return (x @ x) / 2 + noise[0], x + noise[1:]
    >>> optimizer = fastmlp.NoiseTolerantBFGS()
    >>> result = fastmlp.minimize(noisy, [2.0, 1.0], optimizer=optimizer, max_iterations=50)
    >>> bool(abs(result.theta).max() < 0.1)
    True
    """

    stochastic = True

    max_iterations: int | None = None
    batch_size: int | None = None
    value_noise: float | None = None
    gradient_noise: float | None = None
    patience: int = 30

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("value_noise", "gradient_noise"):
            if getattr(self, name) is not None:
                check_not_negative(name, getattr(self, name))
        check_count("patience", self.patience)

    def check(self, function):
        check_size(type(self).__name__, function.size)

    def start(self, function, x0):
        value, gradient = function.batch().value_and_grad(x0)
        value_noise, gradient_noise = self.value_noise, self.gradient_noise
        if value_noise is None or gradient_noise is None:
            # Of differences, where both ends are noisy.
            noise = noise_of_differences(
                lambda x: function.batch().value_and_grad(x), x0, value, gradient
            )
            value_noise = noise[0] / math.sqrt(2.0) if value_noise is None else value_noise
            gradient_noise = noise[1] / math.sqrt(2.0) if gradient_noise is None else gradient_noise
        n = x0.size
        return {
            "x": x0.copy(),
            "value": value,
            "gradient": gradient,
            "value_noise": value_noise,
            "gradient_noise": gradient_noise,
            # Batches that value and gradient are the means of, and iterations lost in noise.
            "n_averaged": 1,
            "n_lost": 0,
            # The inverse Hessian by its lower triangle; it says nothing while n_pairs is 0.
            "H": np.zeros(n * (n + 1) // 2),
            "n_pairs": 0,
            "interval": 0.0,
        }

    def move(self, function, state):
        if function.n_batches == 1:
            value, gradient = function.value_and_grad(state["x"])
            state.update(value=value, gradient=gradient, n_averaged=1)

    def step(self, function, state):
        n_averaged = 1 + state["n_lost"] // self.patience
        if function.n_batches > 1:
            n_averaged = min(n_averaged, function.n_batches)
        estimate = Estimate([function.batch() for _ in range(n_averaged)])
        x, value, gradient = state["x"], state["value"], state["gradient"]
        if function.n_batches > 1 or n_averaged != state["n_averaged"]:
            value, gradient = estimate(x)
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return Outcome(Status.NOT_FINITE, "the objective or its gradient is not finite")
        direction = self._direction(state, gradient)
        slope, length = inner(gradient, direction), euclidean_norm(direction)
        if not slope < 0.0:  # a gradient of zero, or H spoilt by rounding
            state.update(value=value, gradient=gradient, n_averaged=n_averaged, n_pairs=0)
            return None
        rise = 2.0 * max(
            state["value_noise"] / math.sqrt(n_averaged), function.resolution * abs(value)
        )
        noise = state["gradient_noise"] / math.sqrt(n_averaged) * length
        lost = -slope <= noise
        decrease = 0.0 if lost else C1 * slope
        change = 2.0 * (1.0 + C3) * noise
        accepted, end = _search(estimate, x, value, slope, direction, rise, decrease, change)
        if accepted is None and state["n_pairs"]:
            # H may be of no use here, or the value may have been low by chance.
            value, gradient = estimate(x)
            state.update(
                value=value,
                gradient=gradient,
                n_averaged=n_averaged,
                n_lost=state["n_lost"] + 1,
                n_pairs=0,
            )
            return None
        if accepted is None:
            return Outcome(
                Status.LINE_SEARCH_FAILED,
                "no step lowers the objective, or raises it by no more than its noise",
            )
        if end is None:
            beta = max(2.0 * accepted.step, 0.5 * state["interval"] / length)
            end = _lengthen(estimate, x, slope, direction, beta, change)
        if end is not None:
            self.learn(state, end.x - x, end.gradient - gradient)
            state["interval"] = end.step * length
        state.update(
            x=accepted.x,
            value=accepted.value,
            gradient=accepted.gradient,
            n_averaged=n_averaged,
            n_lost=state["n_lost"] + lost,
        )
        return None

    def learn(self, state: State, s: np.ndarray, y: np.ndarray) -> None:
        """Update H by an interval s and the difference y of the gradients at its ends; s'y > 0."""
        sy, H = inner(s, y), state["H"].copy()
        if not state["n_pairs"]:
            H[:] = 0.0
            H[np.arange(1, s.size + 1).cumsum() - 1] = sy / inner(y, y)
        q = np.empty(s.size)
        symmetric_product.serial(H, y, q)
        # The inverse of H, and so s'Bs, plays no part in this one of Broyden's updates.
        rank_two_update.serial(H, s, q, *broyden_factors(sy, inner(y, q), 1.0, 0.0))
        if np.isfinite(H).all():
            state.update(H=H, n_pairs=state["n_pairs"] + 1)

    def _direction(self, state, gradient):
        if not state["n_pairs"]:
            return -gradient / max(euclidean_norm(gradient), np.finfo(np.float64).tiny)
        product = np.empty(gradient.size)
        symmetric_product.serial(state["H"], gradient, product)
        return -product


class Estimate:
    """Value and gradient as means over batches.

    Parameters
    ----------
    batches : list of Function
    """

    def __init__(self, batches: list[Function]):
        self._batches = batches

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = self._batches[0].value_and_grad(x)
        for batch in self._batches[1:]:
            another_value, another_gradient = batch.value_and_grad(x)
            value += another_value
            gradient = gradient + another_gradient
        n = len(self._batches)
        return value / n, gradient / n


def _search(evaluate, x, value, slope, direction, rise, decrease, change):
    """Look by bisection for a step that will do, and for gradients' differences as well.

    Returns
    -------
    accepted : Move or None
        Satisfies the relaxed Armijo condition.
    end : Move or None
        The same one if it is fit for an update too, else None.
    """
    low, high, step, accepted = 0.0, np.inf, 1.0, None
    for _ in range(MOST_TRIALS):
        trial_x = x + step * direction
        trial_value, gradient = evaluate(trial_x)
        finite = np.isfinite(trial_value) and np.isfinite(gradient).all()
        if not (finite and trial_value <= value + rise + step * decrease):
            high = step
        else:
            accepted = Move(trial_x, trial_value, gradient, step)
            next_slope = inner(gradient, direction)
            if abs(next_slope - slope) < change:
                break
            if next_slope >= C2 * slope:
                return accepted, accepted
            low = step
        step = 2.0 * step if np.isinf(high) else 0.5 * (low + high)
    return accepted, None


def _lengthen(evaluate, x, slope, direction, step, change):
    """Double the step until the slope has risen by `change`; None if it never does."""
    for _ in range(MOST_DOUBLINGS):
        end = x + step * direction
        value, gradient = evaluate(end)
        if not np.isfinite(gradient).all():
            return None
        if inner(gradient, direction) - slope >= max(change, (C2 - 1.0) * slope):
            return Move(end, value, gradient, step)
        step *= 2.0
    return None
