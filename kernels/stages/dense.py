"""The step of a dense product: Z = A W + b, of all rows or, for members, of each one's own."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline, worker
from fastmlp.kernels.blocks import some_rows, transpose, whole
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_C, FROM_ROW, FROM_ZERO, column_sums, sums_width
from fastmlp.kernels.stages.place import (
    gradient,
    input_deltas,
    inputs,
    output_deltas,
    outputs,
    scratch,
    wants_delta,
)
from fastmlp.kernels.view import matrix, vector

# The step's `option`, if it overwrites the gradient of W with that of a group's first block.
STARTS_GRADIENT = 1


@inline
def dense_step_forward(step, block, work, theta, f, rows):
    """Overwrite the output's matrix `f`, of `rows` rows, by A W + b, or A W without a bias."""
    n_in, n_out = step.n_in, step.n_out
    at = f * (n_in * n_out + n_out) * step.separate
    A = some_rows(inputs(step, block, work), f * rows, rows)
    Z = some_rows(outputs(step, block, work), f * rows, rows)
    W = whole(matrix(theta, step.weights + at, n_in, n_out))
    has_bias = step.bias >= 0
    b = vector(theta, step.bias + at if has_bias else 0, n_out)
    multiply(A, W, FROM_ROW if has_bias else FROM_ZERO, b, Z, scratch(block, work))


@inline
def dense_step_back(step, block, work, theta, f, rows):
    """Form the gradients of W and b, and overwrite or add to the input's delta.

    They are added to those of the group's earlier blocks, and of a later step with the same W.
    """
    n_in, n_out = step.n_in, step.n_out
    at = f * (n_in * n_out + n_out) * step.separate
    A = matrix(inputs(step, block, work), f * rows * n_in, rows, n_in)
    delta = matrix(output_deltas(step, block, work), f * rows * n_out, rows, n_out)
    free = scratch(block, work)
    g = whole(matrix(gradient(block, work, step.weights + at, n_in * n_out), 0, n_in, n_out))
    starts = block.is_first and step.option == STARTS_GRADIENT
    multiply(transpose(whole(A)), whole(delta), FROM_ZERO if starts else FROM_C, free, g, free)
    if step.bias >= 0:
        g_bias = matrix(gradient(block, work, step.bias + at, n_out), 0, 1, n_out)
        add_column_sums(delta, g_bias)
    if wants_delta(step):
        W = whole(matrix(theta, step.weights + at, n_in, n_out))
        below = some_rows(input_deltas(step, block, work), f * rows, rows)
        origin = FROM_C if step.goes_back == codes.ADDS else FROM_ZERO
        multiply(whole(delta), transpose(W), origin, free, below, free)


@inline
def add_column_sums(delta, sums):
    """Add the sums of the columns of `delta` to `sums` (1, n_out)."""
    width = sums_width(delta)
    rows, n_out = delta.shape
    for j in range(0, n_out, width):
        column_sums(delta, j, FROM_C, sums, 0, min(n_out - j, width), rows)


@worker
def dense(step, block, work, theta, is_back):
    """Do the step of a dense layer, whose bias need not follow W in theta, if it has one."""
    times = step.factor if step.separate else 1
    rows = block.rows if step.separate else block.rows * step.factor
    for f in range(times):
        if is_back:
            dense_step_back(step, block, work, theta, f, rows)
        else:
            dense_step_forward(step, block, work, theta, f, rows)
