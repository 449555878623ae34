"""The one compiled loop: a sweep over chunks of samples that evaluates or trains.

A chunk is at most as many rows as the workspace holds; a mini-batch is one chunk or several. For
each chunk the team does two phases: over rows (forward, loss, backward), then over tasks, which
are rows of the weight matrices (gradient, penalty, update). Parts meet at a barrier after each
phase, in a wide network after each layer as well.

`sweep_part` is the worker, the whole loop as one part of the team runs it; `sweep` is the driver
that starts the team.
"""

import functools

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, inline, loop, prange, worker
from fastmlp.kernels.denormals import flush_denormals, restore_denormals
from fastmlp.kernels.finite import all_finite
from fastmlp.kernels.network import chunk_pass, params_pass, task_place, update_task
from fastmlp.kernels.penalties import sum_of_squares
from fastmlp.kernels.program import Data, Trained, Turn
from fastmlp.kernels.records import CHUNK, CURSOR, LAYER, PLAN, TASK
from fastmlp.kernels.reductions import interleaved_sum
from fastmlp.kernels.slices import move_own, move_own_gradient, publish, take_own
from fastmlp.kernels.team import barrier, roll_call
from fastmlp.kernels.updates import kinds_coefficients
from fastmlp.kernels.view import vector
from fastmlp.kernels.views import (
    column,
    constants_of,
    only,
    part_scratch,
    table,
    total_and_hyper,
)


@worker
def sweep_part(
    part,
    as_team,
    mode,
    stop,
    order,
    state,
    rates,
    clip_norm,
    tables,
    work,
    theta,
    X,
    Y,
    weights,
    result,
):
    """Process chunks from the cursor on, up to `stop`, as one `part` of a team.

    Parameters
    ----------
    part : int
    as_team : bool
        Whether the team's tasks and bounds hold, not those of a thread alone.
    mode : int
        ``codes.EVALUATE``, ``DIFFERENTIATE``, ``UPDATE`` or ``UPDATE_CLIPPED``.
    stop : int
        Return before this chunk.
    order : (n_rows,) int64
        The epoch's rows of X, read if the plan says gather; chunks count along it.
    state : (n_slots * n_params,)
        The optimizer's state, read and overwritten by the updates.
    rates : (n_updates, N_RATES) float64
        One row for each mini-batch of the table; columns as in `codes.RATE`.
    clip_norm : float
        Largest norm of a gradient that is applied, with ``UPDATE_CLIPPED``.
    tables : int64
        See `codes`. The counters of ``SYNC`` are zero at first. The cursor is advanced and its
        outcome overwritten by part 0: `codes.NOT_STARTED` leaves all as it was. The sum of the
        losses is added to.
    work
        The workspace; may be destroyed, but for the constants.
    theta : (n_params,)
        Read; overwritten by the updates.
    X, Y, weights : (n, n_in), (n * n_target,), (n,) or (0,)
        Samples, read. `weights` have mean 1.
    result : (n_params,) or (0,)
        The gradient, summed over the chunks of each mini-batch, except by ``UPDATE`` of
        one-chunk mini-batches, which leave it alone; not touched by ``EVALUATE``.

    A chunk whose loss is not finite ends the sweep before its update, with the cursor on it.
    """
    X = vector(X, 0, X.size)
    sync, cursor = column(tables, codes.SYNC), only(tables, codes.CURSOR, CURSOR)
    chunks = table(tables, codes.CHUNKS, CHUNK)
    tasks = table(tables, codes.TEAM_TASKS if as_team else codes.TASKS, TASK)
    bounds = column(tables, codes.TEAM_BOUNDS if as_team else codes.BOUNDS)
    plan, layout = only(tables, codes.PLAN, PLAN), table(tables, codes.LAYOUT, LAYER)
    constants = constants_of(work, plan, layout)
    total, hyper = total_and_hyper(tables)
    n_parts = bounds.size - 1
    # Part 0 advances the cursor while others still look: each keeps count for itself.
    c = cursor.chunk
    batch = cursor.mini_batch
    t = cursor.updates
    if not roll_call(sync, n_parts):
        return
    sliced = plan.n_slices > 0
    n_slots = plan.n_slots if mode >= codes.UPDATE else 0
    own = vector(work, part * plan.own_size, work.size - part * plan.own_size)
    if plan.columns_at:
        runs = part_scratch(work, plan, part, plan.column_runs, layout[0].n_in)
        for k in range(runs.size):
            runs[k] = 0.0
    if sliced:
        take_own(theta, state, n_slots, layout, plan, work, own, t, part, n_parts)
    owns_gradient = plan.sliced_layer > 0 and mode != codes.EVALUATE
    if owns_gradient and is_within_batch(chunks, c):
        move_own_gradient(result, layout, plan, own, part, n_parts, False)
    outcome = codes.FINISHED
    while c < stop:
        start = chunks[c].start
        rows = chunks[c].stop - start
        last = chunks[c].last != 0
        turn = Turn(part, n_parts, c, t, mode, rates[batch, codes.DROPOUT] if rates.size else 1.0)
        if plan.program_at:
            data = Data(X, vector(Y, 0, Y.size), vector(weights, 0, weights.size), order)
            call_worker(plan.program_at, turn, tables, work, theta, data)
        else:
            chunk_pass(
                theta,
                X,
                Y,
                weights,
                order,
                layout,
                plan,
                constants,
                work,
                own,
                c % 2 if n_parts > 1 else 0,
                t,
                start,
                chunks[c].batch,
                rows,
                part,
                n_parts,
                sync,
                mode != codes.EVALUATE,
            )
        if not sliced:
            barrier(sync, n_parts)
        # Every part sums all losses, so that all come to the same end without a word.
        loss = interleaved_sum(vector(own, plan.sample_loss, rows))
        if not np.isfinite(loss):
            outcome = codes.LOSS_NOT_FINITE
            break
        if mode >= codes.UPDATE and last:
            n = plan.n_kinds * codes.N_COEFFICIENTS
            coefficients = part_scratch(work, plan, part, plan.coefficients, n)
            rate, decay = rates[batch, codes.RATE], rates[batch, codes.DECAY]
            kinds_coefficients(
                plan.optimizer, hyper, plan.n_kinds, rate, decay, t + 1, coefficients
            )
        if plan.program_at:
            if mode != codes.EVALUATE:
                trained = Trained(theta, state, result)
                call_worker(plan.program_tasks_at, turn, as_team, tables, work, trained)
        elif mode != codes.EVALUATE:
            for i in range(bounds[part], bounds[part + 1]):
                params_pass(
                    theta,
                    state,
                    X,
                    layout,
                    plan,
                    constants,
                    work,
                    own,
                    result,
                    start,
                    rows,
                    chunks[c].first != 0,
                    last,
                    tasks[i],
                    part,
                    mode == codes.UPDATE,
                )
        if mode == codes.UPDATE_CLIPPED and last:
            barrier(sync, n_parts)
            norm = euclidean_norm(result)
            if not np.isfinite(norm):
                outcome = codes.LOSS_NOT_FINITE
                break
            barrier(sync, n_parts)
            factor = clip_norm / norm if norm > clip_norm else 1.0
            for i in range(bounds[part], bounds[part + 1]):
                task = tasks[i]
                values, slots, gradient, offset, columns = task_place(
                    theta, state, result, layout, plan, own, task
                )
                size = (task.row_1 - task.row_0) * columns
                g = vector(gradient, offset, size)
                scale(g, factor)
                update_task(values, slots, layout, plan, work, g, offset, columns, task, part)
        # The next chunk overwrites the losses and deltas that others may still be reading; with
        # slices all is a part's own, but for what chunks and updates take turns with.
        if not sliced:
            barrier(sync, n_parts)
        elif last and mode >= codes.UPDATE:
            for i in range(bounds[part], bounds[part + 1]):
                publish(theta, layout, plan, work, t + 1, tasks[i])
        c += 1
        if last and mode >= codes.UPDATE:
            batch += 1
            t += 1
        if part == 0:
            total[0] += loss
    if plan.sliced_layer and mode >= codes.UPDATE:
        move_own(theta, state, n_slots, layout, plan, own, part, n_parts, True)
    if owns_gradient and is_within_batch(chunks, c):
        move_own_gradient(result, layout, plan, own, part, n_parts, True)
    if part == 0:
        cursor.chunk = c
        cursor.mini_batch = batch
        cursor.updates = t
        cursor.outcome = outcome


@inline
def is_within_batch(chunks, c):
    """Whether chunk `c` goes on with a mini-batch that another one has begun."""
    return c < chunks.size and chunks[c].first == 0


@loop
def scale(x, factor):
    """Multiply the vector `x` by `factor`, rounded to its dtype."""
    typed = x.dtype.type(factor)
    for i in range(x.size):
        x[i] *= typed


@inline
def euclidean_norm(x):
    """Norm of a vector, summed in float64."""
    return np.sqrt(sum_of_squares(x))


@functools.cache
def sweep_part_address(dtype):
    """Address of `sweep_part` for networks of `dtype`, compiled or loaded on first use."""
    return sweep_part.address(types.int64, *argument_types(dtype))


@functools.cache
def exact_sweep(dtype, is_parallel):
    """`sweep.serial` or `sweep.parallel` for networks of `dtype`; see `Twin.exactly`."""
    return sweep.exactly(*_driver_types(dtype), is_parallel=is_parallel)


def is_team_kept(dtype):
    """Whether `sweep.parallel` for networks of `dtype` need not be compiled."""
    return sweep.is_kept(*_driver_types(dtype), is_parallel=True)


@functools.cache
def _driver_types(dtype):
    return types.int64, types.boolean, *argument_types(dtype)


def argument_types(dtype):
    """Numba's types of the arguments that the loop's workers and `sweep` share."""
    number = from_dtype(np.dtype(dtype))
    index, real = types.int64, types.float64
    numbers, indices = types.Array(number, 1, "C"), types.Array(index, 1, "C")
    return (
        types.boolean,  # as_team
        index,  # mode
        index,  # stop
        indices,  # order
        numbers,  # state
        types.Array(real, 2, "C"),  # rates
        real,  # clip_norm
        indices,  # tables
        numbers,  # work
        numbers,  # theta
        types.Array(number, 2, "C"),  # X
        numbers,  # Y
        numbers,  # weights
        numbers,  # result
    )


@entry
def sweep(
    sweep_part_at,
    anew,
    as_team,
    mode,
    stop,
    order,
    state,
    rates,
    clip_norm,
    tables,
    work,
    theta,
    X,
    Y,
    weights,
    result,
):
    """Run the worker at `sweep_part_at` as a team, or alone.

    The serial kernel must not be called `as_team`. If `anew`, the sweep begins with the first chunk
    and without losses, not where the cursor is, and its end is `stop`. The other arguments are
    those of `sweep_part`.

    Returns
    -------
    (float, bool)
        The sum of the losses so far, NaN where a loss is not finite or not every part had a
        thread; and, at the end of a sweep that is more than ``EVALUATE``, whether all of theta,
        and of the gradient by ``DIFFERENTIATE``, is finite: before, True.
    """
    cursor = only(tables, codes.CURSOR, CURSOR)
    total, _ = total_and_hyper(tables)
    if anew:
        cursor.chunk = 0
        cursor.mini_batch = 0
        cursor.end = stop
        total[0] = 0.0
    bounds = column(tables, codes.TEAM_BOUNDS if as_team else codes.BOUNDS)
    for part in prange(bounds.size - 1):
        before = flush_denormals()
        call_worker(
            sweep_part_at,
            part,
            as_team,
            mode,
            stop,
            order,
            state,
            rates,
            clip_norm,
            tables,
            work,
            theta,
            X,
            Y,
            weights,
            result,
        )
        restore_denormals(before)
    finite = True
    if mode != codes.EVALUATE and cursor.chunk == cursor.end:
        finite = all_finite(theta) and (mode != codes.DIFFERENTIATE or all_finite(result))
    return (float(total[0]) if cursor.outcome == codes.FINISHED else np.nan), finite
