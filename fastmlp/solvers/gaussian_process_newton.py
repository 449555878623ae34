"""Newton's method with a Hessian that a Gaussian process learns from noisy gradients."""

from dataclasses import dataclass

import numpy as np

from fastmlp.kernels import vectors
from fastmlp.kernels.gaussian_process import (
    diagonalize,
    factor_by_rows,
    mean_correlations,
    solve_lower,
    solve_transposed,
)
from fastmlp.result import Status
from fastmlp.solvers.regularized_search import (
    StochasticNewton,
    euclidean_norm,
    inner,
    regularized_search,
)
from fastmlp.solvers.solver import Outcome, State
from fastmlp.validation import check_count, check_not_negative, check_positive

# The posterior takes equations with a number of unknowns that grows as the square of this.
MOST_PARAMETERS = 30

# Observations remembered unless said otherwise, and the most equations that they may make.
_OBSERVATIONS, _EQUATIONS = 20, 300

# Gauss-Legendre quadrature on [0, 1], exact for polynomials up to the degree 7. For the kernel
# along a segment as long as its length scale, the error is 1e-7 of it. Abramowitz & Stegun, table
# 25.4; NumPy's would come from an eigenvalue problem that each machine rounds in its own way.
_NODES = np.array([-0.861136311594052575, -0.339981043584856265])
_WEIGHTS = np.array([0.347854845137453857, 0.652145154862546143])
NODES = (np.append(_NODES, -_NODES[::-1]) + 1.0) / 2.0
WEIGHTS = np.append(_WEIGHTS, _WEIGHTS[::-1]) / 2.0

# Of the prior's variance, so that equations stay solvable where pairs without noise repeat each
# other. A curvature smaller than the other of the largest is put down to rounding.
_JITTER = 1e-10
_SMALLEST_CURVATURE = 1e-8


@dataclass(frozen=True, eq=False, kw_only=True)
class GaussianProcessNewton(StochasticNewton):
    """Newton's method on the posterior mean of the Hessian, a Gaussian process of theta.

    After Wills & Schön, "Stochastic quasi-Newton with line-search regularization", Automatica
    127:109503 (2021). A step s from r on, over which the gradient changes by y, observes the
    Hessian H all along: y is the integral of H(r + tau s) s over tau from 0 to 1, and noise.
    A priori the elements of vech H are a Gaussian process whose covariance is the product of a
    squared exponential of the distance, exp(-d^2 / (2 length_scale^2)), and of
    prior_std^2 (delta_ik delta_jl + delta_il delta_jk) for H_ij and H_kl, which is the same in
    every system of coordinates. Integrals are taken by Gauss-Legendre quadrature.

    The direction is Newton's, with each eigenvalue of the posterior mean at theta replaced by its
    absolute value, or by its posterior standard deviation if that is larger: a curvature that may
    as well be so large is not trusted to be smaller. Then steps are those of
    `regularized_search`.

    Without mini-batches the gradient at the end of a step is that at the start of the next, so
    that the noises of consecutive observations are correlated, which the covariance heeds; and
    steps too short to say anything are put together to one from where the last observation
    ended. With mini-batches each observation is of one batch, taken at both ends of its step.

    No direction is longer than length_scale, beyond which the Hessian is unknown.

    For at most 30 parameters.

    Parameters
    ----------
    history_size : int or None, default None
        Latest observations to learn from. None is 20, or fewer for more than 15 parameters, so
        that observations times parameters is at most 300: the time goes with the cube of that.
    length_scale : float, default 1.0
        Euclidean distance over which the Hessian changes.
    prior_std : float or None, default None
        Standard deviation of the Hessian's elements off the diagonal; those on it have the square
        root of 2 times as much. None is estimated from all observations so far, by their mean
        square.
    prior_mean : float, default 0.0
        The process's mean is this times the identity; at least 0.
    batch_noise : float, default 0.1
        How much the Hessians of mini-batches scatter, relative to the prior's standard deviation.
    decay : float, default 30.0
        As of `StochasticNewton`, where it is 10: uncertain curvatures make short steps of
        themselves.
    max_iterations, batch_size, learning_rate, largest_step
        As of `StochasticNewton`.

    Examples
    --------
    Rosenbrock's valley with noise of standard deviation 30, where the start has the value 24:

    >>> import fastmlp
    >>> problem = fastmlp.load_problem("noisy_rosenbrock")
    >>> result = fastmlp.minimize(
    ...     problem.make_function(3),
    ...     problem.make_start(0),
    ...     optimizer=fastmlp.GaussianProcessNewton(),
    ...     max_iterations=2000,
    ...     seed=3,
    ... )
    >>> noiseless = fastmlp.load_problem("rosenbrock").make_function(0)
    >>> noiseless(result.theta)[0] < 2.0
    True
    """

    decay: float = 30.0
    history_size: int | None = None
    length_scale: float = 1.0
    prior_std: float | None = None
    prior_mean: float = 0.0
    batch_noise: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.history_size is not None:
            check_count("history_size", self.history_size)
        check_positive("length_scale", self.length_scale)
        if self.prior_std is not None:
            check_positive("prior_std", self.prior_std)
        check_not_negative("prior_mean", self.prior_mean)
        check_not_negative("batch_noise", self.batch_noise)

    def check(self, function):
        if function.size > MOST_PARAMETERS:
            raise ValueError(
                f"GaussianProcessNewton is for at most {MOST_PARAMETERS} parameters, got "
                f"{function.size:,}; LeastSquaresNewton and StochasticLBFGS take any number"
            )

    def start(self, function, x0):
        n = x0.size
        state = super().start(function, x0)
        return state | {
            "resolution": function.resolution,
            # Observations, oldest first: nodes and directions of their segments, changes of the
            # gradient over the segments' lengths, and whether one begins where the last ended.
            "nodes": np.empty((0, NODES.size, n)),
            "directions": np.empty((0, n)),
            "slopes": np.empty((0, n)),
            "lengths": np.empty(0),
            "rounding": np.empty(0),
            "linked": np.empty(0, bool),
            "correlations": np.empty((0, 0)),
            # Sums over all observations that there were, for the prior's variance.
            "n_observations": 0,
            "squares": 0.0,
            "squares_to_expect": 0.0,
            # What gives the posterior: see `_condition`.
            "variance": 0.0,
            "weights": np.empty((0, n)),
            "factor": np.empty((0, 0)),
            # Where the next observation begins, and the gradient there.
            "anchor": state["x"],
            "anchor_gradient": state["gradient"],
        }

    def move(self, function, state):
        if function.n_batches == 1:
            value, gradient = function.value_and_grad(state["x"])
            state.update(value=value, gradient=gradient)
            state.update(anchor=state["x"], anchor_gradient=gradient)

    def step(self, function, state):
        if function.n_batches > 1:
            return super().step(function, state)
        x, value, gradient = state["x"], state["value"], state["gradient"]
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return Outcome(Status.NOT_FINITE, "the objective or its gradient is not finite")
        direction = self.direction(state, gradient)
        step, tolerance = self._first_step(function, state)
        slope = inner(gradient, direction)
        move = regularized_search(
            function.value_and_grad, x, value, slope, direction, step, tolerance=tolerance
        )
        if move is None:
            return Outcome(
                Status.NOT_FINITE, "the objective or its gradient is not finite at any step tried"
            )
        s = move.x - state["anchor"]
        if self._says_something(state, s):
            y = move.gradient - state["anchor_gradient"]
            rounding = state["resolution"] * euclidean_norm(move.gradient)
            linked = state["n_observations"] > 0
            self._observe(state, state["anchor"], s, y, linked, rounding=rounding)
            state["anchor"], state["anchor_gradient"] = move.x, move.gradient
        state.update(
            x=move.x, value=move.value, gradient=move.gradient, n_updates=state["n_updates"] + 1
        )
        return None

    def learn(self, state, s, y, Bs):
        self._observe(state, state["x"], s, y, False, scatter=self.batch_noise)

    def direction(self, state, gradient):
        curvatures, axes, stds = self.curvatures(state, state["x"])
        largest = float(np.abs(curvatures).max())
        if not largest > 0.0:
            return -gradient / max(1.0, euclidean_norm(gradient))
        floor = np.maximum(stds, _SMALLEST_CURVATURE * largest)
        along = _products(axes, gradient[np.newaxis])[:, 0]
        along /= np.maximum(np.abs(curvatures), floor)
        direction = np.empty(gradient.size)
        vectors.combine_rows.serial(-along, axes, direction)
        length = euclidean_norm(direction)
        return direction if length <= self.length_scale else direction * self.length_scale / length

    def hessian(self, state: State, x: np.ndarray) -> np.ndarray:
        """Posterior mean of the Hessian at x, a symmetric matrix (n, n)."""
        return self._posterior_mean(state, self._correlations(state["nodes"], x[None])[:, 0])

    def curvatures(self, state: State, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of the posterior mean at x, with standard deviations.

        In no order.

        Returns
        -------
        curvatures : ndarray (n,)
        axes : ndarray (n, n)
            Eigenvectors as rows.
        stds : ndarray (n,)
            Posterior standard deviations of the curvatures along the axes; 0 where there is no
            observation yet to estimate the prior from.
        """
        correlations = self._correlations(state["nodes"], x[None])[:, 0]
        mean = self._posterior_mean(state, correlations)
        axes = np.empty_like(mean)
        diagonalize.serial(mean, axes)
        curvatures = np.diag(mean).copy()
        variance = state["variance"]
        if not variance > 0.0:
            return curvatures, axes, np.zeros(x.size)
        along = _products(axes, state["directions"])
        along *= 2.0 * variance * correlations
        # A row for each axis; what is left of them are their shares that observations explain.
        covariances = (along[:, :, None] * axes[:, None, :]).reshape(x.size, -1)
        solve_lower.serial(state["factor"], covariances)
        explained = np.array([inner(row, row) for row in covariances])
        return curvatures, axes, np.sqrt(np.maximum(2.0 * variance - explained, 0.0))

    def _posterior_mean(self, state, correlations):
        mean = self.prior_mean * np.eye(state["x"].size)
        if state["variance"] > 0.0:
            # H and an observation along u have the covariance k (a u' + u a') for weights a.
            k = state["variance"] * correlations
            half = _products((k[:, None] * state["weights"]).T, state["directions"].T)
            mean += half + half.T
        return mean

    def _says_something(self, state, s):
        """Whether noise does not hide what the Hessian is expected to do to a step s."""
        length = euclidean_norm(s)
        if not length > np.finfo(np.float64).eps * euclidean_norm(state["x"]):
            return False
        expected = np.sqrt(state["variance"] * (s.size + 1)) * length
        return state["n_observations"] == 0 or expected >= state["gradient_noise"]

    def _observe(self, state, start, s, y, linked, *, rounding=0.0, scatter=0.0):
        """Add an observation, drop the oldest one if there are too many, and condition on them."""
        n = s.size
        length = euclidean_norm(s)
        residual = y - self.prior_mean * s
        square = inner(residual, residual)
        if not (length > 0.0 and np.isfinite(square) and np.isfinite(y / length).all()):
            return
        kept = (self.history_size or min(_OBSERVATIONS, _EQUATIONS // n)) - 1
        kept = min(kept, len(state["lengths"]))
        first = len(state["lengths"]) - kept

        def appended(name, new):
            return np.concatenate([state[name][first:], np.array(new)[None]])

        nodes = appended("nodes", start + NODES[:, None] * s)
        correlations = np.empty((kept + 1, kept + 1))
        correlations[:kept, :kept] = state["correlations"][first:, first:]
        newest = _products(self._correlations(nodes, nodes[-1]), WEIGHTS[np.newaxis])[:, 0]
        correlations[kept], correlations[:, kept] = newest, newest
        correlations[kept, kept] *= 1.0 + scatter * scatter
        state.update(
            nodes=nodes,
            directions=appended("directions", s / length),
            slopes=appended("slopes", y / length),
            lengths=appended("lengths", length),
            rounding=appended("rounding", rounding / length),
            linked=appended("linked", linked),
            correlations=correlations,
            n_observations=state["n_observations"] + 1,
            squares=state["squares"] + square,
            squares_to_expect=state["squares_to_expect"]
            + (n + 1) * length * length * correlations[kept, kept],
        )
        self._condition(state)

    def _correlations(self, nodes, points):
        """Of the Hessian's means along segments (m, q, n) with it at points (p, n): (m, p)."""
        means = np.empty((len(nodes), len(points)))
        mean_correlations.serial(nodes, points, float(self.length_scale), WEIGHTS, means)
        return means

    def _condition(self, state):
        """Find the prior's variance, the covariance's Cholesky factor, and the weights with it."""
        variance = self._prior_variance(state)
        if not variance > 0.0:
            return
        u = state["directions"]
        m, n = u.shape
        K = difference_covariance(u, variance * state["correlations"])
        lengths = state["lengths"]
        noise = state["gradient_noise"] ** 2 / (2 * n) / np.outer(lengths, lengths)
        own = 2.0 * np.diag(noise) + state["rounding"] ** 2 + _JITTER * variance
        shared = np.diag(noise, 1) * state["linked"][1:]
        i = np.arange(m * n)
        K[i, i] += np.repeat(own, n)
        K[i[n:], i[:-n]] -= np.repeat(shared, n)
        K[i[:-n], i[n:]] -= np.repeat(shared, n)
        if not factor_by_rows.serial(K):
            # Rounding has got the better of it: nothing is known before the next observation.
            state["variance"] = 0.0
            return
        weights = (state["slopes"] - self.prior_mean * u).reshape(1, m * n)
        solve_lower.serial(K, weights)
        solve_transposed.serial(K, weights)
        state.update(variance=variance, factor=K, weights=weights.reshape(m, n))

    def _prior_variance(self, state):
        """By the mean square of all observations, less noise; at least what noise could hide."""
        if self.prior_std is not None:
            return self.prior_std**2
        noise, count = state["gradient_noise"] ** 2, state["n_observations"]
        n = state["x"].size
        # The latter is one standard deviation of the sum of noise's squares.
        squares = max(state["squares"] - noise * count, noise * np.sqrt(2.0 * count / n))
        return squares / state["squares_to_expect"]


def difference_covariance(directions: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Covariance of the products of a random symmetric matrix with vectors.

    Parameters
    ----------
    directions : ndarray (m, n)
        The vectors u.
    covariances : ndarray (m, m)
        c of the matrices that they are multiplied by: H_ab of the first and H_cd of the second
        have the covariance c (delta_ac delta_bd + delta_ad delta_bc).

    Returns
    -------
    ndarray (m n, m n)
        Of H u: with blocks c_ij ((u_i'u_j) I + u_j u_i').
    """
    m, n = directions.shape
    products = covariances * _products(directions, directions)
    # Indices i, a, j, b of c_ij u_ja u_ib.
    K = covariances[:, None, :, None] * directions.T[:, :, None] * directions[:, None, None, :]
    diagonal = np.arange(n)
    K[:, diagonal, :, diagonal] += products
    return K.reshape(m * n, m * n)


def _products(A, B):
    """Inner products of the rows of A and B, as a matrix."""
    products = np.empty((len(A), len(B)))
    vectors.row_products.serial(np.ascontiguousarray(A), np.ascontiguousarray(B), products)
    return products
