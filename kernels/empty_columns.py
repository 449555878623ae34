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

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels._jit import call_worker, inline, loop, part, worker
from fastmlp.kernels.blocks import piece, whole
from fastmlp.kernels.gather import ROWS_AHEAD, prefetch_row
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_ROW, copy_run, panel_width
from fastmlp.kernels.team import barrier
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import part_scratch, product_scratch

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


@part
def copy_used_columns(
    X,
    order,
    layout,
    plan,
    work,
    start,
    rows,
    whole,
    part,
    member,
    n_members,
    k0,
    k1,
    width,
    room,
    copied,
    sync,
):
    """Copy the columns ``k0 : k1`` of X that are not empty, for some rows of a mini-batch.

    Only if these and the rows of the other `n_members` of a team, in which the part is number
    `member`, are the `whole` mini-batch: then gradients are overwritten, not added to. Overwrites
    the part's runs and what `columns_part` says of `copied`. Returns whether it did so.
    """
    runs = part_scratch(work, plan, part, plan.column_runs + k0, k1 - k0)
    if plan.columns_at == 0 or not whole or runs[0] == NOT_LOOKED_FOR:
        return False
    stride = plan.scratch_size
    for marking in range(1, -1, -1):
        # One's own marks, then those of all members.
        first_part, n_marks = (part, 1) if marking else (part - member, n_members)
        size = (n_marks - 1) * stride + k1 - k0
        used = part_scratch(work, plan, first_part, plan.used_columns + k0, size)
        call_worker(
            plan.columns_at,
            marking,
            X,
            layout[0].n_in,
            k0,
            width,
            room,
            plan.input_gap,
            order,
            start,
            rows,
            used,
            n_marks,
            stride,
            runs,
            copied,
        )
        if marking:
            barrier(sync, n_members)
    return runs[0] != NOT_LOOKED_FOR


@inline
def used_weights(W, runs, j, columns, plan, work, part):
    """Copy of the runs' rows of W, of its columns from `j` on, in the scratch of `part`."""
    depth = int(runs[1])
    packed = part_scratch(work, plan, part, plan.packed, depth * columns)
    used = matrix(packed, 0, depth, columns)
    call_worker(plan.pack_at, W, runs, j, used)
    return used


@part
def multiply_used(A, W, b, runs, C, plan, work, part):
    """Overwrite the block C by A W + b, of its columns of W.

    The block A has the columns in runs alone, from its first on. May destroy the scratch of
    products, and what `used_weights` does.
    """
    width = panel_width(W)
    scratch = product_scratch(work, plan, part)
    for c in range(0, C.columns, width):
        n = min(C.columns - c, width)
        panel = used_weights(W, runs, C.column + c, n, plan, work, part)
        a, result = piece(A, 0, 0, A.rows, panel.shape[0]), piece(C, 0, c, C.rows, n)
        multiply(a, whole(panel), FROM_ROW, b, result, scratch)


@worker
def columns_part(
    marking,
    X,
    n_columns,
    first,
    width,
    room,
    gap,
    order,
    start,
    rows,
    used,
    n_parts,
    stride,
    runs,
    copied,
):
    """Do `mark_columns` for as many columns as `runs` has elements, or else copy those in use.

    Then `runs` is overwritten, and `copied`, unless too few columns are empty. Each `width` of
    them, a slice, have runs of their own, and a matrix of their own that begins at element
    ``room * k`` of `copied`, with k the first of them, and has `gap` columns more. For the other
    arguments see `list_runs`, which has them for each slice, and `copy_rows_by_runs`.
    """
    if marking:
        mark_columns(X, n_columns, first, order, start, rows, vector(used, 0, runs.size))
        return
    n_left = runs.size
    for k in range(0, runs.size, width):
        n = min(width, runs.size - k)
        marks = vector(used, k, used.size - k)
        n_left -= list_runs(marks, n_parts, stride, vector(runs, k, n))
    if n_left * FEWEST_EMPTY < runs.size:
        for k in range(0, runs.size, width):
            runs[k] = NOT_LOOKED_FOR
        return
    for k in range(0, runs.size, width):
        n = min(width, runs.size - k)
        to = matrix(copied, room * k, rows, n + gap)
        copy_rows_by_runs(X, n_columns, first + k, order, start, vector(runs, k, n), to)


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
    rows = types.Array(index, 1, "C"), index, index
    sizes, marks = [index] * 5, (numbers, index, index)
    return (
        (columns_part, (index, numbers, *sizes, *rows, *marks, numbers, numbers)),
        (pack_part, (table, numbers, index, table)),
        (spread_part, (table, index, index, numbers)),
    )
