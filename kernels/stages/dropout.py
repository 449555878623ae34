"""The step of dropout: some units' outputs become 0, at random, and the others larger.

Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR
15:1929-1958 (2014), in its inverted form: what is kept is divided by the probability of that while
the network trains, so that nothing is to be done when it predicts.
"""

import numpy as np

from fastmlp.kernels._jit import inline, loop, worker
from fastmlp.kernels.gather import copy_values
from fastmlp.kernels.philox import philox
from fastmlp.kernels.stages.place import flat, inputs, output_deltas, outputs, wants_delta
from fastmlp.kernels.view import reinterpreted, vector

# A unit takes 16 bits: probabilities are multiples of 1 / LEVELS.
LEVELS = 1 << 16
UNITS = 8  # that the bits of one counter are for
COUNTER_BYTES = 16

UINT16 = np.dtype(np.uint16)
UINT64 = np.dtype(np.uint64)

MATRIX_SHIFT = np.uint64(16)
STREAM_SHIFT = np.uint64(32)
UPDATES = np.uint64(0xFFFFFFFF)


@worker
def dropout(step, block, work, theta, is_back):
    """Multiply values, or their deltas in place, by 0 or by what keeps their expectation.

    Values may be in place, or not. Without training, or at probability 0, they stay what they are.
    The bits that decide are kept in the step's saved memory for the way back.
    """
    limit = drop_limit(work[step.constant], block.dropout if step.option else 1.0)
    drops = block.training != 0 and limit > 0
    if not is_back:
        if step.output != step.input:
            copy_values(flat(inputs(step, block, work)), flat(outputs(step, block, work)))
        if not drops:
            return
    elif not (drops and wants_delta(step)):
        return
    values = flat(output_deltas(step, block, work) if is_back else outputs(step, block, work))
    size = block.rows * step.n_out
    first = block.start * step.n_out  # element of the epoch's rows
    before = first % UNITS
    n_counters = (before + size + UNITS - 1) // UNITS
    for f in range(step.factor):
        at = block.memory + step.saved + f * saved_size(block, step.n_out, work.itemsize)
        if not is_back:
            bits = reinterpreted(work, at, 2 * n_counters, UINT64)
            philox(
                np.uint64(first // UNITS),
                mask_stream(block.update, step.key, f),
                np.uint64(block.seed),
                bits,
            )
        halves = reinterpreted(work, at, UNITS * n_counters, UINT16)
        drop(vector(values, f * size, size), vector(halves, before, size), limit)


@inline
def drop_limit(number, factor):
    """How many of `LEVELS` numbers drop a unit: `number` times the schedule's `factor`, not all."""
    return min(int(float(number) * factor + 0.5), LEVELS - 1)


@inline
def mask_stream(update, key, f):
    """Upper half of the counters: the update, the step and which of its matrices."""
    upper = np.uint64(key) | (np.uint64(f) << MATRIX_SHIFT)
    return (np.uint64(update) & UPDATES) | (upper << STREAM_SHIFT)


@inline
def saved_size(block, n_units, itemsize):
    """Elements that hold the bits of one of a block's matrices, wherever in a counter it begins."""
    n_counters = (block.block_rows * n_units + 2 * (UNITS - 1)) // UNITS
    return n_counters * COUNTER_BYTES // itemsize


@loop
def drop(values, halves, limit):
    """Multiply `values` by 0 where the number in `halves` is below `limit`, else by a factor.

    That is one over the share of numbers that are not, so that expectations stay. Multiplied by 0,
    NaN stays NaN: a fit must notice a broken network. Both are vectors of one length.
    """
    zero = values.dtype.type(0.0)
    scale = values.dtype.type(LEVELS / (LEVELS - limit))
    narrow = np.uint16(limit)  # for as many comparisons at a time as there can be
    for i in range(values.size):
        values[i] *= zero if halves[i] < narrow else scale
