"""The three products of a dense layer, each beside the work fused to it.

A layer computes ``output = activation(A @ W + b)``. With delta the gradient with respect to
``A @ W + b``, backpropagation needs ``delta @ W^T`` times the derivative of the activation
below, and the parameter gradients ``A^T @ delta`` and the column sums of delta.

The ``_rows`` functions do their share of the rows and are what the network's fused regions
call. `dense_forward`, `dense_backward_input` and `dense_backward_params` are the same work as
kernels of their own, for tests, benchmarks and whoever wants one layer.
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
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import (
    FROM_C,
    FROM_ROW,
    FROM_ZERO,
    panel_width,
    sum_tile,
    transpose_block,
    vector,
)


@inline
def dense_forward_rows(A, a0, W, b, code, parameter, output, derivative, saving, i0, rows, panel):
    """Overwrite rows ``i0 : i0+rows`` of `output` by the activation of A W + b.

    Reads the `rows` rows of A from `a0` on. If `saving`, rows of `derivative` (a matrix like
    `output`) are overwritten for gelu and silu. May destroy `panel`.
    """
    n_out = output.shape[1]
    multiply(A, a0, 0, 0, W, FROM_ROW, b, output, i0, rows, A.shape[1], panel)
    if code == codes.IDENTITY:
        return
    if code == codes.SOFTMAX:
        softmax_rows(output, i0, rows)
        return
    z = vector(output, i0 * n_out, rows * n_out)
    if saving:
        slopes = vector(derivative, i0 * n_out, rows * n_out)
        activation_forward_saving(z, code, parameter, slopes)
    else:
        activation_forward(z, code, parameter)


@inline
def dense_backward_input_rows(
    delta, transposed, output, code, parameter, delta_below, i0, rows, back, panel
):
    """Overwrite rows ``i0 : i0+rows`` of `delta_below` by (delta W^T) * activation'.

    `transposed` is W^T (n_out, n_in); `output`, `code` and `parameter` are those of the layer
    below, whose gelu or silu derivatives `delta_below` holds on entry. May destroy `back`, a
    matrix of at least `rows` rows and n_in columns, and `panel`.
    """
    n_in = delta_below.shape[1]
    depth = delta.shape[1]
    multiply(delta, i0, 0, 0, transposed, FROM_ZERO, panel, back, 0, rows, depth, panel)
    activation_backward(
        vector(back, 0, rows * n_in),
        vector(output, i0 * n_in, rows * n_in),
        code,
        parameter,
        vector(delta_below, i0 * n_in, rows * n_in),
    )


@inline
def dense_backward_params_rows(A, delta, k0, k1, accumulate, gradient, panel):
    """Overwrite `gradient` by rows ``k0 : k1`` of the gradient of [W; b], or add them to it.

    Rows below n_in are A^T delta; row n_in is the bias, as if A had a last column of ones.
    Sums over samples run in their order. May destroy `panel`.
    """
    n_in = A.shape[1]
    weight_rows = min(k1, n_in) - k0
    origin = FROM_C if accumulate else FROM_ZERO
    if weight_rows > 0:
        depth = delta.shape[0]
        multiply(A, k0, 0, 1, delta, origin, panel, gradient, 0, weight_rows, depth, panel)
    if k1 > n_in:
        width = panel_width(delta)
        for j in range(0, delta.shape[1], width):
            columns = min(delta.shape[1] - j, width)
            sum_tile(delta, j, origin, gradient, n_in - k0, columns, delta.shape[0])


@inline
def transpose_rows(W, k0, k1, transposed):
    """Copy rows ``k0 : k1`` of W into the columns of `transposed`, in square blocks."""
    side = panel_width(W) // 2
    for k in range(k0, k1, side):
        for j in range(0, W.shape[1], side):
            rows, columns = min(k1 - k, side), min(W.shape[1] - j, side)
            transpose_block(W, k, j, transposed, rows, columns)


@inline
def part_bounds(n, part, n_parts):
    """First and last + 1 of `n` items that fall to `part` of `n_parts` equal parts."""
    return n * part // n_parts, n * (part + 1) // n_parts


@entry
def dense_forward(A, W, b, code, parameter, output, derivative, n_parts):
    """Overwrite `output` (rows, n_out) by the activation `code` of A W + b.

    A (rows, n_in), W (n_in, n_out) and b (n_out,) are read. `derivative`, a matrix like
    `output`, is overwritten for gelu and silu only. Rows are shared out to `n_parts` parts.
    """
    for part in prange(n_parts):
        i0, i1 = part_bounds(A.shape[0], part, n_parts)
        panel = np.empty(A.shape[1] * panel_width(A), A.dtype)
        dense_forward_rows(
            A, i0, W, b, code, parameter, output, derivative, True, i0, i1 - i0, panel
        )


@entry
def dense_backward_input(delta, transposed, output, code, parameter, delta_below, n_parts):
    """Overwrite `delta_below` (rows, n_in) by (delta W^T) * activation', see the ``_rows``."""
    for part in prange(n_parts):
        i0, i1 = part_bounds(delta.shape[0], part, n_parts)
        panel = np.empty(delta.shape[1] * panel_width(delta), delta.dtype)
        back = np.empty((i1 - i0, delta_below.shape[1]), delta.dtype)
        dense_backward_input_rows(
            delta, transposed, output, code, parameter, delta_below, i0, i1 - i0, back, panel
        )


@entry
def dense_backward_params(A, delta, gradient, n_parts):
    """Overwrite `gradient` (n_in + 1, n_out) by the gradients of W and, in its last row, b."""
    for part in prange(n_parts):
        k0, k1 = part_bounds(A.shape[1] + 1, part, n_parts)
        panel = np.empty(delta.shape[0] * panel_width(delta), delta.dtype)
        share = gradient[k0:k1]
        dense_backward_params_rows(A, delta, k0, k1, False, share, panel)
