"""The one function that every optimizer minimizes.

J(theta) = (1 / sum w) sum_i w_i loss(y_i, net(x_i)) + l2/2 sum W^2 + l1 sum |W|

over the weights, never the biases, and independent of the batch size; a mini-batch estimates it.
"""

import time

import numpy as np

from fastmlp.kernels import codes, epoch
from fastmlp.kernels.threads import choose_parts, no_teams, parallel_region
from fastmlp.network import MLP, parse_name
from fastmlp.pace import Pace
from fastmlp.validation import (
    as_real,
    as_rows,
    as_weights,
    check_count,
    check_finite,
    check_not_negative,
    check_number,
    read_only,
)
from fastmlp.workspace import Workspace, chunk_rows, chunk_table, count_weights

LOSSES = {
    "squared_error": codes.SQUARED_ERROR,
    "absolute_error": codes.ABSOLUTE_ERROR,
    "huber": codes.HUBER,
    "logistic": codes.LOGISTIC,
    "hinge": codes.HINGE,
    "binary_cross_entropy": codes.FUSED_BINARY_CROSS_ENTROPY,
    "cross_entropy": codes.FUSED_CROSS_ENTROPY,
    "poisson": codes.POISSON,
    "quantile": codes.QUANTILE,
}

# Losses with a parameter, and its default: Huber's transition in units of the target; the
# quantile, where one half is half the absolute error.
LOSS_PARAMETERS = {"huber": ("delta", 1.0), "quantile": ("q", 0.5)}

_AUTO_LOSS = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}

# Outputs that cannot be negative, so that no sign can be read off them.
_NOT_NEGATIVE = ("relu", "sigmoid", "softplus", "exponential", "softmax")
_POSITIVE = ("sigmoid", "softplus", "exponential", "softmax")


# Activations whose derivatives the forward pass keeps for the backward pass.
KEPT_SLOPES = (codes.GELU, codes.SILU)


class Objective:
    """A network's objective on fixed data.

    Parameters
    ----------
    net : MLP
    X : array_like, (n, n_in)
        Finite numbers. Used in place, without a copy, if C-contiguous and of net's dtype.
    y : array_like, (n,) or (n, n_out)
        Class indices (n,) or probabilities (n, n_out) for "cross_entropy"; labels 1 and -1 for
        "logistic" and "hinge"; in [0, 1] for "binary_cross_entropy"; not negative for
        "poisson"; any finite number else. (n,) stands for (n, 1).
    loss : str, default "auto"
        Summed over outputs, averaged over samples:

        - "squared_error": 1/2 (yhat - y)^2
        - "absolute_error": |yhat - y|
        - "huber", "huber(delta)": 1/2 e^2 for \\|e\\| <= delta, else delta (\\|e\\| - delta/2);
          delta 1 if not given
        - "logistic": log(1 + exp(-y yhat))
        - "hinge": max(0, 1 - y yhat)
        - "binary_cross_entropy": -y log yhat - (1 - y) log(1 - yhat), sigmoid output only
        - "cross_entropy": -log yhat of the class, or -sum y log yhat, softmax output only
        - "poisson": yhat - y log yhat, positive outputs only
        - "quantile", "quantile(q)": max(q e, (q - 1) e) with e = y - yhat; q 0.5 if not
          given, 0 and 1 included

        "auto" is "cross_entropy" for softmax, "binary_cross_entropy" for sigmoid, else
        "squared_error".
    sample_weight : array_like, (n,), or None
        Not negative, not all 0.
    l1, l2 : float, default 0.0
        Penalties on the weights.
    n_threads : int or None, default None
        1 is serial; None uses the cores this process may use where the work is enough. The
        result has the same bits for every number.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, in a sentence that names it.
    """

    def __init__(
        self, net, X, y, *, loss="auto", sample_weight=None, l1=0.0, l2=0.0, n_threads=None
    ):
        check_network(net)
        self.net = net
        self.loss, self._loss_code, parameter = check_loss(loss, net.output)
        check_not_negative("l1", l1)
        check_not_negative("l2", l2)
        if n_threads is not None:
            check_count("n_threads", n_threads)
        self.l1, self.l2, self.n_threads = float(l1), float(l2), n_threads
        X = as_rows("X", X, net.dtype, net.layer_sizes[0])
        self.n_rows = X.shape[0]
        Y, by_index = as_targets(y, self.loss, self.n_rows, net.layer_sizes[-1], net.dtype)
        if by_index:
            self._loss_code = codes.FUSED_CROSS_ENTROPY_INDICES
        self.n_target = Y.shape[1]
        self._weights = read_only(as_weights(sample_weight, self.n_rows, net.dtype))
        self._X, self._Y = read_only(X.reshape(-1)), read_only(Y.reshape(-1))
        self._constants = constants_of(net)
        self._constants[codes.LOSS_PARAMETER] = parameter
        self._constants[codes.L1], self._constants[codes.L2] = l1, l2
        self._nothing = np.empty(0, net.dtype)
        self._no_rates = np.empty(0, np.float64)
        self._full = None

    def value(self, theta=None) -> float:
        """J at `theta`, or at the network's own parameters."""
        return self._evaluate(theta, codes.EVALUATE)[0]

    def value_and_grad(self, theta=None, check=None) -> tuple[float, np.ndarray]:
        """J and its gradient (n_params,) in the network's dtype, a new array.

        Both may be non-finite where the network overflows. `check` is called about every
        `pace.CALL_SECONDS` and may end the evaluation by raising.
        """
        return self._evaluate(theta, codes.DIFFERENTIATE, check)

    def penalty(self, theta) -> float:
        """The part of J that does not depend on the data."""
        if self.l1 == 0 and self.l2 == 0:
            return 0.0
        total = 0.0
        for n_in, n_out, start in self.net._layout[:, : codes.W_OFFSET + 1]:
            weights = theta[start : start + n_in * n_out]
            if self.l2:
                total += self.l2 / 2 * float(np.square(weights, dtype=np.float64).sum())
            if self.l1:
                total += self.l1 * float(np.abs(weights).sum(dtype=np.float64))
        return total

    def _evaluate(self, theta, mode, check=None):
        if self._full is None:
            self._full = Sweep(self, self.n_rows, gather=False)
        theta = self.net.theta if theta is None else np.ascontiguousarray(theta, self.net.dtype)
        if theta.shape != self.net.theta.shape:
            raise ValueError(f"theta must have the shape {self.net.theta.shape}, got {theta.shape}")
        size = theta.size if mode == codes.DIFFERENTIATE else 0
        gradient = np.empty(size, self.net.dtype)
        full = self._full
        full.begin()
        while not full.done:
            if not full.advance(mode, theta, gradient=gradient):
                return np.nan, np.full(size, np.nan, self.net.dtype)
            if check is not None:
                check()
        return full.total / self.n_rows + self.penalty(theta), gradient


class Sweep:
    """Runs the compiled loop over mini-batches of an objective, a slice of time at a call.

    Parameters
    ----------
    objective : Objective
    batch_rows : int
        Rows of a mini-batch.
    gather : bool
        Whether rows are taken in an order given to `begin`, else as they lie.
    optimizer : Stochastic or None
        Whose update to run, None only to evaluate.
    """

    def __init__(self, objective, batch_rows, *, gather, optimizer=None):
        net = objective.net
        self._objective = objective
        sizes = net.layer_sizes
        rows = chunk_rows(sizes, net.dtype.itemsize, batch_rows)
        self._chunks = chunk_table(objective.n_rows, batch_rows, rows)
        self.n_updates = int(self._chunks[:, codes.LAST].sum())
        n_weights = count_weights(sizes)
        # Forward, and delta-propagation about as much again: what the first region does.
        region_flops = 4.0 * rows * n_weights
        self._chunk_flops = 6.0 * rows * n_weights
        n_parts = choose_parts(region_flops, objective.n_threads)
        workspace = Workspace(
            sizes,
            net.dtype,
            rows=rows,
            n_parts=n_parts,
            n_target=objective.n_target,
            gather=gather,
            slopes=any(code in KEPT_SLOPES for code in net._layout[:, codes.ACTIVATION]),
        )
        workspace.plan[codes.LOSS] = objective._loss_code
        if optimizer is not None:
            workspace.plan[codes.OPTIMIZER] = optimizer.code
            workspace.plan[codes.N_SLOTS] = optimizer.n_slots
        self._workspace = workspace
        self._gather = gather
        self._identity = np.empty(0, np.int64)
        self._hyper = (
            np.zeros(len(codes.HYPERPARAMETERS))
            if optimizer is None
            else optimizer.hyperparameters()
        )
        # A mini-batch of one chunk is applied task by task and needs no gradient of its own.
        self.one_chunk = bool((self._chunks[:, codes.FIRST] & self._chunks[:, codes.LAST]).all())
        self._cursor = np.zeros(codes.CURSOR_SIZE, np.int64)
        self._totals = np.zeros(1)
        team = n_parts > 1
        self._pace = Pace([True, False] if team and objective.n_threads is None else [team])

    @property
    def done(self) -> bool:
        """Whether the sweep has been through all rows."""
        return self._cursor[codes.CHUNK] == len(self._chunks)

    @property
    def total(self) -> float:
        """Sum of the weighted sample losses so far."""
        return float(self._totals[0])

    @property
    def rows_done(self) -> int:
        """Rows that the sweep has been through."""
        done = int(self._cursor[codes.CHUNK])
        return int(self._chunks[done - 1, codes.STOP]) if done else 0

    @property
    def updates_done(self) -> int:
        """Updates since `begin`."""
        return int(self._cursor[codes.MINI_BATCH])

    def begin(self, order=None, updates_before=0):
        """Start over, with rows in the given order (int64) if the sweep gathers."""
        self._order = self._identity if order is None else order
        self._cursor[:] = 0, 0, updates_before, codes.NOT_STARTED
        self._totals[:] = 0

    def advance(
        self, mode, theta, *, state=None, learning_rates=None, clip_norm=np.inf, gradient=None
    ):
        """Go on for about `pace.CALL_SECONDS`; return whether all losses were finite."""
        objective = self._objective
        start = int(self._cursor[codes.CHUNK])
        new = bool(self._pace.unknown)
        as_team, flops = self._pace.next()
        stop = min(len(self._chunks), start + max(1, int(flops / self._chunk_flops)))

        def call(stop):
            run_sweep(
                self._workspace,
                as_team,
                mode,
                theta,
                objective._nothing if state is None else state,
                objective._X,
                objective._Y,
                objective._weights,
                self._order,
                self._chunks,
                stop,
                objective.net._layout,
                objective._constants,
                self._hyper,
                objective._no_rates if learning_rates is None else learning_rates,
                clip_norm,
                self._cursor,
                self._totals,
                objective._nothing if gradient is None else gradient,
            )

        if new:
            call(start)  # nothing to do: compiles or loads the kernels, off the clock
        began = time.perf_counter()
        call(stop)
        seconds = time.perf_counter() - began
        done = int(self._cursor[codes.CHUNK]) - start
        if done:
            self._pace.learn(as_team, done * self._chunk_flops, seconds)
        return self._cursor[codes.OUTCOME] == codes.FINISHED


def run_sweep(
    workspace,
    as_team,
    mode,
    theta,
    state,
    X,
    Y,
    weights,
    order,
    chunks,
    stop,
    layout,
    constants,
    hyper,
    rates,
    clip_norm,
    cursor,
    totals,
    result,
):
    """Call the compiled loop, `as_team` if a team can be had, else in this thread alone."""
    before_bounds = (mode, theta, state, X, Y, weights, order, chunks, stop, workspace.tasks)
    after_bounds = (layout, workspace.plan, constants, hyper, rates, clip_norm, cursor, totals)
    last = (result, workspace.buffer)
    address = epoch.sweep_part_address(theta.dtype)
    sync = workspace.sync
    cursor[codes.OUTCOME] = codes.NOT_STARTED
    if as_team:
        with parallel_region(workspace.n_parts) as entered:
            if entered:
                sync[:] = 0
                kernel = epoch.sweep.parallel
                kernel(address, sync, *before_bounds, workspace.bounds, *after_bounds, *last)
        if cursor[codes.OUTCOME] != codes.NOT_STARTED:
            return
        if entered:
            no_teams()
    alone = workspace.alone
    epoch.sweep.serial(address, sync, *before_bounds, alone, *after_bounds, *last)


def constants_of(net):
    """Vector of constants for the kernels, with the activations' parameters filled in."""
    constants = np.zeros(codes.ACTIVATION_PARAMETERS + len(net._parameters), net.dtype)
    constants[codes.ACTIVATION_PARAMETERS :] = net._parameters
    return constants


def check_network(net):
    """Refuse what is no network, or one whose parameters are not finite."""
    if not isinstance(net, MLP):
        raise TypeError(f"net must be a fastmlp.MLP, got {type(net).__name__}")
    check_finite("theta", net.theta)


def check_loss(loss, output):
    """Check a loss against the output activation.

    Returns
    -------
    (str, int, float)
        Name, kernel code and parameter.
    """
    output = output.partition("(")[0]
    if isinstance(loss, str) and loss == "auto":
        loss = _AUTO_LOSS.get(output, "squared_error")
    names = {name: parameter for name, (parameter, _) in LOSS_PARAMETERS.items()}
    name, parameter = parse_name("loss", loss, ["auto", *LOSSES], names)
    if parameter is None:
        parameter = LOSS_PARAMETERS.get(name, ("", 0.0))[1]
    if name == "huber":
        check_number("delta of huber", parameter, "a positive number", lambda x: x > 0)
    if name == "quantile":
        check_number("q of quantile", parameter, "in [0, 1]", lambda x: 0 <= x <= 1)
    for fits, reason in (
        (name != "cross_entropy" or output == "softmax", "a softmax output"),
        (name != "binary_cross_entropy" or output == "sigmoid", "a sigmoid output"),
        (
            name not in ("logistic", "hinge") or output not in _NOT_NEGATIVE,
            "an output that can be negative, such as identity or tanh",
        ),
        (
            name != "poisson" or output in _POSITIVE,
            "an output that is positive, such as exponential or softplus",
        ),
    ):
        if not fits:
            raise ValueError(f"loss {name!r} needs {reason}, got the output {output!r}")
    return name, LOSSES[name], parameter


def as_targets(y, loss, n_rows, n_out, dtype):
    """Check the targets of a loss.

    Returns
    -------
    Y : ndarray, (n, 1) or (n, n_out), of `dtype`
    by_index : bool
        Whether Y holds class indices.
    """
    array = as_real("y", y)
    by_index = loss == "cross_entropy" and array.ndim == 1
    if array.ndim == 1 and (by_index or n_out == 1):
        array = array[:, None]
    width = 1 if by_index else n_out
    if array.shape != (n_rows, width):
        shapes = f"({n_rows},)" if n_out == 1 else f"({n_rows}, {n_out})"
        if loss == "cross_entropy" and n_out > 1:
            shapes = f"({n_rows},) for class indices or {shapes} for probabilities"
        raise ValueError(
            f"y must have the shape {shapes}, to go with X and the outputs, got {np.shape(y)}"
        )
    with np.errstate(over="ignore"):
        Y = np.ascontiguousarray(array, dtype=dtype)
    check_finite("y", Y if Y.shape[1] > 1 else Y[:, 0])
    if by_index:
        if not np.array_equal(array, np.trunc(array)):
            raise ValueError("y must hold whole class indices for cross_entropy, got fractions")
        _check_range("y", array, 0, n_out - 1, "class indices")
    elif loss == "cross_entropy":
        _check_range("y", Y, 0, 1, "probabilities")
        sums = Y.sum(axis=1, dtype=np.float64)
        worst = int(np.argmax(np.abs(sums - 1)))
        if abs(sums[worst] - 1) > 1e-3:
            raise ValueError(
                f"y must hold probabilities that sum to 1 in each row, row {worst} sums to "
                f"{sums[worst]:g}"
            )
    elif loss == "binary_cross_entropy":
        _check_range("y", Y, 0, 1, "probabilities")
    elif loss == "poisson":
        _check_range("y", Y, 0, np.inf, "counts")
    elif loss in ("logistic", "hinge") and not np.isin(Y, (-1, 1)).all():
        raise ValueError(
            f"y must hold the labels 1 and -1 for {loss}, got {Y[~np.isin(Y, (-1, 1))][0]:g}"
        )
    return Y, by_index


def _check_range(name, values, lowest, highest, what):
    low, high = values.min(), values.max()
    if low < lowest or high > highest:
        given = low if low < lowest else high
        raise ValueError(f"{name} must hold {what} from {lowest} to {highest}, got {given}")
