"""The step of layer norm: (z - m) / sqrt(v + epsilon) * gamma + beta over the units of a row.

m and v are the mean and the biased variance of a row's units (Ba, Kiros, Hinton, "Layer
normalization", 2016).
"""

import numpy as np

from fastmlp.kernels._jit import loop, worker
from fastmlp.kernels.moments import delta_moments, row_moments
from fastmlp.kernels.stages.place import (
    flat,
    gradient,
    inputs,
    output_deltas,
    outputs,
    saved,
)
from fastmlp.kernels.view import vector

# Added to variances, as torch does by default.
EPSILON = 1e-5


@loop
def normalize_rows(Z, gamma, beta, inverses, result):
    """Overwrite `result` by the layer norm of the rows of Z.

    Overwrites Z by (z - m) / sqrt(v + epsilon), and `inverses`, one for each row, by
    1 / sqrt(v + epsilon): the way back needs both.
    """
    rows, n = Z.shape
    one, size, epsilon = Z.dtype.type(1.0), Z.dtype.type(n), Z.dtype.type(EPSILON)
    for r in range(rows):
        z, y = vector(Z, r * n, n), vector(result, r * n, n)
        shifted, squares = row_moments(z)
        shifted /= size
        mean = z[0] + shifted
        variance = max(squares / size - shifted * shifted, Z.dtype.type(0.0))
        inverse = one / np.sqrt(variance + epsilon)
        inverses[r] = inverse
        for j in range(n):
            hat = (z[j] - mean) * inverse
            z[j] = hat
            y[j] = hat * gamma[j] + beta[j]


@loop
def normalize_rows_back(delta, hats, gamma, inverses, gamma_gradient, beta_gradient):
    """Overwrite `delta`, of the norm's result, by that of what went in.

    Reads what `normalize_rows` left in Z, here `hats`, and `inverses`. Adds to the gradients of
    gamma and beta. With g = delta * gamma, a row becomes
    (g - mean(g) - hats * mean(g * hats)) * inverse.
    """
    rows, n = delta.shape
    size = delta.dtype.type(n)
    for r in range(rows):
        d, hat = vector(delta, r * n, n), vector(hats, r * n, n)
        # Apart, so that few pairs of arrays have to be told apart before a loop may run as vectors.
        for j in range(n):
            gamma_gradient[j] += d[j] * hat[j]
            beta_gradient[j] += d[j]
        mean, slope = delta_moments(d, gamma, hat)
        mean, slope, inverse = mean / size, slope / size, inverses[r]
        for j in range(n):
            d[j] = (d[j] * gamma[j] - mean - hat[j] * slope) * inverse


@worker
def layer_norm(step, block, work, theta, is_back):
    """Norm the rows, or overwrite the deltas in place and add the gradients of gamma and beta.

    The input's values are overwritten, see `normalize_rows`.
    """
    n = step.n_out
    Z, inverses = inputs(step, block, work), flat(saved(step, block, work, 1))
    gamma = vector(theta, step.weights, n)
    if not is_back:
        normalize_rows(Z, gamma, vector(theta, step.bias, n), inverses, outputs(step, block, work))
        return
    normalize_rows_back(
        output_deltas(step, block, work),
        Z,
        gamma,
        inverses,
        gradient(block, work, step.weights, n),
        gradient(block, work, step.bias, n),
    )
