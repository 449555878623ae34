"""A network as a program: the steps that a row goes through, and the parameters they have.

Built from the pieces that a network is described by, without a number of rows: where things lie in
memory is planned in `program_workspace`. Each step names a kernel of `kernels.stages`.
"""

import functools
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastmlp.kernels import codes
from fastmlp.kernels.activations import KEPT_SLOPES
from fastmlp.kernels.records import LAYER, new
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
    lengths: int = -1
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
    n_scratch: int = 0  # elements at the end of a part's scratch, that no product destroys


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
        Columns of X, or of one step of time, and of one output.
    n_times : int
        Steps of time that a row of X consists of, 0 where it is none.
    lengths : int
        Slot of the number of them that each row has, which is X's last column, or -1.
    by_length : bool
        Whether a row's outputs count up to its length.
    n_statistics : int
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
    factor: int = 1
    repeats_target: bool = False
    n_times: int = 0
    lengths: int = -1
    by_length: bool = False
    n_params: int = 0
    n_statistics: int = 0
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


class Sequences(NamedTuple):
    """What the rows of X are, where they are sequences in time."""

    n_steps: int
    has_lengths: bool  # whether each row's length follows its steps
    by_step: bool  # whether each step has a target, else the last one alone


@functools.lru_cache(maxsize=32)
def build_recurrent(architecture, truncate, sequences):
    """The program of a recurrent network, unrolled for such sequences.

    Where its parameters lie does not depend on these. `truncate` is as of `fastmlp.RNN`.
    """
    sizes, n_steps = architecture.sizes, sequences.n_steps
    program = Program(n_inputs=sizes[0], n_outputs=sizes[-1], n_times=n_steps)
    x = Value(program.slot(n_steps * sizes[0]), -1, sizes[0], n_steps)
    if sequences.has_lengths:
        program.lengths = program.slot(1)
    top = len(sizes) - 2
    for layer in range(top):
        x = _recurrent(program, architecture, layer, x, truncate)
    if not sequences.by_step:
        last = program.value(x.n_columns)
        x = program.add("last_step", x, last, lengths=program.lengths)
    x = _dense(program, architecture, top, x)
    x = _activation(program, architecture, top, x)
    program.output_is_a_step = program.steps[-1].stage == "activation"
    program.factor = x.factor
    program.by_length = sequences.has_lengths and sequences.by_step
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


def _recurrent(program, architecture, layer, given, truncate):
    """A layer whose units also see what all of them gave one step of time before."""
    n_in, n_out, name = given.n_columns, architecture.sizes[layer + 1], architecture.names[layer]
    result = program.value(n_out, given.factor)
    W = program.parameter(f"weights[{layer}]", "weights", n_in, n_out, rule=("layer", name))
    program.parameter(f"recurrent[{layer}]", "weights", n_out, n_out, rule=("recurrent", name))
    b = program.parameter(f"biases[{layer}]", "bias", n_out)
    program.block(W, n_out, n_in + n_out, 1, ("weights", "bias"), penalized=True)
    program.layers.append(((W, (n_in, n_out), (n_out, 1)), (b, (n_out,), (1,))))
    program.flops += 2.0 * given.factor * (n_in + n_out) * n_out
    code, number = architecture.codes[layer], architecture.numbers[layer]
    return program.add(
        "recurrent",
        given,
        result,
        weights=W,
        bias=b,
        code=code,
        numbers=(number,),
        saved=program.slot(n_out * given.factor) if code in KEPT_SLOPES else result.delta,
        lengths=program.lengths,
        option=truncate or 0,
        n_scratch=n_out * n_out,
    )


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
    """Batch or layer norm."""
    return x


def _dropout(program, pieces, layer, x):
    """Dropout of a hidden layer's outputs."""
    return x


def _residual(program, pieces, layer, given, x):
    """The layer's input is added to its output."""
    return x
