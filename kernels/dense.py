"""The three products of a dense layer, each beside the work fused to it.

A layer computes ``output = activation(A @ W + b)``. With delta the gradient with respect to
``A @ W + b``, backpropagation needs ``delta @ W^T`` times the derivative of the activation
below, and the parameter gradients ``A^T @ delta`` and the column sums of delta.

The ``_block`` and ``_rows`` functions do their share and are what the network's passes call.
`dense_forward`, `dense_backward_input` and `dense_backward_params` are the same work as kernels
of their own, for tests, benchmarks and whoever wants one layer.
"""

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, inline, prange
from fastmlp.kernels.activations import (
    activation_backward,
    activation_forward,
    activation_forward_saving,
)
from fastmlp.kernels.blocks import block, n_runs, run_of, some_columns, some_rows, transpose
from fastmlp.kernels.gemm import DEPTH, multiply, scratch_size
from fastmlp.kernels.simd import FROM_C, FROM_ROW, FROM_ZERO, column_sums, panel_width, sums_width
from fastmlp.kernels.view import vector


@inline
def dense_forward_block(A, W, b, activation, output, slope, saving, scratch):
    """Overwrite the block `output` by the activation of A W + b, for its columns of W.

    A is a block of as many rows. If `saving`, the same block of `slope`, a matrix like that of
    `output`, is overwritten for gelu, silu and mish. Softmax needs all columns. May destroy
    `scratch`.
    """
    columns = some_columns(W, output.column, output.columns)
    multiply(A, columns, FROM_ROW, b, output, scratch)
    activate_block(activation, output, slope, saving)


@inline
def activate_block(activation, output, slope, saving):
    """Overwrite a block of pre-activations by their activation; see `dense_forward_block`."""
    code = activation[0]
    if code == codes.IDENTITY:
        return
    if code == codes.SOFTMAX:
        n = output.matrix.shape[1]
        z = vector(output.matrix, output.row * n, output.rows * n)
        call_worker(activation[1], code, z, z, 0, n)
        return
    for run in range(n_runs(output)):
        z = run_of(output.matrix, output, run)
        if saving:
            activation_forward_saving(z, activation, run_of(slope, output, run))
        else:
            activation_forward(z, activation)


@inline
def dense_backward_input_block(delta, W, output, slope, activation, delta_below, scratch):
    """Overwrite the block `delta_below` by (delta W^T) * activation', for its rows and columns.

    `output`, `slope` and `activation` are those of the layer below: matrices like that of
    `delta_below` with its outputs and its kept derivatives. W (n_in, n_out) is the weights
    between. May destroy `scratch`.
    """
    place = delta_below
    rows = block(delta, place.row, 0, place.rows, W.shape[1])
    columns = transpose(some_rows(W, place.column, place.columns))
    multiply(rows, columns, FROM_ZERO, scratch, delta_below, scratch)
    if activation[0] == codes.IDENTITY:
        return
    for run in range(n_runs(place)):
        activation_backward(
            run_of(delta_below.matrix, place, run),
            run_of(output, place, run),
            run_of(slope, place, run),
            activation,
        )


@inline
def dense_backward_params_rows(A, n_in, delta, k0, k1, accumulate, gradient, scratch):
    """Overwrite `gradient` by rows ``k0 : k1`` of the gradient of [W; b], or add them to it.

    Rows below n_in are A^T delta, of the first `n_in` columns of A; row n_in is the bias, as if
    there were one more column, of ones. Sums over samples run in their order. May destroy
    `scratch`.
    """
    depth, n_out = delta.shape[0], gradient.shape[1]
    weight_rows = min(k1, n_in) - k0
    origin = FROM_C if accumulate else FROM_ZERO
    if weight_rows > 0:
        columns = transpose(some_columns(A, k0, weight_rows))
        to = some_rows(gradient, 0, weight_rows)
        multiply(columns, some_columns(delta, 0, n_out), origin, scratch, to, scratch)
    if k1 > n_in:
        width = sums_width(delta)
        for j in range(0, n_out, width):
            n = min(n_out - j, width)
            column_sums(delta, j, origin, gradient, n_in - k0, n, depth)


@inline
def part_bounds(n, part, n_parts):
    """First and last + 1 of `n` items that fall to `part` of `n_parts` equal parts."""
    if n_parts == 1:  # a division takes longer than much of what a small network does
        return 0, n
    return n * part // n_parts, n * (part + 1) // n_parts


_scratch_size = inline(scratch_size)


@inline
def new_scratch(A, rows):
    """Scratch for a product with `rows` rows of C, of A's dtype."""
    return np.empty(_scratch_size(rows, DEPTH, panel_width(A)), A.dtype)


@entry
def dense_forward(A, W, b, activation, output, slope, n_parts):
    """Overwrite `output` (rows, n_out) by the activation of A W + b.

    A (rows, n_in), W (n_in, n_out) and b (n_out,) are read. `slope`, a matrix like `output`, is
    overwritten for gelu, silu and mish only. Rows are shared out to `n_parts` parts.
    """
    for part in prange(n_parts):
        i0, i1 = part_bounds(A.shape[0], part, n_parts)
        n = i1 - i0
        scratch = new_scratch(A, n)
        rows, to = some_rows(A, i0, n), some_rows(output, i0, n)
        dense_forward_block(rows, W, b, activation, to, slope, True, scratch)


@entry
def dense_backward_input(delta, W, output, slope, activation, delta_below, n_parts):
    """Overwrite `delta_below` (rows, n_in) by (delta W^T) * activation', see the ``_block``."""
    for part in prange(n_parts):
        i0, i1 = part_bounds(delta.shape[0], part, n_parts)
        n = i1 - i0
        scratch = new_scratch(delta, n)
        to = some_rows(delta_below, i0, n)
        dense_backward_input_block(delta, W, output, slope, activation, to, scratch)


@entry
def dense_backward_params(A, delta, gradient, n_parts):
    """Overwrite `gradient` (n_in + 1, n_out) by the gradients of W and, in its last row, b."""
    for part in prange(n_parts):
        n_in = A.shape[1]
        k0, k1 = part_bounds(n_in + 1, part, n_parts)
        scratch = new_scratch(delta, k1 - k0)
        dense_backward_params_rows(A, n_in, delta, k0, k1, False, gradient[k0:k1], scratch)
