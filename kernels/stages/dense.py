"""The step of a dense product: Z = A W + b, of all rows or, for members, of each one's own."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline, worker
from fastmlp.kernels.dense import dense_backward_params_rows
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_C, FROM_ROW, FROM_ZERO
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


@inline
def dense_step_forward(step, block, work, theta, f, rows):
    """Overwrite the output's matrix `f`, of `rows` rows, by A W + b, or A W without a bias."""
    n_in, n_out = step.n_in, step.n_out
    at = f * (n_in * n_out + n_out) * step.separate
    W = matrix(theta, step.weights + at, n_in, n_out)
    A, Z = inputs(step, block, work), outputs(step, block, work)
    origin = FROM_ROW if step.bias >= 0 else FROM_ZERO
    b = vector(theta, step.bias + at if step.bias >= 0 else 0, n_out)
    s0 = f * rows
    multiply(A, s0, 0, W, 0, 0, origin, b, Z, s0, 0, rows, n_out, n_in, scratch(block, work))


@inline
def dense_step_back(step, block, work, theta, f, rows):
    """Add the gradients of W and b, and overwrite or add to the input's delta."""
    n_in, n_out = step.n_in, step.n_out
    at = f * (n_in * n_out + n_out) * step.separate
    A, delta = inputs(step, block, work), output_deltas(step, block, work)
    A = matrix(A, f * rows * n_in, rows, n_in)
    delta = matrix(delta, f * rows * n_out, rows, n_out)
    free = scratch(block, work)
    n_rows = n_in + 1 if step.bias >= 0 else n_in
    g = matrix(gradient(block, work, step.weights + at, n_rows * n_out), 0, n_rows, n_out)
    dense_backward_params_rows(A, n_in, delta, 0, n_rows, True, g, free)
    if wants_delta(step):
        W = matrix(theta, step.weights + at, n_in, n_out)
        below = input_deltas(step, block, work)
        origin = FROM_C if step.goes_back == codes.ADDS else FROM_ZERO
        multiply(delta, 0, 0, W, 0, 1, origin, free, below, f * rows, 0, rows, n_in, n_out, free)


@worker
def dense(step, block, work, theta, is_back):
    """Do the step of a dense layer; the bias follows W in theta, if there is one."""
    times = step.factor if step.separate else 1
    rows = block.rows if step.separate else block.rows * step.factor
    for f in range(times):
        if is_back:
            dense_step_back(step, block, work, theta, f, rows)
        else:
            dense_step_forward(step, block, work, theta, f, rows)
