"""A loss that a user has written: a pair of functions, which a worker calls row by row."""

import functools

import numpy as np
from numba import carray, config, from_dtype, types

from fastmlp.kernels._jit import standalone, unkept_worker
from fastmlp.kernels.view import pointer


def row_of(array, offset, size):
    """Elements of a flat view as an array, such as functions that are no kernels take."""
    return carray(pointer(array, offset), (size,))


if config.DISABLE_JIT:

    def row_of(array, offset, size):
        return array[offset : offset + size]


@functools.cache
def custom_loss(value, gradient):
    """The worker of a loss, which does what `losses.loss_elementwise` does.

    An exception in one of the functions makes the loss NaN, by which all parts of a team stop: who
    waits for a part that is gone would wait for ever. It is kept as long as the process lives, as
    its address is in tables.

    Parameters
    ----------
    value, gradient
        See `fastmlp.losses.CustomLoss`.
    """
    as_array = standalone(row_of)

    def row_loss(output, target, slopes):
        loss = np.nan
        try:
            found = gradient(output, target)
            for j in range(slopes.size):
                slopes[j] = found[j]
            loss = float(value(output, target))
        except Exception:
            loss = np.nan
        return loss

    row = standalone(row_loss)

    def custom(code, parameters, output, target, slopes, terms):
        n_out = int(parameters[0])
        rows = output.size // n_out
        n_target = target.size // max(rows, 1)
        for i in range(rows):
            terms[i * n_out] = row(
                as_array(output, i * n_out, n_out),
                as_array(target, i * n_target, n_target),
                as_array(slopes, i * n_out, n_out),
            )
            for j in range(1, n_out):
                terms[i * n_out + j] = 0.0

    return unkept_worker(custom)


def custom_address(value, gradient, dtype):
    """Address of a loss's worker, compiled on first use."""
    column = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    return custom_loss(value, gradient).address(types.int64, *[column] * 5)
