"""Fitted estimators as files of ONNX: inputs and outputs are called as skl2onnx calls them."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from fastmlp.export import check_installed
from fastmlp.export.graph import graph_of
from fastmlp.export.onnx_model import Nodes, value_info, write_model
from fastmlp.export.to_onnx import names_of, network_nodes


def write_estimator(estimator, path):
    """See `BaseMLP.to_onnx`."""
    check_is_fitted(estimator)
    check_installed("to_onnx", "onnx")
    net = estimator._current_network()
    graph = graph_of(net)
    nodes = Nodes()
    nodes.name("X")
    outputs = network_nodes(nodes, graph, "X")
    if is_classifier(estimator):
        found = _classifier_outputs(nodes, estimator, graph, outputs)
    else:
        found = [name_output(nodes, "variable", outputs, graph.dtype, graph.n_outputs)]
    inputs = [value_info("X", graph.dtype, ["n", graph.n_inputs])]
    description = f"{type(estimator).__name__}\n{net!r}"
    write_model(nodes, inputs, found, path, description, names_of(graph.feature_names))


def name_output(nodes, wish, tensor, dtype, *columns):
    """Make a tensor an output of the graph; return what describes it."""
    name = nodes.name(wish)
    nodes.rename(tensor, name)
    return value_info(name, dtype, ["n", *columns])


def label_output(nodes, classes, indices):
    """Make the classes (n,) by their numbers an output of the graph."""
    values = _as_tensor(classes)
    labels = nodes.add("Gather", nodes.constant(values, "classes"), indices)
    return name_output(nodes, "label", labels, values.dtype)


def _as_tensor(classes):
    """Classes as an array of a dtype that ONNX has, integers as int64, as skl2onnx has them."""
    kind = classes.dtype.kind
    if kind in "iu" and (classes <= np.iinfo(np.int64).max).all():
        return classes.astype(np.int64)
    if kind in "UT" or (kind == "O" and all(isinstance(one, str) for one in classes)):
        return np.array([str(one) for one in classes], object)
    if kind in "b" or classes.dtype in (np.float32, np.float64):
        return classes
    raise ValueError(
        "to_onnx takes classes that are strings, booleans or numbers of int64, float32 or float64, "
        f"which ONNX has, got {classes.dtype} with {classes[0]!r}"
    )


def _classifier_outputs(nodes, estimator, graph, outputs):
    """Append what becomes of a network's outputs; return "label" and "probabilities"."""
    are_margins = estimator._margins()
    number = graph.dtype.type
    threshold = nodes.constant(number(0.0 if are_margins else 0.5), "threshold")
    n_classes, multilabel = len(estimator.classes_), estimator._is_multilabel()
    if multilabel:
        labels = nodes.cast(nodes.add("Greater", outputs, threshold), np.int64)
        found = [name_output(nodes, "label", labels, np.int64, n_classes)]
    elif n_classes == 2 and graph.n_outputs == 1:
        is_second = nodes.add("Greater", outputs, threshold)
        indices = nodes.add("Squeeze", nodes.cast(is_second, np.int64), nodes.integers(1))
        found = [label_output(nodes, estimator.classes_, indices)]
    else:
        indices = nodes.add("ArgMax", outputs, axis=1, keepdims=0)
        found = [label_output(nodes, estimator.classes_, indices)]
    if not hasattr(estimator, "predict_proba"):
        return found
    probabilities = nodes.add("Sigmoid", outputs) if are_margins else outputs
    if n_classes == 1:
        probabilities = nodes.add("Softmax", outputs, axis=1)
    elif graph.n_outputs == 1 and not multilabel:
        of_first = nodes.add("Sub", nodes.constant(number(1)), probabilities)
        probabilities = nodes.add("Concat", of_first, probabilities, axis=1)
    elif estimator.out_activation_ != "softmax" and not multilabel:
        probabilities = shares(nodes, probabilities)
    found.append(name_output(nodes, "probabilities", probabilities, graph.dtype, n_classes))
    return found


def shares(nodes, values):
    """Append what divides the values of each row by their sum."""
    return nodes.add("Div", values, nodes.add("ReduceSum", values, nodes.integers(1), keepdims=1))
