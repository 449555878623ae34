"""The step of a residual connection: a layer's input is added to its output."""

from fastmlp.kernels import codes
from fastmlp.kernels._jit import loop, worker
from fastmlp.kernels.gather import copy_values
from fastmlp.kernels.stages.place import (
    flat,
    input_deltas,
    inputs,
    output_deltas,
    outputs,
    second_inputs,
    wants_delta,
)


@loop
def add_vectors(x, y, result):
    """Overwrite `result`, which may be one of them, by x + y."""
    for i in range(result.size):
        result[i] = x[i] + y[i]


@worker
def residual(step, block, work, theta, is_back):
    """Overwrite the output by the sum of two inputs: the layer's own, and what it has made of it.

    What it has made has the deltas of the output for its own, where they lie. Back, those of the
    layer's input are overwritten by them, or they are added.
    """
    if not is_back:
        layer_input, made = inputs(step, block, work), second_inputs(step, block, work)
        add_vectors(flat(layer_input), flat(made), flat(outputs(step, block, work)))
        return
    if not wants_delta(step):
        return
    below, delta = flat(input_deltas(step, block, work)), flat(output_deltas(step, block, work))
    if step.goes_back == codes.ADDS:
        add_vectors(delta, below, below)
    else:
        copy_values(delta, below)
