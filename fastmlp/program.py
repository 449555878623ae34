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
from fastmlp.kernels.stages.parametric import FOLLOWS
from fastmlp.pieces import Pieces

# Activations whose way back does not read their output: it may be changed in place; and those that
# read its sign alone.
FREE_OUTPUT = (codes.IDENTITY, *KEPT_SLOPES)
BY_SIGN = (codes.RELU, codes.LEAKY_RELU)

# Activations that are the same line to either side of 0, or another.
RECTIFIERS = (codes.IDENTITY, codes.RELU, codes.LEAKY_RELU)

ONE = ("constant", 1.0)

# Where the number that prelu has for each unit starts, in the paper.
PRELU_START = 0.25


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


def _dense(program, architecture, layer, given):
    """The product of a layer. One that is tied to an earlier one has its W.

    With members a hidden layer's factors and biases are each one's own, and so is all of the
    output layer.
    """
    n_in, n_out = given.n_columns, architecture.sizes[layer + 1]
    k = architecture.pieces.members
    if k > 1 and layer == len(architecture.sizes) - 2:
        return _member_outputs(program, architecture, layer, given)
    if k > 1 and layer > 0:
        given = _scale_members(program, layer, given)
    tied = dict(architecture.pieces.tied).get(layer + 1)
    if tied is None:
        rule = ("layer", plain_activation(architecture.names[layer]))
        W = program.parameter(f"weights[{layer}]", "weights", n_in, n_out, rule=rule)
    else:
        W = program.layers[tied - 1][0][0]
    if k > 1:
        if tied is None:
            program.block(W, n_out, n_in, 0, ("weights", "bias"), penalized=True)
        S = program.parameter(f"member_outputs[{layer}]", "member", k, n_out, rule=ONE)
        b = program.parameter(f"biases[{layer}]", "bias", k, n_out)
        program.block(S, n_out, k, k, ("member", "bias"))
        at_bias = (b, (k, n_out), (n_out, 1))
    else:
        b = program.parameter(f"biases[{layer}]", "bias", n_out)
        if tied is None:
            program.block(W, n_out, n_in, 1, ("weights", "bias"), penalized=True)
        else:
            program.block(b, n_out, 0, 1, ("weights", "bias"))
        at_bias = (b, (n_out,), (1,))
    program.layers.append(((W, (n_in, n_out), (n_out, 1)), at_bias))
    program.flops += 2.0 * given.factor * n_in * n_out
    result = program.value(n_out, given.factor)
    program.add("dense", given, result, weights=W, bias=-1 if k > 1 else b)
    if k == 1:
        return result
    # The way back needs what goes in.
    scaled = program.value(n_out, k, with_delta=False)._replace(delta=result.delta)
    code, number = architecture.codes[layer], architecture.numbers[layer]
    slope = 1.0
    if _is_in_members(architecture, layer):
        slope = {codes.IDENTITY: 1.0, codes.RELU: 0.0}.get(code, number)
    return program.add("member_out", result, scaled, weights=S, bias=b, numbers=(slope,))


def _scale_members(program, layer, given):
    """The inputs of a layer, times each member's factors."""
    k, n_in = given.factor, given.n_columns
    R = program.parameter(f"member_inputs[{layer}]", "member", k, n_in, rule=ONE)
    program.block(R, n_in, k, 0, ("member", "bias"))
    result = program.value(n_in, k)
    return program.add("member_in", given, result, weights=R)


def _member_outputs(program, architecture, layer, given):
    """The output layers of all members: for each its W, then its biases."""
    k, n_in, n_out = given.factor, given.n_columns, architecture.sizes[layer + 1]
    rule = ("layer", plain_activation(architecture.names[layer]))
    first = program.n_params
    for m in range(k):
        W = program.parameter(f"weights[{layer}][{m}]", "weights", n_in, n_out, rule=rule)
        program.parameter(f"biases[{layer}][{m}]", "bias", n_out)
        program.block(W, n_out, n_in, 1, ("weights", "bias"), penalized=True)
    size, b = (n_in + 1) * n_out, first + n_in * n_out
    at_weights = (first, (k, n_in, n_out), (size, n_out, 1))
    program.layers.append((at_weights, (b, (k, n_out), (size, 1))))
    program.flops += 2.0 * k * n_in * n_out
    result = program.value(n_out, k)
    return program.add("dense", given, result, weights=first, bias=b, separate=1)


def _is_in_members(architecture, layer):
    """Whether a layer's activation is part of the step that adds the members' biases."""
    pieces = architecture.pieces
    is_hidden = layer < len(architecture.sizes) - 2
    one_pass = is_hidden and pieces.norm[layer] is None
    is_rectifier = architecture.codes[layer] in RECTIFIERS
    own = has_parameters(architecture.names[layer])
    return pieces.members > 1 and one_pass and is_rectifier and not own


def _activation(program, architecture, layer, x):
    """The activation of a layer, in place."""
    code, number = architecture.codes[layer], architecture.numbers[layer]
    name = architecture.names[layer]
    if has_parameters(name):
        return _parametric(program, name, code, layer, x)
    if code == codes.IDENTITY or _is_in_members(architecture, layer):
        return x
    saved = program.slot(x.n_columns * x.factor) if code in KEPT_SLOPES else x.delta
    return program.add("activation", x, x, code=code, numbers=(number,), saved=saved)


def _parametric(program, name, code, layer, x):
    """An activation with a trainable number for each unit, which members share."""
    rule = ("constant", PRELU_START) if name == "prelu" else ONE
    alpha = program.parameter(f"activation[{layer}]", "activation", x.n_columns, rule=rule)
    program.block(alpha, x.n_columns, 1, 0, ("activation", "bias"))
    size = x.n_columns * x.factor
    if name == "prelu":  # the way back needs what goes in
        return program.add("prelu", x, x._replace(slot=program.slot(size)), weights=alpha)
    option = 0 if code in KEPT_SLOPES else FOLLOWS
    saved = program.slot(2 * size)
    return program.add(
        "parametric", x, x, code=code, weights=alpha, option=option, saved=saved, numbers=(0.0,)
    )


def _input_scale(program, pieces, x):
    """One factor for each input column."""
    return x


def _input_dropout(program, pieces, x):
    """Dropout of the inputs."""
    return x


def _members(program, pieces, x):
    """The inputs of all members: the same, times factors of their own."""
    k, n_in = pieces.members, x.n_columns
    if k == 1:
        return x
    R = program.parameter("member_inputs[0]", "member", k, n_in, rule=("sign",))
    program.block(R, n_in, k, 0, ("member", "bias"))
    return program.add("expand", x, program.value(n_in, k), weights=R, factor=k)


def _norm(program, pieces, layer, x):
    """Batch or layer norm."""
    return x


def _dropout(program, pieces, layer, x):
    """Dropout of a hidden layer's outputs."""
    return x


def _residual(program, pieces, layer, given, x):
    """The layer's input is added to its output."""
    return x
