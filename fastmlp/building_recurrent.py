"""Builds the program of a recurrent network, for sequences of one length."""

import functools

from fastmlp.building import activation, begin_gradients, dense
from fastmlp.kernels.activations import KEPT_SLOPES
from fastmlp.program import Program, Value, weights_kind


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
        program.layer = layer
        x = _recurrent(program, architecture, layer, x, truncate)
    if not sequences.by_step:
        last = program.value(x.n_columns)
        x = program.add("last_step", x, last, lengths=program.lengths)
    program.layer = top
    x = dense(program, architecture, top, x, None)
    x = activation(program, architecture, top, x)
    program.output_is_a_step = program.steps[-1].stage == "activation"
    program.factor = x.factor
    begin_gradients(program)
    program.by_length = sequences.has_lengths and sequences.by_step
    return program


def _recurrent(program, architecture, layer, given, truncate):
    """A layer whose units also see what all of them gave one step of time before."""
    n_in, n_out, name = given.n_columns, architecture.sizes[layer + 1], architecture.names[layer]
    result = program.value(n_out, given.factor)
    W = program.parameter(f"weights[{layer}]", "weights", n_in, n_out, rule=("layer", name, n_in))
    program.parameter(f"recurrent[{layer}]", "weights", n_out, n_out, rule=("recurrent", name))
    b = program.parameter(f"biases[{layer}]", "bias", n_out)
    program.block(W, n_out, n_in + n_out, 1, (weights_kind(layer), "bias"), penalized=True)
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
