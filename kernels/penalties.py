"""The part of the objective that depends on the weights alone."""

import numpy as np

from fastmlp.kernels._jit import entry, loop, part
from fastmlp.kernels.view import vector
from fastmlp.kernels.views import layout_of


@loop
def sum_of_squares(x):
    """Sum of the squares of a vector in float64, in four interleaved chains of fixed order."""
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += np.float64(x[i]) ** 2
        b += np.float64(x[i + 1]) ** 2
        c += np.float64(x[i + 2]) ** 2
        d += np.float64(x[i + 3]) ** 2
    for i in range(whole, x.size):
        a += np.float64(x[i]) ** 2
    return (a + b) + (c + d)


@loop
def sum_of_magnitudes(x):
    """Sum of the absolute values of a vector in float64, in the order of `sum_of_squares`."""
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += abs(np.float64(x[i]))
        b += abs(np.float64(x[i + 1]))
        c += abs(np.float64(x[i + 2]))
        d += abs(np.float64(x[i + 3]))
    for i in range(whole, x.size):
        a += abs(np.float64(x[i]))
    return (a + b) + (c + d)


@entry
def penalty(theta, layout_numbers, l1, l2):
    """Return l2/2 sum W^2 + l1 sum |W| over the weights of all layers; reads both arrays."""
    return penalty_of(vector(theta, 0, theta.size), layout_of(layout_numbers), l1, l2)


@part
def penalty_of(theta, layout, l1, l2):
    """Do `penalty` by views."""
    total = 0.0
    for layer in range(layout.size):
        size = layout[layer].n_in * layout[layer].n_out
        if not layout[layer].penalized:
            continue
        weights = vector(theta, layout[layer].w_offset, size)
        if l2 != 0.0:
            total += 0.5 * l2 * sum_of_squares(weights)
        if l1 != 0.0:
            total += l1 * sum_of_magnitudes(weights)
    return total
