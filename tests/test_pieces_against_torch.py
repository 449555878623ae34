"""Networks of all pieces and mixtures of them, trained by torch from what they say of themselves.

`torch_networks` builds the same network from `MLP.architecture` and `MLP.parameters`; masks of
dropout are those of `reference.dropout_mask`.
"""

import numpy as np
import pytest
import torch_trajectories as torchs
from marks import INTERPRETED, compiled_only
from torch_networks import TorchNetwork, double_precision, mask_seed, relative_error

from fastmlp import MLP, SGD, Categorical, Numeric, quantile_edges

torch = pytest.importorskip("torch")

# All have the same columns: numbers in 0 to 3, codes in 4 (five categories) and 5 (three).
N_COLUMNS = 6
SEED = 11  # of fits


def samples(n, n_out, seed=0):
    """X, targets, classes and weights."""
    rng = np.random.default_rng(seed)
    X = rng.normal(0.2, 1.3, (n, N_COLUMNS))
    X[:, 4], X[:, 5] = rng.integers(-1, 5, n), rng.integers(3, size=n)
    X[::6, 5] = np.nan
    return X, rng.normal(size=(n, n_out)), rng.integers(n_out, size=n), rng.uniform(0.5, 2.0, n)


def plain_columns(X):
    """X without codes, for networks that take all columns as numbers."""
    return np.nan_to_num(X, nan=-0.5)


EDGES = [edges.tolist() for edges in quantile_edges(samples(200, 1)[0], (0, 2), n_bins=6)]
INPUTS = [
    None,
    [Categorical(4, 5), Categorical(5, 3)],
    [Categorical(4, 5, size=3), Categorical(5, 3, size=2)],
    [Numeric((0, 1, 2, 3), "periodic", size=3), Categorical(4, 5), Categorical(5, 3, size=2)],
    [
        Numeric((0, 2), "piecewise_linear", size=4, edges=EDGES),
        Categorical(4, 5, size=3),
        Categorical(5, 3),
    ],
    [
        Categorical(5, 3),
        Numeric(3),
        Numeric((2, 0), "piecewise_linear", size=1, edges=EDGES[::-1]),
        Numeric(1, "periodic", size=2),
        Categorical(4, 5),
    ],
]
ACTIVATIONS = ["tanh", "relu", "leaky_relu(0.2)", "gelu", "silu", "mish", "softplus", "identity"]
ACTIVATIONS += ["prelu", "parametric(mish)", "parametric(selu)", "parametric(tanh)"]


class Case:
    """A network of pieces drawn at random, all of whose parameters are random, and its data."""

    def __init__(self, seed):
        rng = np.random.default_rng([3, seed])
        hidden = 3
        width = int(rng.integers(4, 9))
        n_out = int(rng.integers(2, 4))
        self.sizes = (N_COLUMNS, width, width, width, n_out)
        inputs = INPUTS[rng.integers(len(INPUTS))]
        self.pieces = {
            "inputs": inputs,
            "input_scale": bool(rng.random() < 0.4),
            "members": int(rng.choice([1, 1, 2, 3])),
            "norm": self._one_or_each(rng, [None, "layer", "batch"], hidden),
            "dropout": self._one_or_each(rng, [0.0, 0.25, 0.6], hidden),
            "input_dropout": float(rng.choice([0.0, 0.2])),
            "residual": [False, bool(rng.random() < 0.5), bool(rng.random() < 0.5)],
            "tied": [(3, 2)] if rng.random() < 0.4 else (),
        }
        self.is_class = bool(rng.random() < 0.5)
        self.loss = str(rng.choice(["cross_entropy", "cross_entropy(0.1)"]))
        if not self.is_class:
            self.loss = "squared_error"
        self.net = MLP(
            self.sizes,
            activation=[str(name) for name in rng.choice(ACTIVATIONS, hidden)],
            output="softmax" if self.is_class else "identity",
            dtype="float64",
            seed=seed,
            **self.pieces,
        )
        self.net.theta += rng.normal(0.0, 0.3, self.net.n_params)
        for name, view in self.net.statistics.items():
            view[:] = rng.random(view.size) + (0.5 if "variance" in name else -0.5)
        # Of training mode too: more rows than one group of them, or fewer.
        self.n_rows = int(rng.choice([7, 20, 45])) if not INTERPRETED else 7
        X, numbers, classes, self.weights = samples(self.n_rows, n_out, seed)
        self.X = plain_columns(X) if inputs is None else X
        self.y = classes if self.is_class else numbers
        self.l2 = float(rng.choice([0.0, 0.05]))

    @staticmethod
    def _one_or_each(rng, known, n):
        if rng.random() < 0.5:
            return known[rng.integers(len(known))]
        return [known[i] for i in rng.integers(len(known), size=n)]

    def __repr__(self):
        return f"{self.net.architecture()}, {self.n_rows} rows, {self.loss}"


# Each has some hundred to thousand roundings in the sums that its gradient comes of: 1e-16 times
# that, of a vector whose largest elements are no smaller than 1e-3 of the terms.
BOUND = 1e-9
N_CASES = 4 if INTERPRETED else 40


@pytest.mark.parametrize("seed", range(N_CASES))
def test_gradients_of_mixtures_are_those_of_torch(seed):
    """As they are evaluated: without dropout, and with the running statistics of batch norm."""
    case = Case(seed)
    peer = TorchNetwork(case.net)
    options = {"l2": case.l2, "loss": case.loss}
    loss = peer.loss(case.X, case.y, weights=case.weights, **options)
    loss.backward()
    value, gradient = case.net.loss_and_grad(case.X, case.y, sample_weight=case.weights, **options)
    assert value == pytest.approx(loss.item(), rel=1e-12), case
    assert relative_error(gradient, peer.gradient()) < BOUND, case


@pytest.mark.parametrize("seed", range(N_CASES))
def test_updates_of_mixtures_go_by_the_gradient_of_torch(seed):
    """In training: theta moves by the gradient with masks and statistics of the mini-batch."""
    case = Case(seed)
    net = case.net
    drops = case.pieces["input_dropout"] or np.any(case.pieces["dropout"])
    peer = TorchNetwork(net, mask_seed(SEED) if drops else 0)
    options = {"l2": case.l2, "loss": case.loss}
    loss = peer.loss(
        case.X, case.y, weights=case.weights, update=0, places=range(case.n_rows), **options
    )
    loss.backward()
    before, rate = net.theta.copy(), 4.0
    options |= {"batch_size": None, "epochs": 1, "shuffle": False, "seed": SEED}
    net.fit(case.X, case.y, optimizer=SGD(rate), sample_weight=case.weights, **options)
    # The difference of two thetas has the roundings of theta.
    assert relative_error((before - net.theta) / rate, peer.gradient()) < BOUND, case
    for name, view in net.statistics.items():
        error = relative_error(view, peer.running[name].numpy())
        assert error < 1e-11, f"{name} of {case}"


# Ten steps of each optimizer

PIECES = {
    "layer norm": {"norm": "layer"},
    "batch norm": {"norm": "batch"},
    "dropout": {"dropout": 0.4, "input_dropout": 0.2},
    "residual and tied": {"residual": [False, True], "tied": [(2, 1)]},
    "input scale": {"input_scale": True},
    "members": {"members": 3},
    "one-hot": {"inputs": INPUTS[1]},
    "embeddings": {"inputs": INPUTS[3]},
    "piecewise": {"inputs": INPUTS[4]},
    "label smoothing": {"loss": "cross_entropy(0.1)"},
    "mish": {"activation": "mish"},
    "mixture": {
        "norm": ["layer", None],
        "dropout": [0.0, 0.3],
        "residual": [False, True],
        "input_scale": True,
        "members": 2,
        "inputs": INPUTS[5],
        "loss": "cross_entropy(0.1)",
    },
    "prelu": {"activation": "prelu"},
    "parametric": {"activation": ["parametric(selu)", "parametric(mish)"]},
}

# Roundings of ten steps. An optimizer that divides by the size of a gradient also divides its
# roundings, of 1e-17, by that: 1e-12 for a gradient of 1e-6, times a learning rate of 0.05.
ROUND_OFF = 1e-11


@compiled_only
@pytest.mark.parametrize("written", torchs.METHODS)
@pytest.mark.parametrize("piece", PIECES)
def test_ten_steps_are_those_of_torch(piece, written):
    pieces = {"loss": "cross_entropy", "activation": "tanh"} | PIECES[piece]
    loss = pieces.pop("loss")
    width = N_COLUMNS if "tied" in pieces else 7
    net = MLP((N_COLUMNS, width, width, 3), output="softmax", dtype="float64", seed=2, **pieces)
    net.theta += np.random.default_rng(2).normal(0.0, 0.3, net.n_params)
    X, _, y, _ = samples(50, 3, seed=4)
    if "inputs" not in pieces:
        X = plain_columns(X)
    peer = TorchNetwork(net, mask_seed(SEED))
    name, keywords = torchs.METHODS[written]
    rate = torchs.LEARNING_RATE
    if name == "RMSprop":  # whose first steps are up to ten times as long
        written, rate = written.replace("0.05", "0.005"), rate / 10
    decay = torchs.WEIGHT_DECAY if name == "AdamW" else 0.0
    with double_precision():
        steps = peer.optimizer(name, rate, decay, **keywords)
        peer.fit(steps, X, y, batch_size=10, epochs=2, loss=loss)
    options = {"loss": loss, "batch_size": 10, "shuffle": False, "seed": SEED}
    net.fit(X, y, optimizer=written, epochs=2, **options)
    found, expected, start = net.theta, peer.theta(), 0
    for key, view in net.parameters:
        part = slice(start, start + view.size)
        start += view.size
        # What a batch norm takes away again has a gradient that is round-off alone, which these
        # optimizers divide by its size: a step of any sign.
        is_idle = piece == "batch norm" and key in ("biases[0]", "biases[1]")
        if not (is_idle and name != "SGD"):
            error = np.abs(found[part] - expected[part]).max()
            assert error < (1e-8 if piece == "batch norm" else ROUND_OFF), key
