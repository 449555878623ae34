"""Views of a sweep's tables, of a layer's parameters, and of the pieces of the workspace."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline
from fastmlp.kernels.view import matrix, reals, vector


@inline
def table(tables, which, n_columns):
    """View of one of a sweep's tables."""
    return matrix(tables, tables[2 * which], tables[2 * which + 1], n_columns)


@inline
def row(table, i):
    """View of one row of a matrix."""
    return vector(table, i * table.shape[1], table.shape[1])


@inline
def column(tables, which):
    """View of one of a sweep's tables that has one column, as a vector."""
    return vector(tables, tables[2 * which], tables[2 * which + 1])


@inline
def read_only_tables(tables, work):
    """Views of the plan, of the layout, and of the constants in the workspace."""
    plan = column(tables, codes.PLAN)
    layout = table(tables, codes.LAYOUT, codes.LAYOUT_COLUMNS)
    size = codes.ACTIVATION_PARAMETERS + layout.shape[0]
    return plan, layout, vector(work, plan[codes.CONSTANTS], size)


@inline
def total_and_hyper(tables):
    """Views of the sum of the losses (1,), and of the optimizer's hyperparameters."""
    start, size = tables[2 * codes.REALS], tables[2 * codes.REALS + 1]
    return reals(tables, start, 1), reals(tables, start + 1, size - 1)


@inline
def layer_weights(theta, start, layout, layer):
    """Views of W and b of one layer in a vector that holds theta from element `start` on."""
    n_in = layout[layer, codes.N_IN]
    n_out = layout[layer, codes.N_OUT]
    offset = layout[layer, codes.W_OFFSET] - start
    return matrix(theta, offset, n_in, n_out), vector(theta, offset + n_in * n_out, n_out)


@inline
def layer_rows(work, base, plan, layout, layer, first, rows):
    """View of rows of a layer's outputs, deltas or slopes, by `base` of the plan.

    Its columns beyond the layer's own, if there are any, are nobody's.
    """
    stride = layout[layer, codes.STRIDE]
    offset = plan[base] + plan[codes.BUFFER_ROWS] * layout[layer, codes.WIDTH_OFFSET]
    return matrix(work, offset + first * stride, rows, stride)


@inline
def input_rows(X, work, plan, layout, start, at, rows):
    """View of rows of the input: of X, in place, or of where `copy_rows` has copied them."""
    n_in = layout[0, codes.N_IN]
    if plan[codes.GATHER]:
        stride = n_in + plan[codes.INPUT_GAP]
        return matrix(work, plan[codes.INPUT] + at * stride, rows, stride)
    return matrix(X, start * n_in, rows, n_in)


@inline
def part_scratch(work, plan, part, offset, size):
    """View of a piece of a part's scratch."""
    return vector(work, plan[codes.SCRATCH] + part * plan[codes.SCRATCH_SIZE] + offset, size)


@inline
def product_scratch(work, plan, part):
    """View of what the products of a part may destroy."""
    return part_scratch(work, plan, part, 0, plan[codes.LOSS_TERMS])


@inline
def layer_activation(layout, plan, constants, layer):
    """Activation of one layer, as `activations` takes it."""
    return (
        layout[layer, codes.ACTIVATION],
        plan[codes.RARE_FORWARD_AT],
        plan[codes.RARE_BACKWARD_AT],
        constants[codes.ACTIVATION_PARAMETERS + layer],
    )
