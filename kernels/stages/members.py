"""The steps of members: networks that share the weights of a layer, each with factors of its own.

Member m of k has the layer z_m = s_m * ((r_m * x_m) W) + b_m, element by element but for the
product: BatchEnsemble, Wen et al. (2020), https://arxiv.org/abs/2002.06715, as TabM has it,
Gorishniy et al. (2024), https://arxiv.org/abs/2410.24210. The product is a `dense` step. The rows
of all members lie one member below the other.
"""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import loop, worker
from fastmlp.kernels.stages.place import (
    gradient,
    input_deltas,
    inputs,
    output_deltas,
    outputs,
    values,
)
from fastmlp.kernels.view import matrix, vector


@loop
def member_inputs(X, R, result):
    """Overwrite `result` by the rows of X, (n, n_in), times each row of R, (k, n_in).

    X may also be (k n, n_in), with the rows of each member, and `result` may be X. `result` is
    (k n, n_in).
    """
    k, n_in = R.shape
    rows = result.shape[0] // k
    apart = rows if X.shape[0] > rows else 0
    for m in range(k):
        factors = vector(R, m * n_in, n_in)
        for i in range(rows):
            x, y = (
                vector(X, (m * apart + i) * n_in, n_in),
                vector(result, (m * rows + i) * n_in, n_in),
            )
            for j in range(n_in):
                y[j] = factors[j] * x[j]


@loop
def member_inputs_gradient(X, delta, sums):
    """Add to `sums`, (k, n_in), those of X times `delta` over each member's rows.

    Matrices are as of `member_inputs`, with `delta` that of its result.
    """
    k, n_in = sums.shape
    rows = delta.shape[0] // k
    apart = rows if X.shape[0] > rows else 0
    for m in range(k):
        sum_of = vector(sums, m * n_in, n_in)
        for i in range(rows):
            x, g = (
                vector(X, (m * apart + i) * n_in, n_in),
                vector(delta, (m * rows + i) * n_in, n_in),
            )
            for j in range(n_in):
                sum_of[j] += x[j] * g[j]


@loop
def member_inputs_back(delta, R, adds, below):
    """Overwrite `below` by the gradient with respect to X of `member_inputs`, or add it if `adds`.

    Reads `delta`, the gradient with respect to its result, and R. What all members share gets the
    sum of theirs. `below` may be `delta`.
    """
    k, n_in = R.shape
    rows = delta.shape[0] // k
    apart = rows if below.shape[0] > rows else 0
    for m in range(k):
        factors = vector(R, m * n_in, n_in)
        for i in range(rows):
            g = vector(delta, (m * rows + i) * n_in, n_in)
            to = vector(below, (m * apart + i) * n_in, n_in)
            if adds or (m > 0 and not apart):
                for j in range(n_in):
                    to[j] += factors[j] * g[j]
            else:
                for j in range(n_in):
                    to[j] = factors[j] * g[j]


@loop
def member_outputs(Z, S, B, slope, result):
    """Overwrite `result` by h(s_m * z + b_m) for each member's rows of Z, (k n, n_out).

    S and B are (k, n_out), and h(u) is u, or ``slope * u`` below 0. `result` may be Z.
    """
    k, n_out = S.shape
    rows = Z.shape[0] // k
    zero = Z.dtype.type(0.0)
    for m in range(k):
        s, b = vector(S, m * n_out, n_out), vector(B, m * n_out, n_out)
        for i in range(rows):
            z = vector(Z, (m * rows + i) * n_out, n_out)
            y = vector(result, (m * rows + i) * n_out, n_out)
            for j in range(n_out):
                u = s[j] * z[j] + b[j]
                y[j] = slope * u if u <= zero else u


@loop
def member_outputs_back(delta, Z, S, B, slope, sums):
    """Take `delta` from the result of `member_outputs` to Z, in place.

    Reads Z, S and B, and adds the gradients of the rows of S and of B to those of `sums`,
    (2 k, n_out).
    """
    k, n_out = S.shape
    rows = Z.shape[0] // k
    zero = Z.dtype.type(0.0)
    for m in range(k):
        s, b = vector(S, m * n_out, n_out), vector(B, m * n_out, n_out)
        s_sum, b_sum = vector(sums, m * n_out, n_out), vector(sums, (k + m) * n_out, n_out)
        for i in range(rows):
            z = vector(Z, (m * rows + i) * n_out, n_out)
            g = vector(delta, (m * rows + i) * n_out, n_out)
            for j in range(n_out):
                d = slope * g[j] if s[j] * z[j] + b[j] <= zero else g[j]
                s_sum[j] += d * z[j]
                b_sum[j] += d
                g[j] = s[j] * d


@worker
def expand(step, block, work, theta, is_back):
    """Give each member the inputs that all share, times its own factors, or take that back."""
    X = values(block, work, step.input, block.rows, step.n_in)
    k = step.factor
    R = matrix(theta, step.weights, k, step.n_in)
    if not is_back:
        member_inputs(X, R, outputs(step, block, work))
        return
    delta = output_deltas(step, block, work)
    sums = gradient(block, work, step.weights, R.size)
    member_inputs_gradient(X, delta, matrix(sums, 0, k, step.n_in))
    if step.goes_back != codes.STOPS:
        below = values(block, work, step.input_delta, block.rows, step.n_in)
        member_inputs_back(delta, R, step.goes_back == codes.ADDS, below)


@worker
def member_in(step, block, work, theta, is_back):
    """Scale the inputs of a layer, each member's by its own factors, or take that back."""
    X, k = inputs(step, block, work), step.factor
    R = matrix(theta, step.weights, k, step.n_in)
    if not is_back:
        member_inputs(X, R, outputs(step, block, work))
        return
    delta = output_deltas(step, block, work)
    sums = gradient(block, work, step.weights, R.size)
    member_inputs_gradient(X, delta, matrix(sums, 0, k, step.n_in))
    below = input_deltas(step, block, work)
    member_inputs_back(delta, R, step.goes_back == codes.ADDS, below)


@worker
def member_out(step, block, work, theta, is_back):
    """Scale a layer's products, add the biases, and rectify, or take the deltas back, in place."""
    Z, k, n_out = inputs(step, block, work), step.factor, step.n_out
    S, B = matrix(theta, step.weights, k, n_out), matrix(theta, step.bias, k, n_out)
    slope = work[step.constant]
    if not is_back:
        member_outputs(Z, S, B, slope, outputs(step, block, work))
        return
    sums = gradient(block, work, step.weights, 2 * S.size)
    delta = output_deltas(step, block, work)
    member_outputs_back(delta, Z, S, B, slope, matrix(sums, 0, 2 * k, n_out))
