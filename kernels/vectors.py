"""Operations on vectors: serial, in an order of their own that never changes.

Solvers call some with float64. BLAS would wake its threads for long vectors, which spin on for a
while and get in ours' way, and would sum in an order that depends on their number.
"""

import numpy as np

from fastmlp.kernels._jit import entry, loop
from fastmlp.kernels.reductions import inner
from fastmlp.kernels.view import vector


@loop
def add_scaled(x, factor, y):
    """Add `factor` times the vector `y` to `x`."""
    for i in range(x.size):
        x[i] += factor * y[i]


@loop
def fill(x, value):
    """Overwrite the vector `x` by one value."""
    for i in range(x.size):
        x[i] = value


@entry
def dot(x, y):
    """Return the inner product of two contiguous float64 vectors of one length."""
    return inner(x, y)


@entry
def row_products(A, B, products):
    """Overwrite `products` (m, k) by the inner products of the rows of A (m, n) and B (k, n).

    All are C-contiguous and float64.
    """
    n = A.shape[1]
    for i in range(A.shape[0]):
        for j in range(B.shape[0]):
            products[i, j] = inner(vector(A, i * n, n), vector(B, j * n, n))


@entry
def combine_rows(factors, A, combined):
    """Overwrite the vector `combined` (n,) by the sum of `factors` (m,) times the rows of A (m, n).

    All are C-contiguous and float64.
    """
    n = A.shape[1]
    combined[:] = 0.0
    for i in range(A.shape[0]):
        add_scaled(combined, factors[i], vector(A, i * n, n))


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
