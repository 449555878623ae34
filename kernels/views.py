"""Views of a sweep's tables, a layer's parameters, pieces of the workspace, a run's points."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import inline
from fastmlp.kernels.context import Data, Space
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
    """View of the constants in the workspace, but for the parameters of the loss."""
    return vector(work, plan.constants, codes.ACTIVATION_PARAMETERS + layout.size)


@inline
def loss_parameters_of(work, plan, layout):
    """View of the parameters of the loss, which end the constants."""
    start = plan.constants + codes.ACTIVATION_PARAMETERS + layout.size
    return vector(work, start, plan.n_loss_parameters)


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
def layer_rows(net, space, base, layer, rows):
    """View of `Rows` of a layer's outputs, deltas or slopes, by `base`, where the plan has them.

    Its columns beyond the layer's own, if there are any, are nobody's.
    """
    stride = net.layout[layer].stride
    offset = base + net.plan.buffer_rows * net.layout[layer].width_offset
    return matrix(space.own, offset + rows.at * stride, rows.count, stride)


@inline
def input_rows(net, data, space, rows):
    """View of `Rows` of the input: of X, in place, or of where `copy_rows` has copied them."""
    n_in = net.layout[0].n_in
    if net.plan.gather:
        stride = n_in + net.plan.input_gap
        return matrix(space.own, net.plan.input + rows.at * stride, rows.count, stride)
    return matrix(data.X, rows.start * n_in, rows.count, n_in)


@inline
def space_of(work, plan, part):
    """Views of the workspace, of what a part has of it, and of the part's scratch."""
    own = part * plan.own_size
    scratch = plan.scratch + part * plan.scratch_size
    return Space(work, vector(work, own, work.size - own), vector(work, scratch, plan.scratch_size))


@inline
def product_scratch(net, space):
    """View of what products may destroy of a part's scratch."""
    return vector(space.scratch, 0, net.plan.loss_terms)


@inline
def runs_of(net, space, first, n_columns):
    """View of a part's runs of columns from a first one on, see `empty_columns`."""
    return vector(space.scratch, net.plan.column_runs + first, n_columns)


@inline
def coefficients_of(net, space):
    """View of the coefficients of the update, see `updates.kinds_coefficients`."""
    n = net.plan.n_kinds * codes.N_COEFFICIENTS
    return vector(space.scratch, net.plan.coefficients, n)


@inline
def data_of(samples, order):
    """Views of the samples, all flat, and the order of their rows."""
    X, Y, weights = samples
    return Data(vector(X, 0, X.size), Y, weights, order)


@inline
def layer_activation(net, layer):
    """Activation of one layer, as `activations` takes it."""
    return (
        net.layout[layer].activation,
        net.plan.rare_forward_at,
        net.plan.rare_backward_at,
        net.constants[codes.ACTIVATION_PARAMETERS + layer],
    )


@inline
def point_of(memory, run, number):
    """Views of x and of the gradient of one of the points of a run, see `lbfgs`."""
    start = run.points + 2 * number * run.n
    return vector(memory, start, run.n), vector(memory, start + run.n, run.n)
