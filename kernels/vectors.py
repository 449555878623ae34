"""Operations of solvers on float64 vectors: serial, in an order of their own that never changes.

BLAS would wake its threads for long vectors, which spin on for a while and get in ours' way, and
would sum in an order that depends on their number.
"""

import numpy as np

from fastmlp.kernels._jit import entry, loop


@loop
def inner(x, y):
    """Inner product of two vectors, in eight interleaved chains of fixed order."""
    a = b = c = d = e = f = g = h = 0.0
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        a += x[i] * y[i]
        b += x[i + 1] * y[i + 1]
        c += x[i + 2] * y[i + 2]
        d += x[i + 3] * y[i + 3]
        e += x[i + 4] * y[i + 4]
        f += x[i + 5] * y[i + 5]
        g += x[i + 6] * y[i + 6]
        h += x[i + 7] * y[i + 7]
    for i in range(whole, x.size):
        a += x[i] * y[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@loop
def add_scaled(x, factor, y):
    """Add `factor` times the vector `y` to `x`."""
    for i in range(x.size):
        x[i] += factor * y[i]


@entry
def dot(x, y):
    """Return the inner product of two contiguous float64 vectors of one length."""
    return inner(x, y)


@entry
def largest(x):
    """Return the largest absolute value in a contiguous float64 vector; NaN if it holds NaN."""
    most = 0.0
    for i in range(x.size):
        size = abs(x[i])
        if not size <= most:
            if np.isnan(size):
                return size
            most = size
    return most


@entry
def largest_change(old, new):
    """Return the largest change between two vectors, relative to the larger of its size and 1.

    Both are contiguous, float64 and of one length; the size is that of the `new` element.
    """
    most = 0.0
    for i in range(old.size):
        change, size = abs(new[i] - old[i]), max(abs(new[i]), 1.0)
        if change > most * size:  # spares nearly all divisions
            most = change / size
    return most
