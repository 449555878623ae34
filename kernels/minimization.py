"""L-BFGS on a network's objective, from evaluation to evaluation without a way back to Python.

`minimize_part` is a worker as `epoch.sweep_part` is, with the same arguments, so that the driver
`epoch.sweep` runs it, alone or as a team: each part takes its share of every evaluation and of the
vectors of L-BFGS, and part 0 decides.
"""

import functools

import numpy as np
from numba import types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, inline, loop, worker
from fastmlp.kernels.clock import seconds
from fastmlp.kernels.epoch import Call, Update, argument_types
from fastmlp.kernels.lbfgs import (
    BLOCK,
    EVALUATE,
    EVALUATIONS,
    FAIL,
    ITERATE,
    N_TRACED,
    PAUSE,
    SECONDS,
    SQUARED_NORM,
    VALUE,
    decide,
    work,
)
from fastmlp.kernels.penalties import penalty_of
from fastmlp.kernels.records import CURSOR, LAYER, RUN
from fastmlp.kernels.team import barrier, roll_call
from fastmlp.kernels.view import matrix, record, vector
from fastmlp.kernels.views import column, only, point_of, table, total_and_hyper


@worker
def minimize_part(part, call, kept, order, update, theta, samples, result):
    """Go on with a run of L-BFGS as one `part` of a team, until one of its limits is met.

    Parameters
    ----------
    part, call, kept, samples
        As of `epoch.sweep_part`, for evaluations of all rows as they lie.
    order : (0,) int64
    update : Update
        Its table of rates is the memory of the run, see `lbfgs`; its state is empty.
    theta, result : (n_params,)
        Overwritten, by trials and their gradients.

    In the run, iterations and evaluations are counted from 0, for each iteration a row of `traced`
    is overwritten, and `seconds` in the end. The last job is ``ITERATE`` if the iteration was the
    last one wanted, met a tolerance or reached the target; ``PAUSE`` if time or evaluations are
    over; or ``FAIL``.
    """
    tables, _ = kept
    memory = vector(update.rates, 0, update.rates.size)
    run, sync = record(memory, 0, RUN), column(tables, codes.SYNC)
    n_parts = column(tables, codes.TEAM_BOUNDS if call.as_team else codes.BOUNDS).size - 1
    if not roll_call(sync, n_parts):
        return
    evaluate_at = run.team_at if call.as_team else run.alone_at
    evaluation = Call(False, call.as_team, codes.DIFFERENTIATE, call.stop)
    nothing = Update(vector(update.state, 0, 0), matrix(memory, 0, 0, codes.N_RATES), np.inf)
    # A part's share of the vectors: some blocks.
    first, stop = run.n_blocks * part // n_parts, run.n_blocks * (part + 1) // n_parts
    start = first * BLOCK
    size = (stop * BLOCK if stop < run.n_blocks else run.n) - start
    if part == 0:
        run.began = seconds()
        run.n_iterations = 0
        run.n_evaluations = 0
    while True:
        if part == 0:
            _decide(memory, run, tables)
        barrier(sync, n_parts)
        if run.job in (ITERATE, PAUSE, FAIL):
            break
        if run.job == EVALUATE:
            x, gradient = point_of(memory, run, run.trial)
            _convert(vector(x, start, size), vector(theta, start, size))
            barrier(sync, n_parts)
            call_worker(evaluate_at, part, evaluation, kept, order, nothing, theta, samples, result)
            barrier(sync, n_parts)
            if part == 0:
                run.trial_value = _value(run, tables, theta)
                decide(memory)
            _convert(vector(result, start, size), vector(gradient, start, size))
            barrier(sync, n_parts)
        work(memory, first, stop)
        barrier(sync, n_parts)
    if part == 0:
        run.seconds = seconds() - run.began
        only(tables, codes.CURSOR, CURSOR).outcome = codes.FINISHED


@inline
def _decide(memory, run, tables):
    """Choose the next job; take down an iteration at its end, and go on with the next, if any.

    Sets the cursor to the first chunk before an evaluation.
    """
    decide(memory)
    if run.job == ITERATE:
        row = vector(memory, run.traced + run.n_iterations * N_TRACED, N_TRACED)
        row[SECONDS] = seconds() - run.began
        row[EVALUATIONS] = run.n_evaluations
        row[VALUE] = run.value
        row[SQUARED_NORM] = run.squared_gradient
        run.n_iterations += 1
        if run.n_iterations < run.most_iterations and not _is_at_its_end(run):
            decide(memory)
    if run.job == EVALUATE:
        late = seconds() - run.began > run.most_seconds
        if late or run.n_evaluations >= run.most_evaluations:
            run.job = PAUSE
            return
        run.n_evaluations += 1
        cursor = only(tables, codes.CURSOR, CURSOR)
        cursor.chunk = 0
        cursor.mini_batch = 0
        total, _ = total_and_hyper(tables)
        total[0] = 0.0


@inline
def _is_at_its_end(run):
    """Whether the run meets a tolerance or has reached its target, or the function has no end."""
    if run.value <= run.target or run.unbounded == 1 or run.moves == 0:
        return True
    small = run.largest_gradient <= run.gradient_tolerance
    return small or run.decrease <= run.objective_tolerance


@inline
def _value(run, tables, theta):
    """The objective after an evaluation, NaN if a loss is not finite."""
    if only(tables, codes.CURSOR, CURSOR).outcome != codes.FINISHED:
        return np.nan
    total, _ = total_and_hyper(tables)
    layout = table(tables, codes.LAYOUT, LAYER)
    return total[0] / run.n_samples + penalty_of(theta, layout, run.l1, run.l2)


@loop
def _convert(source, result):
    """Overwrite a vector by another in its own dtype."""
    for i in range(result.size):
        result[i] = source[i]


@functools.cache
def minimize_part_address(dtype):
    """Address of `minimize_part` for networks of `dtype`, compiled or loaded on first use."""
    return minimize_part.address(types.int64, *argument_types(dtype))
