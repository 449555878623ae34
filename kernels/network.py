"""A network's passes over a share of the work: rows forward and back, parameters, prediction.

All arrays are flat; the layout and the plan (columns and entries in `codes`) say where each
matrix begins. `rows_pass` is what one thread does with its samples: it takes blocks of rows
through all layers and back while they are in cache. `params_pass` is what one thread does with
its rows of the weight matrices. Each element that either writes is written by it alone, as one
sum in a fixed order, so the shares never change a bit of the result.
"""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline, loop
from fastmlp.kernels.activations import activation_backward, softmax_backward_rows
from fastmlp.kernels.dense import (
    dense_backward_input_rows,
    dense_backward_params_rows,
    dense_forward_rows,
    transpose_rows,
)
from fastmlp.kernels.losses import loss_cross_entropy, loss_elementwise, row_sums
from fastmlp.kernels.simd import matrix, vector
from fastmlp.kernels.updates import apply_update


@inline
def layer_weights(theta, layout, layer):
    """Views of W and b of one layer in `theta`."""
    n_in = layout[layer, codes.N_IN]
    n_out = layout[layer, codes.N_OUT]
    offset = layout[layer, codes.W_OFFSET]
    return matrix(theta, offset, n_in, n_out), vector(theta, offset + n_in * n_out, n_out)


@inline
def layer_rows(work, base, plan, layout, layer, rows):
    """View of the first `rows` rows of a layer's outputs or deltas, by `base` of the plan."""
    offset = plan[base] + plan[codes.CHUNK_ROWS] * layout[layer, codes.WIDTH_OFFSET]
    return matrix(work, offset, rows, layout[layer, codes.N_OUT])


@inline
def layer_transposed(work, plan, layout, layer):
    """View of the transposed copy of a layer's W."""
    offset = plan[codes.TRANSPOSED] + layout[layer, codes.WT_OFFSET]
    return matrix(work, offset, layout[layer, codes.N_OUT], layout[layer, codes.N_IN])


@inline
def chunk_input(X, work, plan, layout, start, rows):
    """View of the chunk's rows of X: in place, or where `copy_rows` has copied them."""
    n_in = layout[0, codes.N_IN]
    if plan[codes.GATHER]:
        return matrix(work, plan[codes.INPUT], rows, n_in)
    return matrix(X, start * n_in, rows, n_in)


@loop
def copy_rows(source, n_columns, order, start, ordered, copied, r0, r1):
    """Overwrite rows ``r0 : r1`` of the flat matrix `copied` by rows of the flat `source`.

    Row r comes from row ``order[start + r]`` if `ordered`, else from row ``start + r``.
    """
    if not ordered:
        size = (r1 - r0) * n_columns
        copy = vector(copied, r0 * n_columns, size)
        original = vector(source, (start + r0) * n_columns, size)
        for i in range(size):
            copy[i] = original[i]
        return
    for r in range(r0, r1):
        copy = vector(copied, r * n_columns, n_columns)
        original = vector(source, order[start + r] * n_columns, n_columns)
        for j in range(n_columns):
            copy[j] = original[j]


@loop
def weigh_losses(sample_loss, weights, order, ordered, start):
    """Multiply each of `sample_loss` by its row's weight; rows count as in `copy_rows`."""
    for r in range(sample_loss.size):
        sample_loss[r] *= weights[order[start + r] if ordered else start + r]


@loop
def scale_rows(delta, scale, weights, order, ordered, start, r0, rows):
    """Multiply rows ``r0 : r0+rows`` of `delta` by `scale` and, if there are any, `weights`."""
    if not weights.size:
        flat = vector(delta, r0 * delta.shape[1], rows * delta.shape[1])
        for i in range(flat.size):
            flat[i] *= scale
        return
    for r in range(r0, r0 + rows):
        factor = scale * weights[order[start + r] if ordered else start + r]
        for j in range(delta.shape[1]):
            delta[r, j] *= factor


@inline
def block_losses(code, parameter, output, r0, target, result, terms, sample_loss):
    """Overwrite `sample_loss` by the losses of a block and `result` by the loss's gradient.

    Reads rows from `r0` on of `output`. May destroy `terms`, a vector of the block's size.
    """
    rows = target.shape[0]
    n_out = output.shape[1]
    if code == codes.FUSED_CROSS_ENTROPY_INDICES or code == codes.FUSED_CROSS_ENTROPY:
        by_index = code == codes.FUSED_CROSS_ENTROPY_INDICES
        gradient = matrix(result, 0, rows, n_out)
        loss_cross_entropy(output, r0, target, by_index, gradient, sample_loss)
    else:
        flat_output = vector(output, r0 * n_out, rows * n_out)
        flat_target = vector(target, 0, rows * n_out)
        loss_elementwise(code, parameter, flat_output, flat_target, result, terms)
        row_sums(matrix(terms, 0, rows, n_out), sample_loss)


@inline
def rows_pass(
    theta, X, Y, weights, order, layout, plan, constants, work, start, batch, r0, r1, part, backward
):
    """Take rows ``r0 : r1`` of the chunk at `start` forward and, if `backward`, back again.

    Reads theta, the transposed weights in `work` and the samples; overwrites those rows of the
    outputs, sample losses and, if `backward`, the deltas, which carry sample weight / `batch`.
    May destroy the scratch of `part`.
    """
    n_layers = layout.shape[0]
    top = n_layers - 1
    n_out = layout[top, codes.N_OUT]
    n_target = plan[codes.N_TARGET]
    loss = plan[codes.LOSS]
    fused = loss >= codes.FUSED_BINARY_CROSS_ENTROPY
    ordered = plan[codes.GATHER] == 1
    scratch = plan[codes.SCRATCH] + part * plan[codes.SCRATCH_SIZE]
    block_size = plan[codes.BLOCK_ROWS] * plan[codes.MAX_WIDTH]
    panel = vector(work, scratch + plan[codes.PANEL], plan[codes.TASK] - plan[codes.PANEL])
    scale = theta.dtype.type(1.0) / theta.dtype.type(batch)
    for b0 in range(r0, r1, plan[codes.BLOCK_ROWS]):
        rows = min(r1 - b0, plan[codes.BLOCK_ROWS])
        if ordered:
            n_in = layout[0, codes.N_IN]
            copied = vector(work, plan[codes.INPUT], (b0 + rows) * n_in)
            copy_rows(X, n_in, order, start, True, copied, b0, b0 + rows)
        copied = vector(work, plan[codes.TARGET], (b0 + rows) * n_target)
        copy_rows(Y, n_target, order, start, ordered, copied, b0, b0 + rows)

        below = chunk_input(X, work, plan, layout, start, b0 + rows)
        for layer in range(n_layers):
            W, b = layer_weights(theta, layout, layer)
            output = layer_rows(work, codes.OUTPUT, plan, layout, layer, b0 + rows)
            code = layout[layer, codes.ACTIVATION]
            if fused and layer == top:
                code = codes.IDENTITY
            parameter = constants[codes.ACTIVATION_PARAMETERS + layer]
            derivative = layer_rows(work, codes.DELTA, plan, layout, layer, b0 + rows)
            dense_forward_rows(
                below, b0, W, b, code, parameter, output, derivative, backward, b0, rows, panel
            )
            below = output

        # The fused losses give the delta itself, the others the gradient of the output.
        target = matrix(work, plan[codes.TARGET] + b0 * n_target, rows, n_target)
        sample_loss = vector(work, plan[codes.SAMPLE_LOSS] + b0, rows)
        delta = layer_rows(work, codes.DELTA, plan, layout, top, b0 + rows)
        flat_delta = vector(delta, b0 * n_out, rows * n_out)
        gradient = vector(work, scratch, rows * n_out)
        terms = vector(work, scratch + block_size, rows * n_out)
        result = flat_delta if fused else gradient
        parameter = constants[codes.LOSS_PARAMETER]
        block_losses(loss, parameter, below, b0, target, result, terms, sample_loss)
        if weights.size:
            weigh_losses(sample_loss, weights, order, ordered, start + b0)
        if not backward:
            continue
        if not fused:
            code = layout[top, codes.ACTIVATION]
            if code == codes.SOFTMAX:
                softmax_backward_rows(matrix(work, scratch, rows, n_out), below, delta, b0, rows)
            else:
                activation_backward(
                    gradient,
                    vector(below, b0 * n_out, rows * n_out),
                    code,
                    constants[codes.ACTIVATION_PARAMETERS + top],
                    flat_delta,
                )
        scale_rows(delta, scale, weights, order, ordered, start, b0, rows)

        for layer in range(top, 0, -1):
            width = layout[layer - 1, codes.N_OUT]
            delta_below = layer_rows(work, codes.DELTA, plan, layout, layer - 1, b0 + rows)
            dense_backward_input_rows(
                delta,
                layer_transposed(work, plan, layout, layer),
                layer_rows(work, codes.OUTPUT, plan, layout, layer - 1, b0 + rows),
                layout[layer - 1, codes.ACTIVATION],
                constants[codes.ACTIVATION_PARAMETERS + layer - 1],
                delta_below,
                b0,
                rows,
                matrix(work, scratch, rows, width),
                panel,
            )
            delta = delta_below


@inline
def params_pass(
    theta,
    state,
    X,
    layout,
    plan,
    constants,
    hyper,
    work,
    gradient,
    start,
    rows,
    first,
    last,
    task,
    part,
    learning_rate,
    t,
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
    scratch = plan[codes.SCRATCH] + part * plan[codes.SCRATCH_SIZE]
    panel = vector(work, scratch + plan[codes.PANEL], plan[codes.TASK] - plan[codes.PANEL])
    if update and first and last:
        g = vector(work, scratch + plan[codes.TASK], size)
    else:
        g = vector(gradient, offset, size)
    delta = layer_rows(work, codes.DELTA, plan, layout, layer, rows)
    below = chunk_input(X, work, plan, layout, start, rows)
    if layer > 0:
        below = layer_rows(work, codes.OUTPUT, plan, layout, layer - 1, rows)
    rows_gradient = matrix(g, 0, k1 - k0, n_out)
    dense_backward_params_rows(below, delta, k0, k1, not first, rows_gradient, panel)
    if last:
        n_weights = (min(k1, n_in) - k0) * n_out
        add_penalties(constants, vector(theta, offset, n_weights), vector(g, 0, n_weights))
    if update and last:
        update_task(theta, state, layout, plan, hyper, work, g, task, learning_rate, t)


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
def update_task(theta, state, layout, plan, hyper, work, g, task, learning_rate, t):
    """Apply the gradient `g` of one task's rows of [W; b] and refresh the transposed copy."""
    layer = task[codes.LAYER]
    k0 = task[codes.ROW_0]
    k1 = task[codes.ROW_1]
    n_in = layout[layer, codes.N_IN]
    n_out = layout[layer, codes.N_OUT]
    weight_rows = max(min(k1, n_in) - k0, 0)
    # Weights first, then the bias, which no decay touches.
    for is_weight in range(1, -1, -1):
        r0 = 0 if is_weight else weight_rows
        r1 = weight_rows if is_weight else k1 - k0
        if r0 < r1:
            offset = layout[layer, codes.W_OFFSET] + (k0 + r0) * n_out
            size = (r1 - r0) * n_out
            slot_1 = vector(state, offset if plan[codes.N_SLOTS] > 0 else 0, size)
            slot_2 = vector(state, theta.size + offset if plan[codes.N_SLOTS] > 1 else 0, size)
            apply_update(
                plan[codes.OPTIMIZER],
                vector(theta, offset, size),
                vector(g, r0 * n_out, size),
                slot_1,
                slot_2,
                hyper,
                learning_rate,
                t,
                is_weight,
            )
    transpose_task(theta, layout, plan, work, task)


@inline
def transpose_task(theta, layout, plan, work, task):
    """Refresh the columns of the transposed weights that copy one task's rows of W."""
    layer = task[codes.LAYER]
    if layer > 0:
        W, _ = layer_weights(theta, layout, layer)
        k1 = min(task[codes.ROW_1], W.shape[0])
        transpose_rows(W, task[codes.ROW_0], k1, layer_transposed(work, plan, layout, layer))


@inline
def output_rows(theta, X, layout, plan, constants, work, result, r0, r1, part):
    """Overwrite rows ``r0 : r1`` of `result` (n_rows * n_out,) by the outputs for those of X.

    Blocks of rows go through all layers between two buffers in the scratch of `part`, which may
    be destroyed.
    """
    n_layers = layout.shape[0]
    n_in = layout[0, codes.N_IN]
    block_size = plan[codes.BLOCK_ROWS] * plan[codes.MAX_WIDTH]
    scratch = plan[codes.SCRATCH] + part * plan[codes.SCRATCH_SIZE]
    panel = vector(work, scratch + plan[codes.PANEL], plan[codes.TASK] - plan[codes.PANEL])
    for b0 in range(r0, r1, plan[codes.BLOCK_ROWS]):
        rows = min(r1 - b0, plan[codes.BLOCK_ROWS])
        below = matrix(X, b0 * n_in, rows, n_in)
        for layer in range(n_layers):
            W, b = layer_weights(theta, layout, layer)
            n_out = layout[layer, codes.N_OUT]
            output = matrix(work, scratch + (layer % 2) * block_size, rows, n_out)
            if layer == n_layers - 1:
                output = matrix(result, b0 * n_out, rows, n_out)
            code = layout[layer, codes.ACTIVATION]
            parameter = constants[codes.ACTIVATION_PARAMETERS + layer]
            dense_forward_rows(
                below, 0, W, b, code, parameter, output, output, False, 0, rows, panel
            )
            below = output
