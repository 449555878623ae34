"""The buffers and tables that the kernels work with, sized once for a network and its data."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes, records
from fastmlp.kernels.empty_columns import FEWEST_COLUMNS, FEWEST_ROWS
from fastmlp.kernels.gemm import are_pages, scratch_size
from fastmlp.kernels.simd import TALL, VECTOR_BYTES

# Bytes of a cache line, a multiple of any machine's vectors.
LINE_BYTES = 64

# What keeps the memory of two parts apart, of whatever size a machine's pages are.
PAGE_BYTES = 4096

# A network of at least so many weights is wide: its parts do every layer together. The weights of
# a narrower one stay in each core's own cache.
WIDE_WEIGHTS = 1 << 16

# Rows that go through all layers of a narrow network at a time: few enough for their outputs and
# deltas to stay in the caches of a core, enough for a call to be a small part of the work. A tile's
# are enough where their outputs and deltas are more numbers than the parameters, which each block
# reads.
BLOCK_BYTES = 1 << 17
FEWEST_BLOCK_ROWS = 8 * TALL

# From so many rows on a chunk of a narrow network is cut into groups. Rows of a group at least,
# for adding up its gradient to be a small part of forming it; the most groups of a chunk, which
# bound the memory; and its most rows.
FEWEST_GROUPED_ROWS = 512
GROUP_ROWS = 96
MOST_GROUPS = 64
LARGEST_GROUPED_CHUNK = 1 << 14

# With fewer rows it is cut if its outputs and deltas have more bytes than a core's own cache, and
# those of a group are so many times as many numbers as its gradient: else parts would exchange them
# to form the gradient, which is little.
GROUPED_BYTES = 1 << 20
OUTPUTS_TO_PARAMS = 32

# The input of the first or the second layer is sliced where a model of two parts says that a row
# takes the least time that way. Multiply-adds that pass while one number comes from another core,
# or from memory (measured: 0.2 to 0.3 ns a number), and while a number of a product is stored and
# added; the most slices, and so parts that have any; and a slice's columns at least: of X, and in
# cache lines of a hidden layer, whatever the machine's vectors.
EXCHANGE_COST = 16
SUM_COST = 4
MOST_SLICES = 4
SLICE_COLUMNS = 96
SLICE_LINES = 2

# The second layer's input is sliced in networks of fewer weights: those of larger ones are worth
# more parts than have slices, and to copy them would take its time.
MOST_SLICED_WEIGHTS = 1 << 20

# A network of up to so many parameters, whose gradient stays in a core's first two caches, is small
# for mini-batches of so many rows times parameters, fewer where a layer's input could be sliced: a
# team would be no faster, or only where its cores are near. See `kernels.small`.
SMALL_PARAMS = 1 << 14
SMALL_WORK = 6 << 14
SMALL_SLICED_WORK = 3 << 14

# Rows whose loss is taken at a time, and the most elements of their outputs: what is read several
# times is to stay in the caches of a core.
LOSS_ROWS = 32 * TALL
LOSS_ELEMENTS = 1 << 14

# A mini-batch of a wide network of up to so many rows is one chunk, whose gradient never leaves
# the cache, unless its activations and deltas take more than these bytes.
LARGEST_CHUNK = 4096
LARGEST_CHUNK_BYTES = 5 << 22

# Bytes of activations and deltas that a larger batch is streamed through, but for a chunk's rows
# at least: fewer would add to the gradient, and read the weights, more often.
CHUNK_BYTES = 1 << 21
SMALLEST_CHUNK = 512

# Elements of the gradient that one task forms, and the fewest rows that make good use of the
# deltas it reads. With many samples larger tasks read the deltas less often.
TASK_ELEMENTS = 1 << 14
DEEP_TASK_ELEMENTS = 1 << 18
DEEP_ROWS = 64
TASK_ROWS = 4 * TALL

# What tasks cost besides, with so many samples: a row of a gradient as much as so many more
# columns, and the sums for a bias, which read all deltas for one row, as much as so many rows.
ROW_COLUMNS = 12
BIAS_ROWS = 6

# Parameters above the slices that one part updates for all: theirs would share cache lines.
FEWEST_SHARED = 1 << 10


def count_weights(layer_sizes):
    """Number of weights of a network, without biases."""
    return sum(n_in * n_out for n_in, n_out in pairwise(layer_sizes))


def count_params(layer_sizes):
    """Number of weights and biases of a network."""
    return count_weights(layer_sizes) + sum(layer_sizes[1:])


def aligned_empty(size, dtype):
    """Uninitialized vector that starts on a cache line, which full-width vector loads like."""
    dtype = np.dtype(dtype)
    raw = np.empty(size * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + size * dtype.itemsize].view(dtype)


def is_wide(layer_sizes):
    """Whether the parts of a team do every layer together, see `kernels.network`."""
    return count_weights(layer_sizes) >= WIDE_WEIGHTS


def is_small(layer_sizes, itemsize, rows):
    """Whether chunks of `rows` rows are so little work that a thread does it alone."""
    n_params = count_params(layer_sizes)
    if rows >= FEWEST_GROUPED_ROWS or n_params > SMALL_PARAMS:
        return False
    work = rows * n_params
    if work <= SMALL_SLICED_WORK or work > SMALL_WORK:
        return work <= SMALL_SLICED_WORK
    return not _best_slices(layer_sizes, itemsize, rows).n_slices


def chunk_rows(layer_sizes, itemsize, batch_rows):
    """Rows of a chunk, for batches of up to `batch_rows` rows.

    Chunks are of about the same size. Never a matter of threads, nor of vectors: sums over samples
    go chunk by chunk, so that chunks that changed with these would change the bits of the loss.
    """
    if not is_wide(layer_sizes):
        return min(batch_rows, LARGEST_GROUPED_CHUNK)
    bytes_per_row = 2 * sum(layer_sizes[1:]) * itemsize
    streamed = max(SMALLEST_CHUNK, min(LARGEST_CHUNK, CHUNK_BYTES // bytes_per_row))
    if batch_rows <= LARGEST_CHUNK and batch_rows * bytes_per_row <= LARGEST_CHUNK_BYTES:
        return batch_rows
    n_chunks = -(-batch_rows // streamed)
    return -(-batch_rows // n_chunks)


def group_count(layer_sizes, itemsize, rows):
    """Groups that a chunk of `rows` rows is cut into, 0 if it is not, nor if a layer is sliced."""
    if is_wide(layer_sizes):
        return 0
    if rows >= FEWEST_GROUPED_ROWS:
        return min(MOST_GROUPS, rows // GROUP_ROWS)
    n_values = 2 * rows * sum(layer_sizes[1:])
    n_groups = n_values // (OUTPUTS_TO_PARAMS * count_params(layer_sizes))
    if n_values * itemsize < GROUPED_BYTES or n_groups < 2:
        return 0
    return 0 if choose_slices(layer_sizes, itemsize, rows).n_slices else min(MOST_GROUPS, n_groups)


class Slices(NamedTuple):
    """Which layer's input is sliced, into how many slices of how many columns; none by default."""

    layer: int = 0
    n_slices: int = 0
    width: int = 0

    def columns(self, n_in, part, n_parts):
        """First and last + 1 of the columns that are one part's of `n_parts`."""
        first, stop = self.n_slices * part // n_parts, self.n_slices * (part + 1) // n_parts
        return min(first * self.width, n_in), min(stop * self.width, n_in)

    def larger_share(self, n_in, unit):
        """Share of the larger of two parts, where columns take as long as whole units of them."""
        middle = self.columns(n_in, 0, 2)[1] // unit
        units = -(-n_in // unit)
        return max(middle, units - middle) / units


NO_SLICES = Slices()


def choose_slices(layer_sizes, itemsize, rows):
    """Slices for chunks of `rows` rows of a network, see `kernels.network`.

    A matter of sizes alone, so that bits never depend on threads or the length of vectors.
    """
    if rows >= FEWEST_GROUPED_ROWS or is_small(layer_sizes, itemsize, rows):
        return NO_SLICES
    return _best_slices(layer_sizes, itemsize, rows)


def _best_slices(layer_sizes, itemsize, rows):
    """Slices with which a row takes two parts the least time."""
    line = LINE_BYTES // itemsize
    costs = [(_shared_cost(layer_sizes, rows), NO_SLICES)]
    # Columns of a layer below are whole cache lines, so that no vector is cut in two.
    for layer, (unit, least) in enumerate([(1, SLICE_COLUMNS), (line, SLICE_LINES * line)]):
        too_large = layer > 0 and count_weights(layer_sizes) >= MOST_SLICED_WEIGHTS
        if layer + 1 == len(layer_sizes) or too_large:
            break
        n_in = layer_sizes[layer]
        cuts = []
        for count in range(2, min(MOST_SLICES, n_in // least) + 1, 2):
            width = -(-n_in // (count * unit)) * unit
            cuts.append(Slices(layer, -(-n_in // width), width))
        if cuts:
            # Even shares first, then the most parts that may have one.
            slices = min(cuts, key=lambda cut: (cut.larger_share(n_in, unit), -cut.n_slices))
            costs.append((_sliced_cost(layer_sizes, rows, slices, unit), slices))
    return min(costs)[1]


def _shared_cost(layer_sizes, rows):
    """Multiply-adds, or their time, of one of two parts that share rows (or columns) of all layers.

    Of a row: half of the products; half of X comes from memory and half from the other part, as
    does half of all outputs and deltas, and of the weights: one part updates other rows of them
    than it reads.
    """
    weights = count_weights(layer_sizes)
    work = 3 * weights - layer_sizes[0] * layer_sizes[1]
    numbers = 2 * layer_sizes[0] + 2 * sum(layer_sizes[1:]) + weights / rows
    return (work + EXCHANGE_COST * numbers) / 2


def _sliced_cost(layer_sizes, rows, slices, unit):
    """What `_shared_cost` says of sharing rows, of slices whose columns come in whole units.

    Of a row: the larger share of the products below and of the slices; all above; X, or the
    larger share of it, from memory; half of the slices' products, and of the weights above, from
    the other part.
    """
    layer = slices.layer
    n_in, n_out = layer_sizes[layer : layer + 2]
    share = slices.larger_share(n_in, unit)
    split = 3 * count_weights(layer_sizes[: layer + 2]) - layer_sizes[0] * layer_sizes[1]
    repeated = 3 * count_weights(layer_sizes[layer + 1 :])
    numbers = layer_sizes[0] * (share if layer == 0 else 1) + n_out * slices.n_slices / 2
    numbers += count_weights(layer_sizes[layer + 1 :]) / (2 * rows)
    sums = SUM_COST * slices.n_slices * n_out
    return share * split + repeated + EXCHANGE_COST * numbers + sums


def chunk_table(n_rows, batch_rows, largest):
    """Cut `n_rows` into mini-batches of `batch_rows` and those into chunks of up to `largest`.

    Returns a table of `records.CHUNK`.
    """
    first_rows = np.arange(0, n_rows, batch_rows, dtype=np.int64)
    sizes = np.minimum(first_rows + batch_rows, n_rows) - first_rows
    counts = -(-sizes // largest)
    batch = np.repeat(np.arange(first_rows.size), counts)
    within = np.arange(batch.size) - np.repeat(np.cumsum(counts) - counts, counts)
    table = records.new(records.CHUNK, batch.size)
    table.start = first_rows[batch] + within * largest
    table.stop = np.minimum(table.start + largest, first_rows[batch] + sizes[batch])
    table.batch = sizes[batch]
    table.first = within == 0
    table.last = within == counts[batch] - 1
    return table


def task_table(layer_sizes, n_parts, depth, slices=NO_SLICES, leaves_out=False):
    """Share the rows of every layer's [W; b] out to `n_parts` parts of about equal work.

    Each task sums over `depth` samples. A part gets what belongs to its own slices: their rows of
    the sliced layer's W and their columns of the layer below. If columns of X may be left out, as
    `leaves_out` says, the first layer is shared out equally: none is left with all that remains.

    Returns
    -------
    tasks : table of `records.TASK`
    bounds : ndarray of int64, (n_parts + 1,)
        Part p owns tasks ``bounds[p] : bounds[p + 1]``.
    """
    elements = DEEP_TASK_ELEMENTS if depth >= DEEP_ROWS else TASK_ELEMENTS
    layers = list(enumerate(pairwise(layer_sizes)))
    shares: list[list[tuple[int, ...]]] = [[] for _ in range(n_parts)]
    groups = [layers]
    sharing = shares
    if slices.n_slices:
        above = slices.layer + 1
        groups = [layers[above:]]
        if count_params(layer_sizes[above:]) < FEWEST_SHARED:
            sharing = shares[:1]
        for part, share in enumerate(shares):
            k0, k1 = slices.columns(layer_sizes[slices.layer], part, n_parts)
            share += _slice_tasks(layer_sizes, elements, slices, k0, k1)
    elif leaves_out:
        groups = [layers[:1], layers[1:]]
    for group in groups:
        _share_out(group, sharing, elements, depth)
    bounds = np.cumsum([0, *map(len, shares)], dtype=np.int64)
    tasks = [task for share in shares for task in share]
    return np.array(tasks, records.TASK).view(np.recarray), bounds


def _share_out(layers, shares, elements, depth):
    """Add to each part's share of tasks its own of these layers, which are numbered."""
    more_columns, more_rows = (ROW_COLUMNS, BIAS_ROWS - 1) if depth >= DEEP_ROWS else (0, 0)

    def cost(n_rows, has_bias, n_out):
        return (n_rows + (more_rows if has_bias else 0)) * (n_out + more_columns)

    total = sum(cost(n_in + 1, True, n_out) for _, (n_in, n_out) in layers)
    done = part = 0
    for layer, (n_in, n_out) in layers:
        most = _task_rows(elements, n_in, n_out)
        row = 0
        while row <= n_in:
            quota = total * (part + 1) / len(shares) - done
            if quota <= 0 and part < len(shares) - 1:
                part += 1
                continue
            # Whole tiles, but never short of a row of progress.
            wanted = TALL * max(1, round(quota / (n_out + more_columns) / TALL))
            stop = min(n_in + 1, row + min(most, wanted))
            shares[part].append((layer, row, stop, 0, n_in))
            done += cost(stop - row, stop > n_in, n_out)
            row = stop


def _slice_tasks(layer_sizes, elements, slices, k0, k1):
    """Tasks of a part whose slices have columns ``k0 : k1``; the bias goes with the last slice."""
    tasks: list[tuple[int, ...]] = []
    if k0 == k1:
        return tasks
    n_in, n_out = layer_sizes[slices.layer : slices.layer + 2]
    most = _task_rows(elements, n_in, n_out)
    # Slices of X are copied each to a matrix of its own, those of a layer below to one of the part.
    step = slices.width if slices.layer == 0 else k1 - k0
    for k in range(k0, k1, step):
        stop = min(k + step, k1)
        end = stop + 1 if stop == n_in else stop
        tasks += [(slices.layer, r, min(r + most, end), k, stop) for r in range(k, end, most)]
    if slices.layer > 0:
        end = layer_sizes[0] + 1
        most = _task_rows(elements, end - 1, k1 - k0)
        tasks += [(0, r, min(r + most, end), k0, k1) for r in range(0, end, most)]
    return tasks


def _task_rows(elements, n_in, n_out):
    """The most rows of [W; b] that one task has, whole tiles."""
    return TALL * max(1, min(max(TASK_ROWS, elements // n_out), n_in + 1) // TALL)


def row_gap(n, itemsize):
    """Elements to leave free after a row of `n`: a vector where rows would be pages."""
    return VECTOR_BYTES // itemsize if are_pages(n * itemsize) else 0


# Rows of coefficients of an update: one for all parameters, and one for each kind with a factor.
N_KINDS = 1 + len(codes.KINDS)


class Memory:
    """Counts out the elements of one buffer.

    Parameters
    ----------
    unit : int
        Whatever is reserved begins at a multiple of so many elements.

    Attributes
    ----------
    size : int
        Elements reserved so far.
    """

    def __init__(self, unit):
        self.unit = unit
        self.size = 0

    def reserve(self, n):
        """Reserve room for `n` elements; return where it begins."""
        start = self.size
        self.size += -(-n // self.unit) * self.unit
        return start


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

    Attributes
    ----------
    small, narrow : bool
        Whether `kernels.small` has such a chunk, and whether it may evaluate it.
    leaves_out : bool
        Whether columns of X may be left out, for which the plan needs `empty_columns.addresses`.
    """

    def __init__(self, layer_sizes, dtype, *, rows, n_parts, n_target, gather=False, slopes=False):
        dtype = np.dtype(dtype)
        self.rows, self.n_parts = rows, n_parts
        self._sizes, self._itemsize = layer_sizes, dtype.itemsize
        self._n_params = count_params(layer_sizes)
        self._choose_sharing()
        self.leaves_out = gather and self._may_leave_out()
        self.team = task_table(layer_sizes, n_parts, rows, self._slices, self.leaves_out)
        self.alone = task_table(layer_sizes, 1, rows, self._slices)
        self._choose_gaps()
        self._choose_rows(n_target)
        self.plans = records.new(records.PLAN, 1)
        self.plan = self.plans[0]
        self.plan.gather = gather
        self.plan.n_target = n_target
        # A chain of layers is no program.
        self.steps, self.blocks = records.new(records.STEP, 0), records.new(records.BLOCK, 0)
        self.cuts = np.empty(0, np.int64)
        self._plan_choices()
        memory = Memory(2 * VECTOR_BYTES // dtype.itemsize)
        self._plan_shared(memory, gather, slopes)
        self._plan_scratch(memory, n_target)
        n_elements = self.plan.scratch + n_parts * self.plan.scratch_size
        self.buffer = aligned_empty(int(n_elements), dtype)

    def _choose_sharing(self):
        """Choose how parts share the work of a chunk, see `kernels.network`."""
        self._n_groups = group_count(self._sizes, self._itemsize, self.rows)
        self._slices = choose_slices(self._sizes, self._itemsize, self.rows)
        sliced = self._slices.n_slices > 0
        self._together = is_wide(self._sizes) and not sliced
        self.narrow = not self._together and not sliced
        self.small = is_small(self._sizes, self._itemsize, self.rows)

    def _may_leave_out(self):
        """Whether columns of rows that are copied may be left out, see `kernels.empty_columns`."""
        slices_input = self._slices.n_slices > 0 and self._slices.layer == 0
        return (
            (is_wide(self._sizes) or slices_input)
            and self._sizes[0] >= FEWEST_COLUMNS
            and self.rows >= FEWEST_ROWS
            and self._sizes[1] > VECTOR_BYTES // self._itemsize
        )

    def _choose_gaps(self):
        """Where parts take all rows together, rows of hidden layers and of X have gaps."""
        gaps = [row_gap(n, self._itemsize) if self._together else 0 for n in self._sizes]
        gaps[-1] = 0
        self._input_gap = gaps[0]
        self.strides = [n + gap for n, gap in zip(self._sizes[1:], gaps[1:], strict=True)]

    def _choose_rows(self, n_target):
        """Choose the rows of a block, those whose loss is taken at a time, and the buffers'."""
        widths = self._sizes[1:]
        self._block_rows = self._loss_rows = self.rows
        if not self._together and not self.small:
            n_values = 2 * sum(widths)
            fewest = FEWEST_BLOCK_ROWS
            if n_values * TALL >= self._n_params:
                fewest = min(fewest, TALL)
            in_cache = BLOCK_BYTES // (n_values * self._itemsize) // TALL * TALL
            self._block_rows = min(self.rows, max(fewest, in_cache))
        if not self.small:
            self._loss_rows = min(self.rows, LOSS_ROWS, max(1, LOSS_ELEMENTS // widths[-1]))
            if n_target * self._itemsize >= PAGE_BYTES:
                self._loss_rows = 1  # a single row of the target is not copied
        # A group passes its blocks through one buffer of each part.
        self._buffer_rows = self.n_parts * self._block_rows if self._n_groups else self.rows

    def _plan_choices(self):
        """Enter in the plan what was chosen."""
        plan, slices = self.plan, self._slices
        plan.together = self._together
        plan.n_groups = self._n_groups
        plan.n_slices = slices.n_slices
        plan.slice_width = slices.width
        plan.sliced_layer = slices.layer
        if slices.n_slices:
            plan.upper_start = count_params(self._sizes[: slices.layer + 2])
        plan.block_rows = self._block_rows
        plan.loss_rows = self._loss_rows
        plan.buffer_rows = self._buffer_rows
        plan.input_gap = self._input_gap

    def _plan_shared(self, memory, gather, slopes):
        """Place what parts share, and with slices what each has to itself."""
        plan, slices, buffer = self.plan, self._slices, self._buffer_rows
        copies = gather or (slices.n_slices and slices.layer == 0)
        n_layers, n_outputs = len(self._sizes) - 1, buffer * sum(self.strides)
        plan.input = memory.reserve(buffer * (self._sizes[0] + self._input_gap) if copies else 0)
        plan.output = memory.reserve(n_outputs)
        plan.delta = memory.reserve(n_outputs)
        plan.slope = memory.reserve(n_outputs) if slopes else plan.delta
        plan.sample_loss = memory.reserve(self.rows)
        if slices.n_slices:
            if slices.layer > 0:
                plan.own_columns = memory.reserve(5 * count_params(self._sizes[:2]))
            memory.reserve(self._page)
            plan.own_size = own_size = memory.size
            memory.reserve((self.n_parts - 1) * own_size)
            n_product = buffer * self._sizes[slices.layer + 1]
            plan.slice_product = memory.reserve(2 * slices.n_slices * n_product)
            plan.upper = memory.reserve(2 * count_params(self._sizes[slices.layer + 1 :]))
        n_constants = codes.ACTIVATION_PARAMETERS + n_layers + self._sizes[-1]
        plan.constants = memory.reserve(n_constants)
        plan.group_gradient = memory.reserve(self._n_groups * self._n_params)

    def _plan_scratch(self, memory, n_target):
        """Place the scratch of the parts, and in it what each of them needs."""
        plan, sizes = self.plan, self._sizes
        task_rows, task_elements = self._largest_task()
        plan.scratch = start = memory.size
        memory.reserve(self._product_scratch(task_rows, memory.unit))
        plan.loss_terms = memory.reserve(self._loss_rows * sizes[-1]) - start
        plan.target = memory.reserve(self._loss_rows * n_target) - start
        plan.task = memory.reserve(task_elements) - start
        plan.coefficients = memory.reserve(N_KINDS * codes.N_COEFFICIENTS) - start
        plan.used_columns = memory.reserve(sizes[0] if self.leaves_out else 0) - start
        plan.column_runs = memory.reserve(sizes[0] if self.leaves_out else 0) - start
        # Of a slice of X all columns of its weights, else those of a panel.
        n_packed = min(sizes[1], memory.unit)
        if self._slices.n_slices and self._slices.layer == 0:
            n_packed = sizes[1]
        plan.packed = memory.reserve(sizes[0] * n_packed if self.leaves_out else 0) - start
        plan.scratch_size = memory.size - start + self._page

    @property
    def _page(self):
        """Elements that keep parts from sharing a cache line or its prefetched neighbour."""
        return PAGE_BYTES // self._itemsize

    def _largest_task(self):
        """The most rows of [W; b] of a task, and the most elements of a gradient that it forms."""
        tasks = [*self.team[0].tolist(), *self.alone[0].tolist()]
        most_rows = max(row_1 - row_0 for _, row_0, row_1, *_ in tasks)
        if self.small:  # the gradient of all layers takes the place of one task's
            return most_rows, self._n_params
        most_elements = max(
            (row_1 - row_0) * (k1 - k0 if layer < self._slices.layer else self._sizes[layer + 1])
            for layer, row_0, row_1, k0, k1 in tasks
        )
        return most_rows, most_elements

    def _product_scratch(self, task_rows, lanes):
        """Elements that products need: of gradients, and of the passes if they copy their rows."""
        sizes = self._sizes
        rows = max(sizes) if self._n_groups else task_rows
        if any(are_pages(size * self._itemsize) for size in sizes):
            rows = max(rows, self._block_rows)
        return scratch_size(rows, max(*sizes, self.rows), lanes)

    def padded(self, layout):
        """Return the layout of a network with the strides that its rows have here."""
        padded = layout.copy()
        padded.stride = self.strides
        padded.width_offset = np.cumsum([0, *self.strides[:-1]])
        return padded
