"""A network as operations on values, which is all that the writers of other formats know of it.

The steps of a `program.Program` overwrite places in memory, for the sake of speed. Here each
operation gives a value of its own, and a step that does two things at once is two operations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmlp.building import build
from fastmlp.kernels import codes
from fastmlp.kernels.stages.batch_norm import MOMENTUM
from fastmlp.kernels.stages.dropout import LEVELS
from fastmlp.kernels.stages.layer_norm import EPSILON
from fastmlp.program import Sequences, strided_view

# The value that rows of X are.
X = 0

# The operations. Values are rows of numbers, or rows for each member or step of time; arrays are
# views of theta but for batch norm's. `n` are columns of what is given, `k` members.
OPERATIONS = {
    # Of rows of X.
    "columns": "some columns as they are: setting `columns`",
    "embedding": "a row of the array `table` for the code in a column; zeros where it is missing",
    "periodic": "embeddings by cosines, see `fastmlp.Numeric`: `frequencies`, `phases`, `weights`",
    "piecewise": "a piecewise-linear embedding: `weights`, `biases`, `bins`; setting `edges`",
    "concatenate": "several values side by side",
    "bias_rows": "the array `bias` for each row, zeros without it",
    "one_hot": "adds to a first value rows of `table`, which codes in columns of X, the second, "
    "lead to, times `scale` and `members`, which may be missing",
    # Of any values.
    "scale": "times `factors`, (n,), or (k, n) of members, who may have one input in common",
    "shift": "plus `biases` (k, n)",
    "dense": "times the matrix `weights` plus `bias`, if there is one; of members (k, n_in, n_out)",
    "activation": "the function that the setting `name` says, with its `slope`",
    "prelu": "`alpha` times what is not positive",
    "parametric": "x + `alpha` (f(x) - x), where the setting `name` says f",
    "layer_norm": "see `fastmlp.MLP`: `gamma`, `beta`; setting `epsilon`",
    "batch_norm": "the same by `mean` and `variance`; also `momentum`, for training",
    "dropout": "nothing, but in training: setting `probability`",
    "add": "the sum of two values",
    # Of sequences.
    "recurrent": "h_t = f(x_t `weights` + h_(t-1) `recurrent` + `bias`), h_0 = 0: `name`, `slope`",
    "last_step": "what the last step of time has",
}


class Operation(NamedTuple):
    """One of the `OPERATIONS`.

    Attributes
    ----------
    kind : str
    inputs : tuple of int
        The values it takes.
    output : int
        The value it gives.
    width : int
        Columns of that.
    factor : int
        Members that have rows of their own of that, else 1.
    arrays : dict of str to ndarray
    settings : dict
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    width: int
    factor: int
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]


class Graph(NamedTuple):
    """A network as operations, in an order in which each finds what it takes.

    Attributes
    ----------
    operations : list of Operation
    output : int
        The value that the network's outputs are, of which members have one each.
    n_inputs, n_outputs, members : int
    dtype : numpy.dtype
    sequence : "last", "all" or None
        Of a recurrent network, whose rows are sequences.
    feature_names : tuple of str or None
    """

    operations: list[Operation]
    output: int
    n_inputs: int
    n_outputs: int
    members: int
    dtype: np.dtype
    sequence: str | None
    feature_names: tuple[str, ...] | None

    def widths(self):
        """Columns of each value."""
        return {X: self.n_inputs} | {one.output: one.width for one in self.operations}


class _Walk:
    """What is known on the way through the steps of a program."""

    def __init__(self, net):
        self.net = net
        self.activations = net.activations
        self.operations: list[Operation] = []
        self.values = {0: X}  # which value a slot of the program holds
        self.parts: dict[int, list[int]] = {}  # values that a slot is put together of

    def view(self, start, *shape):
        return self.net._view(start, shape)

    def take(self, step):
        """The value that a step takes."""
        return self.value_in(step.input)

    def value_in(self, slot):
        parts = self.parts.pop(slot, None)
        if parts is not None:
            widths = {one.output: one.width for one in self.operations}
            width = sum(widths[part] for part in parts)
            self.values[slot] = (
                parts[0] if len(parts) == 1 else self._append("concatenate", parts, width, 1)
            )
        return self.values[slot]

    def give(self, step, kind, inputs, arrays=None, **settings):
        """Append an operation, whose value the step's output then holds."""
        value = self._append(kind, inputs, step.n_out, step.factor, arrays, **settings)
        self.values[step.output] = value
        return value

    def give_part(self, step, kind, width, arrays=None, **settings):
        """Append an operation on X, whose value is some columns of the step's output."""
        value = self._append(kind, (X,), width, 1, arrays, **settings)
        self.parts.setdefault(step.output, []).append(value)

    def _append(self, kind, inputs, width, factor, arrays=None, **settings):
        output = len(self.operations) + 1
        self.operations.append(
            Operation(kind, tuple(inputs), output, width, factor, arrays or {}, settings)
        )
        return output


def _columns(walk, step):
    _, n, *columns = map(int, step.numbers)
    walk.give_part(step, "columns", n, columns=columns)


def _embedding(walk, step):
    _, column, size, n = map(int, step.numbers)
    walk.give_part(
        step, "embedding", size, {"table": walk.view(step.weights, n, size)}, column=column
    )


def _periodic(walk, step):
    _, n, n_frequencies, size, *columns = map(int, step.numbers)
    shift, n_out = n * n_frequencies, size - 1
    arrays = {
        "frequencies": walk.view(step.weights, n, n_frequencies),
        "phases": walk.view(step.weights + shift, n, n_frequencies),
        "weights": walk.view(step.weights + 2 * shift, n, n_frequencies, n_out),
        "biases": walk.view(step.bias, n, n_out),
    }
    walk.give_part(step, "periodic", n * size, arrays, columns=columns)


def _piecewise(walk, step):
    _, column, size, n_bins, *edges = step.numbers
    arrays = {
        "weights": walk.view(step.weights, size),
        "biases": walk.view(step.weights + size, size),
        "bins": walk.view(step.weights + 2 * size, n_bins, size),
    }
    edges = np.array(edges, walk.net.dtype)
    walk.give_part(step, "piecewise", size, arrays, column=column, edges=edges)


def _bias_rows(walk, step):
    arrays = {"bias": walk.view(step.bias, step.n_out)} if step.bias >= 0 else {}
    walk.give(step, "bias_rows", (), arrays)


def _one_hot(walk, step):
    n_rows, n_columns, level, *pairs = map(int, step.numbers)
    arrays = {"table": walk.view(step.weights, n_rows, step.n_out)}
    if step.bias >= 0:
        arrays["scale"] = walk.view(step.bias, n_rows)
    if step.extra >= 0:
        arrays["members"] = walk.view(step.extra, step.factor, n_rows)
    columns, firsts = pairs[::2], pairs[1::2]
    counts = [stop - start for start, stop in zip(firsts, [*firsts[1:], n_rows], strict=True)]
    walk.give(
        step,
        "one_hot",
        (walk.value_in(step.output), X),
        arrays,
        columns=columns[:n_columns],
        firsts=firsts,
        counts=counts,
        probability=level / LEVELS,
    )


def _scale(walk, step):
    shape = (step.n_in,) if step.factor == 1 else (step.factor, step.n_in)
    walk.give(step, "scale", (walk.take(step),), {"factors": walk.view(step.weights, *shape)})


def _member_out(walk, step):
    k, n = step.factor, step.n_out
    factors, biases = walk.view(step.weights, k, n), walk.view(step.bias, k, n)
    walk.give(step, "scale", (walk.take(step),), {"factors": factors})
    walk.give(step, "shift", (walk.values[step.output],), {"biases": biases})
    (slope,) = step.numbers
    if slope != 1:
        name = "leaky_relu" if slope else "relu"
        walk.give(step, "activation", (walk.values[step.output],), name=name, slope=float(slope))


def _dense(walk, step):
    n_in, n_out, k = step.n_in, step.n_out, step.factor
    if step.separate:
        theta, size = walk.net.theta, (n_in + 1) * n_out
        arrays = {
            "weights": strided_view(theta, step.weights, (k, n_in, n_out), (size, n_out, 1)),
            "bias": strided_view(theta, step.bias, (k, n_out), (size, 1)),
        }
    else:
        arrays = {"weights": walk.view(step.weights, n_in, n_out)}
        if step.bias >= 0:
            arrays["bias"] = walk.view(step.bias, n_out)
    walk.give(step, "dense", (walk.take(step),), arrays)


_NAMES = {
    getattr(codes, name.upper()): name
    for name in (
        *("relu", "leaky_relu", "sigmoid", "tanh", "elu", "selu", "gelu", "silu", "mish"),
        *("softplus", "exponential", "softmax", "identity"),
    )
}


def _activation(walk, step):
    (slope,) = step.numbers
    walk.give(step, "activation", (walk.take(step),), name=_NAMES[step.code], slope=float(slope))


def _prelu(walk, step):
    walk.give(step, "prelu", (walk.take(step),), {"alpha": walk.view(step.weights, step.n_in)})


def _parametric(walk, step):
    arrays = {"alpha": walk.view(step.weights, step.n_in)}
    walk.give(step, "parametric", (walk.take(step),), arrays, name=_NAMES[step.code])


def _norm_arrays(walk, step):
    n = step.n_in
    return {"gamma": walk.view(step.weights, n), "beta": walk.view(step.bias, n)}


def _layer_norm(walk, step):
    arrays = _norm_arrays(walk, step)
    walk.give(step, "layer_norm", (walk.take(step),), arrays, epsilon=EPSILON)


def _batch_statistics(walk, step):
    """Measure a mini-batch, of which there is none in prediction."""


def _batch_norm(walk, step):
    n, statistics = step.n_in, walk.net._statistics
    measured = statistics[step.statistics : step.statistics + 2 * n].reshape(2, n)
    arrays = _norm_arrays(walk, step) | {"mean": measured[0], "variance": measured[1]}
    taken = (walk.take(step),)
    walk.give(step, "batch_norm", taken, arrays, epsilon=EPSILON, momentum=MOMENTUM)


def _dropout(walk, step):
    schedule = walk.net._pieces.dropout_schedule
    if step.option and schedule is not None:
        probability = float(schedule.values(np.zeros(1))[0])
    else:
        probability = step.numbers[0] / LEVELS
    walk.give(step, "dropout", (walk.take(step),), probability=probability)


def _residual(walk, step):
    walk.give(step, "add", (walk.take(step), walk.value_in(step.second)))


def _recurrent(walk, step):
    n_in, n_out = step.n_in, step.n_out
    arrays = {
        "weights": walk.view(step.weights, n_in, n_out),
        "recurrent": walk.view(step.weights + n_in * n_out, n_out, n_out),
        "bias": walk.view(step.bias, n_out),
    }
    (slope,) = step.numbers
    name = _NAMES[step.code]
    walk.give(step, "recurrent", (walk.take(step),), arrays, name=name, slope=float(slope))


def _last_step(walk, step):
    walk.give(step, "last_step", (walk.take(step),))


# What becomes of each stage of a program.
READERS: dict[str, Callable] = {
    "columns": _columns,
    "embedding": _embedding,
    "periodic": _periodic,
    "piecewise": _piecewise,
    "bias_rows": _bias_rows,
    "one_hot": _one_hot,
    "expand": _scale,
    "member_in": _scale,
    "member_out": _member_out,
    "dense": _dense,
    "activation": _activation,
    "prelu": _prelu,
    "parametric": _parametric,
    "layer_norm": _layer_norm,
    "batch_statistics": _batch_statistics,
    "batch_norm": _batch_norm,
    "dropout": _dropout,
    "residual": _residual,
    "recurrent": _recurrent,
    "last_step": _last_step,
}


def graph_of(net) -> Graph:
    """Read a network; arrays of the graph are views of its parameters and statistics.

    Raises
    ------
    NotImplementedError
        If it has a stage that nobody has told how to read.
    """
    sequence = getattr(net, "sequence", None)
    if sequence is not None:
        program = net._program_for(Sequences(1, False, sequence == "all"))
    else:
        program = net._program if net._program is not None else build(net._architecture())
    walk = _Walk(net)
    for step in program.steps:
        reader = READERS.get(step.stage)
        if reader is None:
            raise NotImplementedError(
                f"a network with the stage {step.stage!r} cannot be exported: "
                "fastmlp/export/graph.py has no reader of it"
            )
        reader(walk, step)
    return Graph(
        walk.operations,
        walk.value_in(program.steps[-1].output),
        net.layer_sizes[0],
        net.layer_sizes[-1],
        net._pieces.members,
        net.dtype,
        sequence,
        net.feature_names,
    )
