"""Steps of categorical columns: embeddings, and one-hot codes as rows of the first layer's W.

A code is a whole number from 0; a negative one, or NaN, is a missing category and adds nothing.

The gradient of a table with a row for each category is mostly zeros. It is formed by the tasks, row
by row of the table, from the codes and deltas of all rows of the chunk, which the way back keeps:
so no group holds a table of its own.
"""

from typing import NamedTuple

import numpy as np

from fastmlp.kernels._jit import inline, worker
from fastmlp.kernels.gather import copy_values
from fastmlp.kernels.philox import philox
from fastmlp.kernels.reductions import inner
from fastmlp.kernels.stages.dense import add_column_sums
from fastmlp.kernels.stages.dropout import LEVELS, UINT16, UINT64, UNITS, mask_stream
from fastmlp.kernels.stages.place import (
    gradient,
    inputs,
    output_deltas,
    outputs,
    setting,
    values,
)
from fastmlp.kernels.vectors import add_scaled, fill
from fastmlp.kernels.view import matrix, reinterpreted, vector


@worker
def embedding(step, block, work, theta, is_back):
    """Write a category's row of the table to the columns of its embedding.

    The step's numbers are the column to write to, the column of X, the embedding's size, and the
    number of categories. ``weights`` is the table. The way back keeps, for each row of the chunk,
    its code and the deltas of its embedding.
    """
    at, column, size = setting(step, work, 0), setting(step, work, 1), setting(step, work, 2)
    X = inputs(step, block, work)
    if not is_back:
        E = outputs(step, block, work)
        for r in range(block.rows):
            found = vector(E, r * E.shape[1] + at, size)
            code = X[r, column]
            if code >= 0:
                copy_values(vector(theta, step.weights + int(code) * size, size), found)
            else:
                fill(found, 0.0)
        return
    delta = output_deltas(step, block, work)
    for r in range(block.rows):
        kept = vector(work, step.kept + (block.first + r) * (1 + size), 1 + size)
        kept[0] = X[r, column]
        copy_values(vector(delta, r * delta.shape[1] + at, size), vector(kept, 1, size))


@worker
def embedding_gradient(step, task, rows, is_first, work, g):
    """Add to `g`, rows of the table's gradient, or overwrite them if `is_first`."""
    size = setting(step, work, 2)
    if is_first:
        fill(g, 0.0)
    for r in range(rows):
        kept = vector(work, step.kept + r * (1 + size), 1 + size)
        code = kept[0]
        if code >= task.row_0 and code < task.row_1:
            row = vector(g, (int(code) - task.row_0) * size, size)
            add_scaled(row, g.dtype.type(1.0), vector(kept, 1, size))


@inline
def _row_of(step, work, X, r, i):
    """The row of the table for the step's column i of row r of X, -1 for a missing category."""
    code = X[r, setting(step, work, 3 + 2 * i)]
    return setting(step, work, 4 + 2 * i) + int(code) if code >= 0 else -1


@inline
def _factor_of(step, theta, f, row, n_rows):
    """What the input of a table's row is multiplied by, for member f."""
    factor = theta.dtype.type(1.0)
    if step.bias >= 0:
        factor *= theta[step.bias + row]
    if step.extra >= 0:
        factor *= theta[step.extra + f * n_rows + row]
    return factor


@inline
def _share_kept(step, block, work, r, row):
    """What dropout of the inputs multiplies the input of a table's row by, in row r of the block.

    May destroy some of the block's scratch.
    """
    one, limit = work.dtype.type(1.0), setting(step, work, 2)
    if limit == 0 or block.training == 0:
        return one
    element = (block.place + r) * setting(step, work, 0) + row
    bits = reinterpreted(work, block.scratch, 2, UINT64)
    stream = mask_stream(block.update, step.key, 0)
    philox(np.uint64(element // UNITS), stream, np.uint64(block.seed), bits)
    number = reinterpreted(work, block.scratch, UNITS, UINT16)[element % UNITS]
    return work.dtype.type(0.0) if number < limit else work.dtype.type(LEVELS / (LEVELS - limit))


class Kept(NamedTuple):
    """What the way back through one-hot columns keeps of a chunk for the table's gradient.

    A row of X has one delta for each member, and the columns of a row differ in their scales alone.
    """

    table_rows: object  # (rows, columns): -1 for a missing category
    scales: object  # (rows, columns, members): what the delta is multiplied by
    deltas: object  # (rows, members, n_out)


@inline
def _kept_of(step, work, rows):
    """View what one-hot columns keep of a chunk of as many rows: flat vectors."""
    n = rows * setting(step, work, 1)
    scales, deltas = step.kept + n, step.kept + n + n * step.factor
    return Kept(
        vector(work, step.kept, n),
        vector(work, scales, n * step.factor),
        vector(work, deltas, rows * step.factor * step.n_out),
    )


@worker
def one_hot(step, block, work, theta, is_back):
    """Add the rows of W that belong to one-hot columns, each times its factors.

    ``weights`` is the table, with a row for each category of each column. The step's numbers are
    how many rows it has, how many columns of X there are, how many of the levels of `dropout` drop
    an input, and for each column of X which it is and its first row. ``bias`` is a factor for each
    row (`input_scale`), ``extra`` one for each member and row; both may be missing. The way back
    keeps what `Kept` says.
    """
    n_rows, n_columns = setting(step, work, 0), setting(step, work, 1)
    X = values(block, work, step.input, block.rows, step.n_in)
    n_out, factor = step.n_out, step.factor
    Z = values(block, work, step.output, factor * block.rows, n_out)
    if not is_back:
        for r in range(block.rows):
            for i in range(n_columns):
                row = _row_of(step, work, X, r, i)
                if row < 0:
                    continue
                share = _share_kept(step, block, work, r, row)
                W_row = vector(theta, step.weights + row * n_out, n_out)
                for f in range(factor):
                    z = vector(Z, (f * block.rows + r) * n_out, n_out)
                    add_scaled(z, share * _factor_of(step, theta, f, row, n_rows), W_row)
        return
    delta = values(block, work, step.output_delta, factor * block.rows, n_out)
    kept = _kept_of(step, work, block.chunk_rows)
    for r in range(block.rows):
        for f in range(factor):
            own = vector(kept.deltas, ((block.first + r) * factor + f) * n_out, n_out)
            copy_values(vector(delta, (f * block.rows + r) * n_out, n_out), own)
        for i in range(n_columns):
            at = (block.first + r) * n_columns + i
            row = _row_of(step, work, X, r, i)
            kept.table_rows[at] = row
            if row < 0:
                continue
            share = _share_kept(step, block, work, r, row)
            for f in range(factor):
                d = vector(delta, (f * block.rows + r) * n_out, n_out)
                kept.scales[at * factor + f] = share * _factor_of(step, theta, f, row, n_rows)
                add_factor_gradients(step, block, work, theta, (f, row, n_rows, share), d)


@inline
def add_factor_gradients(step, block, work, theta, which, delta):
    """Add the gradients of a table row's factors: `which` is (member, row, n_rows, share)."""
    f, row, n_rows, share = which
    if step.bias < 0 and step.extra < 0:
        return
    n_out = step.n_out
    slope = share * inner(vector(theta, step.weights + row * n_out, n_out), delta)
    one = theta.dtype.type(1.0)
    scale = theta[step.bias + row] if step.bias >= 0 else one
    own = theta[step.extra + f * n_rows + row] if step.extra >= 0 else one
    if step.bias >= 0:
        g = gradient(block, work, step.bias + row, 1)
        g[0] += slope * own
    if step.extra >= 0:
        g = gradient(block, work, step.extra + f * n_rows + row, 1)
        g[0] += slope * scale


@worker
def one_hot_gradient(step, task, rows, is_first, work, g):
    """Add to `g`, rows of the table's gradient, or overwrite them if `is_first`."""
    n_out, factor, n_columns = step.n_out, step.factor, setting(step, work, 1)
    kept = _kept_of(step, work, rows)
    if is_first:
        fill(g, 0.0)
    # Side by side, as each task looks through all of them.
    for at in range(rows * n_columns):
        row = kept.table_rows[at]
        if row >= task.row_0 and row < task.row_1:
            own = vector(g, (int(row) - task.row_0) * n_out, n_out)
            for f in range(factor):
                delta = vector(kept.deltas, (at // n_columns * factor + f) * n_out, n_out)
                add_scaled(own, kept.scales[at * factor + f], delta)


@worker
def bias_rows(step, block, work, theta, is_back):
    """Overwrite all rows by a bias, if there is one: a layer's product without numeric inputs."""
    n_out = step.n_out
    if is_back and step.bias < 0:
        return
    if is_back:
        g = matrix(gradient(block, work, step.bias, n_out), 0, 1, n_out)
        add_column_sums(output_deltas(step, block, work), g)
        return
    Z = outputs(step, block, work)
    for r in range(Z.shape[0]):
        row = vector(Z, r * n_out, n_out)
        if step.bias >= 0:
            copy_values(vector(theta, step.bias, n_out), row)
        else:
            fill(row, 0.0)
