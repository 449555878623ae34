"""The memory and the tables of a program, sized once for a network and its data."""

import numpy as np

from fastmlp.kernels import codes, program, records
from fastmlp.kernels.activations import rare_addresses
from fastmlp.kernels.gemm import scratch_size
from fastmlp.kernels.simd import VECTOR_BYTES
from fastmlp.workspace import N_KINDS, Memory, aligned_empty

# Rows that are whole tiles on every machine. Not those of this one: of members and of steps of time
# the order in which a gradient is summed goes by blocks, and bits must not depend on the machine.
TILE_ROWS = 12

# Bytes of a block's values and deltas that stay in the second level of a core's cache, and the
# fewest rows of a product that use the tiles well.
BLOCK_BYTES = 1 << 20
FEWEST_BLOCK_ROWS = 24

# Rows of a group: adding up its gradient takes some 1/20 of forming it. Few rows are two groups,
# for two threads. And the most groups of a chunk, which bound the memory.
GROUP_ROWS = 64
FEWEST_GROUP_ROWS = 16
MOST_GROUPS = 8

# Rows of a chunk, where a mini-batch need not be one.
LARGEST_CHUNK = 4096

# Fields of a step that its record has as they are, and those that are numbers of slots.
OWN_FIELDS = (
    "n_in",
    "n_out",
    "factor",
    "code",
    "separate",
    "weights",
    "bias",
    "extra",
    "key",
    "goes_back",
    "option",
)
SLOT_FIELDS = ("input", "output", "input_delta", "output_delta", "saved", "second")

# Elements of the gradient that one task adds up.
TASK_ELEMENTS = 1 << 13

# And of a table's: each task looks through the codes of all rows.
TABLE_TASK_ELEMENTS = 1 << 15


def chunk_rows(description, batch_rows, is_update):
    """Rows of a chunk of mini-batches of up to `batch_rows` rows."""
    if description.cuts and is_update:
        return batch_rows
    n_chunks = -(-batch_rows // LARGEST_CHUNK)
    return -(-batch_rows // n_chunks)


def group_count(rows):
    """Groups that a chunk of `rows` rows is cut into: a matter of sizes alone."""
    if rows < 2 * GROUP_ROWS:
        return 2 if rows >= 2 * FEWEST_GROUP_ROWS else 1
    return min(MOST_GROUPS, rows // GROUP_ROWS)


class ProgramWorkspace:
    """Scratch memory and tables for one program, shared by the calls of one fit.

    Parameters
    ----------
    description : fastmlp.program.Program
    dtype : dtype
    rows : int
        Largest number of rows in a chunk.
    n_parts : int
        Parts of a parallel region.
    n_target : int
        Columns of the target of one output.
    gather : bool
        Whether rows of X are taken in a given order.
    is_fused : bool, default False
        Whether the loss stands for the output activation.
    goes_back : bool, default True
        False to predict only.
    """

    small = narrow = leaves_out = False

    def __init__(
        self,
        description,
        dtype,
        *,
        rows,
        n_parts=1,
        n_target=1,
        gather=False,
        is_fused=False,
        goes_back=True,
    ):
        dtype = np.dtype(dtype)
        self._memory = Memory(2 * VECTOR_BYTES // dtype.itemsize)
        self.rows, self.n_parts, self.dtype = rows, n_parts, dtype
        self.description = description
        self._goes_back = goes_back
        n_groups = group_count(rows) if goes_back else 1
        group_rows = -(-rows // n_groups)
        block = self._block_rows(group_rows)
        self.plans = records.new(records.PLAN, 1)
        self.plan = plan = self.plans[0]
        plan.gather, plan.n_target, plan.n_groups = gather, n_target, n_groups
        plan.block_rows, plan.n_blocks = block, -(-group_rows // block)
        plan.factor, plan.repeats_target = description.factor, description.repeats_target
        plan.n_inputs = description.n_inputs
        plan.n_times, plan.by_length = description.n_times, description.by_length
        steps = description.steps
        self._steps = steps[:-1] if is_fused and description.output_is_a_step else steps
        plan.n_steps, plan.n_cuts = len(self._steps), len(description.cuts) if goes_back else 0
        self.team = task_table(description.blocks, n_parts)
        self.alone = task_table(description.blocks, 1)
        self._reserve_memory()
        self._reserve_scratch()
        self.buffer = aligned_empty(int(plan.scratch + n_parts * plan.scratch_size), dtype)
        self.steps = self._step_table()
        self.blocks = records.new(records.BLOCK, n_parts)
        self.cuts = np.array(description.cuts, np.int64)

    def _block_rows(self, group_rows):
        """Rows of a block: whole tiles, whose values and deltas stay in a core's cache."""
        bytes_per_row = sum(self.description.slots) * self.dtype.itemsize
        # Of a recurrent network most products have the rows of one step of time.
        times = 1 if self.description.n_times else self.description.factor
        unit = max(1, TILE_ROWS // times)
        in_cache = BLOCK_BYTES // bytes_per_row // unit * unit
        return min(group_rows, max(-(-FEWEST_BLOCK_ROWS // times), in_cache))

    def _reserve_memory(self):
        """Places of constants, losses, gradients and of what blocks have of their own."""
        plan, description, reserve = self.plan, self.description, self._memory.reserve
        n_constants = codes.ACTIVATION_PARAMETERS + len(description.blocks)
        plan.constants = reserve(n_constants + description.n_outputs)
        self._constants = [reserve(max(1, len(step.numbers))) for step in self._steps]
        plan.statistics = reserve(description.n_statistics)
        plan.sample_loss = reserve(self.rows)
        plan.group_gradient = reserve(plan.n_groups * description.n_params * self._goes_back)
        n_blocks = plan.n_groups * plan.n_blocks
        self._kept = [
            reserve(step.n_kept * self.rows + step.n_kept_of_block * n_blocks)
            for step in self._steps
        ]
        for number, step in enumerate(self._steps):
            if step.kept_with >= 0:
                self._kept[number] = self._kept[step.kept_with]
        before = self._memory.size
        self._slots = [reserve(width * plan.block_rows) - before for width in description.slots]
        # A page apart, so that no two parts share a cache line or its prefetched neighbour.
        page = 4096 // self.dtype.itemsize
        reserve(page)
        plan.memory, plan.memory_size = before, self._memory.size - before
        own = n_blocks if plan.n_cuts else self.n_parts
        # What begins the memory and stays: constants and statistics.
        self.n_fixed = int(plan.sample_loss)
        reserve((own - 1) * plan.memory_size)
        plan.input = self._slots[0]
        plan.lengths = self._slots[description.lengths] if description.lengths >= 0 else -1

    def _reserve_scratch(self):
        """Places of each part's scratch."""
        plan, description = self.plan, self.description
        rows, n_target, reserve = plan.block_rows, plan.n_target, self._memory.reserve
        widest = max(max(step.n_in, step.n_out) for step in self._steps)
        most_rows = max(rows * max(step.factor for step in self._steps), widest + 1)
        plan.scratch = self._memory.size

        def place(n):
            return reserve(n) - plan.scratch

        reserve(scratch_size(most_rows, max(widest, most_rows), self._memory.unit))
        reserve(max(step.n_scratch for step in self._steps))
        plan.loss_terms = place(rows * description.n_outputs)
        plan.target = place(rows * n_target * description.factor)
        plan.own_target = place(rows * n_target)
        largest_task = max((t.row_1 - t.row_0) * self._columns(t.layer) for t in self.alone[0])
        largest_team_task = max((t.row_1 - t.row_0) * self._columns(t.layer) for t in self.team[0])
        plan.task = place(max(largest_task, largest_team_task, rows))
        plan.coefficients = place(N_KINDS * codes.N_COEFFICIENTS)
        page = 4096 // self.dtype.itemsize
        plan.scratch_size = self._memory.size - plan.scratch + page

    def _columns(self, block):
        return self.description.blocks[block].columns

    def _step_table(self):
        """The steps as kernels read them."""
        table = records.new(records.STEP, len(self._steps))
        for number, (record, step) in enumerate(zip(table, self._steps, strict=True)):
            record.at, record.gather_at = program.stage_addresses(step.stage, self.dtype)
            record.rare_forward_at, record.rare_backward_at = rare_addresses(
                (step.code,), self.dtype
            )
            for name in OWN_FIELDS:
                setattr(record, name, getattr(step, name))
            for name in SLOT_FIELDS:
                slot = getattr(step, name)
                setattr(record, name, self._slots[slot] if slot >= 0 else 0)
            record.lengths = self._slots[step.lengths] if step.lengths >= 0 else -1
            record.kept, record.constant = self._kept[number], self._constants[number]
            record.statistics = self.plan.statistics + step.statistics
            self.buffer[record.constant : record.constant + len(step.numbers)] = step.numbers
        return table

    def padded(self, layout):
        """Return the layout as it is: blocks of parameters have no strides."""
        return layout


def task_table(blocks, n_parts):
    """Share the rows of all blocks of parameters out to parts of about equal work.

    Returns
    -------
    tasks : table of `records.TASK`
    bounds : ndarray of int64, (n_parts + 1,)
        Part p owns tasks ``bounds[p] : bounds[p + 1]``.
    """
    tasks = []
    for number, block in enumerate(blocks):
        n_rows = block.n_weight_rows + block.n_bias_rows
        elements = TABLE_TASK_ELEMENTS if block.is_table else TASK_ELEMENTS
        step = max(1, elements // block.columns)
        tasks += [(number, row, min(row + step, n_rows), 0, 0) for row in range(0, n_rows, step)]
    work = np.cumsum([(stop - row) * blocks[number].columns for number, row, stop, *_ in tasks])
    quotas = work[-1] * np.arange(1, n_parts) / n_parts
    bounds = np.array([0, *np.searchsorted(work, quotas, side="right"), len(tasks)], np.int64)
    return np.array(tasks, records.TASK).view(np.recarray), bounds
