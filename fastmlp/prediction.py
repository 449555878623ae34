"""The outputs of a network for given inputs, in as little time as one row deserves."""

import time

import numpy as np

from fastmlp.kernels.activations import rare_addresses
from fastmlp.kernels.layers import Layers
from fastmlp.kernels.predict import predict as predict_kernel
from fastmlp.kernels.predict import predict_part_address
from fastmlp.kernels.threads import REGION_SECONDS, choose_parts, run
from fastmlp.validation import as_matrix, check_count, check_finite, read_only


def predict(net, X, n_threads=None):
    """Outputs of `net` for the rows of X: see `MLP.predict`."""
    if n_threads is not None:
        check_count("n_threads", n_threads)
    theta = net.theta
    X = read_only(as_matrix("X", X, theta.dtype, net.layer_sizes[0], net._feature_names))
    n_rows = len(X)
    n_parts = min(n_rows, choose_parts(n_rows * _row_flops(net), n_threads, REGION_SECONDS))
    result = np.empty((n_rows, net.layer_sizes[-1]), theta.dtype)
    if n_parts == 1:
        all_finite = _forward(net, X, result, n_parts)
    else:
        all_finite = _forward_at_pace(net, X, result, n_parts)
    if not all_finite:
        check_finite("theta", theta)
        check_finite("X", X)
    return result


def check_outputs(outputs, rows, first=0):
    """Refuse outputs (n, n_out) that overflowed: for those who could not tell what they stand for.

    `rows` is what the rows are called in the message, and `first` is the number of the first one.
    """
    if np.isfinite(outputs).all():
        return
    bad = int(np.argmin(np.isfinite(outputs).all(axis=1)))
    raise ValueError(
        f"the outputs for row {bad + first} of {rows} are not finite, as its numbers are too large "
        f"for the network's weights in {outputs.dtype}"
    )


def _row_flops(net):
    """Floating-point operations for one row, without those of activations."""
    return 2 * net.theta.size


def _forward(net, X, result, n_parts):
    """Overwrite `result` by the outputs; return whether all pre-activations are finite."""
    address = predict_part_address(net.dtype)
    rare_at = rare_addresses(net._activation_codes, net.dtype)
    layers = Layers(net._layout_numbers, net._activation_parameters, *rare_at)
    return run(predict_kernel, n_parts, address, net.theta, X, layers, result, n_parts)


def _forward_at_pace(net, X, result, n_parts):
    """Do `_forward` in slices of rows, in parts or alone, as is faster on the machine now."""
    pace = net._pace
    all_finite, start = True, 0
    while start < len(X):
        as_team, flops = pace.next()
        parts = n_parts if as_team else 1
        stop = min(len(X), start + max(n_parts, int(flops / _row_flops(net))))
        if pace.is_new(as_team):
            _forward(net, X[:0], result[:0], parts)  # compiles or loads the kernel, off the clock
        began = time.perf_counter()
        all_finite &= _forward(net, X[start:stop], result[start:stop], parts)
        seconds = time.perf_counter() - began
        pace.learn(as_team, (stop - start) * _row_flops(net), seconds)
        start = stop
    return all_finite
