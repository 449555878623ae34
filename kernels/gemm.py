"""The one matrix product under the three of a network, in register tiles.

`multiply_add` computes C += A B, or C += A^T B; what C holds before (zeros, a bias, an earlier
chunk's sum) is where the sums start. Forward, input gradients and weight gradients are this
product with other operands, see `dense`.
"""

from fastmlp.kernels._jit import inline
from fastmlp.kernels.simd import TALL, matrix, panel_width, tile

# Walking down a panel of B touches a new memory page at every step once B's rows fill a page.
# If at least so many rows of A use the panel, copying it into one block first is cheaper.
PACK_BYTES = 4096
PACK_ROWS = 3 * TALL


@inline
def multiply_add(A, i, k, transposed, B, C, ci, rows, depth, panel):
    """C[ci : ci+rows] += A[i : i+rows, k : k+depth] @ B[:depth], or A^T's block if `transposed`.

    Reads the named block of A (``A[k : k+depth, i : i+rows]`` if `transposed`) and rows
    ``:depth`` of B; accumulates into all columns of `rows` rows of C; may destroy `panel`, a
    vector of at least ``depth * panel_width(A)`` elements. Sums run in ascending order of the
    depth index, one chain an element.
    """
    width = panel_width(A)
    n_columns = C.shape[1]
    packed = matrix(panel, 0, depth, width)
    pack = rows >= PACK_ROWS and n_columns * B.itemsize >= PACK_BYTES
    # Panels of columns outside, rows inside: the panel of B stays in cache for all rows.
    for j in range(0, n_columns, width):
        columns = min(n_columns - j, width)
        if pack:
            for t in range(depth):
                for c in range(columns):
                    packed[t, c] = B[t, j + c]
        for r in range(0, rows, TALL):
            n = min(rows - r, TALL)
            if pack:
                tile(A, i + r, k, transposed, packed, 0, C, ci + r, j, n, columns, depth)
            else:
                tile(A, i + r, k, transposed, B, j, C, ci + r, j, n, columns, depth)
