"""Blocks of matrices are the numbers that NumPy's slices are."""

import numpy as np
import pytest
import reference
from copies import copied
from numpy.testing import assert_array_equal
from standalones import standalone

from fastmlp.kernels import blocks
from fastmlp.kernels.blocks import Block

A = np.arange(1.0, 55.0).reshape(6, 9)


@standalone
def cut(matrix, row, column, rows, columns):
    found = blocks.block(matrix, row, column, rows, columns)
    return found, blocks.transpose(found), blocks.transpose(blocks.transpose(found))


@standalone
def lines(matrix, first, n):
    return blocks.whole(matrix), blocks.some_rows(matrix, first, n), columns(matrix, first, n)


columns = blocks.some_columns
piece = standalone(blocks.piece)
n_runs = standalone(blocks.n_runs)


@standalone
def run_of(matrix, place, run):
    return copied(blocks.run_of(matrix, place, run))


@standalone
def row_of(block, r):
    return copied(blocks.row_of(block, r))


@standalone
def as_row(block):
    row = blocks.as_row(block)
    return copied(row.matrix), row.row, row.column, row.rows, row.columns, row.transposed


@standalone
def viewed(block):
    view = blocks.viewed(block)
    return copied(view.matrix), view.row, view.column, view.rows, view.columns, view.transposed


def test_a_block_and_its_transpose():
    block, transposed, again = cut(A, 1, 2, 3, 4)
    assert_array_equal(reference.numbers(block), A[1:4, 2:6])
    assert_array_equal(reference.numbers(transposed), A[1:4, 2:6].T)
    assert again[1:] == block[1:]


def test_blocks_of_whole_rows_and_columns():
    whole, rows, columns = map(reference.numbers, lines(A, 2, 3))
    assert_array_equal(whole, A)
    assert_array_equal(rows, A[2:5])
    assert_array_equal(columns, A[:, 2:5])


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_piece_of_a_block_counts_from_its_corner(transposed):
    block = Block(A, 1, 2, 4, 5, transposed)
    of_block = piece(block, 2, 1, 2, 3)
    assert_array_equal(reference.numbers(of_block), reference.numbers(block)[2:4, 1:4])
    assert viewed(block)[1:] == block[1:]
    assert_array_equal(viewed(block)[0], A)


def test_rows_of_a_block():
    block = Block(A, 1, 2, 4, 5, 0)
    for r in range(4):
        assert_array_equal(row_of(block, r), A[1 + r, 2:7])


def test_the_transpose_of_a_column_is_a_row():
    column = np.arange(7.0).reshape(7, 1)
    row = Block(*as_row(Block(column, 2, 0, 1, 4, 1)))
    assert not row.transposed
    assert_array_equal(reference.numbers(row), [[2, 3, 4, 5]])
    for block in (Block(A, 1, 2, 3, 4, 1), Block(column, 2, 0, 4, 1, 0)):
        assert as_row(block)[1:] == block[1:]
        assert_array_equal(as_row(block)[0], block.matrix)


@pytest.mark.parametrize("place", [(0, 0, 5, 9), (2, 0, 3, 9), (1, 2, 4, 5), (0, 3, 1, 1)], ids=str)
def test_the_runs_of_a_block_are_its_contiguous_pieces(place):
    block = Block(A, *place, 0)
    numbers = reference.numbers(block)
    pieces = [np.ravel(numbers)] if numbers.flags.c_contiguous else list(numbers)
    if block.rows == 1:
        pieces = [numbers[0]]
    assert n_runs(block) == len(pieces)
    for run, expected in enumerate(pieces):
        assert_array_equal(run_of(A, block, run), expected)
