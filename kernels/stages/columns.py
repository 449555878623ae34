"""Steps that bring numeric columns of X to where the first layer reads them."""

from fastmlp.kernels._jit import inline, loop, worker
from fastmlp.kernels.elementwise import sine_cosine
from fastmlp.kernels.reductions import inner, total
from fastmlp.kernels.stages.place import (
    gradient,
    inputs,
    output_deltas,
    outputs,
    setting,
    values,
)
from fastmlp.kernels.vectors import add_scaled, fill
from fastmlp.kernels.view import matrix, vector

TWO_PI = 6.283185307179586


@worker
def columns(step, block, work, theta, is_back):
    """Copy columns of X as they are; nothing goes back to them.

    The step's numbers are the column to write to, how many there are, and the columns of X.
    """
    if is_back:
        return
    X, E = inputs(step, block, work), outputs(step, block, work)
    at, n = setting(step, work, 0), setting(step, work, 1)
    for i in range(n):
        copy_column(X, setting(step, work, 2 + i), E, at + i)


@loop
def copy_column(source, i, target, j):
    """Overwrite column j of the matrix `target` by column i of `source`."""
    for r in range(source.shape[0]):
        target[r, j] = source[r, i]


# Periodic embeddings: of a value x, with `n_frequencies` angles u_f = 2 pi w_f x + b_f, the numbers
# c_j + sum_f V_fj cos(u_f), and x itself as the last.


@loop
def angles(x, w, b, cosines, sines):
    """Overwrite `cosines` and `sines` by those of 2 pi w x + b, for a vector x."""
    turn = x.dtype.type(TWO_PI) * w
    for r in range(x.size):
        sines[r], cosines[r] = sine_cosine(turn * x[r] + b)


@loop
def put_column(source, target, j):
    """Overwrite column j of the matrix `target` by a vector."""
    for r in range(source.size):
        target[r, j] = source[r]


@loop
def take_column(source, j, target):
    """Overwrite a vector by column j of a matrix."""
    for r in range(target.size):
        target[r] = source[r, j]


@loop
def angle_deltas(sines, sums, x, slopes):
    """Overwrite `sums` by -sin(u) times them, and `slopes` by 2 pi x times that."""
    turn = x.dtype.type(TWO_PI)
    for r in range(sums.size):
        h = -sines[r] * sums[r]
        sums[r] = h
        slopes[r] = turn * x[r] * h


@inline
def add_periodic_gradients(step, block, work, theta, i, place):
    """Add the gradients of the parameters of the step's column i; see `periodic`."""
    at, n_columns, n_frequencies, size = place
    rows, n_out = block.rows, size - 1
    E_delta = output_deltas(step, block, work)
    x, saved = _memory_of(step, block, work, i, place)
    V = _weights_of(step, theta, i, place)[2]
    offset = step.weights + i * n_frequencies
    shift = n_columns * n_frequencies
    g_w = gradient(block, work, offset, n_frequencies)
    g_b = gradient(block, work, offset + shift, n_frequencies)
    n_V = n_frequencies * n_out
    g_V = gradient(block, work, step.weights + 2 * shift + i * n_V, n_V)
    g_c = gradient(block, work, step.bias + i * n_out, n_out)
    free = values(block, work, step.input_delta, n_out + 2, rows)
    sums, slopes = vector(free, n_out * rows, rows), vector(free, (n_out + 1) * rows, rows)
    for j in range(n_out):
        delta = vector(free, j * rows, rows)
        take_column(E_delta, at + i * size + j, delta)
        g_c[j] += total(delta)
    for f in range(n_frequencies):
        cosines = vector(saved, 2 * f * rows, rows)
        fill(sums, 0.0)
        for j in range(n_out):
            delta = vector(free, j * rows, rows)
            g_V[f * n_out + j] += inner(cosines, delta)
            add_scaled(sums, V[f, j], delta)
        angle_deltas(vector(saved, (2 * f + 1) * rows, rows), sums, x, slopes)
        g_b[f] += total(sums)
        g_w[f] += total(slopes)


@inline
def _memory_of(step, block, work, i, place):
    """Views of the values of the step's column i, and of its cosines and sines by frequency."""
    _, n_columns, n_frequencies, _ = place
    rows = block.rows
    saved = values(block, work, step.saved, n_columns * (1 + 2 * n_frequencies), rows)
    first = i * (1 + 2 * n_frequencies) * rows
    return vector(saved, first, rows), vector(saved, first + rows, 2 * n_frequencies * rows)


@inline
def _weights_of(step, theta, i, place):
    """Views of w, b, V and c of the step's column i."""
    _, n_columns, n_frequencies, size = place
    n_out, shift = size - 1, n_columns * n_frequencies
    w = vector(theta, step.weights + i * n_frequencies, n_frequencies)
    b = vector(theta, step.weights + shift + i * n_frequencies, n_frequencies)
    first = step.weights + 2 * shift + i * n_frequencies * n_out
    V = matrix(theta, first, n_frequencies, n_out)
    return w, b, V, vector(theta, step.bias + i * n_out, n_out)


@worker
def periodic(step, block, work, theta, is_back):
    """Embed columns of X by cosines of trained frequencies.

    The step's numbers are the column to write to, how many columns of X there are, how many
    frequencies, how many numbers a column becomes, and the columns of X. In theta from ``weights``
    on are all w, then all b, then all V, column by column, and from ``bias`` on all c. As nothing
    goes back to X, the place of its deltas is free for vectors of the block's rows.
    """
    place = (
        setting(step, work, 0),
        setting(step, work, 1),
        setting(step, work, 2),
        setting(step, work, 3),
    )
    at, n_columns, n_frequencies, size = place
    rows, n_out = block.rows, size - 1
    if is_back:
        for i in range(n_columns):
            add_periodic_gradients(step, block, work, theta, i, place)
        return
    X, E = inputs(step, block, work), outputs(step, block, work)
    free = values(block, work, step.input_delta, n_out + 2, rows)
    for i in range(n_columns):
        x, saved = _memory_of(step, block, work, i, place)
        w, b, V, c = _weights_of(step, theta, i, place)
        take_column(X, setting(step, work, 4 + i), x)
        for j in range(n_out):
            fill(vector(free, j * rows, rows), c[j])
        for f in range(n_frequencies):
            cosines = vector(saved, 2 * f * rows, rows)
            angles(x, w[f], b[f], cosines, vector(saved, (2 * f + 1) * rows, rows))
            for j in range(n_out):
                add_scaled(vector(free, j * rows, rows), V[f, j], cosines)
        for j in range(n_out):
            put_column(vector(free, j * rows, rows), E, at + i * size + j)
        put_column(x, E, at + i * size + n_out)
