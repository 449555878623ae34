"""The network itself: layer sizes, activations and one flat parameter vector."""

import functools
import math
import re
from itertools import pairwise
from typing import Any, Self

import numpy as np

from fastmlp.building import Architecture, build
from fastmlp.feature_names import check_names
from fastmlp.initialization import NAMES as INITIALIZATIONS
from fastmlp.initialization import draw_parameter, draw_weights
from fastmlp.inputs import Categorical, check_columns, check_exact
from fastmlp.kernels import codes
from fastmlp.kernels.records import LAYER, new, numbers
from fastmlp.pieces import NAMES as PIECES
from fastmlp.pieces import check_pieces
from fastmlp.program import has_parameters, plain_activation, strided_view
from fastmlp.sources.source import as_rows
from fastmlp.validation import (
    as_generator,
    check_count,
    check_finite,
    check_known,
    check_number,
    check_rows_shape,
    check_unmasked,
    is_sequence,
    parse_name,
    rounded,
)
from fastmlp.workspace import aligned_empty, count_params

ACTIVATIONS = {
    "identity": codes.IDENTITY,
    "relu": codes.RELU,
    "leaky_relu": codes.LEAKY_RELU,
    "sigmoid": codes.SIGMOID,
    "tanh": codes.TANH,
    "elu": codes.ELU,
    "selu": codes.SELU,
    "gelu": codes.GELU,
    "silu": codes.SILU,
    "mish": codes.MISH,
    "softplus": codes.SOFTPLUS,
    "exponential": codes.EXPONENTIAL,
    "softmax": codes.SOFTMAX,
}

LEAKY_RELU_SLOPE = 0.01

# Activations with a trainable number for each unit, by what they are without it: hidden layers'.
PRELU = {"prelu": codes.LEAKY_RELU}
PARAMETRIC = tuple(
    name for name in ACTIVATIONS if name not in ("identity", "leaky_relu", "softmax")
)

# What a network makes of its theta, for itself alone, once it is asked for.
_VIEWS = ("parameters", "weights", "biases", "_before_output")

# A wider layer is a slip of the keyboard; refuse it before its memory is asked for.
LARGEST_LAYER = 1 << 24


class Network:
    """The architecture of a multilayer perceptron, and all its parameters in one vector.

    All that knows networks works with this class. What a user makes is a `fastmlp.mlp.MLP`, which
    describes the parameters and attributes; it can also predict, evaluate, train, and be a file.
    """

    def __init__(
        self,
        layer_sizes,
        *,
        activation="relu",
        output="identity",
        dtype="float32",
        init="auto",
        seed=None,
        norm=None,
        dropout=0.0,
        input_dropout=0.0,
        residual=False,
        tied=(),
        input_scale=False,
        inputs=None,
        members=1,
    ):
        self._layer_sizes = _check_layer_sizes(layer_sizes)
        self._dtype = _check_dtype(dtype)
        n_hidden = len(self._layer_sizes) - 2
        self._activations, self._parameters = _check_activations(activation, output, n_hidden)
        check_known("init", init, INITIALIZATIONS)
        self._init = init
        self._pieces = check_pieces(
            self._layer_sizes,
            norm=norm,
            dropout=dropout,
            input_dropout=input_dropout,
            residual=residual,
            tied=tied,
            input_scale=input_scale,
            inputs=inputs,
            members=members,
        )
        rng = as_generator(seed)
        self._plan()
        self._allocate()
        self._draw(rng)

    def _draw(self, rng):
        """Draw starting parameters."""
        if self._program is not None:
            for parameter in self._program.parameters:
                view = self._view(parameter.start, parameter.shape)
                view[:] = draw_parameter(rng, parameter, self._init)
            return
        for weights, name in zip(self.weights, self._activations, strict=True):
            n_in, n_out = weights.shape
            weights[:] = draw_weights(rng, n_in, n_out, self._init, name)

    def _allocate(self):
        """Make what is the network's own: theta, as zeros, and statistics as of the start."""
        n_params = count_params(self._layer_sizes)
        if self._program is not None:
            n_params = self._program.n_params
        self._theta = aligned_empty(n_params, self._dtype)
        self._theta[:] = 0
        self._statistics: Any = None
        if self._program is not None and self._program.n_statistics:
            self._statistics = self._program.first_statistics(self._dtype)
        self._feature_names: tuple[str, ...] | None = None

    def _forget_evaluations(self):
        """Begin with nothing of what evaluations keep that is of this theta or statistics."""

    def _plan(self):
        """Make what follows from the architecture alone, which copies share."""
        check_exact(self._pieces.inputs, self._dtype)
        self._activation_parameters = np.array(self._parameters, self._dtype)
        self._program = self._describe()
        layout = self._chain() if self._program is None else self._program.layout()
        self._layout, self._layout_numbers = layout, numbers(layout)
        # Networks for which this is the same take the same compiled loops: plain ones of one
        # architecture, and copies of any.
        parameters = self._activation_parameters.tobytes()
        chain = self._layer_sizes, self._dtype, self._activations, parameters
        self._loop_key = chain if self._program is None else object()
        # What an objective has to know: a key as small as can be, since each call looks it up.
        self._ends = self._layer_sizes[0], self._layer_sizes[-1], self._activations[-1]

    def _describe(self):
        """The network's program, None if it is plain."""
        is_plain = self._pieces.is_plain and not any(map(has_parameters, self._activations))
        return None if is_plain else build(self._architecture())

    def _architecture(self):
        """What its program is built from."""
        return Architecture(
            self._layer_sizes,
            self._activations,
            self._activation_codes,
            self._parameters,
            self._pieces,
        )

    def _program_for(self, sequences):
        """The program for rows of X that are such `program.Sequences`, or None if they are none."""
        return self._program

    def _as_rows(self, X, lengths):
        """Make X the rows that kernels take; return them, and what `_program_for` is to know.

        Neither their columns nor their numbers are checked. What is not to be in memory as a whole
        comes back as a `Source`.
        """
        if lengths is not None:
            raise ValueError(
                "lengths must be None for a network whose rows are no sequences, such as one of "
                f"{type(self).__name__}, got {type(lengths).__name__}"
            )
        return as_rows(X, self._dtype, self._feature_names), None

    def _as_inputs(self, X):
        """X as an array, all of whose columns and numbers are checked, without a needless copy."""
        rows = as_rows(X, self._dtype)
        check_rows_shape("X", rows.shape, self._layer_sizes[0])
        self.check_rows(rows)
        return rows

    def _chain(self):
        """The table of a chain of layers."""
        layout = new(LAYER, len(self._layer_sizes) - 1)
        start = width = 0
        for layer, (n_in, n_out) in enumerate(pairwise(self._layer_sizes)):
            code = self._activation_codes[layer]
            layout[layer] = n_in, n_out, start, code, n_out, width, 1, 0, 0, 0, 0
            start += (n_in + 1) * n_out
            width += n_out
        return layout

    @property
    def categorical_columns(self) -> tuple[int, ...]:
        """Columns of X that hold codes of categories."""
        entries = self._pieces.inputs
        return tuple(entry.column for entry in entries if isinstance(entry, Categorical))

    def check_rows(self, X, first=None):
        """Refuse rows of X with numbers that are not finite, or bad codes of categories.

        `first` is the number of the first row where these are not all, for the message.
        """
        if self._pieces.inputs:
            check_columns(X, self._pieces.inputs, first or 0)
        else:
            check_finite("X", X, first)

    def _view(self, start, shape):
        """View of a part of theta."""
        return self._theta[start : start + math.prod(shape)].reshape(shape)

    @functools.cached_property
    def _activation_codes(self):
        """The activations as kernels know them."""
        known = ACTIVATIONS | PRELU
        return tuple(known[plain_activation(name)] for name in self._activations)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Inputs, hidden units and outputs."""
        return self._layer_sizes

    @property
    def activations(self) -> tuple[str, ...]:
        """Activation of each layer, the output's last."""
        return tuple(
            f"{name}({parameter!r})" if name == "leaky_relu" else name
            for name, parameter in zip(self._activations, self._parameters, strict=True)
        )

    @property
    def output(self) -> str:
        """Activation of the output layer."""
        return self.activations[-1]

    @property
    def init(self) -> str:
        """How starting weights are drawn."""
        return self._init

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the inputs, or None.

        `fit` takes them from a data frame if there are none yet, and files keep them. Where there
        are names, columns of every data frame are found by name: in any order, others left out.
        Columns of arrays have no names and are taken as they come. Assign names, or None to forget
        them.
        """
        return self._feature_names

    @feature_names.setter
    def feature_names(self, names):
        self._feature_names = None if names is None else check_names(names, self._layer_sizes[0])

    @property
    def dtype(self) -> np.dtype:
        """Of the parameters and of all computation."""
        return self._dtype

    @property
    def n_params(self) -> int:
        """Number of parameters, the size of theta."""
        return self._theta.size

    @property
    def theta(self) -> np.ndarray:
        """All parameters, (n_params,)."""
        return self._theta

    @theta.setter
    def theta(self, values):
        check_unmasked("theta", values)
        array = np.asarray(values)
        if array.shape != self._theta.shape:
            raise ValueError(f"theta must have the shape {self._theta.shape}, got {array.shape}")
        if array.dtype.kind not in "fiu":
            raise TypeError(f"theta must hold real numbers, got dtype {array.dtype}")
        array = rounded(array, self._dtype)
        check_finite("theta", array)
        self._theta[:] = array

    @functools.cached_property
    def parameters(self) -> tuple[tuple[str, np.ndarray], ...]:
        """Names and views of all that theta holds, in its order."""
        if self._program is not None:
            return tuple(
                (parameter.name, self._view(parameter.start, parameter.shape))
                for parameter in self._program.parameters
            )
        found = []
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            found += [(f"weights[{layer}]", weights), (f"biases[{layer}]", biases)]
        return tuple(found)

    @property
    def statistics(self) -> dict[str, np.ndarray]:
        """What training has measured: views by name, of batch norm "norm_mean[0]" and the like.

        They are no part of theta. Running means (n_out,) begin as 0, running variances as 1.
        """
        if self._statistics is None:
            return {}
        return {
            one.name: self._statistics[one.start : one.start + one.size]
            for one in self._program.statistics
        }

    def learned(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Copies of all that training changes: theta, and the statistics or None."""
        statistics = self._statistics
        return self._theta.copy(), None if statistics is None else statistics.copy()

    def take_learned(self, learned) -> None:
        """Go back to what `learned` has returned."""
        theta, statistics = learned
        self._theta[:] = theta
        if statistics is not None:
            self._statistics[:] = statistics

    @functools.cached_property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Views of theta: the weights of each layer, (n_in, n_out).

        Of layers that are tied both are the same. With members the output layer has those of
        each, (members, n_in, n_out).
        """
        return self._layers(0)

    @functools.cached_property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Views of theta: the biases of each layer, (n_out,), or (members, n_out)."""
        return self._layers(1)

    def _layers(self, which):
        """Views of the weights, or else the biases, of each layer."""
        if self._program is None:
            pair = self._chain_views()
            vars(self).update(weights=pair[0], biases=pair[1])  # who wants one wants the other
            return pair[which]
        return tuple(strided_view(self._theta, *layer[which]) for layer in self._program.layers)

    def __repr__(self):
        lines = [f"{type(self).__name__} {'-'.join(map(str, self._layer_sizes))}, {self._dtype}"]
        if not self._pieces.is_plain:
            lines.append(f"  {', '.join(self._pieces.summary())}")
        rows = [
            (str(layer + 1), f"{w.shape[-2]} -> {w.shape[-1]}", name, f"{self._size(layer):,}")
            for layer, (w, name) in enumerate(zip(self.weights, self.activations, strict=True))
        ]
        of_inputs = self._size(-1)
        if of_inputs:
            units = f"{self._layer_sizes[0]} -> {self.weights[0].shape[-2]}"
            rows.insert(0, ("inputs", units, "", f"{of_inputs:,}"))
        header = ("layer", "units", "activation", "parameters")
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]
        for row in [header, *rows]:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
            lines.append("  " + "  ".join([*cells, row[3].rjust(widths[3])]))
        lines.append(f"  {self.n_params:,} parameters")
        return "\n".join(lines)

    def _chain_views(self):
        """Views of the weights, and of the biases, of each layer of a chain."""
        weights, biases, start = [], [], 0
        for n_in, n_out in pairwise(self._layer_sizes):
            middle, stop = start + n_in * n_out, start + (n_in + 1) * n_out
            weights.append(self._theta[start:middle].reshape(n_in, n_out))
            biases.append(self._theta[middle:stop])
            start = stop
        return tuple(weights), tuple(biases)

    def _size(self, layer):
        """Number of a layer's parameters, or, of -1, of those that belong to the inputs."""
        if self._program is None:
            return 0 if layer < 0 else self.weights[layer].size + self.biases[layer].size
        return sum(
            math.prod(parameter.shape)
            for parameter in self._program.parameters
            if parameter.layer == layer
        )

    def __getstate__(self):
        return {
            "architecture": self.architecture(),
            "theta": self._theta.copy(),
            "feature_names": self._feature_names,
            **({} if self._statistics is None else {"statistics": self._statistics.copy()}),
        }

    def __setstate__(self, state):
        # Views do not survive pickling: lay theta out anew.
        self._restore(state["architecture"], state["theta"], state.get("statistics"))
        self.feature_names = state.get("feature_names")  # older pickles lack them

    def architecture(self) -> dict:
        """What the network was built from, without the parameters: plain values, fit for JSON."""
        return {
            "layer_sizes": list(self._layer_sizes),
            "activation": list(self.activations[:-1]),
            "output": self.output,
            "dtype": str(self._dtype),
            "init": self._init,
            **self._pieces.described(),
        }

    @classmethod
    def from_architecture(cls, architecture: dict, theta, statistics=None) -> Self:
        """Build the network that `architecture` describes, with the parameters `theta`.

        `statistics` are all those of the network's `statistics` as one vector, None if there are
        none, or if they are to be those of a new network.
        """
        net = cls.__new__(cls)
        net._restore(architecture, theta, statistics)
        return net

    @classmethod
    def shapes_of(cls, architecture: dict) -> tuple[dict, dict]:
        """Shapes by name of the parameters and of the statistics, in their order, without any."""
        net = cls.__new__(cls)
        net._read(architecture)
        if net._program is None:
            shapes: dict[str, tuple[int, ...]] = {}
            for layer, (n_in, n_out) in enumerate(pairwise(net._layer_sizes)):
                shapes[f"weights[{layer}]"] = n_in, n_out
                shapes[f"biases[{layer}]"] = (n_out,)
            return shapes, {}
        program = net._program
        parameters = {parameter.name: parameter.shape for parameter in program.parameters}
        return parameters, {one.name: (one.size,) for one in program.statistics}

    def _restore(self, architecture, theta, statistics):
        self._read(architecture)
        self._allocate()
        self.theta = theta
        if statistics is not None:
            self._take_statistics(statistics)

    def _take_statistics(self, values):
        size = 0 if self._statistics is None else self._statistics.size
        array = rounded(np.asarray(values), self._dtype)
        if array.shape != (size,):
            raise ValueError(f"statistics must have the shape ({size},), got {array.shape}")
        check_finite("statistics", array)
        self._statistics[:] = array

    def _read(self, architecture):
        """Check what an `architecture` says, and keep it."""
        self._layer_sizes = _check_layer_sizes(architecture["layer_sizes"])
        self._dtype = _check_dtype(architecture["dtype"])
        self._activations, self._parameters = _check_activations(
            architecture["activation"], architecture["output"], len(self._layer_sizes) - 2
        )
        self._init = architecture.get("init", "auto")  # older files lack it
        check_known("init", self._init, INITIALIZATIONS)
        pieces = {name: architecture[name] for name in PIECES if name in architecture}
        self._pieces = check_pieces(self._layer_sizes, **pieces)
        self._plan()

    def copy(self) -> Self:
        """An independent network with the same architecture, parameters and feature names."""
        net = self.__new__(type(self))
        # What follows from the architecture never changes, and takes long to check and make anew.
        vars(net).update(vars(self).copy())  # in one go, whatever other threads add to it
        for name in _VIEWS:
            vars(net).pop(name, None)
        net._theta = aligned_empty(self._theta.size, self._dtype)
        net._theta[:] = self._theta
        if self._statistics is not None:
            net._statistics = self._statistics.copy()
        net._forget_evaluations()
        return net

    @functools.cached_property
    def _before_output(self) -> Self:
        """The same network with an identity output, of the same theta and statistics."""
        net = self.__new__(type(self))
        vars(net).update(vars(self).copy())
        for name in (*_VIEWS, "_activation_codes"):
            vars(net).pop(name, None)
        net._activations = (*self._activations[:-1], "identity")
        net._parameters = (*self._parameters[:-1], 0.0)
        net._plan()
        net._forget_evaluations()
        return net

    def redrawn(self, seed=None) -> Self:
        """A network with the same architecture and new starting weights, drawn as by `MLP`."""
        rng = as_generator(seed)
        net = self.copy()
        net._theta[:] = 0
        if net._statistics is not None:
            net._statistics[:] = net._program.first_statistics(net._dtype)
        net._draw(rng)
        return net


def _check_layer_sizes(layer_sizes):
    if not is_sequence(layer_sizes):
        raise TypeError(f"layer_sizes must be a sequence of integers, got {layer_sizes!r}")
    sizes = list(layer_sizes)
    if len(sizes) < 2:
        raise ValueError(
            f"layer_sizes must name at least the inputs and the outputs, got {layer_sizes!r}"
        )
    for i, size in enumerate(sizes):
        check_count(f"layer_sizes[{i}]", size)
        if size > LARGEST_LAYER:
            raise ValueError(f"layer_sizes[{i}] must be at most {LARGEST_LAYER}, got {size}")
    return tuple(int(size) for size in sizes)


def _check_dtype(dtype):
    try:
        name = None if dtype is None else np.dtype(dtype).name  # np.dtype(None) is float64
    except TypeError:
        name = None
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    return np.dtype(name)


def _check_activations(activation, output, n_hidden):
    """Names of all layers' activations, and their parameters, 0 where they have none."""
    hidden = [name for name in ACTIVATIONS if name != "softmax"] + [*PRELU, "parametric(name)"]
    if isinstance(activation, str):
        # Checked here, because without hidden layers nobody else would.
        _parse_activation("activation", activation, hidden)
        activation = [activation] * n_hidden
    elif not is_sequence(activation):
        raise TypeError(f"activation must be a name or a sequence of names, got {activation!r}")
    activation = list(activation)
    if len(activation) != n_hidden:
        raise ValueError(
            f"activation must name one activation for each of the {n_hidden} hidden layers, "
            f"got {len(activation)}"
        )
    found = [_parse_activation("activation", text, hidden) for text in activation]
    found.append(_parse_activation("output", output, ACTIVATIONS))
    names, parameters = zip(*found, strict=True)
    return names, parameters


def _parse_activation(argument, text, known):
    """Name and parameter of one activation, 0 where it has none."""
    if isinstance(text, str) and "parametric(name)" in known:
        match = re.fullmatch(r"\s*parametric\s*\(\s*(\w+)\s*\)\s*", text)
        if match:
            check_known("name in parametric(name)", match[1], PARAMETRIC)
            return f"parametric({match[1]})", 0.0
    name, given = parse_name(argument, text, known, {"leaky_relu": "slope"})
    if name != "leaky_relu":
        return name, 0.0
    slope = given[0] if given else LEAKY_RELU_SLOPE
    check_number("slope of leaky_relu", slope, "in [0, 1)", lambda x: 0 <= x < 1)
    return name, slope
