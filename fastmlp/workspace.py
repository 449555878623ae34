"""The buffers and tables that the kernels work with, sized once for a network and its data."""

from itertools import pairwise

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.gemm import DEPTH
from fastmlp.kernels.simd import TALL, VECTOR_BYTES
from fastmlp.kernels.team import SYNC_SIZE

# A network of at least so many weights is wide: its parts do every layer together. The weights of
# a narrower one stay in each core's own cache.
WIDE_WEIGHTS = 1 << 16

# Rows that go through all layers of a narrow network at a time: few enough for their outputs and
# deltas to stay in the caches of a core, enough for a call to be a small part of the work.
BLOCK_BYTES = 1 << 17
FEWEST_BLOCK_ROWS = 8 * TALL

# From so many rows on a chunk of a narrow network is cut into groups. Rows of a group at least,
# for adding up its gradient to be a small part of forming it; the most groups of a chunk, which
# bound the memory; and its most rows.
FEWEST_GROUPED_ROWS = 512
GROUP_ROWS = 96
MOST_GROUPS = 64
LARGEST_GROUPED_CHUNK = 1 << 14

# An input of so many columns is sliced where the first layer is narrow and has most of the weights:
# parts exchange a few sums then, instead of rows of X and weights. The most slices, and so parts
# that share them, and the columns of a slice at least, so that adding up their products is little.
SLICED_COLUMNS = 192
SLICE_COLUMNS = 192
MOST_SLICES = 8

# Rows whose loss is taken at a time.
LOSS_ROWS = 32 * TALL

# A mini-batch of a wide network of up to so many rows is one chunk, whose gradient never leaves
# the cache, unless its activations and deltas take more than these bytes.
LARGEST_CHUNK = 4096
LARGEST_CHUNK_BYTES = 1 << 24

# Bytes of activations and deltas that a larger batch is streamed through.
CHUNK_BYTES = 1 << 21
SMALLEST_CHUNK = 256

# Elements of the gradient that one task forms, and the fewest rows that make good use of the
# deltas it reads. With many samples larger tasks read the deltas less often.
TASK_ELEMENTS = 1 << 14
DEEP_TASK_ELEMENTS = 1 << 18
DEEP_ROWS = 64
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


def is_wide(layer_sizes):
    """Whether the parts of a team do every layer together, see `kernels.network`."""
    return count_weights(layer_sizes) >= WIDE_WEIGHTS


def chunk_rows(layer_sizes, itemsize, batch_rows):
    """Rows of a chunk, for batches of up to `batch_rows` rows.

    Never a matter of threads: sums over samples go chunk by chunk, so that chunks that changed
    with the thread count would change the bits of the loss.
    """
    if not is_wide(layer_sizes):
        return min(batch_rows, LARGEST_GROUPED_CHUNK)
    bytes_per_row = 2 * sum(layer_sizes[1:]) * itemsize
    streamed = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, CHUNK_BYTES // bytes_per_row))
    whole = batch_rows <= LARGEST_CHUNK and batch_rows * bytes_per_row <= LARGEST_CHUNK_BYTES
    return batch_rows if whole else min(batch_rows, streamed)


def group_count(layer_sizes, rows):
    """Groups that a chunk of `rows` rows is cut into, 0 if it is not."""
    if is_wide(layer_sizes) or rows < FEWEST_GROUPED_ROWS:
        return 0
    return min(MOST_GROUPS, rows // GROUP_ROWS)


def slice_count(layer_sizes, rows):
    """Slices that the input is cut into for chunks of `rows` rows, 0 if it is not."""
    n_in, n_out = layer_sizes[:2]
    above = count_weights(layer_sizes) - n_in * n_out
    if n_in < max(SLICED_COLUMNS, 2 * n_out) or rows >= FEWEST_GROUPED_ROWS:
        return 0
    if above > min(n_in * n_out, WIDE_WEIGHTS - 1):
        return 0
    n_slices = min(MOST_SLICES, max(2, n_in // SLICE_COLUMNS))
    return -(-n_in // -(-n_in // n_slices))  # none without a column


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


def task_table(layer_sizes, n_parts, depth, n_slices=0):
    """Share the rows of every layer's [W; b] out to `n_parts` parts of about equal work.

    Each task sums over `depth` samples. If the input is cut into `n_slices`, a part gets its own
    slices' rows of the first layer, see `kernels.network`, and the first part the bias too.

    Returns
    -------
    tasks : ndarray of int64, (n_tasks, codes.TASK_COLUMNS)
    bounds : ndarray of int64, (n_parts + 1,)
        Part p owns tasks ``bounds[p] : bounds[p + 1]``.
    """
    elements = DEEP_TASK_ELEMENTS if depth >= DEEP_ROWS else TASK_ELEMENTS
    layers = list(enumerate(pairwise(layer_sizes)))
    shares: list[list[tuple[int, ...]]] = [[] for _ in range(n_parts)]
    if n_slices:
        _, (n_in, n_out) = layers.pop(0)
        most = _task_rows(elements, n_in, n_out)
        width = -(-n_in // n_slices)
        for part, share in enumerate(shares):
            first, stop = n_slices * part // n_parts, n_slices * (part + 1) // n_parts
            for k0 in range(first * width, min(stop * width, n_in), width):
                k1 = min(k0 + width, n_in)
                share += [(0, row, min(row + most, k1), k0, k1) for row in range(k0, k1, most)]
        # The product of the first slice starts from it.
        owner = next(share for share in shares if share)
        owner.append((0, n_in, n_in + 1, 0, n_in))
    total = sum((n_in + 1) * n_out for _, (n_in, n_out) in layers)
    done = part = 0
    for layer, (n_in, n_out) in layers:
        most = _task_rows(elements, n_in, n_out)
        row = 0
        while row <= n_in:
            quota = total * (part + 1) / n_parts - done
            if quota <= 0 and part < n_parts - 1:
                part += 1
                continue
            # Whole tiles, but never short of a row of progress.
            wanted = TALL * max(1, round(quota / n_out / TALL))
            stop = min(n_in + 1, row + min(most, wanted))
            shares[part].append((layer, row, stop, 0, n_in))
            done += (stop - row) * n_out
            row = stop
    bounds = np.cumsum([0, *map(len, shares)], dtype=np.int64)
    return np.array([task for share in shares for task in share], np.int64), bounds


def _task_rows(elements, n_in, n_out):
    """The most rows of [W; b] that one task has, whole tiles."""
    return TALL * max(1, min(max(TASK_ROWS, elements // n_out), n_in + 1) // TALL)


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
    slopes : bool
        Whether an activation keeps its derivative for the backward pass.
    """

    def __init__(self, layer_sizes, dtype, *, rows, n_parts, n_target, gather=False, slopes=False):
        dtype = np.dtype(dtype)
        widths = layer_sizes[1:]
        lanes = 2 * VECTOR_BYTES // dtype.itemsize
        n_params = count_weights(layer_sizes) + sum(widths)
        n_groups, n_slices = group_count(layer_sizes, rows), slice_count(layer_sizes, rows)
        wide = is_wide(layer_sizes) and not n_slices
        self.tasks, self.bounds = task_table(layer_sizes, n_parts, rows, n_slices)
        task_rows = int((self.tasks[:, codes.ROW_1] - self.tasks[:, codes.ROW_0]).max())
        largest_task = max(
            (task[codes.ROW_1] - task[codes.ROW_0]) * widths[task[codes.LAYER]]
            for task in self.tasks.tolist()
        )
        self.rows = rows
        self.n_parts = n_parts
        self.alone = np.array([0, len(self.tasks)], np.int64)
        self.sync = np.zeros(SYNC_SIZE, np.int64)
        block = rows
        if not wide:
            in_cache = BLOCK_BYTES // (2 * sum(widths) * dtype.itemsize) // TALL * TALL
            block = min(rows, max(FEWEST_BLOCK_ROWS, in_cache))
        loss_rows = min(rows, LOSS_ROWS)
        # A group passes its blocks through one buffer of each part.
        buffer = n_parts * block if n_groups else rows
        plan = np.zeros(codes.PLAN_SIZE, np.int64)
        plan[codes.GATHER] = gather
        plan[codes.TOGETHER] = wide
        plan[codes.N_GROUPS] = n_groups
        plan[codes.N_SLICES] = n_slices
        plan[codes.BLOCK_ROWS] = block
        plan[codes.LOSS_ROWS] = loss_rows
        plan[codes.BUFFER_ROWS] = buffer
        plan[codes.N_TARGET] = n_target
        size = 0

        def reserve(n):
            nonlocal size
            start = size
            size += -(-n // lanes) * lanes
            return start

        plan[codes.INPUT] = reserve(buffer * layer_sizes[0] if gather or n_slices else 0)
        plan[codes.TARGET] = reserve(buffer * n_target)
        plan[codes.OUTPUT] = reserve(buffer * sum(widths))
        plan[codes.DELTA] = reserve(buffer * sum(widths))
        plan[codes.SLOPE] = reserve(buffer * sum(widths)) if slopes else plan[codes.DELTA]
        plan[codes.SLICE_PRODUCT] = reserve(n_slices * buffer * widths[0])
        plan[codes.SAMPLE_LOSS] = reserve(rows)
        plan[codes.GROUP_GRADIENT] = reserve(n_groups * n_params)
        plan[codes.SCRATCH] = size
        # Of `gemm.multiply`: a panel, strips of as many rows as a product has at most, a transpose.
        depth = min(DEPTH, max(*layer_sizes, rows))
        product_rows = max(layer_sizes) if n_groups else task_rows
        reserve(depth * (lanes + -(-product_rows // TALL) * TALL) + product_rows * lanes)
        plan[codes.LOSS_TERMS] = size - plan[codes.SCRATCH]
        reserve(loss_rows * widths[-1])
        plan[codes.TASK] = size - plan[codes.SCRATCH]
        reserve(largest_task)
        plan[codes.COEFFICIENTS] = size - plan[codes.SCRATCH]
        reserve(codes.N_COEFFICIENTS)
        # A page apart, so that no two parts share a cache line or its prefetched neighbour.
        plan[codes.SCRATCH_SIZE] = size - plan[codes.SCRATCH] + 4096 // dtype.itemsize
        self.plan = plan
        self.buffer = aligned_empty(
            int(plan[codes.SCRATCH] + n_parts * plan[codes.SCRATCH_SIZE]), dtype
        )
