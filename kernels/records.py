"""The tables that the compiled loop works from, each with its columns by name.

Python fills them in as NumPy's record arrays (see `new`), and kernels read them the same way, as
``layout[layer].n_in``, ``chunks[c].start`` or ``plan.n_slices``. All fields are int64: the tables
of a sweep go to kernels as one vector, because a call takes longer for each array that it is given.
"""

import numpy as np


def _record(*names):
    return np.dtype([(name, np.int64) for name in names], align=True)


def new(kind, n):
    """Table of `n` records of one of the kinds below, all zeros."""
    return np.zeros(n, kind).view(np.recarray)


def numbers(table):
    """A table as a vector of int64, of the same memory."""
    return np.asarray(table).view(np.int64)


# A layer of a network; offsets count elements.
LAYER = _record(
    "n_in",
    "n_out",
    "w_offset",  # of W (n_in, n_out) in theta; the bias (n_out,) follows it
    "activation",
    "stride",  # from one row of the layer's outputs, or deltas, to the next; at least n_out
    "width_offset",  # sum of the strides of the layers before
    "weight_kind",  # which row of the update's coefficients is for W, and which for the bias
    "bias_kind",
)

# A chunk: rows [start, stop) of the epoch's order, of a mini-batch of `batch` rows, and whether it
# is the first or the last chunk of that.
CHUNK = _record("start", "stop", "batch", "first", "last")

# A task: rows [row_0, row_1) of the (n_in + 1, n_out) matrix [W; b] of a layer, and the columns
# [slice_0, slice_1) of the sliced layer's input that its part has: the task's rows are among them
# in the sliced layer, and in the layer below they are the columns of its block.
TASK = _record("layer", "row_0", "row_1", "slice_0", "slice_1")

# How far a sweep has come: the next chunk and its mini-batch, the updates so far, how the last call
# came out, and the chunk with which the sweep is at its end.
CURSOR = _record("chunk", "mini_batch", "updates", "outcome", "end")

# What to do, and where each part of the workspace begins, in elements.
PLAN = _record(
    "loss",
    "rare_loss_at",  # address of a rare loss, see `losses`
    "rare_forward_at",  # addresses of rare activations, see `activations`
    "rare_backward_at",
    "optimizer",
    "update_at",  # address of the optimizer's update, see `updates`
    "decays",  # 1: the optimizer has weights decay, but not biases
    "n_slots",
    "n_kinds",  # rows of coefficients, each of another factor of the learning rate; 1 without any
    "gather",  # 1: rows are taken in the given order and copied; 0: they are X's own, in place
    "columns_at",  # addresses of what leaves out empty columns of X, or 0, see `empty_columns`
    "pack_at",
    "spread_at",
    "together",  # 1: all parts take a block through the layers together; 0: each takes its own
    "n_groups",  # of rows whose gradients are summed apart, 0 where tasks form them from all rows
    "n_slices",  # of a layer's input, each some part's own, 0 where no layer's input is sliced
    "slice_width",  # columns of a slice; the last one may have fewer
    "sliced_layer",  # 0 or 1
    "upper_start",  # element of theta with which the weights above the slices begin, else 0
    "block_rows",  # rows that go through all layers at a time, while they are in cache
    "loss_rows",  # rows whose loss is taken at a time
    "buffer_rows",  # rows that `input` to `slope` hold
    "n_target",  # columns of the target
    "input_gap",  # elements from the end of a copied row of X to the next row; 0 with slices
    "own_size",  # elements each part has to itself, `input` to `own_columns`; 0: all share them
    "input",  # (buffer, n_in + gap) copied rows of X, or slice by slice (buffer, its columns)
    "output",  # (buffer, stride) for each layer, below a sliced one slice by slice
    "delta",  # like `output`
    "slope",  # like `output`: derivatives of gelu, silu and mish; nobody else's
    "sample_loss",  # (chunk,) weighted losses
    "own_columns",  # see `slices.own_columns`, where the second layer is sliced
    "slice_product",  # (buffer, n_out) of the sliced layer, for each slice, twice
    "upper",  # the weights above the slices, twice
    "group_gradient",  # (n_groups, n_params)
    "scratch",  # scratch_size elements for each part, which begin with what products need
    "scratch_size",
    "loss_terms",  # offset in a part's scratch of (loss rows, n_out) addends of the loss
    "target",  # offset in a part's scratch of (loss rows, n_target) copied targets
    "task",  # offset in a part's scratch of the gradient of one task
    "coefficients",  # offset in a part's scratch of (n_kinds, N_COEFFICIENTS) of the update
    "used_columns",  # offset in a part's scratch of the marks of used columns, see `empty_columns`
    "column_runs",  # offset in a part's scratch of the runs of used columns
    "packed",  # offset in a part's scratch of rows of the first layer's W
    "constants",  # see `codes.LOSS_PARAMETER`
)
