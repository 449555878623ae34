"""Builds the program of a network: its layers, one step after the other."""

from typing import NamedTuple

from fastmlp.building_inputs import add_one_hot, bring_in
from fastmlp.kernels import codes
from fastmlp.kernels.activations import KEPT_SLOPES
from fastmlp.kernels.stages.batch_norm import N_KEPT
from fastmlp.kernels.stages.dense import STARTS_GRADIENT
from fastmlp.kernels.stages.dropout import LEVELS, UNITS
from fastmlp.kernels.stages.parametric import FOLLOWS
from fastmlp.pieces import Pieces
from fastmlp.program import Program, Value, has_parameters, plain_activation, weights_kind
from fastmlp.schedules import Schedule

# Activations whose way back does not read their output: it may be changed in place; and those that
# read its sign alone.
FREE_OUTPUT = (codes.IDENTITY, *KEPT_SLOPES)
BY_SIGN = (codes.RELU, codes.LEAKY_RELU)

# Activations that are the same line to either side of 0, or another.
RECTIFIERS = (codes.IDENTITY, codes.RELU, codes.LEAKY_RELU)

ONE = ("constant", 1.0)

# Where the number that prelu has for each unit starts, in the paper.
PRELU_START = 0.25


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
    x, one_hot = bring_in(program, pieces, X)
    x, one_hot = _input_scale(program, pieces, x, one_hot)
    x = _input_dropout(program, pieces, x)
    x, one_hot = _members(program, pieces, x, one_hot)
    top = len(sizes) - 2
    for layer in range(top + 1):
        program.layer, given = layer, x
        x = dense(program, architecture, layer, given, one_hot if layer == 0 else None)
        if layer < top:
            x = _norm(program, pieces, layer, x)
        x = activation(program, architecture, layer, x)
        if layer < top:
            x = _dropout(program, pieces, layer, x)
            x = _residual(program, pieces, layer, given, x)
            program.hidden.append(len(program.steps))
    program.output_is_a_step = program.steps[-1].stage == "activation"
    program.factor = x.factor
    program.repeats_target = pieces.members > 1
    begin_gradients(program)
    return program


def begin_gradients(program):
    """Have dense steps overwrite the gradients of their weights, where they are the first to come.

    Of steps with the same weights the last one is the first on the way back.
    """
    seen = set()
    for step in reversed(program.steps):
        if step.stage == "dense" and not step.separate and step.weights not in seen:
            step.option = STARTS_GRADIENT
            seen.add(step.weights)


def dense(program, architecture, layer, given, one_hot):
    """The product of a layer. One that is tied to an earlier one has its W.

    With members a hidden layer's factors and biases are each one's own, and so is all of the
    output layer.
    """
    k, n_in, n_out = architecture.pieces.members, given.n_columns, architecture.sizes[layer + 1]
    if k > 1 and layer == len(architecture.sizes) - 2:
        return _member_outputs(program, architecture, layer, given)
    if k > 1 and layer > 0:
        given = _scale_members(program, layer, given)
    n_rows = n_in if one_hot is None else n_in + one_hot.n_rows
    n_active = n_in if one_hot is None else n_in + len(one_hot.columns)
    tied = dict(architecture.pieces.tied).get(layer + 1)
    kind = weights_kind(layer)
    if tied is None:
        rule = ("layer", plain_activation(architecture.names[layer]), n_active)
        W = program.parameter(f"weights[{layer}]", "weights", n_rows, n_out, rule=rule)
        if n_in:
            program.block(W, n_out, n_in, 0, (kind, "bias"), penalized=True)
    else:
        W = program.layers[tied - 1][0][0]
    program.flops += 2.0 * given.factor * n_in * n_out
    result = program.value(n_out, given.factor)
    bias = program.n_params if k == 1 else -1  # of members: added with their factors
    if one_hot is not None:
        table = W + n_in * n_out
        program.block(table, n_out, one_hot.n_rows, 0, (kind, "bias"), penalized=True, table=True)
    if n_in:
        program.add("dense", given, result, weights=W, bias=bias)
    else:
        program.add("bias_rows", result, result, bias=bias)
    if one_hot is not None:
        add_one_hot(program, one_hot, result, table, architecture.pieces.input_dropout)
    program.products.append((len(program.steps), n_active))
    at_weights = W, (n_rows, n_out), (n_out, 1)
    if k > 1:
        return _scale_outputs(program, architecture, layer, result, at_weights)
    b = program.parameter(f"biases[{layer}]", "bias", n_out)
    program.block(b, n_out, 0, 1, ("weights", "bias"))
    program.layers.append((at_weights, (b, (n_out,), (1,))))
    return result


def _scale_outputs(program, architecture, layer, result, at_weights):
    """The products of a layer, times each member's factors, plus its biases."""
    k, n_out = result.factor, result.n_columns
    S = program.parameter(f"member_outputs[{layer}]", "member", k, n_out, rule=ONE)
    b = program.parameter(f"biases[{layer}]", "bias", k, n_out)
    program.block(S, n_out, k, k, ("member", "bias"))
    program.layers.append((at_weights, (b, (k, n_out), (n_out, 1))))
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
    rule = ("layer", plain_activation(architecture.names[layer]), n_in)
    first = program.n_params
    for m in range(k):
        W = program.parameter(f"weights[{layer}][{m}]", "weights", n_in, n_out, rule=rule)
        program.parameter(f"biases[{layer}][{m}]", "bias", n_out)
        program.block(W, n_out, n_in, 1, (weights_kind(layer), "bias"), penalized=True)
    size, b = (n_in + 1) * n_out, first + n_in * n_out
    at_weights = (first, (k, n_in, n_out), (size, n_out, 1))
    program.layers.append((at_weights, (b, (k, n_out), (size, 1))))
    program.flops += 2.0 * k * n_in * n_out
    result = program.value(n_out, k)
    program.add("dense", given, result, weights=first, bias=b, separate=1)
    program.products.append((len(program.steps), n_in))
    return result


def _is_in_members(architecture, layer):
    """Whether a layer's activation is part of the step that adds the members' biases."""
    pieces = architecture.pieces
    is_hidden = layer < len(architecture.sizes) - 2
    one_pass = is_hidden and pieces.norm[layer] is None
    is_rectifier = architecture.codes[layer] in RECTIFIERS
    own = has_parameters(architecture.names[layer])
    return pieces.members > 1 and one_pass and is_rectifier and not own


def activation(program, architecture, layer, x):
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


def _input_scale(program, pieces, x, one_hot):
    """One factor for each input column."""
    if not pieces.input_scale:
        return x, one_hot
    n_in = x.n_columns
    if n_in:
        factors = program.parameter("input_scale", "scale", n_in, rule=ONE)
        program.block(factors, n_in, 1, 0, ("scale", "bias"))
        x = program.add("expand", x, program.value(n_in), weights=factors)
    if one_hot is not None:
        own = program.parameter("input_scale.one_hot", "scale", one_hot.n_rows, rule=ONE)
        program.block(own, 1, one_hot.n_rows, 0, ("scale", "bias"))
        one_hot = one_hot._replace(scale=own)
    return x, one_hot


def _input_dropout(program, pieces, x):
    """Dropout of the inputs."""
    return _drop(program, x, pieces.input_dropout, key=0)


def _members(program, pieces, x, one_hot):
    """The inputs of all members: the same, times factors of their own."""
    k, n_in = pieces.members, x.n_columns
    if k == 1:
        return x, one_hot
    result = program.value(n_in, k)
    if n_in:
        R = program.parameter("member_inputs[0]", "member", k, n_in, rule=("sign",))
        program.block(R, n_in, k, 0, ("member", "bias"))
        program.add("expand", x, result, weights=R, factor=k)
    if one_hot is not None:
        n_hot = one_hot.n_rows
        own = program.parameter("member_inputs[0].one_hot", "member", k, n_hot, rule=("sign",))
        program.block(own, n_hot, k, 0, ("member", "bias"))
        one_hot = one_hot._replace(members=own)
    return result, one_hot


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
    return _drop(program, x, pieces.dropout[layer], key=layer + 1)


def _drop(program, x, probability, key):
    """Dropout of what the last step gives, in place where the way back of that allows it."""
    if not probability or not x.n_columns:
        return x
    is_scheduled = isinstance(probability, Schedule)
    # Of a product nobody reads the output again. The sign of what is dropped does not matter: its
    # delta is 0.
    last = program.steps[-1] if program.steps else None
    is_free = last is None or last.stage != "activation" or last.code in FREE_OUTPUT + BY_SIGN
    result = x if is_free else x._replace(slot=program.slot(x.n_columns * x.factor))
    return program.add(
        "dropout",
        x,
        result,
        key=key,
        option=int(is_scheduled),
        numbers=(LEVELS if is_scheduled else round(probability * LEVELS),),
        # 16 bits a unit, in numbers of 32 bits or more; rows begin and end within a counter.
        saved=program.slot(x.factor * (x.n_columns + 2 * (UNITS - 1) + 1) // 2),
    )


def _residual(program, pieces, layer, given, x):
    """The layer's input is added to its output: in place, unless the output is read again.

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
