"""Networks of every kind, for the tests of what they are exported to."""

import numpy as np

from fastmlp import MLP, RNN, Categorical, FlatCosine, Numeric
from fastmlp.network import ACTIVATIONS, PARAMETRIC, PRELU

N_ROWS = 50
N_CATEGORIES = (3, 4)

# Columns: three of numbers, then codes of two columns of categories.
ONE_HOT = [Categorical(3, 3), Categorical(4, 4)]
EMBEDDED = [
    Categorical(3, 3, size=2),
    Categorical(4, 4),
    Numeric([2, 0], "periodic", size=3),
    Numeric(1, "piecewise_linear", size=2, edges=[[-1.0, 0.0, 1.5]]),
]

# Arguments of networks with each piece of `fastmlp.pieces.NAMES`, and with mixes.
PIECES = {
    "norm": {"norm": ["batch", "layer", None]},
    "dropout": {"dropout": [0.2, 0.0, 0.3]},
    "scheduled dropout": {"dropout": FlatCosine(0.15), "output": "softmax"},
    "input_dropout": {"input_dropout": 0.2, "inputs": ONE_HOT},
    "residual": {"residual": True, "norm": "layer", "activation": "mish"},
    "tied": {"tied": [(3, 2)]},
    "input_scale": {"input_scale": True, "inputs": ONE_HOT},
    "inputs": {"inputs": EMBEDDED},
    "one-hot": {"inputs": ONE_HOT},
    "members": {"members": 3},
    "members, softmax": {"members": 3, "output": "softmax", "norm": ["batch", "layer", None]},
    "members, leaky_relu": {"members": 2, "activation": "leaky_relu(0.2)"},
    "members, prelu": {"members": 2, "activation": "prelu"},
    "members, one-hot": {"members": 3, "inputs": ONE_HOT, "input_scale": True},
    "mixed": {
        "activation": ["mish", "parametric(mish)", "gelu"],
        "norm": ["batch", "layer", None],
        "dropout": 0.1,
        "residual": True,
        "tied": [(3, 2)],
        "input_scale": True,
        "inputs": EMBEDDED,
        "members": 2,
    },
}

# Activations of hidden layers.
HIDDEN = [
    *(name for name in ACTIVATIONS if name != "softmax"),
    "leaky_relu(0.2)",
    *PRELU,
    *(f"parametric({name})" for name in PARAMETRIC),
]


def shaken(net, seed=1):
    """The network with every parameter and statistic moved, so that none is at its start."""
    rng = np.random.default_rng(seed)
    net.theta += 0.2 * rng.normal(size=net.n_params)
    for name, values in net.statistics.items():
        values += 0.3 * rng.uniform(size=values.shape)
        assert "mean" in name or (values > 0).all()
    return net


def network(dtype="float32", **given):
    """A network of five columns and three hidden layers, of which nothing is at its start."""
    net = shaken(MLP([5, 6, 6, 6, 3], dtype=dtype, seed=0, **given))
    if "exponential" in str(given.get("activation")):
        net.theta *= 0.3  # else its numbers tower
    return net


def only_categories(dtype="float32", **given):
    """A network without a column of numbers."""
    inputs = [Categorical(0, 3), Categorical(1, 4)]
    return shaken(MLP([2, 6, 6, 3], inputs=inputs, dtype=dtype, seed=0, **given))


def recurrent(dtype="float32", **given):
    """A recurrent network of two hidden layers."""
    return shaken(RNN([3, 5, 4, 2], dtype=dtype, seed=0, **given))


def rows(net, n=N_ROWS, seed=2):
    """Rows for such a network, with missing categories among them."""
    rng = np.random.default_rng(seed)
    if isinstance(net, RNN):
        return rng.normal(size=(n, 7, net.layer_sizes[0])).astype(net.dtype)
    X = rng.normal(size=(n, net.layer_sizes[0])).astype(net.dtype)
    for column, n_categories in zip(net.categorical_columns, N_CATEGORIES, strict=False):
        X[:, column] = rng.integers(-1, n_categories, n)
        X[0, column] = np.nan
    return X
