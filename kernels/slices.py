"""Where a layer's input is cut into slices: what each part of a team has to itself.

Of the sliced layer, the first or the second, a part has its slices' columns of the input and rows
of the weights. Are they outputs of a layer below, it has the columns of that layer's parameters
too, in a copy of its own as long as a call lasts (`move_own`), and of their gradient
(`move_own_gradient`). Others read only the products.

Layers above are computed by every part for all rows, which is little. One part updates each of
their weights and hands them to all (`publish`).
"""

from fastmlp.kernels._jit import inline
from fastmlp.kernels.blocks import some_columns, whole
from fastmlp.kernels.dense import activate_block, dense_backward_input_block, part_bounds
from fastmlp.kernels.empty_columns import copy_used_columns, multiply_used, used_weights
from fastmlp.kernels.gather import copy_rows, copy_slices
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_ROW, FROM_ZERO, copy_run
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import (
    input_rows,
    layer_activation,
    layer_rows,
    layer_weights,
    part_scratch,
    product_scratch,
)


@inline
def slice_bounds(layout, plan, part, n_parts):
    """First and last + 1 of a part's slices, then of their columns."""
    first, stop = part_bounds(plan.n_slices, part, n_parts)
    n_in = layout[plan.sliced_layer].n_in
    width = plan.slice_width
    return first, stop, min(first * width, n_in), min(stop * width, n_in)


@inline
def slice_matrix(own, base, plan, rows, k, columns):
    """View of columns of slices, from `k` on: inputs, outputs, deltas or slopes.

    Which of them `base` tells, where the plan has them.
    """
    return matrix(own, base + plan.buffer_rows * k, rows, columns)


@inline
def slice_products(work, plan, n_out, turn):
    """View of the products of all slices, a row each.

    There are two places for them, which the chunks of a team take in `turn`, 0 or 1: a part may
    begin the next chunk while others still read.
    """
    n_slices = plan.n_slices
    size = plan.buffer_rows * n_out
    return matrix(work, plan.slice_product + turn * n_slices * size, n_slices, size)


@inline
def own_columns(own, layout, plan, first, count, columns):
    """View of `count` matrices like a part's own columns of [W; b] of the layer below the slices.

    Number 0 holds the parameters, 1 to 3 the optimizer's slots and 4 the gradient.
    """
    size = (layout[0].n_in + 1) * columns
    return vector(own, plan.own_columns + first * size, count * size)


@inline
def move_columns(x, layout, r0, r1, block, k0, columns, back):
    """Copy rows ``r0 : r1`` of the first layer's [W; b] from a vector like theta to `block`.

    Of each row `columns` columns, from `k0` on; if `back`, from `block` to the vector.
    """
    n_out = layout[0].n_out
    for r in range(r0, r1):
        offset = layout[0].w_offset + r * n_out + k0
        if back:
            copy_run(block, (r - r0) * columns, x, offset, columns)
        else:
            copy_run(x, offset, block, (r - r0) * columns, columns)


@inline
def move_own(theta, state, n_slots, layout, plan, own, part, n_parts, back):
    """Copy a part's columns of the layer below the slices, and their slots, to itself, or back.

    In theta other parts' columns are next to them in every row, so that cores would take cache
    lines from each other at every update.
    """
    _, _, k0, k1 = slice_bounds(layout, plan, part, n_parts)
    rows = layout[0].n_in + 1
    for number in range(1 + n_slots):
        block = own_columns(own, layout, plan, number, 1, k1 - k0)
        x = vector(theta, 0, theta.size)
        if number > 0:
            x = vector(state, (number - 1) * theta.size, theta.size)
        move_columns(x, layout, 0, rows, block, k0, k1 - k0, back)


@inline
def move_own_gradient(gradient, layout, plan, own, part, n_parts, back):
    """Copy a part's columns of the gradient of the layer below the slices to itself, or back.

    For calls that begin or end within a mini-batch: in the call before or after, these columns may
    be another part's, as a team may have gone on where a thread alone had begun.
    """
    _, _, k0, k1 = slice_bounds(layout, plan, part, n_parts)
    block = own_columns(own, layout, plan, 4, 1, k1 - k0)
    move_columns(gradient, layout, 0, layout[0].n_in + 1, block, k0, k1 - k0, back)


@inline
def take_own(theta, state, n_slots, layout, plan, work, own, t, part, n_parts):
    """Begin a sweep after t updates: copy what a part has to itself, and part 0 what all read."""
    if part == 0:
        start = plan.upper_start
        copy_run(theta, start, work, upper_offset(theta, plan, t), theta.size - start)
    if plan.sliced_layer:
        move_own(theta, state, n_slots, layout, plan, own, part, n_parts, False)


@inline
def slice_pass(
    theta,
    X,
    order,
    layout,
    plan,
    constants,
    work,
    own,
    turn,
    start,
    batch,
    rows,
    part,
    n_parts,
    sync,
    saving,
):
    """Make a part's slices of the sliced layer's input, and multiply them by their weights.

    Overwrites the part's own slices and their products, of which the last starts from the bias.
    May destroy the scratch of `part`.
    """
    layer = plan.sliced_layer
    n_out = layout[layer].n_out
    n_columns = layout[0].n_in
    ordered = plan.gather == 1
    first, stop, k0, k1 = slice_bounds(layout, plan, part, n_parts)
    if first == stop:
        return
    columns = k1 - k0
    room = plan.buffer_rows
    width = plan.slice_width
    scratch = product_scratch(work, plan, part)
    c0, c1 = (k0, k1) if layer == 0 else (0, n_columns)
    by_runs = copy_used_columns(
        X,
        order,
        layout,
        plan,
        work,
        start,
        rows,
        rows == batch,
        part,
        0,
        1,
        c0,
        c1,
        width if layer == 0 else n_columns,
        room,
        vector(own, plan.input + room * c0, room * (c1 - c0)),
        sync,
    )
    if layer == 0 and not by_runs:
        copied = vector(own, plan.input, room * n_columns)
        copy_slices(X, n_columns, order, start, ordered, rows, room, width, k0, k1, copied)
    elif layer > 0:
        x = input_rows(X, own, plan, layout, start, 0, rows)
        if ordered and not by_runs:
            copy_rows(X, n_columns, order, start, x)
        below = own_columns(own, layout, plan, 0, 1, columns)
        W = matrix(below, 0, n_columns, columns)
        b = vector(below, n_columns * columns, columns)
        activation = layer_activation(layout, plan, constants, 0)
        output = slice_matrix(own, plan.output, plan, rows, k0, columns)
        slope = slice_matrix(own, plan.slope, plan, rows, k0, columns)
        if by_runs:
            runs = part_scratch(work, plan, part, plan.column_runs, n_columns)
            multiply_used(whole(x), W, b, runs, whole(output), plan, work, part)
        else:
            multiply(whole(x), whole(W), FROM_ROW, b, whole(output), scratch)
        activate_block(activation, whole(output), slope, saving)
    W, b = layer_weights(theta, 0, layout, layer)
    products = slice_products(work, plan, n_out, turn)
    for s in range(first, stop):
        k = s * width
        depth = min(width, k1 - k)
        if layer == 0:
            A = slice_matrix(own, plan.input, plan, rows, k, depth)
        else:
            A = matrix(own, plan.output + room * k0 + k - k0, rows, columns)
        B = matrix(W, k * n_out, depth, n_out)
        product = matrix(products, s * products.shape[1], rows, n_out)
        origin = FROM_ROW if s == plan.n_slices - 1 else FROM_ZERO
        if by_runs and layer == 0:
            runs = part_scratch(work, plan, part, plan.column_runs + k, depth)
            B = used_weights(B, runs, 0, n_out, plan, work, part)
        a = some_columns(A, 0, B.shape[0])
        multiply(a, whole(B), origin, b, whole(product), scratch)


@inline
def slice_back(theta, layout, plan, constants, work, own, rows, part, n_parts):
    """Take the deltas of a sliced second layer back to a part's own slices of its input."""
    n_out = layout[1].n_out
    first, stop, k0, k1 = slice_bounds(layout, plan, part, n_parts)
    if first == stop:
        return
    columns = k1 - k0
    W, _ = layer_weights(theta, 0, layout, 1)
    dense_backward_input_block(
        layer_rows(own, plan.delta, plan, layout, 1, 0, rows),
        matrix(W, k0 * n_out, columns, n_out),
        slice_matrix(own, plan.output, plan, rows, k0, columns),
        slice_matrix(own, plan.slope, plan, rows, k0, columns),
        layer_activation(layout, plan, constants, 0),
        whole(slice_matrix(own, plan.delta, plan, rows, k0, columns)),
        product_scratch(work, plan, part),
    )


@inline
def upper_offset(theta, plan, t):
    """Where parts that repeat the layers above the slices find their weights after t updates.

    Two copies in the workspace take turns: whoever updates the weights, those that others may
    still be reading stay as they are.
    """
    return plan.upper + t % 2 * (theta.size - plan.upper_start)


@inline
def upper_weights(theta, plan, work, t):
    """View of theta from `plan.upper_start` on; with slices, of the copy after t updates."""
    size = theta.size - plan.upper_start
    if plan.n_slices:
        return vector(work, upper_offset(theta, plan, t), size)
    return vector(theta, 0, size)


@inline
def publish(theta, layout, plan, work, t, task):
    """Copy a task's part of the weights above the slices to where they are looked for next."""
    start = plan.upper_start
    offset = layout[task.layer].w_offset
    n_out = layout[task.layer].n_out
    if offset >= start:
        offset += task.row_0 * n_out
        size = (task.row_1 - task.row_0) * n_out
        copy_run(theta, offset, work, upper_offset(theta, plan, t) + offset - start, size)
