"""The bits of a result, whatever may change between two compiled calls of one sweep.

A sweep goes through its chunks of rows a slice of time at a call. Between two calls it may go from
a team of threads to a thread alone and back; it may begin to leave out empty columns; the place
for a parallel region may be taken, and a team may lack a thread. Here all of that happens at
random, after any chunk, to small networks that share work in each of the six ways.
"""

from contextlib import contextmanager

import numba
import numpy as np
import pytest
from marks import compiled_only

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Categorical,
    NAdam,
    Numeric,
    RMSProp,
    program_workspace,
    sweep,
    workspace,
)
from fastmlp.kernels import threads
from fastmlp.workspace import NO_SLICES, Slices

OPTIMIZERS = [
    SGD(),
    SGD(momentum=0.9),
    SGD(momentum=0.9, nesterov=True),
    AdaGrad(),
    RMSProp(),
    Adam(),
    Adam(amsgrad=True),
    AdamW(),
    AdamW(factors={"bias": 0.1}),
    SGD(0.05, momentum=0.9, factors={"weights": 0.5, "bias": 2.0}),
    NAdam(),
    LBFGS(),
]
ACTIVATIONS = ["identity", "relu", "tanh", "sigmoid", "gelu", "silu", "mish", "elu", "softplus"]
HEADS = [
    ("identity", "squared_error"),
    ("tanh", "huber(0.5)"),
    ("softmax", "cross_entropy"),
    ("softmax", "cross_entropy(0.1)"),
    ("identity", "quantile(0.3)"),
]
# Of so many columns, or more, those in use can be listed in as many numbers.
LISTED_COLUMNS = 8
WAYS = ["small", "rows", "first layer's slices", "second layer's slices", "groups", "together"]


class Turns:
    """Stands in for `Pace`: goes one or two chunks at a time, alone or as a team, at random."""

    def __init__(self, ways, rng):
        self._ways, self._rng = ways, rng
        self.chunk_flops = 0.0
        self.taken = []

    def is_new(self, way):
        return False

    def next(self):
        way = bool(self._rng.choice(self._ways))
        self.taken.append(way)
        return way, self._rng.integers(1, 3) * self.chunk_flops

    def learn(self, way, flops, seconds):
        pass

    def skip_to_trial(self, flops):
        return 0


class Chance:
    """Stands in for `pace.Deferred`: its code is due after some calls, at random."""

    def __init__(self, rng):
        self._calls = rng.integers(0, 6)

    def seconds_left(self, dtype):
        return float(self._calls > 0)

    def spend(self, dtype, seconds):
        self._calls -= 1


class Case:
    """A random network, its data and how it is trained, all told by a seed.

    Its sizes are small; `patch` moves the bounds that would make all of them little work.
    """

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.way = WAYS[seed % len(WAYS)]
        self.dtype = str(rng.choice(["float32", "float64"]))
        self.line = workspace.LINE_BYTES // np.dtype(self.dtype).itemsize
        n_out = int(rng.integers(2, 6))
        sizes = [int(n) for n in rng.integers(1, 40, rng.integers(2, 5))]
        self.slices = NO_SLICES
        if "slices" in self.way:
            layer = int(self.way.startswith("second"))
            n_slices = int(rng.integers(2, 5))
            width = self.line if layer else int(rng.integers(LISTED_COLUMNS, 20))
            last = int(rng.integers(1 if layer else LISTED_COLUMNS, width + 1))
            sizes[layer] = width * (n_slices - 1) + last
            self.slices = Slices(layer, n_slices, width)
        self.sizes = (*sizes, n_out)
        self.rows = int(rng.integers(1, 12))  # of a chunk
        self.batch_rows = int(rng.integers(1, 5 * self.rows + 1))
        self.n_threads = int(rng.integers(2, numba.config.NUMBA_NUM_THREADS + 1))
        self.output, self.loss = HEADS[rng.integers(len(HEADS))]
        hidden = len(self.sizes) - 2
        self.activations = [str(name) for name in rng.choice(ACTIVATIONS, hidden)]
        n = int(rng.integers(self.batch_rows, 3 * self.batch_rows + 1))
        self.X = rng.standard_normal((n, self.sizes[0]))
        if rng.random() < 0.5:
            self.X[:, rng.random(self.sizes[0]) < 0.6] = 0.0
        self.y = rng.standard_normal((n, n_out))
        if self.loss.startswith("cross_entropy"):
            self.y = rng.integers(n_out, size=n)
        self.options = {
            "loss": self.loss,
            "l1": float(rng.choice([0.0, 0.01])),
            "l2": float(rng.choice([0.0, 0.01])),
            "sample_weight": rng.random(n) + 0.1 if rng.random() < 0.5 else None,
        }
        self.optimizer = OPTIMIZERS[rng.integers(len(OPTIMIZERS))]
        self.fit_options = {"optimizer": self.optimizer, "epochs": 3, "seed": seed}
        if not isinstance(self.optimizer, LBFGS):
            self.fit_options["batch_size"] = self.batch_rows
            self.fit_options["clip_norm"] = 0.1 if rng.random() < 0.5 else None
            self.fit_options["shuffle"] = bool(rng.random() < 0.7)
        self.seed = seed
        self.pieces = {}

    def patch(self, monkeypatch):
        """Have chunks of so many rows, and work shared in this way, whatever the sizes."""
        shared = {"SMALL_PARAMS": 1 << 14 if self.way == "small" else 0}
        shared["WIDE_WEIGHTS"] = 0 if self.way == "together" else 1 << 30
        shared["FEWEST_GROUPED_ROWS"] = 1 if self.way == "groups" else 1 << 30
        shared["GROUP_ROWS"] = 2
        shared["BLOCK_BYTES"] = 1
        shared["FEWEST_BLOCK_ROWS"] = 3
        shared["FEWEST_COLUMNS"], shared["FEWEST_ROWS"] = LISTED_COLUMNS, 1
        for name, value in shared.items():
            monkeypatch.setattr(workspace, name, value)
        monkeypatch.setattr(workspace, "_best_slices", lambda *sizes: self.slices)
        monkeypatch.setattr(sweep, "chunk_rows", lambda sizes, itemsize, rows: min(rows, self.rows))

    def results(self, n_threads):
        """All numbers that come of an evaluation, a gradient and a fit."""
        net = MLP(
            self.sizes,
            activation=self.activations,
            output=self.output,
            dtype=self.dtype,
            seed=self.seed,
            **self.pieces,
        )
        numbers = {"loss": net.loss(self.X, self.y, n_threads=n_threads, **self.options)}
        evaluation = net.loss_and_grad(self.X, self.y, n_threads=n_threads, **self.options)
        numbers["loss of the gradient"], numbers["gradient"] = evaluation
        options = self.options | self.fit_options
        result = net.fit(self.X, self.y, n_threads=n_threads, **options)
        numbers["losses"] = result.trace["objective"]
        numbers["theta"] = net.theta.copy()
        return numbers


class PiecesCase(Case):
    """One that is no chain of layers: a random norm, dropout, inputs, and so on."""

    def __init__(self, seed):
        super().__init__(seed)
        rng = np.random.default_rng([1, seed])
        hidden = len(self.sizes) - 2
        n, last = len(self.X), self.sizes[0] - 1
        self.rows = int(rng.integers(4, 12))
        is_random = not isinstance(self.optimizer, LBFGS)
        # A batch norm of one row is refused.
        may_be_batch = self.batch_rows > 1 and n % self.batch_rows != 1
        norms = [None, "layer", *(["batch"] if may_be_batch and is_random else [])]
        self.pieces = {
            "norm": [norms[i] for i in rng.integers(len(norms), size=hidden)],
            "dropout": float(rng.choice([0.0, 0.3])) * is_random,
            "residual": bool(rng.random() < 0.5),
            "input_scale": bool(rng.random() < 0.5),
            "members": int(rng.integers(1, 4)),
        }
        if rng.random() < 0.7:
            size = None if rng.random() < 0.5 else int(rng.integers(1, 20))
            self.pieces["inputs"] = [Categorical(last, 4, size=size)]
            self.X[:, last] = rng.integers(-1, 4, n)
            if last:
                self.pieces["inputs"].append(Numeric(0, "periodic", size=3))

    def patch(self, monkeypatch):
        """Have chunks of so many rows, in groups and blocks of a few."""
        shared = {"LARGEST_CHUNK": self.rows, "GROUP_ROWS": 2, "FEWEST_GROUP_ROWS": 1}
        shared |= {"BLOCK_BYTES": 1, "FEWEST_BLOCK_ROWS": 3, "TASK_ELEMENTS": 16}
        for name, value in shared.items():
            monkeypatch.setattr(program_workspace, name, value)


def disturb(rng, monkeypatch):
    """Have anything happen between two calls that may; return the list of ways that are taken."""
    taken = []

    class Disturbed(sweep.Sweep):
        def __init__(self, *args, **options):
            monkeypatch.setattr(sweep, "EMPTY_COLUMNS", Chance(rng))
            super().__init__(*args, **options)
            self._pace.chunk_flops = self._chunk_flops
            self._calls_without_clock = self._n_without_clock()

    def pace(ways, seconds_alone=0.0):
        turns = Turns(ways, rng)
        turns.taken = taken
        return turns

    @contextmanager
    def region(n_parts):
        event = rng.random()
        if event < 0.1:  # another thread has it, or this is a forked child
            yield False
            return
        with threads.parallel_region(n_parts - (event < 0.11)) as entered:
            yield entered

    monkeypatch.setattr(sweep, "Sweep", Disturbed)
    monkeypatch.setattr(sweep, "Pace", pace)
    monkeypatch.setattr(sweep, "parallel_region", region)
    monkeypatch.setattr(sweep, "no_teams", lambda: None)
    return taken


@compiled_only
@pytest.mark.parametrize("seed", range(150))
def test_no_bit_depends_on_what_happens_within_a_sweep(seed, monkeypatch):
    case = Case(seed)
    case.patch(monkeypatch)
    expected = case.results(1)
    with monkeypatch.context() as disturbed:
        taken = disturb(np.random.default_rng(seed), disturbed)
        results = case.results(case.n_threads)
    assert case.way == "small" or True in taken
    for name, numbers in expected.items():
        assert np.array_equal(results[name], numbers), f"{name} of {case.way}, seed {seed}"


@compiled_only
@pytest.mark.parametrize("seed", range(40))
def test_no_bit_of_other_pieces_depends_on_what_happens_within_a_sweep(seed, monkeypatch):
    case = PiecesCase(seed)
    case.patch(monkeypatch)
    expected = case.results(1)
    with monkeypatch.context() as disturbed:
        taken = disturb(np.random.default_rng(seed), disturbed)
        results = case.results(case.n_threads)
    # Few turns may all be those of a thread alone; a mini-batch of one row has no team.
    assert len(taken) < 20 or case.batch_rows == 1 or True in taken
    for name, numbers in expected.items():
        assert np.array_equal(results[name], numbers), f"{name} of {case.pieces}, seed {seed}"


@compiled_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_rows", [1, 5])
@pytest.mark.parametrize("sizes", [(300, 1, 300), (2, 3, 1, 4), (4, 5, 4)])
def test_little_work_has_the_bits_of_other_ways(sizes, batch_rows, dtype, monkeypatch):
    """Long sums, of several chains side by side, and layers so small that no tile does them."""
    rng = np.random.default_rng(0)
    X, y = (rng.standard_normal((10, n)) for n in (sizes[0], sizes[-1]))

    def theta_and_predictions(**bounds):
        with monkeypatch.context() as patched:
            for name, value in bounds.items():
                patched.setattr(workspace, name, value)
            patched.setattr(workspace, "_best_slices", lambda *sizes: NO_SLICES)
            net = MLP(sizes, activation="tanh", dtype=dtype, seed=0)
            net.fit(X, y, epochs=3, batch_size=batch_rows, seed=0, n_threads=2)
        one_by_one = np.concatenate([net.predict(X[i : i + 1]) for i in range(10)])
        assert np.array_equal(net.predict(X), one_by_one)
        return net.theta, one_by_one

    expected = theta_and_predictions()
    for bounds in ({"SMALL_PARAMS": 0}, {"SMALL_PARAMS": 0, "WIDE_WEIGHTS": 1}):
        for found, numbers in zip(theta_and_predictions(**bounds), expected, strict=True):
            assert np.array_equal(found, numbers)
