"""The one compiled loop: a sweep over chunks of samples that predicts, evaluates or trains.

A chunk is at most as many rows as the workspace holds; a mini-batch is one chunk or several. For
each chunk there are two parallel regions: over rows (forward, loss, backward), then over tasks,
which are rows of the weight matrices (gradient, penalty, update). Threads share nothing else.

`sweep` is the driver: the loop and its barriers. `part_pass` is the worker: what one part does
between two barriers.
"""

import numpy as np
from numba import types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, inline, prange, worker
from fastmlp.kernels.dense import part_bounds
from fastmlp.kernels.network import (
    output_rows,
    params_pass,
    rows_pass,
    transpose_task,
    update_task,
)
from fastmlp.kernels.simd import vector


@worker
def part_pass(
    phase,
    part,
    chunk,
    mode,
    theta,
    state,
    X,
    Y,
    weights,
    order,
    chunks,
    tasks,
    bounds,
    layout,
    plan,
    constants,
    hyper,
    learning_rate,
    t,
    result,
    work,
):
    """Do the share of `part` of one `phase` of one `chunk`; arguments are those of `sweep`.

    `learning_rate` and `t`, the number of the update from 1, are for the tasks that update.
    """
    start = chunks[chunk, codes.START]
    rows = chunks[chunk, codes.STOP] - start
    if phase == codes.OUTPUT_ROWS:
        r0, r1 = part_bounds(rows, part, bounds.size - 1)
        output_rows(theta, X, layout, plan, constants, work, result, start + r0, start + r1, part)
    elif phase == codes.TRAIN_ROWS:
        r0, r1 = part_bounds(rows, part, bounds.size - 1)
        batch = chunks[chunk, codes.BATCH]
        backward = mode != codes.EVALUATE
        rows_pass(
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
            r0,
            r1,
            part,
            backward,
        )
    else:
        for i in range(bounds[part], bounds[part + 1]):
            task = tasks[i]
            if phase == codes.TRANSPOSE_TASKS:
                transpose_task(theta, layout, plan, work, task)
            elif phase == codes.GRADIENT_TASKS:
                params_pass(
                    theta,
                    state,
                    X,
                    layout,
                    plan,
                    constants,
                    hyper,
                    work,
                    result,
                    start,
                    rows,
                    chunks[chunk, codes.FIRST] != 0,
                    chunks[chunk, codes.LAST] != 0,
                    task,
                    part,
                    learning_rate,
                    t,
                    mode == codes.UPDATE,
                )
            else:
                n_out = layout[task[codes.LAYER], codes.N_OUT]
                offset = layout[task[codes.LAYER], codes.W_OFFSET] + task[codes.ROW_0] * n_out
                g = vector(result, offset, (task[codes.ROW_1] - task[codes.ROW_0]) * n_out)
                update_task(theta, state, layout, plan, hyper, work, g, task, learning_rate, t)


def part_pass_address(dtype):
    """Address of `part_pass` for networks of `dtype`, compiled or loaded on first use."""
    number = types.float32 if np.dtype(dtype) == np.float32 else types.float64
    index = types.int64

    def array(element, ndim=1, readonly=False):
        return types.Array(element, ndim, "C", readonly=readonly)

    numbers, table = array(number), array(index, 2)
    sample = array(number, readonly=True)
    return part_pass.address(
        *[index] * 4,
        numbers,  # theta
        numbers,  # state
        sample,  # X
        sample,  # Y
        sample,  # weights
        array(index),  # order
        table,  # chunks
        table,  # tasks
        array(index),  # bounds
        table,  # layout
        array(index),  # plan
        numbers,  # constants
        array(types.float64),  # hyper
        types.float64,  # learning_rate
        index,  # t
        numbers,  # result
        numbers,  # work
    )


@entry
def sweep(
    part_pass_at,
    mode,
    theta,
    state,
    X,
    Y,
    weights,
    order,
    chunks,
    stop,
    tasks,
    bounds,
    layout,
    plan,
    constants,
    hyper,
    learning_rates,
    clip_norm,
    cursor,
    totals,
    result,
    work,
):
    """Process chunks ``cursor[0] : stop`` of the table; return whether all losses were finite.

    Parameters
    ----------
    part_pass_at : int
        Address of the worker for theta's dtype.
    mode : int
        ``codes.PREDICT``, ``EVALUATE``, ``DIFFERENTIATE``, ``UPDATE`` or ``UPDATE_CLIPPED``.
    theta : (n_params,)
        Read; overwritten by the updates.
    state : (n_slots * n_params,)
        The optimizer's state, read and overwritten by the updates.
    X, Y, weights : (n * n_in,), (n * n_target,), (n,) or (0,)
        Samples, read. `weights` have mean 1.
    order : (n_rows,) int64
        The epoch's rows of X, read if the plan says gather; chunks count along it.
    chunks : (n_chunks, codes.CHUNK_COLUMNS) int64
    stop : int
        Return before this chunk.
    tasks, bounds : (n_tasks, codes.TASK_COLUMNS), (n_parts + 1,) int64
        Part p owns tasks ``bounds[p] : bounds[p + 1]``.
    layout, plan, constants, hyper
        See `codes`.
    learning_rates : (n_updates,) float64
        One for each mini-batch of the table.
    clip_norm : float
        Largest norm of a gradient that is applied, with ``UPDATE_CLIPPED``.
    cursor : (3,) int64
        Next chunk, next mini-batch of the table, updates done in the whole fit; advanced.
    totals : (2,) float64
        Sum of the weighted losses of all chunks so far, accumulated; the norm of the last
        gradient with ``UPDATE_CLIPPED``, overwritten.
    result : (n_params,), (n * n_out,) or (0,)
        The gradient, accumulated from zero over the chunks of each mini-batch, except by
        ``UPDATE`` of one-chunk mini-batches, which leave it alone; the outputs for ``PREDICT``;
        not touched by ``EVALUATE``.
    work
        The workspace; may be destroyed.

    A chunk whose loss is not finite ends the sweep before its update, with the cursor on it.
    """
    n_parts = bounds.size - 1
    first_phase, last_phase = codes.TRAIN_ROWS, codes.TRAIN_ROWS
    if mode == codes.PREDICT:
        first_phase, last_phase = codes.OUTPUT_ROWS, codes.OUTPUT_ROWS
    elif mode >= codes.DIFFERENTIATE:
        # The transposed weights must be those of theta now; later the updates see to that.
        first_phase, last_phase = codes.TRANSPOSE_TASKS, codes.GRADIENT_TASKS
    for c in range(cursor[0], stop):
        last = chunks[c, codes.LAST] != 0
        if mode == codes.UPDATE_CLIPPED:
            last_phase = codes.UPDATE_TASKS if last else codes.GRADIENT_TASKS
        rate = learning_rates[cursor[1]] if mode >= codes.UPDATE else 0.0
        for phase in range(first_phase, last_phase + 1):
            if phase == codes.UPDATE_TASKS and not clip_gradient(result, clip_norm, totals):
                return False
            for part in prange(n_parts):
                call_worker(
                    part_pass_at,
                    phase,
                    part,
                    c,
                    mode,
                    theta,
                    state,
                    X,
                    Y,
                    weights,
                    order,
                    chunks,
                    tasks,
                    bounds,
                    layout,
                    plan,
                    constants,
                    hyper,
                    rate,
                    cursor[2] + 1,
                    result,
                    work,
                )
            if phase == codes.TRAIN_ROWS:
                loss = 0.0
                for r in range(chunks[c, codes.STOP] - chunks[c, codes.START]):
                    loss += np.float64(work[plan[codes.SAMPLE_LOSS] + r])
                if not np.isfinite(loss):
                    return False
                totals[0] += loss
        first_phase = max(first_phase, codes.TRAIN_ROWS) if mode != codes.PREDICT else first_phase
        cursor[0] = c + 1
        if last and mode >= codes.UPDATE:
            cursor[1] += 1
            cursor[2] += 1
    return True


@inline
def clip_gradient(gradient, clip_norm, totals):
    """Scale `gradient` to a norm of at most `clip_norm`; return whether its norm was finite.

    The norm, overwritten in ``totals[1]``, is summed in float64 in four interleaved chains of
    fixed order.
    """
    a = b = c = d = 0.0
    whole = gradient.size // 4 * 4
    for i in range(0, whole, 4):
        a += np.float64(gradient[i]) ** 2
        b += np.float64(gradient[i + 1]) ** 2
        c += np.float64(gradient[i + 2]) ** 2
        d += np.float64(gradient[i + 3]) ** 2
    for i in range(whole, gradient.size):
        a += np.float64(gradient[i]) ** 2
    norm = np.sqrt((a + b) + (c + d))
    totals[1] = norm
    if norm > clip_norm:
        factor = gradient.dtype.type(clip_norm / norm)
        for i in range(gradient.size):
            gradient[i] *= factor
    return np.isfinite(norm)
