"""A graph of ONNX as it is built, node after node, and the file that it becomes."""

import numpy as np

from fastmlp.version import __version__
from fastmlp.writing import check_writable, writing

# The newest operators that are needed are of 2022: older runtimes take the file, too.
OPSET = 18
ML_OPSET = 3
IR_VERSION = 8


class Nodes:
    """Nodes of a graph, each of which gives one tensor, by name.

    Parameters
    ----------
    within : Nodes or None, default None
        The graph that this one is the body of a loop of, which has the constants of both.
    """

    def __init__(self, within=None):
        self.nodes = []
        self._within = within
        self._names = {} if within is None else within._names
        self._constants = {} if within is None else within._constants

    def name(self, wish):
        """A name that is not taken yet."""
        count = self._names[wish] = self._names.get(wish, 0) + 1
        return wish if count == 1 else f"{wish}_{count}"

    def add(self, operator, *inputs, domain="", n_outputs=1, **attributes):
        """Append a node; return the name of its first output."""
        from onnx import helper

        outputs = [self.name(operator.lower()) for _ in range(n_outputs)]
        node = helper.make_node(operator, inputs, outputs, domain=domain, **attributes)
        node.name = outputs[0]
        self.nodes.append(node)
        return outputs[0]

    def rename(self, tensor, name):
        """Give a tensor another name, for who reads it from outside."""
        from onnx import helper

        node = helper.make_node("Identity", [tensor], [name])
        node.name = self.name(f"to_{name}")
        self.nodes.append(node)

    def constant(self, array, wish="constant"):
        """The name of a constant; arrays that are the same memory, or equal numbers, are one."""
        from onnx import numpy_helper

        array = np.asarray(array)
        is_short = array.size <= 8 and array.dtype.kind != "O"
        at = array.tobytes() if is_short else array.__array_interface__["data"][0]
        key = at, array.shape, array.strides, array.dtype.str
        if key not in self._constants:
            # The array is kept: another must not come to lie where it was.
            tensor = numpy_helper.from_array(np.array(array, order="C"), self.name(wish))
            self._constants[key] = tensor, array
        return self._constants[key][0].name

    @property
    def initializers(self):
        return [tensor for tensor, _ in self._constants.values()]

    # What is said often.

    def integers(self, *values):
        return self.constant(np.array(values, np.int64), "integers")

    def take(self, X, columns, axis=1):
        """Some columns of a matrix, or one of them as a vector if it is a number."""
        indices = np.array(columns, np.int64)
        return self.add("Gather", X, self.constant(indices, "columns"), axis=axis)

    def cast(self, tensor, dtype):
        return self.add("Cast", tensor, to=element_type(dtype))


def element_type(dtype):
    """ONNX's number of a dtype; objects are texts."""
    from onnx import TensorProto, helper

    dtype = np.dtype(dtype)
    return TensorProto.STRING if dtype.kind in "OUT" else helper.np_dtype_to_tensor_dtype(dtype)


def value_info(name, dtype, shape):
    """Name, type and shape of an input or an output."""
    from onnx import helper

    return helper.make_tensor_value_info(name, element_type(dtype), shape)


def write_model(nodes, inputs, outputs, path, description, metadata=None):
    """Check a graph, and write it to a file.

    Parameters
    ----------
    nodes : Nodes
    inputs, outputs : list
        See `value_info`.
    path : str or os.PathLike
    description : str
    metadata : dict of str to str, or None
    """
    import onnx
    from onnx import helper

    check_writable("path", path)
    graph = helper.make_graph(nodes.nodes, "fastmlp", inputs, outputs, nodes.initializers)
    domains = {node.domain for node in nodes.nodes}
    opsets = [helper.make_opsetid("", OPSET)]
    if "ai.onnx.ml" in domains:
        opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="fastmlp",
        producer_version=__version__,
        doc_string=description,
    )
    helper.set_model_props(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    with writing("path", path) as file:
        file.write(model.SerializeToString())
