"""A network's passes over a chunk of samples: forward, loss and back; gradients and update.

All arrays are flat; the layout and the plan (columns and entries in `codes`) say where each
matrix begins. There are four ways to share a chunk out to parts, chosen by sizes alone:

- Narrow network, few rows: each part takes its own rows, in blocks that stay in its cache,
  through all layers and back (`chunk_pass`); then each forms the gradient of its own rows of the
  weight matrices from all rows of the chunk (`params_pass`).
- Nearly all of the work in the first layer or the first two, up to a million weights: the input of
  one of them is cut into slices, columns of the input and rows of the weights. A part has some
  slices to itself, copied from X or computed from all of it by columns of the layer below, and
  multiplies them by its own weights (`slice_pass`). The sums of these products are all that
  others read; from there on each part does all rows, the same work as the others, so that they
  meet once a chunk.
- Narrow network, many rows or many outputs: the chunk is cut into groups of rows. A part also forms
  the gradients of its groups, while the rows are in its cache; `params_pass` only adds groups up.
- Other wide networks: the parts take the chunk together, layer by layer, each doing its own columns
  of the outputs, so that it reads only its own part of the weights.

Each element that is written is written by one part alone, as one sum in an order that sizes fix,
so the number of parts never changes a bit of the result.
"""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, inline, loop
from fastmlp.kernels.activations import activation_backward
from fastmlp.kernels.blocks import block, some_columns
from fastmlp.kernels.context import Columns, Place, Rows, Team
from fastmlp.kernels.dense import (
    activate_block,
    dense_backward_input_block,
    dense_backward_params_rows,
    part_bounds,
)
from fastmlp.kernels.empty_columns import (
    NOT_LOOKED_FOR,
    copy_used_columns,
    multiply_used,
    place_of,
)
from fastmlp.kernels.gather import copy_rows, rows_of
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.losses import block_losses
from fastmlp.kernels.simd import FROM_ROW, panel_width
from fastmlp.kernels.slices import (
    move_columns,
    own_columns,
    slice_back,
    slice_matrix,
    slice_pass,
    slice_products,
    upper_weights,
)
from fastmlp.kernels.team import barrier
from fastmlp.kernels.view import matrix, vector
from fastmlp.kernels.views import (
    coefficients_of,
    input_rows,
    kind_row,
    layer_activation,
    layer_rows,
    layer_weights,
    loss_parameters_of,
    product_scratch,
    runs_of,
)

# Vectors of columns a member of a team should have, so that no member has much more than another.
FEWEST_VECTORS = 4


@loop
def weigh_losses(sample_loss, weights, order, ordered, start):
    """Multiply each of `sample_loss` by its row's weight; rows count as in `copy_rows`."""
    for r in range(sample_loss.size):
        sample_loss[r] *= weights[order[start + r] if ordered else start + r]


@loop
def scale_rows(delta, scale, weights, order, ordered, start):
    """Multiply the rows of `delta` by `scale` and, if there are any, by their `weights`."""
    if not weights.size:
        flat = vector(delta, 0, delta.size)
        for i in range(flat.size):
            flat[i] *= scale
        return
    for r in range(delta.shape[0]):
        factor = scale * weights[order[start + r] if ordered else start + r]
        for j in range(delta.shape[1]):
            delta[r, j] *= factor


@inline
def block_share(rows, columns, lanes, team):
    """Which block of a matrix falls to a member of a team: r0, r1, j0, j1.

    Columns are shared out first, because then each member reads its own columns of the weights,
    in whole vectors of `lanes` and at least `FEWEST_VECTORS` of them; rows make up for the rest.
    """
    member, n_members = team.part, team.n_parts
    n_vectors = (columns + lanes - 1) // lanes
    across = n_members
    while across > 1 and (n_members % across or n_vectors < FEWEST_VECTORS * across):
        across -= 1
    r0, r1 = part_bounds(rows, member // across, n_members // across)
    v0, v1 = part_bounds(n_vectors, member % across, across)
    return r0, r1, v0 * lanes, min(columns, v1 * lanes)


@inline
def chunk_pass(theta, data, net, space, team, step):
    """Take one part's share of a chunk forward, and back if the step is `backward`.

    Reads theta and the samples; overwrites the outputs, sample losses and, if `backward`, the
    deltas, which carry sample weight / the rows of the mini-batch, or the gradients of the part's
    groups of rows. May destroy the part's scratch.
    """
    plan = net.plan
    if plan.n_slices:
        slice_pass(theta, data, net, space, team, step)
        barrier(team.sync, team.n_parts)
    n_groups = team.n_parts
    first, stop = team.part, team.part + 1
    members = Team(0, 1, team.sync)
    grouped = plan.n_groups > 0
    if grouped:
        n_groups = min(plan.n_groups, step.rows)
        first, stop = part_bounds(n_groups, team.part, team.n_parts)
    elif plan.n_slices or plan.together:
        n_groups = 1
        first, stop = 0, 1
        if not plan.n_slices:
            members = team
    upper = upper_weights(theta, net, space, step.updates)
    for group in range(first, stop):
        r0, r1 = part_bounds(step.rows, group, n_groups)
        for b0 in range(r0, r1, plan.block_rows):
            # Groups leave nothing but their gradient, so that blocks can use one buffer in turn.
            at = team.part * plan.block_rows if grouped else b0
            rows = Rows(step.start + b0, min(r1 - b0, plan.block_rows), at)
            block_pass(upper, data, net, space, members, step, rows)
            if grouped and step.backward:
                group_pass(data, net, space, rows, group, b0 > r0)
    if plan.n_slices and step.backward and plan.sliced_layer > 0:
        slice_back(theta, net, space, team, step.rows)


@inline
def block_pass(upper, data, net, space, team, step, rows):
    """Take some rows of a chunk through all layers, and back again if the step is `backward`.

    If the input of a layer is sliced, only from there on up. `upper` is the weights it takes. The
    `team` does this together: each does its share of every layer, then waits for the others.
    """
    by_runs = _copy_inputs(data, net, space, team, step, rows)
    _forward_pass(upper, data, net, space, team, step, rows, by_runs)
    _loss_pass(data, net, space, team, step, rows)
    if step.backward:
        _backward_pass(upper, net, space, team, rows)


@inline
def _copy_inputs(data, net, space, team, step, rows):
    """Copy a member's share of rows of X, if they are gathered, for the team.

    Returns whether without the columns that are empty.
    """
    plan = net.plan
    if plan.gather == 0 or plan.n_slices:
        return False
    r0, r1 = part_bounds(rows.count, team.part, team.n_parts)
    share = Rows(rows.start + r0, r1 - r0, rows.at + r0)
    to = input_rows(net, data, space, share)
    n_in = net.layout[0].n_in
    columns, copied = Columns(n_in, 0, n_in, n_in, 0, plan.input_gap), vector(to, 0, to.size)
    is_whole = rows.count == step.batch
    by_runs = copy_used_columns(data, net, space, team, share, is_whole, columns, copied)
    if not by_runs:
        copy_rows(data.X, n_in, data.order, share.start, to)
    barrier(team.sync, team.n_parts)
    return by_runs


@inline
def _forward_pass(upper, data, net, space, team, step, rows, by_runs):
    """Overwrite the outputs of all layers, or of those from the sliced one on."""
    plan, bottom = net.plan, net.plan.sliced_layer
    top = net.layout.size - 1
    fused = plan.loss >= codes.FUSED_BINARY_CROSS_ENTROPY
    lanes = panel_width(upper) // 2
    below = input_rows(net, data, space, rows)
    for layer in range(bottom, top + 1):
        n_out = net.layout[layer].n_out
        output = layer_rows(net, space, plan.output, layer, rows)
        slope = layer_rows(net, space, plan.slope, layer, rows)
        activation = layer_activation(net, layer)
        if fused and layer == top:
            activation = (codes.IDENTITY, 0, 0, activation[3])
        s0, s1, j0, j1 = layer_share(rows.count, n_out, activation[0], lanes, team)
        share = block(output, s0, j0, s1 - s0, j1 - j0)
        if plan.n_slices and layer == bottom:
            products = slice_products(net, space, n_out, step.turn)
            sums = vector(output, 0, rows.count * n_out)
            add_terms(products, rows.at * n_out, False, sums)
        else:
            W, b = layer_weights(upper, plan.upper_start, net.layout, layer)
            inputs = block(below, s0, 0, s1 - s0, W.shape[0])
            if by_runs and layer == 0:
                runs = runs_of(net, space, 0, W.shape[0])
                multiply_used(inputs, W, b, runs, share, net, space)
            else:
                columns = some_columns(W, j0, j1 - j0)
                multiply(inputs, columns, FROM_ROW, b, share, product_scratch(net, space))
        activate_block(activation, share, slope, step.backward)
        barrier(team.sync, team.n_parts)
        below = output


@inline
def _loss_pass(data, net, space, team, step, rows):
    """Overwrite a member's share of the sample losses and, if `backward`, of the last deltas."""
    r0, r1 = part_bounds(rows.count, team.part, team.n_parts)
    for r in range(r0, r1, net.plan.loss_rows):
        n = min(r1 - r, net.plan.loss_rows)
        some = Rows(rows.start + r, n, rows.at + r)
        output_losses(data, net, space, some, step.start, step.backward)
        if step.backward:
            delta = layer_rows(net, space, net.plan.delta, net.layout.size - 1, some)
            scale = delta.dtype.type(1.0) / delta.dtype.type(step.batch)
            ordered = net.plan.gather == 1
            scale_rows(delta, scale, data.weights, data.order, ordered, some.start)


@inline
def output_losses(data, net, space, rows, start, backward):
    """Overwrite the weighted losses of rows of a chunk that begins at `start`.

    Reads their outputs and overwrites their last deltas, which are not scaled yet: if `backward`
    those of the pre-activations. May destroy the scratch.
    """
    plan, top = net.plan, net.layout.size - 1
    ordered = plan.gather == 1
    target = matrix(space.scratch, plan.target, rows.count, plan.n_target)
    target = rows_of(data.Y, data.order, ordered, rows.start, target)
    output = layer_rows(net, space, plan.output, top, rows)
    delta = layer_rows(net, space, plan.delta, top, rows)
    terms = vector(space.scratch, plan.loss_terms, delta.size)
    losses = vector(space.own, plan.sample_loss + rows.start - start, rows.count)
    parameters = loss_parameters_of(space.work, plan, net.layout)
    block_losses(plan.loss, plan.rare_loss_at, parameters, output, target, delta, terms, losses)
    if data.weights.size:
        weigh_losses(losses, data.weights, data.order, ordered, rows.start)
    # The fused losses give the delta itself, the others the gradient of the output.
    if backward and plan.loss < codes.FUSED_BINARY_CROSS_ENTROPY:
        slope = layer_rows(net, space, plan.slope, top, rows)
        output_backward(delta, output, slope, layer_activation(net, top))


@inline
def _backward_pass(upper, net, space, team, rows):
    """Overwrite the deltas of the layers below the last, down to the sliced one."""
    plan, bottom = net.plan, net.plan.sliced_layer
    top = net.layout.size - 1
    lanes = panel_width(upper) // 2
    delta = layer_rows(net, space, plan.delta, top, rows)
    for layer in range(top, bottom, -1):
        barrier(team.sync, team.n_parts)
        W, _ = layer_weights(upper, plan.upper_start, net.layout, layer)
        below = layer_rows(net, space, plan.delta, layer - 1, rows)
        s0, s1, j0, j1 = block_share(rows.count, W.shape[0], lanes, team)
        dense_backward_input_block(
            delta,
            W,
            layer_rows(net, space, plan.output, layer - 1, rows),
            layer_rows(net, space, plan.slope, layer - 1, rows),
            layer_activation(net, layer - 1),
            block(below, s0, j0, s1 - s0, j1 - j0),
            product_scratch(net, space),
        )
        delta = below


@inline
def layer_share(rows, n_out, code, lanes, team):
    """Do `block_share` for the outputs of a layer: softmax needs whole rows."""
    return block_share(rows, n_out, n_out if code == codes.SOFTMAX else lanes, team)


@inline
def output_backward(delta, output, slope, activation):
    """Multiply `delta` by the derivative of the output activation, in place."""
    code, size = activation[0], delta.size
    d, y, slopes = vector(delta, 0, size), vector(output, 0, size), vector(slope, 0, size)
    if code == codes.SOFTMAX:
        call_worker(activation[2], code, d, y, slopes, delta.shape[1])
    else:
        activation_backward(d, y, slopes, activation)


@inline
def group_pass(data, net, space, rows, group, accumulate):
    """Overwrite the gradient of a group of rows by that of a block, or add the block's to it.

    Reads the block's outputs and deltas.
    """
    plan = net.plan
    gradients = plan.group_gradient + group * total_params(net.layout)
    below = input_rows(net, data, space, rows)
    for layer in range(net.layout.size):
        n_in, n_out = net.layout[layer].n_in, net.layout[layer].n_out
        offset = gradients + net.layout[layer].w_offset
        gradient = matrix(space.work, offset, n_in + 1, n_out)
        delta, scratch = (
            layer_rows(net, space, plan.delta, layer, rows),
            product_scratch(net, space),
        )
        dense_backward_params_rows(below, n_in, delta, 0, n_in + 1, accumulate, gradient, scratch)
        below = layer_rows(net, space, plan.output, layer, rows)


@inline
def total_params(layout):
    """Number of parameters of a network."""
    top = layout.size - 1
    return layout[top].w_offset + (layout[top].n_in + 1) * layout[top].n_out


@inline
def task_place(trained, net, space, task):
    """`Place` of a task, in vectors like theta or in a part's own columns, see `slices`."""
    layer = task.layer
    if layer < net.plan.sliced_layer:
        columns = task.slice_1 - task.slice_0
        return Place(
            own_columns(net, space, 0, 1, columns),
            own_columns(net, space, 1, 3, columns),
            own_columns(net, space, 4, 1, columns),
            task.row_0 * columns,
            columns,
        )
    columns = net.layout[layer].n_out
    return Place(
        vector(trained.theta, 0, trained.theta.size),
        vector(trained.state, 0, trained.state.size),
        vector(trained.gradient, 0, trained.gradient.size),
        net.layout[layer].w_offset + task.row_0 * columns,
        columns,
    )


@inline
def params_pass(trained, data, net, space, step, task, update):
    """Form one task's rows of the gradient from the chunk's deltas and, if `update`, apply them.

    Adds to the rows of the gradient, which start from zero on the first chunk of a mini-batch,
    and adds the penalties on the last. A mini-batch of one chunk that is applied at once keeps
    its gradient in the part's scratch: it need not leave the cache.
    """
    plan, n_in = net.plan, net.layout[task.layer].n_in
    place = task_place(trained, net, space, task)
    size = (task.row_1 - task.row_0) * place.columns
    g = vector(place.gradient, place.offset, size)
    if update and step.first and step.last:
        g = vector(space.scratch, plan.task, size)
    if plan.n_groups:
        n_groups = min(plan.n_groups, step.rows)
        terms = matrix(space.work, plan.group_gradient, n_groups, total_params(net.layout))
        add_terms(terms, place.offset, step.first == 0, g)
    else:
        _form_gradient(data, net, space, step, task, g)
    if not step.last:
        return
    constants = net.constants
    if constants[codes.L1] != 0.0 or constants[codes.L2] != 0.0:
        n_weights = (min(task.row_1, n_in) - task.row_0) * place.columns
        weights = vector(place.theta, place.offset, n_weights)
        add_penalties(constants, weights, vector(g, 0, n_weights))
    if update:
        update_task(place, net, space, g, task)
    elif task.layer < plan.sliced_layer:
        k0, k1 = task.row_0, task.row_1
        move_columns(trained.gradient, net.layout, k0, k1, g, task.slice_0, place.columns, True)


@inline
def _form_gradient(data, net, space, step, task, g):
    """Overwrite the vector `g` by a task's rows of the gradient of a chunk, or add them to it."""
    plan, rows = net.plan, Rows(step.start, step.rows, 0)
    layer = task.layer
    n_below, columns = net.layout[layer].n_in, net.layout[layer].n_out
    delta = layer_rows(net, space, plan.delta, layer, rows)
    below = input_rows(net, data, space, rows)
    if layer > 0:
        below = layer_rows(net, space, plan.output, layer - 1, rows)
    first_row = 0
    width = task.slice_1 - task.slice_0
    if plan.n_slices and layer == plan.sliced_layer:
        base = plan.output if layer > 0 else plan.input
        below = slice_matrix(net, space, base, step.rows, task.slice_0, width)
        first_row, n_below = task.slice_0, width
    elif plan.n_slices and layer < plan.sliced_layer:
        delta = slice_matrix(net, space, plan.delta, step.rows, task.slice_0, width)
        columns = width
    r0, r1 = task.row_0 - first_row, task.row_1 - first_row
    p0, p1 = r0, r1
    runs = runs_of(net, space, first_row, n_below)
    by_runs = layer == 0 and plan.columns_at != 0 and step.first and step.last
    by_runs = by_runs and runs[0] != NOT_LOOKED_FOR
    if by_runs:
        p0, p1, n_below = place_of(runs, r0), place_of(runs, r1), int(runs[1])
    g_rows = matrix(g, 0, r1 - r0, columns)
    scratch, accumulate = product_scratch(net, space), step.first == 0
    dense_backward_params_rows(below, n_below, delta, p0, p1, accumulate, g_rows, scratch)
    if by_runs:
        call_worker(plan.spread_at, g_rows, r0, r1, runs)


@loop
def add_terms(terms, offset, accumulate, total):
    """Overwrite `total` by the sum over rows of `terms`, from column `offset` on, or add it.

    The rows are the gradients of groups, or the products of slices; they are added in their order.
    """
    size = total.size
    first = 0
    if not accumulate:
        original = vector(terms, offset, size)
        if terms.shape[0] == 1:
            for i in range(size):
                total[i] = original[i]
            return
        addend = vector(terms, terms.shape[1] + offset, size)
        for i in range(size):
            total[i] = original[i] + addend[i]
        first = 2
    for term in range(first, terms.shape[0]):
        addend = vector(terms, term * terms.shape[1] + offset, size)
        for i in range(size):
            total[i] += addend[i]


@loop
def add_penalties(constants, weights, gradient):
    """Add the gradient of l2/2 sum W^2 + l1 sum |W| to `gradient`; 0 is l1's choice at 0."""
    l1 = constants[codes.L1]
    l2 = constants[codes.L2]
    zero = weights.dtype.type(0.0)
    if l2 != zero:
        for i in range(weights.size):
            gradient[i] += l2 * weights[i]
    if l1 != zero:
        for i in range(weights.size):
            gradient[i] += l1 if weights[i] > zero else (-l1 if weights[i] < zero else zero)


@inline
def update_task(place, net, space, g, task):
    """Apply the gradient `g` of one task's rows of [W; b]."""
    layer = net.layout[task.layer]
    rows = task.row_1 - task.row_0
    weight_rows = rows
    if net.plan.decays or layer.weight_kind != layer.bias_kind:
        weight_rows = max(0, min(task.row_1, layer.n_in) - task.row_0)
    # Weights first, then the bias, which no decay touches; all at once where they are alike.
    for is_weight in range(1, -1, -1):
        r0, r1 = (0, weight_rows) if is_weight else (weight_rows, rows)
        if r0 < r1:
            run = vector(g, r0 * place.columns, (r1 - r0) * place.columns)
            first = place.offset + r0 * place.columns
            kind = layer.weight_kind if is_weight else layer.bias_kind
            apply_update(place, run, first, net, space, kind, is_weight)


@inline
def apply_update(trained, gradient, first, net, space, kind, is_weight):
    """Apply `gradient` to as many parameters from element `first` on, by the plan's optimizer.

    `trained` has theta and the state; `kind` is the row of the coefficients.
    """
    theta, state = trained.theta, trained.state
    n = theta.size
    n_slots = net.plan.n_slots
    call_worker(
        net.plan.update_at,
        vector(theta, first, gradient.size),
        gradient,
        vector(state, first if n_slots > 0 else 0, gradient.size),
        vector(state, n + first if n_slots > 1 else 0, gradient.size),
        vector(state, 2 * n + first if n_slots > 2 else 0, gradient.size),
        kind_row(coefficients_of(net, space), kind),
        is_weight,
    )
