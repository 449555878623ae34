"""Rows of the Jacobian of a program's outputs, for the normal equations of `jacobian`.

A row of X goes forward alone, and back once for each output with a unit vector as the delta: so
that what its steps add to the gradient is the gradient of that output. All that steps keep for the
way back has to outlive one way back.
"""

import functools

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, inline, loop, worker
from fastmlp.kernels.context import Data
from fastmlp.kernels.dense import part_bounds
from fastmlp.kernels.jacobian import jacobian_types
from fastmlp.kernels.program import Walk, back, clear_gradient, forward, read_rows
from fastmlp.kernels.records import BLOCK, LAYER, PLAN, STEP, TASK
from fastmlp.kernels.vectors import fill
from fastmlp.kernels.view import vector
from fastmlp.kernels.views import only, table


@inline
def root_of(weight, count):
    """What a row's errors are multiplied by, so that half their squares are its loss.

    That is the mean of those of `count` outputs.
    """
    return np.sqrt(np.float64(weight) / count)


@loop
def row_errors(outputs, target, weight, count, residuals, losses):
    """Overwrite one row's `residuals`, in float64, and its loss, a vector of one element.

    Reads its `count` outputs, one after the other, and a `target` for all of them, or one that
    each has.
    """
    half, total = outputs.dtype.type(0.5), outputs.dtype.type(0.0)
    root = root_of(weight, count)
    for first in range(0, outputs.size, target.size):
        for j in range(target.size):
            error = outputs[first + j] - target[j]
            total += half * error * error
            residuals[first + j] = root * np.float64(error)
    losses[0] = weight * total / outputs.dtype.type(count)


@loop
def scaled_row(gradient, factor, row):
    """Overwrite `row`, in float64, by `gradient` times a factor."""
    for i in range(gradient.size):
        row[i] = factor * np.float64(gradient[i])


@loop
def unit_vector(delta, k):
    """Overwrite the vector `delta` by the unit vector of its element `k`."""
    for i in range(delta.size):
        delta[i] = 0.0
    delta[k] = 1.0


@inline
def gather_gradient(walk, tasks, gradient):
    """Overwrite the gradients of tables by what their steps have kept of a row."""
    layout = walk.layout
    for p in range(layout.size):
        if layout[p].gathers:
            step, task = walk.steps[layout[p].gathers - 1], tasks[p]
            g = vector(gradient, layout[p].w_offset, layout[p].n_in * layout[p].n_out)
            call_worker(step.gather_at, step, task, 1, 1, walk.work, g)


@worker
def program_jacobian_part(team, theta, problem, described, start, rows, equations):
    """Do what `jacobian.jacobian_part` does, for a program.

    It is `described` by tables with its plan, layout and steps, for blocks of one row, a block for
    each part, and a task for each block of parameters, and by the parts' memories, one after the
    other. Each begins with constants and
    statistics, and the rest of it may be destroyed. Of members the row of output k of member m is
    that of output ``m * n_out + k`` of all.
    """
    part, n_parts = team
    X, Y, weights, _, _ = problem
    jacobian, residuals, losses = equations
    r0, r1 = part_bounds(rows, part, n_parts)
    tables, memories = described
    plan, layout = only(tables, codes.PLAN, PLAN), table(tables, codes.LAYOUT, LAYER)
    size = memories.size // n_parts
    work = vector(memories, part * size, size)
    block = table(tables, codes.BLOCKS, BLOCK)[part]
    block.rows = block.chunk_rows = block.block_rows = block.n_groups = block.n_blocks = 1
    block.is_first = 1
    block.memory, block.gradient = plan.memory, plan.group_gradient
    block.scratch, block.scratch_size = plan.scratch, plan.loss_terms
    walk = Walk(plan, layout, table(tables, codes.STEPS, STEP), block, work, theta)
    tasks = table(tables, codes.TASKS, TASK)
    top = walk.steps[plan.n_steps - 1]
    n_params, n_outputs = theta.size, plan.factor * top.n_out
    n_target = top.n_out if plan.repeats_target else n_outputs
    outputs = vector(work, block.memory + top.output, n_outputs)
    delta = vector(work, block.memory + top.output_delta, n_outputs)
    gradient = vector(work, block.gradient, n_params)
    data = Data(X, Y, weights, vector(tables, 0, 0))
    for r in range(r0, r1):
        block.start = start + r
        read_rows(plan, block, data, layout, work)
        forward(walk, 0, plan.n_steps)
        weight = weights[block.start] if weights.size else theta.dtype.type(1.0)
        count = plan.factor
        if plan.by_length:
            count = int(work[block.memory + plan.lengths])
        n_valid = count * top.n_out
        target = vector(Y, block.start * n_target, min(n_target, n_valid))
        errors = vector(residuals, r * n_outputs, n_outputs)
        fill(errors, 0.0)
        valid = vector(outputs, 0, n_valid)
        row_errors(valid, target, weight, count, errors, vector(losses, r, 1))
        root = root_of(weight, count)
        for k in range(n_outputs):
            row = vector(jacobian, (r * n_outputs + k) * n_params, n_params)
            if k >= n_valid:
                fill(row, 0.0)
                continue
            unit_vector(delta, k)
            clear_gradient(layout, gradient)
            back(walk, 0, plan.n_steps)
            gather_gradient(walk, tasks, gradient)
            scaled_row(gradient, root, row)


@functools.cache
def address(dtype):
    """Address of `program_jacobian_part`, compiled or loaded on first use."""
    tables = types.Array(types.int64, 1, "C")
    memories = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    described = types.Tuple((tables, memories))
    return program_jacobian_part.address(*jacobian_types(dtype, described))
