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
from fastmlp.kernels._jit import entry, inline, prange
from fastmlp.kernels.activations import (
    activation_backward,
    activation_forward,
    activation_forward_saving,
    softmax_rows,
)
from fastmlp.kernels.gemm import DEPTH, multiply, scratch_size
from fastmlp.kernels.simd import FROM_C, FROM_ROW, FROM_ZERO, column_sums, panel_width, sums_width
from fastmlp.kernels.view import vector


@inline
def dense_forward_block(
    A, a0, W, b, activation, output, slope, saving, i0, rows, j0, columns, scratch
):
    """Overwrite a block of `output`, from (i0, j0) on, by the activation of A W + b.

    Reads the `rows` rows of A from `a0` on. If `saving`, the same block of `slope` (a matrix like
    `output`) is overwritten for gelu, silu and mish. Softmax needs all columns. May destroy
    `scratch`.
    """
    depth = W.shape[0]
    multiply(A, a0, 0, W, j0, 0, FROM_ROW, b, output, i0, j0, rows, columns, depth, scratch)
    activate_block(activation, output, slope, saving, i0, rows, j0, columns)


@inline
def activate_block(activation, output, slope, saving, i0, rows, j0, columns):
    """Overwrite a block of pre-activations by their activation; see `dense_forward_block`."""
    code = activation[0]
    if code == codes.IDENTITY:
        return
    if code == codes.SOFTMAX:
        softmax_rows(output, i0, rows)
        return
    for run in range(n_runs(output, rows, columns)):
        z = block_run(output, i0, rows, j0, columns, run)
        if saving:
            slopes = block_run(slope, i0, rows, j0, columns, run)
            activation_forward_saving(z, activation, slopes)
        else:
            activation_forward(z, activation)


@inline
def dense_backward_input_block(
    delta, W, output, slope, activation, delta_below, i0, rows, k0, columns, scratch
):
    """Overwrite a block of `delta_below`, from (i0, k0) on, by (delta W^T) * activation'.

    `output` and `activation` are those of the layer below, `slope` its kept derivatives,
    and W (n_in, n_out) is the weights between. May destroy `scratch`.
    """
    depth = W.shape[1]
    multiply(
        delta,
        i0,
        0,
        W,
        k0,
        1,
        FROM_ZERO,
        scratch,
        delta_below,
        i0,
        k0,
        rows,
        columns,
        depth,
        scratch,
    )
    if activation[0] == codes.IDENTITY:
        return
    for run in range(n_runs(output, rows, columns)):
        activation_backward(
            block_run(delta_below, i0, rows, k0, columns, run),
            block_run(output, i0, rows, k0, columns, run),
            block_run(slope, i0, rows, k0, columns, run),
            activation,
        )


@inline
def n_runs(matrix, rows, columns):
    """Contiguous runs that a block of a matrix falls into: one if it has all columns."""
    return 1 if columns == matrix.shape[1] else rows


@inline
def block_run(matrix, i0, rows, j0, columns, run):
    """View of one of the `n_runs` runs of a block from (i0, j0) on, as a vector."""
    size = rows * columns // n_runs(matrix, rows, columns)
    return vector(matrix, (i0 + run) * matrix.shape[1] + j0, size)


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
        multiply(
            A,
            k0,
            1,
            delta,
            0,
            0,
            origin,
            scratch,
            gradient,
            0,
            0,
            weight_rows,
            n_out,
            depth,
            scratch,
        )
    if k1 > n_in:
        width = sums_width(delta)
        for j in range(0, n_out, width):
            columns = min(n_out - j, width)
            column_sums(delta, j, origin, gradient, n_in - k0, columns, depth)


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
        n_out = output.shape[1]
        dense_forward_block(A, i0, W, b, activation, output, slope, True, i0, n, 0, n_out, scratch)


@entry
def dense_backward_input(delta, W, output, slope, activation, delta_below, n_parts):
    """Overwrite `delta_below` (rows, n_in) by (delta W^T) * activation', see the ``_block``."""
    for part in prange(n_parts):
        i0, i1 = part_bounds(delta.shape[0], part, n_parts)
        n = i1 - i0
        scratch = new_scratch(delta, n)
        n_in = delta_below.shape[1]
        dense_backward_input_block(
            delta, W, output, slope, activation, delta_below, i0, n, 0, n_in, scratch
        )


@entry
def dense_backward_params(A, delta, gradient, n_parts):
    """Overwrite `gradient` (n_in + 1, n_out) by the gradients of W and, in its last row, b."""
    for part in prange(n_parts):
        n_in = A.shape[1]
        k0, k1 = part_bounds(n_in + 1, part, n_parts)
        scratch = new_scratch(delta, k1 - k0)
        dense_backward_params_rows(A, n_in, delta, k0, k1, False, gradient[k0:k1], scratch)
