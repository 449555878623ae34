"""The outputs of a network for given inputs, in as little time as one row deserves."""

import numpy as np

from fastmlp.kernels.predict import predict as predict_kernel
from fastmlp.kernels.predict import predict_part_address
from fastmlp.kernels.threads import REGION_SECONDS, choose_parts, run
from fastmlp.validation import as_matrix, check_count, check_finite, read_only


def predict(net, X, n_threads=None):
    """Outputs of `net` for the rows of X: see `MLP.predict`."""
    if n_threads is not None:
        check_count("n_threads", n_threads)
    theta = net.theta
    n_in = net.layer_sizes[0]
    ready = type(X) is np.ndarray and X.dtype == theta.dtype and X.flags.c_contiguous
    if not ready or X.ndim != 2 or X.shape[1] != n_in or not X.size:
        X = as_matrix("X", X, theta.dtype, n_in)
    n_rows = len(X)
    n_parts = choose_parts(2 * n_rows * theta.size, n_threads, REGION_SECONDS)
    n_parts = min(n_parts, n_rows)
    result = np.empty((n_rows, net.layer_sizes[-1]), theta.dtype)
    all_finite = run(
        predict_kernel,
        n_parts,
        predict_part_address(theta.dtype),
        theta,
        read_only(X),
        net._layout,
        net._activation_parameters,
        result,
        n_parts,
    )
    if not all_finite:
        check_finite("theta", theta)
        check_finite("X", X)
    return result
