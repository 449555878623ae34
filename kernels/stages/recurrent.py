"""The steps of a recurrent layer, and of taking what it says at the end of each sequence.

Values and deltas are *time-major*: a matrix (rows, columns) for each step of time, one below the
other. So the layer's input goes through W as one product for all steps of time, and so do the
gradients, which are sums over time as well as over rows. Only the products with U go step by step.
"""

from fastmlp.kernels._jit import inline, loop, worker
from fastmlp.kernels.activations import activation_backward, activation_forward_saving
from fastmlp.kernels.blocks import some_rows, transpose, whole
from fastmlp.kernels.gemm import multiply, transpose_matrix
from fastmlp.kernels.simd import FROM_C, FROM_ROW, FROM_ZERO
from fastmlp.kernels.stages.dense import add_column_sums
from fastmlp.kernels.stages.place import (
    flat,
    gradient,
    input_deltas,
    inputs,
    output_deltas,
    outputs,
    values,
    wants_delta,
)
from fastmlp.kernels.vectors import fill
from fastmlp.kernels.view import matrix, vector

# Elements in a line of the cache, of float32.
ALIGNED = 16


@inline
def _lengths(step, block, work):
    """View of how many steps of time each row has, where it is said; else of nothing."""
    has_lengths = step.lengths >= 0
    return vector(work, block.memory + max(step.lengths, 0), block.rows if has_lengths else 0)


@loop
def clear_late_rows(lengths, t, Z):
    """Overwrite the rows of Z whose sequence is over before step `t` by zeros."""
    for r in range(lengths.size):
        if lengths[r] <= t:
            for j in range(Z.shape[1]):
                Z[r, j] = 0.0


@inline
def recurrent_forward(step, block, work, theta):
    """Overwrite the output by H_t = f(A_t W + b + H_{t-1} U), without the last term at first.

    Of a row whose sequence is over it is f(0), so that whatever stands there cannot overflow.
    """
    rows, n_in, n_out = block.rows, step.n_in, step.n_out
    W = matrix(theta, step.weights, n_in, n_out)
    U = matrix(theta, step.weights + n_in * n_out, n_out, n_out)
    b = vector(theta, step.bias, n_out)
    H = outputs(step, block, work)
    slopes = vector(work, block.memory + step.saved, H.size)
    how = (step.code, step.rare_forward_at, step.rare_backward_at, work[step.constant])
    lengths = _lengths(step, block, work)
    free = vector(work, block.scratch, block.scratch_size)
    multiply(whole(inputs(step, block, work)), whole(W), FROM_ROW, b, whole(H), free)
    size = rows * n_out
    for t in range(step.factor):
        if t > 0:
            before, now = some_rows(H, (t - 1) * rows, rows), some_rows(H, t * rows, rows)
            multiply(before, whole(U), FROM_C, b, now, free)
        clear_late_rows(lengths, t, matrix(H, t * size, rows, n_out))
        activation_forward_saving(vector(H, t * size, size), how, vector(slopes, t * size, size))


@inline
def recurrent_back(step, block, work, theta):
    """Add the gradients of W, U and b, and overwrite the input's delta: back through time.

    Multiplies the output's delta of each step by f', after what the next step adds to it by U. With
    truncation that is nothing for the first step of each window.
    """
    rows, n_in, n_out = block.rows, step.n_in, step.n_out
    n_steps, size = step.factor, rows * n_out
    H = outputs(step, block, work)
    deltas = output_deltas(step, block, work)
    slopes = vector(work, block.memory + step.saved, H.size)
    how = (step.code, step.rare_forward_at, step.rare_backward_at, work[step.constant])
    # The transpose of U, formed once for all steps of time, lies where no product's scratch is.
    end = (block.scratch_size - n_out * n_out) // ALIGNED * ALIGNED
    free = vector(work, block.scratch, end)
    U = matrix(theta, step.weights + n_in * n_out, n_out, n_out)
    back = matrix(work, block.scratch + end, n_out, n_out)
    transpose_matrix(U, 0, 0, n_out, n_out, back, 0, 0)
    for t in range(n_steps - 1, -1, -1):
        begins_window = step.option > 0 and (t + 1) % step.option == 0
        if t + 1 < n_steps and not begins_window:
            after, now = some_rows(deltas, (t + 1) * rows, rows), some_rows(deltas, t * rows, rows)
            multiply(after, whole(back), FROM_C, free, now, free)
        h, slope = vector(H, t * size, size), vector(slopes, t * size, size)
        activation_backward(vector(deltas, t * size, size), h, slope, how)
    later = (n_steps - 1) * rows
    if later > 0:
        at = step.weights + n_in * n_out
        g = whole(matrix(gradient(block, work, at, n_out * n_out), 0, n_out, n_out))
        before = transpose(some_rows(H, 0, later))
        multiply(before, some_rows(deltas, rows, later), FROM_C, free, g, free)
    A = inputs(step, block, work)
    g = whole(matrix(gradient(block, work, step.weights, n_in * n_out), 0, n_in, n_out))
    multiply(transpose(whole(A)), whole(deltas), FROM_C, free, g, free)
    add_column_sums(deltas, matrix(gradient(block, work, step.bias, n_out), 0, 1, n_out))
    if wants_delta(step):
        W = matrix(theta, step.weights, n_in, n_out)
        below = whole(input_deltas(step, block, work))
        multiply(whole(deltas), transpose(whole(W)), FROM_ZERO, free, below, free)


@worker
def recurrent(step, block, work, theta, is_back):
    """Do the step of a recurrent layer, whose W, U and b lie in this order in theta."""
    if is_back:
        recurrent_back(step, block, work, theta)
    else:
        recurrent_forward(step, block, work, theta)


@loop
def take_last(H, lengths, last):
    """Overwrite `last` (rows, n) by each row's last step of H, a matrix like it for each step.

    The last step is that of its length, or where `lengths` has no elements, that of all.
    """
    rows, n = last.shape
    n_steps = H.shape[0] // rows
    for r in range(rows):
        t = int(lengths[r]) - 1 if lengths.size else n_steps - 1
        for j in range(n):
            last[r, j] = H[t * rows + r, j]


@loop
def give_last(delta, lengths, deltas):
    """Overwrite `deltas`, like H of `take_last`, by `delta` at each row's last step, else zeros."""
    rows, n = delta.shape
    n_steps = deltas.shape[0] // rows
    fill(flat(deltas), 0.0)
    for r in range(rows):
        t = int(lengths[r]) - 1 if lengths.size else n_steps - 1
        for j in range(n):
            deltas[t * rows + r, j] = delta[r, j]


@worker
def last_step(step, block, work, theta, is_back):
    """Take each row's last step of time from those of the input."""
    lengths, n = _lengths(step, block, work), step.n_out
    if is_back:
        delta = values(block, work, step.output_delta, block.rows, n)
        give_last(delta, lengths, input_deltas(step, block, work))
    else:
        last = values(block, work, step.output, block.rows, n)
        take_last(inputs(step, block, work), lengths, last)
