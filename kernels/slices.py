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
from fastmlp.kernels.context import Columns, Rows, Team
from fastmlp.kernels.dense import activate_block, dense_backward_input_block, part_bounds
from fastmlp.kernels.empty_columns import (
    copy_used_columns,
    multiply_used,
    used_weights,
)
from fastmlp.kernels.gather import copy_rows, copy_slices
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.simd import FROM_ROW, FROM_ZERO, copy_run
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import (
    input_rows,
    layer_activation,
    layer_rows,
    layer_weights,
    product_scratch,
    runs_of,
)


@inline
def slice_bounds(net, team):
    """First and last + 1 of a part's slices, then of their columns."""
    first, stop = part_bounds(net.plan.n_slices, team.part, team.n_parts)
    n_in = net.layout[net.plan.sliced_layer].n_in
    width = net.plan.slice_width
    return first, stop, min(first * width, n_in), min(stop * width, n_in)


@inline
def slice_matrix(net, space, base, rows, k, columns):
    """View of columns of slices, from `k` on: inputs, outputs, deltas or slopes.

    Which of them `base` tells, where the plan has them.
    """
    return matrix(space.own, base + net.plan.buffer_rows * k, rows, columns)


@inline
def slice_products(net, space, n_out, turn):
    """View of the products of all slices, a row each, of the two places for them; see `Step`."""
    n_slices = net.plan.n_slices
    size = net.plan.buffer_rows * n_out
    first = net.plan.slice_product + turn * n_slices * size
    return matrix(space.work, first, n_slices, size)


@inline
def own_columns(net, space, first, count, columns):
    """View of `count` matrices like a part's own columns of [W; b] of the layer below the slices.

    Number 0 holds the parameters, 1 to 3 the optimizer's slots and 4 the gradient.
    """
    size = (net.layout[0].n_in + 1) * columns
    return vector(space.own, net.plan.own_columns + first * size, count * size)


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
def move_own(trained, n_slots, net, space, team, back):
    """Copy a part's columns of the layer below the slices, and their slots, to itself, or back.

    In theta other parts' columns are next to them in every row, so that cores would take cache
    lines from each other at every update.
    """
    _, _, k0, k1 = slice_bounds(net, team)
    rows, n_params = net.layout[0].n_in + 1, trained.theta.size
    for number in range(1 + n_slots):
        block = own_columns(net, space, number, 1, k1 - k0)
        x = vector(trained.theta, 0, n_params)
        if number > 0:
            x = vector(trained.state, (number - 1) * n_params, n_params)
        move_columns(x, net.layout, 0, rows, block, k0, k1 - k0, back)


@inline
def move_own_gradient(gradient, net, space, team, back):
    """Copy a part's columns of the gradient of the layer below the slices to itself, or back.

    For calls that begin or end within a mini-batch: in the call before or after, these columns may
    be another part's, as a team may have gone on where a thread alone had begun.
    """
    _, _, k0, k1 = slice_bounds(net, team)
    block = own_columns(net, space, 4, 1, k1 - k0)
    move_columns(gradient, net.layout, 0, net.layout[0].n_in + 1, block, k0, k1 - k0, back)


@inline
def take_own(trained, n_slots, net, space, team, t):
    """Begin a sweep after t updates: copy what a part has to itself, and part 0 what all read."""
    theta = trained.theta
    if team.part == 0:
        start = net.plan.upper_start
        to = upper_offset(theta, net.plan, t)
        copy_run(theta, start, space.work, to, theta.size - start)
    if net.plan.sliced_layer:
        move_own(trained, n_slots, net, space, team, False)


@inline
def slice_pass(theta, data, net, space, team, step):
    """Make a part's slices of the sliced layer's input, and multiply them by their weights.

    Overwrites the part's own slices and their products, of which the last starts from the bias.
    May destroy the part's scratch.
    """
    first, stop, _, _ = slice_bounds(net, team)
    if first == stop:
        return
    if net.plan.sliced_layer == 0:
        by_runs = _copy_own_slices(data, net, space, team, step)
    else:
        _compute_own_slices(data, net, space, team, step)
        by_runs = False
    _multiply_slices(theta, net, space, team, step, by_runs)


@inline
def _copy_own_slices(data, net, space, team, step):
    """Copy a part's slices of X; return whether without the columns that are empty."""
    plan, room = net.plan, net.plan.buffer_rows
    _, _, k0, k1 = slice_bounds(net, team)
    columns = Columns(net.layout[0].n_in, k0, k1, plan.slice_width, room, 0)
    copied = vector(space.own, plan.input + room * k0, room * (k1 - k0))
    if _copy_used_by_part(data, net, space, team, step, columns, copied):
        return True
    rows = Rows(step.start, step.rows, 0)
    copy_slices(data.X, columns, data.order, plan.gather == 1, rows, copied)
    return False


@inline
def _copy_used_by_part(data, net, space, team, step, columns, copied):
    """Do `copy_used_columns` for all rows of a chunk, by a part alone."""
    rows, alone = Rows(step.start, step.rows, 0), Team(0, 1, team.sync)
    is_whole = step.rows == step.batch
    return copy_used_columns(data, net, space, alone, rows, is_whole, columns, copied)


@inline
def _compute_own_slices(data, net, space, team, step):
    """Compute a part's slices of the first layer's outputs, by its own columns of that."""
    plan, n_in = net.plan, net.layout[0].n_in
    _, _, k0, k1 = slice_bounds(net, team)
    every = Columns(n_in, 0, n_in, n_in, plan.buffer_rows, 0)
    copied = vector(space.own, plan.input, plan.buffer_rows * n_in)
    by_runs = _copy_used_by_part(data, net, space, team, step, every, copied)
    x = input_rows(net, data, space, Rows(step.start, step.rows, 0))
    if plan.gather and not by_runs:
        copy_rows(data.X, n_in, data.order, step.start, x)
    parameters = own_columns(net, space, 0, 1, k1 - k0)
    W = matrix(parameters, 0, n_in, k1 - k0)
    b = vector(parameters, n_in * (k1 - k0), k1 - k0)
    output = whole(slice_matrix(net, space, plan.output, step.rows, k0, k1 - k0))
    slope = slice_matrix(net, space, plan.slope, step.rows, k0, k1 - k0)
    if by_runs:
        multiply_used(whole(x), W, b, runs_of(net, space, 0, n_in), output, net, space)
    else:
        multiply(whole(x), whole(W), FROM_ROW, b, output, product_scratch(net, space))
    activate_block(layer_activation(net, 0), output, slope, step.backward)


@inline
def _multiply_slices(theta, net, space, team, step, by_runs):
    """Multiply a part's slices by their weights; with `by_runs` they are without some columns."""
    plan, layer, rows = net.plan, net.plan.sliced_layer, step.rows
    n_out = net.layout[layer].n_out
    first, stop, k0, k1 = slice_bounds(net, team)
    W, b = layer_weights(theta, 0, net.layout, layer)
    products = slice_products(net, space, n_out, step.turn)
    for s in range(first, stop):
        k = s * plan.slice_width
        depth = min(plan.slice_width, k1 - k)
        if layer == 0:
            A = slice_matrix(net, space, plan.input, rows, k, depth)
        else:
            at = plan.output + plan.buffer_rows * k0 + k - k0
            A = matrix(space.own, at, rows, k1 - k0)
        B = matrix(W, k * n_out, depth, n_out)
        product = matrix(products, s * products.shape[1], rows, n_out)
        origin = FROM_ROW if s == plan.n_slices - 1 else FROM_ZERO
        if by_runs:
            B = used_weights(B, runs_of(net, space, k, depth), 0, n_out, net, space)
        a = some_columns(A, 0, B.shape[0])
        multiply(a, whole(B), origin, b, whole(product), product_scratch(net, space))


@inline
def slice_back(theta, net, space, team, rows):
    """Take the deltas of a sliced second layer back to a part's own slices of its input.

    Those of so many rows.
    """
    plan, n_out = net.plan, net.layout[1].n_out
    first, stop, k0, k1 = slice_bounds(net, team)
    if first == stop:
        return
    W, _ = layer_weights(theta, 0, net.layout, 1)
    dense_backward_input_block(
        layer_rows(net, space, plan.delta, 1, Rows(0, rows, 0)),
        matrix(W, k0 * n_out, k1 - k0, n_out),
        slice_matrix(net, space, plan.output, rows, k0, k1 - k0),
        slice_matrix(net, space, plan.slope, rows, k0, k1 - k0),
        layer_activation(net, 0),
        whole(slice_matrix(net, space, plan.delta, rows, k0, k1 - k0)),
        product_scratch(net, space),
    )


@inline
def upper_offset(theta, plan, t):
    """Where parts that repeat the layers above the slices find their weights after t updates.

    Two copies in the workspace take turns: whoever updates the weights, those that others may
    still be reading stay as they are.
    """
    return plan.upper + t % 2 * (theta.size - plan.upper_start)


@inline
def upper_weights(theta, net, space, t):
    """View of theta from `plan.upper_start` on; with slices, of the copy after t updates."""
    size = theta.size - net.plan.upper_start
    if net.plan.n_slices:
        return vector(space.work, upper_offset(theta, net.plan, t), size)
    return vector(theta, 0, size)


@inline
def publish(theta, net, space, t, task):
    """Copy a task's part of the weights above the slices to where they are looked for next."""
    start = net.plan.upper_start
    offset = net.layout[task.layer].w_offset
    n_out = net.layout[task.layer].n_out
    if offset >= start:
        offset += task.row_0 * n_out
        size = (task.row_1 - task.row_0) * n_out
        to = upper_offset(theta, net.plan, t) + offset - start
        copy_run(theta, offset, space.work, to, size)
