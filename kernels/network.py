"""A network's passes over a chunk of samples: forward, loss and back; gradients and update.

All arrays are flat; the layout and the plan (columns and entries in `codes`) say where each
matrix begins. There are four ways to share a chunk out to parts, chosen by sizes alone:

- Narrow network, few rows: each part takes its own rows, in blocks that stay in its cache,
  through all layers and back (`chunk_pass`); then each forms the gradient of its own rows of the
  weight matrices from all rows of the chunk (`params_pass`).
- The same with a wide input: the first layer is cut into slices of the input's columns, which
  are rows of its weights. A part copies its slices' columns alone and multiplies them by its own
  weights (`slice_pass`); the sum of these products, few numbers, is all that others read.
- Narrow network, many rows: the chunk is cut into groups of rows. A part also forms the gradients
  of its groups, while the rows are in its cache; `params_pass` only adds groups up.
- Wide network: the parts take the chunk together, layer by layer, each doing its own columns of
  the outputs, so that it reads only its own part of the weights.

Each element that is written is written by one part alone, as one sum in an order that sizes fix,
so the number of parts never changes a bit of the result.
"""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline, loop
from fastmlp.kernels.activations import activation_backward, softmax_backward_rows
from fastmlp.kernels.dense import (
    activate_block,
    dense_backward_input_block,
    dense_backward_params_rows,
    dense_forward_block,
    part_bounds,
)
from fastmlp.kernels.gemm import multiply
from fastmlp.kernels.losses import loss_cross_entropy, loss_elementwise, row_sums
from fastmlp.kernels.simd import (
    FROM_ROW,
    FROM_ZERO,
    copy_run,
    line_size,
    matrix,
    panel_width,
    prefetch,
    vector,
)
from fastmlp.kernels.team import barrier
from fastmlp.kernels.updates import apply_update

# Vectors of columns a member of a team should have, so that no member has much more than another.
FEWEST_VECTORS = 4

# Elements of X that are asked for before they are copied, and rows at least: random rows of a
# large X are in no cache, and the processor cannot foresee them.
ELEMENTS_AHEAD = 512
ROWS_AHEAD = 2


@inline
def layer_weights(theta, layout, layer):
    """Views of W and b of one layer in `theta`."""
    n_in = layout[layer, codes.N_IN]
    n_out = layout[layer, codes.N_OUT]
    offset = layout[layer, codes.W_OFFSET]
    return matrix(theta, offset, n_in, n_out), vector(theta, offset + n_in * n_out, n_out)


@inline
def layer_rows(work, base, plan, layout, layer, first, rows):
    """View of rows of a layer's outputs, deltas or slopes, by `base` of the plan."""
    n_out = layout[layer, codes.N_OUT]
    offset = plan[base] + plan[codes.BUFFER_ROWS] * layout[layer, codes.WIDTH_OFFSET]
    return matrix(work, offset + first * n_out, rows, n_out)


@inline
def input_rows(X, work, plan, layout, start, at, rows):
    """View of rows of the input: of X, in place, or of where `copy_rows` has copied them."""
    n_in = layout[0, codes.N_IN]
    if plan[codes.GATHER]:
        return matrix(work, plan[codes.INPUT] + at * n_in, rows, n_in)
    return matrix(X, start * n_in, rows, n_in)


@inline
def part_scratch(work, plan, part, offset, size):
    """View of a piece of a part's scratch."""
    return vector(work, plan[codes.SCRATCH] + part * plan[codes.SCRATCH_SIZE] + offset, size)


@inline
def product_scratch(work, plan, part):
    """View of what the products of a part may destroy."""
    return part_scratch(work, plan, part, 0, plan[codes.LOSS_TERMS])


@loop
def copy_rows(source, n_columns, order, start, ordered, copied, rows):
    """Overwrite the first `rows` rows of the flat matrix `copied` by rows of the flat `source`.

    Row r comes from row ``order[start + r]`` if `ordered`, else from row ``start + r``.
    """
    if not ordered:
        copy_run(source, start * n_columns, copied, 0, rows * n_columns)
        return
    ahead = max(ROWS_AHEAD, ELEMENTS_AHEAD // n_columns)
    for r in range(rows):
        if start + r + ahead < order.size:
            prefetch_row(source, order[start + r + ahead] * n_columns, n_columns)
        copy_run(source, order[start + r] * n_columns, copied, r * n_columns, n_columns)


@loop
def copy_slices(source, n_columns, order, start, ordered, rows, room, width, k0, k1, copied):
    """Overwrite slices of the flat matrix `copied` by columns ``k0 : k1`` of rows of `source`.

    Rows are those of `copy_rows`. A slice is `width` columns, the last one what is left; that from
    column k on becomes a matrix of its own, which begins at element ``room * k``.
    """
    for r in range(rows):
        row = order[start + r] if ordered else start + r
        if ordered and start + r + ROWS_AHEAD < order.size:
            prefetch_row(source, order[start + r + ROWS_AHEAD] * n_columns + k0, k1 - k0)
        for k in range(k0, k1, width):
            size = min(width, k1 - k)
            copy_run(source, row * n_columns + k, copied, room * k + r * size, size)


@inline
def prefetch_row(source, offset, size):
    """Ask for the cache lines of `size` elements of a vector, from `offset` on."""
    for j in range(0, size, line_size(source)):
        prefetch(source, offset + j)


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
def block_losses(code, parameter, output, target, gradient, terms, sample_loss):
    """Overwrite `sample_loss` by the losses of a block and `gradient` by the loss's gradient.

    `output`, `target` and `gradient` are matrices. May destroy `terms`, a vector of output's size.
    """
    rows, n_out = output.shape
    if code == codes.FUSED_CROSS_ENTROPY_INDICES or code == codes.FUSED_CROSS_ENTROPY:
        by_index = code == codes.FUSED_CROSS_ENTROPY_INDICES
        loss_cross_entropy(output, target, by_index, gradient, sample_loss)
    else:
        size = rows * n_out
        flat_output, flat_target = vector(output, 0, size), vector(target, 0, size)
        loss_elementwise(
            code, parameter, flat_output, flat_target, vector(gradient, 0, size), terms
        )
        row_sums(matrix(terms, 0, rows, n_out), sample_loss)


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
def slice_width(n_in, n_slices):
    """Columns of a slice of the input; the last one may have fewer."""
    return (n_in + n_slices - 1) // n_slices


@inline
def slice_pass(theta, X, order, layout, plan, work, start, rows, part, n_parts):
    """Copy a part's slices of a chunk's rows, and multiply them by their rows of the weights.

    Overwrites the copies and the products of its own slices, of which the first starts from the
    bias. May destroy the scratch of `part`.
    """
    n_in = layout[0, codes.N_IN]
    n_out = layout[0, codes.N_OUT]
    n_slices = plan[codes.N_SLICES]
    room = plan[codes.BUFFER_ROWS]
    width = slice_width(n_in, n_slices)
    first, stop = part_bounds(n_slices, part, n_parts)
    k0, k1 = first * width, min(stop * width, n_in)
    if first == stop:
        return
    copied = vector(work, plan[codes.INPUT], room * n_in)
    copy_slices(X, n_in, order, start, plan[codes.GATHER] == 1, rows, room, width, k0, k1, copied)
    W, b = layer_weights(theta, layout, 0)
    scratch = product_scratch(work, plan, part)
    for s in range(first, stop):
        k = s * width
        depth = min(width, n_in - k)
        A = matrix(copied, room * k, rows, depth)
        B = matrix(W, k * n_out, depth, n_out)
        product = matrix(work, plan[codes.SLICE_PRODUCT] + s * room * n_out, rows, n_out)
        origin = FROM_ROW if s == 0 else FROM_ZERO
        multiply(A, 0, 0, B, 0, 0, origin, b, product, 0, 0, rows, n_out, depth, scratch)


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
    start,
    batch,
    rows,
    part,
    n_parts,
    sync,
    backward,
):
    """Take one part's share of the chunk at `start` of `rows` rows forward, and back if `backward`.

    Reads theta and the samples; overwrites the outputs, sample losses and, if `backward`, the
    deltas, which carry sample weight / `batch`, or the gradients of the part's groups of rows.
    May destroy the scratch of `part`.
    """
    if plan[codes.N_SLICES]:
        slice_pass(theta, X, order, layout, plan, work, start, rows, part, n_parts)
        barrier(sync, n_parts)
    n_groups = n_parts
    first, stop = part, part + 1
    member, n_members = 0, 1
    grouped = plan[codes.N_GROUPS] > 0
    if grouped:
        n_groups = min(plan[codes.N_GROUPS], rows)
        first, stop = part_bounds(n_groups, part, n_parts)
    elif plan[codes.TOGETHER]:
        n_groups = 1
        first, stop = 0, 1
        member, n_members = part, n_parts
    block = plan[codes.BLOCK_ROWS]
    for group in range(first, stop):
        r0, r1 = part_bounds(rows, group, n_groups)
        for b0 in range(r0, r1, block):
            # Groups leave nothing but their gradient, so that blocks can use one buffer in turn.
            at = part * block if grouped else b0
            n = min(r1 - b0, block)
            block_pass(
                theta,
                X,
                Y,
                weights,
                order,
                layout,
                plan,
                constants,
                work,
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


@inline
def block_pass(
    theta,
    X,
    Y,
    weights,
    order,
    layout,
    plan,
    constants,
    work,
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

    The first of them is row `at` of the buffers. `n_members` parts do this together, of which this
    is number `member`: each does its share of every layer, then waits for the others.
    """
    n_layers = layout.shape[0]
    top = n_layers - 1
    lanes = panel_width(theta) // 2
    loss = plan[codes.LOSS]
    fused = loss >= codes.FUSED_BINARY_CROSS_ENTROPY
    n_in = layout[0, codes.N_IN]
    n_out = layout[top, codes.N_OUT]
    n_target = plan[codes.N_TARGET]
    ordered = plan[codes.GATHER] == 1
    n_slices = plan[codes.N_SLICES]
    scratch = product_scratch(work, plan, part)

    r0, r1 = part_bounds(rows, member, n_members)
    if ordered and not n_slices:
        copied = vector(work, plan[codes.INPUT] + (at + r0) * n_in, (r1 - r0) * n_in)
        copy_rows(X, n_in, order, start + b0 + r0, True, copied, r1 - r0)
        barrier(sync, n_members)
    target = matrix(work, plan[codes.TARGET] + at * n_target, rows, n_target)
    copied = vector(target, r0 * n_target, (r1 - r0) * n_target)
    copy_rows(Y, n_target, order, start + b0 + r0, ordered, copied, r1 - r0)

    below = input_rows(X, work, plan, layout, start + b0, at, rows)
    for layer in range(n_layers):
        W, b = layer_weights(theta, layout, layer)
        output = layer_rows(work, codes.OUTPUT, plan, layout, layer, at, rows)
        slope = layer_rows(work, codes.SLOPE, plan, layout, layer, at, rows)
        code = layout[layer, codes.ACTIVATION]
        if fused and layer == top:
            code = codes.IDENTITY
        parameter = constants[codes.ACTIVATION_PARAMETERS + layer]
        s0, s1, j0, j1 = layer_share(rows, output.shape[1], code, lanes, member, n_members)
        if n_slices and layer == 0:
            width = output.shape[1]
            room = plan[codes.BUFFER_ROWS] * width
            products = matrix(work, plan[codes.SLICE_PRODUCT], n_slices, room)
            add_terms(products, at * width, False, vector(output, 0, rows * width))
            activate_block(code, parameter, output, slope, backward, 0, rows, 0, width)
        else:
            dense_forward_block(
                below,
                s0,
                W,
                b,
                code,
                parameter,
                output,
                slope,
                backward,
                s0,
                s1 - s0,
                j0,
                j1 - j0,
                scratch,
            )
        barrier(sync, n_members)
        below = output

    scale = theta.dtype.type(1.0) / theta.dtype.type(batch)
    for l0 in range(r0, r1, plan[codes.LOSS_ROWS]):
        n = min(r1 - l0, plan[codes.LOSS_ROWS])
        output = matrix(below, l0 * n_out, n, n_out)
        delta = layer_rows(work, codes.DELTA, plan, layout, top, at + l0, n)
        sample_loss = vector(work, plan[codes.SAMPLE_LOSS] + b0 + l0, n)
        block_losses(
            loss,
            constants[codes.LOSS_PARAMETER],
            output,
            matrix(target, l0 * n_target, n, n_target),
            delta,
            part_scratch(work, plan, part, plan[codes.LOSS_TERMS], n * n_out),
            sample_loss,
        )
        if weights.size:
            weigh_losses(sample_loss, weights, order, ordered, start + b0 + l0)
        if backward:
            # The fused losses give the delta itself, the others the gradient of the output.
            if not fused:
                slope = layer_rows(work, codes.SLOPE, plan, layout, top, at + l0, n)
                output_backward(
                    delta,
                    output,
                    slope,
                    layout[top, codes.ACTIVATION],
                    constants[codes.ACTIVATION_PARAMETERS + top],
                )
            scale_rows(delta, scale, weights, order, ordered, start + b0 + l0)
    if not backward:
        return

    delta = layer_rows(work, codes.DELTA, plan, layout, top, at, rows)
    for layer in range(top, 0, -1):
        barrier(sync, n_members)
        W, _ = layer_weights(theta, layout, layer)
        output = layer_rows(work, codes.OUTPUT, plan, layout, layer - 1, at, rows)
        slope = layer_rows(work, codes.SLOPE, plan, layout, layer - 1, at, rows)
        delta_below = layer_rows(work, codes.DELTA, plan, layout, layer - 1, at, rows)
        s0, s1, j0, j1 = block_share(rows, output.shape[1], lanes, member, n_members)
        dense_backward_input_block(
            delta,
            W,
            output,
            slope,
            layout[layer - 1, codes.ACTIVATION],
            constants[codes.ACTIVATION_PARAMETERS + layer - 1],
            delta_below,
            s0,
            s1 - s0,
            j0,
            j1 - j0,
            scratch,
        )
        delta = delta_below


@inline
def layer_share(rows, n_out, code, lanes, member, n_members):
    """Do `block_share` for the outputs of a layer: softmax needs whole rows."""
    return block_share(rows, n_out, n_out if code == codes.SOFTMAX else lanes, member, n_members)


@inline
def output_backward(delta, output, slope, code, parameter):
    """Multiply `delta` by the derivative of the output activation, in place."""
    if code == codes.SOFTMAX:
        softmax_backward_rows(delta, output)
    else:
        size = delta.size
        activation_backward(
            vector(delta, 0, size), vector(output, 0, size), vector(slope, 0, size), code, parameter
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
    for layer in range(layout.shape[0]):
        n_in = layout[layer, codes.N_IN]
        offset = plan[codes.GROUP_GRADIENT] + group * n_params + layout[layer, codes.W_OFFSET]
        gradient = matrix(work, offset, n_in + 1, layout[layer, codes.N_OUT])
        delta = layer_rows(work, codes.DELTA, plan, layout, layer, at, rows)
        dense_backward_params_rows(below, delta, 0, n_in + 1, accumulate, gradient, scratch)
        below = layer_rows(work, codes.OUTPUT, plan, layout, layer, at, rows)


@inline
def total_params(layout):
    """Number of parameters of a network."""
    top = layout.shape[0] - 1
    return layout[top, codes.W_OFFSET] + (layout[top, codes.N_IN] + 1) * layout[top, codes.N_OUT]


@inline
def params_pass(
    theta,
    state,
    X,
    layout,
    plan,
    constants,
    work,
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
    layer = task[codes.LAYER]
    k0 = task[codes.ROW_0]
    k1 = task[codes.ROW_1]
    n_in = layout[layer, codes.N_IN]
    n_out = layout[layer, codes.N_OUT]
    offset = layout[layer, codes.W_OFFSET] + k0 * n_out
    size = (k1 - k0) * n_out
    if update and first and last:
        g = part_scratch(work, plan, part, plan[codes.TASK], size)
    else:
        g = vector(gradient, offset, size)
    if plan[codes.N_GROUPS]:
        n_groups = min(plan[codes.N_GROUPS], rows)
        n_params = total_params(layout)
        terms = matrix(work, plan[codes.GROUP_GRADIENT], n_groups, n_params)
        add_terms(terms, offset, not first, g)
    else:
        delta = layer_rows(work, codes.DELTA, plan, layout, layer, 0, rows)
        below = input_rows(X, work, plan, layout, start, 0, rows)
        first_column = 0
        if layer > 0:
            below = layer_rows(work, codes.OUTPUT, plan, layout, layer - 1, 0, rows)
        elif plan[codes.N_SLICES]:
            first_column = task[codes.INPUT_0]
            at = plan[codes.INPUT] + plan[codes.BUFFER_ROWS] * first_column
            below = matrix(work, at, rows, task[codes.INPUT_1] - first_column)
        rows_gradient = matrix(g, 0, k1 - k0, n_out)
        scratch = product_scratch(work, plan, part)
        dense_backward_params_rows(
            below,
            delta,
            k0 - first_column,
            k1 - first_column,
            not first,
            rows_gradient,
            scratch,
        )
    if last:
        n_weights = (min(k1, n_in) - k0) * n_out
        add_penalties(constants, vector(theta, offset, n_weights), vector(g, 0, n_weights))
    if update and last:
        update_task(theta, state, layout, plan, work, g, task, part)


@loop
def add_terms(terms, offset, accumulate, total):
    """Overwrite `total` by the sum over rows of `terms`, from column `offset` on, or add it.

    The rows are the gradients of groups, or the products of slices; they are added in their order.
    """
    size = total.size
    first = 0
    if not accumulate:
        original = vector(terms, offset, size)
        for i in range(size):
            total[i] = original[i]
        first = 1
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
def update_task(theta, state, layout, plan, work, g, task, part):
    """Apply the gradient `g` of one task's rows of [W; b]."""
    layer = task[codes.LAYER]
    k0 = task[codes.ROW_0]
    k1 = task[codes.ROW_1]
    n_in = layout[layer, codes.N_IN]
    n_out = layout[layer, codes.N_OUT]
    weight_rows = max(min(k1, n_in) - k0, 0)
    coefficients = part_scratch(work, plan, part, plan[codes.COEFFICIENTS], codes.N_COEFFICIENTS)
    # Weights first, then the bias, which no decay touches.
    for is_weight in range(1, -1, -1):
        r0 = 0 if is_weight else weight_rows
        r1 = weight_rows if is_weight else k1 - k0
        if r0 < r1:
            offset = layout[layer, codes.W_OFFSET] + (k0 + r0) * n_out
            size = (r1 - r0) * n_out
            apply_update(
                plan[codes.OPTIMIZER],
                vector(theta, offset, size),
                vector(g, r0 * n_out, size),
                vector(state, offset if plan[codes.N_SLOTS] > 0 else 0, size),
                vector(state, theta.size + offset if plan[codes.N_SLOTS] > 1 else 0, size),
                vector(state, 2 * theta.size + offset if plan[codes.N_SLOTS] > 2 else 0, size),
                coefficients,
                is_weight,
            )
