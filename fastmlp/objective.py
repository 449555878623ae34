"""The one function that every optimizer minimizes.

J(theta) = (1 / sum w) sum_i w_i loss(y_i, net(x_i)) + l2/2 sum W^2 + l1 sum |W|

over the weights, never the biases, and independent of the batch size; a mini-batch estimates it.
"""

from __future__ import annotations

import copy
import functools
import math
from typing import TYPE_CHECKING

import numba
import numpy as np

from fastmlp.custom_losses import compare_with_differences
from fastmlp.kernels import codes
from fastmlp.kernels.finite import serial_finite
from fastmlp.losses import (
    CHECKED,
    check_loss,
    check_values,
    choose_step_targets,
    choose_targets,
    needs_finite,
)
from fastmlp.network import Network
from fastmlp.normal_equations import NormalEquations
from fastmlp.options import Loss
from fastmlp.order import random_order
from fastmlp.sequences import without_padding
from fastmlp.sources import orders
from fastmlp.sources.rows import is_rows
from fastmlp.sources.source import Scaled, Source
from fastmlp.sources.streamed import Streamed
from fastmlp.sources.windowed import Windowed
from fastmlp.sweep import KEPT, Problem, SpareSweep, penalty
from fastmlp.validation import (
    as_array,
    as_real,
    as_weights,
    check_count,
    check_finite,
    check_not_negative,
    check_rows_shape,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastmlp.options import Features, Loss

# Whether kernels run as plain Python, whose loops are no way to look for NaN.
_INTERPRETED = bool(getattr(numba.config, "DISABLE_JIT", False))


class Objective:
    """A network's objective on fixed data.

    Parameters
    ----------
    net : MLP
    X : array_like, sparse matrix or `fastmlp.Rows`, (n, n_in)
        Finite numbers. Used in place, without a copy, if C-contiguous and of net's dtype. Of a
        data frame the columns that `net.feature_names` say are taken, if net has names. `Rows`,
        sparse matrices, and large arrays of another dtype are read block by block at each
        evaluation, and checked then.
    y : array_like, (n,) or (n, n_out)
        Class indices (n,) or probabilities (n, n_out) for "cross_entropy"; labels 1 and -1 for
        "logistic" and "hinge"; in [0, 1] for "binary_cross_entropy"; not negative for
        "poisson"; any finite number else. (n,) stands for (n, 1).
    loss : str, or a pair of functions, default "auto"
        Summed over outputs, averaged over samples:

        - "squared_error": 1/2 (yhat - y)^2
        - "absolute_error": ``|yhat - y|``
        - "huber", "huber(delta)": 1/2 e^2 for \\|e\\| <= delta, else delta (\\|e\\| - delta/2);
          delta 1 if not given
        - "logistic": log(1 + exp(-y yhat))
        - "hinge": max(0, 1 - y yhat)
        - "binary_cross_entropy": -y log yhat - (1 - y) log(1 - yhat), sigmoid output only
        - "cross_entropy", "cross_entropy(smoothing)": -log yhat of the class, or
          -sum y log yhat, softmax output only. With label smoothing s, the target of the loss is
          (1 - s) y + s / n_out (Szegedy et al., "Rethinking the Inception architecture for
          computer vision", CVPR 2016, section 7; torch does the same); in [0, 1), 0 if not given
        - "poisson": yhat - y log yhat, positive outputs only
        - "quantile", "quantile(q)": max(q e, (q - 1) e) with e = y - yhat; q 0.5 if not
          given, 0 and 1 included. "quantile(0.1, 0.5, 0.9)" has a level for each output, ascending,
          and y the same target in as many columns

        A loss of one's own is a pair (value, gradient) of functions compiled by `numba.njit`, of
        two vectors of the network's dtype: a row's outputs (n_out,), after the output activation,
        and its targets. ``value(output, target)`` is a number, ``gradient(output, target)`` its
        gradient with respect to the outputs, an array (n_out,). y is (n,), or (n, n_target) with
        any number of columns. Before anything is trained the gradient is compared with differences,
        in float64. An exception in them is a loss that is not finite. See docs/layers.md.

        "auto" is "cross_entropy" for softmax, "binary_cross_entropy" for sigmoid, else
        "squared_error".
    lengths : array_like of int, (n,), or None
        Of a `fastmlp.RNN`: how many steps each row has, see there.
    sample_weight : array_like, (n,), or None
        Not negative, not all 0.
    l1, l2 : float, default 0.0
        Penalties on the weights.
    n_threads : int or None, default None
        At most so many threads, and only one where a team is not faster. None is as many as
        this process may use cores and the work is enough for. The result has the same bits for
        every number.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, in a sentence that names it.

    Examples
    --------
    Given to an optimizer of another library:

    >>> import numpy as np
    >>> import scipy.optimize
    >>> import fastmlp
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(100, 3)), rng.normal(size=100)
    >>> net = fastmlp.MLP([3, 4, 1], activation="tanh", dtype="float64", seed=0)
    >>> objective = fastmlp.Objective(net, X, y, l2=1e-2)
    >>> found = scipy.optimize.minimize(objective.value_and_grad, net.theta, jac=True)
    >>> bool(found.fun < objective.value())  # that of the network, which is where it was
    True
    """

    def __init__(
        self,
        net: Network,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        n_threads: int | None = None,
    ) -> None:
        check_is_network(net)
        problem, samples = check_problem(net, X, y, loss, lengths, sample_weight, l1, l2, n_threads)
        self.net, self.problem, self.samples = net, problem, samples
        self.is_in_memory = isinstance(samples, tuple)
        self._is_of_rows = is_rows(X)
        self.loss, self.n_threads = problem.loss, problem.n_threads
        self.l1, self.l2 = problem.l1, problem.l2
        self.n_rows, self.n_target = problem.n_rows, problem.n_target
        self.spare = SpareSweep(np.inf)

    def of(self, net):
        """The objective of another network that would have been checked alike, on the same rows.

        Only of rows in memory.
        """
        other = copy.copy(self)
        other.net, other.spare = net, SpareSweep(np.inf)
        return other

    @property
    def rows(self):
        """X (n, n_in), or what gives slices of its rows."""
        return self.samples[0] if self.is_in_memory else self.samples

    @property
    def source(self):
        """X (n, n_in), or what reads it, as a network takes it."""
        return self.samples[0] if self.is_in_memory else self.samples.source

    def scaled_rows(self, scaling):
        """X standardized, or what reads it so, as an objective takes it."""
        return scaling.transform(self.source) if self.is_in_memory else Scaled(self.source, scaling)

    @property
    def targets(self):
        """Targets (n, n_target)."""
        Y = self.samples[1] if self.is_in_memory else self.samples.targets
        return Y.reshape(self.n_rows, -1)

    @property
    def weights(self):
        """Weights of the samples, (n,) with mean 1, or (0,) if there are none."""
        return self.samples[2] if self.is_in_memory else self.samples.weights

    def sweep(self, batch_rows, *, gather, optimizer):
        """The compiled loop over its mini-batches; see `Sweep`."""
        options = {"gather": gather, "optimizer": optimizer}
        if self.is_in_memory:
            return KEPT.take(self.net, self.problem, batch_rows, **options)
        return self.samples.sweep(self.problem, batch_rows, **options)

    def leave(self, sweep=None):
        """Keep a `sweep` that has trained, or else the one that evaluates, for the next fit."""
        if not self.is_in_memory:
            return
        if sweep is None:
            self.spare.leave(self.net)
        else:
            KEPT.keep(sweep, self.net)

    def check_order(self, shuffle):
        """Refuse orders of rows that there is no memory for."""
        if shuffle == "replacement" and not self._shuffles_all:
            raise ValueError(
                "shuffle must be True, False or a fastmlp.Windowed for rows that are read in "
                "windows: 'replacement' may take any row of all at any time"
            )

    def gathers(self, shuffle):
        """Whether mini-batches are copied from here and there in X, or in a window of it."""
        if self.is_in_memory or not self._shuffles_all or isinstance(shuffle, Windowed):
            return bool(shuffle)
        return False

    def draw_order(self, rng, shuffle):
        """Draw the order of an epoch's rows, as `Sweep.begin` takes it."""
        if not self.is_in_memory:
            return self.samples.draw_order(rng, shuffle)
        if shuffle is False:
            return None
        if shuffle == "replacement":
            return rng.integers(0, self.n_rows, self.n_rows)
        if shuffle is True:
            return random_order(rng, self.n_rows)
        X = self.samples[0]
        drawn = orders.draw(rng, shuffle, self.n_rows, max(1, X.shape[1] * X.itemsize))
        return random_order(rng, self.n_rows) if drawn is None else orders.whole_order(drawn)

    def order_of(self, key):
        """The order of an epoch that a checkpoint has the `key` of, for rows not in memory."""
        return self.samples.order_of(key)

    @property
    def _shuffles_all(self):
        return not self._is_of_rows if self.is_in_memory else self.samples.source.shuffles_all

    def normal_equations(self):
        """What evaluates the Gauss-Newton matrix; see `NormalEquations`."""
        return NormalEquations(self.net, self.problem, self.samples)

    def take(self, rows):
        """Samples of some rows, as kernels take them."""
        if not self.is_in_memory:
            return self.samples.take(rows)
        X, Y, weights = self.samples
        taken = Y.reshape(self.n_rows, -1)[rows].ravel()
        return X[rows], taken, weights[rows] if weights.size else weights

    def value(self, theta: ArrayLike | None = None) -> float:
        """J at `theta`, or at the network's own parameters."""
        return self._evaluate(theta, codes.EVALUATE)[0]

    def value_and_grad(
        self, theta: ArrayLike | None = None, check: Callable[[], object] | None = None
    ) -> tuple[float, np.ndarray]:
        """J and its gradient (n_params,) in the network's dtype, a new array.

        Both may be non-finite where the network overflows. `check` is called about every
        `pace.CALL_SECONDS` and may end the evaluation by raising.
        """
        return self._evaluate(theta, codes.DIFFERENTIATE, check)

    def gauss_newton(
        self, theta: ArrayLike | None = None, check: Callable[[], object] | None = None
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """J, its gradient and the Gauss-Newton approximation of its Hessian, for squared errors.

        The Hessian without the second derivatives of the outputs,

        H = (1 / sum w) sum_i w_i J_i^T J_i + l2 on the diagonal of the weights,

        with J_i (n_out, n_params) the Jacobian of the outputs for row i (with k members, or steps
        of time, those of all, over the root of k), takes one pass forward
        and one back for each output (Bishop, Pattern Recognition and Machine Learning, 2006,
        sections 5.3.4 and 5.4.2). Rows go through in blocks: the memory is that of H and of some
        256 rows of Jacobians, whatever n is.

        Parameters
        ----------
        theta, check
            As of `value_and_grad`.

        Returns
        -------
        (float, ndarray (n_params,), ndarray (n_params, n_params))
            New arrays of float64, whose sums over samples are in float64 for float32 networks
            too. All of them NaN where the network overflows.

        Raises
        ------
        ValueError
            For another loss than "squared_error", or with l1, which has no second derivative.
        """
        if self.loss != "squared_error":
            raise ValueError(f"gauss_newton needs the loss 'squared_error', got {self.loss!r}")
        if self.l1:
            raise ValueError(f"gauss_newton takes no l1, got {self.l1:g}")
        theta = self._as_theta(theta)
        return self.normal_equations().at(theta, check)

    def penalty(self, theta) -> float:
        """The part of J that does not depend on the data."""
        return penalty(self.net, self.problem, theta)

    def _evaluate(self, theta, mode, check=None):
        theta = self._as_theta(theta)
        return evaluate(self.net, self.problem, self.samples, theta, mode, self.spare, check)

    def _as_theta(self, theta):
        own = self.net.theta
        if theta is None:
            return own
        theta = as_array("theta", theta, own.dtype)
        if theta.shape != own.shape:
            raise ValueError(f"theta must have the shape {own.shape}, got {theta.shape}")
        # It is only read, but for a read-only array Numba would compile the kernels anew.
        return theta if theta.flags.writeable else theta.copy()


def check_problem(
    net, X, y, loss, lengths, sample_weight, l1, l2, n_threads, scan=True, by_kernel=False
):
    """Check the arguments of an `Objective`.

    Parameters
    ----------
    net, X, y, loss, lengths, sample_weight, l1, l2, n_threads
    scan : bool, default True
        Whether to look for NaN and infinite values in theta, X and y even if the loss takes any
        targets. See `evaluate_once`.
    by_kernel : bool, default False
        Whether a kernel looks for them first: it takes a tenth of NumPy's time for small arrays,
        but it has to be compiled, for longer than NumPy takes for any array.

    Returns
    -------
    problem : Problem
    samples : tuple of ndarray
        X (n, n_in), y (n * n_target,) and the weights (n,) or (0,) as `epoch.sweep` takes them:
        C-contiguous and of net's dtype. Of sequences X is (n, T * n_in), with another column if
        there are lengths, and y is that of each step after the other if each has a target. Or a
        `Streamed` of what is not in memory.
    """
    theta, dtype = net._theta, net._dtype
    X, sequences = net._as_rows(X, lengths)
    if sequences is not None and sequences.has_lengths and sequences.by_step:
        y = without_padding(as_real("y", y), X[:, -1])
    Y = as_targets(y, dtype)
    ends = net._ends
    try:
        problem = _check_settings(ends, X.shape, Y.shape, loss, l1, l2, n_threads, sequences)
    except TypeError:  # perhaps of the cache: what cannot be hashed is no setting, and told so
        settings = ends, X.shape, Y.shape, loss, l1, l2, n_threads, sequences
        problem = _check_settings.__wrapped__(*settings)
    Y_vector, code = Y.ravel(), problem.loss_code
    if sequences is not None and sequences.by_step:
        Y = Y.reshape(-1, problem.n_target)
    if code in CHECKED:
        given = as_real("y", y)
        scan = scan or needs_finite(given, code)
    is_streamed = isinstance(X, Source)
    if is_streamed:  # rows are looked at as they are read
        check_finite("theta", theta)
        check_finite("y", Y if problem.n_target > 1 else Y_vector)
    elif net._pieces.inputs:  # codes of categories have to be looked at: kernels go by them
        net.check_rows(X)
    if scan and not is_streamed and not (by_kernel and serial_finite(dtype)(theta, X, Y_vector)):
        # NumPy can tell where the bad element is.
        check_finite("theta", theta)
        net.check_rows(X)
        check_finite("y", Y if problem.n_target > 1 else Y_vector)
    if code in CHECKED:
        check_values(given, Y, code, net._layer_sizes[-1])
    if code == codes.CUSTOM:
        rows = Y_vector.reshape(-1, problem.n_target)
        compare_with_differences(problem.loss, net._ends[-1], net._ends[1], rows)
    weights = as_weights(sample_weight, problem.n_rows, dtype)
    if is_streamed:
        return problem, Streamed(X, Y_vector, weights, net)
    return problem, (X, Y_vector, weights)


def as_targets(y, dtype=None):
    """y as an array of numbers, of `dtype` if that is given; tell who takes other labels."""
    try:
        return as_real("y", y) if dtype is None else as_array("y", y, dtype)
    except TypeError as error:
        raise TypeError(
            f"{error}; labels of any kind are for fastmlp.MLPClassifier, which numbers them"
        ) from None


@functools.lru_cache(typed=True)
def _check_settings(ends, X_shape, y_shape, loss, l1, l2, n_threads, sequences):
    """Check all of an objective's arguments but for the numbers in arrays.

    Of the network it knows the `ends`: its inputs, its outputs and their activation.
    """
    n_in, n_out, output = ends
    loss, code, parameters = check_loss(loss, output, n_out)
    check_not_negative("l1", l1)
    check_not_negative("l2", l2)
    if n_threads is not None:
        check_count("n_threads", n_threads)
    if sequences is None:
        check_rows_shape("X", X_shape, n_in)
    n_rows = X_shape[0]
    if sequences is not None and sequences.by_step:
        n_steps = sequences.n_steps
        code, n_target = choose_step_targets(y_shape, code, n_rows, n_steps, n_out)
    else:
        code, n_target = choose_targets(y_shape, code, n_rows, n_out)
    penalties = float(l1), float(l2)
    return Problem(n_rows, n_target, loss, code, parameters, *penalties, n_threads, sequences)


def evaluate(net, problem, samples, theta, mode, spare, check=None):
    """J at `theta` and its gradient, a new array, which is empty unless the mode asks for it.

    Parameters
    ----------
    net, theta
        Checked, like the `problem` and its `samples` by `check_problem`.
    mode : int
        ``codes.EVALUATE`` or ``codes.DIFFERENTIATE``.
    spare : SpareSweep
        Where to take a sweep from, and to leave it for the next time.
    check : callable or None
        See `Objective.value_and_grad`.
    """
    gradient = np.empty(theta.size if mode == codes.DIFFERENTIATE else 0, theta.dtype)
    sweep = spare.take(net, problem, samples)
    total = sweep.evaluate(mode, theta, samples, gradient, check)
    spare.put_back(sweep)
    return _objective(net, problem, theta, total, gradient)


def _objective(net, problem, theta, total, gradient):
    """J from the sum of the losses, and its gradient; all NaN if the sum is."""
    if math.isnan(total):
        return math.nan, np.full_like(gradient, np.nan)
    return total / problem.n_rows + penalty(net, problem, theta), gradient


def evaluate_once(net, mode, X, y, loss, lengths, sample_weight, l1, l2, n_threads):
    """What `Objective` evaluates at the network's own parameters, by its spare sweep, for `MLP`.

    With a gradient nobody scans X first. Each of its numbers is a factor in the gradients of some
    weights, and what is not finite in y makes the loss, or its gradient, so. If either is not
    finite the search for a culprit starts; it finds none where finite numbers have overflowed.
    """
    theta, differentiates = net._theta, mode == codes.DIFFERENTIATE
    scan, by_kernel = _INTERPRETED or not differentiates, not _INTERPRETED
    problem, samples = check_problem(
        net, X, y, loss, lengths, sample_weight, l1, l2, n_threads, scan, by_kernel
    )
    if not isinstance(samples, tuple):
        return evaluate(net, problem, samples, theta, mode, SpareSweep(0))
    gradient = np.empty(theta.size if differentiates else 0, theta.dtype)
    sweep = net._spare.take(net, problem, samples)
    total = sweep.evaluate(mode, theta, samples, gradient)
    if differentiates and not (math.isfinite(total) and sweep.all_finite):
        check_problem(net, X, y, loss, lengths, sample_weight, l1, l2, n_threads)
    net._spare.put_back(sweep)
    return _objective(net, problem, theta, total, gradient)


def check_network(net):
    """Refuse what is no network, or one whose parameters are not finite."""
    check_is_network(net)
    check_finite("theta", net.theta)


def check_is_network(net):
    """Refuse what is no network."""
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fastmlp.MLP, got {type(net).__name__}")
