"""Views of a sweep's tables, of a layer's parameters, and of the pieces of the workspace."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline
from fastmlp.kernels.records import LAYER
from fastmlp.kernels.view import matrix, reals, record, records, vector

LAYER_FIELDS = len(LAYER.names)


@inline
def table(tables, which, kind):
    """View of one of a sweep's tables, of records of a `kind`."""
    return records(tables, tables[2 * which], tables[2 * which + 1], kind)


@inline
def layout_of(numbers):
    """View of the layers whose records are these numbers."""
    return records(numbers, 0, numbers.size // LAYER_FIELDS, LAYER)


@inline
def only(tables, which, kind):
    """The one record of a table of a `kind`."""
    return record(tables, tables[2 * which], kind)


@inline
def column(tables, which):
    """View of one of a sweep's tables that has one column, as a vector."""
    return vector(tables, tables[2 * which], tables[2 * which + 1])


@inline
def constants_of(work, plan, layout):
    """View of the constants in the workspace."""
    return vector(work, plan.constants, codes.ACTIVATION_PARAMETERS + layout.size)


@inline
def total_and_hyper(tables):
    """Views of the sum of the losses (1,), and of what `kinds_coefficients` takes as `hyper`."""
    start, size = tables[2 * codes.REALS], tables[2 * codes.REALS + 1]
    return reals(tables, start, 1), reals(tables, start + 1, size - 1)


@inline
def kind_row(coefficients, kind):
    """View of the coefficients of one kind of parameters, of those of `kinds_coefficients`."""
    return vector(coefficients, kind * codes.N_COEFFICIENTS, codes.N_COEFFICIENTS)


@inline
def layer_weights(theta, start, layout, layer):
    """Views of W and b of one layer in a vector that holds theta from element `start` on."""
    n_in = layout[layer].n_in
    n_out = layout[layer].n_out
    offset = layout[layer].w_offset - start
    return matrix(theta, offset, n_in, n_out), vector(theta, offset + n_in * n_out, n_out)


@inline
def layer_rows(work, base, plan, layout, layer, first, rows):
    """View of rows of a layer's outputs, deltas or slopes, by `base`, where the plan has them.

    Its columns beyond the layer's own, if there are any, are nobody's.
    """
    stride = layout[layer].stride
    offset = base + plan.buffer_rows * layout[layer].width_offset
    return matrix(work, offset + first * stride, rows, stride)


@inline
def input_rows(X, work, plan, layout, start, at, rows):
    """View of rows of the input: of X, in place, or of where `copy_rows` has copied them."""
    n_in = layout[0].n_in
    if plan.gather:
        stride = n_in + plan.input_gap
        return matrix(work, plan.input + at * stride, rows, stride)
    return matrix(X, start * n_in, rows, n_in)


@inline
def part_scratch(work, plan, part, offset, size):
    """View of a piece of a part's scratch."""
    return vector(work, plan.scratch + part * plan.scratch_size + offset, size)


@inline
def product_scratch(work, plan, part):
    """View of what the products of a part may destroy."""
    return part_scratch(work, plan, part, 0, plan.loss_terms)


@inline
def layer_activation(layout, plan, constants, layer):
    """Activation of one layer, as `activations` takes it."""
    return (
        layout[layer].activation,
        plan.rare_forward_at,
        plan.rare_backward_at,
        constants[codes.ACTIVATION_PARAMETERS + layer],
    )
