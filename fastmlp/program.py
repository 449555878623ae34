"""A network as a program: the steps that a row goes through, and the parameters they have.

Built from the pieces that a network is described by, without a number of rows: where things lie in
memory is planned in `program_workspace`. Each step names a kernel of `kernels.stages`.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fastmlp.inputs import FREQUENCY_SCALE, N_FREQUENCIES, Categorical, Numeric
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
    n_scratch: int = 0  # elements of scratch


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
    X = Value(program.slot(sizes[0]), -1, sizes[0], 1)
    x, one_hot = _inputs(program, pieces, X)
    x = _input_scale(program, pieces, x)
    x = _input_dropout(program, pieces, x)
    x = _members(program, pieces, x)
    top = len(sizes) - 2
    for layer in range(top + 1):
        given = x
        x = _dense(program, architecture, layer, given, one_hot if layer == 0 else None)
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


class OneHot(NamedTuple):
    """Categorical columns that enter the first layer as one input for each category."""

    X: Value
    columns: tuple[int, ...]
    counts: tuple[int, ...]  # categories of each

    @property
    def n_rows(self):
        """Rows of W that they take."""
        return sum(self.counts)


def _inputs(program, pieces, X):
    """Bring columns of X to where the first layer reads them.

    First come those that no entry names, then the entries that are no one-hot codes, in their
    order. Returns them, and the one-hot columns or None.
    """
    if not pieces.inputs:
        return X, None
    named = {column for entry in pieces.inputs for column in entry.columns}
    plain = [column for column in range(X.n_columns) if column not in named]
    entries = [Numeric(tuple(plain))] if plain else []
    one_hot = [one for one in pieces.inputs if isinstance(one, Categorical) and one.size is None]
    entries += [entry for entry in pieces.inputs if entry not in one_hot]
    width = sum(entry.width for entry in entries)
    is_trained = any(not _is_as_it_is(entry) for entry in entries)
    needs_delta = is_trained or pieces.input_scale
    result = program.value(width, 1, with_delta=needs_delta)
    at = 0
    for entry in entries:
        if _is_as_it_is(entry):
            numbers = (at, len(entry.columns), *entry.columns)
            program.add("columns", X, result, numbers=numbers)
        elif isinstance(entry, Categorical):
            _embedding(program, entry, X, result, at)
        elif entry.embedding == "periodic":
            _periodic(program, entry, X, result, at)
        else:
            _piecewise(program, entry, X, result, at)
        at += entry.width
    if not one_hot:
        return result, None
    columns, counts = zip(*((entry.column, entry.n_categories) for entry in one_hot), strict=True)
    return result, OneHot(X, columns, counts)


def _is_as_it_is(entry):
    return isinstance(entry, Numeric) and entry.embedding is None


def _embedding(program, entry, X, result, at):
    """A table with a row of trained numbers for each category."""
    size, n = int(entry.size), entry.n_categories
    table = program.parameter(
        f"embedding[{entry.column}]", "embedding", n, size, rule=("normal", 1.0)
    )
    kinds = ("embedding", "embedding")
    program.block(table, size, n, 0, kinds, step=len(program.steps) + 1)
    numbers = (at, entry.column, size, n)
    program.add("embedding", X, result, weights=table, numbers=numbers, n_kept=1 + size)


def _periodic(program, entry, X, result, at):
    """Cosines of trained frequencies, for some columns at once."""
    n, n_out, F = len(entry.columns), entry.size - 1, N_FREQUENCIES
    name, kinds = f"periodic[{entry.columns[0]}]", ("embedding", "embedding")
    quarter = ("uniform", 0.25)
    w = program.parameter(
        f"{name}.frequencies", "embedding", n, F, rule=("normal", FREQUENCY_SCALE)
    )
    b = program.parameter(f"{name}.phases", "embedding", n, F, rule=("uniform", np.pi))
    V = program.parameter(f"{name}.weights", "embedding", n, F, n_out, rule=quarter)
    c = program.parameter(f"{name}.biases", "embedding", n, n_out, rule=quarter)
    program.block(w, F, n, n, kinds)
    program.block(V, n_out, n * F, n, kinds)
    assert (b, c) == (w + n * F, V + n * F * n_out)
    program.add(
        "periodic",
        X,
        result,
        weights=w,
        bias=c,
        numbers=(at, n, F, entry.size, *entry.columns),
        saved=program.slot(n * (1 + 2 * F)),
        input_delta=program.slot(n_out + 2),
    )
    program.flops += 2.0 * n * F * (n_out + 20)


def _piecewise(program, entry, X, result, at):
    """Piecewise-linear functions with trained values at the edges, one column at a time."""
    size, kinds = entry.size, ("embedding", "embedding")
    limit = ("uniform", 1.0 / math.sqrt(size))
    for i, (column, edges) in enumerate(zip(entry.columns, entry.edges, strict=True)):
        name, n_bins = f"piecewise[{column}]", len(edges) - 1
        w = program.parameter(f"{name}.weights", "embedding", size, rule=limit)
        program.block(w, size, 1, 1, kinds)
        program.parameter(f"{name}.biases", "embedding", size, rule=limit)
        V = program.parameter(f"{name}.bins", "embedding", n_bins, size)
        program.block(V, size, n_bins, 0, kinds)
        program.add(
            "piecewise",
            X,
            result,
            weights=w,
            numbers=(at + i * size, column, size, n_bins, *edges),
            n_scratch=n_bins * size,
        )


def _dense(program, architecture, layer, given, one_hot):
    """The product of a layer. One that is tied to an earlier one has its W."""
    n_in, n_out = given.n_columns, architecture.sizes[layer + 1]
    n_rows = n_in if one_hot is None else n_in + one_hot.n_rows
    n_active = n_in if one_hot is None else n_in + len(one_hot.columns)
    rule = ("layer", architecture.names[layer], n_active)
    result = program.value(n_out, given.factor)
    tied = dict(architecture.pieces.tied).get(layer + 1)
    if tied is not None:
        W = program.layers[tied - 1][0][0]
        b = program.parameter(f"biases[{layer}]", "bias", n_out)
        program.block(b, n_out, 0, 1, ("weights", "bias"))
    else:
        W = program.parameter(f"weights[{layer}]", "weights", n_rows, n_out, rule=rule)
        b = program.parameter(f"biases[{layer}]", "bias", n_out)
        if one_hot is None:
            program.block(W, n_out, n_in, 1, ("weights", "bias"), penalized=True)
    program.layers.append(((W, (n_rows, n_out), (n_out, 1)), (b, (n_out,), (1,))))
    program.flops += 2.0 * given.factor * n_in * n_out
    if one_hot is None:
        return program.add("dense", given, result, weights=W, bias=b)
    return _one_hot(program, one_hot, given, result, W, b)


def _one_hot(program, one_hot, given, result, W, b):
    """The product of numeric inputs, if there are any, and the rows of W of one-hot columns."""
    n_in, n_out = given.n_columns, result.n_columns
    kinds = ("weights", "bias")
    if n_in:
        program.block(W, n_out, n_in, 0, kinds, penalized=True)
        program.add("dense", given, result, weights=W, bias=b)
    else:
        program.add("bias_rows", result, result, bias=b)
    firsts = np.cumsum((0, *one_hot.counts[:-1])).tolist()
    pairs = [number for pair in zip(one_hot.columns, firsts, strict=True) for number in pair]
    step = len(program.steps) + 1
    program.block(W + n_in * n_out, n_out, one_hot.n_rows, 0, kinds, penalized=True, step=step)
    program.block(b, n_out, 0, 1, kinds)
    n_columns = len(one_hot.columns)
    return program.add(
        "one_hot",
        one_hot.X._replace(factor=given.factor),
        result,
        weights=W + n_in * n_out,
        numbers=(one_hot.n_rows, n_columns, *pairs),
        n_kept=n_columns * (1 + given.factor * n_out),
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
