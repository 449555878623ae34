"""Activations with a trainable number alpha for each unit.

`prelu` is x above 0 and alpha x below (He et al., 2015, https://arxiv.org/abs/1502.01852), and
`parametric` is x + alpha (f(x) - x) for another activation f (Holzmueller et al., 2024,
https://arxiv.org/abs/2407.04491, appendix A.2).
"""

from fastmlp.kernels._jit import loop, worker
from fastmlp.kernels.activations import activation_backward, activation_forward_saving
from fastmlp.kernels.stages.place import flat, gradient, inputs, output_deltas, outputs, saved
from fastmlp.kernels.view import matrix, vector

# Option of a parametric activation: its derivative follows from f(x).
FOLLOWS = 1


@loop
def prelu_forward(X, alpha, result):
    """Overwrite `result` by the rows of the matrix X, times `alpha` where they are not positive."""
    rows, n = X.shape
    zero = X.dtype.type(0.0)
    for i in range(rows):
        x, y = vector(X, i * n, n), vector(result, i * n, n)
        for j in range(n):
            y[j] = alpha[j] * x[j] if x[j] <= zero else x[j]


@loop
def prelu_backward(delta, X, alpha, sums):
    """Take `delta` from the result of `prelu_forward` to X, in place.

    Adds the gradient of `alpha` to `sums`.
    """
    rows, n = X.shape
    zero = X.dtype.type(0.0)
    for i in range(rows):
        x, g = vector(X, i * n, n), vector(delta, i * n, n)
        for j in range(n):
            sums[j] += g[j] * x[j] if x[j] <= zero else zero
            g[j] = alpha[j] * g[j] if x[j] <= zero else g[j]


@loop
def begin_parametric(x, value, slopes):
    """Overwrite the vector `value` by `x`, which f is to be taken of, and `slopes` by ones."""
    one = x.dtype.type(1.0)
    for i in range(x.size):
        value[i] = x[i]
        slopes[i] = one


@loop
def parametric_forward(X, alpha, change):
    """Overwrite X by X + alpha (f(X) - X), and `change`, which holds f(X), by f(X) - X."""
    rows, n = X.shape
    for i in range(rows):
        x, d = vector(X, i * n, n), vector(change, i * n, n)
        for j in range(n):
            d[j] -= x[j]
            x[j] += alpha[j] * d[j]


@loop
def parametric_backward(delta, change, slopes, alpha, sums):
    """Take `delta` from the result of `parametric_forward` to X, in place.

    Reads the differences `change` and the derivatives `slopes` of f; adds the gradient of `alpha`
    to `sums`.
    """
    rows, n = delta.shape
    one = delta.dtype.type(1.0)
    for i in range(rows):
        g, d = vector(delta, i * n, n), vector(change, i * n, n)
        slope = vector(slopes, i * n, n)
        for j in range(n):
            sums[j] += g[j] * d[j]
            g[j] *= one + alpha[j] * (slope[j] - one)


@worker
def prelu(step, block, work, theta, is_back):
    """Do the step of prelu, or take the deltas back, in place."""
    X, n = inputs(step, block, work), step.n_in
    alpha = vector(theta, step.weights, n)
    if not is_back:
        prelu_forward(X, alpha, outputs(step, block, work))
        return
    sums = gradient(block, work, step.weights, n)
    prelu_backward(output_deltas(step, block, work), X, alpha, sums)


@worker
def parametric(step, block, work, theta, is_back):
    """Do the step of a parametric activation, in place, or take the deltas back, in place.

    Keeps f(x) - x and f'(x), one after the other.
    """
    n = step.n_in
    alpha = vector(theta, step.weights, n)
    kept = flat(saved(step, block, work, 2 * n))
    size = kept.size // 2
    change, slopes = vector(kept, 0, size), vector(kept, size, size)
    rows = size // n
    if is_back:
        sums = gradient(block, work, step.weights, n)
        delta = output_deltas(step, block, work)
        parametric_backward(
            delta, matrix(change, 0, rows, n), matrix(slopes, 0, rows, n), alpha, sums
        )
        return
    X = outputs(step, block, work)
    how = (step.code, step.rare_forward_at, step.rare_backward_at, work[step.constant])
    begin_parametric(flat(X), change, slopes)
    activation_forward_saving(change, how, slopes)
    if step.option == FOLLOWS:
        activation_backward(slopes, change, slopes, how)
    parametric_forward(X, alpha, matrix(change, 0, rows, n))
