"""A network's layers, for kernels that run without a sweep's tables."""

from typing import NamedTuple

import numpy as np
from numba import types

from fastmlp.kernels._jit import inline, named


class Layers(NamedTuple):
    """What says how a network computes, besides theta; read."""

    numbers: np.ndarray  # (n_layers * fields,) int64: those of a table of `records.LAYER`
    parameters: np.ndarray  # (n_layers,) of the activations
    rare_forward_at: int  # see `activations.rare_addresses`
    rare_backward_at: int


def layers_type(number):
    """Numba's type of `Layers` in a dtype."""
    index = types.int64
    return named(Layers, types.Array(index, 1, "C"), types.Array(number, 1, "C"), index, index)


@inline
def activation_of(layers, layout, layer):
    """Activation of one layer, as `activations` takes it."""
    return (
        layout[layer].activation,
        layers.rare_forward_at,
        layers.rare_backward_at,
        layers.parameters[layer],
    )
