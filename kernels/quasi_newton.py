"""A symmetric matrix by its lower triangle: its product with a vector, and its rank-two update.

What dense quasi-Newton methods do with their inverse Hessian H. The triangle lies row by row in
one vector, (0, 0), (1, 0), (1, 1), (2, 0), ...: half the memory of a square, and as H is larger
than the cache where it matters, half the time. Both kernels pass over H once. They are serial,
for memory is what limits them.
"""

from fastmlp.kernels._jit import entry, inline, loop
from fastmlp.kernels.view import vector

# Rows whose sums run side by side: an addition takes as long as several start, and the compiler
# may not reorder a sum to make vectors of it.
_ROWS = 8


@inline
def triangle_row(H, i, length):
    """View the first `length` elements of row `i` of the lower triangle `H`."""
    return vector(H, i * (i + 1) // 2, length)


@loop
def add_rows_product(H, i, x, product):
    """Accumulate into `product` what columns 0 to i - 1 of the rows i to i + 7 contribute.

    That is as rows, and mirrored as columns.
    """
    r0, r1 = triangle_row(H, i, i), triangle_row(H, i + 1, i)
    r2, r3 = triangle_row(H, i + 2, i), triangle_row(H, i + 3, i)
    r4, r5 = triangle_row(H, i + 4, i), triangle_row(H, i + 5, i)
    r6, r7 = triangle_row(H, i + 6, i), triangle_row(H, i + 7, i)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    for j in range(i):
        s0 += r0[j] * x[j]
        s1 += r1[j] * x[j]
        s2 += r2[j] * x[j]
        s3 += r3[j] * x[j]
        s4 += r4[j] * x[j]
        s5 += r5[j] * x[j]
        s6 += r6[j] * x[j]
        s7 += r7[j] * x[j]
    x0, x1, x2, x3 = x[i], x[i + 1], x[i + 2], x[i + 3]
    x4, x5, x6, x7 = x[i + 4], x[i + 5], x[i + 6], x[i + 7]
    for j in range(i):
        product[j] += ((r0[j] * x0 + r1[j] * x1) + (r2[j] * x2 + r3[j] * x3)) + (
            (r4[j] * x4 + r5[j] * x5) + (r6[j] * x6 + r7[j] * x7)
        )
    product[i] += s0
    product[i + 1] += s1
    product[i + 2] += s2
    product[i + 3] += s3
    product[i + 4] += s4
    product[i + 5] += s5
    product[i + 6] += s6
    product[i + 7] += s7


@entry
def symmetric_product(H, x, product):
    """Overwrite `product` by H x; all float64, H as its lower triangle, x and product apart."""
    n = x.size
    n_blocked = n - n % _ROWS
    product[:] = 0.0
    for i in range(0, n_blocked, _ROWS):
        add_rows_product(H, i, x, product)
    for i in range(n):
        first = i - i % _ROWS if i < n_blocked else 0
        row = triangle_row(H, i, i + 1)
        for j in range(first, i):
            product[i] += row[j] * x[j]
            product[j] += row[j] * x[i]
        product[i] += row[i] * x[i]


@loop
def add_row(row, s, q, s_factor, q_factor):
    """Accumulate s_factor s + q_factor q into `row`, which may be shorter than both."""
    for j in range(row.size):
        row[j] += s_factor * s[j] + q_factor * q[j]


@entry
def rank_two_update(H, s, q, ss, sq, qq):
    """Accumulate ss s s^T + sq (s q^T + q s^T) + qq q q^T into the lower triangle `H`.

    Float64; `ss`, `sq` and `qq` are the factors.
    """
    for i in range(s.size):
        row = triangle_row(H, i, i + 1)
        add_row(row, s, q, ss * s[i] + sq * q[i], sq * s[i] + qq * q[i])
