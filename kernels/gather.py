"""The order of an epoch's rows, and copies of a mini-batch of them, here and there in X."""

import numpy as np

from fastmlp.kernels._jit import entry, inline, loop
from fastmlp.kernels.simd import copy_run, line_size, prefetch
from fastmlp.kernels.view import matrix

# Elements of X that are asked for before they are copied, and rows at least: random rows of a
# large X are in no cache, and the processor cannot foresee them.
ELEMENTS_AHEAD = 512
ROWS_AHEAD = 2

# An X of so many bytes is in the second level of the cache: asking for its rows only takes time.
CACHED_BYTES = 1 << 18


@entry
def shuffle(uniform, order):
    """Overwrite `order` by a random permutation of 0, 1, ..., one of all with equal chances.

    Reads as many numbers of the uniform distribution on [0, 1) as there are rows, in float64.
    Element i goes to a random place of the first i + 1, and what was there to place i: Fisher and
    Yates's shuffle, inside out (Knuth, The Art of Computer Programming 2, section 3.4.2).
    """
    shuffle_into(uniform, order)


@loop
def shuffle_into(uniform, order):
    """Do what `shuffle` does, of any vectors."""
    for i in range(order.size):
        j = np.int64(uniform[i] * (i + 1))
        order[i] = order[j]
        order[j] = i


@loop
def copy_rows(source, n_columns, order, start, copied):
    """Overwrite the first `n_columns` columns of the matrix `copied` by rows of the flat `source`.

    Row r comes from row ``order[start + r]``.
    """
    rows, stride = copied.shape
    if n_columns == 1:
        for r in range(rows):
            copied[r, 0] = source[order[start + r]]
        return
    ahead = max(ROWS_AHEAD, ELEMENTS_AHEAD // n_columns)
    if source.size * source.itemsize <= CACHED_BYTES:
        ahead = order.size
    for r in range(rows):
        if start + r + ahead < order.size:
            prefetch_row(source, order[start + r + ahead] * n_columns, n_columns)
        copy_run(source, order[start + r] * n_columns, copied, r * stride, n_columns)


@loop
def copy_values(source, target):
    """Overwrite `target` by `source`; both are vectors of one length."""
    for i in range(target.size):
        target[i] = source[i]


@inline
def rows_of(source, order, ordered, start, copied):
    """Return the matrix of some rows of the flat `source`, as many as the matrix `copied` has.

    In place a single one, and those from `start` on if they are not `ordered`; else they are those
    of `copy_rows`, in `copied`.
    """
    rows, n_columns = copied.shape
    if not ordered:
        return matrix(source, start * n_columns, rows, n_columns)
    if rows == 1:
        if start + ROWS_AHEAD < order.size:
            prefetch_row(source, order[start + ROWS_AHEAD] * n_columns, n_columns)
        return matrix(source, order[start] * n_columns, 1, n_columns)
    copy_rows(source, n_columns, order, start, copied)
    return copied


@loop
def copy_slices(source, columns, order, ordered, rows, copied):
    """Overwrite the flat `copied` by slices of some rows of the flat `source`.

    `columns` and `rows` are `context.Columns`, without gaps, and `context.Rows`. The rows are those
    of `copy_rows` if `ordered`, else those from `rows.start` on.
    """
    start, first, width = rows.start, columns.first, columns.width
    for r in range(rows.count):
        row = order[start + r] if ordered else start + r
        if ordered and start + r + ROWS_AHEAD < order.size:
            ahead = order[start + r + ROWS_AHEAD] * columns.of
            prefetch_row(source, ahead + first, columns.stop - first)
        for k in range(first, columns.stop, width):
            size = min(width, columns.stop - k)
            to = columns.room * (k - first) + r * size
            copy_run(source, row * columns.of + k, copied, to, size)


@loop
def copy_times(source, order, start, ordered, n_times, lengths, copied):
    """Overwrite `copied` by rows of the flat `source`, a matrix (rows, n) for each step of time.

    Rows are those of `copy_rows` if `ordered`, else those from `start` on. A row is its `n_times`
    steps, one after the other, and then its length, if `lengths` (rows,) are any, which are
    overwritten.
    """
    n = copied.shape[1]
    rows = copied.shape[0] // n_times
    n_columns = n_times * n + (1 if lengths.size else 0)
    ahead = max(ROWS_AHEAD, ELEMENTS_AHEAD // n_columns)
    for r in range(rows):
        row = order[start + r] if ordered else start + r
        if ordered and start + r + ahead < order.size:
            prefetch_row(source, order[start + r + ahead] * n_columns, n_columns)
        for t in range(n_times):
            copy_run(source, row * n_columns + t * n, copied, (t * rows + r) * n, n)
        if lengths.size:
            lengths[r] = source[row * n_columns + n_times * n]


@inline
def prefetch_row(source, offset, size):
    """Ask for the cache lines of `size` elements of a vector, from `offset` on."""
    for j in range(0, size, line_size(source)):
        prefetch(source, offset + j)
