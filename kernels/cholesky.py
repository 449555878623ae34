"""Solves with a symmetric positive definite matrix: Cholesky's factorization by the tile product.

LAPACK would wake the threads of BLAS, which spin on after a small system and take the cores that
our kernels need; and its bits may depend on how many there are.

`factor_part` is the worker, one part's columns of a block of rows; `solve_damped` is the driver.
"""

import functools

import numpy as np
from numba import types

from fastmlp.kernels._jit import call_worker, entry, inline, loop, prange, worker
from fastmlp.kernels.blocks import block, transpose, whole
from fastmlp.kernels.dense import new_scratch, part_bounds
from fastmlp.kernels.elementwise import fma
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_C, TALL
from fastmlp.kernels.view import matrix, vector

# Rows of the factor that are found at a time: enough for a product to make good use of a packed
# panel, few enough for what is done without the product to be a small part of the whole.
BLOCK_ROWS = 6 * TALL

# Columns of such a block that stay in cache while each row is taken off those below it.
STRIP_COLUMNS = 128


@loop
def add_to_diagonal(A, amount, sums):
    """Overwrite the matrix `sums` by A + amount I; both are square."""
    source, copied = vector(A, 0, A.size), vector(sums, 0, A.size)
    for i in range(source.size):
        copied[i] = source[i]
    for i in range(A.shape[0]):
        sums[i, i] += amount


@loop
def negate_columns(U, j, columns, depth, negative):
    """Overwrite `negative`, read as (depth, columns), by - U[:depth, j : j + columns]."""
    for t in range(depth):
        source = vector(U, t * U.shape[1] + j, columns)
        copied = vector(negative, t * columns, columns)
        for c in range(columns):
            copied[c] = -source[c]


@loop
def subtract_above(U, i, r, c0, c1):
    """Subtract, from columns ``c0 : c1`` of row r of U, the sum over s from i to r - 1 of
    ``U[s, r]`` times row s, four rows at a time."""
    n = U.shape[1]
    row = vector(U, r * n + c0, c1 - c0)
    s = i
    while s + 4 <= r:
        f_0, f_1, f_2, f_3 = -U[s, r], -U[s + 1, r], -U[s + 2, r], -U[s + 3, r]
        a_0 = vector(U, s * n + c0, c1 - c0)
        a_1 = vector(U, (s + 1) * n + c0, c1 - c0)
        a_2 = vector(U, (s + 2) * n + c0, c1 - c0)
        a_3 = vector(U, (s + 3) * n + c0, c1 - c0)
        for c in range(row.size):
            first = fma(f_1, a_1[c], fma(f_0, a_0[c], row[c]))
            row[c] = fma(f_3, a_3[c], fma(f_2, a_2[c], first))
        s += 4
    for t in range(s, r):
        f_0 = -U[t, r]
        a_0 = vector(U, t * n + c0, c1 - c0)
        for c in range(row.size):
            row[c] = fma(f_0, a_0[c], row[c])


@inline
def factor_diagonal(U, i, rows):
    """Overwrite the upper triangle of a diagonal block of U by that of its Cholesky factor.

    Returns whether it is positive definite; if not, the block is destroyed.
    """
    for r in range(i, i + rows):
        subtract_above(U, i, r, r, i + rows)
        pivot = U[r, r]
        # NaN is not above 0 either.
        if not (pivot > 0.0 and np.isfinite(pivot)):
            return False
        divide_row(U, r, r, i + rows, np.sqrt(pivot))
    return True


@inline
def eliminate_rows(U, i, rows, c0, c1):
    """Overwrite X = U[i : i + rows, c0 : c1] by D^-T X, with D the factor on the diagonal there."""
    for r in range(i, i + rows):
        subtract_above(U, i, r, c0, c1)
        divide_row(U, r, c0, c1, U[r, r])


@loop
def divide_row(U, r, c0, c1, divisor):
    """Divide columns ``c0 : c1`` of row r of U."""
    row = vector(U, r * U.shape[1] + c0, c1 - c0)
    for c in range(row.size):
        row[c] /= divisor


@loop
def solve_factored(U, x):
    """Overwrite the vector `x` by (U^T U)^-1 x; of U the upper triangle is read."""
    n = x.size
    for r in range(n):
        row = vector(U, r * n, n)
        x[r] /= row[r]
        factor = x[r]
        for c in range(r + 1, n):
            x[c] -= factor * row[c]
    for r in range(n - 1, -1, -1):
        row = vector(U, r * n, n)
        total = x[r]
        for c in range(r + 1, n):
            total -= row[c] * x[c]
        x[r] = total / row[r]


@worker
def factor_part(part, n_parts, i, diagonal, negative, U, definite):
    """Find columns of the rows of the factor from `i` on: the diagonal block or a part of the rest.

    Reads the rows of U above, which are found, and `negative`, which holds their columns
    ``i : i+BLOCK_ROWS`` negated. Overwrites the part's columns of the `BLOCK_ROWS` rows of U,
    on entry those of the matrix. With `diagonal`, which comes first, ``definite[0]`` is
    overwritten as well.
    """
    n = U.shape[0]
    rows = min(BLOCK_ROWS, n - i)
    c0, c1 = i, i + rows
    if not diagonal:
        s0, s1 = part_bounds(n - c1, part, n_parts)
        c0, c1 = c1 + s0, c1 + s1
        if c0 == c1:
            return
    if i > 0:
        scratch = new_scratch(U, rows)
        above = matrix(negative, 0, i, rows)
        columns, result = block(U, 0, c0, i, c1 - c0), block(U, i, c0, rows, c1 - c0)
        multiply(transpose(whole(above)), columns, FROM_C, scratch, result, scratch)
    if diagonal:
        definite[0] = factor_diagonal(U, i, rows)
    else:
        for c in range(c0, c1, STRIP_COLUMNS):
            eliminate_rows(U, i, rows, c, min(c + STRIP_COLUMNS, c1))


@functools.cache
def factor_part_address():
    """Address of `factor_part`, compiled or loaded on first use."""
    index, numbers = types.int64, types.Array(types.float64, 2, "C")
    return factor_part.address(
        index,  # part
        index,  # n_parts
        index,  # i
        index,  # diagonal
        types.Array(types.float64, 1, "C"),  # negative
        numbers,  # U
        types.Array(types.boolean, 1, "C"),  # definite
    )


@entry
def solve_damped(factor_part_at, A, damping, x, n_parts):
    """Overwrite `x` by (A + damping I)^-1 x; return whether that matrix is positive definite.

    A (n, n) is read, float64 and symmetric; if the matrix is not positive definite to rounding,
    `x` stays as it was. The work is shared out to `n_parts` parts, whose number changes no bit.
    """
    n = x.size
    U = np.empty((n, n))
    add_to_diagonal(A, damping, U)
    negative = np.empty(n * min(n, BLOCK_ROWS))
    definite = np.empty(1, np.bool_)
    for i in range(0, n, BLOCK_ROWS):
        negate_columns(U, i, min(BLOCK_ROWS, n - i), i, negative)
        call_worker(factor_part_at, 0, 1, i, 1, negative, U, definite)
        if not definite[0]:
            return False
        if i + BLOCK_ROWS < n:
            for part in prange(n_parts):
                call_worker(factor_part_at, part, n_parts, i, 0, negative, U, definite)
    solve_factored(U, x)
    return True
