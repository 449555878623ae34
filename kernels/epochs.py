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
    """What several epochs have in common, and what comes of them."""

    n_rows: int
    n_rates: int  # rows of ``update.rates`` of each epoch, 0 if all epochs have the same
    l1: float
    l2: float
    target: float  # an epoch whose objective is at most this is the last
    uniform: np.ndarray  # (n_epochs * n_rows,) float64 of [0, 1) that orders are made of; or (0,)
    order: np.ndarray  # (n_rows,) overwritten by each epoch's order; (0,) for rows as they lie
    objectives: np.ndarray  # (n_epochs,) float64, overwritten by the means over the epochs
    ends: np.ndarray  # overwritten by theta at the end of each epoch, and the state if it has room


@entry
def epochs(sweep_part_at, several, call, kept, update, theta, samples, result):
    """Run the worker at `sweep_part_at` alone through all chunks, epoch after epoch.

    Parameters
    ----------
    several : Several
    sweep_part_at, call, kept, update, theta, samples, result
        As of `epoch.sweep`. The updates go on from those in the cursor, which is left as it is at
        the end of the last epoch.

    Returns
    -------
    (int, float, bool)
        How many epochs have ended with finite losses and a finite theta: all, or those up to the
        target, or else the next one has not. The sum of the losses of the last or of that epoch,
        NaN if one is not finite. And whether theta is finite, True if nobody has looked.
    """
    tables, _ = kept
    cursor, layout = only(tables, codes.CURSOR, CURSOR), table(tables, codes.LAYOUT, LAYER)
    total, _ = total_and_hyper(tables)
    order, n_epochs = several.order, several.objectives.size
    room = several.ends.size // n_epochs
    done = 0
    while done < n_epochs:
        if order.size:
            shuffle_into(vector(several.uniform, done * order.size, order.size), order)
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
        objective = total[0] / several.n_rows + penalty_of(vector(theta, 0, theta.size), layout, several.l1, several.l2)
        several.objectives[done] = objective
        copy_values(theta, vector(several.ends, done * room, theta.size))
        if room > theta.size:
            of_state = vector(several.ends, done * room + theta.size, update.state.size)
            copy_values(update.state, of_state)
        done += 1
        if objective <= several.target:
            break
    return done, float(total[0]), True


@functools.cache
def exact_epochs(dtype):
    """`epochs.serial` for networks of `dtype`; see `Twin.exactly`."""
    return epochs.exactly(*_argument_types(dtype))


def are_kept(dtype):
    """Whether `epochs.serial` for networks of `dtype` need not be compiled."""
    return epochs.is_kept(*_argument_types(dtype))


def _argument_types(dtype):
    """Numba's types of the arguments of `epochs`."""
    call, kept, indices, *others = argument_types(dtype)
    index, real = types.int64, types.float64
    reals = types.Array(real, 1, "C")
    numbers = types.Array(from_dtype(np.dtype(dtype)), 1, "C")
    several = index, index, real, real, real, reals, indices, reals, numbers
    return index, named(Several, *several), call, kept, *others
