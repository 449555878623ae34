"""Limited-memory BFGS: the history of pairs, and its product with a gradient.

The history has one row more than it may hold pairs, so that a pair is formed, and tested, in a
row that no pair is in. Rows are taken in turn. Sums are those of `reductions.inner`.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels._jit import entry, loop
from fastmlp.kernels.reductions import inner
from fastmlp.kernels.vectors import add_scaled

# A pair is kept if s'y is more than this part of |s| |y|: else rounding may have made its sign.
SMALLEST_COSINE = np.finfo(np.float64).eps


class History(NamedTuple):
    """Pairs of a step and a difference of gradients, see `add_pair`."""

    S: np.ndarray  # (n_rows, n), of each pair the step s
    Y: np.ndarray  # (n_rows, n), of each pair the difference y of the gradients
    curvatures: np.ndarray  # (n_rows,), of each pair s'y
    last: int  # row of the latest pair; before row 0 comes the last row
    count: int  # number of pairs, of which the others are in the rows before


@loop
def difference(x, y, result):
    """Overwrite `result` by x - y."""
    for i in range(result.size):
        result[i] = x[i] - y[i]


@loop
def masked_inner(x, y, mask):
    """Inner product of two vectors where `mask` is 1, not 0, in the order of `reductions.inner`."""
    a = b = c = d = e = f = g = h = 0.0
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        a += x[i] * y[i] * mask[i]
        b += x[i + 1] * y[i + 1] * mask[i + 1]
        c += x[i + 2] * y[i + 2] * mask[i + 2]
        d += x[i + 3] * y[i + 3] * mask[i + 3]
        e += x[i + 4] * y[i + 4] * mask[i + 4]
        f += x[i + 5] * y[i + 5] * mask[i + 5]
        g += x[i + 6] * y[i + 6] * mask[i + 6]
        h += x[i + 7] * y[i + 7] * mask[i + 7]
    for i in range(whole, x.size):
        a += x[i] * y[i] * mask[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@loop
def add_scaled_masked(x, factor, y, mask):
    """Add `factor` times the vector `y` to `x` where `mask` is 1, not 0."""
    for i in range(x.size):
        x[i] += factor * y[i] * mask[i]


@entry
def add_pair(S, Y, curvatures, row, old_x, x, old_gradient, gradient):
    """Form the pair s = x - old_x, y = gradient - old_gradient in a row of the history.

    Parameters
    ----------
    S, Y : (n_rows, n) float64
        Row `row` of each is overwritten.
    curvatures : (n_rows,) float64
        s'y of each row; that of `row` is overwritten.
    row : int
    old_x, x, old_gradient, gradient : (n,) float64
        Read.

    Returns
    -------
    float
        s'y / y'y, a measure of the inverse Hessian, or 0 if s'y is not clearly positive: then
        the row holds no pair.
    """
    s, y = S[row], Y[row]
    difference(x, old_x, s)
    difference(gradient, old_gradient, y)
    curvature, squared_s, squared_y = inner(s, y), inner(s, s), inner(y, y)
    curvatures[row] = curvature
    if not curvature > SMALLEST_COSINE * np.sqrt(squared_s) * np.sqrt(squared_y):
        return 0.0
    return curvature / squared_y


@entry
def two_loop(history, scale, gradient, direction):
    """Overwrite `direction` by -H gradient, H the inverse Hessian that the pairs make of scale I.

    Nocedal, Mathematics of Computation 35:773-782 (1980).

    Parameters
    ----------
    history : History
        Read.
    scale : float
    gradient : (n,) float64
        Read.
    direction : (n,) float64
    """
    S, Y, curvatures, last, count = history
    n_rows = S.shape[0]
    weights = np.empty(n_rows)
    for i in range(direction.size):
        direction[i] = -gradient[i]
    for age in range(count):
        row = (last - age) % n_rows
        weights[row] = inner(S[row], direction) / curvatures[row]
        add_scaled(direction, -weights[row], Y[row])
    for i in range(direction.size):
        direction[i] *= scale
    for age in range(count - 1, -1, -1):
        row = (last - age) % n_rows
        correction = weights[row] - inner(Y[row], direction) / curvatures[row]
        add_scaled(direction, correction, S[row])


@entry
def two_loop_of_free(history, scale, gradient, free, direction):
    """Do what `two_loop` does with some components alone of gradient, pairs and direction.

    Parameters
    ----------
    history, scale, gradient
        As of `two_loop`; `scale` is for a history without a pair of clearly positive s'y.
    free : (n,) float64
        1 for the components that take part, else 0; read.
    direction : (n,) float64
        Overwritten, by 0 where a component does not take part.
    """
    S, Y, curvatures, last, count = history
    n_rows = S.shape[0]
    weights = np.empty(n_rows)
    of_free = np.empty(n_rows)
    scaled = False
    for i in range(direction.size):
        direction[i] = -gradient[i] * free[i]
    for age in range(count):
        row = (last - age) % n_rows
        s, y = S[row], Y[row]
        of_free[row] = masked_inner(s, y, free)
        if of_free[row] > SMALLEST_COSINE * curvatures[row]:
            if not scaled:
                scale = of_free[row] / masked_inner(y, y, free)
                scaled = True
            weights[row] = inner(s, direction) / of_free[row]
            add_scaled_masked(direction, -weights[row], y, free)
    for i in range(direction.size):
        direction[i] *= scale
    for age in range(count - 1, -1, -1):
        row = (last - age) % n_rows
        if of_free[row] > SMALLEST_COSINE * curvatures[row]:
            correction = weights[row] - inner(Y[row], direction) / of_free[row]
            add_scaled_masked(direction, correction, S[row], free)
