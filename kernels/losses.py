"""Losses of a block of samples, with their gradients with respect to what the network puts out.

Every function reads `output` and `target` (matrices of equal rows), overwrites `gradient` by
d loss_i / d output_ij and `terms` by addends whose row sums are the samples' losses. The fused
losses take logits, where softmax or sigmoid and logarithm cancel, and never overflow.
"""

import functools

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, inline, loop, worker
from fastmlp.kernels.elementwise import exp, log, sigmoid, softplus
from fastmlp.kernels.reductions import inner, maximum, total
from fastmlp.kernels.simd import LONG_SUM, inner_product
from fastmlp.kernels.view import matrix, vector

# Losses that are compiled with the passes; the rest are workers, called by address.
COMMON = (codes.SQUARED_ERROR, codes.FUSED_CROSS_ENTROPY_INDICES, codes.FUSED_CROSS_ENTROPY)


@loop
def squared_error(output, target, gradient, terms):
    """Half the squared error of each output; all arguments are vectors."""
    half = output.dtype.type(0.5)
    for i in range(output.size):
        error = output[i] - target[i]
        gradient[i] = error
        terms[i] = half * error * error


@loop
def squared_errors_of_long_rows(output, target, gradient, losses):
    """Do `squared_error` for rows of so many outputs that their sums are `inner_product`.

    All arguments but the vector `losses`, which is overwritten, are matrices.
    """
    rows, n_out = output.shape
    half = output.dtype.type(0.5)
    for i in range(rows):
        y, t = vector(output, i * n_out, n_out), vector(target, i * n_out, n_out)
        g = vector(gradient, i * n_out, n_out)
        for j in range(n_out):
            g[j] = y[j] - t[j]
        losses[i] = half * inner_product(g, 0, g, 0, n_out)


@loop
def loss_elementwise(code, parameters, output, target, gradient, terms):
    """Other losses that are a sum over the outputs; all arguments but the code are vectors.

    `parameters` are delta of huber, or q of quantile: one for all outputs, or one for each output
    of a row. Where a loss has a kink, the gradient is the one of its flat side, or 0.
    """
    one = output.dtype.type(1.0)
    half = output.dtype.type(0.5)
    zero = output.dtype.type(0.0)
    if code == codes.ABSOLUTE_ERROR:
        for i in range(output.size):
            error = output[i] - target[i]
            gradient[i] = one if error > zero else (-one if error < zero else error)
            terms[i] = abs(error)
    elif code == codes.HUBER:
        delta = parameters[0]
        for i in range(output.size):
            error = output[i] - target[i]
            clipped = min(max(error, -delta), delta)
            gradient[i] = clipped
            terms[i] = clipped * (error - half * clipped)
    elif code == codes.LOGISTIC:
        for i in range(output.size):
            margin = target[i] * output[i]
            gradient[i] = -target[i] * sigmoid(-margin)
            terms[i] = softplus(-margin)
    elif code == codes.HINGE:
        for i in range(output.size):
            slack = one - target[i] * output[i]
            gradient[i] = zero if slack <= zero else -target[i]
            terms[i] = zero if slack <= zero else slack
    elif code == codes.POISSON:
        for i in range(output.size):
            # A count of 0 adds nothing, however small the rate, be it 0 by underflow.
            rate = output[i] if target[i] != zero else one
            gradient[i] = one - target[i] / rate
            terms[i] = output[i] - target[i] * np.log(rate)
    elif code == codes.QUANTILE:
        n_levels = parameters.size
        for j in range(n_levels):
            q = parameters[j]
            for i in range(j, output.size, n_levels):
                error = target[i] - output[i]
                slope = q if error > zero else (q - one if error < zero else zero)
                gradient[i] = -slope
                terms[i] = slope * error
    elif code == codes.FUSED_BINARY_CROSS_ENTROPY:
        for i in range(output.size):
            gradient[i] = sigmoid(output[i]) - target[i]
            terms[i] = softplus(output[i]) - target[i] * output[i]


@loop
def loss_cross_entropy(logits, target, by_index, gradient, totals, losses):
    """Cross-entropy of the softmax of the rows of `logits`.

    `target` holds a class index in its one column if `by_index`, else probabilities. Overwrites
    `gradient`, a matrix like `logits`, by p - t, and the vector `losses`; the logarithm of
    the sum of exponentials is taken from the largest logit up. May destroy `totals`, a vector of as
    many elements as there are rows, or more.
    """
    rows = target.shape[0]
    n_classes = logits.shape[1]
    for i in range(rows):
        z, g = vector(logits, i * n_classes, n_classes), vector(gradient, i * n_classes, n_classes)
        top = maximum(z)
        for j in range(n_classes):
            g[j] = z[j] - top
        if by_index:
            losses[i] = g[int(target[i, 0])]
        else:
            losses[i] = inner(vector(target, i * n_classes, n_classes), g)
    flat = vector(gradient, 0, rows * n_classes)
    for i in range(flat.size):
        flat[i] = exp(flat[i])
    for i in range(rows):
        totals[i] = total(vector(gradient, i * n_classes, n_classes))
        mass = logits.dtype.type(1.0)
        if not by_index:
            mass = total(vector(target, i * n_classes, n_classes))
            losses[i] = mass * log(totals[i]) - losses[i]
        scale = mass / totals[i]
        for j in range(n_classes):
            gradient[i, j] *= scale
        if by_index:
            gradient[i, int(target[i, 0])] -= logits.dtype.type(1.0)
        else:
            for j in range(n_classes):
                gradient[i, j] -= target[i, j]
    if by_index:
        for i in range(rows):
            losses[i] = log(totals[i]) - losses[i]


@loop
def smooth_cross_entropy(smoothing, logits, target, by_index, gradient, shifted, losses):
    """Turn what `loss_cross_entropy` has left into what it is with label smoothing.

    The target t of a sample becomes (1 - smoothing) t + smoothing / n_classes, times the sum of t,
    which is 1 for probabilities. Accumulates into `gradient` and the vector `losses` the difference
    that this makes: no logarithm of a probability is needed for it, as the one of the sum of
    exponentials cancels. All but `losses` are flat; `shifted` is as large as `logits` or larger,
    and may be destroyed.
    """
    rows = losses.size
    n_classes = logits.size // rows
    share = smoothing / logits.dtype.type(n_classes)
    for i in range(rows):
        start = i * n_classes
        z, g = vector(logits, start, n_classes), vector(gradient, start, n_classes)
        s = vector(shifted, start, n_classes)
        top = maximum(z)
        for j in range(n_classes):
            s[j] = z[j] - top
        if by_index:
            k = int(target[i])
            losses[i] += smoothing * s[k] - share * total(s)
            for j in range(n_classes):
                g[j] -= share
            g[k] += smoothing
        else:
            t = vector(target, start, n_classes)
            of_each = share * total(t)
            losses[i] += smoothing * inner(t, s) - of_each * total(s)
            for j in range(n_classes):
                g[j] += smoothing * t[j] - of_each


@loop
def row_sums(terms, sums):
    """Overwrite `sums` by the sums of the rows of the matrix `terms`."""
    rows, n = terms.shape
    for i in range(rows):
        sums[i] = total(vector(terms, i * n, n))


@inline
def block_losses(code, rare_at, parameters, output, target, gradient, terms, losses):
    """Overwrite `losses` by the samples' losses, and `gradient` by the loss's gradient.

    `output`, `target` and `gradient` are matrices. May destroy `terms`, a vector of output's size.
    `parameters` are those of `loss_elementwise`, or the label smoothing of cross-entropy; `rare_at`
    is the `rare_address` of these and `code`, or the address of a `custom_loss`.
    """
    rows, n_out = output.shape
    if code == codes.FUSED_CROSS_ENTROPY_INDICES or code == codes.FUSED_CROSS_ENTROPY:
        by_index = code == codes.FUSED_CROSS_ENTROPY_INDICES
        loss_cross_entropy(output, target, by_index, gradient, terms, losses)
        if parameters[0] > 0.0:
            z, t = vector(output, 0, output.size), vector(target, 0, target.size)
            g = vector(gradient, 0, output.size)
            call_worker(rare_at, parameters[0], z, t, by_index, g, terms, losses)
        return
    if code == codes.SQUARED_ERROR and n_out >= LONG_SUM:
        squared_errors_of_long_rows(output, target, gradient, losses)
        return
    size = rows * n_out
    y, t, g = vector(output, 0, size), vector(target, 0, target.size), vector(gradient, 0, size)
    addends = terms if n_out > 1 else losses
    if code == codes.SQUARED_ERROR:
        squared_error(y, t, g, addends)
    else:
        call_worker(rare_at, code, parameters, y, t, g, addends)
    if n_out > 1:
        row_sums(matrix(terms, 0, rows, n_out), losses)


@worker
def rare_loss(code, parameters, output, target, gradient, terms):
    """Do `loss_elementwise`: a worker, so that fits with other losses need not compile it."""
    loss_elementwise(code, parameters, output, target, gradient, terms)


@worker
def smoothing_part(smoothing, logits, target, by_index, gradient, shifted, losses):
    """Do `smooth_cross_entropy`: a worker, so that fits without it need not compile it."""
    smooth_cross_entropy(smoothing, logits, target, by_index, gradient, shifted, losses)


@functools.cache
def rare_address(code, parameters, dtype):
    """Address of what the loss `code` has that not all fits have, compiled or loaded on first use.

    That is the loss, or the label smoothing of cross-entropy; 0 if it is neither.
    """
    number = from_dtype(np.dtype(dtype))
    column = types.Array(number, 1, "C")
    if code in COMMON:
        if code == codes.SQUARED_ERROR or parameters[0] == 0:
            return 0
        return smoothing_part.address(number, column, column, types.boolean, *[column] * 3)
    return rare_loss.address(types.int64, *[column] * 5)
