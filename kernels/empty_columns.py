"""Columns of X that are all zeros in a mini-batch: the first layer's products leave them out.

Images have margins, and most categories of a one-hot code are absent from a few dozen rows. Such a
column adds zeros to the forward sums, and its weights' gradient is zero. So the rows of X are
copied without it and multiplied by the other rows of W, which changes no bit of the result as long
as weights are finite.

The columns are those of X, or of one slice of it. Those that are used are kept as `runs` of
neighbours, in a vector with as many elements as there are columns, of the compute dtype, which
holds whole numbers exactly (up to 2^24 in single precision). It begins with the number of runs and
that of the columns in them, then has for each run its first column, how many columns of other runs
come before it, its *place*, and its length. A first entry of `NOT_LOOKED_FOR` says that too few
columns were empty, as is the case with most data.

The ``_part`` functions are workers, called by address and compiled for networks that may need them:
see `addresses`.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels._jit import call_worker, inline, loop, named, part, worker
from fastmlp.kernels.blocks import piece, whole
from fastmlp.kernels.context import Columns, Rows
from fastmlp.kernels.gather import ROWS_AHEAD, prefetch_row
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_ROW, copy_run, panel_width
from fastmlp.kernels.team import barrier
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import product_scratch, runs_of

NOT_LOOKED_FOR = -1

# What to leave out costs as much as it saves where a column has few rows, or a row of W has one
# vector; and where fewer columns than one in so many are empty.
FEWEST_COLUMNS = 64
FEWEST_ROWS = 8
FEWEST_EMPTY = 8

# Empty columns that are worth one run more.
GAP = 4

# After so many rows each it is seen whether all columns are used already.
ROWS_A_LOOK = 8


@loop
def mark_columns(X, n_columns, first, order, start, rows, used):
    """Overwrite `used` by 1 for each column that has an element other than 0, else by 0.

    Element j is for column ``first + j`` of the flat X, whose rows are `n_columns` long, and the
    rows ``order[start : start + rows]``. NaN is other than 0.
    """
    one = used.dtype.type(1.0)
    zero = used.dtype.type(0.0)
    for j in range(used.size):
        used[j] = zero
    for r in range(rows):
        if start + r + ROWS_AHEAD < order.size:
            prefetch_row(X, order[start + r + ROWS_AHEAD] * n_columns + first, used.size)
        row = vector(X, order[start + r] * n_columns + first, used.size)
        for j in range(used.size):
            used[j] = used[j] if row[j] == zero else one
        if r % ROWS_A_LOOK == 0:
            n_empty = 0
            for j in range(used.size):
                n_empty += 1 if used[j] == zero else 0
            if n_empty == 0:
                return


@loop
def list_runs(used, n_parts, stride, runs):
    """Overwrite `runs` by those of the columns that any of `n_parts` parts has marked.

    Part p's marks begin at element ``p * stride`` of `used`. Column 0 counts as marked, so that
    there is a run. Returns the number of columns in runs.
    """
    n_runs = 0
    n_used = 0
    first = 0
    place = 0
    stop = -GAP  # end of the last run
    for j in range(runs.size):
        is_used = j == 0
        for p in range(n_parts):
            is_used = is_used or used[p * stride + j] != 0.0
        if not is_used:
            continue
        if j - stop >= GAP:
            n_runs += 1
            first = j
            place = n_used
        n_used = place + j - first + 1
        stop = j + 1
        runs[3 * n_runs - 1] = first
        runs[3 * n_runs] = place
        runs[3 * n_runs + 1] = stop - first
    runs[0] = n_runs
    runs[1] = n_used
    return n_used


@inline
def run_bounds(runs, q):
    """First column, place and length of a run."""
    return int(runs[2 + 3 * q]), int(runs[3 + 3 * q]), int(runs[4 + 3 * q])


@inline
def place_of(runs, column):
    """How many columns in runs come before a column; the bias is one more, after all others."""
    if column > runs.size:
        return int(runs[1]) + 1
    place = 0
    for q in range(int(runs[0])):
        first = int(runs[2 + 3 * q])
        if column > first:
            place = int(runs[3 + 3 * q]) + min(column - first, int(runs[4 + 3 * q]))
    return place


@loop
def copy_rows_by_runs(X, n_columns, first, order, start, runs, copied):
    """Overwrite the first elements of each row of `copied` by the runs of columns of a row of X.

    The rest of its rows is left alone. X, `first` and the rows are those of `mark_columns`.
    """
    for r in range(copied.shape[0]):
        row = order[start + r] * n_columns + first
        for q in range(int(runs[0])):
            column, place, n = run_bounds(runs, q)
            copy_run(X, row + column, copied, r * copied.shape[1] + place, n)


@loop
def pack_rows_by_runs(W, runs, j, panel):
    """Overwrite `panel` by the runs' rows of W, its columns from `j` on."""
    columns = panel.shape[1]
    for q in range(int(runs[0])):
        first, place, n = run_bounds(runs, q)
        if columns == W.shape[1]:
            copy_run(W, first * columns, panel, place * columns, n * columns)
            continue
        for r in range(n):
            copy_run(W, (first + r) * W.shape[1] + j, panel, (place + r) * columns, columns)


@loop
def spread_rows(gradient, k0, k1, runs):
    """Move rows of the gradient of [W; b] from the top of `gradient` to their places.

    They are those of the columns in runs among ``k0 : k1``, and of the bias, if that is one of
    them; the rows of the other columns are overwritten by zeros.
    """
    before = place_of(runs, k0)
    end = min(k1, runs.size)
    if k1 > end:
        move_row(gradient, int(runs[1]) - before, end - k0)
    for q in range(int(runs[0]) - 1, -1, -1):
        first, place, n = run_bounds(runs, q)
        low, high = max(first, k0), min(first + n, end)
        if low >= high:
            continue
        clear_rows(gradient, high - k0, end - k0)
        # From below, so that no row is overwritten before it has been moved.
        for row in range(high - 1, low - 1, -1):
            move_row(gradient, place + row - first - before, row - k0)
        end = low
    clear_rows(gradient, 0, end - k0)


@inline
def move_row(gradient, source, target):
    """Copy a row of a matrix to another."""
    columns = gradient.shape[1]
    if source != target:
        copy_run(gradient, source * columns, gradient, target * columns, columns)


@inline
def clear_rows(gradient, first, stop):
    """Overwrite rows by zeros."""
    columns = gradient.shape[1]
    run = vector(gradient, first * columns, (stop - first) * columns)
    for i in range(run.size):
        run[i] = 0.0


class Marks(NamedTuple):
    """Marks of used columns, of `n_parts` parts, each `stride` elements after the other's."""

    used: np.ndarray
    n_parts: int
    stride: int


@part
def copy_used_columns(data, net, space, team, rows, whole, columns, copied):
    """Copy those of the `columns` of X that are not empty, for some `rows` of a mini-batch.

    Only if these and the rows of the others of the team are the `whole` mini-batch: then gradients
    are overwritten, not added to. Overwrites the part's runs and what `columns_part` says of the
    vector `copied`. Returns whether it did so.
    """
    plan = net.plan
    runs = runs_of(net, space, columns.first, columns.stop - columns.first)
    if plan.columns_at == 0 or not whole or runs[0] == NOT_LOOKED_FOR:
        return False
    for marking in range(1, -1, -1):
        marks = _own_marks(net, space, columns)
        if not marking and team.n_parts > 1:
            marks = _marks_of_team(net, space, columns, team.n_parts)
        X, order, at = data.X, data.order, plan.columns_at
        call_worker(at, marking, X, columns, order, rows, marks, runs, copied)
        if marking:
            barrier(team.sync, team.n_parts)
    return runs[0] != NOT_LOOKED_FOR


@inline
def _own_marks(net, space, columns):
    """A part's own marks of columns."""
    size = columns.stop - columns.first
    return Marks(vector(space.scratch, net.plan.used_columns + columns.first, size), 1, 0)


@inline
def _marks_of_team(net, space, columns, n_parts):
    """The marks of columns of all parts."""
    stride = net.plan.scratch_size
    size = (n_parts - 1) * stride + columns.stop - columns.first
    first = net.plan.scratch + net.plan.used_columns + columns.first
    return Marks(vector(space.work, first, size), n_parts, stride)


@inline
def used_weights(W, runs, j, columns, net, space):
    """Copy of the runs' rows of W, of its columns from `j` on, in the part's scratch."""
    depth = int(runs[1])
    used = matrix(vector(space.scratch, net.plan.packed, depth * columns), 0, depth, columns)
    call_worker(net.plan.pack_at, W, runs, j, used)
    return used


@part
def multiply_used(A, W, b, runs, C, net, space):
    """Overwrite the block C by A W + b, of its columns of W.

    The block A has the columns in runs alone, from its first on. May destroy the scratch of
    products, and what `used_weights` does.
    """
    width = panel_width(W)
    scratch = product_scratch(net, space)
    for c in range(0, C.columns, width):
        n = min(C.columns - c, width)
        panel = used_weights(W, runs, C.column + c, n, net, space)
        a, result = piece(A, 0, 0, A.rows, panel.shape[0]), piece(C, 0, c, C.rows, n)
        multiply(a, whole(panel), FROM_ROW, b, result, scratch)


@worker
def columns_part(marking, X, columns, order, rows, marks, runs, copied):
    """Do `mark_columns` for the `columns`, as many as `runs` has elements, or copy those in use.

    Then `runs` is overwritten, and `copied`, unless too few columns are empty: each slice has runs
    of its own, and a matrix, see `context.Columns`. For the other arguments see `list_runs`, which
    has them for each slice, and `copy_rows_by_runs`; `rows` are `context.Rows`.
    """
    start, first, width = rows.start, columns.first, columns.width
    if marking:
        used = vector(marks.used, 0, runs.size)
        mark_columns(X, columns.of, first, order, start, rows.count, used)
        return
    n_left = runs.size
    for k in range(0, runs.size, width):
        n = min(width, runs.size - k)
        used = vector(marks.used, k, marks.used.size - k)
        n_left -= list_runs(used, marks.n_parts, marks.stride, vector(runs, k, n))
    if n_left * FEWEST_EMPTY < runs.size:
        for k in range(0, runs.size, width):
            runs[k] = NOT_LOOKED_FOR
        return
    for k in range(0, runs.size, width):
        n = min(width, runs.size - k)
        to = matrix(copied, columns.room * k, rows.count, n + columns.gap)
        copy_rows_by_runs(X, columns.of, first + k, order, start, vector(runs, k, n), to)


@worker
def pack_part(W, runs, j, panel):
    """Do `pack_rows_by_runs`."""
    pack_rows_by_runs(W, runs, j, panel)


@worker
def spread_part(gradient, k0, k1, runs):
    """Do `spread_rows`."""
    spread_rows(gradient, k0, k1, runs)


@functools.cache
def addresses(dtype):
    """Addresses of the workers for networks of `dtype`, compiled or loaded on first use."""
    return tuple(part.address(*arguments) for part, arguments in _workers(dtype))


def are_kept(dtype):
    """Whether none of the workers for networks of `dtype` need be compiled."""
    return all(part.is_kept(*arguments) for part, arguments in _workers(dtype))


@functools.cache
def _workers(dtype):
    """The workers, and Numba's types of their arguments."""
    number, index = from_dtype(np.dtype(dtype)), types.int64
    numbers, table = types.Array(number, 1, "C"), types.Array(number, 2, "C")
    columns, rows = named(Columns, *[index] * 6), named(Rows, *[index] * 3)
    order, marks = types.Array(index, 1, "C"), named(Marks, numbers, index, index)
    return (
        (columns_part, (index, numbers, columns, order, rows, marks, numbers, numbers)),
        (pack_part, (table, numbers, index, table)),
        (spread_part, (table, index, index, numbers)),
    )
