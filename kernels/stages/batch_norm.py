"""The steps of batch norm: (z - m) / sqrt(v + epsilon) * gamma + beta for each unit.

In training m and v are the mean and the biased variance of the mini-batch (Ioffe, Szegedy, "Batch
normalization", 2015), else running ones, which are constants. All rows of a mini-batch have to be
seen before the first can be normed, and their deltas before the first can go on back. So there are
two steps with a cut between, see `program`. Forward, `batch_statistics` measures its block, and
`batch_norm` combines what all blocks measured. Back, `batch_norm` sums over its block, and
`batch_statistics` combines the sums. A block's numbers lie in memory that both steps have in
common, and each block combines those of all, in their order: so bits do not depend on who does
what.
"""

import numpy as np

from fastmlp.kernels._jit import inline, loop, worker
from fastmlp.kernels.dense import part_bounds
from fastmlp.kernels.gather import copy_values
from fastmlp.kernels.stages.layer_norm import EPSILON
from fastmlp.kernels.stages.place import gradient, inputs, output_deltas, outputs
from fastmlp.kernels.vectors import add_scaled, fill
from fastmlp.kernels.view import vector

# Share of a mini-batch in the running statistics, as torch has by default.
MOMENTUM = 0.1

# What is kept of a block, one number for each column.
MEAN = 0
DEVIATIONS = 1  # sum of squared deviations from the mean
WHOLE_MEAN = 2  # of all blocks, or of before
WHOLE_INVERSE = 3  # 1 / sqrt(v + epsilon)
DELTA_SUM = 4
PRODUCT_SUM = 5  # of deltas times normed inputs
WHOLE_DELTA = 6  # means over all blocks, or zeros
WHOLE_PRODUCT = 7
N_KEPT = 8


@inline
def _kept_of(step, block, work, number, which):
    """View of what is kept of the block `number`."""
    n = step.n_in
    return vector(work, step.kept + (number * N_KEPT + which) * n, n)


@loop
def column_moments(Z, mean, deviations):
    """Overwrite `mean` and `deviations` by columns' means and sums of squared deviations."""
    rows, n = Z.shape
    size = Z.dtype.type(rows)
    for j in range(n):
        mean[j] = 0.0
        deviations[j] = 0.0
    for r in range(rows):
        z = vector(Z, r * n, n)
        for j in range(n):
            mean[j] += z[j]
    for j in range(n):
        mean[j] /= size
    for r in range(rows):
        z = vector(Z, r * n, n)
        for j in range(n):
            deviations[j] += (z[j] - mean[j]) * (z[j] - mean[j])


@loop
def add_moments(count, mean, deviations, other_count, other_mean, other_deviations):
    """Make the moments of `count` rows, see `column_moments`, those of as many others too.

    By the formula of Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    computing sample variances", 1979.
    """
    share = mean.dtype.type(other_count / (count + other_count))
    weight = mean.dtype.type(count * (other_count / (count + other_count)))
    for j in range(mean.size):
        difference = other_mean[j] - mean[j]
        deviations[j] += other_deviations[j] + difference * (difference * weight)
    for j in range(mean.size):
        mean[j] += (other_mean[j] - mean[j]) * share


@loop
def update_running(count, mean, deviations, running_mean, running_variance):
    """Move running statistics towards those of `count` rows, the variance the unbiased one."""
    new = mean.dtype.type(MOMENTUM)
    old = mean.dtype.type(1.0 - MOMENTUM)
    others = mean.dtype.type(count - 1)
    for j in range(mean.size):
        running_mean[j] = old * running_mean[j] + new * mean[j]
    for j in range(mean.size):
        running_variance[j] = old * running_variance[j] + new * (deviations[j] / others)


@loop
def inverse_deviations(sums, count, result):
    """Overwrite `result` by 1 / sqrt(v + epsilon) of the variances ``sums / count``."""
    one, size = sums.dtype.type(1.0), sums.dtype.type(count)
    epsilon = sums.dtype.type(EPSILON)
    for j in range(sums.size):
        result[j] = one / np.sqrt(sums[j] / size + epsilon)


@loop
def normalize_columns(Z, mean, inverse, gamma, beta, result):
    """Overwrite Z by (Z - mean) * inverse, and `result` by that times gamma plus beta."""
    rows, n = Z.shape
    for r in range(rows):
        z, y = vector(Z, r * n, n), vector(result, r * n, n)
        for j in range(n):
            z[j] = (z[j] - mean[j]) * inverse[j]
        for j in range(n):
            y[j] = z[j] * gamma[j] + beta[j]


@loop
def delta_sums(delta, hats, sums, products):
    """Overwrite `sums` and `products` by the sums of the columns of `delta` and `delta * hats`."""
    rows, n = delta.shape
    for j in range(n):
        sums[j] = 0.0
        products[j] = 0.0
    for r in range(rows):
        d, hat = vector(delta, r * n, n), vector(hats, r * n, n)
        for j in range(n):
            sums[j] += d[j]
        for j in range(n):
            products[j] += d[j] * hat[j]


@loop
def normalize_columns_back(delta, hats, inverse, gamma, mean, slope):
    """Overwrite `delta` by (delta - mean - hats * slope) * gamma * inverse."""
    rows, n = delta.shape
    for r in range(rows):
        d, hat = vector(delta, r * n, n), vector(hats, r * n, n)
        for j in range(n):
            d[j] = (d[j] - mean[j] - hat[j] * slope[j]) * (gamma[j] * inverse[j])


@inline
def _whole_moments(step, block, work):
    """Overwrite the block's whole mean, and a sum of squared deviations, by those of all blocks.

    The sum is where the inverse will be. Blocks are those of `program.take_blocks`.
    """
    mean = _kept_of(step, block, work, block.number, WHOLE_MEAN)
    deviations = _kept_of(step, block, work, block.number, WHOLE_INVERSE)
    fill(mean, 0.0)
    fill(deviations, 0.0)
    count = 0.0
    for group in range(block.n_groups):
        r0, r1 = part_bounds(block.chunk_rows, group, block.n_groups)
        number = group * block.n_blocks
        for b0 in range(r0, r1, block.block_rows):
            rows = float(min(block.block_rows, r1 - b0) * step.factor)
            own_mean = _kept_of(step, block, work, number, MEAN)
            own_deviations = _kept_of(step, block, work, number, DEVIATIONS)
            add_moments(count, mean, deviations, rows, own_mean, own_deviations)
            count += rows
            number += 1


@inline
def _whole_sums(step, block, work):
    """Overwrite the block's whole means of the deltas and products by those of all blocks."""
    delta = _kept_of(step, block, work, block.number, WHOLE_DELTA)
    product = _kept_of(step, block, work, block.number, WHOLE_PRODUCT)
    fill(delta, 0.0)
    fill(product, 0.0)
    if not block.training:
        return  # running statistics do not depend on these rows
    share = work.dtype.type(1.0 / (block.chunk_rows * step.factor))
    for group in range(block.n_groups):
        r0, r1 = part_bounds(block.chunk_rows, group, block.n_groups)
        number = group * block.n_blocks
        for _ in range(r0, r1, block.block_rows):
            add_scaled(delta, share, _kept_of(step, block, work, number, DELTA_SUM))
            add_scaled(product, share, _kept_of(step, block, work, number, PRODUCT_SUM))
            number += 1


@worker
def batch_statistics(step, block, work, theta, is_back):
    """Measure the columns of a block, or finish the deltas that `batch_norm` has begun with."""
    Z, number = inputs(step, block, work), block.number
    if not is_back:
        if block.training:
            mean = _kept_of(step, block, work, number, MEAN)
            column_moments(Z, mean, _kept_of(step, block, work, number, DEVIATIONS))
        return
    _whole_sums(step, block, work)
    normalize_columns_back(
        output_deltas(step, block, work),
        Z,
        _kept_of(step, block, work, number, WHOLE_INVERSE),
        vector(theta, step.weights, step.n_in),
        _kept_of(step, block, work, number, WHOLE_DELTA),
        _kept_of(step, block, work, number, WHOLE_PRODUCT),
    )


@worker
def batch_norm(step, block, work, theta, is_back):
    """Norm the columns of a block, or add the gradients of gamma and beta, and leave the deltas.

    The input's values are overwritten, see `normalize_columns`. In training the block that is the
    first moves the running statistics, which nobody reads then.
    """
    Z, n, number = inputs(step, block, work), step.n_in, block.number
    if is_back:
        sums = _kept_of(step, block, work, number, DELTA_SUM)
        products = _kept_of(step, block, work, number, PRODUCT_SUM)
        delta_sums(output_deltas(step, block, work), Z, sums, products)
        one = work.dtype.type(1.0)
        add_scaled(gradient(block, work, step.weights, n), one, products)
        add_scaled(gradient(block, work, step.bias, n), one, sums)
        return
    mean = _kept_of(step, block, work, number, WHOLE_MEAN)
    inverse = _kept_of(step, block, work, number, WHOLE_INVERSE)
    running_mean = vector(work, step.statistics, n)
    running_variance = vector(work, step.statistics + n, n)
    if block.training:
        count = float(block.chunk_rows * step.factor)
        _whole_moments(step, block, work)
        if number == 0:
            update_running(count, mean, inverse, running_mean, running_variance)
        inverse_deviations(inverse, count, inverse)
    else:
        copy_values(running_mean, mean)
        inverse_deviations(running_variance, 1.0, inverse)
    gamma, beta = vector(theta, step.weights, n), vector(theta, step.bias, n)
    normalize_columns(Z, mean, inverse, gamma, beta, outputs(step, block, work))
