"""The loop over mini-batches for little work, which one thread does in microseconds.

There a step of `epoch.sweep_part` takes longer to find out what to do than to do it. Here nothing
is shared out: a mini-batch goes through all layers at once, a single row without being copied,
most products are a few tiles, and the gradient of all layers is one vector that a single call
applies. `small_part` takes the arguments of `sweep_part`, gives the same bits, and is sooner
compiled; so it also evaluates the loss of any number of rows for fits that need no `sweep_part`.
"""

import functools

import numpy as np
from numba import types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline, worker
from fastmlp.kernels.activations import activation_backward
from fastmlp.kernels.blocks import block, some_columns, some_rows, transpose, whole
from fastmlp.kernels.dense import activate_block
from fastmlp.kernels.epoch import (
    argument_types,
    euclidean_norm,
    scale,
    sweep_part,
)
from fastmlp.kernels.gather import rows_of
from fastmlp.kernels.gemm import multiply, tile_rows
from fastmlp.kernels.losses import block_losses
from fastmlp.kernels.network import (
    add_penalties,
    apply_update,
    output_backward,
    scale_rows,
    weigh_losses,
)
from fastmlp.kernels.records import CHUNK, CURSOR, LAYER, PLAN
from fastmlp.kernels.reductions import interleaved_sum
from fastmlp.kernels.simd import FROM_ROW, FROM_ZERO, TALL, column_sums, panel_width, sums_width
from fastmlp.kernels.updates import kinds_coefficients
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import (
    constants_of,
    kind_row,
    layer_activation,
    layer_rows,
    layer_weights,
    only,
    part_scratch,
    table,
    total_and_hyper,
)

# Rows of a mini-batch up to which tiles are called as they come. With more, it pays to look for a
# better shape, as `multiply` does.
FEW_ROWS = TALL

# The most weights of a layer through which the delta of a single row goes back as a column.
COLUMN_WEIGHTS = 256


@worker
def small_part(
    part,
    as_team,
    mode,
    stop,
    order,
    state,
    rates,
    clip_norm,
    tables,
    work,
    theta,
    X,
    Y,
    weights,
    result,
):
    """Do `epoch.sweep_part` alone, where the plan has no slices.

    But by ``EVALUATE``, mini-batches are one chunk and one block each, there are no groups, and
    the place of a task's gradient has room for that of all layers.
    """
    X = vector(X, 0, X.size)
    cursor, chunks = only(tables, codes.CURSOR, CURSOR), table(tables, codes.CHUNKS, CHUNK)
    plan, layout = only(tables, codes.PLAN, PLAN), table(tables, codes.LAYOUT, LAYER)
    constants = constants_of(work, plan, layout)
    total, hyper = total_and_hyper(tables)
    c = cursor.chunk
    batch = cursor.mini_batch
    t = cursor.updates
    top = layout.size - 1
    ordered = plan.gather == 1
    block = min(plan.block_rows, plan.loss_rows)
    one = theta.dtype.type(1.0)
    scratch = part_scratch(work, plan, 0, 0, plan.loss_terms)
    sample_loss = vector(work, plan.sample_loss, work.size - plan.sample_loss)
    n_kinds = plan.n_kinds
    coefficients = part_scratch(work, plan, 0, plan.coefficients, n_kinds * codes.N_COEFFICIENTS)
    gradient = vector(result, 0, result.size)
    if mode == codes.UPDATE:
        gradient = part_scratch(work, plan, 0, plan.task, theta.size)
    outcome = codes.FINISHED
    while c < stop:
        start = chunks[c].start
        rows = chunks[c].stop - start
        b0 = 0
        while b0 < rows:
            n = min(rows - b0, block)
            x = _evaluate(
                theta,
                X,
                Y,
                weights,
                order,
                layout,
                plan,
                constants,
                work,
                start + b0,
                n,
                vector(sample_loss, b0, n),
                mode != codes.EVALUATE,
                scratch,
            )
            b0 += n
        loss = interleaved_sum(vector(sample_loss, 0, rows))
        if not np.isfinite(loss):
            outcome = codes.LOSS_NOT_FINITE
            break
        if mode != codes.EVALUATE:
            if rows > 1 or weights.size:
                delta = layer_rows(work, plan.delta, plan, layout, top, 0, rows)
                scale_rows(delta, one / theta.dtype.type(rows), weights, order, ordered, start)
            _differentiate(theta, x, layout, plan, constants, work, gradient, scratch)
        if mode == codes.UPDATE_CLIPPED:
            norm = euclidean_norm(gradient)
            if not np.isfinite(norm):
                outcome = codes.LOSS_NOT_FINITE
                break
            scale(gradient, clip_norm / norm if norm > clip_norm else 1.0)
        if mode >= codes.UPDATE:
            rate, decay = rates[batch, codes.RATE], rates[batch, codes.DECAY]
            kinds_coefficients(plan.optimizer, hyper, n_kinds, rate, decay, t + 1, coefficients)
            if plan.decays or n_kinds > 1:
                for layer in range(top + 1):
                    W, b = layer_weights(theta, 0, layout, layer)
                    first = layout[layer].w_offset
                    g = vector(gradient, first, W.size)
                    of_weights = kind_row(coefficients, layout[layer].weight_kind)
                    apply_update(theta, state, g, first, plan, of_weights, 1)
                    first += W.size
                    g = vector(gradient, first, b.size)
                    of_bias = kind_row(coefficients, layout[layer].bias_kind)
                    apply_update(theta, state, g, first, plan, of_bias, 0)
            else:
                apply_update(theta, state, gradient, 0, plan, coefficients, 0)
            batch += 1
            t += 1
        total[0] += loss
        c += 1
    cursor.chunk = c
    cursor.mini_batch = batch
    cursor.updates = t
    cursor.outcome = outcome


@inline
def _evaluate(
    theta, X, Y, weights, order, layout, plan, constants, work, start, rows, losses, saving, scratch
):
    """Overwrite the weighted `losses` of a block of rows and its last deltas; return its rows of X.

    The deltas are unscaled, and if `saving` those of the pre-activations.
    """
    top = layout.size - 1
    loss = plan.loss
    fused = loss >= codes.FUSED_BINARY_CROSS_ENTROPY
    ordered = plan.gather == 1
    copied = matrix(work, plan.input, rows, layout[0].n_in)
    x = rows_of(X, order, ordered, start, copied)
    copied = matrix(work, plan.scratch + plan.target, rows, plan.n_target)
    y = rows_of(Y, order, ordered, start, copied)
    below = x
    for layer in range(top + 1):
        W, b = layer_weights(theta, 0, layout, layer)
        output = layer_rows(work, plan.output, plan, layout, layer, 0, rows)
        _forward(below, W, b, output, scratch)
        if not (fused and layer == top):
            slope = layer_rows(work, plan.slope, plan, layout, layer, 0, rows)
            activation = layer_activation(layout, plan, constants, layer)
            activate_block(activation, whole(output), slope, saving)
        below = output
    delta = layer_rows(work, plan.delta, plan, layout, top, 0, rows)
    terms = part_scratch(work, plan, 0, plan.loss_terms, delta.size)
    parameter, rare_at = constants[codes.LOSS_PARAMETER], plan.rare_loss_at
    block_losses(loss, rare_at, parameter, below, y, delta, terms, losses)
    if weights.size:
        weigh_losses(losses, weights, order, ordered, start)
    if saving and not fused:
        slope = layer_rows(work, plan.slope, plan, layout, top, 0, rows)
        output_backward(delta, below, slope, layer_activation(layout, plan, constants, top))
    return x


@inline
def _differentiate(theta, x, layout, plan, constants, work, gradient, scratch):
    """Overwrite `gradient`, given what `_evaluate` has left and the last layer's scaled deltas."""
    rows = x.shape[0]
    top = layout.size - 1
    delta = layer_rows(work, plan.delta, plan, layout, top, 0, rows)
    for layer in range(top, -1, -1):
        W, _ = layer_weights(theta, 0, layout, layer)
        below = x
        if layer > 0:
            below = layer_rows(work, plan.output, plan, layout, layer - 1, 0, rows)
        g = matrix(gradient, layout[layer].w_offset, W.shape[0] + 1, W.shape[1])
        _form_gradient(below, delta, g, scratch)
        if constants[codes.L1] != 0.0 or constants[codes.L2] != 0.0:
            add_penalties(constants, vector(W, 0, W.size), vector(g, 0, W.size))
        if layer > 0:
            delta_below = layer_rows(work, plan.delta, plan, layout, layer - 1, 0, rows)
            _go_back(delta, W, delta_below, scratch)
            slope = layer_rows(work, plan.slope, plan, layout, layer - 1, 0, rows)
            n = below.size
            activation_backward(
                vector(delta_below, 0, n),
                vector(below, 0, n),
                vector(slope, 0, n),
                layer_activation(layout, plan, constants, layer - 1),
            )
            delta = delta_below


@inline
def _forward(x, W, b, z, scratch):
    """Overwrite `z` by x W + b."""
    rows, n_out = z.shape
    if n_out <= panel_width(W) and (n_out > 1 or rows <= FEW_ROWS):
        tile_rows(whole(x), whole(W), FROM_ROW, b, whole(z))
    else:
        multiply(whole(x), whole(W), FROM_ROW, b, whole(z), scratch)


@inline
def _go_back(delta, W, delta_below, scratch):
    """Overwrite `delta_below` by delta W^T."""
    rows = delta.shape[0]
    n_in, n_out = W.shape
    if n_out == 1 and rows <= FEW_ROWS:
        one_row, W_row = matrix(delta, 0, 1, rows), matrix(W, 0, 1, n_in)
        _transposed_product(one_row, W_row, delta_below, scratch)
    elif rows == 1 and W.size <= COLUMN_WEIGHTS:
        # As columns, W delta^T: one lane of each vector is in use, but nothing is transposed.
        column, result = matrix(delta, 0, n_out, 1), matrix(delta_below, 0, n_in, 1)
        tile_rows(whole(W), whole(column), FROM_ZERO, scratch, whole(result))
    else:
        a, b, result = whole(delta), transpose(whole(W)), whole(delta_below)
        multiply(a, b, FROM_ZERO, scratch, result, scratch)


@inline
def _form_gradient(x, delta, gradient, scratch):
    """Overwrite `gradient` (n_in + 1, n_out) by x^T delta and, in its last row, delta's sums."""
    rows, n_in = x.shape
    n_out = delta.shape[1]
    if rows > FEW_ROWS:
        to = some_rows(gradient, 0, n_in)
        multiply(transpose(whole(x)), whole(delta), FROM_ZERO, scratch, to, scratch)
    elif n_out == 1:  # a column, which is a row as well
        _transposed_product(delta, x, matrix(gradient, 0, 1, n_in), scratch)
    else:
        _transposed_product(x, delta, gradient, scratch)
    width = sums_width(delta)
    for j in range(0, n_out, width):
        column_sums(delta, j, FROM_ZERO, gradient, n_in, min(n_out - j, width), rows)


@inline
def _transposed_product(A, B, C, scratch):
    """Overwrite the first rows of C, as many as A has columns, by A^T B."""
    rows, columns, width = A.shape[1], B.shape[1], panel_width(B)
    for j in range(0, columns, width):
        n = min(columns - j, width)
        panel, result = some_columns(B, j, n), block(C, 0, j, rows, n)
        tile_rows(transpose(whole(A)), panel, FROM_ZERO, scratch, result)


@functools.cache
def small_part_address(dtype):
    """Address of `small_part` for networks of `dtype`, compiled or loaded on first use."""
    return small_part.address(types.int64, *argument_types(dtype))


def is_at_hand(dtype):
    """Whether networks of `dtype` have `small_part` compiled or loaded, but not `sweep_part`."""
    arguments = types.int64, *argument_types(dtype)
    return small_part.has(*arguments) and not sweep_part.has(*arguments)
