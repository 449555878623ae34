"""The one matrix product under the three of a network, in register tiles.

`multiply` computes C = start + A B, or C = start + A^T B; the start is zero, a row that is the
same for all rows (a bias), or what C holds (an earlier chunk's sums). Forward, input gradients
and weight gradients are this product with other operands, see `dense`.
"""

from fastmlp.kernels._jit import inline, loop
from fastmlp.kernels.simd import FROM_ROW, LOW, MIDDLE, TALL, matrix, panel_width, tile, vector

# Walking down a panel of B touches a new memory page at every step once B's rows fill a page.
# If at least so many rows of A use the panel, copying it into one block first is cheaper.
PACK_BYTES = 4096
PACK_ROWS = 12 * TALL


@inline
def multiply(A, i, k, transposed, B, origin, row, C, ci, rows, depth, panel):
    """C[ci : ci+rows] = start + A[i : i+rows, k : k+depth] @ B[:depth], or with A's transpose.

    Reads the named block of A (``A[k : k+depth, i : i+rows]`` if `transposed`), rows ``:depth``
    of B and, as `origin` says, the vector `row` or C itself; overwrites all columns of `rows`
    rows of C; may destroy `panel`, a vector of at least ``depth * panel_width(A)`` elements.
    Sums run in ascending order of the depth index, one chain an element.
    """
    if C.shape[1] == 1 and transposed and k == 0 and origin != FROM_ROW:
        # One column would use one lane of a vector. Its transpose is a row, with A as B.
        column = matrix(B, 0, 1, depth)
        result = matrix(C, ci, 1, rows)
        _panels(column, 0, 0, 0, A, i, origin, row, result, 0, 1, depth, panel)
    else:
        _panels(A, i, k, transposed, B, 0, origin, row, C, ci, rows, depth, panel)


@inline
def _panels(A, i, k, transposed, B, j0, origin, row, C, ci, rows, depth, panel):
    """Do `multiply` with the columns of B from `j0` on, panel by panel."""
    width = panel_width(A)
    n_columns = C.shape[1]
    packed = matrix(panel, 0, depth, width)
    pack = rows >= PACK_ROWS and B.shape[1] * B.itemsize >= PACK_BYTES
    # Panels of columns outside, rows inside: the panel of B stays in cache for all rows.
    for j in range(0, n_columns, width):
        columns = min(n_columns - j, width)
        if pack:
            pack_panel(B, j0 + j, columns, packed)
        r = 0
        while r < rows:
            n = tile_height(rows - r)
            a0, c0 = i + r, ci + r
            if pack:
                tile(A, a0, k, transposed, packed, 0, origin, row, C, c0, j, n, columns, depth)
            else:
                tile(A, a0, k, transposed, B, j0 + j, origin, row, C, c0, j, n, columns, depth)
            r += n


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
def pack_panel(B, j, columns, packed):
    """Overwrite the first `columns` columns of `packed` by those of B from column `j` on."""
    for t in range(packed.shape[0]):
        source = vector(B, t * B.shape[1] + j, columns)
        copied = vector(packed, t * packed.shape[1], columns)
        for c in range(columns):
            copied[c] = source[c]
