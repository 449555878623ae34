"""The one matrix product under the three of a network, in register tiles.

`multiply` computes C = start + A B for blocks of C, with A or B transposed if need be; the start
is zero, a row that is the same for all rows (a bias), or what C holds (an earlier chunk's sums).
Forward, delta-propagation and weight gradients are this product with other operands, see `dense`.

Tiles walk down a panel of B, two vectors wide, and along rows (or columns) of A. Where either
walk would touch a new memory page at every step, or run across B's rows, the operand is first
copied ("packed") into the order of the walk, `DEPTH` steps at a time so that the copies stay in
the first two levels of the cache: Goto and van de Geijn (2008), Anatomy of high-performance
matrix multiplication, https://doi.org/10.1145/1356052.1356053.
"""

from fastmlp.kernels._jit import inline, loop, part
from fastmlp.kernels.elementwise import fma
from fastmlp.kernels.simd import (
    FROM_C,
    FROM_ROW,
    FROM_ZERO,
    LOW,
    MIDDLE,
    TALL,
    copy_run,
    matrix,
    panel_width,
    tile,
    transpose_block,
    vector,
)

# Steps of the summation index that packed operands hold: a panel of B takes 32 KB.
DEPTH = 256

# Bytes of a row from which walking down a column is a new page, or the same few cache sets, at
# every step; and the rows (columns) of C from which a copy of B (A) is reused often enough.
PACK_BYTES = 4096
PACK_ROWS = 5 * TALL
PACK_PANELS = 4

# B is read row by row, as it lies, for one row of C for each megabyte of B that no cache of a core
# holds, up to a limit, if the rows have so many panels.
STREAM_BYTES = 1 << 20
STREAM_ROWS = 16
STREAM_PANELS = 8

# Rows of a product of one column from which its transpose is formed, with A packed transposed.
COLUMN_ROWS = 8

# Vector operations that the transposition of a square of vectors is worth, there and back.
SWAP_COST = 400


@part
def multiply(
    A, i, a_transposed, B, j, b_transposed, origin, row, C, ci, cj, rows, columns, depth, scratch
):
    """Overwrite a block of C: C[ci + r, cj + c] = start + sum over t of a(r, t) b(t, c).

    ``a(r, t)`` is ``A[i + r, t]``, or ``A[t, i + r]`` if `a_transposed`; ``b(t, c)`` is
    ``B[t, j + c]``, or ``B[j + c, t]`` if `b_transposed`; t runs up to `depth`. The start is 0,
    ``row[cj + c]`` or C itself by `origin`. Sums run in ascending order of t, one chain an element.

    `depth` is at least 1. May destroy `scratch`, a vector of at least min(`depth`, `DEPTH`) *
    `panel_width` elements and, if `a_transposed`, min(`depth`, `DEPTH`) * (`rows` rounded up to a
    multiple of `TALL`) + `rows` * `panel_width` more.
    """
    swappable = a_transposed and origin != FROM_ROW
    if swappable and swap_pays(rows, columns, depth, panel_width(A) // 2):
        # Few columns would fill few lanes of a vector: form C's transpose, with A as B.
        result = matrix(scratch, 0, columns, rows)
        if columns == C.shape[1] == 1:
            result = matrix(C, ci, 1, rows)
        elif origin == FROM_C:
            transpose_matrix(C, ci, cj, rows, columns, result, 0, 0)
        rest = vector(scratch, rows * columns, scratch.size - rows * columns)
        b_down = 1 - b_transposed
        _blocks(B, j, b_down, A, i, 0, origin, row, result, 0, 0, columns, rows, depth, rest)
        if columns > 1 or C.shape[1] > 1:
            transpose_matrix(result, 0, 0, columns, rows, C, ci, cj)
        return
    if columns == C.shape[1] == 1 and not a_transposed and rows >= COLUMN_ROWS:
        # A column would fill one lane of a vector: form it as a row, from A's transpose.
        result = matrix(C, ci, 1, rows)
        if origin == FROM_ROW:
            for r in range(rows):
                result[0, r] = row[cj]
            origin = FROM_C
        b_down = 1 - b_transposed
        _blocks(B, j, b_down, A, i, 1, origin, row, result, 0, 0, 1, rows, depth, scratch)
        return
    if not (a_transposed or b_transposed) and streaming_pays(rows, columns, B):
        multiply_streaming(A, i, B, j, origin, row, C, ci, cj, rows, columns, depth)
        return
    _blocks(
        A,
        i,
        a_transposed,
        B,
        j,
        b_transposed,
        origin,
        row,
        C,
        ci,
        cj,
        rows,
        columns,
        depth,
        scratch,
    )


@inline
def streaming_pays(rows, columns, B):
    """Whether a product with few rows does better to read B in the order of memory."""
    few = min(STREAM_ROWS, B.size * B.itemsize // STREAM_BYTES)
    return rows <= few and columns >= STREAM_PANELS * panel_width(B)


@loop
def multiply_streaming(A, i, B, j, origin, row, C, ci, cj, rows, columns, depth):
    """Do `multiply` for few rows of C by reading B row by row, as it lies in memory.

    A panel of a B that is in no cache would fetch 128 bytes here and there. The sums wait in C,
    four steps of the summation index at a time.
    """
    for r in range(rows):
        result = vector(C, (ci + r) * C.shape[1] + cj, columns)
        if origin == FROM_ZERO:
            for c in range(columns):
                result[c] = 0.0
        elif origin == FROM_ROW:
            start = vector(row, cj, columns)
            for c in range(columns):
                result[c] = start[c]
    for t in range(0, depth, 4):
        b = B.shape[1] * t + j
        b_0 = vector(B, b, columns)
        if depth - t < 4:
            for s in range(t, depth):
                b_0 = vector(B, B.shape[1] * s + j, columns)
                for r in range(rows):
                    result = vector(C, (ci + r) * C.shape[1] + cj, columns)
                    a_0 = A[i + r, s]
                    for c in range(columns):
                        result[c] = fma(a_0, b_0[c], result[c])
            return
        b_1 = vector(B, b + B.shape[1], columns)
        b_2 = vector(B, b + 2 * B.shape[1], columns)
        b_3 = vector(B, b + 3 * B.shape[1], columns)
        for r in range(rows):
            result = vector(C, (ci + r) * C.shape[1] + cj, columns)
            a_0, a_1, a_2, a_3 = A[i + r, t], A[i + r, t + 1], A[i + r, t + 2], A[i + r, t + 3]
            for c in range(columns):
                first = fma(a_1, b_1[c], fma(a_0, b_0[c], result[c]))
                result[c] = fma(a_3, b_3[c], fma(a_2, b_2[c], first))


@inline
def swap_pays(rows, columns, depth, lanes):
    """Whether a product is faster transposed: narrow, and deep enough to transpose the result."""
    across = (columns + lanes - 1) // lanes
    down = (rows + lanes - 1) // lanes
    saved = rows * across - columns * down
    return columns <= 2 * lanes and saved * depth > SWAP_COST * (
        across * down if columns > 1 else 1
    )


@inline
def _blocks(
    A, i, a_transposed, B, j, b_transposed, origin, row, C, ci, cj, rows, columns, depth, scratch
):
    """Do `multiply` block by block of `depth`, panel by panel of columns, tile by tile of rows."""
    width = panel_width(A)
    pack_b = b_transposed or (rows >= PACK_ROWS and B.shape[1] * B.itemsize >= PACK_BYTES)
    pack_a = (
        a_transposed and columns >= PACK_PANELS * width and A.shape[1] * A.itemsize >= PACK_BYTES
    )
    step = min(depth, DEPTH) if pack_a or pack_b else depth
    n_panel = step * width
    for t in range(0, depth, step):
        n = min(depth - t, step)
        start = origin if t == 0 else FROM_C
        if pack_a:
            pack_strips(A, i, t, rows, n, vector(scratch, n_panel, scratch.size - n_panel))
        # Panels of columns outside, rows inside: the panel of B stays in cache for all rows.
        for c in range(0, columns, width):
            n_columns = min(columns - c, width)
            if pack_b:
                panel, pj = matrix(scratch, 0, n, width), 0
                if b_transposed:
                    transpose_matrix(B, j + c, t, n_columns, n, panel, 0, 0)
                else:
                    pack_panel(B, t, j + c, n_columns, panel)
            else:
                panel, pj = matrix(B, t * B.shape[1], n, B.shape[1]), j + c
            r = 0
            while r < rows:
                n_rows = tile_height(rows - r)
                to = ci + r
                if pack_a:
                    first = r // TALL * TALL
                    strip = matrix(scratch, n_panel + first * n, n, TALL)
                    at = r - first
                    tile(
                        strip, at, 0, 1, panel, pj, start, row, C, to, cj + c, n_rows, n_columns, n
                    )
                else:
                    tile(
                        A,
                        i + r,
                        t,
                        a_transposed,
                        panel,
                        pj,
                        start,
                        row,
                        C,
                        to,
                        cj + c,
                        n_rows,
                        n_columns,
                        n,
                    )
                r += n_rows


@inline
def tile_height(rows):
    """Rows of the tallest tile that goes into `rows` rows."""
    if rows >= TALL:
        return TALL
    if rows >= MIDDLE:
        return MIDDLE
    if rows >= LOW:
        return LOW
    return min(rows, 2)


@loop
def pack_panel(B, k, j, columns, panel):
    """Overwrite the first `columns` columns of `panel` by those of B from (k, j) on."""
    for t in range(panel.shape[0]):
        copy_run(B, (k + t) * B.shape[1] + j, panel, t * panel.shape[1], columns)


@inline
def transpose_matrix(A, i, j, rows, columns, B, bi, bj):
    """Overwrite a block of B by the transpose of a block: B[bi + c, bj + r] = A[i + r, j + c]."""
    side = panel_width(A) // 2
    for r in range(0, rows, side):
        for c in range(0, columns, side):
            n_rows, n_columns = min(rows - r, side), min(columns - c, side)
            transpose_block(A, i + r, j + c, B, bi + c, bj + r, n_rows, n_columns)


@loop
def pack_strips(A, i, k, rows, depth, strips):
    """Overwrite `strips` by columns ``i : i+rows`` of A, `TALL` of them at a time.

    Strip s holds ``A[k + t, i + s * TALL + r]`` at ``(s * depth + t) * TALL + r``.
    """
    for r in range(0, rows, TALL):
        n = min(rows - r, TALL)
        for t in range(depth):
            copy_run(A, (k + t) * A.shape[1] + i + r, strips, r * depth + t * TALL, n)
