"""Fitted estimators for tables as files of ONNX, with all that becomes of their columns."""

import numpy as np
from sklearn.base import is_classifier

from fastmlp.export import check_installed
from fastmlp.export.graph import graph_of
from fastmlp.export.onnx_model import Nodes, value_info, write_model
from fastmlp.export.to_onnx import names_of, network_nodes
from fastmlp.sklearn.to_onnx import label_output, name_output, shares
from fastmlp.tabular.calibration import SMALLEST
from fastmlp.tabular.columns import sort_of
from fastmlp.tabular.encoding import BEND, FAR
from fastmlp.tabular.targets import Quantiles

# Columns of the table, and predictions, are of it; networks compute in float32.
_DTYPE = np.float64


def write_tabular(estimator, path):
    """See `BaseTabular.to_onnx`."""
    check_installed("to_onnx", "onnx")
    encoding = estimator._encoding
    nodes = Nodes()
    columns, inputs = _inputs(nodes, encoding)
    rows = _Columns(nodes, encoding, columns).encoded()
    ensemble = estimator._ensemble
    predictions = None
    for network, share in zip(ensemble.networks, ensemble.shares, strict=True):
        outputs = nodes.cast(network_nodes(nodes, graph_of(network), rows), _DTYPE)
        decoded = _decoded(nodes, estimator._task, outputs)
        one = nodes.add("Mul", decoded, nodes.constant(_DTYPE(share), "share"))
        predictions = one if predictions is None else nodes.add("Add", predictions, one)
    n_outputs = estimator._task.n_outputs
    if is_classifier(estimator):
        indices = nodes.add("ArgMax", predictions, axis=1, keepdims=0)
        tempered = _tempered(nodes, predictions, estimator.temperature_)
        found = [
            label_output(nodes, estimator.classes_, indices),
            name_output(nodes, "probabilities", tempered, _DTYPE, n_outputs),
        ]
    else:
        found = [name_output(nodes, "variable", predictions, _DTYPE, n_outputs)]
    n_networks = len(ensemble.networks)
    description = f"{type(estimator).__name__} of {n_networks} networks\n{ensemble.networks[0]!r}"
    write_model(nodes, inputs, found, path, description, names_of(encoding.names))


def _is_text(feature):
    return bool(feature.categories) and sort_of(feature.categories) == "text"


def _inputs(nodes, encoding):
    """The columns (n, 1) of the table by their number, and what describes the graph's inputs.

    An array without texts is one input, else each column that counts is one.
    """
    used = [i for i, one in enumerate(encoding.features) if one.kind != "dropped"]
    for i in used:
        if encoding.features[i].kind == "date":
            name = i if encoding.names is None else repr(encoding.names[i])
            raise ValueError(
                f"to_onnx takes no dates, which ONNX has no type for, but column {name} has some: "
                "make numbers of them before fit"
            )
    if encoding.names is None and not any(_is_text(encoding.features[i]) for i in used):
        nodes.name("X")
        columns = {i: nodes.take("X", [i]) for i in used}
        return columns, [value_info("X", _DTYPE, ["n", encoding.n_columns])]
    columns, inputs = {}, []
    for i in used:
        wish = f"x{i}" if encoding.names is None else encoding.names[i]
        columns[i] = nodes.name(wish)
        dtype = object if _is_text(encoding.features[i]) else _DTYPE
        inputs.append(value_info(columns[i], dtype, ["n", 1]))
    return columns, inputs


class _Columns:
    """Nodes that do what `Encoding.encode` does, for columns (n, 1)."""

    def __init__(self, nodes, encoding, columns):
        self.nodes, self.encoding, self.columns = nodes, encoding, columns

    def encoded(self):
        """The inputs of the networks, float32 (n, n_inputs)."""
        placed = {}  # by where they begin
        for i in self.columns:
            feature = self.encoding.features[i]
            number, other, code = self.encoding._places[i]
            if feature.categories and feature.table:
                table = self._constant(np.array(feature.table, np.float32))
                placed[other] = self.nodes.add("Gather", table, self._codes(i, len(feature.table)))
            elif feature.categories:
                codes = self.nodes.cast(self._codes(i, 0), np.float32)
                placed[code] = self.nodes.add("Unsqueeze", codes, self.nodes.integers(1))
            else:
                if feature.numbers:
                    placed[number] = self._number(self.columns[i], feature.numbers["value"])
                if feature.indicator is not None:
                    placed[other] = self._indicator(self.columns[i], feature.indicator)
        return self.nodes.add("Concat", *(placed[at] for at in sorted(placed)), axis=1)

    def _constant(self, value):
        return self.nodes.constant(np.asarray(value), "learnt")

    def _codes(self, i, n_in_table):
        """Number of each row's category (n,), and what stands for none: -1, or a table's end."""
        nodes, categories = self.nodes, self.encoding.features[i].categories
        none = n_in_table - 1
        if _is_text(self.encoding.features[i]):
            codes = nodes.add(
                "LabelEncoder",
                self.columns[i],
                domain="ai.onnx.ml",
                keys_strings=list(categories),
                values_int64s=list(range(len(categories))),
                default_int64=none,
            )
            return nodes.add("Squeeze", codes, nodes.integers(1))
        is_it = nodes.add("Equal", self.columns[i], self._constant(np.array(categories, _DTYPE)))
        is_it = nodes.cast(is_it, np.float32)
        largest = nodes.add("ReduceMax", is_it, nodes.integers(1), keepdims=0)
        is_known = nodes.add("Greater", largest, self._constant(np.float32(0)))
        code = nodes.add("ArgMax", is_it, axis=1, keepdims=0)
        return nodes.add("Where", is_known, code, self._constant(np.int64(none)))

    def _number(self, x, number):
        nodes, infinity = self.nodes, _DTYPE(np.inf)
        for infinite, finite in ((infinity, number.largest), (-infinity, number.smallest)):
            is_it = nodes.add("Equal", x, self._constant(infinite))
            x = nodes.add("Where", is_it, self._constant(_DTYPE(finite)), x)
        z = nodes.add("Sub", x, self._constant(_DTYPE(number.center)))
        z = nodes.add("Mul", z, self._constant(_DTYPE(number.scale)))
        z = nodes.add("Clip", z, self._constant(_DTYPE(-FAR)), self._constant(_DTYPE(FAR)))
        bent = nodes.add("Div", z, self._constant(_DTYPE(BEND)))
        bent = nodes.add("Add", nodes.add("Mul", bent, bent), self._constant(_DTYPE(1)))
        scaled = nodes.add("Div", z, nodes.add("Sqrt", bent))
        is_missing = nodes.add("IsNaN", x)
        filled = nodes.add("Where", is_missing, self._constant(_DTYPE(number.mean)), scaled)
        return nodes.cast(filled, np.float32)

    def _indicator(self, x, inputs):
        there, absent = map(np.float32, inputs)
        is_absent = self.nodes.add("Or", self.nodes.add("IsNaN", x), self.nodes.add("IsInf", x))
        return self.nodes.add("Where", is_absent, self._constant(absent), self._constant(there))


def _decoded(nodes, task, outputs):
    """Append what a task's `decode` does; values are (n, 1)."""
    if not hasattr(task, "scaling"):
        return shares(nodes, outputs)
    mean, scale, smallest, largest = (
        nodes.constant(_DTYPE(value), "target") for value in task.scaling
    )
    values = nodes.add("Add", nodes.add("Mul", outputs, scale), mean)
    values = nodes.add("Clip", values, smallest, largest)
    if isinstance(task, Quantiles):
        n_levels = nodes.integers(task.n_outputs)
        values = nodes.add("TopK", values, n_levels, n_outputs=2, axis=1, largest=0)
    return values


def _tempered(nodes, probabilities, temperature):
    """Append what `calibration.temper` does."""
    if temperature == 1:
        return probabilities
    logits = nodes.add("Log", nodes.add("Max", probabilities, nodes.constant(_DTYPE(SMALLEST))))
    logits = nodes.add("Div", logits, nodes.constant(_DTYPE(temperature), "temperature"))
    return nodes.add("Softmax", logits, axis=1)
