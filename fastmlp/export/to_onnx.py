"""Networks as files of ONNX, the format that other runtimes read: https://onnx.ai."""

import json
from collections.abc import Callable

import numpy as np

from fastmlp.export import check_installed
from fastmlp.export.graph import X, graph_of
from fastmlp.export.onnx_model import Nodes, value_info, write_model
from fastmlp.kernels.activations import SELU_ALPHA, SELU_SCALE
from fastmlp.kernels.stages.columns import TWO_PI


def write_onnx(net, path):
    """See `fastmlp.MLP.to_onnx`."""
    check_installed("to_onnx", "onnx")
    graph = graph_of(net)
    nodes = Nodes()
    nodes.name("X"), nodes.name("outputs")
    nodes.rename(network_nodes(nodes, graph, "X"), "outputs")
    rows = ["n"] if graph.sequence is None else ["n", "steps"]
    rows_out = rows if graph.sequence == "all" else ["n"]
    write_model(
        nodes,
        [value_info("X", graph.dtype, [*rows, graph.n_inputs])],
        [value_info("outputs", graph.dtype, [*rows_out, graph.n_outputs])],
        path,
        repr(net),
        names_of(graph.feature_names),
    )


def names_of(feature_names):
    """Metadata of a file with the names of the inputs, if these have any."""
    return {} if feature_names is None else {"feature_names": json.dumps(feature_names)}


def network_nodes(nodes, graph, rows, averages=True):
    """Append what gives a network's outputs for `rows`; return their name.

    They are (n, n_outputs), or (members, n, n_outputs) if the network has members and nobody
    `averages` them.
    """
    values = {X: rows}
    for operation in graph.operations:
        inputs = [values[one] for one in operation.inputs]
        values[operation.output] = WRITERS[operation.kind](nodes, graph, operation, *inputs)
    outputs = values[graph.output]
    if graph.members > 1 and averages:
        return nodes.add("ReduceMean", outputs, nodes.integers(0), keepdims=0)
    return outputs


def _columns(nodes, graph, operation, rows):
    columns = operation.settings["columns"]
    if columns == list(range(graph.n_inputs)):
        return rows
    return nodes.take(rows, columns)


def _rows_of(nodes, graph, rows, columns, firsts, n_rows):
    """Rows of a table of `n_rows` that codes in columns lead to; `n_rows` for a missing one."""
    dtype = graph.dtype.type
    codes = nodes.take(rows, columns)
    is_there = nodes.add("GreaterOrEqual", codes, nodes.constant(dtype(0)))
    if np.any(firsts):
        codes = nodes.add("Add", codes, nodes.constant(np.array(firsts, dtype)))
    found = nodes.add("Where", is_there, codes, nodes.constant(dtype(n_rows)))
    return nodes.cast(found, np.int64)


def _with_zeros(table, axis=0):
    """A table with one more row, for a missing category."""
    return np.concatenate([table, np.zeros_like(table.take([0], axis))], axis)


def _embedding(nodes, graph, operation, rows):
    table = operation.arrays["table"]
    found = _rows_of(nodes, graph, rows, operation.settings["column"], 0, len(table))
    return nodes.add("Gather", nodes.constant(_with_zeros(table), "embedding"), found)


def _periodic(nodes, graph, operation, rows):
    arrays, columns = operation.arrays, operation.settings["columns"]
    n, _, n_out = arrays["weights"].shape
    turns = graph.dtype.type(TWO_PI) * arrays["frequencies"]
    x = nodes.add("Unsqueeze", nodes.take(rows, columns), nodes.integers(2))
    angles = nodes.add("Mul", x, nodes.constant(turns, "frequencies"))
    angles = nodes.add("Add", angles, nodes.constant(arrays["phases"], "phases"))
    cosines = nodes.add("Unsqueeze", nodes.add("Cos", angles), nodes.integers(2))
    sums = nodes.add("MatMul", cosines, nodes.constant(arrays["weights"], "weights"))
    sums = nodes.add("Squeeze", sums, nodes.integers(2))
    sums = nodes.add("Add", sums, nodes.constant(arrays["biases"], "biases"))
    embedded = nodes.add("Concat", sums, x, axis=2)
    return nodes.add("Reshape", embedded, nodes.integers(0, n * (n_out + 1)))


def _piecewise(nodes, graph, operation, rows):
    arrays, edges = operation.arrays, operation.settings["edges"]
    n_bins = len(edges) - 1
    largest = np.finfo(graph.dtype).max
    lowest, highest = np.zeros(n_bins, graph.dtype), np.ones(n_bins, graph.dtype)
    lowest[0], highest[-1] = -largest, largest
    x = nodes.take(rows, [operation.settings["column"]])
    filled = nodes.add("Sub", x, nodes.constant(edges[:-1], "edges"))
    filled = nodes.add("Div", filled, nodes.constant(np.diff(edges), "widths"))
    filled = nodes.add("Max", filled, nodes.constant(lowest))
    filled = nodes.add("Min", filled, nodes.constant(highest))
    sums = nodes.add("MatMul", filled, nodes.constant(arrays["bins"], "bins"))
    line = nodes.add("Mul", x, nodes.constant(arrays["weights"], "weights"))
    line = nodes.add("Add", line, nodes.constant(arrays["biases"], "biases"))
    return nodes.add("Add", line, sums)


def _concatenate(nodes, graph, operation, *values):
    return nodes.add("Concat", *values, axis=1)


def _bias_rows(nodes, graph, operation):
    zeros = np.zeros(operation.width, graph.dtype)
    return nodes.constant(operation.arrays.get("bias", zeros), "bias")


def _one_hot(nodes, graph, operation, products, rows):
    arrays, settings = operation.arrays, operation.settings
    table = arrays["table"]
    found = _rows_of(nodes, graph, rows, settings["columns"], settings["firsts"], len(table))
    inputs = nodes.add("Gather", nodes.constant(_with_zeros(table), "table"), found)
    if operation.factor == 1 and "scale" not in arrays:
        sums = nodes.add("ReduceSum", inputs, nodes.integers(1), keepdims=0)
        return nodes.add("Add", products, sums)
    # Factors (n, columns) or (k, n, columns) times inputs (n, columns, n_out).
    factors = np.ones((1, len(table)), graph.dtype)
    for name in ("scale", "members"):
        factors = factors * arrays.get(name, 1)
    of_codes = nodes.constant(_with_zeros(factors, axis=1), "factors")
    of_codes = nodes.add("Gather", of_codes, found, axis=1)
    of_codes = nodes.add("Unsqueeze", of_codes, nodes.integers(2))
    sums = nodes.add("Squeeze", nodes.add("MatMul", of_codes, inputs), nodes.integers(2))
    if operation.factor == 1:
        sums = nodes.add("Squeeze", sums, nodes.integers(0))
    return nodes.add("Add", products, sums)


def _by_member(array):
    """An array (k, n) that goes with rows of all members, (k, rows, n)."""
    return array if array.ndim == 1 else array[:, np.newaxis]


def _scale(nodes, graph, operation, values):
    factors = _by_member(operation.arrays["factors"])
    return nodes.add("Mul", values, nodes.constant(factors, "factors"))


def _shift(nodes, graph, operation, values):
    biases = _by_member(operation.arrays["biases"])
    return nodes.add("Add", values, nodes.constant(biases, "biases"))


def _dense(nodes, graph, operation, values):
    products = nodes.add("MatMul", values, nodes.constant(operation.arrays["weights"], "weights"))
    if "bias" not in operation.arrays:
        return products
    bias = _by_member(operation.arrays["bias"])
    return nodes.add("Add", products, nodes.constant(bias, "bias"))


def _function(nodes, graph, name, slope, values):
    """The activation by that name."""
    number = graph.dtype.type
    if name == "identity":
        return values
    if name == "leaky_relu":  # an attribute would be float32
        return nodes.add("PRelu", values, nodes.constant(np.array([slope], graph.dtype), "slope"))
    if name == "selu":  # as are those of Selu
        scale, alpha = np.array([[SELU_SCALE], [SELU_ALPHA]], graph.dtype)
        bent = nodes.add("PRelu", nodes.add("Elu", values), nodes.constant(alpha, "alpha"))
        return nodes.add("Mul", bent, nodes.constant(scale, "scale"))
    if name == "silu":
        return nodes.add("Mul", values, nodes.add("Sigmoid", values))
    if name == "gelu":
        scaled = nodes.add("Mul", values, nodes.constant(number(np.sqrt(0.5))))
        # Runtimes have erf of float32 alone.
        erf = nodes.cast(nodes.add("Erf", nodes.cast(scaled, np.float32)), graph.dtype)
        doubled = nodes.add("Add", erf, nodes.constant(number(1)))
        return nodes.add("Mul", nodes.add("Mul", values, nodes.constant(number(0.5))), doubled)
    if name == "softmax":
        return nodes.add("Softmax", values, axis=-1)
    return nodes.add(OPERATORS[name], values)


# Activations that are an operator of ONNX.
OPERATORS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "elu": "Elu",
    "mish": "Mish",
    "softplus": "Softplus",
    "exponential": "Exp",
}


def _activation(nodes, graph, operation, values):
    settings = operation.settings
    return _function(nodes, graph, settings["name"], settings["slope"], values)


def _prelu(nodes, graph, operation, values):
    return nodes.add("PRelu", values, nodes.constant(operation.arrays["alpha"], "alpha"))


def _parametric(nodes, graph, operation, values):
    changed = _function(nodes, graph, operation.settings["name"], 0.0, values)
    change = nodes.add("Sub", changed, values)
    change = nodes.add("Mul", change, nodes.constant(operation.arrays["alpha"], "alpha"))
    return nodes.add("Add", values, change)


def _layer_norm(nodes, graph, operation, values):
    gamma, beta = (nodes.constant(operation.arrays[name], name) for name in ("gamma", "beta"))
    epsilon = operation.settings["epsilon"]
    return nodes.add("LayerNormalization", values, gamma, beta, axis=-1, epsilon=epsilon)


def _batch_norm(nodes, graph, operation, values):
    arrays = operation.arrays
    inverse = 1 / np.sqrt(arrays["variance"] + graph.dtype.type(operation.settings["epsilon"]))
    shifted = nodes.add("Sub", values, nodes.constant(arrays["mean"], "mean"))
    scaled = nodes.add("Mul", shifted, nodes.constant(arrays["gamma"] * inverse, "gamma"))
    return nodes.add("Add", scaled, nodes.constant(arrays["beta"], "beta"))


def _dropout(nodes, graph, operation, values):
    return values


def _add(nodes, graph, operation, first, second):
    return nodes.add("Add", first, second)


def _recurrent(nodes, graph, operation, values):
    from onnx import helper

    arrays, settings, n = operation.arrays, operation.settings, operation.width
    products = nodes.add("MatMul", values, nodes.constant(arrays["weights"], "weights"))
    products = nodes.add("Add", products, nodes.constant(arrays["bias"], "bias"))
    n_rows = nodes.add("Shape", values, start=0, end=1)
    shape = nodes.add("Concat", n_rows, nodes.integers(n), axis=0)
    zero = nodes.constant(np.zeros(1, graph.dtype), "zero")
    start = nodes.add("Expand", zero, shape)
    body = Nodes(nodes)
    before, of_input = body.name("before"), body.name("of_input")
    at_once, after = body.name("output"), body.name("after")
    carried = body.add("MatMul", before, body.constant(arrays["recurrent"], "recurrent"))
    summed = body.add("Add", of_input, carried)
    body.rename(_function(body, graph, settings["name"], settings["slope"], summed), after)
    body.rename(after, at_once)
    step = helper.make_graph(
        body.nodes,
        body.name("step"),
        [value_info(name, graph.dtype, ["n", n]) for name in (before, of_input)],
        [value_info(name, graph.dtype, ["n", n]) for name in (after, at_once)],
    )
    final, all_steps = nodes.name("final"), nodes.name("all_steps")
    node = helper.make_node(
        "Scan",
        [start, products],
        [final, all_steps],
        body=step,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_output_axes=[1],
    )
    node.name = nodes.name("scan")
    nodes.nodes.append(node)
    return all_steps


def _last_step(nodes, graph, operation, values):
    return nodes.take(values, -1)


# How each of `graph.OPERATIONS` is written.
WRITERS: dict[str, Callable[..., str]] = {
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
