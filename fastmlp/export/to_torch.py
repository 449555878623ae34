"""Networks as modules of PyTorch, of PyTorch's own layers where these mean the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from fastmlp.export import torch_modules as own
from fastmlp.export.graph import graph_of

# Beyond it softplus is x: by then e^-x is too small for the digits of float64.
_SOFTPLUS_THRESHOLD = 40


def torch_module(net):
    """See `fastmlp.MLP.to_torch`."""
    graph, makers = graph_of(net), _Makers()
    modules, wiring = [], []
    for operation in graph.operations:
        modules.append(WRITERS[operation.kind](makers, operation))
        wiring.append((operation.inputs, operation.output))
    # Each operation takes what the one before it gives: nobody has to be told which.
    is_chain = all(inputs == (output - 1,) for inputs, output in wiring)
    if is_chain and graph.members == 1:
        return nn.Sequential(*modules).eval()
    return own.Network(modules, wiring, graph.output, graph.members > 1).eval()


class _Makers:
    """What makes tensors of arrays, of which those that are the same memory are one tensor."""

    def __init__(self):
        self._made = {}

    def parameter(self, array):
        """A new parameter, or the one that this part of theta has become before."""
        if array is None:
            return None
        key = array.__array_interface__["data"][0], array.shape, array.strides
        if key not in self._made:
            self._made[key] = torch.nn.Parameter(self.tensor(array))
        return self._made[key]

    @staticmethod
    def tensor(array):
        return torch.tensor(np.array(array))

    def parameters(self, operation, *names):
        """The parameters of an operation by these names, None where it has none."""
        return {name: self.parameter(operation.arrays.get(name)) for name in names}

    def take_over(self, module, **arrays):
        """Give a module of PyTorch's own its parameters, by name."""
        for name, array in arrays.items():
            setattr(module, name, self.parameter(array))
        return module


def _columns(makers, operation):
    return own.Columns(operation.settings["columns"])


def _embedding(makers, operation):
    table = operation.arrays["table"]
    n, size = table.shape
    module = makers.take_over(own.Embedding(n, size, device="meta"), weight=table)
    module.column = operation.settings["column"]
    return module


def _periodic(makers, operation):
    arrays = makers.parameters(operation, "frequencies", "phases", "weights", "biases")
    return own.Periodic(operation.settings["columns"], **arrays)


def _piecewise(makers, operation):
    settings = operation.settings
    edges = makers.tensor(settings["edges"])
    arrays = makers.parameters(operation, "weights", "biases", "bins")
    return own.Piecewise(settings["column"], edges, **arrays)


def _concatenate(makers, operation):
    return own.Concatenate()


def _bias_rows(makers, operation):
    bias = makers.parameter(operation.arrays.get("bias"))
    return own.BiasRows(0.0 if bias is None else bias)


def _one_hot(makers, operation):
    settings = operation.settings
    places = settings["columns"], settings["firsts"], settings["probability"]
    return own.OneHot(*places, **makers.parameters(operation, "table", "scale", "members"))


def _scale(makers, operation):
    return own.Scale(**makers.parameters(operation, "factors"))


def _shift(makers, operation):
    return own.Shift(**makers.parameters(operation, "biases"))


def _dense(makers, operation):
    weights, bias = operation.arrays["weights"], operation.arrays.get("bias")
    if weights.ndim == 3:
        return own.MemberLinear(**makers.parameters(operation, "weights", "bias"))
    n_in, n_out = weights.shape
    module = nn.Linear(n_in, n_out, bias=bias is not None, device="meta")
    return makers.take_over(module, weight=weights.T, bias=bias)


def function_of(name, slope=0.0):
    """The activation by that name, as a module."""
    if name == "leaky_relu":
        return nn.LeakyReLU(slope)
    if name == "softplus":
        return nn.Softplus(threshold=_SOFTPLUS_THRESHOLD)
    if name == "softmax":
        return nn.Softmax(dim=-1)
    if name == "exponential":
        return own.Exponential()
    return getattr(nn, MODULES[name])()


# Activations that are a module of PyTorch without arguments.
MODULES = {
    "identity": "Identity",
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "elu": "ELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
}


def _activation(makers, operation):
    return function_of(**operation.settings)


def _prelu(makers, operation):
    alpha = operation.arrays["alpha"]
    if operation.factor > 1:
        return own.MemberPReLU(**makers.parameters(operation, "alpha"))
    return makers.take_over(nn.PReLU(len(alpha), device="meta"), weight=alpha)


def _parametric(makers, operation):
    function = function_of(operation.settings["name"])
    return own.Parametric(function, **makers.parameters(operation, "alpha"))


def _layer_norm(makers, operation):
    arrays = operation.arrays
    module = nn.LayerNorm(operation.width, eps=operation.settings["epsilon"], device="meta")
    return makers.take_over(module, weight=arrays["gamma"], bias=arrays["beta"])


def _batch_norm(makers, operation):
    arrays, settings = operation.arrays, operation.settings
    kind = own.MemberBatchNorm if operation.factor > 1 else nn.BatchNorm1d
    module = kind(operation.width, eps=settings["epsilon"], momentum=settings["momentum"])
    module.running_mean = makers.tensor(arrays["mean"])
    module.running_var = makers.tensor(arrays["variance"])
    return makers.take_over(module, weight=arrays["gamma"], bias=arrays["beta"])


def _dropout(makers, operation):
    return nn.Dropout(operation.settings["probability"])


def _add(makers, operation):
    return own.Add()


def _recurrent(makers, operation):
    function = function_of(**operation.settings)
    return own.Recurrent(function, **makers.parameters(operation, "weights", "recurrent", "bias"))


def _last_step(makers, operation):
    return own.LastStep()


# How each of `graph.OPERATIONS` is written.
WRITERS: dict[str, Callable[..., Any]] = {
    "columns": _columns,
    "embedding": _embedding,
    "periodic": _periodic,
    "piecewise": _piecewise,
    "concatenate": _concatenate,
    "bias_rows": _bias_rows,
    "one_hot": _one_hot,
    "scale": _scale,
    "shift": _shift,
    "dense": _dense,
    "activation": _activation,
    "prelu": _prelu,
    "parametric": _parametric,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "add": _add,
    "recurrent": _recurrent,
    "last_step": _last_step,
}
