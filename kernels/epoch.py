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
from fastmlp.kernels.simd import reals, vector
from fastmlp.kernels.slices import move_own, publish, take_own
from fastmlp.kernels.team import barrier, roll_call
from fastmlp.kernels.updates import update_coefficients
from fastmlp.kernels.views import column, part_scratch, table


@worker
def sweep_part(
    part,
    mode,
    stop,
    theta,
    X,
    Y,
    weights,
    result,
    order,
    state,
    learning_rates,
    clip_norm,
    sync,
    chunks,
    tasks,
    bounds,
    layout,
    plan,
    constants,
    hyper,
    cursor,
    totals,
    work,
):
    """Process chunks ``cursor[0] : stop`` of the table as one `part` of a team.

    Parameters
    ----------
    part : int
    mode : int
        ``codes.EVALUATE``, ``DIFFERENTIATE``, ``UPDATE`` or ``UPDATE_CLIPPED``.
    stop : int
        Return before this chunk.
    theta : (n_params,)
        Read; overwritten by the updates.
    X, Y, weights : (n * n_in,), (n * n_target,), (n,) or (0,)
        Samples, read. `weights` have mean 1.
    result : (n_params,) or (0,)
        The gradient, summed over the chunks of each mini-batch, except by ``UPDATE`` of
        one-chunk mini-batches, which leave it alone; not touched by ``EVALUATE``.
    order : (n_rows,) int64
        The epoch's rows of X, read if the plan says gather; chunks count along it.
    state : (n_slots * n_params,)
        The optimizer's state, read and overwritten by the updates.
    learning_rates : (n_updates,) float64
        One for each mini-batch of the table.
    clip_norm : float
        Largest norm of a gradient that is applied, with ``UPDATE_CLIPPED``.
    sync : (team.SYNC_SIZE,) int64
        The team's counters, zero at first.
    chunks : (n_chunks, codes.CHUNK_COLUMNS) int64
    tasks, bounds : (n_tasks, codes.TASK_COLUMNS), (n_parts + 1,) int64
        Part p owns tasks ``bounds[p] : bounds[p + 1]``.
    layout, plan, constants, hyper
        See `codes`.
    cursor : (codes.CURSOR_SIZE,) int64
        Next chunk, next mini-batch of the table, updates done in the whole fit: advanced by
        part 0. The outcome, overwritten: `codes.NOT_STARTED` leaves all as it was.
    totals : (1,) float64
        Sum of the weighted losses of all chunks so far, accumulated.
    work
        The workspace; may be destroyed.

    A chunk whose loss is not finite ends the sweep before its update, with the cursor on it.
    """
    n_parts = bounds.size - 1
    # Part 0 advances the cursor while others still look: each keeps count for itself.
    c = cursor[0]
    batch = cursor[1]
    t = cursor[2]
    if not roll_call(sync, n_parts):
        return
    sliced = plan[codes.N_SLICES] > 0
    n_slots = plan[codes.N_SLOTS] if mode >= codes.UPDATE else 0
    own = vector(work, part * plan[codes.OWN_SIZE], work.size - part * plan[codes.OWN_SIZE])
    if plan[codes.COLUMNS_AT]:
        runs = part_scratch(work, plan, part, plan[codes.COLUMN_RUNS], layout[0, codes.N_IN])
        for k in range(runs.size):
            runs[k] = 0.0
    if sliced:
        take_own(theta, state, n_slots, layout, plan, work, own, t, part, n_parts)
    outcome = codes.FINISHED
    while c < stop:
        start = chunks[c, codes.START]
        rows = chunks[c, codes.STOP] - start
        last = chunks[c, codes.LAST] != 0
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
            chunks[c, codes.BATCH],
            rows,
            part,
            n_parts,
            sync,
            mode != codes.EVALUATE,
        )
        if not sliced:
            barrier(sync, n_parts)
        # Every part sums all losses, so that all come to the same end without a word.
        loss = interleaved_sum(vector(own, plan[codes.SAMPLE_LOSS], rows))
        if not np.isfinite(loss):
            outcome = codes.LOSS_NOT_FINITE
            break
        if mode >= codes.UPDATE and last:
            coefficients = part_scratch(
                work, plan, part, plan[codes.COEFFICIENTS], codes.N_COEFFICIENTS
            )
            rate = learning_rates[batch]
            update_coefficients(plan[codes.OPTIMIZER], hyper, rate, t + 1, coefficients)
        if mode != codes.EVALUATE:
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
                    chunks[c, codes.FIRST] != 0,
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
                size = (task[codes.ROW_1] - task[codes.ROW_0]) * columns
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
            totals[0] += loss
    if plan[codes.SLICED_LAYER] and mode >= codes.UPDATE:
        move_own(theta, state, n_slots, layout, plan, own, part, n_parts, True)
    if part == 0:
        cursor[0] = c
        cursor[1] = batch
        cursor[2] = t
        cursor[codes.OUTCOME] = outcome


@loop
def scale(x, factor):
    """Multiply the vector `x` by `factor`, rounded to its dtype."""
    typed = x.dtype.type(factor)
    for i in range(x.size):
        x[i] *= typed


@loop
def interleaved_sum(x):
    """Sum of a vector in float64: of every fourth element from each of the first four on, together.

    One sum after the other waits for each addition before the next.
    """
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += np.float64(x[i])
        b += np.float64(x[i + 1])
        c += np.float64(x[i + 2])
        d += np.float64(x[i + 3])
    total = (a + b) + (c + d)
    for i in range(whole, x.size):
        total += np.float64(x[i])
    return total


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
    number = from_dtype(np.dtype(dtype))
    index, real, flag = types.int64, types.float64, types.boolean
    numbers, indices = types.Array(number, 1, "C"), types.Array(index, 1, "C")
    rows, rates = types.Array(number, 2, "C"), types.Array(real, 1, "C")
    switches = index, flag, flag, index, index
    of_update = indices, numbers, rates, real
    data = numbers, rows, numbers, numbers, numbers
    return sweep.exactly(*switches, *of_update, indices, numbers, *data, is_parallel=is_parallel)


def argument_types(dtype):
    """Numba's types of the arguments of the loop's workers, but for the part."""
    number = from_dtype(np.dtype(dtype))
    index, real = types.int64, types.float64
    numbers, indices = types.Array(number, 1, "C"), types.Array(index, 1, "C")
    reals, table = types.Array(real, 1, "C"), types.Array(index, 2, "C")
    return (
        index,  # mode
        index,  # stop
        numbers,  # theta
        numbers,  # X
        numbers,  # Y
        numbers,  # weights
        numbers,  # result
        indices,  # order
        numbers,  # state
        reals,  # learning_rates
        real,  # clip_norm
        indices,  # sync
        table,  # chunks
        table,  # tasks
        indices,  # bounds
        table,  # layout
        indices,  # plan
        numbers,  # constants
        reals,  # hyper
        indices,  # cursor
        reals,  # totals
        numbers,  # work
    )


@entry
def sweep(
    sweep_part_at,
    as_team,
    anew,
    mode,
    stop,
    order,
    state,
    learning_rates,
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

    Parameters
    ----------
    sweep_part_at : int
        Address of `sweep_part`, or of what takes its place.
    as_team : bool
        Whether the team's tasks and bounds hold; the serial kernel must be given False.
    anew : bool
        Whether to begin with the first chunk and without losses, not where the cursor is.
    tables : int64
        See `codes`.
    X : (n, n_in)
    mode, stop, order, state, learning_rates, clip_norm, work, theta, Y, weights, result
        See `sweep_part`. The last are those that a caller changes most often.

    Returns
    -------
    (float, bool)
        The sum of the losses so far, NaN where a loss is not finite or not every part had a
        thread; and whether all of theta, and of the gradient by ``DIFFERENTIATE``, is finite.
    """
    cursor = column(tables, codes.CURSOR)
    totals = reals(tables, tables[2 * codes.REALS], 1)
    n_layers = tables[2 * codes.LAYOUT + 1]
    plan = column(tables, codes.PLAN)
    bounds = column(tables, codes.TEAM_BOUNDS if as_team else codes.BOUNDS)
    if anew:
        cursor[codes.CHUNK] = 0
        cursor[codes.MINI_BATCH] = 0
        totals[0] = 0.0
    for part in prange(bounds.size - 1):
        before = flush_denormals()
        call_worker(
            sweep_part_at,
            part,
            mode,
            stop,
            theta,
            vector(X, 0, X.size),
            Y,
            weights,
            result,
            order,
            state,
            learning_rates,
            clip_norm,
            column(tables, codes.SYNC),
            table(tables, codes.CHUNKS, codes.CHUNK_COLUMNS),
            table(tables, codes.TEAM_TASKS if as_team else codes.TASKS, codes.TASK_COLUMNS),
            bounds,
            table(tables, codes.LAYOUT, codes.LAYOUT_COLUMNS),
            plan,
            vector(work, plan[codes.CONSTANTS], codes.ACTIVATION_PARAMETERS + n_layers),
            reals(tables, tables[2 * codes.REALS] + 1, tables[2 * codes.REALS + 1] - 1),
            cursor,
            totals,
            work,
        )
        restore_denormals(before)
    finite = all_finite(theta) and (mode != codes.DIFFERENTIATE or all_finite(result))
    return (totals[0] if cursor[codes.OUTCOME] == codes.FINISHED else np.nan), finite
