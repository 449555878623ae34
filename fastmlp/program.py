"""A network as a program: the steps that a row goes through, and the parameters they have.

Built from the pieces that a network is described by, without a number of rows: where things lie in
memory is planned in `program_workspace`. Each step names a kernel of `kernels.stages`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.activations import KEPT_SLOPES
from fastmlp.kernels.records import LAYER, new
from fastmlp.kernels.stages.batch_norm import N_KEPT
from fastmlp.pieces import Pieces

# Activations whose way back does not read their output: it may be changed in place; and those that
# read its sign alone.
FREE_OUTPUT = (codes.IDENTITY, *KEPT_SLOPES)
BY_SIGN = (codes.RELU, codes.LEAKY_RELU)


class Parameter(NamedTuple):
    """Some numbers of theta that go by one name.

    `kind` is one of those that `factors` of an optimizer know; for `start_rule`, how the numbers
    are drawn, see `initialization.draw_parameter`.
    """

    name: str
    kind: str
    start: int
    shape: tuple[int, ...]
    start_rule: tuple = ("constant", 0.0)


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
    gathered_by: int  # number of the step that forms the gradient in tasks, from 1, or 0


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
    second: int = -1
    weights: int = -1
    bias: int = -1
    extra: int = -1
    key: int = 0
    goes_back: int = codes.STOPS
    option: int = 0
    numbers: tuple[float, ...] = ()  # the step's own, kept in the workspace
    gathers: bool = False  # the gradient of `weights` is formed by tasks
    n_kept: int = 0  # elements for each row of a chunk that the tasks read
    n_kept_of_block: int = 0  # elements for each block of a chunk
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
    factor : int
        Outputs of a row.
    repeats_target : bool
        Whether they all have the same target.
    n_inputs, n_outputs : int
        Columns of X, and of one output.
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
    statistics: list = field(default_factory=list)
    factor: int = 1
    repeats_target: bool = False
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
        self.parameters.append(Parameter(name, kind, start, shape, rule))
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

    def block(self, start, columns, n_weight_rows, n_bias_rows, kinds, *, penalized=False, step=0):
        """Say how a gradient is formed; `kinds` are those of the weights' and biases' rows."""
        self.blocks.append(
            Block(start, columns, n_weight_rows, n_bias_rows, *kinds, penalized, step)
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
        table = new(LAYER, len(self.blocks))
        for record, block in zip(table, self.blocks, strict=True):
            record.n_in, record.n_out = block.n_weight_rows, block.columns
            record.w_offset = block.start
            record.penalized, record.gathers = block.penalized, block.gathered_by
        return table


class Architecture(NamedTuple):
    """What a program is built from."""

    sizes: tuple[int, ...]
    names: tuple[str, ...]  # of each layer's activation
    codes: tuple[int, ...]
    numbers: tuple[float, ...]  # parameters of the activations
    pieces: Pieces


def build(architecture):
    """The program of a network."""
    sizes, pieces = architecture.sizes, architecture.pieces
    program = Program(n_inputs=sizes[0], n_outputs=sizes[-1])
    x = Value(program.slot(sizes[0]), -1, sizes[0], 1)
    x = _input_scale(program, pieces, x)
    x = _input_dropout(program, pieces, x)
    x = _members(program, pieces, x)
    top = len(sizes) - 2
    for layer in range(top + 1):
        given = x
        x = _dense(program, architecture, layer, given)
        if layer < top:
            x = _norm(program, pieces, layer, x)
        x = _activation(program, architecture, layer, x)
        if layer < top:
            x = _dropout(program, pieces, layer, x)
            x = _residual(program, pieces, layer, given, x)
    program.output_is_a_step = program.steps[-1].stage == "activation"
    program.factor = x.factor
    program.repeats_target = pieces.members > 1
    return program


def strided_view(theta, start, shape, strides):
    """View of some numbers of theta that need not lie side by side; strides count elements."""
    strides = [stride * theta.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(theta[start:], shape, strides)


def _dense(program, architecture, layer, given):
    """The product of a layer. One that is tied to an earlier one has its W."""
    n_in, n_out = given.n_columns, architecture.sizes[layer + 1]
    rule = ("layer", architecture.names[layer])
    result = program.value(n_out, given.factor)
    tied = dict(architecture.pieces.tied).get(layer + 1)
    if tied is None:
        W = program.parameter(f"weights[{layer}]", "weights", n_in, n_out, rule=rule)
        b = program.parameter(f"biases[{layer}]", "bias", n_out)
        program.block(W, n_out, n_in, 1, ("weights", "bias"), penalized=True)
    else:
        W = program.layers[tied - 1][0][0]
        b = program.parameter(f"biases[{layer}]", "bias", n_out)
        program.block(b, n_out, 0, 1, ("weights", "bias"))
    program.layers.append(((W, (n_in, n_out), (n_out, 1)), (b, (n_out,), (1,))))
    program.flops += 2.0 * given.factor * n_in * n_out
    return program.add("dense", given, result, weights=W, bias=b)


def _activation(program, architecture, layer, x):
    """The activation of a layer, in place."""
    code, number = architecture.codes[layer], architecture.numbers[layer]
    if code == codes.IDENTITY:
        return x
    saved = program.slot(x.n_columns * x.factor) if code in KEPT_SLOPES else x.delta
    return program.add("activation", x, x, code=code, numbers=(number,), saved=saved)


def _input_scale(program, pieces, x):
    """One factor for each input column."""
    return x


def _input_dropout(program, pieces, x):
    """Dropout of the inputs."""
    return x


def _members(program, pieces, x):
    """The inputs of all members."""
    return x


def _norm(program, pieces, layer, x):
    """Batch or layer norm. The values that went in stay, normed, for the way back."""
    kind, n = pieces.norm[layer], x.n_columns
    if kind is None:
        return x
    gamma = program.parameter(f"norm_scale[{layer}]", "norm", n, rule=("constant", 1.0))
    beta = program.parameter(f"norm_shift[{layer}]", "norm", n)
    program.block(gamma, n, 0, 2, ("weights", "norm"))
    result = Value(program.slot(n * x.factor), x.delta, n, x.factor)
    if kind == "layer":
        saved = program.slot(x.factor)
        return program.add("layer_norm", x, result, weights=gamma, bias=beta, saved=saved)
    mean = program.statistic(f"norm_mean[{layer}]", n, 0.0)
    program.statistic(f"norm_variance[{layer}]", n, 1.0)
    measuring = len(program.steps)
    program.add("batch_statistics", x, x, weights=gamma, n_kept_of_block=N_KEPT * n)
    program.cuts.append(measuring + 1)
    return program.add(
        "batch_norm", x, result, weights=gamma, bias=beta, statistics=mean, kept_with=measuring
    )


def _dropout(program, pieces, layer, x):
    """Dropout of a hidden layer's outputs."""
    return x


def _residual(program, pieces, layer, given, x):
    """The layer's input is added to its output, in place unless the activation's way back reads it.

    The residual step is the first on the way back to reach the deltas of the layer's input, which
    it overwrites. Whatever else read that input adds to them.
    """
    if not pieces.residual[layer]:
        return x
    if given.delta >= 0:
        for step in program.steps:
            if step.input_delta == given.delta and step.output_delta != given.delta:
                step.goes_back = codes.ADDS
    is_read = any(
        step.stage == "activation" and step.output == x.slot and step.code not in FREE_OUTPUT
        for step in program.steps
    )
    slot = program.slot(x.n_columns * x.factor) if is_read else x.slot
    return program.add("residual", given, x._replace(slot=slot), second=x.slot)
