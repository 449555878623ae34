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
from fastmlp.kernels.context import Net, Rows, Trained
from fastmlp.kernels.dense import activate_block
from fastmlp.kernels.elementwise import fma
from fastmlp.kernels.epoch import argument_types, clip, sweep_part
from fastmlp.kernels.gather import rows_of
from fastmlp.kernels.gemm import ACROSS_BYTES, multiply, swap_pays, tile_rows
from fastmlp.kernels.network import (
    add_penalties,
    apply_update,
    output_losses,
    scale_rows,
)
from fastmlp.kernels.records import CHUNK, CURSOR, LAYER, PLAN
from fastmlp.kernels.reductions import interleaved_sum
from fastmlp.kernels.simd import (
    FROM_ROW,
    FROM_ZERO,
    LONG_SUM,
    TALL,
    column_sums,
    panel_width,
    sums_width,
)
from fastmlp.kernels.updates import kinds_coefficients
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import (
    coefficients_of,
    constants_of,
    data_of,
    layer_activation,
    layer_rows,
    layer_weights,
    only,
    product_scratch,
    space_of,
    table,
    total_and_hyper,
)

# Rows of a mini-batch up to which tiles are called as they come. With more, it pays to look for a
# better shape, as `multiply` does.
FEW_ROWS = TALL

# Units of a layer up to which a call of a tile takes longer than its numbers one by one.
TINY_UNITS = 4

# The delta of a single row goes back as a column through a layer of fewer weights, whose sums are
# one chain each.
COLUMN_WEIGHTS = LONG_SUM


@worker
def small_part(part, call, kept, order, update, theta, samples, result):
    """Do `epoch.sweep_part` alone, where the plan has no slices.

    But by ``EVALUATE``, mini-batches are one chunk and one block each, there are no groups, and
    the place of a task's gradient has room for that of all layers.
    """
    tables, work = kept
    cursor, chunks = only(tables, codes.CURSOR, CURSOR), table(tables, codes.CHUNKS, CHUNK)
    plan, layout = only(tables, codes.PLAN, PLAN), table(tables, codes.LAYOUT, LAYER)
    net, data = Net(plan, layout, constants_of(work, plan, layout)), data_of(samples, order)
    space, trained = space_of(work, plan, 0), Trained(theta, update.state, result)
    total, hyper = total_and_hyper(tables)
    mode = call.mode
    gradient = vector(result, 0, result.size)
    if mode == codes.UPDATE:
        gradient = vector(space.scratch, plan.task, theta.size)
    c, batch, t = cursor.chunk, cursor.mini_batch, cursor.updates
    outcome = codes.FINISHED
    while c < call.stop:
        rows = Rows(chunks[c].start, chunks[c].stop - chunks[c].start, 0)
        loss, x = _evaluate(theta, data, net, space, rows, mode != codes.EVALUATE)
        if not np.isfinite(loss):
            outcome = codes.LOSS_NOT_FINITE
            break
        if mode != codes.EVALUATE:
            _differentiate(theta, x, data, net, space, rows, gradient)
        if mode == codes.UPDATE_CLIPPED and not clip(gradient, update.clip_norm):
            outcome = codes.LOSS_NOT_FINITE
            break
        if mode >= codes.UPDATE:
            of_update = vector(update.rates, batch * codes.N_RATES, codes.N_RATES)
            coefficients = coefficients_of(net, space)
            kinds_coefficients(plan.optimizer, plan.n_kinds, hyper, of_update, t + 1, coefficients)
            _apply(trained, gradient, net, space)
            batch += 1
            t += 1
        total[0] += loss
        c += 1
    cursor.chunk = c
    cursor.mini_batch = batch
    cursor.updates = t
    cursor.outcome = outcome


@inline
def _evaluate(theta, data, net, space, rows, saving):
    """Return the sum of the losses of a chunk, and its last block's rows of X.

    Overwrites the deltas of the last layer, unscaled, and if `saving` those of the pre-activations.
    """
    plan = net.plan
    block = min(plan.block_rows, plan.loss_rows)
    x = matrix(data.X, 0, 0, net.layout[0].n_in)
    r = 0
    while r < rows.count:
        n = min(rows.count - r, block)
        x = _forward_pass(theta, data, net, space, Rows(rows.start + r, n, 0), saving)
        output_losses(data, net, space, Rows(rows.start + r, n, 0), rows.start, saving)
        r += n
    return interleaved_sum(vector(space.own, plan.sample_loss, rows.count)), x


@inline
def _forward_pass(theta, data, net, space, rows, saving):
    """Overwrite the outputs of all layers for a block of rows; return its rows of X."""
    plan, top = net.plan, net.layout.size - 1
    fused = plan.loss >= codes.FUSED_BINARY_CROSS_ENTROPY
    copied = matrix(space.own, plan.input, rows.count, net.layout[0].n_in)
    x = rows_of(data.X, data.order, plan.gather == 1, rows.start, copied)
    below = x
    for layer in range(top + 1):
        W, b = layer_weights(theta, 0, net.layout, layer)
        output = layer_rows(net, space, plan.output, layer, rows)
        _forward(below, W, b, output, product_scratch(net, space))
        if not (fused and layer == top):
            slope = layer_rows(net, space, plan.slope, layer, rows)
            activate_block(layer_activation(net, layer), whole(output), slope, saving)
        below = output
    return x


@inline
def _differentiate(theta, x, data, net, space, rows, gradient):
    """Overwrite `gradient`, given what `_evaluate` has left for the rows `x` of X."""
    plan, top = net.plan, net.layout.size - 1
    scratch = product_scratch(net, space)
    delta = layer_rows(net, space, plan.delta, top, rows)
    if rows.count > 1 or data.weights.size:
        factor = delta.dtype.type(1.0) / delta.dtype.type(rows.count)
        ordered = plan.gather == 1
        scale_rows(delta, factor, data.weights, data.order, ordered, rows.start)
    for layer in range(top, -1, -1):
        W, _ = layer_weights(theta, 0, net.layout, layer)
        below = x
        if layer > 0:
            below = layer_rows(net, space, plan.output, layer - 1, rows)
        g = matrix(gradient, net.layout[layer].w_offset, W.shape[0] + 1, W.shape[1])
        _form_gradient(below, delta, g, scratch)
        if net.constants[codes.L1] != 0.0 or net.constants[codes.L2] != 0.0:
            add_penalties(net.constants, vector(W, 0, W.size), vector(g, 0, W.size))
        if layer > 0:
            delta_below = layer_rows(net, space, plan.delta, layer - 1, rows)
            _go_back(delta, W, delta_below, scratch)
            slope = layer_rows(net, space, plan.slope, layer - 1, rows)
            n = below.size
            activation_backward(
                vector(delta_below, 0, n),
                vector(below, 0, n),
                vector(slope, 0, n),
                layer_activation(net, layer - 1),
            )
            delta = delta_below


@inline
def _apply(trained, gradient, net, space):
    """Apply the gradient of all layers at once, or weights and biases apart where they differ."""
    if not net.plan.decays and net.plan.n_kinds == 1:
        apply_update(trained, gradient, 0, net, space, 0, 0)
        return
    for layer in range(net.layout.size):
        W, b = layer_weights(trained.theta, 0, net.layout, layer)
        of, first = net.layout[layer], net.layout[layer].w_offset
        g = vector(gradient, first, W.size)
        apply_update(trained, g, first, net, space, of.weight_kind, 1)
        first += W.size
        g = vector(gradient, first, b.size)
        apply_update(trained, g, first, net, space, of.bias_kind, 0)


@inline
def is_tiny(rows, n_in, n_out):
    """Whether a layer is done number by number: a single row, in the order of sums of tiles."""
    return rows == 1 and n_in <= TINY_UNITS and n_out <= TINY_UNITS


@inline
def _forward(x, W, b, z, scratch):
    """Overwrite `z` by x W + b."""
    rows, n_out = z.shape
    if is_tiny(rows, x.shape[1], n_out):
        for j in range(n_out):
            total = b[j]
            for k in range(x.shape[1]):
                total = fma(x[0, k], W[k, j], total)
            z[0, j] = total
        return
    few = n_out > 1 or (rows <= FEW_ROWS and x.shape[1] < LONG_SUM)
    if few and n_out <= panel_width(W):
        tile_rows(whole(x), whole(W), FROM_ROW, b, whole(z))
    else:
        multiply(whole(x), whole(W), FROM_ROW, b, whole(z), scratch)


@inline
def _go_back(delta, W, delta_below, scratch):
    """Overwrite `delta_below` by delta W^T."""
    rows = delta.shape[0]
    n_in, n_out = W.shape
    if is_tiny(rows, n_in, n_out):
        for k in range(n_in):
            total = W.dtype.type(0.0)
            for j in range(n_out):
                total = fma(delta[0, j], W[k, j], total)
            delta_below[0, k] = total
    elif n_out == 1:
        one_row, W_row = matrix(delta, 0, 1, rows), matrix(W, 0, 1, n_in)
        _transposed_product(one_row, W_row, delta_below, scratch)
    elif rows == 1 and W.size < COLUMN_WEIGHTS:
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
    if is_tiny(rows, n_in, n_out):
        zero = delta.dtype.type(0.0)
        for k in range(n_in):
            for j in range(n_out):
                gradient[k, j] = fma(x[0, k], delta[0, j], zero)
        for j in range(n_out):
            gradient[n_in, j] = zero + delta[0, j]
        return
    if n_out == 1:  # a column, which is a row as well
        _transposed_product(delta, x, matrix(gradient, 0, 1, n_in), scratch)
    elif rows <= FEW_ROWS or _is_panel(x, delta):
        _transposed_product(x, delta, gradient, scratch)
    else:
        to = some_rows(gradient, 0, n_in)
        multiply(transpose(whole(x)), whole(delta), FROM_ZERO, scratch, to, scratch)
    width = sums_width(delta)
    for j in range(0, n_out, width):
        column_sums(delta, j, FROM_ZERO, gradient, n_in, min(n_out - j, width), rows)


@inline
def _is_panel(x, delta):
    """Whether `multiply` would form x^T delta by the tiles of one panel, just as they come."""
    (rows, n_in), n_out = x.shape, delta.shape[1]
    width = panel_width(x)
    if n_out > width or swap_pays(n_in, n_out, rows, width // 2):
        return False
    return n_in <= TALL or x.size * x.itemsize <= ACROSS_BYTES


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
