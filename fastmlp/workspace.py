"""The buffers and tables that the kernels work with, sized once for a network and its data."""

from itertools import pairwise

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.simd import TALL, VECTOR_BYTES
from fastmlp.kernels.team import SYNC_SIZE

# Rows that go through all layers together. Enough to reuse a wide layer's weights while they
# stream through the cache, few enough for their activations to stay in it.
BLOCK_ROWS = 16 * TALL

# A mini-batch of up to so many rows is one chunk, whose gradient never leaves the cache.
LARGEST_CHUNK = 4096

# Bytes of activations and deltas that a larger batch is streamed through.
CHUNK_BYTES = 1 << 21
SMALLEST_CHUNK = 256

# Elements of the gradient that one task forms, and the fewest rows that make good use of the
# deltas it reads.
TASK_ELEMENTS = 1 << 14
TASK_ROWS = 4 * TALL


def count_weights(layer_sizes):
    """Number of weights of a network, without biases."""
    return sum(n_in * n_out for n_in, n_out in pairwise(layer_sizes))


def aligned_empty(size, dtype):
    """Uninitialized vector that starts on a cache line, which full-width vector loads like."""
    dtype = np.dtype(dtype)
    raw = np.empty(size * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)


def chunk_rows(layer_sizes, itemsize, batch_rows):
    """Rows of a chunk, for batches of up to `batch_rows` rows.

    Never a matter of threads: sums over samples go chunk by chunk, so that chunks that changed
    with the thread count would change the bits of the loss.
    """
    bytes_per_row = 2 * sum(layer_sizes[1:]) * itemsize
    streamed = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, CHUNK_BYTES // bytes_per_row))
    whole = batch_rows <= LARGEST_CHUNK and batch_rows * bytes_per_row <= 32 * CHUNK_BYTES
    return batch_rows if whole else min(batch_rows, streamed)


def chunk_table(n_rows, batch_rows, largest):
    """Cut `n_rows` into mini-batches of `batch_rows` and those into chunks of up to `largest`.

    Returns the chunk table of `codes`, int64 (n_chunks, codes.CHUNK_COLUMNS).
    """
    first_rows = np.arange(0, n_rows, batch_rows, dtype=np.int64)
    sizes = np.minimum(first_rows + batch_rows, n_rows) - first_rows
    counts = -(-sizes // largest)
    batch = np.repeat(np.arange(first_rows.size), counts)
    within = np.arange(batch.size) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.empty((batch.size, codes.CHUNK_COLUMNS), np.int64)
    table[:, codes.START] = first_rows[batch] + within * largest
    table[:, codes.STOP] = np.minimum(
        table[:, codes.START] + largest, first_rows[batch] + sizes[batch]
    )
    table[:, codes.BATCH] = sizes[batch]
    table[:, codes.FIRST] = within == 0
    table[:, codes.LAST] = within == counts[batch] - 1
    return table


def task_table(layer_sizes, n_parts):
    """Share the rows of every layer's [W; b] out to `n_parts` parts of about equal work.

    Returns
    -------
    tasks : ndarray of int64, (n_tasks, codes.TASK_COLUMNS)
    bounds : ndarray of int64, (n_parts + 1,)
        Part p owns tasks ``bounds[p] : bounds[p + 1]``.
    """
    total = sum((n_in + 1) * n_out for n_in, n_out in pairwise(layer_sizes))
    tasks: list[tuple[int, int, int]] = []
    bounds = [0]
    done = 0
    for layer, (n_in, n_out) in enumerate(pairwise(layer_sizes)):
        most = TALL * max(1, min(max(TASK_ROWS, TASK_ELEMENTS // n_out), n_in + 1) // TALL)
        row = 0
        while row <= n_in:
            quota = total * len(bounds) / n_parts - done
            if quota <= 0 and len(bounds) < n_parts:
                bounds.append(len(tasks))
                continue
            # Whole tiles, but never short of a row of progress.
            wanted = TALL * max(1, round(quota / n_out / TALL))
            stop = min(n_in + 1, row + min(most, wanted))
            tasks.append((layer, row, stop))
            done += (stop - row) * n_out
            row = stop
    bounds += [len(tasks)] * (n_parts + 1 - len(bounds))
    return np.array(tasks, np.int64), np.array(bounds, np.int64)


class Workspace:
    """Scratch memory and plan for one network, shared by the calls of one fit.

    Parameters
    ----------
    layer_sizes : tuple of int
    dtype : dtype
    rows : int
        Largest number of rows in a chunk.
    n_parts : int
        Parts of a parallel region.
    n_target : int
        Columns of the target.
    gather : bool
        Whether rows of X are copied in a given order; else they are used in place.
    """

    def __init__(self, layer_sizes, dtype, *, rows, n_parts, n_target=0, gather=False):
        dtype = np.dtype(dtype)
        widths = layer_sizes[1:]
        block = min(BLOCK_ROWS, rows)
        lanes = 2 * VECTOR_BYTES // dtype.itemsize
        self.tasks, self.bounds = task_table(layer_sizes, n_parts)
        largest_task = max((stop - row) * widths[layer] for layer, row, stop in self.tasks.tolist())
        self.rows = rows
        self.n_parts = n_parts
        self.alone = np.array([0, len(self.tasks)], np.int64)
        self.sync = np.zeros(SYNC_SIZE, np.int64)
        plan = np.zeros(codes.PLAN_SIZE, np.int64)
        plan[codes.CHUNK_ROWS] = rows
        plan[codes.BLOCK_ROWS] = block
        plan[codes.N_TARGET] = n_target
        plan[codes.GATHER] = gather
        plan[codes.MAX_WIDTH] = max(widths)
        size = 0

        def reserve(n):
            nonlocal size
            start = size
            size += -(-n // lanes) * lanes
            return start

        training = n_target > 0
        plan[codes.INPUT] = reserve(rows * layer_sizes[0] if gather else 0)
        plan[codes.TARGET] = reserve(rows * n_target)
        plan[codes.SAMPLE_LOSS] = reserve(rows if training else 0)
        plan[codes.OUTPUT] = reserve(rows * sum(widths) if training else 0)
        plan[codes.DELTA] = reserve(rows * sum(widths) if training else 0)
        inner = count_weights(widths)
        plan[codes.TRANSPOSED] = reserve(inner if training else 0)
        plan[codes.SCRATCH] = size
        reserve(2 * block * max(widths))
        plan[codes.PANEL] = size - plan[codes.SCRATCH]
        deepest = max(*layer_sizes, rows if training else 0)
        reserve(deepest * lanes)
        plan[codes.TASK] = size - plan[codes.SCRATCH]
        reserve(largest_task if training else 0)
        # A page apart, so that no two parts share a cache line or its prefetched neighbour.
        plan[codes.SCRATCH_SIZE] = size - plan[codes.SCRATCH] + 4096 // dtype.itemsize
        self.plan = plan
        self.buffer = aligned_empty(
            int(plan[codes.SCRATCH] + n_parts * plan[codes.SCRATCH_SIZE]), dtype
        )
