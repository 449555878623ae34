"""The model: layer sizes, activations and one flat parameter vector."""

import functools
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fastmlp.feature_names import check_names
from fastmlp.initialization import NAMES as INITIALIZATIONS
from fastmlp.initialization import draw_weights
from fastmlp.kernels import codes
from fastmlp.kernels.records import LAYER, new, numbers
from fastmlp.pace import Pace
from fastmlp.prediction import predict
from fastmlp.sweep import SpareSweep
from fastmlp.validation import (
    as_generator,
    check_count,
    check_finite,
    check_known,
    check_number,
    check_unmasked,
    parse_name,
    rounded,
)
from fastmlp.workspace import aligned_empty, count_params

if TYPE_CHECKING:
    from fastmlp.result import FitResult

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

# A wider layer is a slip of the keyboard; refuse it before its memory is asked for.
LARGEST_LAYER = 1 << 24

# Bytes of workspace that a network keeps from one evaluation to the next: few, for there may be
# many networks, yet all that is made faster by it, because larger ones take some 1 ms anyway.
LARGEST_SPARE = 1 << 21


@functools.cache
def _evaluate_once():
    """Imported late, because `objective` imports this module, and once, which costs less."""
    from fastmlp.objective import evaluate_once

    return evaluate_once


class MLP:
    """A multilayer perceptron with all its parameters in one vector.

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of inputs, units of each hidden layer, number of outputs: ``[784, 16, 16, 10]``.
    activation : str or sequence of str, default "relu"
        Of all hidden layers, or one for each: "identity", "relu", "leaky_relu" (slope 0.01, or
        "leaky_relu(0.2)"), "sigmoid", "tanh", "elu", "selu", "gelu" (exact), "silu",
        "mish", "softplus" or "exponential".
    output : str, default "identity"
        Of the output layer: one of the above or "softmax".
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of all computation. float32 is twice as fast; float64 is for
        second-order methods run to high accuracy.
    init : str, default "auto"
        Distribution of the starting weights: "glorot_uniform", "glorot_normal", "he_uniform",
        "he_normal", "lecun_uniform", "lecun_normal" or "auto", which picks by each layer's
        activation. Biases start at 0.
    seed : int or None, default None
        Of the starting weights. The same seed gives the same weights, up to rounding also for
        the other dtype. None draws afresh.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        All parameters: for each layer its weights, row by row, then its biases. Assigning
        copies the values in; changing it in place changes the network.
    weights : tuple of ndarray, (n_in, n_out) each
        Views of theta.
    biases : tuple of ndarray, (n_out,) each
        Views of theta.

    Raises
    ------
    ValueError, TypeError
        For sizes below 1, unknown names or another dtype.

    Examples
    --------
    >>> from fastmlp import MLP
    >>> net = MLP([784, 16, 16, 10], output="softmax", seed=0)
    >>> net.n_params
    13002
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
    ):
        self._layer_sizes = _check_layer_sizes(layer_sizes)
        self._dtype = _check_dtype(dtype)
        n_hidden = len(self._layer_sizes) - 2
        self._activations, self._parameters = _check_activations(activation, output, n_hidden)
        check_known("init", init, INITIALIZATIONS)
        self._init = init
        rng = as_generator(seed)
        self._allocate()
        self._draw(rng)

    def _draw(self, rng):
        """Draw starting weights."""
        for weights, name in zip(self.weights, self._activations, strict=True):
            n_in, n_out = weights.shape
            weights[:] = draw_weights(rng, n_in, n_out, self._init, name)

    def _allocate(self):
        """Lay theta out, as zeros, and make the views and the table that kernels read."""
        sizes = self._layer_sizes
        n_params = count_params(sizes)
        self._theta = aligned_empty(n_params, self._dtype)
        self._theta[:] = 0
        layout = new(LAYER, len(sizes) - 1)
        weights, biases = [], []
        start = width = 0
        for layer, (n_in, n_out) in enumerate(pairwise(sizes)):
            code = ACTIVATIONS[self._activations[layer]]
            layout[layer] = n_in, n_out, start, code, n_out, width, 0, 0
            weights.append(self._theta[start : start + n_in * n_out].reshape(n_in, n_out))
            start += n_in * n_out
            biases.append(self._theta[start : start + n_out])
            start += n_out
            width += n_out
        self._layout, self._layout_numbers = layout, numbers(layout)
        self._activation_codes = tuple(layout.activation.tolist())
        self._activation_parameters = np.array(self._parameters, self._dtype)
        self._pace = Pace([True, False])
        self._spare = SpareSweep(LARGEST_SPARE)
        self._weights, self._biases = tuple(weights), tuple(biases)
        self._feature_names: tuple[str, ...] | None = None

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
        """Number of weights and biases."""
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

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Views of theta: the weights of each layer, (n_in, n_out)."""
        return self._weights

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Views of theta: the biases of each layer, (n_out,)."""
        return self._biases

    def __repr__(self):
        lines = [f"MLP {'-'.join(map(str, self._layer_sizes))}, {self._dtype}"]
        rows = [
            (str(layer), f"{w.shape[0]} -> {w.shape[1]}", name, f"{w.size + b.size:,}")
            for layer, (w, b, name) in enumerate(
                zip(self.weights, self.biases, self.activations, strict=True), start=1
            )
        ]
        header = ("layer", "units", "activation", "parameters")
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(4)]
        for row in [header, *rows]:
            cells = [cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False)]
            lines.append("  " + "  ".join([*cells, row[3].rjust(widths[3])]))
        lines.append(f"  {self.n_params:,} parameters")
        return "\n".join(lines)

    def __getstate__(self):
        return {
            "architecture": self.architecture(),
            "theta": self._theta.copy(),
            "feature_names": self._feature_names,
        }

    def __setstate__(self, state):
        # Views do not survive pickling: lay theta out anew.
        self._restore(state["architecture"], state["theta"])
        self.feature_names = state.get("feature_names")  # older pickles lack them

    def architecture(self) -> dict:
        """What `MLP` was built from, without the parameters: plain values, fit for JSON."""
        return {
            "layer_sizes": list(self._layer_sizes),
            "activation": list(self.activations[:-1]),
            "output": self.output,
            "dtype": str(self._dtype),
            "init": self._init,
        }

    @classmethod
    def from_architecture(cls, architecture: dict, theta) -> "MLP":
        """Build the network that `architecture` describes, with the parameters `theta`."""
        net = cls.__new__(cls)
        net._restore(architecture, theta)
        return net

    def _restore(self, architecture, theta):
        self._layer_sizes = _check_layer_sizes(architecture["layer_sizes"])
        self._dtype = _check_dtype(architecture["dtype"])
        self._activations, self._parameters = _check_activations(
            architecture["activation"], architecture["output"], len(self._layer_sizes) - 2
        )
        self._init = architecture.get("init", "auto")  # older files lack it
        check_known("init", self._init, INITIALIZATIONS)
        self._allocate()
        self.theta = theta

    def copy(self) -> "MLP":
        """An independent network with the same architecture, parameters and feature names."""
        net = self.from_architecture(self.architecture(), self._theta)
        net._feature_names = self._feature_names
        return net

    def redrawn(self, seed=None) -> "MLP":
        """A network with the same architecture and new starting weights, drawn as by `MLP`."""
        rng = as_generator(seed)
        net = self.copy()
        net._theta[:] = 0
        net._draw(rng)
        return net

    def predict(self, X, *, n_threads=None) -> np.ndarray:
        """Outputs of the network, after the output activation.

        Parameters
        ----------
        X : array_like, (n, n_in)
            Finite numbers. Used in place if C-contiguous and of the network's dtype. Columns of a
            data frame are found by name, see `feature_names`.
        n_threads : int or None, default None
            At most so many threads, and only one where a team is not faster. None is as many
            as this process may use cores and the work is enough for.

        Returns
        -------
        ndarray, (n, n_out), of the network's dtype
            NaN or infinite where numbers of X are so large that sums overflow.
        """
        return predict(self, X, n_threads)

    def loss(
        self, X, y, *, loss="auto", sample_weight=None, l1=0.0, l2=0.0, n_threads=None
    ) -> float:
        """The objective J(theta), see `fastmlp.Objective` for its definition and parameters."""
        evaluate = _evaluate_once()
        mode = codes.EVALUATE
        return evaluate(self, mode, X, y, loss, sample_weight, l1, l2, n_threads)[0]

    def loss_and_grad(
        self, X, y, *, loss="auto", sample_weight=None, l1=0.0, l2=0.0, n_threads=None
    ) -> tuple[float, np.ndarray]:
        """The objective and its gradient (n_params,), of the network's dtype.

        Parameters are those of `fastmlp.Objective`. The gradient is one backward pass over all
        rows, in chunks, so that memory does not grow with n. The network keeps a small workspace,
        so that the next call, for as many rows and the same loss, is sooner done.
        """
        evaluate = _evaluate_once()
        mode = codes.DIFFERENTIATE
        return evaluate(self, mode, X, y, loss, sample_weight, l1, l2, n_threads)

    def fit(self, X, y, **options) -> "FitResult":
        """Train the network in place; see `fastmlp.fit` for all parameters."""
        from fastmlp.training import fit

        return fit(self, X, y, **options)

    def save(self, path) -> None:
        """Write the network to a safetensors file: tensors by layer, the rest as JSON.

        The file is written beside its place and moved there, so that a crash leaves an old one
        whole. A symbolic link stays: the file that it names is written. So is what cannot be
        replaced, such as a pipe.

        Raises
        ------
        TypeError
            If `path` is no path.
        OSError
            If it cannot be written: it is a folder, read-only, or in no folder to write to.
        """
        from fastmlp.files import save

        save(self, path)

    @classmethod
    def load(cls, path) -> "MLP":
        """Read a network that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated, no safetensors file, not one of fastmlp's, or holds
            parameters that are not finite.
        """
        from fastmlp.files import load

        return load(path)


def _check_layer_sizes(layer_sizes):
    if isinstance(layer_sizes, str) or not hasattr(layer_sizes, "__iter__"):
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
    hidden = [name for name in ACTIVATIONS if name != "softmax"]
    if isinstance(activation, str):
        # Checked here, because without hidden layers nobody else would.
        parse_name("activation", activation, hidden, {"leaky_relu": "slope"})
        activation = [activation] * n_hidden
    elif not hasattr(activation, "__iter__"):
        raise TypeError(f"activation must be a name or a sequence of names, got {activation!r}")
    activation = list(activation)
    if len(activation) != n_hidden:
        raise ValueError(
            f"activation must name one activation for each of the {n_hidden} hidden layers, "
            f"got {len(activation)}"
        )
    names, parameters = [], []
    for i, text in enumerate([*activation, output]):
        argument, known = ("activation", hidden) if i < n_hidden else ("output", ACTIVATIONS)
        name, slope = parse_name(argument, text, known, {"leaky_relu": "slope"})
        if name == "leaky_relu":
            slope = LEAKY_RELU_SLOPE if slope is None else slope
            check_number("slope of leaky_relu", slope, "in [0, 1)", lambda x: 0 <= x < 1)
        names.append(name)
        parameters.append(slope or 0.0)
    return tuple(names), tuple(parameters)
