"""Several epochs in one call, for those that take less time than Python between two of them."""

import functools
from typing import NamedTuple

import numpy as np
from numba import from_dtype, types

from fastmlp.kernels import codes
from fastmlp.kernels._jit import call_worker, entry, named
from fastmlp.kernels.denormals import flush_denormals, restore_denormals
from fastmlp.kernels.epoch import argument_types
from fastmlp.kernels.finite import all_finite
from fastmlp.kernels.gather import copy_values, shuffle_into
from fastmlp.kernels.penalties import penalty_of
from fastmlp.kernels.records import CURSOR, LAYER
from fastmlp.kernels.view import vector
from fastmlp.kernels.views import only, table, total_and_hyper


class Several(NamedTuple):
    """What several epochs have in common."""

    n_rows: int
    n_rates: int  # rows of ``update.rates`` of each epoch, 0 if all epochs have the same
    l1: float
    l2: float
    target: float  # an epoch whose objective is at most this is the last


@entry
def epochs(
    sweep_part_at, several, uniform, call, kept, order, update, theta, samples, result, reached
):
    """Run the worker at `sweep_part_at` alone, through all chunks, epoch after epoch.

    Parameters
    ----------
    several : Several
    uniform : (n_epochs * n_rows,) or (0,)
        Numbers of the uniform distribution on [0, 1), float64, of which each epoch's order is made;
        none where rows are taken as they lie.
    order : (n_rows,) or (0,)
        Overwritten by the order of the last epoch.
    reached : (objectives, thetas)
        Overwritten by the mean of the objective over each epoch, (n_epochs,) in float64, and by
        theta, and as much of the state as there is room for, at its end, one after the other. Room
        is for theta, or for both.
    sweep_part_at, call, kept, update, theta, samples, result
        As of `epoch.sweep`; the cursor is left as it is at the end of the last epoch.

    Returns
    -------
    (int, float, bool)
        How many epochs came to their end with a finite objective and a finite theta. If they are
        not all, and the target is not reached, the next one has not. And the sum of its losses, or
        of those of the last epoch, NaN where one was not finite, and whether theta is finite.
    """
    tables, _ = kept
    cursor, layout = only(tables, codes.CURSOR, CURSOR), table(tables, codes.LAYOUT, LAYER)
    total, _ = total_and_hyper(tables)
    objectives, thetas = reached
    room = thetas.size // objectives.size
    done = 0
    while done < objectives.size:
        if order.size:
            shuffle_into(vector(uniform, done * order.size, order.size), order)
        cursor.chunk, cursor.mini_batch = 0, done * several.n_rates
        total[0] = 0.0
        before = flush_denormals()
        call_worker(sweep_part_at, 0, call, kept, order, update, theta, samples, result)
        restore_denormals(before)
        cursor.mini_batch -= done * several.n_rates
        if cursor.outcome != codes.FINISHED:
            return done, np.nan, True
        if not all_finite(theta):
            return done, float(total[0]), False
        objective = total[0] / several.n_rows + penalty_of(theta, layout, several.l1, several.l2)
        objectives[done] = objective
        copy_values(theta, vector(thetas, done * room, theta.size))
        if room > theta.size:
            to = vector(thetas, done * room + theta.size, update.state.size)
            copy_values(update.state, to)
        done += 1
        if objective <= several.target:
            break
    return done, float(total[0]), True


@functools.cache
def exact_epochs(dtype):
    """`epochs.serial` for networks of `dtype`; see `Twin.exactly`."""
    return epochs.exactly(*_argument_types(dtype))


def _argument_types(dtype):
    """Numba's types of the arguments of `epochs`."""
    call, kept, order, update, theta, samples, result = argument_types(dtype)
    index, real = types.int64, types.float64
    numbers = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    reals = types.Array(real, 1, "C")
    return (
        index,
        named(Several, index, index, real, real, real),
        reals,
        call,
        kept,
        order,
        update,
        theta,
        samples,
        result,
        types.Tuple((reals, numbers)),
    )
