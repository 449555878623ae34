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
- Narrow network, many rows: the chunk is cut into groups of rows. A part also forms the gradients
  of its groups, while the rows are in its cache; `params_pass` only adds groups up.
- Other wide networks: the parts take the chunk together, layer by layer, each doing its own columns
  of the outputs, so that it reads only its own part of the weights.

Each element that is written is written by one part alone, as one sum in an order that sizes fix,
so the number of parts never changes a bit of the result.
"""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, inline, loop
from fastmlp.kernels.activations import activation_backward, softmax_backward_rows
from fastmlp.kernels.blocks import block, some_columns
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
    input_rows,
    kind_row,
    layer_activation,
    layer_rows,
    layer_weights,
    part_scratch,
    product_scratch,
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
def block_share(rows, columns, lanes, member, n_members):
    """Which block of a matrix falls to a member of a team: r0, r1, j0, j1.

    Columns are shared out first, because then each member reads its own columns of the weights,
    in whole vectors of `lanes` and at least `FEWEST_VECTORS` of them; rows make up for the rest.
    """
    n_vectors = (columns + lanes - 1) // lanes
    across = n_members
    while across > 1 and (n_members % across or n_vectors < FEWEST_VECTORS * across):
        across -= 1
    r0, r1 = part_bounds(rows, member // across, n_members // across)
    v0, v1 = part_bounds(n_vectors, member % across, across)
    return r0, r1, v0 * lanes, min(columns, v1 * lanes)


@inline
def chunk_pass(
    theta,
    X,
    Y,
    weights,
    order,
    layout,
    plan,
    constants,
    work,
    own,
    turn,
    t,
    start,
    batch,
    rows,
    part,
    n_parts,
    sync,
    backward,
):
    """Take one part's share of the chunk at `start` of `rows` rows forward, and back if `backward`.

    Reads theta, after t updates, and the samples; overwrites the outputs, sample losses and, if
    `backward`, the deltas, which carry sample weight / `batch`, or the gradients of the part's
    groups of rows. May destroy the scratch of `part`.
    """
    n_slices = plan.n_slices
    if n_slices:
        slice_pass(
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
            backward,
        )
        barrier(sync, n_parts)
    n_groups = n_parts
    first, stop = part, part + 1
    member, n_members = 0, 1
    grouped = plan.n_groups > 0
    if grouped:
        n_groups = min(plan.n_groups, rows)
        first, stop = part_bounds(n_groups, part, n_parts)
    elif n_slices:
        n_groups = 1
        first, stop = 0, 1
    elif plan.together:
        n_groups = 1
        first, stop = 0, 1
        member, n_members = part, n_parts
    upper = upper_weights(theta, plan, work, t)
    block = plan.block_rows
    for group in range(first, stop):
        r0, r1 = part_bounds(rows, group, n_groups)
        for b0 in range(r0, r1, block):
            # Groups leave nothing but their gradient, so that blocks can use one buffer in turn.
            at = part * block if grouped else b0
            n = min(r1 - b0, block)
            block_pass(
                upper,
                X,
                Y,
                weights,
                order,
                layout,
                plan,
                constants,
                work,
                own,
                turn,
                start,
                batch,
                b0,
                n,
                at,
                part,
                member,
                n_members,
                sync,
                backward,
            )
            if grouped and backward:
                group_pass(X, layout, plan, work, start + b0, n, at, part, group, b0 > r0)
    if n_slices and backward and plan.sliced_layer > 0:
        slice_back(theta, layout, plan, constants, work, own, rows, part, n_parts)


@inline
def block_pass(
    upper,
    X,
    Y,
    weights,
    order,
    layout,
    plan,
    constants,
    work,
    own,
    turn,
    start,
    batch,
    b0,
    rows,
    at,
    part,
    member,
    n_members,
    sync,
    backward,
):
    """Take rows ``b0 : b0+rows`` of the chunk at `start` through all layers, and back again.

    If the input of a layer is sliced, only from there on up. `upper` is the weights it takes.

    The first of them is row `at` of the buffers. `n_members` parts do this together, of which this
    is number `member`: each does its share of every layer, then waits for the others.
    """
    n_layers = layout.size
    top = n_layers - 1
    lanes = panel_width(upper) // 2
    loss = plan.loss
    fused = loss >= codes.FUSED_BINARY_CROSS_ENTROPY
    n_in = layout[0].n_in
    n_out = layout[top].n_out
    n_target = plan.n_target
    ordered = plan.gather == 1
    n_slices = plan.n_slices
    bottom = plan.sliced_layer
    scratch = product_scratch(work, plan, part)

    r0, r1 = part_bounds(rows, member, n_members)
    by_runs = False
    if ordered and not n_slices:
        copied = input_rows(X, own, plan, layout, start + b0, at + r0, r1 - r0)
        by_runs = copy_used_columns(
            X,
            order,
            layout,
            plan,
            work,
            start + b0 + r0,
            r1 - r0,
            rows == batch,
            part,
            member,
            n_members,
            0,
            n_in,
            n_in,
            0,
            vector(copied, 0, copied.size),
            sync,
        )
        if not by_runs:
            copy_rows(X, n_in, order, start + b0 + r0, copied)
        barrier(sync, n_members)
    below = input_rows(X, own, plan, layout, start + b0, at, rows)
    for layer in range(bottom, n_layers):
        columns = layout[layer].n_out
        output = layer_rows(own, plan.output, plan, layout, layer, at, rows)
        slope = layer_rows(own, plan.slope, plan, layout, layer, at, rows)
        activation = layer_activation(layout, plan, constants, layer)
        if fused and layer == top:
            activation = (codes.IDENTITY, 0, 0, activation[3])
        s0, s1, j0, j1 = layer_share(rows, columns, activation[0], lanes, member, n_members)
        share = block(output, s0, j0, s1 - s0, j1 - j0)
        if n_slices and layer == bottom:
            products = slice_products(work, plan, columns, turn)
            add_terms(products, at * columns, False, vector(output, 0, rows * columns))
        else:
            W, b = layer_weights(upper, plan.upper_start, layout, layer)
            rows_below = block(below, s0, 0, s1 - s0, W.shape[0])
            if by_runs and layer == 0:
                runs = part_scratch(work, plan, part, plan.column_runs, n_in)
                multiply_used(rows_below, W, b, runs, share, plan, work, part)
            else:
                columns_of_W = some_columns(W, share.column, share.columns)
                multiply(rows_below, columns_of_W, FROM_ROW, b, share, scratch)
        activate_block(activation, share, slope, backward)
        barrier(sync, n_members)
        below = output

    scale = upper.dtype.type(1.0) / upper.dtype.type(batch)
    for l0 in range(r0, r1, plan.loss_rows):
        n = min(r1 - l0, plan.loss_rows)
        target = part_scratch(work, plan, part, plan.target, n * n_target)
        target = rows_of(Y, order, ordered, start + b0 + l0, matrix(target, 0, n, n_target))
        output = matrix(below, l0 * n_out, n, n_out)
        delta = layer_rows(own, plan.delta, plan, layout, top, at + l0, n)
        sample_loss = vector(own, plan.sample_loss + b0 + l0, n)
        block_losses(
            loss,
            plan.rare_loss_at,
            constants[codes.LOSS_PARAMETER],
            output,
            target,
            delta,
            part_scratch(work, plan, part, plan.loss_terms, n * n_out),
            sample_loss,
        )
        if weights.size:
            weigh_losses(sample_loss, weights, order, ordered, start + b0 + l0)
        if backward:
            # The fused losses give the delta itself, the others the gradient of the output.
            if not fused:
                slope = layer_rows(own, plan.slope, plan, layout, top, at + l0, n)
                output_backward(
                    delta,
                    output,
                    slope,
                    layer_activation(layout, plan, constants, top),
                )
            scale_rows(delta, scale, weights, order, ordered, start + b0 + l0)
    if not backward:
        return

    delta = layer_rows(own, plan.delta, plan, layout, top, at, rows)
    for layer in range(top, bottom, -1):
        barrier(sync, n_members)
        W, _ = layer_weights(upper, plan.upper_start, layout, layer)
        output = layer_rows(own, plan.output, plan, layout, layer - 1, at, rows)
        slope = layer_rows(own, plan.slope, plan, layout, layer - 1, at, rows)
        delta_below = layer_rows(own, plan.delta, plan, layout, layer - 1, at, rows)
        columns = layout[layer].n_in
        s0, s1, j0, j1 = block_share(rows, columns, lanes, member, n_members)
        dense_backward_input_block(
            delta,
            W,
            output,
            slope,
            layer_activation(layout, plan, constants, layer - 1),
            block(delta_below, s0, j0, s1 - s0, j1 - j0),
            scratch,
        )
        delta = delta_below


@inline
def layer_share(rows, n_out, code, lanes, member, n_members):
    """Do `block_share` for the outputs of a layer: softmax needs whole rows."""
    return block_share(rows, n_out, n_out if code == codes.SOFTMAX else lanes, member, n_members)


@inline
def output_backward(delta, output, slope, activation):
    """Multiply `delta` by the derivative of the output activation, in place."""
    if activation[0] == codes.SOFTMAX:
        softmax_backward_rows(delta, output)
    else:
        size = delta.size
        activation_backward(
            vector(delta, 0, size), vector(output, 0, size), vector(slope, 0, size), activation
        )


@inline
def group_pass(X, layout, plan, work, start, rows, at, part, group, accumulate):
    """Overwrite the gradient of a group of rows by that of a block, or add the block's to it.

    Reads the block's outputs and deltas, from row `at` of the buffers on; `start` is its first row
    of X, or of the order.
    """
    n_params = total_params(layout)
    scratch = product_scratch(work, plan, part)
    below = input_rows(X, work, plan, layout, start, at, rows)
    for layer in range(layout.size):
        n_in = layout[layer].n_in
        offset = plan.group_gradient + group * n_params + layout[layer].w_offset
        gradient = matrix(work, offset, n_in + 1, layout[layer].n_out)
        delta = layer_rows(work, plan.delta, plan, layout, layer, at, rows)
        dense_backward_params_rows(below, n_in, delta, 0, n_in + 1, accumulate, gradient, scratch)
        below = layer_rows(work, plan.output, plan, layout, layer, at, rows)


@inline
def total_params(layout):
    """Number of parameters of a network."""
    top = layout.size - 1
    return layout[top].w_offset + (layout[top].n_in + 1) * layout[top].n_out


@inline
def task_place(theta, state, gradient, layout, plan, own, task):
    """Vectors of the parameters, slots and gradient that a task is part of, and where in them.

    Namely the offset of its first row of [W; b], in all three of them, and the columns of a row.
    One slot comes as far after the other as the parameters are long.
    """
    layer = task.layer
    columns = layout[layer].n_out
    if layer < plan.sliced_layer:
        columns = task.slice_1 - task.slice_0
        return (
            own_columns(own, layout, plan, 0, 1, columns),
            own_columns(own, layout, plan, 1, 3, columns),
            own_columns(own, layout, plan, 4, 1, columns),
            task.row_0 * columns,
            columns,
        )
    offset = layout[layer].w_offset + task.row_0 * columns
    return (
        vector(theta, 0, theta.size),
        vector(state, 0, state.size),
        vector(gradient, 0, gradient.size),
        offset,
        columns,
    )


@inline
def params_pass(
    theta,
    state,
    X,
    layout,
    plan,
    constants,
    work,
    own,
    gradient,
    start,
    rows,
    first,
    last,
    task,
    part,
    update,
):
    """Form one task's rows of the gradient from the chunk's deltas and, if `update`, apply them.

    Adds to the rows of `gradient`, which start from zero on the `first` chunk of a mini-batch,
    and adds the penalties on the `last`. A mini-batch of one chunk that is applied at once keeps
    its gradient in the scratch of `part`: it need not leave the cache.
    """
    layer = task.layer
    k0 = task.row_0
    k1 = task.row_1
    n_in = layout[layer].n_in
    theta, state, g, offset, columns = task_place(theta, state, gradient, layout, plan, own, task)
    size = (k1 - k0) * columns
    if update and first and last:
        g = part_scratch(work, plan, part, plan.task, size)
    else:
        g = vector(g, offset, size)
    if plan.n_groups:
        n_groups = min(plan.n_groups, rows)
        n_params = total_params(layout)
        terms = matrix(work, plan.group_gradient, n_groups, n_params)
        add_terms(terms, offset, not first, g)
    else:
        delta = layer_rows(own, plan.delta, plan, layout, layer, 0, rows)
        below = input_rows(X, own, plan, layout, start, 0, rows)
        first_row = 0
        n_below = n_in
        if layer > 0:
            below = layer_rows(own, plan.output, plan, layout, layer - 1, 0, rows)
        if plan.n_slices:
            k = task.slice_0
            width = task.slice_1 - k
            if layer == plan.sliced_layer:
                n_below = width
                base = plan.output if layer > 0 else plan.input
                below = slice_matrix(own, base, plan, rows, k, width)
                first_row = k
            elif layer < plan.sliced_layer:
                delta = slice_matrix(own, plan.delta, plan, rows, k, width)
        scratch = product_scratch(work, plan, part)
        g_rows = matrix(g, 0, k1 - k0, columns)
        r0, r1 = k0 - first_row, k1 - first_row
        p0, p1 = r0, r1
        runs = part_scratch(work, plan, part, plan.column_runs + first_row, n_below)
        by_runs = layer == 0 and plan.columns_at != 0 and first and last
        by_runs = by_runs and runs[0] != NOT_LOOKED_FOR
        if by_runs:
            p0, p1, n_below = place_of(runs, r0), place_of(runs, r1), int(runs[1])
        dense_backward_params_rows(below, n_below, delta, p0, p1, not first, g_rows, scratch)
        if by_runs:
            call_worker(plan.spread_at, g_rows, r0, r1, runs)
    if last and (constants[codes.L1] != 0.0 or constants[codes.L2] != 0.0):
        n_weights = (min(k1, n_in) - k0) * columns
        add_penalties(constants, vector(theta, offset, n_weights), vector(g, 0, n_weights))
    if last and update:
        update_task(theta, state, layout, plan, work, g, offset, columns, task, part)
    elif last and layer < plan.sliced_layer:
        move_columns(gradient, layout, k0, k1, g, task.slice_0, columns, True)


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
def update_task(theta, state, layout, plan, work, g, offset, columns, task, part):
    """Apply the gradient `g` of one task's rows of [W; b], which are where `task_place` says."""
    k0 = task.row_0
    k1 = task.row_1
    layer = layout[task.layer]
    weight_rows = k1 - k0
    if plan.decays or layer.weight_kind != layer.bias_kind:
        weight_rows = max(0, min(k1, layer.n_in) - k0)
    n = plan.n_kinds * codes.N_COEFFICIENTS
    coefficients = part_scratch(work, plan, part, plan.coefficients, n)
    # Weights first, then the bias, which no decay touches; all at once where they are alike.
    for is_weight in range(1, -1, -1):
        r0 = 0 if is_weight else weight_rows
        r1 = weight_rows if is_weight else k1 - k0
        if r0 < r1:
            run = vector(g, r0 * columns, (r1 - r0) * columns)
            row = kind_row(coefficients, layer.weight_kind if is_weight else layer.bias_kind)
            apply_update(theta, state, run, offset + r0 * columns, plan, row, is_weight)


@inline
def apply_update(theta, state, gradient, first, plan, coefficients, is_weight):
    """Apply `gradient` to as many parameters from element `first` on, by the plan's optimizer."""
    n = theta.size
    n_slots = plan.n_slots
    call_worker(
        plan.update_at,
        vector(theta, first, gradient.size),
        gradient,
        vector(state, first if n_slots > 0 else 0, gradient.size),
        vector(state, n + first if n_slots > 1 else 0, gradient.size),
        vector(state, 2 * n + first if n_slots > 2 else 0, gradient.size),
        coefficients,
        is_weight,
    )
