"""The normal equations of least squares: J^T J and J^T e from the Jacobian of a network's outputs.

A block of rows goes forward through the network once, and back once for each output. That gives
a row of the Jacobian for each sample and output, in float64; then the block's products are added
to the sums. Only one block's rows are ever held. Each element of a sum is one chain of fused
multiply-adds over samples, and over outputs within a sample, in their order, whichever block or
part they are in.

`jacobian_part` and `products_part` are the workers, `gauss_newton` is the driver. Of a network that
is a program `program_jacobian` has the first worker.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels._jit import call_worker, entry, loop, named, prange, worker
from fastmlp.kernels.blocks import block, some_rows, transpose, whole
from fastmlp.kernels.dense import (
    dense_backward_input_block,
    dense_forward_block,
    new_scratch,
    part_bounds,
)
from fastmlp.kernels.gemm import multiply, transpose_matrix
from fastmlp.kernels.layers import activation_of, layers_type
from fastmlp.kernels.network import output_backward
from fastmlp.kernels.simd import FROM_C, FROM_ZERO, TALL
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import layer_weights, layout_of

# Rows of J^T J that one product forms: many enough to make good use of a packed panel.
TASK_ROWS = 8 * TALL


@loop
def squared_errors(output, target, weights, start, residuals, roots, losses):
    """Residuals and losses of the rows of a block, whose first has the weight `start`.

    Reads the matrices `output` and `target`, and `weights` if there are any. Overwrites
    `residuals`, a matrix like them in float64, by the errors times the roots of the weights,
    `roots` by these roots, and `losses` by the weighted sums of half the squared errors.
    """
    half = output.dtype.type(0.5)
    for r in range(output.shape[0]):
        root = 1.0
        if weights.size:
            root = np.sqrt(np.float64(weights[start + r]))
        total = output.dtype.type(0.0)
        for j in range(output.shape[1]):
            error = output[r, j] - target[r, j]
            total += half * error * error
            residuals[r, j] = root * np.float64(error)
        if weights.size:
            total *= weights[start + r]
        roots[r] = root
        losses[r] = total


@loop
def unit_rows(delta, k):
    """Overwrite every row of the matrix `delta` by the unit vector of its column `k`."""
    flat = vector(delta, 0, delta.size)
    for i in range(flat.size):
        flat[i] = 0
    for r in range(delta.shape[0]):
        delta[r, k] = 1


@loop
def outer_rows(below, delta, roots, jacobian, first, step, offset):
    """Overwrite one layer's part of every `step`-th row of `jacobian`, from row `first` on.

    That is, from column `offset` on, the gradient of [W; b] from one row of the layer's input
    `below` and of its `delta`, times the row's element of `roots`.
    """
    n_in, n_out = below.shape[1], delta.shape[1]
    for r in range(delta.shape[0]):
        at = (first + r * step) * jacobian.shape[1] + offset
        row = vector(jacobian, at, (n_in + 1) * n_out)
        for i in range(n_in):
            factor = roots[r] * np.float64(below[r, i])
            for j in range(n_out):
                row[i * n_out + j] = factor * np.float64(delta[r, j])
        for j in range(n_out):
            row[n_in * n_out + j] = roots[r] * np.float64(delta[r, j])


@loop
def finish_normal(theta, layout, l2, n_rows, gradient, hessian):
    """Divide the sums by `n_rows`, add the penalty's share, and mirror `hessian`.

    Reads theta and the layout. On entry `gradient` and the upper triangle of `hessian` hold sums
    over samples, on return both are those of the objective, and `hessian` is whole. Of the lower
    triangle nothing but the blocks of `TASK_ROWS` along the diagonal is read.
    """
    n_params = gradient.size
    for i in range(n_params):
        gradient[i] /= n_rows
        row = vector(hessian, i * n_params, n_params)
        for j in range(i // TASK_ROWS * TASK_ROWS, n_params):
            row[j] /= n_rows
    if l2 != 0:
        for layer in range(layout.size):
            if not layout[layer].penalized:
                continue
            first = layout[layer].w_offset
            for i in range(first, first + layout[layer].n_in * layout[layer].n_out):
                gradient[i] += l2 * np.float64(theta[i])
                hessian[i, i] += l2
    for i in range(0, n_params, TASK_ROWS):
        below = i + TASK_ROWS
        if below < n_params:
            transpose_matrix(hessian, i, below, TASK_ROWS, n_params - below, hessian, below, i)


class LeastSquares(NamedTuple):
    """Samples, flat and read, and the penalty."""

    X: np.ndarray  # (n_rows * n_in,)
    Y: np.ndarray  # (n_rows * n_out,)
    weights: np.ndarray  # (n_rows,) with mean 1, or (0,)
    layout: np.ndarray  # (n_blocks * fields,) int64: the numbers of a table of `records.LAYER`
    l2: float


class Equations(NamedTuple):
    """What a block of rows overwrites, of which `jacobian` and `residuals` are float64."""

    jacobian: np.ndarray  # (block * n_out, n_params)
    residuals: np.ndarray  # (block * n_out,)
    losses: np.ndarray  # (block,)


@worker
def jacobian_part(team, theta, problem, layers, start, rows, equations):
    """Do one part's share of the rows ``start : start+rows``: forward, and back for each output.

    The part is ``team[0]`` of ``team[1]``. Reads theta, the `LeastSquares` problem and the
    network's `Layers`. Overwrites what belongs to the part's rows of the `Equations`: row
    ``r * n_out + k`` of the Jacobian is that of output k of row ``start + r``, and carries the root
    of the row's weight, as the residuals do. Buffers are its own.
    """
    X, Y, weights, _, _ = problem
    jacobian, residuals, losses = equations
    r0, r1 = part_bounds(rows, team[0], team[1])
    n = r1 - r0
    if n == 0:
        return
    layout = layout_of(layers.numbers)
    top = layout.size - 1
    n_in, n_out = layout[0].n_in, layout[top].n_out
    buffer = n * (layout[top].width_offset + n_out)
    outputs = np.empty(buffer, theta.dtype)
    slopes = np.empty(buffer, theta.dtype)
    deltas = np.empty(buffer, theta.dtype)
    scratch = new_scratch(theta, n)
    roots = np.empty(n, np.float64)

    below = matrix(X, (start + r0) * n_in, n, n_in)
    for layer in range(top + 1):
        W, b = layer_weights(theta, 0, layout, layer)
        width = layout[layer].n_out
        output = matrix(outputs, n * layout[layer].width_offset, n, width)
        slope = matrix(slopes, n * layout[layer].width_offset, n, width)
        activation = activation_of(layers, layout, layer)
        a, to = whole(below), whole(output)
        dense_forward_block(a, W, b, activation, to, slope, True, scratch)
        below = output

    squared_errors(
        below,
        matrix(Y, (start + r0) * n_out, n, n_out),
        weights,
        start + r0,
        matrix(residuals, r0 * n_out, n, n_out),
        roots,
        vector(losses, r0, n),
    )
    for k in range(n_out):
        at = n * layout[top].width_offset
        delta = matrix(deltas, at, n, n_out)
        unit_rows(delta, k)
        output_backward(
            delta,
            matrix(outputs, at, n, n_out),
            matrix(slopes, at, n, n_out),
            activation_of(layers, layout, top),
        )
        for layer in range(top, -1, -1):
            offset = layout[layer].w_offset
            if layer == 0:
                below = matrix(X, (start + r0) * n_in, n, n_in)
                outer_rows(below, delta, roots, jacobian, r0 * n_out + k, n_out, offset)
                break
            at, width = n * layout[layer - 1].width_offset, layout[layer].n_in
            below = matrix(outputs, at, n, width)
            outer_rows(below, delta, roots, jacobian, r0 * n_out + k, n_out, offset)
            delta_below = matrix(deltas, at, n, width)
            W, _ = layer_weights(theta, 0, layout, layer)
            dense_backward_input_block(
                delta,
                W,
                below,
                matrix(slopes, at, n, width),
                activation_of(layers, layout, layer - 1),
                whole(delta_below),
                scratch,
            )
            delta = delta_below


@worker
def products_part(part, n_parts, jacobian, residuals, depth, origin, sums):
    """Form one part's rows of J^T J, from the diagonal on, and its elements of J^T e.

    Reads the first `depth` rows of `jacobian` and of the vector `residuals`. Overwrites or adds to
    `hessian` and `gradient` by `origin`; blocks of `TASK_ROWS` on the diagonal are formed whole.
    """
    gradient, hessian = sums
    n_params = jacobian.shape[1]
    errors = matrix(residuals, 0, depth, 1)
    sums = matrix(gradient, 0, n_params, 1)
    scratch = new_scratch(jacobian, min(n_params, TASK_ROWS))
    # Rows get shorter on the way down: taken in turns, parts have about the same work.
    for i in range(part * TASK_ROWS, n_params, n_parts * TASK_ROWS):
        rows = min(n_params - i, TASK_ROWS)
        rest = n_params - i
        a = transpose(block(jacobian, 0, i, depth, rows))
        b, result = block(jacobian, 0, i, depth, rest), block(hessian, i, i, rows, rest)
        multiply(a, b, origin, scratch, result, scratch)
        multiply(a, whole(errors), origin, scratch, some_rows(sums, i, rows), scratch)


def jacobian_types(dtype, described):
    """Numba's types of the arguments of a worker for rows of the Jacobian."""
    number = from_dtype(np.dtype(dtype))
    index, sample = types.int64, types.Array(number, 1, "C", readonly=True)
    vector, table = types.Array(types.float64, 1, "C"), types.Array(types.float64, 2, "C")
    losses = types.Array(number, 1, "C")
    return (
        types.UniTuple(index, 2),  # team
        types.Array(number, 1, "C"),  # theta
        named(LeastSquares, sample, sample, sample, types.Array(index, 1, "C"), types.float64),
        described,
        index,  # start
        index,  # rows
        named(Equations, table, vector, losses),
    )


@functools.cache
def jacobian_address(dtype):
    """Address of `jacobian_part` for networks of `dtype`, compiled or loaded on first use."""
    described = layers_type(from_dtype(np.dtype(dtype)))
    return jacobian_part.address(*jacobian_types(dtype, described))


@functools.cache
def products_address():
    """Address of `products_part`, compiled or loaded on first use."""
    index = types.int64
    vector, table = types.Array(types.float64, 1, "C"), types.Array(types.float64, 2, "C")
    return products_part.address(
        index,  # part
        index,  # n_parts
        table,  # jacobian
        vector,  # residuals
        index,  # depth
        index,  # origin
        types.Tuple((vector, table)),  # sums
    )


@entry
def gauss_newton(workers, theta, problem, described, rows, equations, sums, n_parts):
    """Add some rows to the normal equations; return the sum of their losses.

    Parameters
    ----------
    workers : (int, int)
        See `jacobian_address` and `products_address`.
    theta : (n_params,)
        Read.
    problem : LeastSquares
    described
        What the first worker knows the network by, such as `Layers`.
    rows : (int, int, int, int)
        The first of the rows, the end of them, and how many there are in all. With 0 the sums begin
        anew; where the end is that of all they are finished. And the number of the first row that
        the problem has, of which it may have a part.
    equations : Equations
        May be destroyed; its size says how many rows go through the network at a time.
    sums : (gradient, hessian)
        (n_params,) and (n_params, n_params), float64, accumulated: J^T e and, in the upper
        triangle, J^T J. When they are finished: gradient of the objective, and the Gauss-Newton
        approximation of its Hessian.
    n_parts : int
        Parts that the work on a block is shared out to; does not change a bit.
    """
    start, stop, n_rows, before = rows
    jacobian, residuals, losses = equations
    gradient, hessian = sums
    total = 0.0
    block = losses.size
    n_out = residuals.size // block
    for first in range(start, stop, block):
        n = min(block, stop - first)
        for part in prange(n_parts):
            team = part, n_parts
            call_worker(workers[0], team, theta, problem, described, first - before, n, equations)
        origin, depth = FROM_ZERO if first == 0 else FROM_C, n * n_out
        for part in prange(n_parts):
            at = workers[1]
            call_worker(at, part, n_parts, jacobian, residuals, depth, origin, sums)
        for r in range(n):
            total += np.float64(losses[r])
    if stop == n_rows:
        layout = layout_of(problem.layout)
        finish_normal(theta, layout, problem.l2, n_rows, gradient, hessian)
    return total
