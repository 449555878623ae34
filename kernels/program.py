"""A network as a program: steps that take a block of rows forward, and back again.

A chain of dense layers has passes of its own, in `network`. Everything else that a network may
consist of is a *step*: a dense product, an activation, a norm, a mask of dropout, an embedding. A
step is a worker in `stages`, called by its address, so that a fit compiles the steps it has. It
reads its input from the block's memory and writes its output there. On the way back it reads the
delta of its output, overwrites or adds to the delta of its input (`codes.STOPS` and its
neighbours), and adds the gradient of its parameters to that of the block's group of rows.

A chunk of rows is cut into groups, a group into blocks. A part takes whole groups, block after
block, through all steps forward, takes the loss, and goes all the way back, while the block is in
its cache. Then parts meet, and each adds up the groups' gradients of some rows of the parameters
(`program_tasks`). Groups and blocks depend on sizes alone, and so do all bits.

Batch norm needs all rows of a mini-batch at one point: a *cut*. All blocks go as far as the cut,
parts meet, and all blocks go on. Then each block has memory of its own.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, inline, loop, named, prange, worker
from fastmlp.kernels.context import Data, Net, Place, Trained
from fastmlp.kernels.dense import part_bounds
from fastmlp.kernels.finite import all_finite
from fastmlp.kernels.gather import copy_rows, copy_times, copy_values, rows_of
from fastmlp.kernels.losses import block_losses
from fastmlp.kernels.network import (
    add_penalties,
    add_terms,
    scale_rows,
    update_task,
    weigh_losses,
)
from fastmlp.kernels.records import BLOCK, CHUNK, LAYER, PLAN, STEP, TASK
from fastmlp.kernels.stages.activation import activation
from fastmlp.kernels.stages.batch_norm import batch_norm, batch_statistics
from fastmlp.kernels.stages.categories import (
    bias_rows,
    embedding,
    embedding_gradient,
    one_hot,
    one_hot_gradient,
)
from fastmlp.kernels.stages.columns import columns, periodic
from fastmlp.kernels.stages.dense import dense
from fastmlp.kernels.stages.dropout import dropout
from fastmlp.kernels.stages.layer_norm import layer_norm
from fastmlp.kernels.stages.members import expand, member_in, member_out
from fastmlp.kernels.stages.parametric import parametric, prelu
from fastmlp.kernels.stages.piecewise import piecewise
from fastmlp.kernels.stages.recurrent import last_step, recurrent
from fastmlp.kernels.stages.residual import residual
from fastmlp.kernels.team import barrier
from fastmlp.kernels.vectors import fill
from fastmlp.kernels.view import View, matrix, record, vector
from fastmlp.kernels.views import (
    column,
    constants_of,
    loss_parameters_of,
    only,
    space_of,
    table,
)

N_BLOCK = len(BLOCK.names)

# Ways through the blocks of a part's groups.
FORWARD = 0
TURN = 1  # forward to the end, the loss, and back
BACK = 2


class Turn(NamedTuple):
    """What a part is to do with a chunk."""

    part: int
    n_parts: int
    chunk: int
    updates: int  # before this one
    mode: int
    dropout: float  # factor of all probabilities of dropout


class Walk(NamedTuple):
    """The tables of a program, the part's block, and where the numbers are."""

    plan: object
    layout: object
    steps: object
    block: object
    work: object
    theta: object


@worker
def program_rows(turn, tables, work, theta, data):
    """Take one part's groups of rows of a chunk through the program.

    Reads theta, the samples, the tables and the constants; overwrites the samples' losses and,
    but with ``codes.EVALUATE``, the groups' gradients. May destroy the blocks' memory and the
    part's scratch.
    """
    plan = only(tables, codes.PLAN, PLAN)
    chunk = table(tables, codes.CHUNKS, CHUNK)[turn.chunk]
    block = table(tables, codes.BLOCKS, BLOCK)[turn.part]
    sync, cuts = column(tables, codes.SYNC), column(tables, codes.CUTS)
    layout, steps = table(tables, codes.LAYOUT, LAYER), table(tables, codes.STEPS, STEP)
    walk = Walk(plan, layout, steps, block, work, theta)
    block.part = turn.part
    block.chunk_rows = chunk.stop - chunk.start
    block.n_groups = min(plan.n_groups, block.chunk_rows)
    block.n_blocks = plan.n_blocks
    block.block_rows = plan.block_rows
    block.training = 1 if turn.mode >= codes.UPDATE else 0
    block.update = turn.updates
    block.seed = plan.mask_seed
    block.dropout = turn.dropout
    block.scratch = plan.scratch + turn.part * plan.scratch_size
    block.scratch_size = plan.loss_terms
    n_cuts = plan.n_cuts if block.training else 0
    first = 0
    for k in range(n_cuts):
        take_blocks(turn, walk, data, chunk, (first, cuts[k], FORWARD))
        barrier(sync, turn.n_parts)
        first = cuts[k]
    take_blocks(turn, walk, data, chunk, (first, plan.n_steps, TURN))
    for k in range(n_cuts - 1, -1, -1):
        barrier(sync, turn.n_parts)
        before = cuts[k - 1] if k > 0 else 0
        take_blocks(turn, walk, data, chunk, (before, cuts[k], BACK))


@inline
def take_blocks(turn, walk, data, chunk, way):
    """Take all blocks of a part's groups through some steps: `way` is (first, stop, which)."""
    plan, block = walk.plan, walk.block
    first, stop, which = way
    backward = turn.mode != codes.EVALUATE
    n_params = walk.theta.size
    g0, g1 = part_bounds(block.n_groups, turn.part, turn.n_parts)
    for group in range(g0, g1):
        r0, r1 = part_bounds(block.chunk_rows, group, block.n_groups)
        block.gradient = plan.group_gradient + group * n_params
        if which == TURN and backward:
            clear_gradient(walk.layout, vector(walk.work, block.gradient, n_params))
        block.number = group * plan.n_blocks
        for b0 in range(r0, r1, plan.block_rows):
            block.first = b0
            block.is_first = 1 if b0 == r0 else 0
            block.start = chunk.start + b0
            block.place = plan.rows_before + block.start
            block.rows = min(plan.block_rows, r1 - b0)
            at = block.number if plan.n_cuts else turn.part
            block.memory = plan.memory + at * plan.memory_size
            if which != BACK:
                if first == 0:
                    read_rows(plan, block, data, walk.layout, walk.work)
                forward(walk, first, stop)
            if which == TURN:
                take_loss(walk, data, chunk.batch, backward)
            if which == BACK or (which == TURN and backward):
                back(walk, first, stop)
            block.number += 1


@inline
def forward(walk, first, stop):
    """Take a block through the steps ``first : stop``."""
    for s in range(first, stop):
        step = walk.steps[s]
        call_worker(step.at, step, walk.block, walk.work, walk.theta, 0)


@inline
def back(walk, first, stop):
    """Take the deltas of a block back through the steps ``first : stop``, the last one first."""
    for s in range(stop - 1, first - 1, -1):
        step = walk.steps[s]
        call_worker(step.at, step, walk.block, walk.work, walk.theta, 1)


@inline
def read_rows(plan, block, data, layout, work):
    """Copy the block's rows of X to where the program finds them."""
    n_in = plan.n_inputs
    if plan.n_times:
        read_times(plan, block, data.X, data.order, plan.gather == 1, work)
        return
    copied = matrix(work, block.memory + plan.input, block.rows, n_in)
    if plan.gather:
        copy_rows(data.X, n_in, data.order, block.start, copied)
    else:
        rows = matrix(data.X, block.start * n_in, block.rows, n_in)
        copy_values(vector(rows, 0, rows.size), vector(copied, 0, copied.size))


@inline
def read_times(plan, block, X, order, ordered, work):
    """Copy the block's rows of X, a flat vector, step of time by step of time."""
    rows, n_times = block.rows, plan.n_times
    has_lengths = plan.lengths >= 0
    lengths = vector(work, block.memory + max(plan.lengths, 0), rows if has_lengths else 0)
    copied = matrix(work, block.memory + plan.input, n_times * rows, plan.n_inputs)
    copy_times(X, order, block.start, ordered, n_times, lengths, copied)


@loop
def clear_gradient(layout, gradient):
    """Overwrite by zeros what steps add to, and do not begin themselves or leave to tasks."""
    start = 0
    for p in range(layout.size):
        stop = layout[p + 1].w_offset if p + 1 < layout.size else gradient.size
        if layout[p].clears:
            fill(vector(gradient, start, stop - start), 0.0)
        start = stop


@inline
def take_loss(walk, data, batch, backward):
    """Overwrite the losses of a block's rows, and the delta of the last step's output.

    A row with several outputs has the mean of their losses, or, if the plan says so, of as many as
    its length. Deltas carry sample weight / `batch`.
    """
    plan, block, work = walk.plan, walk.block, walk.work
    parameters = loss_parameters_of(work, plan, walk.layout)
    scratch = space_of(work, plan, block.part).scratch
    top = walk.steps[plan.n_steps - 1]
    rows, n_out, n_target, factor = block.rows, top.n_out, plan.n_target, plan.factor
    ordered = plan.gather == 1
    outputs = matrix(work, block.memory + top.output, rows * factor, n_out)
    deltas = matrix(work, block.memory + top.output_delta, rows * factor, n_out)
    terms = vector(scratch, plan.loss_terms, rows * n_out)
    losses = vector(scratch, plan.task, rows)
    totals = vector(work, plan.sample_loss + block.first, rows)
    columns = n_target if plan.repeats_target else n_target * factor
    copied = vector(scratch, plan.target, rows * columns)
    given = rows_of(data.Y, data.order, ordered, block.start, matrix(copied, 0, rows, columns))
    own = vector(scratch, plan.own_target, rows * n_target)
    target = matrix(own, 0, rows, n_target)
    scale = work.dtype.type(1.0) / work.dtype.type(batch * factor)
    for f in range(factor):
        if f == 0 or not plan.repeats_target:
            column = 0 if plan.repeats_target else f * n_target
            copy_columns(given, column, target)
        delta = matrix(deltas, f * rows * n_out, rows, n_out)
        block_losses(
            plan.loss,
            plan.rare_loss_at,
            parameters,
            matrix(outputs, f * rows * n_out, rows, n_out),
            target,
            delta,
            terms,
            losses,
        )
        if plan.by_length:
            lengths = vector(work, block.memory + plan.lengths, rows)
            keep_valid(lengths, f, factor, losses, delta)
        add_mean(losses, f, factor, totals)
        if backward:
            scale_rows(delta, scale, data.weights, data.order, ordered, block.start)
    if data.weights.size:
        weigh_losses(totals, data.weights, data.order, ordered, block.start)


@loop
def copy_columns(source, first, target):
    """Overwrite the matrix `target` by as many columns of `source`, from `first` on."""
    rows, n = target.shape
    for r in range(rows):
        for j in range(n):
            target[r, j] = source[r, first + j]


@loop
def keep_valid(lengths, f, factor, losses, delta):
    """Multiply the losses of output `f` and their deltas by factor / length, or clear them.

    They are cleared from the row's length on, so that the mean over `factor` outputs becomes that
    over the valid ones. `lengths` and `losses` are (rows,), `delta` is (rows, n).
    """
    for r in range(lengths.size):
        is_valid = f < lengths[r]
        share = losses.dtype.type(factor) / lengths[r]
        losses[r] = losses[r] * share if is_valid else losses.dtype.type(0.0)
        for j in range(delta.shape[1]):
            delta[r, j] = delta[r, j] * share if is_valid else losses.dtype.type(0.0)


@loop
def add_mean(losses, f, factor, totals):
    """Add `losses` / `factor` to `totals`, or overwrite them if f is 0."""
    share = losses.dtype.type(1.0) / losses.dtype.type(factor)
    for r in range(losses.size):
        mean = losses[r] * share
        totals[r] = mean if f == 0 else totals[r] + mean


@worker
def program_tasks(turn, as_team, tables, work, trained):
    """Form a part's rows of the gradient from the groups', and apply them if the mode says so.

    The rows of ``trained.gradient`` start from zero on the first chunk of a mini-batch; penalties
    are added on the last. A mini-batch of one chunk that is applied at once keeps its gradient in
    the part's scratch.
    """
    plan, layout = only(tables, codes.PLAN, PLAN), table(tables, codes.LAYOUT, LAYER)
    chunk = table(tables, codes.CHUNKS, CHUNK)[turn.chunk]
    tasks = table(tables, codes.TEAM_TASKS if as_team else codes.TASKS, TASK)
    bounds = column(tables, codes.TEAM_BOUNDS if as_team else codes.BOUNDS)
    steps = table(tables, codes.STEPS, STEP)
    constants = constants_of(work, plan, layout)
    net, space = Net(plan, layout, constants), space_of(work, plan, turn.part)
    theta = trained.theta
    rows = chunk.stop - chunk.start
    first, last = chunk.first != 0, chunk.last != 0
    update = turn.mode == codes.UPDATE
    penalized = constants[codes.L1] != 0.0 or constants[codes.L2] != 0.0
    terms = matrix(work, plan.group_gradient, min(plan.n_groups, rows), theta.size)
    for i in range(bounds[turn.part], bounds[turn.part + 1]):
        task = tasks[i]
        p = layout[task.layer]
        columns = p.n_out
        offset = p.w_offset + task.row_0 * columns
        size = (task.row_1 - task.row_0) * columns
        if update and first and last:
            g = vector(space.scratch, plan.task, size)
        else:
            g = vector(trained.gradient, offset, size)
        if p.gathers:
            step = steps[p.gathers - 1]
            call_worker(step.gather_at, step, task, rows, 1 if first else 0, work, g)
        else:
            add_terms(terms, offset, not first, g)
        if last and penalized and p.penalized:
            n_weights = max(0, min(task.row_1, p.n_in) - task.row_0) * columns
            add_penalties(constants, vector(theta, offset, n_weights), vector(g, 0, n_weights))
        if last and update:
            at = Place(theta, trained.state, trained.gradient, offset, columns)
            update_task(at, net, space, g, task)


def stage_types(dtype):
    """Numba's types of the arguments of every step's worker."""
    numbers = View(from_dtype(np.dtype(dtype)), 1)
    return from_dtype(STEP), from_dtype(BLOCK), numbers, numbers, types.int64


@functools.cache
def addresses(dtype):
    """Addresses of `program_rows` and `program_tasks`, compiled or loaded on first use."""
    number, index = from_dtype(np.dtype(dtype)), types.int64
    numbers, indices = View(number, 1), View(index, 1)
    turn = named(Turn, *[index] * 5, types.float64)
    data = named(Data, numbers, numbers, numbers, indices)
    trained = named(Trained, numbers, numbers, numbers)
    return (
        program_rows.address(turn, indices, numbers, numbers, data),
        program_tasks.address(turn, types.boolean, indices, numbers, trained),
    )


# The worker of each stage, and what forms the gradient of its weights in tasks, if that does.
STAGES = {
    "dense": (dense, None),
    "activation": (activation, None),
    "prelu": (prelu, None),
    "parametric": (parametric, None),
    "columns": (columns, None),
    "periodic": (periodic, None),
    "piecewise": (piecewise, None),
    "embedding": (embedding, embedding_gradient),
    "one_hot": (one_hot, one_hot_gradient),
    "bias_rows": (bias_rows, None),
    "expand": (expand, None),
    "member_in": (member_in, None),
    "member_out": (member_out, None),
    "dropout": (dropout, None),
    "recurrent": (recurrent, None),
    "last_step": (last_step, None),
    "batch_norm": (batch_norm, None),
    "batch_statistics": (batch_statistics, None),
    "layer_norm": (layer_norm, None),
    "residual": (residual, None),
}


def gather_types(dtype):
    """Numba's types of the arguments of what forms a gradient in tasks."""
    numbers, index = View(from_dtype(np.dtype(dtype)), 1), types.int64
    return from_dtype(STEP), from_dtype(TASK), index, index, numbers, numbers


@functools.cache
def stage_addresses(stage, dtype):
    """Addresses of a stage's two workers, the second 0 if there is none, compiled or loaded."""
    step, gather = STAGES[stage]
    gather_at = 0 if gather is None else gather.address(*gather_types(dtype))
    return step.address(*stage_types(dtype)), gather_at


@worker
def program_predict_part(part, n_parts, tables, fixed, theta, samples, averages, finite):
    """Overwrite a part's rows of the result by the outputs for those of X; see `program_predict`.

    Overwrites ``finite[part]`` by whether these outputs are finite. Memory is made here, so that
    any number of calls may run at once.
    """
    X, result = samples
    plan, steps = only(tables, codes.PLAN, PLAN), table(tables, codes.STEPS, STEP)
    work = np.empty(plan.scratch + plan.scratch_size, theta.dtype)
    copy_values(fixed, vector(work, 0, fixed.size))
    numbers = np.zeros(N_BLOCK, np.int64)
    block = record(numbers, 0, BLOCK)
    block.memory, block.scratch, block.scratch_size = plan.memory, plan.scratch, plan.loss_terms
    r0, r1 = part_bounds(X.shape[0], part, n_parts)
    top = steps[plan.n_steps - 1]
    n_in, n_out, factor = X.shape[1], top.n_out, plan.factor
    width = result.shape[1]
    is_finite = True
    for b0 in range(r0, r1, plan.block_rows):
        block.first = block.start = b0
        block.rows = min(plan.block_rows, r1 - b0)
        if plan.n_times:
            flat = vector(X, 0, X.size)
            read_times(plan, block, flat, numbers, False, vector(work, 0, work.size))
        else:
            rows = vector(X, b0 * n_in, block.rows * n_in)
            copy_values(rows, vector(work, block.memory + plan.input, rows.size))
        for s in range(plan.n_steps):
            call_worker(steps[s].at, steps[s], block, vector(work, 0, work.size), theta, 0)
        outputs = vector(work, block.memory + top.output, block.rows * factor * n_out)
        is_finite = all_finite(outputs) and is_finite
        found = matrix(result, b0 * width, block.rows, width)
        if averages:
            mean_of_outputs(outputs, factor, found)
        else:
            outputs_in_rows(outputs, n_out, found)
    finite[part] = is_finite


@loop
def mean_of_outputs(outputs, factor, result):
    """Overwrite `result` by the mean of `factor` matrices like it, one after the other."""
    flat = vector(result, 0, result.size)
    share = result.dtype.type(1.0) / result.dtype.type(factor)
    for i in range(flat.size):
        flat[i] = outputs[i] * share
    for f in range(1, factor):
        other = vector(outputs, f * flat.size, flat.size)
        for i in range(flat.size):
            flat[i] += other[i] * share


@loop
def outputs_in_rows(outputs, n_out, result):
    """Overwrite the rows of `result` by those of matrices of `n_out` columns, side by side."""
    rows, width = result.shape
    for f in range(width // n_out):
        for r in range(rows):
            for j in range(n_out):
                result[r, f * n_out + j] = outputs[(f * rows + r) * n_out + j]


@functools.cache
def predict_address(dtype):
    """Address of `program_predict_part`, compiled or loaded on first use."""
    number, index = from_dtype(np.dtype(dtype)), types.int64
    numbers, rows = View(number, 1), types.Array(number, 2, "C")
    samples = types.Tuple((types.Array(number, 2, "C", readonly=True), rows))
    flags = types.Array(types.boolean, 1, "C")
    return program_predict_part.address(
        index, index, types.Array(index, 1, "C"), numbers, numbers, samples, types.boolean, flags
    )


@entry
def program_predict(predict_part_at, tables, fixed, theta, X, result, averages, n_parts):
    """Overwrite `result` by the outputs for X; return whether all outputs are finite.

    Parameters
    ----------
    predict_part_at : int
        See `predict_address`.
    tables : int64
        With the plan and the steps of a workspace for prediction.
    fixed : (n,)
        What begins its memory: constants and statistics. Read, as are theta and X (n, n_in).
    result : (n, n_out) or (n, factor * n_out)
        Overwritten: by the mean of a row's outputs if `averages`, else by all, side by side.
    n_parts : int
        Parts that the rows are shared out to.
    """
    finite = np.empty(n_parts, np.bool_)
    for part in prange(n_parts):
        samples = (X, result)
        call_worker(predict_part_at, part, n_parts, tables, fixed, theta, samples, averages, finite)
    return finite.all()
