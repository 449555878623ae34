"""Whether all of an array is finite: a pass over it that costs no memory and little time."""

import functools

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels._jit import entry, loop
from fastmlp.kernels.view import vector


@loop
def all_finite(x):
    """Return whether no element of the vector `x` is NaN or infinite."""
    n_bad = 0
    zero = x.dtype.type(0.0)
    for i in range(x.size):
        # x - x is 0 for a finite number, else NaN. Counting keeps the loop free of branches.
        n_bad += 0 if x[i] - x[i] == zero else 1
    return n_bad == 0


@entry
def finite(theta, X, Y):
    """Return whether no element of a vector, a matrix and a vector is NaN or infinite.

    All C-contiguous and of any sizes. Three, because for small ones the call takes longer than the
    look at them.
    """
    return all_finite(theta) and all_finite(vector(X, 0, X.size)) and all_finite(Y)


@functools.cache
def serial_finite(dtype):
    """`finite.serial` for arrays of `dtype`; see `Twin.exactly`."""
    number = from_dtype(np.dtype(dtype))
    numbers = types.Array(number, 1, "C")
    return finite.exactly(numbers, types.Array(number, 2, "C"), numbers)
