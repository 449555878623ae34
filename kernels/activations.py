"""Activations over contiguous vectors: forward in place, backward from the outputs.

Most derivatives follow from the output alone. Those of gelu, silu and mish do not; their forward
pass keeps the derivative for the backward pass.

A kernel takes an activation as a tuple (code, forward_at, backward_at, parameter): `codes`' number,
the two `rare_addresses`, and the slope of leaky_relu in the arrays' dtype, which others ignore.
The rare ones are workers, called by address: a network without them need not compile them.
"""

import functools

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, loop, worker
from fastmlp.kernels.elementwise import (
    exp,
    expm1,
    mish,
    mish_slope,
    normal_cdf,
    normal_pdf,
    sigmoid,
    softplus,
    tanh,
)
from fastmlp.kernels.reductions import inner, maximum, total
from fastmlp.kernels.view import matrix, vector

# Klambauer et al. (2017), Self-normalizing neural networks, section 2.
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717

# Activations that are compiled with the passes.
COMMON = (codes.IDENTITY, codes.RELU, codes.LEAKY_RELU, codes.TANH)

# Activations whose derivative the forward pass keeps for the backward pass.
KEPT_SLOPES = (codes.GELU, codes.SILU, codes.MISH)


@loop
def activation_forward(z, activation):
    """Overwrite the pre-activations `z` by the activation of them; softmax: see `softmax_rows`."""
    code, forward_at, _, parameter = activation
    zero = z.dtype.type(0.0)
    if code == codes.RELU:
        # The comparison keeps NaN: a fit must notice a broken network.
        for i in range(z.size):
            z[i] = zero if z[i] <= zero else z[i]
    elif code == codes.LEAKY_RELU:
        for i in range(z.size):
            z[i] = z[i] * parameter if z[i] <= zero else z[i]
    elif code == codes.TANH:
        for i in range(z.size):
            z[i] = tanh(z[i])
    elif code != codes.IDENTITY:
        call_worker(forward_at, code, z, z, 0, 1)


@loop
def activation_forward_saving(z, activation, slope):
    """Do `activation_forward`, and overwrite `slope` by the derivatives of `KEPT_SLOPES`.

    `z` and `slope` are vectors of one length; other activations leave `slope` alone.
    """
    code, forward_at, _, _ = activation
    if code == codes.GELU or code == codes.SILU or code == codes.MISH:
        call_worker(forward_at, code, z, slope, 1, 1)
    else:
        activation_forward(z, activation)


@loop
def activation_backward(delta, output, slope, activation):
    """Multiply `delta` by the derivative of the activation, in place.

    On entry `delta` is the gradient with respect to the activation's `output`. `slope` holds the
    derivative for `KEPT_SLOPES` (`activation_forward_saving`), others do not read it. All are
    vectors of one length.
    """
    code, _, backward_at, parameter = activation
    one = output.dtype.type(1.0)
    zero = output.dtype.type(0.0)
    if code == codes.RELU:
        for i in range(delta.size):
            delta[i] = zero if output[i] <= zero else delta[i]
    elif code == codes.LEAKY_RELU:
        for i in range(delta.size):
            delta[i] = delta[i] * parameter if output[i] <= zero else delta[i]
    elif code == codes.TANH:
        for i in range(delta.size):
            delta[i] *= one - output[i] * output[i]
    elif code != codes.IDENTITY:
        call_worker(backward_at, code, delta, output, slope, 1)


@loop
def rare_forward(code, z):
    """Do `activation_forward` for the activations that are not `COMMON`."""
    one = z.dtype.type(1.0)
    zero = z.dtype.type(0.0)
    if code == codes.SIGMOID:
        for i in range(z.size):
            z[i] = sigmoid(z[i])
    elif code == codes.ELU or code == codes.SELU:
        scale = one
        alpha = one
        if code == codes.SELU:
            scale = z.dtype.type(SELU_SCALE)
            alpha = z.dtype.type(SELU_SCALE * SELU_ALPHA)
        for i in range(z.size):
            x = z[i]
            negative = alpha * expm1(x)
            z[i] = negative if x <= zero else scale * x
    elif code == codes.GELU:
        for i in range(z.size):
            z[i] = z[i] * normal_cdf(z[i])
    elif code == codes.SILU:
        for i in range(z.size):
            z[i] = z[i] * sigmoid(z[i])
    elif code == codes.MISH:
        for i in range(z.size):
            z[i] = mish(z[i])
    elif code == codes.SOFTPLUS:
        for i in range(z.size):
            z[i] = softplus(z[i])
    elif code == codes.EXPONENTIAL:
        for i in range(z.size):
            z[i] = exp(z[i])


@loop
def rare_forward_saving(code, z, slope):
    """Do `activation_forward_saving` for `KEPT_SLOPES`."""
    one = z.dtype.type(1.0)
    if code == codes.GELU:
        for i in range(z.size):
            x = z[i]
            cdf = normal_cdf(x)
            slope[i] = cdf + x * normal_pdf(x)
            z[i] = x * cdf
    elif code == codes.SILU:
        for i in range(z.size):
            x = z[i]
            s = sigmoid(x)
            slope[i] = s * (one + x * (one - s))
            z[i] = x * s
    elif code == codes.MISH:
        for i in range(z.size):
            x = z[i]
            slope[i] = mish_slope(x)
            z[i] = mish(x)


@loop
def rare_backward(code, delta, output, slope):
    """Do `activation_backward` for the activations that are not `COMMON`."""
    one = output.dtype.type(1.0)
    zero = output.dtype.type(0.0)
    if code == codes.SIGMOID:
        for i in range(delta.size):
            delta[i] *= output[i] * (one - output[i])
    elif code == codes.ELU or code == codes.SELU:
        scale = one
        alpha = one
        if code == codes.SELU:
            scale = output.dtype.type(SELU_SCALE)
            alpha = output.dtype.type(SELU_SCALE * SELU_ALPHA)
        for i in range(delta.size):
            delta[i] *= output[i] + alpha if output[i] <= zero else scale
    elif code == codes.GELU or code == codes.SILU or code == codes.MISH:
        for i in range(delta.size):
            delta[i] *= slope[i]
    elif code == codes.SOFTPLUS:
        for i in range(delta.size):
            delta[i] *= -expm1(-output[i])
    elif code == codes.EXPONENTIAL:
        for i in range(delta.size):
            delta[i] *= output[i]


@loop
def softmax_rows(z, i0, rows):
    """Overwrite rows ``i0 : i0+rows`` of the matrix `z` by their softmax."""
    n = z.shape[1]
    for i in range(i0, i0 + rows):
        row = vector(z, i * n, n)
        top = maximum(row)
        for j in range(n):
            row[j] = exp(row[j] - top)
        sum_of_all = total(row)
        for j in range(n):
            row[j] /= sum_of_all


@loop
def softmax_backward_rows(delta, output):
    """Multiply the rows of `delta` by the softmax Jacobians of those of `output`, in place.

    delta_j = p_j (g_j - sum_k p_k g_k), with g the gradient on entry and p the output.
    """
    rows, n = output.shape
    for i in range(rows):
        p, g = vector(output, i * n, n), vector(delta, i * n, n)
        mean = inner(p, g)
        for j in range(n):
            g[j] = p[j] * (g[j] - mean)


# What passes call by address: with softmax only for networks that have it. `columns` are those of a
# row, for softmax.


@worker
def rare_forward_part(code, z, slope, saving, columns):
    """Do `rare_forward_saving` if `saving`, else `rare_forward`."""
    if saving:
        rare_forward_saving(code, z, slope)
    else:
        rare_forward(code, z)


@worker
def rare_backward_part(code, delta, output, slope, columns):
    """Do `rare_backward`."""
    rare_backward(code, delta, output, slope)


@worker
def softmax_forward_part(code, z, slope, saving, columns):
    """Do `rare_forward_part`, also for softmax."""
    if code == codes.SOFTMAX:
        rows = z.size // columns
        softmax_rows(matrix(z, 0, rows, columns), 0, rows)
    elif saving:
        rare_forward_saving(code, z, slope)
    else:
        rare_forward(code, z)


@worker
def softmax_backward_part(code, delta, output, slope, columns):
    """Do `rare_backward_part`, also for softmax."""
    if code == codes.SOFTMAX:
        rows = delta.size // columns
        softmax_backward_rows(matrix(delta, 0, rows, columns), matrix(output, 0, rows, columns))
    else:
        rare_backward(code, delta, output, slope)


@functools.cache
def rare_addresses(activations, dtype):
    """Addresses of the rare activations, forward and back, compiled or loaded on first use.

    They are 0 unless one of a network's `activations`, a tuple of codes, is not `COMMON`.
    """
    if set(activations) <= set(COMMON):
        return 0, 0
    has_softmax = codes.SOFTMAX in activations
    forward = softmax_forward_part if has_softmax else rare_forward_part
    backward = softmax_backward_part if has_softmax else rare_backward_part
    index, vector = types.int64, types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    return (
        forward.address(index, vector, vector, index, index),
        backward.address(index, vector, vector, vector, index),
    )
