"""Blocks of matrices: what products are formed of, and written to."""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels._jit import inline
from fastmlp.kernels.view import matrix, vector


class Block(NamedTuple):
    """Some rows and columns of a matrix, or the transpose of them.

    Element (r, c) is ``matrix[row + r, column + c]``, or ``matrix[row + c, column + r]`` if the
    block is `transposed`, 1 or 0. `rows` and `columns` count its own, not the matrix's.
    """

    matrix: np.ndarray
    row: int
    column: int
    rows: int
    columns: int
    transposed: int


@inline
def block(A, row, column, rows, columns):
    """Block of a matrix, from (row, column) on."""
    return Block(A, row, column, rows, columns, 0)


@inline
def whole(A):
    """All of a matrix, as a block."""
    return block(A, 0, 0, A.shape[0], A.shape[1])


@inline
def some_rows(A, row, rows):
    """Block of all columns of a matrix, from a row on."""
    return block(A, row, 0, rows, A.shape[1])


@inline
def some_columns(A, column, columns):
    """Block of all rows of a matrix, from a column on."""
    return block(A, 0, column, A.shape[0], columns)


@inline
def transpose(A):
    """Transpose of a block: the same numbers in memory."""
    return Block(A.matrix, A.row, A.column, A.columns, A.rows, 1 - A.transposed)


@inline
def piece(A, row, column, rows, columns):
    """Block of a block, from its own (row, column) on."""
    if A.transposed:
        row, column = column, row
    return Block(A.matrix, A.row + row, A.column + column, rows, columns, A.transposed)


@inline
def viewed(A):
    """A block whose matrix is a view, so that it has the type of what is cut from it."""
    view = matrix(A.matrix, 0, A.matrix.shape[0], A.matrix.shape[1])
    return Block(view, A.row, A.column, A.rows, A.columns, A.transposed)


@inline
def as_row(B):
    """A block, not transposed if it is the transpose of a column: the same numbers in memory."""
    n, width = B.matrix.shape
    is_row = B.transposed and width == 1
    view = matrix(B.matrix, 0, 1 if is_row else n, n if is_row else width)
    row, column = (0, B.row) if is_row else (B.row, B.column)
    return Block(view, row, column, B.rows, B.columns, 0 if is_row else B.transposed)


@inline
def row_of(A, r):
    """View of a row of a block that is not transposed, as a vector."""
    return vector(A.matrix, (A.row + r) * A.matrix.shape[1] + A.column, A.columns)


@inline
def n_runs(A):
    """Contiguous runs that a block falls into: one if it has all columns. It is not transposed."""
    return 1 if A.columns == A.matrix.shape[1] else A.rows


@inline
def run_of(matrix, place, run):
    """View of one of the `n_runs` runs of a block as a vector, in a matrix like the block's.

    The block says the `place`.
    """
    size = place.rows * place.columns // n_runs(place)
    return vector(matrix, (place.row + run) * matrix.shape[1] + place.column, size)
