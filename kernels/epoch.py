"""The one compiled loop: a sweep over chunks of samples that evaluates or trains.

A chunk is at most as many rows as the workspace holds; a mini-batch is one chunk or several. For
each chunk the team does two phases: over rows (forward, loss, backward), then over tasks, which
are rows of the weight matrices (gradient, penalty, update). Parts meet at a barrier after each
phase, in a wide network after each layer as well.

`sweep_part` is the worker, the whole loop as one part of the team runs it; `sweep` is the driver
that starts the team.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, inline, loop, named, prange, worker
from fastmlp.kernels.context import Net, Share, Step, Team, Trained
from fastmlp.kernels.denormals import flush_denormals, restore_denormals
from fastmlp.kernels.finite import all_finite
from fastmlp.kernels.network import (
    chunk_pass,
    params_pass,
    task_place,
    update_task,
)
from fastmlp.kernels.penalties import sum_of_squares
from fastmlp.kernels.program import Turn
from fastmlp.kernels.records import CHUNK, CURSOR, LAYER, PLAN, TASK
from fastmlp.kernels.reductions import interleaved_sum
from fastmlp.kernels.slices import move_own, move_own_gradient, publish, take_own
from fastmlp.kernels.team import barrier, roll_call
from fastmlp.kernels.updates import kinds_coefficients
from fastmlp.kernels.view import vector
from fastmlp.kernels.views import (
    coefficients_of,
    column,
    constants_of,
    data_of,
    only,
    runs_of,
    space_of,
    table,
    total_and_hyper,
)


@worker
def sweep_part(part, call, kept, order, update, theta, samples, result):
    """Process chunks from the cursor on, up to ``call.stop``, as one `part` of a team.

    Parameters
    ----------
    part : int
    call : Call
    kept : (tables, work)
        int64, see `codes`, and the workspace. The counters of ``SYNC`` are zero at first. The
        cursor is advanced and its outcome overwritten by part 0: `codes.NOT_STARTED` leaves all as
        it was. The sum of the losses is added to. The workspace may be destroyed, but for the
        constants.
    order : (n_rows,) int64
        The epoch's rows of X, read if the plan says gather; chunks count along it.
    update : Update
        What is needed to train, of which the state is overwritten.
    theta : (n_params,)
        Read; overwritten by the updates.
    samples : (X, Y, weights)
        (n, n_in), (n * n_target,), and (n,) or (0,) with mean 1; read.
    result : (n_params,) or (0,)
        The gradient, summed over the chunks of each mini-batch, except by ``UPDATE`` of
        one-chunk mini-batches, which leave it alone; not touched by ``EVALUATE``.

    A chunk whose loss is not finite ends the sweep before its update, with the cursor on it.
    """
    tables, work = kept
    sync, cursor = column(tables, codes.SYNC), only(tables, codes.CURSOR, CURSOR)
    chunks = table(tables, codes.CHUNKS, CHUNK)
    tasks = table(tables, codes.TEAM_TASKS if call.as_team else codes.TASKS, TASK)
    bounds = column(tables, codes.TEAM_BOUNDS if call.as_team else codes.BOUNDS)
    plan, layout = only(tables, codes.PLAN, PLAN), table(tables, codes.LAYOUT, LAYER)
    net, data = Net(plan, layout, constants_of(work, plan, layout)), data_of(samples, order)
    space, team = space_of(work, plan, part), Team(part, bounds.size - 1, sync)
    trained = Trained(theta, update.state, result)
    share = Share(tasks, bounds[part], bounds[part + 1])
    total, hyper = total_and_hyper(tables)
    # Part 0 advances the cursor while others still look: each keeps count for itself.
    c, batch, t = cursor.chunk, cursor.mini_batch, cursor.updates
    if not roll_call(sync, team.n_parts):
        return
    mode = call.mode
    if plan.columns_at:
        _clear(runs_of(net, space, 0, layout[0].n_in))
    if plan.n_slices:
        _begin_slices(trained, net, space, team, mode, t, is_within_batch(chunks, c))
    outcome = codes.FINISHED
    while c < call.stop:
        rows, last = chunks[c].stop - chunks[c].start, chunks[c].last
        backward = mode != codes.EVALUATE
        start, n, first = chunks[c].start, chunks[c].batch, chunks[c].first
        step = Step(start, rows, n, first, last, c % 2 if team.n_parts > 1 else 0, t, backward)
        ahead = Turn(part, team.n_parts, c, t, mode, _dropout(update, batch))
        if plan.program_at:
            call_worker(plan.program_at, ahead, tables, work, theta, data)
        else:
            chunk_pass(theta, data, net, space, team, step)
        if not plan.n_slices:
            barrier(sync, team.n_parts)
        # Every part sums all losses, so that all reach the same verdict without communicating.
        loss = interleaved_sum(vector(space.own, plan.sample_loss, rows))
        if not np.isfinite(loss):
            outcome = codes.LOSS_NOT_FINITE
            break
        applies = mode >= codes.UPDATE and last != 0
        if applies:
            of_update = vector(update.rates, batch * codes.N_RATES, codes.N_RATES)
            coefficients = coefficients_of(net, space)
            kinds_coefficients(plan.optimizer, plan.n_kinds, hyper, of_update, t + 1, coefficients)
        if backward and plan.program_at:
            call_worker(plan.program_tasks_at, ahead, call.as_team, tables, work, trained)
        elif backward:
            for i in range(share.first, share.stop):
                params_pass(trained, data, net, space, step, tasks[i], mode == codes.UPDATE)
        if (
            applies
            and mode == codes.UPDATE_CLIPPED
            and not _update_clipped(trained, net, space, team, share, update.clip_norm)
        ):
            outcome = codes.LOSS_NOT_FINITE
            break
        # The next chunk overwrites the losses and deltas that others may still be reading; with
        # slices all is a part's own, but for what chunks and updates take turns with.
        if not plan.n_slices:
            barrier(sync, team.n_parts)
        elif applies:
            for i in range(share.first, share.stop):
                publish(theta, net, space, t + 1, tasks[i])
        c += 1
        if applies:
            batch += 1
            t += 1
        if part == 0:
            total[0] += loss
    if plan.n_slices:
        _end_slices(trained, net, space, team, mode, is_within_batch(chunks, c))
    if part == 0:
        cursor.chunk, cursor.mini_batch, cursor.updates = c, batch, t
        cursor.outcome = outcome


@inline
def _dropout(update, batch):
    """Factor of all probabilities of dropout, of which there are none without updates."""
    return update.rates[batch, codes.DROPOUT] if update.rates.size else 1.0


@inline
def _begin_slices(trained, net, space, team, mode, t, within_batch):
    """Copy what a part has to itself where a layer's input is sliced, at the start of a call.

    `within_batch` says that the call begins within a mini-batch.
    """
    n_slots = net.plan.n_slots if mode >= codes.UPDATE else 0
    take_own(trained, n_slots, net, space, team, t)
    if within_batch and net.plan.sliced_layer and mode != codes.EVALUATE:
        move_own_gradient(trained.gradient, net, space, team, False)


@inline
def _end_slices(trained, net, space, team, mode, within_batch):
    """Give back what `_begin_slices` has copied, at the end of a call."""
    if net.plan.sliced_layer and mode >= codes.UPDATE:
        move_own(trained, net.plan.n_slots, net, space, team, True)
    if within_batch and net.plan.sliced_layer and mode != codes.EVALUATE:
        move_own_gradient(trained.gradient, net, space, team, True)


@inline
def _update_clipped(trained, net, space, team, share, clip_norm):
    """Apply the share's part of the gradient, which is scaled to `clip_norm` if that is smaller.

    Returns whether the gradient is finite; else nothing is done.
    """
    barrier(team.sync, team.n_parts)
    norm = euclidean_norm(trained.gradient)
    if not np.isfinite(norm):
        return False
    barrier(team.sync, team.n_parts)
    factor = clip_norm / norm if norm > clip_norm else 1.0
    for i in range(share.first, share.stop):
        task = share.tasks[i]
        place = task_place(trained, net, space, task)
        size = (task.row_1 - task.row_0) * place.columns
        g = vector(place.gradient, place.offset, size)
        scale(g, factor)
        update_task(place, net, space, g, task)
    return True


@inline
def clip(gradient, clip_norm):
    """Scale the gradient to `clip_norm` if that is smaller; return False if it is not finite."""
    norm = euclidean_norm(gradient)
    if not np.isfinite(norm):
        return False
    scale(gradient, clip_norm / norm if norm > clip_norm else 1.0)
    return True


@loop
def _clear(x):
    """Overwrite a vector by zeros."""
    for i in range(x.size):
        x[i] = 0.0


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
    return sweep.exactly(types.int64, *argument_types(dtype), is_parallel=is_parallel)


def is_team_kept(dtype):
    """Whether `sweep.parallel` for networks of `dtype` need not be compiled."""
    return sweep.is_kept(types.int64, *argument_types(dtype), is_parallel=True)


class Call(NamedTuple):
    """What a call of the loop does.

    If `anew`, the sweep begins with the first chunk and without losses, not where the cursor is,
    and its end is `stop`.
    """

    anew: bool
    as_team: bool  # whether the team's tasks and bounds hold, not those of a thread alone
    mode: int  # ``codes.EVALUATE``, ``DIFFERENTIATE``, ``UPDATE`` or ``UPDATE_CLIPPED``
    stop: int  # return before this chunk


class Update(NamedTuple):
    """What only the modes that update theta use."""

    state: np.ndarray  # (n_slots * n_params,) the optimizer's, read and overwritten
    # (n_updates, N_RATES) float64, a row for each mini-batch, see `codes.RATE`; or what another
    # worker than `sweep_part` keeps in its place
    rates: np.ndarray
    clip_norm: float  # largest norm of a gradient that is applied, with ``UPDATE_CLIPPED``


@functools.cache
def argument_types(dtype):
    """Numba's types of the arguments that the loop's workers and `sweep` share."""
    number = from_dtype(np.dtype(dtype))
    index, real = types.int64, types.float64
    numbers, indices = types.Array(number, 1, "C"), types.Array(index, 1, "C")
    return (
        named(Call, types.boolean, types.boolean, index, index),
        types.Tuple((indices, numbers)),  # kept
        indices,  # order
        named(Update, numbers, types.Array(real, 2, "C"), real),
        numbers,  # theta
        types.Tuple((types.Array(number, 2, "C"), numbers, numbers)),  # samples
        numbers,  # result
    )


@entry
def sweep(sweep_part_at, call, kept, order, update, theta, samples, result):
    """Run the worker at `sweep_part_at` as a team, or alone.

    The serial kernel must not be called as a team. The other arguments are those of `sweep_part`.

    Returns
    -------
    (float, bool)
        The sum of the losses so far, NaN where a loss is not finite or not every part had a
        thread; and, at the end of a sweep that is more than ``EVALUATE``, whether all of theta,
        and of the gradient by ``DIFFERENTIATE``, is finite: before, True.
    """
    tables, _ = kept
    cursor = only(tables, codes.CURSOR, CURSOR)
    total, _ = total_and_hyper(tables)
    if call.anew:
        cursor.chunk = 0
        cursor.mini_batch = 0
        cursor.end = call.stop
        total[0] = 0.0
    bounds = column(tables, codes.TEAM_BOUNDS if call.as_team else codes.BOUNDS)
    for part in prange(bounds.size - 1):
        before = flush_denormals()
        call_worker(sweep_part_at, part, call, kept, order, update, theta, samples, result)
        restore_denormals(before)
    finite, mode = True, call.mode
    if mode != codes.EVALUATE and cursor.chunk == cursor.end:
        finite = all_finite(theta) and (mode != codes.DIFFERENTIATE or all_finite(result))
    return (float(total[0]) if cursor.outcome == codes.FINISHED else np.nan), finite
