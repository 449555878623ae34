"""Sums and the like of one vector, in several chains that run side by side.

A single chain waits for each addition before the next, three or four cycles an element. Which
elements a chain takes is the same for all lengths of vectors that a machine has, so that bits are.
"""

import numpy as np

from fastmlp.kernels._jit import loop, scalar
from fastmlp.kernels.view import vector


@scalar
def total(x):
    """Sum of a vector in its dtype: of every eighth element from each of the first eight on."""
    a = b = c = d = e = f = g = h = x.dtype.type(0.0)
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
        e += x[i + 4]
        f += x[i + 5]
        g += x[i + 6]
        h += x[i + 7]
    for i in range(whole, x.size):
        a += x[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@loop
def inner(x, y):
    """Inner product of two vectors in their dtype, in the chains of `total`."""
    a = b = c = d = e = f = g = h = x.dtype.type(0.0)
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


@scalar
def folded_total(x, room):
    """Sum of a vector in its dtype, folded to its first quarter, in `room`, of which `total` is.

    Additions of the fold run as vectors, so that a row of some hundred takes half the time. May
    destroy ``x.size // 4`` elements of `room`.
    """
    n = x.size // 4
    for i in range(n):
        room[i] = (x[i] + x[n + i]) + (x[2 * n + i] + x[3 * n + i])
    result = total(vector(room, 0, n))
    for i in range(4 * n, x.size):
        result += x[i]
    return result


@scalar
def folded_inner(x, y, room):
    """Inner product of two vectors in their dtype, in the order of `folded_total`."""
    n = x.size // 4
    for i in range(n):
        room[i] = (x[i] * y[i] + x[n + i] * y[n + i]) + (
            x[2 * n + i] * y[2 * n + i] + x[3 * n + i] * y[3 * n + i]
        )
    result = total(vector(room, 0, n))
    for i in range(4 * n, x.size):
        result += x[i] * y[i]
    return result


@scalar
def maximum(x):
    """Largest element of a vector of at least one; of one with NaN, any number."""
    a = b = c = d = x[0]
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a = max(a, x[i])
        b = max(b, x[i + 1])
        c = max(c, x[i + 2])
        d = max(d, x[i + 3])
    for i in range(whole, x.size):
        a = max(a, x[i])
    return max(max(a, b), max(c, d))


@loop
def interleaved_sum(x):
    """Sum of a vector in float64: of every fourth element from each of the first four on."""
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += np.float64(x[i])
        b += np.float64(x[i + 1])
        c += np.float64(x[i + 2])
        d += np.float64(x[i + 3])
    result = (a + b) + (c + d)
    for i in range(whole, x.size):
        result += np.float64(x[i])
    return result
