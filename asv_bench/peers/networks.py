"""Networks with pieces beyond a chain of dense layers: one description for all libraries."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from asv_bench.benchmarks.workloads import Workload

N_FREQUENCIES = 16


@dataclass(frozen=True)
class Network(Workload):
    """A `Workload` whose hidden layers are product, layer norm, activation, dropout, in that order.

    Attributes
    ----------
    norm : bool
        Whether there is layer norm.
    dropout : float
        Probability.
    members : int
        Networks that share all weights but those of the output layer, z = s * ((r * x) W) + b
        with r, s and b of each one's own; the loss is the mean of theirs. BatchEnsemble,
        arXiv:2002.06715.
    n_periodic : int
        Columns that become three sums of 16 cosines of trained frequencies, and the number
        itself: the embedding PBLD of RealMLP, arXiv:2407.04491.
    categories : tuple of int
        Categories of each of the columns that follow.
    embedding : int or None
        Numbers that a category becomes; None is one-hot.
    length : int
        Rows of a sequence, of which the hidden layer, one, is recurrent, and whose last state the
        output layer reads; 0 for none.
    """

    norm: bool = False
    dropout: float = 0.0
    members: int = 1
    n_periodic: int = 0
    categories: tuple[int, ...] = ()
    embedding: int | None = 8
    length: int = 0

    @property
    def widths(self):
        """Inputs of the first layer and outputs of each."""
        n_in = self.sizes[0]
        if self.categories:
            embedded = sum(self.embedding or n for n in self.categories)
            n_in += 3 * self.n_periodic - len(self.categories) + embedded
        return (n_in, *self.sizes[1:])

    @property
    def flops(self):
        """Floating-point operations of one step's matrix products."""
        first, *others = (n_in * n_out for n_in, n_out in pairwise(self.widths))
        if self.length:
            (n_hidden,) = self.sizes[1:-1]
            per_row = self.length * (2 * first + 3 * n_hidden**2) + 3 * others[-1]
        else:
            # Embeddings need the gradient of the first layer's inputs.
            per_row = self.members * ((3 if self.categories else 2) * first + 3 * sum(others))
        return 2.0 * self.batch * per_row

    def data(self):
        """X, (rows, n_in) or (rows, length, n_in), float32 with codes in it, and y; at random."""
        rng = np.random.default_rng(0)
        shape = (self.length,) if self.length else ()
        X = rng.standard_normal((self.n_rows, *shape, self.sizes[0]), np.float32)
        for column, n in enumerate(self.categories, start=self.n_periodic):
            X[:, column] = rng.integers(0, n, self.n_rows)
        if self.output == "softmax":
            return X, rng.integers(0, self.sizes[-1], self.n_rows)
        return X, rng.standard_normal((self.n_rows, self.sizes[-1]), np.float32)

    def split(self, X):
        """X as peers have it: alone, or numbers and rows of the one table of all categories."""
        if not self.categories:
            return (X,)
        firsts = np.cumsum([0, *self.categories[:-1]])
        codes = X[:, self.n_periodic :].astype(np.int32) + firsts.astype(np.int32)
        return np.ascontiguousarray(X[:, : self.n_periodic]), codes

    def start(self):
        """Parameters at the start: a dict for the inputs and one for each layer.

        None is 0 or 1, so that networks of different libraries that agree do so in all pieces.
        """
        rng = np.random.default_rng(1)

        def around(center, *shape, deviation=0.1):
            return rng.normal(center, deviation, shape).astype(np.float32)

        inputs = {}
        if self.n_periodic:
            n = self.n_periodic
            inputs["frequencies"] = around(0, n, N_FREQUENCIES)
            inputs["phases"] = around(0, n, N_FREQUENCIES, deviation=2)
            inputs["W"] = around(0, n, N_FREQUENCIES, 3, deviation=0.25)
            inputs["b"] = around(0, n, 3)
        if self.categories:
            inputs["table"] = around(0, sum(self.categories), self.embedding, deviation=1)
        layers = []
        own = (self.members,) if self.members > 1 else ()
        for n_in, n_out in pairwise(self.widths):
            is_hidden = len(layers) < len(self.sizes) - 2
            shape = (n_in, n_out) if is_hidden else (*own, n_in, n_out)
            layer = {"W": around(0, *shape, deviation=n_in**-0.5), "b": around(0, *own, n_out)}
            if is_hidden and own:
                layer |= {"r": around(1, *own, n_in), "s": around(1, *own, n_out)}
            if is_hidden and self.norm:
                layer |= {"scale": around(1, n_out), "shift": around(0, n_out)}
            if is_hidden and self.is_parametric:
                layer["alpha"] = around(1, n_out)
            if is_hidden and self.length:
                layer["U"] = around(0, n_out, n_out, deviation=n_out**-0.5)
            layers.append(layer)
        return [inputs, *layers]

    @property
    def is_parametric(self):
        """Whether activations are x + alpha (f(x) - x), with an alpha for each unit."""
        return self.activation.startswith("parametric(")

    @property
    def function(self):
        """The name of f."""
        return self.activation.removeprefix("parametric(").removesuffix(")")


def _network(name, sizes, activation, output, batch, optimizer, steps, **pieces):
    n_rows = steps * batch
    return Network(name, sizes, activation, output, batch, optimizer, n_rows, steps, **pieces)


NETWORKS = {
    network.name: network
    for network in (
        _network(
            "modern",
            (100, 256, 256, 256, 10),
            "silu",
            "softmax",
            256,
            "adamw",
            32,
            norm=True,
            dropout=0.1,
        ),
        _network(
            "realmlp",
            (25, 256, 256, 256, 4),
            "parametric(mish)",
            "softmax",
            256,
            "adamw",
            32,
            dropout=0.15,
            n_periodic=20,
            categories=(50,) * 5,
        ),
        _network(
            "members",
            (20, 256, 256, 1),
            "relu",
            "identity",
            256,
            "adamw",
            8,
            dropout=0.1,
            members=16,
        ),
        _network(
            "tiny", (20, 64, 64, 1), "relu", "identity", 64, "adam", 500, norm=True, dropout=0.1
        ),
        _network("rnn", (28, 64, 10), "tanh", "softmax", 64, "adam", 200, length=28),
    )
}

# Timed with the columns gathered and as a dense matrix, by fastmlp alone.
ONE_HOT = _network(
    "onehot",
    (10, 64, 10),
    "relu",
    "softmax",
    128,
    "adam",
    50,
    categories=(1000,) * 10,
    embedding=None,
)
