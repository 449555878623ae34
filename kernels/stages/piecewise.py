"""The step that embeds numeric columns by piecewise-linear encoding.

Of a value x, with edges q_0 < ... < q_T, bin t is filled by e_t = (x - q_t) / (q_{t+1} - q_t), cut
to [0, 1], but the first not from below and the last not from above. The embedding is
x w_0 + b_0 + sum_t e_t V_t. Of all e_t at most one is neither 0 nor 1: so the sum is that of the
first rows of V, which is kept for each bin, and a share of one more row. Gorishniy et al. (2024),
TabM, arXiv:2410.24210, and Gorishniy et al. (2022), arXiv:2203.05556.
"""

from fastmlp.kernels._jit import inline, loop, worker
from fastmlp.kernels.stages.place import (
    flat,
    gradient,
    inputs,
    output_deltas,
    outputs,
    setting,
)
from fastmlp.kernels.vectors import fill
from fastmlp.kernels.view import matrix, vector


@inline
def bin_of(x, edges):
    """The bin of a value: the last whose lower edge is not above it, or the first."""
    low, high = 0, edges.size - 1  # of T + 1 edges the last begins no bin
    while high - low > 1:
        middle = (low + high) // 2
        if edges[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@loop
def sum_rows_before(V, sums):
    """Overwrite row t of the matrix `sums` by the sum of the rows before t of V."""
    n_bins, size = V.shape
    for j in range(size):
        sums[0, j] = 0.0
    for t in range(1, n_bins):
        for j in range(size):
            sums[t, j] = sums[t - 1, j] + V[t - 1, j]


@loop
def embed_value(x, share, parameters, result):
    """Overwrite `result` by x w_0 + b_0 + before + share V_t; see `piecewise`."""
    w, b, before, row = parameters
    for j in range(result.size):
        result[j] = x * w[j] + b[j] + before[j] + share * row[j]


@loop
def add_value_gradients(x, share, delta, gradients):
    """Add to the gradients of w_0, b_0, of V_t, and to what all rows before t get."""
    g_w, g_b, g_row, g_before = gradients
    for j in range(delta.size):
        g_w[j] += x * delta[j]
        g_b[j] += delta[j]
        g_row[j] += share * delta[j]
        g_before[j] += delta[j]


@loop
def add_rows_after(sums, g_V):
    """Add to each row of `g_V` the sum of the rows after it of `sums`, from the last one on.

    Destroys `sums`, whose row t is what the rows before t get.
    """
    n_bins, size = g_V.shape
    for t in range(n_bins - 2, -1, -1):
        for j in range(size):
            g_V[t, j] += sums[t + 1, j]
            sums[t, j] += sums[t + 1, j]


@worker
def piecewise(step, block, work, theta, is_back):
    """Embed one column of X by a piecewise-linear function with trained values.

    The step's numbers are the column to write to, the column of X, the embedding's size, the number
    of bins, and the edges. In theta from ``weights`` on are w_0, b_0 and V (n_bins, size).
    """
    at, column = setting(step, work, 0), setting(step, work, 1)
    size, n_bins = setting(step, work, 2), setting(step, work, 3)
    edges = vector(work, step.constant + 4, n_bins + 1)
    X, E = inputs(step, block, work), outputs(step, block, work)
    w, b = vector(theta, step.weights, size), vector(theta, step.weights + size, size)
    V = matrix(theta, step.weights + 2 * size, n_bins, size)
    sums = matrix(work, block.scratch, n_bins, size)
    width = E.shape[1]
    if not is_back:
        sum_rows_before(V, sums)
        for r in range(block.rows):
            x = X[r, column]
            t = bin_of(x, edges)
            share = (x - edges[t]) / (edges[t + 1] - edges[t])
            before, row = vector(sums, t * size, size), vector(V, t * size, size)
            embed_value(x, share, (w, b, before, row), vector(E, r * width + at, size))
        return
    delta = output_deltas(step, block, work)
    g_w = gradient(block, work, step.weights, size)
    g_b = gradient(block, work, step.weights + size, size)
    g_V = matrix(gradient(block, work, step.weights + 2 * size, n_bins * size), 0, n_bins, size)
    fill(flat(sums), 0.0)
    for r in range(block.rows):
        x = X[r, column]
        t = bin_of(x, edges)
        share = (x - edges[t]) / (edges[t + 1] - edges[t])
        g_row, g_before = vector(g_V, t * size, size), vector(sums, t * size, size)
        d = vector(delta, r * width + at, size)
        add_value_gradients(x, share, d, (g_w, g_b, g_row, g_before))
    add_rows_after(sums, g_V)
