"""A network as a program: the steps that a row goes through, and the parameters they have.

`building` makes it of the pieces that a network is described by, without a number of rows: where
things lie in memory is planned in `program_workspace`. Each step names a kernel of
`kernels.stages`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.records import LAYER, new


class Parameter(NamedTuple):
    """Some numbers of theta that go by one name.

    `kind` is one of those that `factors` of an optimizer know; for `start_rule`, how the numbers
    are drawn, see `initialization.draw_parameter`.
    """

    name: str
    kind: str
    start: int
    shape: tuple[int, ...]
    start_rule: tuple
    layer: int  # -1 for those of the inputs


class Statistic(NamedTuple):
    """Numbers that training measures, which are no part of theta; `first` is what they begin as."""

    name: str
    start: int
    size: int
    first: float


class Block(NamedTuple):
    """Rows of parameters that one gradient is formed of: first those that decay, then others."""

    start: int
    columns: int
    n_weight_rows: int
    n_bias_rows: int
    weight_kind: str
    bias_kind: str
    penalized: bool
    is_table: bool  # its gradient is formed by tasks, from what a step keeps


class Value(NamedTuple):
    """What a step gives or takes: slots of the values and their deltas, and the columns.

    A slot is -1 where there is none, as for the deltas of what has no parameters below.
    """

    slot: int
    delta: int
    n_columns: int
    factor: int


@dataclass
class Step:
    """One step; fields are those of `records.STEP`, with numbers of slots for places in memory."""

    stage: str
    n_in: int
    n_out: int
    factor: int = 1
    code: int = 0
    separate: int = 0
    input: int = -1
    output: int = -1
    input_delta: int = -1
    output_delta: int = -1
    saved: int = -1
    lengths: int = -1
    second: int = -1
    weights: int = -1
    bias: int = -1
    extra: int = -1
    key: int = 0
    goes_back: int = codes.STOPS
    option: int = 0
    numbers: tuple[float, ...] = ()  # the step's own, kept in the workspace
    n_kept: int = 0  # elements for each row of a chunk that the tasks read
    n_kept_of_block: int = 0  # elements for each block of a chunk
    n_scratch: int = 0  # elements at the end of a part's scratch, that no product destroys
    kept_with: int = -1  # number of the step whose memory of this kind it has too
    statistics: int = 0  # the first of the network's that are its own


@dataclass
class Program:
    """Steps and parameters of a network.

    Attributes
    ----------
    steps : list of Step
    parameters : list of Parameter
        In the order of theta.
    blocks : list of Block
    slots : list of int
        Elements that each slot of a block's memory has for a row.
    cuts : list of int
        Steps before which all rows of a mini-batch have to be through those before.
    layers : list of pairs
        Where the weights and the biases of each layer are: see `strided_view`.
    products : list of (int, int)
        After how many steps each layer's product is done, before biases of members are added, and
        how many of its inputs are not 0 in a row, where some are one-hot.
    hidden : list of int
        After how many steps each hidden layer's outputs are there.
    factor : int
        Outputs of a row.
    repeats_target : bool
        Whether they all have the same target.
    n_inputs, n_outputs : int
        Columns of X, or of one step of time, and of one output.
    n_times : int
        Steps of time that a row of X consists of, 0 where it is none.
    lengths : int
        Slot of the number of them that each row has, which is X's last column, or -1.
    by_length : bool
        Whether a row's outputs count up to its length.
    statistics : list of Statistic
    flops : float
        Of a row's products, forward.
    """

    n_inputs: int
    n_outputs: int = 0
    steps: list = field(default_factory=list)
    parameters: list = field(default_factory=list)
    blocks: list = field(default_factory=list)
    slots: list = field(default_factory=list)
    cuts: list = field(default_factory=list)
    layers: list = field(default_factory=list)
    products: list = field(default_factory=list)
    hidden: list = field(default_factory=list)
    statistics: list = field(default_factory=list)
    factor: int = 1
    repeats_target: bool = False
    n_times: int = 0
    lengths: int = -1
    by_length: bool = False
    layer: int = -1  # that is being built
    n_params: int = 0
    flops: float = 0.0
    output_is_a_step: bool = False  # whether the last step is the output activation

    def slot(self, width):
        """Room for `width` elements of each row."""
        self.slots.append(width)
        return len(self.slots) - 1

    def value(self, n_columns, factor=1, with_delta=True):
        """Room for what a step gives."""
        slot = self.slot(n_columns * factor)
        delta = self.slot(n_columns * factor) if with_delta else -1
        return Value(slot, delta, n_columns, factor)

    def parameter(self, name, kind, *shape, rule=("constant", 0.0)):
        """Take the next numbers of theta; return where they start."""
        start = self.n_params
        self.parameters.append(Parameter(name, kind, start, shape, rule, self.layer))
        self.n_params += int(np.prod(shape))
        return start

    def statistic(self, name, size, first):
        """Take the next of the network's statistics; return where they start."""
        start = self.n_statistics
        self.statistics.append(Statistic(name, start, size, first))
        return start

    @property
    def n_statistics(self):
        """Numbers of all statistics."""
        return sum(one.size for one in self.statistics)

    def first_statistics(self, dtype):
        """What the statistics begin as, one vector."""
        first = np.empty(self.n_statistics, dtype)
        for one in self.statistics:
            first[one.start : one.start + one.size] = one.first
        return first

    def block(
        self, start, columns, n_weight_rows, n_bias_rows, kinds, *, penalized=False, table=False
    ):
        """Say how a gradient is formed; `kinds` are those of the weights' and biases' rows.

        That of a `table` is formed by tasks, from what the step with these weights keeps.
        """
        weight_kind, bias_kind = kinds
        self.blocks.append(
            Block(
                start,
                columns,
                n_weight_rows,
                n_bias_rows,
                weight_kind,
                bias_kind,
                penalized,
                table,
            )
        )

    def add(self, stage, given, result, **fields):
        """Append a step from one value to another, or in place; return the result."""
        step = Step(
            stage,
            given.n_columns,
            result.n_columns,
            factor=given.factor,
            input=given.slot,
            output=result.slot,
            input_delta=given.delta,
            output_delta=result.delta,
            goes_back=codes.OVERWRITES if given.delta >= 0 else codes.STOPS,
        )
        for name, value in fields.items():
            setattr(step, name, value)
        self.steps.append(step)
        return result

    def layout(self):
        """The blocks of parameters as the table that kernels read."""
        begun = {step.weights for step in self.steps if step.stage == "dense" and step.option}
        gathers = {step.weights: i for i, step in enumerate(self.steps, 1) if step.n_kept}
        table = new(LAYER, len(self.blocks))
        for record, block in zip(table, self.blocks, strict=True):
            record.n_in, record.n_out = block.n_weight_rows, block.columns
            record.w_offset = block.start
            record.penalized = block.penalized
            record.gathers = gathers[block.start] if block.is_table else 0
            record.clears = not (block.is_table or block.start in begun)
        return table


class Sequences(NamedTuple):
    """What the rows of X are, where they are sequences in time."""

    n_steps: int
    has_lengths: bool  # whether each row's length follows its steps
    by_step: bool  # whether each step has a target, else the last one alone


def weights_kind(layer):
    """The kind, of `codes.KINDS`, of the weights of a layer."""
    return "first_weights" if layer == 0 else "weights"


def has_parameters(activation):
    """Whether an activation has trainable numbers."""
    return activation == "prelu" or activation.startswith("parametric(")


def plain_activation(activation):
    """The name f of "parametric(f)", or that of another activation as it is."""
    return activation.removeprefix("parametric(").removesuffix(")")


def strided_view(theta, start, shape, strides):
    """View of some numbers of theta that need not lie side by side; strides count elements."""
    strides = [stride * theta.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(theta[start:], shape, strides)
