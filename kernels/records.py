"""The tables that compiled loops work from, each with its columns by name.

Python fills them in as NumPy's record arrays (see `new`), and kernels read them the same way, as
``layout[layer].n_in``, ``chunks[c].start`` or ``plan.n_slices``. All fields are int64: the tables
of a sweep go to kernels as one vector, because a call takes longer for each array that it is given.
"""

import numpy as np


def _record(*names, reals=()):
    fields = [(name, np.int64) for name in names] + [(name, np.float64) for name in reals]
    return np.dtype(fields, align=True)


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
    "penalized",  # 1: penalties are of these weights
    "gathers",  # of a program: number of the step, from 1, that forms this gradient in tasks, or 0
    "clears",  # of a program: 1 if steps add to this gradient from 0 on
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

# A step of a program, see `program`: what takes a block of rows from one place to the next. Offsets
# count elements: of a block's memory, of theta, of the workspace.
STEP = _record(
    "at",  # address of the worker
    "code",  # of an activation, for it and the addresses of rare ones see `activations`
    "rare_forward_at",
    "rare_backward_at",
    "n_in",  # columns of the input, and of the output
    "n_out",
    "factor",  # the input is so many matrices of the block's rows, one below the other
    "separate",  # 1: each of these matrices has parameters of its own
    "input",  # in the block's memory: values, and their deltas
    "output",
    "input_delta",
    "output_delta",
    "saved",  # in the block's memory: for the way back
    "lengths",  # in the block's memory: steps of time that each row has, or -1 where all have all
    "second",  # in the block's memory: values of a second input
    "kept",  # in the workspace: for the whole chunk
    "weights",  # in theta
    "bias",
    "extra",
    "gather_at",  # address of what forms the gradient of `weights` in a task, or 0
    "constant",  # in the workspace: the step's own numbers
    "statistics",  # in the workspace: running means of its columns, then variances
    "key",  # tells the step's random numbers from those of others
    "goes_back",  # see `codes.STOPS`
    "option",  # what the step's own room says
)

# The block of rows that a part is at.
BLOCK = _record(
    "rows",
    "start",  # its first row in the order of X's rows
    "place",  # of its first row in the epoch
    "first",  # its first row in the chunk
    "chunk_rows",
    "n_groups",  # of the chunk
    "block_rows",  # of all blocks but the last of a group
    "n_blocks",  # of a group at most
    "number",  # counted through all groups
    "is_first",  # 1: of its group
    "memory",  # in the workspace: where the block's values are
    "gradient",  # in the workspace: the gradient of the block's group
    "scratch",  # in the workspace: what products may destroy, and its size
    "scratch_size",
    "training",  # 1: dropout drops, and batch norm takes the mini-batch's own statistics
    "update",  # updates done before this one
    "seed",  # of the random masks
    "part",
    reals=("dropout",),  # factor of all probabilities of dropout
)

# How far a sweep has come: the next chunk and its mini-batch, the updates so far, how the last call
# came out, and the chunk with which the sweep is at its end.
CURSOR = _record("chunk", "mini_batch", "updates", "outcome", "end")

# A line search by Moré & Thuente, see `line_search`: settings, what it has seen, and its interval
# with the ends x, the best step so far, and y.
SEARCH = _record(
    "most_trials",
    "n_trials",
    "improves",  # 1: the latest trial is the best so far
    "falls",  # 1: about as steeply as at the start, at the latest trial
    "bracketed",  # 1: the interval contains a minimizer
    "above",  # 1: no trial has yet satisfied the first condition and ended the descent
    "any_not_finite",
    "any_change",
    "any_level",  # 1: the slope grew clearly flatter while the value was the same but for rounding
    reals=(
        *("c1", "c2", "resolution"),
        *("value", "slope", "first_step"),  # of the start
        *("step", "best_step", "best_value"),  # of the trial to come, and of the best
        *("step_x", "value_x", "slope_x", "step_y", "value_y", "slope_y"),
        *("low", "high", "largest", "width", "older_width"),  # of the steps to come
    ),
)

# A run of L-BFGS, see `lbfgs`: where its vectors begin in its memory, the iteration, and what a
# call may do and has done. The record of its line search follows it.
RUN = _record(
    "n",  # elements of x; not "size", which NumPy's records have of their own
    "n_rows",  # of the history, one more than it may hold pairs
    "n_blocks",  # of a vector
    "n_sums",  # of each block
    "tables",  # (`lbfgs.N_TABLES`, n_rows, n_rows)
    "columns",  # (`lbfgs.N_COLUMNS`, n_rows)
    "totals",  # (n_sums,)
    "sums",  # (n_blocks, n_sums)
    "traced",  # (`lbfgs.MOST_TRACED`, `lbfgs.N_TRACED`)
    "points",  # (3, 2, n): x and the gradient there
    "direction",  # (n,)
    "S",  # (n_rows, n) steps
    "Y",  # (n_rows, n) differences of gradients
    "job",  # what was done last, or is to be done, see `lbfgs`
    "outcome",  # of the search, see `line_search`
    "at",  # number of the point that the run is at
    "best",  # of the search's best point
    "trial",  # of its latest
    "taken",  # of the one to go to
    "last",  # row of the latest pair; before row 0 comes the last row
    "count",  # number of pairs, of which the others are in the rows before
    "moves",  # 1: the latest step changed a parameter by more than the tolerance
    "unbounded",  # 1: the function still falls at the largest step
    "most_iterations",
    "most_evaluations",
    "n_iterations",
    "n_evaluations",
    "alone_at",  # addresses of what evaluates, in a thread alone and as a part of a team
    "team_at",
    "n_samples",
    reals=(
        *("value", "trial_value", "taken_value"),
        *("scale", "factor"),  # of the inverse Hessian, 0 while nothing is known of it; its use
        *("squared_gradient", "largest_gradient", "decrease"),
        *("step_tolerance", "gradient_tolerance", "objective_tolerance", "target"),
        *("most_seconds", "began", "seconds"),
        *("l1", "l2"),
    ),
)

# What to do, and where each part of the workspace begins, in elements.
PLAN = _record(
    "loss",
    "rare_loss_at",  # address of a rare loss, see `losses`
    "n_loss_parameters",
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
    "constants",  # see `codes.ACTIVATION_PARAMETERS`
    "program_at",  # address of what takes rows through a program, 0 for a chain of layers
    "program_tasks_at",
    "n_steps",
    "n_inputs",  # columns of X
    "own_target",  # offset in a part's scratch of (block rows, n_target) targets
    "n_cuts",  # steps before which all rows of a chunk have to be through those before
    "n_blocks",  # of a group at most
    "memory",  # memory_size elements for each block, or for each part's block at a time
    "memory_size",
    "factor",  # outputs of a row, one below the other
    "repeats_target",  # 1: they all have the same target
    "n_times",  # steps of time of a row of X, which are copied one below the other; else 0
    "lengths",  # in the block's memory: how many of them each row has, X's last column; or -1
    "by_length",  # 1: of a row's outputs only the first ones count, as many as its length
    "statistics",  # running means and variances
    "mask_seed",
    "rows_before",  # rows of the epoch before those that X has, of which it may be a part
)
