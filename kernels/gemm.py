"""The one matrix product under the three of a network, in register tiles.

`multiply` computes C = start + A B for blocks of C, with A or B transposed if need be; the start
is zero, a row that is the same for all rows (a bias), or what C holds (an earlier chunk's sums).
Forward, delta-propagation and weight gradients are this product with other operands, see `dense`.

Tiles walk down a panel of B, two vectors wide, and along rows (or columns) of A. An operand is
first copied ("packed") to where its rows lie closer if they are a memory page apart or the walk
would run across B's rows, and B also where its rows straddle cache lines, in large products. As
little as possible is copied, in pieces that stay in the first two levels of the cache: Goto and van
de Geijn (2008), Anatomy of high-performance matrix multiplication,
https://doi.org/10.1145/1356052.1356053.
"""

from fastmlp.kernels._jit import inline, loop, part
from fastmlp.kernels.blocks import (
    Block,
    as_row,
    block,
    piece,
    row_of,
    transpose,
    viewed,
    whole,
)
from fastmlp.kernels.elementwise import fma
from fastmlp.kernels.simd import (
    FROM_C,
    FROM_ROW,
    FROM_ZERO,
    LONG_SUM,
    LOW,
    MIDDLE,
    TALL,
    VECTOR_BYTES,
    address,
    copy_run,
    inner_product,
    panel_width,
    tile,
    transpose_block,
)
from fastmlp.kernels.view import matrix, vector

# Steps of the summation index that a packed panel of B holds: as many as the second level of the
# cache has room for, since C is read and written once for each.
DEPTH = 2048

# Steps that packed rows of A hold, and the most rows that are packed at a time, which bound the
# memory; whole tiles.
PACKED_DEPTH = 1024
BLOCK_ROWS = 1024 // TALL * TALL

# Rows of so many bytes, or of a multiple, but for the slack, have the same column of all of them in
# as many pages and in the same few cache sets; and the rows (columns) of C from which a copy of B
# (A) is reused often enough.
PACK_BYTES = 4096
PACK_SLACK = 32
PACK_ROWS = 5 * TALL
PACK_PANELS = 4

# Multiply-adds from which B is copied where its rows straddle cache lines, or where A is read
# across its rows as well, both page after page.
PACK_WORK = 1 << 27

# Where A is read across its rows, it is in pieces of so many columns, or half as many, that leave
# the second level of the cache room for a panel of B.
ACROSS_ROWS = 2 * PACK_ROWS
ACROSS_BYTES = 1 << 18

# B is read row by row, as it lies, for one row of C for each megabyte of B that no cache of a core
# holds, up to a limit, if the rows have so many panels.
STREAM_BYTES = 1 << 20
STREAM_ROWS = 16
STREAM_PANELS = 8

# A is so shallow that reading and writing a row of C for each of its steps costs less than tiles
# that write to rows in as many pages.
SHALLOW = 2

# Rows of a product of one column from which its transpose is formed, with A packed transposed.
COLUMN_ROWS = 8

# Vector operations that the transposition of a square of vectors is worth, there and back.
SWAP_COST = 400


@part
def multiply(A, B, origin, row, C, scratch):
    """Overwrite C by start + A B, each a `Block`, of which C is not transposed.

    The start of element (r, c) is 0, ``row[C.column + c]``, or what it holds, by `origin`; `row` is
    a vector and not read by other origins. Sums run in ascending order of the summation index, one
    chain an element, but where C's matrix has one column, B's elements lie next to each other and A
    is not transposed: from `LONG_SUM` steps on that is start + `inner_product`. So the order is
    one of a layer's sizes, as a layer's outputs are matrices of their own.

    A has a column at least. May destroy `scratch`, a vector of at least `scratch_size` elements.
    """
    A, B = viewed(A), as_row(B)
    rows, columns, depth = C.rows, C.columns, A.columns
    swappable = A.transposed and origin != FROM_ROW
    if swappable and swap_pays(rows, columns, depth, panel_width(A.matrix) // 2):
        # Few columns would fill few lanes of a vector: form C's transpose, with A as B.
        result = matrix(scratch, 0, columns, rows)
        if columns == C.matrix.shape[1] == 1:
            result = matrix(C.matrix, C.row, 1, rows)
        elif origin == FROM_C:
            transpose_matrix(C.matrix, C.row, C.column, rows, columns, result, 0, 0)
        rest = vector(scratch, rows * columns, scratch.size - rows * columns)
        _blocks(transpose(B), transpose(A), origin, row, whole(result), rest)
        if columns > 1 or C.matrix.shape[1] > 1:
            transpose_matrix(result, 0, 0, columns, rows, C.matrix, C.row, C.column)
        return
    if is_chained(A, B, C):
        _inner_products(A, B, origin, row, C)
        return
    if columns == C.matrix.shape[1] == 1 and not A.transposed and rows >= COLUMN_ROWS:
        # A column would fill one lane of a vector: form it as a row, from A's transpose.
        result = matrix(C.matrix, C.row, 1, rows)
        if origin == FROM_ROW:
            for r in range(rows):
                result[0, r] = row[C.column]
            origin = FROM_C
        _blocks(transpose(B), transpose(A), origin, row, whole(result), scratch)
        return
    if not (A.transposed or B.transposed) and (
        streaming_pays(rows, columns, B.matrix) or _is_shallow(columns, depth, C.matrix)
    ):
        multiply_streaming(A, B, origin, row, C)
        return
    _blocks(A, B, origin, row, C, scratch)


def scratch_size(rows, depth, width):
    """Elements of scratch that a product of so many rows and steps may destroy.

    A panel of B of `width` columns, packed rows of A and a narrow result. Where A is neither
    transposed nor packed, that of a single row is enough.
    """
    steps, block = min(depth, PACKED_DEPTH), min(rows, BLOCK_ROWS)
    gaps = max(block, steps) * (width // 2)
    return min(depth, DEPTH) * width + block * steps + gaps + rows * width


def are_pages(row_bytes):
    """Whether rows of so many bytes are as long as some memory pages, or nearly so."""
    return row_bytes > PACK_SLACK and (row_bytes + PACK_SLACK) % PACK_BYTES <= 2 * PACK_SLACK


_are_pages = inline(are_pages)


@inline
def packs_a(A, columns):
    """Whether a product of so many columns copies the rows of A."""
    return columns >= PACK_PANELS * panel_width(A) and _are_pages(A.shape[1] * A.itemsize)


@inline
def packs_b(a_transposed, B, rows):
    """Whether a product with the block B copies panels of it, for so many rows of C."""
    if B.transposed:
        return True
    row_bytes = B.matrix.shape[1] * B.matrix.itemsize
    if _are_pages(row_bytes):
        return rows >= PACK_ROWS
    if rows * B.columns * B.rows < PACK_WORK:
        return False
    if a_transposed:
        return rows_across(B.matrix, B.rows) == 0
    first = address(B.matrix, B.row * B.matrix.shape[1] + B.column)
    return row_bytes % VECTOR_BYTES != 0 or first % VECTOR_BYTES != 0


@inline
def rows_across(A, depth):
    """Rows of C to form at a time from an A that is read across its rows, 0 for all."""
    for rows in (ACROSS_ROWS, ACROSS_ROWS // 2):
        if rows * depth * A.itemsize <= ACROSS_BYTES:
            return rows
    return 0


@inline
def streaming_pays(rows, columns, B):
    """Whether a product with few rows does better to read B in the order of memory."""
    few = min(STREAM_ROWS, B.size * B.itemsize // STREAM_BYTES)
    return rows <= few and columns >= STREAM_PANELS * panel_width(B)


@inline
def is_chained(A, B, C):
    """Whether a product is a column of inner products of many chains each."""
    if A.columns < LONG_SUM or A.transposed or C.matrix.shape[1] != 1:
        return False
    return B.transposed == 1 or B.matrix.shape[1] == 1


@inline
def _inner_products(A, B, origin, row, C):
    """Do `multiply` where `is_chained`."""
    for r in range(C.rows):
        start = row[C.column] if origin == FROM_ROW else C.matrix[C.row + r, 0]
        a, b = (A.row + r) * A.matrix.shape[1] + A.column, B.row * B.matrix.shape[1] + B.column
        product = inner_product(A.matrix, a, B.matrix, b, A.columns)
        C.matrix[C.row + r, 0] = product if origin == FROM_ZERO else start + product


@inline
def _is_shallow(columns, depth, C):
    """Whether a product of few steps does better to write C row by row, each a page or more."""
    return depth <= SHALLOW and columns * C.itemsize >= PACK_BYTES


@loop
def multiply_streaming(A, B, origin, row, C):
    """Do `multiply` for few rows of C by reading B row by row, as it lies in memory.

    A panel of a B that is in no cache would fetch 128 bytes here and there. The sums wait in C,
    four steps of the summation index at a time. No block is transposed.
    """
    rows, columns, depth = C.rows, C.columns, A.columns
    for r in range(rows):
        result = row_of(C, r)
        if origin == FROM_ZERO:
            for c in range(columns):
                result[c] = 0.0
        elif origin == FROM_ROW:
            start = vector(row, C.column, columns)
            for c in range(columns):
                result[c] = start[c]
    for t in range(0, depth, 4):
        b_0 = row_of(B, t)
        if depth - t < 4:
            for s in range(t, depth):
                b_0 = row_of(B, s)
                for r in range(rows):
                    a, result = row_of(A, r), row_of(C, r)
                    a_0 = a[s]
                    for c in range(columns):
                        result[c] = fma(a_0, b_0[c], result[c])
            return
        b_1, b_2, b_3 = row_of(B, t + 1), row_of(B, t + 2), row_of(B, t + 3)
        for r in range(rows):
            a, result = row_of(A, r), row_of(C, r)
            a_0, a_1, a_2, a_3 = a[t], a[t + 1], a[t + 2], a[t + 3]
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
def _blocks(A, B, origin, row, C, scratch):
    """Do `multiply` block by block of its depth and of rows, panel by panel, tile by tile."""
    rows, columns, depth = C.rows, C.columns, A.columns
    width = panel_width(A.matrix)
    pack_a = packs_a(A.matrix, columns)
    pack_b = packs_b(A.transposed, B, rows)
    step = depth
    if pack_a or pack_b:
        step = min(depth, PACKED_DEPTH if pack_a else DEPTH)
    most = 0
    if pack_a:
        most = BLOCK_ROWS
    elif A.transposed and not pack_b:
        most = rows_across(A.matrix, depth)
    if most == 0 or rows <= most:
        most = rows
    else:  # blocks of about the same size, of whole tiles
        tiles = (rows + most - 1) // most * TALL
        most = (rows + tiles - 1) // tiles * TALL
    packed = vector(scratch, step * width, scratch.size - step * width)
    # Not ranges, which divide by their step: small products have no time for that.
    t = 0
    while t < depth:
        n = min(depth - t, step)
        start = origin if t == 0 else FROM_C
        r = 0
        while r < rows:
            n_rows = min(rows - r, most)
            a = piece(A, r, t, n_rows, n)
            if pack_a:
                a = packed_block(a, packed)
            # Panels of columns outside, rows inside: the panel of B stays in cache for all rows.
            for c in range(0, columns, width):
                m = min(columns - c, width)
                panel = panel_of(piece(B, t, c, n, m), pack_b, scratch)
                tile_rows(a, panel, start, row, piece(C, r, c, n_rows, m))
            r += n_rows
        t += n


@inline
def tile_rows(A, B, origin, row, C):
    """Do what `tile` does, for any number of rows."""
    r = 0
    while r < C.rows:
        rows = tile_height(C.rows - r)
        a, c = piece(A, r, 0, rows, A.columns), piece(C, r, 0, rows, C.columns)
        tile(a, B, origin, row, c)
        r += rows


@inline
def panel_of(B, packed, scratch):
    """A panel of B, a block, or a copy of it in `scratch` if it is to be `packed`."""
    if not packed:
        return B
    panel = matrix(scratch, 0, B.rows, panel_width(B.matrix))
    if B.transposed:
        transpose_matrix(B.matrix, B.row, B.column, B.columns, B.rows, panel, 0, 0)
    else:
        pack_block(B.matrix, B.row, B.column, B.columns, panel)
    return block(panel, 0, 0, B.rows, B.columns)


@inline
def packed_block(A, packed):
    """Copy of a block in the vector `packed`, as a block."""
    rows, columns = (A.columns, A.rows) if A.transposed else (A.rows, A.columns)
    copy = packed_matrix(packed, rows, columns)
    pack_block(A.matrix, A.row, A.column, columns, copy)
    return Block(copy, 0, 0, A.rows, A.columns, A.transposed)


@inline
def packed_matrix(packed, rows, columns):
    """View of packed rows, a vector apart: a power of two would crowd a few sets of the cache."""
    return matrix(packed, 0, rows, columns + panel_width(packed) // 2)


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
def pack_block(A, i, j, columns, packed):
    """Overwrite the first `columns` columns of `packed` by a block of A, from (i, j) on."""
    for r in range(packed.shape[0]):
        copy_run(A, (i + r) * A.shape[1] + j, packed, r * packed.shape[1], columns)


@inline
def transpose_matrix(A, i, j, rows, columns, B, bi, bj):
    """Overwrite a block of B by the transpose of a block: B[bi + c, bj + r] = A[i + r, j + c]."""
    side = panel_width(A) // 2
    for r in range(0, rows, side):
        for c in range(0, columns, side):
            n_rows, n_columns = min(rows - r, side), min(columns - c, side)
            transpose_block(A, i + r, j + c, B, bi + c, bj + r, n_rows, n_columns)
