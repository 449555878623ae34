"""The outputs of a network: its forward pass alone, for parts of the rows that never meet.

`predict_part` is the worker, one part's rows; `predict` is the driver that shares the rows out.
"""

import functools

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, prange, worker
from fastmlp.kernels.activations import activation_forward, softmax_rows
from fastmlp.kernels.blocks import whole
from fastmlp.kernels.dense import new_scratch, part_bounds
from fastmlp.kernels.finite import all_finite
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.layers import Layers, activation_of, layers_type
from fastmlp.kernels.simd import FROM_ROW, TALL
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import layer_weights, layout_of

# Rows that go through all layers together. Enough to reuse a wide layer's weights while they
# stream through the cache, few enough for their activations to stay in it.
BLOCK_ROWS = 16 * TALL


@worker
def predict_part(part, n_parts, theta, X, layers, result, finite):
    """Overwrite the rows of `result` that belong to `part` by the outputs for those of X.

    Overwrites ``finite[part]`` as well: whether all of the part's pre-activations are finite.
    Other arguments are those of `predict`, and read. Blocks of rows go through all layers
    between two buffers; these are made here, so that any number of calls may run at once.
    """
    r0, r1 = part_bounds(X.shape[0], part, n_parts)
    layout = layout_of(layers.numbers)
    top = layout.size - 1
    widest = 0
    for layer in range(top):
        widest = max(widest, layout[layer].n_out)
    most_rows = min(r1 - r0, BLOCK_ROWS)
    buffer_size = most_rows * widest
    buffers = np.empty(2 * buffer_size, theta.dtype)
    scratch = new_scratch(theta, most_rows)
    is_finite = True
    for b0 in range(r0, r1, BLOCK_ROWS):
        rows = min(r1 - b0, BLOCK_ROWS)
        below = matrix(X, b0 * X.shape[1], rows, X.shape[1])
        for layer in range(top + 1):
            W, b = layer_weights(theta, 0, layout, layer)
            n_out = layout[layer].n_out
            if layer == top:
                output = matrix(result, b0 * n_out, rows, n_out)
            else:
                output = matrix(buffers, layer % 2 * buffer_size, rows, n_out)
            # This is `dense_forward_block`, with a look at the pre-activations before they go.
            multiply(whole(below), whole(W), FROM_ROW, b, whole(output), scratch)
            z = vector(output, 0, rows * n_out)
            is_finite = all_finite(z) and is_finite
            code = layout[layer].activation
            if code == codes.SOFTMAX:
                softmax_rows(output, 0, rows)
            else:
                activation_forward(z, activation_of(layers, layout, layer))
            below = output
    finite[part] = is_finite


@functools.cache
def predict_part_address(dtype):
    """Address of `predict_part` for networks of `dtype`, compiled or loaded on first use."""
    number = from_dtype(np.dtype(dtype))
    index = types.int64
    return predict_part.address(
        index,  # part
        index,  # n_parts
        types.Array(number, 1, "C"),  # theta
        types.Array(number, 2, "C", readonly=True),  # X
        layers_type(number),
        types.Array(number, 2, "C"),  # result
        types.Array(types.boolean, 1, "C"),  # finite
    )


@entry
def predict(predict_part_at, theta, X, numbers, parameters, rare_forward_at, result, n_parts):
    """Overwrite `result` by the outputs for X, and return whether no pre-activation is bad.

    The same bits as in the forward pass of training, for any number of parts.

    Parameters
    ----------
    predict_part_at : int
        See `predict_part_address`.
    theta : (n_params,)
        Read, as is X.
    X : (n, n_in)
        At least one row.
    numbers, parameters, rare_forward_at
        What `Layers` has. One by one, as Numba takes 2 µs to find the type of a named tuple.
    result : (n, n_out)
        Overwritten.
    n_parts : int
        Parts that the rows are shared out to.

    Returns
    -------
    bool
        Whether all pre-activations, of all layers and rows, are finite. If so, theta and X are
        finite too, and nobody needs to look through them: each parameter is an addend or a
        factor in some pre-activation of every row, each input in some of its row, and a
        product or a sum with NaN or infinity is never finite again. Not so the other way
        round: finite numbers can overflow.
    """
    finite = np.empty(n_parts, np.bool_)
    for part in prange(n_parts):
        layers = Layers(numbers, parameters, rare_forward_at, 0)
        call_worker(predict_part_at, part, n_parts, theta, X, layers, result, finite)
    return finite.all()
