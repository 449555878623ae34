"""A trial of the way and the cache that were set when this module was imported."""

import numpy as np
from numba import types

from fastmlp.kernels._jit import ways
from fastmlp.kernels._jit.callables import call_worker, inline, loop, part, scalar
from fastmlp.kernels.view import matrix, vector, view_type


@scalar
def _halved(x):
    return x / 2


@loop
def _halve(x):
    for i in range(x.size):
        x[i] = _halved(x[i])


@part
def _add(x, first, amount):
    for i in range(first, x.size):
        x[i] += amount


@inline
def _change(x):
    _add(x, 1, 1)
    _halve(x)


def _work(X, row):
    rows = matrix(X, 0, X.shape[0], X.shape[1])
    _change(vector(rows, row * rows.shape[1], rows.shape[1]))


def _drive(address, X):
    for row in range(1, X.shape[0]):
        call_worker(address, X, row)
    return X.size


def run():
    """Compile a kernel of each kind, load it if the cache can be written, and call both.

    Any exception says that the way or the cache does not work. All happens in this thread: another
    would wait for the import of fastmlp, which may wait for this.
    """
    way = ways.way
    table = types.Array(types.float64, 2, "C")
    for _ in range(2):
        X = np.arange(6.0).reshape(3, 2)
        code, kernel = way.worker(_work), way.entry(_drive, "serial")
        way.is_kept(code, (view_type(table), types.int64))
        address = way.worker_address(code, (view_type(table), types.int64))
        size = way.exactly(kernel, (types.int64, table))(address, X)
        if size != 6 or X.tolist() != [[0, 1], [1, 2], [2, 3]]:
            raise ArithmeticError(f"a trial kernel computed {size}, {X.tolist()}")
