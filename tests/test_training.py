"""Training: steps against the NumPy twin and torch, bits, shuffling, trace, limits, accidents."""

import csv
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from functions import mini_batches
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    InverseTime,
    LinearDecay,
    Record,
    RMSProp,
    Schedule,
    Scipy,
    Status,
    StepDecay,
    Trace,
    datasets,
    fit,
    fit_many,
    minimize,
    monitor,
    objective,
    pace,
    sweep,
    workspace,
)
from fastmlp.kernels import codes, empty_columns, epoch, predict, simd, small
from fastmlp.kernels._jit import compiling
from fastmlp.pace import Deferred
from fastmlp.training import warn_without_fma

# Name -> optimizer, the update of the twin and its hyperparameters.
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
STOCHASTIC = {
    "SGD": (SGD(0.1), "sgd", {}),
    "momentum": (SGD(0.1, momentum=0.9), "sgd", {"momentum": 0.9}),
    "Nesterov": (
        SGD(0.1, momentum=0.8, nesterov=True),
        "sgd",
        {"momentum": 0.8, "nesterov": True},
    ),
    "AdaGrad": (AdaGrad(0.05), "adagrad", {"epsilon": 1e-10}),
    "RMSProp": (RMSProp(0.01), "rmsprop", {"rho": 0.99, "epsilon": 1e-8}),
    "RMSProp with momentum": (
        RMSProp(0.01, rho=0.9, momentum=0.5),
        "rmsprop",
        {"rho": 0.9, "epsilon": 1e-8, "momentum": 0.5},
    ),
    "Adam": (Adam(0.01), "adam", ADAM),
    "AdamW": (AdamW(0.01, weight_decay=0.1), "adam", {**ADAM, "weight_decay": 0.1}),
    # Of ten steps, as all here are.
    "AdamW with schedules": (
        AdamW(
            LinearDecay(0.02, final=0.01, until=8, per="update"),
            weight_decay=LinearDecay(0.5, final=0.0, until=0.8, per="fit"),
        ),
        "adam",
        {**ADAM, "weight_decay": [0.5 * max(0, 1 - k / 8) for k in range(10)]},
    ),
    "momentum with factors": (
        SGD(0.1, momentum=0.9, factors={"bias": 0.25, "norm": 7.0}),
        "sgd",
        {"momentum": 0.9},
    ),
    "AdamW with factors": (
        AdamW(0.01, weight_decay=0.5, factors={"weights": 0.5, "bias": 3.0}),
        "adam",
        {**ADAM, "weight_decay": 0.5},
    ),
}
every_stochastic = pytest.mark.parametrize("name", STOCHASTIC)


def classes(n, n_in=6, n_out=3, seed=0):
    """Samples with a class that a network can learn."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_in))
    return X, (X @ rng.normal(size=(n_in, n_out))).argmax(axis=1)


def small_net(dtype="float64", seed=1):
    return MLP([6, 9, 5, 3], activation="tanh", output="softmax", dtype=dtype, seed=seed)


def batches_in_order(n_rows, batch_size, epochs):
    starts = range(0, n_rows, batch_size)
    return [np.arange(start, min(start + batch_size, n_rows)) for start in starts] * epochs


@pytest.fixture
def chunk_by_chunk(monkeypatch):
    """Come back from compiled code after every chunk, as if each took long."""
    monkeypatch.setattr(pace, "CALL_SECONDS", 0)


# Ten steps against the twin


def twin_of(net, X, y, batches, name, *, l1=0.0, l2=0.0, weights=None, clip_norm=math.inf):
    """Trajectory of parameter vectors and the batches' losses, by the twin."""
    optimizer, update, hyper = STOCHASTIC[name]
    factors = optimizer.factors or {}
    trajectory, losses = reference.train(
        reference.unpack(net.theta, net.layer_sizes),
        X,
        y,
        batches,
        update,
        hyper,
        optimizer.learning_rates(0, len(batches), 1),
        weights=weights,
        factors=[factors.get(kind, 1.0) for kind in ("weights", "bias")],
        clip_norm=clip_norm,
        l1=l1,
        l2=l2,
        activations=net.activations[:-1],
        output=net.output,
        loss="cross_entropy",
    )
    return [reference.pack(layers) for layers in trajectory], losses


# Rows, rows of a mini-batch, epochs: ten steps each.
BATCHES = {
    "ragged last batch": (68, 16, 2),
    "online": (10, 1, 1),
    "full batch": (17, None, 10),
    "batch larger than the data": (17, 1000, 10),
}
OPTIONS = {
    "plain": {},
    "weighted": {"weights": True},
    "l1": {"l1": 0.01},
    "l2": {"l2": 0.1},
    "clipped": {"clip_norm": 0.05},
    "all": {"weights": True, "l1": 0.01, "l2": 0.1, "clip_norm": 0.2},
}
if INTERPRETED:  # which takes a thousand times longer
    OPTIONS = {"all": OPTIONS["all"]}


def assert_ten_steps(name, n_rows, batch_size, epochs, options, dtype, tolerance):
    X, y = classes(n_rows)
    X = X.astype(dtype)
    options = dict(options)
    weights = np.linspace(0, 3, n_rows) if options.pop("weights", False) else None
    net = small_net(dtype)
    batches = batches_in_order(n_rows, min(batch_size or n_rows, n_rows), epochs)
    assert len(batches) == 10
    trajectory, _ = twin_of(net, X, y, batches, name, weights=weights, **options)
    result = net.fit(
        X,
        y,
        optimizer=STOCHASTIC[name][0],
        batch_size=batch_size,
        epochs=epochs,
        shuffle=False,
        sample_weight=weights,
        **options,
    )
    assert result.n_grad_evals == 10
    assert_allclose(net.theta, trajectory[-1], rtol=tolerance, atol=tolerance)


@every_stochastic
@pytest.mark.parametrize("batches", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ten_steps_equal_the_twin_to_round_off(name, batches, options):
    """Adaptive methods divide by gradients, which magnifies roundings where those are small."""
    assert_ten_steps(name, *batches, options, "float64", 1e-11)


@every_stochastic
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ten_steps_in_single_precision(name, options):
    assert_ten_steps(name, 68, 16, 2, options, "float32", 1e-4)


@every_stochastic
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ten_steps_with_batches_larger_than_a_chunk(name, options, small_chunks):
    """Two batches of 40 and 35 rows, three chunks each."""
    assert_ten_steps(name, 75, 40, 5, options, "float64", 1e-11)


@compiled_only
def test_a_batch_larger_than_the_real_chunk():
    n = workspace.LARGEST_GROUPED_CHUNK + 1000
    assert_ten_steps("Adam", n, None, 10, {"weights": True, "l2": 0.1}, "float64", 1e-11)


def test_a_long_clip_norm_changes_nothing():
    X, y = classes(40)
    plain, clipped = small_net(), small_net()
    plain.fit(X, y, epochs=3, seed=0)
    clipped.fit(X, y, epochs=3, seed=0, clip_norm=1e6)
    assert_allclose(clipped.theta, plain.theta, rtol=1e-12, atol=1e-14)


# Factors of the learning rate

# A network of each way to share work out, and rows of a mini-batch.
SHAPES = {
    "small": ([6, 4, 3], 8),
    "rows": ([13, 40, 20, 3], 48),
    "slices of the first layer": ([900, 12, 3], 48),
    "slices of the second layer": ([30, 400, 10, 3], 48),
    "groups": ([30, 40, 3], 1200),
    "together": ([130, 600, 300, 3], 24),
}
if INTERPRETED:
    SHAPES = {"small": SHAPES["small"]}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def fit_with_factors(shape, factors, learning_rate=0.01, **options):
    """The network before and after two epochs of three mini-batches, the last one smaller."""
    sizes, batch_size = shape
    X, y = classes(2 * batch_size + batch_size // 2, sizes[0], 3)
    net = MLP(sizes, activation="tanh", output="softmax", dtype="float64", seed=1)
    for b in net.biases:
        b[:] = 0.1
    before = net.copy()
    optimizer = AdamW(learning_rate, weight_decay=0.1, factors=factors)
    net.fit(X, y, optimizer=optimizer, batch_size=batch_size, epochs=2, seed=2, **options)
    return before, net


@every_shape
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_a_factor_of_zero_leaves_a_kind_of_parameters_alone(shape, clip_norm):
    before, after = fit_with_factors(shape, {"bias": 0}, clip_norm=clip_norm)
    for old, new in zip(before.biases, after.biases, strict=True):
        assert_array_equal(new, old)
    for old, new in zip(before.weights, after.weights, strict=True):
        assert (new != old).mean() > 0.9
    before, after = fit_with_factors(shape, {"weights": 0}, clip_norm=clip_norm)
    for old, new in zip(before.weights, after.weights, strict=True):
        assert_array_equal(new, old)
    for old, new in zip(before.biases, after.biases, strict=True):
        assert (new != old).all()


@every_shape
def test_the_same_factor_of_all_kinds_is_one_of_the_learning_rate(shape):
    """To the bit: a quarter is exact. So is 1, or a factor of what a network has not."""
    _, quarter = fit_with_factors(shape, {"weights": 0.25, "bias": 0.25}, 0.04)
    _, plain = fit_with_factors(shape, None)
    assert_array_equal(quarter.theta, plain.theta)
    _, ones = fit_with_factors(shape, {"weights": 1, "embedding": 5.0})
    assert_array_equal(ones.theta, plain.theta)
    _, other = fit_with_factors(shape, {"bias": 0.25})
    assert np.abs(other.theta - plain.theta).max() > 1e-4


def test_factors_are_of_plain_networks_only():
    with pytest.raises(ValueError, match="factors must not be given where a plain"):
        minimize(lambda x: (x @ x, 2 * x), [1.0], optimizer=SGD(factors={"bias": 0.1}))


# Ten steps against torch


def torch_optimizer(torch, name, weights, biases):
    parameters = [*weights, *biases]
    if name == "AdamW":  # fastmlp decays weights only
        return torch.optim.AdamW(
            [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}],
            lr=0.01,
        )
    return {
        "SGD": lambda: torch.optim.SGD(parameters, lr=0.1),
        "momentum": lambda: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
        "Nesterov": lambda: torch.optim.SGD(parameters, lr=0.1, momentum=0.8, nesterov=True),
        "AdaGrad": lambda: torch.optim.Adagrad(parameters, lr=0.05),
        "RMSProp": lambda: torch.optim.RMSprop(parameters, lr=0.01),
        "RMSProp with momentum": lambda: torch.optim.RMSprop(
            parameters, lr=0.01, alpha=0.9, momentum=0.5
        ),
        "Adam": lambda: torch.optim.Adam(parameters, lr=0.01),
    }[name]()


@pytest.mark.parametrize(
    "name", [n for n in STOCHASTIC if not n.endswith(("schedules", "factors"))]
)
def test_ten_steps_equal_torch(name):
    torch = pytest.importorskip("torch")
    X, y = classes(68)
    net = small_net()
    weights = [torch.tensor(W, requires_grad=True) for W in net.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in net.biases]
    optimizer = torch_optimizer(torch, name, weights, biases)
    for rows in batches_in_order(68, 16, 2):
        signal = torch.tensor(X[rows])
        for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
            signal = signal @ W + b
            if layer < 2:
                signal = torch.tanh(signal)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(signal, torch.tensor(y[rows])).backward()
        optimizer.step()
    net.fit(X, y, optimizer=STOCHASTIC[name][0], batch_size=16, epochs=2, shuffle=False)
    for ours, theirs in zip((*net.weights, *net.biases), (*weights, *biases), strict=True):
        assert_allclose(ours, theirs.detach().numpy(), rtol=1e-11, atol=1e-11)


# Bits


ALL_OPTIMIZERS = {
    **{name: optimizer for name, (optimizer, _, _) in STOCHASTIC.items()},
    "LBFGS": LBFGS(max_iterations=10),
    "Scipy CG": Scipy("CG", max_iterations=5),
    "Scipy TNC": Scipy("TNC", max_iterations=20),
}


def train_bits(dtype, n_threads, **options):
    """Everything that training computes, as bytes."""
    sizes = [3, 4, 5, 2] if INTERPRETED else [13, 37, 70, 5]
    X, y = classes(33 if INTERPRETED else 301, sizes[0], sizes[-1])
    activation = "elu" if INTERPRETED else "gelu"
    net = MLP(sizes, activation=activation, output="softmax", dtype=dtype, seed=3)
    batches = mini_batches(options.get("optimizer", "adam"), batch_size=32)
    options = {"epochs": 2, "seed": 4, "l2": 1e-3, **batches, **options}
    result = net.fit(X, y, n_threads=n_threads, **options)
    return net.theta.tobytes(), result.loss, result.trace["objective"].tobytes()


@contextmanager
def no_parallel_region(n_parts):
    yield False


def assert_same_bits(monkeypatch, dtype, **options):
    """A team of one, of two, of as many as there are, and the serial twin in their place."""
    expected = train_bits(dtype, 1, **options)
    for n_threads in (2, 4, None):
        assert train_bits(dtype, n_threads, **options) == expected
    monkeypatch.setattr(sweep, "parallel_region", no_parallel_region)
    assert train_bits(dtype, 2, **options) == expected


@pytest.mark.parametrize("optimizer", ALL_OPTIMIZERS.values(), ids=ALL_OPTIMIZERS)
@both_precisions
def test_training_is_bitwise_identical_for_any_number_of_threads(optimizer, dtype, monkeypatch):
    assert_same_bits(monkeypatch, dtype, optimizer=optimizer)


@pytest.mark.parametrize("shuffle", [True, False, "replacement"])
@pytest.mark.parametrize("clip_norm", [None, 0.1])
@both_precisions
def test_bits_with_every_way_to_shuffle(shuffle, clip_norm, dtype, monkeypatch):
    assert_same_bits(monkeypatch, dtype, shuffle=shuffle, clip_norm=clip_norm)


@pytest.mark.parametrize("batch_size", [1, 50, None])
@both_precisions
def test_bits_with_batches_of_every_size(batch_size, dtype, small_chunks, monkeypatch):
    assert_same_bits(monkeypatch, dtype, batch_size=batch_size)


@compiled_only
def test_bits_with_more_threads_than_cores(tmp_path):
    """Numba fixes the size of its team when it is imported: here to four in a new process."""
    script = tmp_path / "teams.py"
    script.write_text("""
import json
import numpy as np
import fastmlp

rng = np.random.default_rng(0)
X, y = rng.normal(size=(301, 13)), rng.integers(0, 5, 301)
for options in json.loads(input()):
    thetas = []
    for n_threads in (1, 2, 3, 4):
        net = fastmlp.MLP([13, 37, 70, 5], output="softmax", seed=0)
        net.fit(X, y, epochs=3, n_threads=n_threads, seed=1, **options)
        thetas.append(net.theta)
    assert all((theta == thetas[0]).all() for theta in thetas), options
""")
    options = [
        {"optimizer": "adam"},
        {"optimizer": "sgd(momentum=0.9)", "clip_norm": 0.1, "batch_size": 20},
        {"optimizer": "rmsprop", "shuffle": "replacement", "l1": 0.01, "batch_size": 1},
        {"optimizer": "adagrad", "batch_size": None},
        {"optimizer": "lbfgs"},
    ]
    environment = {**os.environ, "NUMBA_NUM_THREADS": "4"}
    run = subprocess.run(
        [sys.executable, script],
        input=json.dumps(options),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("sizes", "batch_rows", "n_parts"),
    [((784, 16, 16, 10), 32, 4), ((20, 64, 64, 1), 64, 2), ((784, 512, 512, 512, 10), 128, 8)],
    ids=["four slices", "two slices", "no slices"],
)
def test_a_team_has_no_part_without_a_slice(sizes, batch_rows, n_parts, monkeypatch):
    """It would repeat what the others do, and be waited for."""
    monkeypatch.setattr(sweep, "choose_parts", lambda *work: 8)
    teams = []

    def recording(*args, n_parts, **options):
        teams.append(n_parts)
        return workspace.Workspace(*args, n_parts=n_parts, **options)

    monkeypatch.setattr(sweep, "Workspace", recording)
    net = MLP(sizes, seed=0)
    on_zeros = objective.Objective(net, np.zeros((200, sizes[0])), np.zeros((200, sizes[-1])))
    on_zeros.sweep(batch_rows, gather=True, optimizer=None)
    assert teams == [n_parts]


@compiled_only
@pytest.mark.parametrize(
    "sizes",
    [(200, 40, 3), (300, 257, 33, 5), (300, 257, 257, 257, 5)],
    ids=["slices", "slices of the second layer", "together"],
)
@pytest.mark.parametrize("options", [{}, {"l2": 0.1}, {"clip_norm": 0.1}], ids=str)
@both_precisions
def test_bits_where_columns_of_zeros_are_left_out(dtype, options, sizes, monkeypatch):
    """They are those of all columns; weights of columns without any number stay, but for l2."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((70, sizes[0])) * (rng.random((70, sizes[0])) < 0.1)
    X[:, 50:90] = 0
    y = rng.integers(sizes[-1], size=70)
    thetas = []
    monkeypatch.setattr(sweep, "EMPTY_COLUMNS", Deferred(0.0, lambda dtype: False))
    for fewest_columns in (workspace.FEWEST_COLUMNS, 10**9):
        sweep.KEPT.clear()
        monkeypatch.setattr(workspace, "FEWEST_COLUMNS", fewest_columns)
        of_batch = workspace.Workspace(sizes, dtype, rows=20, n_parts=1, n_target=1, gather=True)
        assert of_batch.leaves_out == (fewest_columns < sizes[0])
        for n_threads in (1, 2):
            net = MLP(sizes, output="softmax", dtype=dtype, seed=1)
            start = net.weights[0][50:90].copy()
            net.fit(X, y, batch_size=20, epochs=3, n_threads=n_threads, seed=2, **options)
            thetas.append(net.theta)
            assert (net.weights[0][50:90] == start).all() == ("l2" not in options)
    for theta in thetas[1:]:
        assert theta.tobytes() == thetas[0].tobytes()


@compiled_only
@pytest.mark.parametrize("n_threads", [1, 2])
def test_columns_are_left_out_once_their_code_is_due_with_the_same_bits(n_threads, monkeypatch):
    X = np.random.default_rng(0).standard_normal((70, 200))
    X[:, 50:190] = 0
    y = np.arange(70) % 3
    steps = []

    def fit(deferred):
        monkeypatch.setattr(sweep, "EMPTY_COLUMNS", deferred)
        sweep.KEPT.clear()
        net = MLP([200, 40, 3], output="softmax", seed=1)
        net.fit(X, y, batch_size=20, epochs=5, n_threads=n_threads, seed=2)
        return net.theta.tobytes()

    def addresses(dtype):
        steps.append("compiled")
        return compile_or_load(dtype)

    class Third(Deferred):
        """Due after three calls."""

        def spend(self, dtype, seconds):
            steps.append("call")
            super().spend(dtype, 1.0)

    compile_or_load = empty_columns.addresses
    monkeypatch.setattr(empty_columns, "addresses", addresses)
    never = fit(Deferred(math.inf, lambda dtype: False))
    assert not steps
    assert fit(Deferred(math.inf, lambda dtype: True)) == never
    assert steps == ["compiled"]
    steps.clear()
    assert fit(Third(3.0, lambda dtype: False)) == never
    assert steps == ["call", "call", "call", "compiled"]


def test_the_seed_decides_about_the_bits():
    assert train_bits("float32", None, seed=5) == train_bits("float32", None, seed=5)
    assert train_bits("float32", None, seed=5) != train_bits("float32", None, seed=6)


def test_bits_do_not_depend_on_how_often_compiled_code_comes_back(monkeypatch):
    expected = train_bits("float64", 1)
    sweep.KEPT.clear()
    monkeypatch.setattr(pace, "CALL_SECONDS", 0)
    assert train_bits("float64", 1) == expected


# Compilation


@compiled_only
def test_the_first_fit_warns_where_there_are_no_fused_multiply_adds(monkeypatch):
    monkeypatch.setattr(simd, "HAS_FMA", False)
    warn_without_fma.cache_clear()
    X = np.ones((4, 1))
    net = MLP([1, 1])
    with pytest.warns(UserWarning, match="some 40 times as long .* no fused multiply-add"):
        net.fit(X, X, epochs=1)
    net.fit(X, X, epochs=1)  # another warning would be an error
    warn_without_fma.cache_clear()


def test_nothing_compiles_anew_for_another_network_batch_loss_or_number_of_threads():
    def n_compiled():
        return [
            *(twin.n_compiled() for twin in (epoch.sweep, predict.predict)),
            *(
                len(worker._addresses)
                for worker in (epoch.sweep_part, small.small_part, predict.predict_part)
            ),
        ]

    X, y = classes(600)
    for n_threads in (1, 2):
        for batch_size in (7, None):  # small work and more
            net = small_net("float32")
            net.fit(X, y, epochs=1, batch_size=batch_size, n_threads=n_threads)
            net.predict(X, n_threads=n_threads)
    before = n_compiled()
    for n_threads in (1, 2, 3):
        for sizes, activation in (([6, 3], "relu"), ([6, 4, 4, 4, 3], "gelu"), ([6, 50, 3], "elu")):
            net = MLP(sizes, activation=activation, output="softmax")
            net.predict(np.asfortranarray(X), n_threads=n_threads)
            net.loss(X.tolist(), y, n_threads=n_threads)
            for batch_size in (1, 7, None):
                net.fit(X, y, epochs=1, batch_size=batch_size, n_threads=n_threads)
            for optimizer in ALL_OPTIMIZERS.values():
                net.fit(X, y, optimizer=optimizer, epochs=1, n_threads=n_threads)
            net.fit(X, y, epochs=1, sample_weight=y + 1, clip_norm=1.0, l1=0.1, n_threads=n_threads)
        for output, loss in (("tanh", "hinge"), ("identity", "huber"), ("softplus", "poisson")):
            target = np.ones((600, 3))
            MLP([6, 3], output=output).fit(X, target, loss=loss, epochs=1, n_threads=n_threads)
    assert n_compiled() == before


# Order of the rows


@dataclass(frozen=True)
class HalvingEachUpdate(Schedule):
    """1, 1/2, 1/4, ..., from 1 again after `period` updates: steps that one can tell apart."""

    period: int = 50

    def values(self, t):
        return 0.5 ** (t % self.period)


def rows_visited(n_rows, epochs, shuffle, seed=0):
    """Rows in the order in which online training visits them, (epochs, n_rows).

    Sample i is the unit vector i and its target far off, so that a step of the absolute error
    adds the learning rate to weight i: its binary digits tell the steps.
    """
    net = MLP([n_rows, 1], dtype="float64")
    net.theta[:] = 0
    orders, before = [], [net.weights[0].copy()]

    def decode(progress):
        digits = np.round((net.weights[0] - before[0])[:, 0] * 2.0 ** (n_rows - 1)).astype(int)
        before[0] = net.weights[0].copy()
        steps = digits[:, None] >> np.arange(n_rows)[::-1] & 1
        assert_array_equal(steps.sum(axis=0), 1)  # one row a step
        orders.append(steps.argmax(axis=0))

    fit(
        net,
        np.eye(n_rows),
        np.full(n_rows, 1e9),
        loss="absolute_error",
        optimizer=SGD(HalvingEachUpdate(n_rows, per="update")),
        batch_size=1,
        epochs=epochs,
        shuffle=shuffle,
        seed=seed,
        callbacks=[decode],
    )
    return np.array(orders)


def test_no_shuffling_keeps_the_order():
    assert_array_equal(rows_visited(12, 3, False), [np.arange(12)] * 3)


def test_shuffling_visits_each_row_once_an_epoch_in_another_order():
    orders = rows_visited(12, 5, True)
    assert_array_equal(np.sort(orders), [np.arange(12)] * 5)
    assert len({tuple(order) for order in orders}) == 5
    assert_array_equal(rows_visited(12, 5, True), orders)
    assert (rows_visited(12, 5, True, seed=1) != orders).any()


def test_replacement_visits_rows_more_than_once_and_some_never():
    orders = rows_visited(12, 20, "replacement")
    repeats = [12 - len(set(order)) for order in orders]
    # A row is left out with probability (1 - 1/12)^12 = 0.35: 4.2 rows an epoch.
    assert min(repeats) > 0
    assert 3.5 < np.mean(repeats) < 4.9
    assert_array_equal(rows_visited(12, 20, "replacement"), orders)


@compiled_only
@pytest.mark.parametrize("shuffle", [True, "replacement"])
def test_every_row_is_as_likely_at_every_step(shuffle):
    """Pearson's chi-square of 4 degrees of freedom is above 18.5 once in a thousand times."""
    orders = rows_visited(5, 1000, shuffle)
    for step in range(5):
        counts = np.bincount(orders[:, step], minlength=5)
        assert np.sum((counts - 200) ** 2 / 200) < 18.5


def test_every_row_is_in_one_batch_of_an_epoch():
    """A batch of 5 moves the weights of its rows by 1/5."""
    net = MLP([15, 1], dtype="float64")
    net.theta[:] = 0
    options = {"loss": "absolute_error", "optimizer": SGD(1.0), "batch_size": 5, "seed": 0}
    net.fit(np.eye(15), np.full(15, 1e9), epochs=3, **options)
    assert_allclose(net.weights[0], 3 / 5, rtol=1e-15)


def test_weights_and_targets_travel_with_their_rows():
    """A linear model that fits exactly stays where it is, in whatever order rows come."""
    rng = np.random.default_rng(7)
    net = MLP([3, 2], dtype="float64", seed=0)
    X = rng.normal(size=(50, 3))
    y, theta = net.predict(X), net.theta.copy()
    wrong = rng.random(50) < 0.3
    y[wrong] += 100
    net.fit(X, y, sample_weight=1.0 - wrong, optimizer=SGD(0.1), batch_size=8, epochs=5, seed=0)
    assert_allclose(net.theta, theta, atol=1e-14)


# Schedules


@pytest.mark.parametrize(
    ("learning_rate", "rates"),
    [
        (0.5, [[0.5] * 3] * 4),
        (
            StepDecay(1.0, factor=0.5, every=2),
            [[1.0] * 3, [1.0] * 3, [0.5] * 3, [0.5] * 3],
        ),
        (
            InverseTime(1.0, per="update"),
            [
                [1, 1 / 2, 1 / 3],
                [1 / 4, 1 / 5, 1 / 6],
                [1 / 7, 1 / 8, 1 / 9],
                [0.1, 1 / 11, 1 / 12],
            ],
        ),
    ],
    ids=["constant", "per epoch", "per update"],
)
def test_schedules_are_followed(learning_rate, rates, chunk_by_chunk):
    """Targets far off make every gradient of the bias -1, so that it adds up learning rates."""
    net = MLP([1, 1], dtype="float64")
    net.theta[:] = 0
    biases = []
    net.fit(
        np.zeros((6, 1)),
        np.full(6, 1e9),
        loss="absolute_error",
        optimizer=SGD(learning_rate),
        batch_size=2,
        epochs=4,
        callbacks=[lambda progress: biases.append(progress.theta[1])],
    )
    assert_allclose(biases, np.cumsum(np.sum(rates, axis=1)), rtol=1e-14)


# Trace and result


def test_trace_of_mini_batches():
    X, y = classes(50)
    net = small_net()
    batches = batches_in_order(50, 16, 3)
    trajectory, losses = twin_of(net, X, y, batches, "momentum", l2=0.1)
    at_start = net.loss(X, y, l2=0.1)
    result = net.fit(
        X,
        y,
        optimizer=STOCHASTIC["momentum"][0],
        batch_size=16,
        epochs=3,
        shuffle=False,
        l2=0.1,
    )
    trace = result.trace
    assert len(trace) == 4
    assert_array_equal(trace["epoch"], [0, 1, 2, 3])
    assert_array_equal(trace["n_loss_evals"], [0, 4, 8, 12])
    assert_array_equal(trace["n_grad_evals"], [0, 4, 8, 12])
    assert_array_equal(trace["data_passes"], [0, 1, 2, 3])
    assert_allclose(trace["objective"][0], at_start, rtol=1e-12)
    assert (np.diff(trace["seconds"], prepend=0) > 0).all()
    assert np.isnan(trace["gradient_norm"]).all()
    assert np.isnan(trace["validation_loss"]).all()
    for i in range(3):
        layers = reference.unpack(trajectory[4 * i + 3], net.layer_sizes)
        mean = sum(losses[4 * i : 4 * i + 4]) / 50 + reference.penalty(layers, 0.0, 0.1)
        assert_allclose(trace["objective"][i + 1], mean, rtol=1e-12)

    assert_array_equal(result.theta, net.theta)
    assert not np.shares_memory(result.theta, net.theta)
    assert result.loss == net.loss(X, y, l2=0.1)
    assert result.status == Status.COMPLETED == "completed"
    assert result.message == "3 epochs done"
    assert result.success
    assert (result.n_iter, result.n_loss_evals, result.n_grad_evals) == (3, 12, 12)
    assert result.seconds >= trace["seconds"][-1]


@both_precisions
def test_trace_of_a_solver(dtype):
    X, y = classes(50)
    net = small_net(dtype)
    start = net.loss_and_grad(X, y, l2=0.1)
    result = net.fit(X, y, optimizer=LBFGS(), epochs=5, l2=0.1)
    trace = result.trace
    assert_array_equal(trace["epoch"], range(6))
    assert trace["objective"][0] == start[0]
    assert_allclose(trace["gradient_norm"][0], np.linalg.norm(start[1]), rtol=1e-6)
    assert (np.diff(trace["objective"]) < 0).all()
    assert (np.diff(trace["seconds"]) > 0).all()
    assert trace["n_loss_evals"][0] == 1
    assert (np.diff(trace["n_loss_evals"]) >= 1).all()
    assert_array_equal(trace["n_grad_evals"], trace["n_loss_evals"])
    assert_array_equal(trace["data_passes"], trace["n_loss_evals"])
    value, gradient = net.loss_and_grad(X, y, l2=0.1)
    assert trace["objective"][-1] == result.loss == value
    assert_allclose(trace["gradient_norm"][-1], np.linalg.norm(gradient), rtol=1e-6)
    assert result.n_iter == 5
    assert result.n_grad_evals == trace["n_grad_evals"][-1]


def test_a_trace_gives_back_the_records_it_was_given():
    records = [Record(0.5 * i, i, float(i), 2 * i, i, 1 / (i + 1)) for i in range(4)]
    trace = Trace(records[:3])
    trace.append(records[3])
    assert list(trace) == records
    assert trace[-1] == trace[3] == records[3]
    assert trace[1:3] == records[1:3]
    assert all(type(record.epoch) is int for record in trace)
    assert trace["epoch"].dtype == np.int64
    assert trace["seconds"].dtype == np.float64
    with pytest.raises(IndexError):
        trace[4]
    for other in (pickle.loads(pickle.dumps(trace)), Trace.from_array(trace.as_array())):
        assert list(other) == records
    assert Trace().as_array().shape == (0, trace.as_array().shape[1])


def test_records_without_a_value_are_equal_whichever_nan_says_so():
    """Python 3.13 compares field by field, older ones take the same NaN for equal."""
    nans = np.nan, float("nan"), np.float64("nan")
    records = [Record(0.5, 1, 1.0, 2, 3, 0.25, nan, nan) for nan in nans]
    assert records[0] == records[1] == records[2]
    assert len(set(records)) == 1
    assert records[0] != replace(records[0], gradient_norm=0.0)
    assert records[0] != replace(records[0], objective=0.5)
    assert records[0] != None  # noqa: E711
    assert hash(replace(records[0])) == hash(records[0])


def test_trace_as_a_sequence_and_as_a_file(tmp_path):
    X, y = classes(20)
    trace = small_net().fit(X, y, epochs=4, seed=0).trace
    assert trace[0].epoch == 0
    assert trace[-1].objective == trace["objective"][-1]
    assert [record.epoch for record in trace] == [0, 1, 2, 3, 4]
    assert repr(trace).startswith("Trace of 5 records: seconds, epoch, data_passes,")
    with pytest.raises(KeyError, match=r"trace has the columns seconds, .*, got 'loss'"):
        trace["loss"]
    path = tmp_path / "trace.csv"
    trace.to_csv(path)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["objective"]) for row in rows] == trace["objective"].tolist()
    assert list(rows[0]) == [
        "seconds",
        "epoch",
        "data_passes",
        "n_loss_evals",
        "n_grad_evals",
        "objective",
        "validation_loss",
        "gradient_norm",
    ]


@pytest.mark.parametrize(
    "optimizer", [SGD(0.1), LBFGS(), [SGD(0.1), LBFGS()]], ids=["SGD", "LBFGS", "both"]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_loss_is_that_of_the_network_as_it_is(optimizer, weighted):
    """Without penalties, at the parameters of the record, also those of a solver on its way."""
    X, y = classes(60)
    held_out = (X[40:], y[40:], np.linspace(0, 1, 20)) if weighted else (X[40:], y[40:])
    net = small_net()

    def held_out_loss():
        return net.loss(X[40:], y[40:], sample_weight=held_out[2] if weighted else None)

    def evaluate(progress):
        assert progress.network is net
        seen[progress.record.epoch] = held_out_loss()

    seen = {0: held_out_loss()}

    result = net.fit(
        X[:40],
        y[:40],
        optimizer=optimizer,
        epochs=3,
        l2=0.1,
        validation_data=held_out,
        callbacks=[evaluate],
        seed=0,
    )
    trace = result.trace
    assert trace["validation_loss"].tolist() == [seen[record.epoch] for record in trace]
    assert len(set(seen.values())) > 2


def test_optimizers_by_name():
    X, y = classes(40)
    for name, optimizer in (
        ("adam", Adam()),
        ("sgd(learning_rate=0.1, momentum=0.9)", SGD(0.1, momentum=0.9)),
        ("lbfgs(history_size=3)", LBFGS(3)),
        ("scipy(method='CG')", Scipy("CG")),
    ):
        by_name, by_object = small_net(), small_net()
        by_name.fit(X, y, optimizer=name, epochs=3, seed=0)
        by_object.fit(X, y, optimizer=optimizer, epochs=3, seed=0)
        assert_array_equal(by_name.theta, by_object.theta)


def test_defaults_are_adam_for_20_epochs_and_as_many_iterations_as_a_solver_says():
    X, y = classes(40)
    default, explicit = small_net(), small_net()
    assert default.fit(X, y, seed=0).n_iter == 20
    explicit.fit(X, y, optimizer=Adam(1e-3), batch_size=128, epochs=20, seed=0)
    assert_array_equal(default.theta, explicit.theta)
    assert small_net().fit(X, y, optimizer=LBFGS(max_iterations=3)).n_iter == 3


def test_a_list_of_optimizers_runs_in_turn():
    X, y = classes(40)
    net, one_by_one = small_net(), small_net()
    stages = [SGD(0.1), Adam(0.01), LBFGS()]
    result = net.fit(X, y, optimizer=stages, epochs=4, shuffle=False)
    for stage in stages:
        options = mini_batches(stage, shuffle=False)
        one_by_one.fit(X, y, optimizer=stage, epochs=4, **options)
    assert_array_equal(net.theta, one_by_one.theta)
    assert result.n_iter == 12
    assert_array_equal(result.trace["epoch"], [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12])
    assert (np.diff(result.trace["seconds"]) > 0).all()
    assert (np.diff(result.trace["data_passes"]) > 0).all()


def test_a_list_ends_where_the_target_is_reached():
    X, y = classes(40)
    result = small_net().fit(X, y, optimizer=[SGD(), LBFGS()], target_loss=100.0, epochs=5)
    assert len(result.trace) == 1
    assert (result.status, result.n_iter) == (Status.TARGET_REACHED, 0)


def test_progress_shows_a_bar(capsys):
    X, y = classes(40)
    small_net().fit(X, y, epochs=3, validation_data=(X, y), progress=True)
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert "objective=" in shown.err
    assert "validation=" in shown.err
    assert shown.out == ""
    small_net().fit(X, y, epochs=3)
    assert capsys.readouterr().err == ""


# Callbacks, targets, limits


def test_callbacks_see_every_epoch():
    X, y = classes(40)
    net = small_net()
    seen, first = [], []
    result = net.fit(
        X, y, epochs=3, callbacks=[seen.append, lambda p: first.append(p.theta.copy())], seed=0
    )
    assert [progress.record.epoch for progress in seen] == [1, 2, 3]
    assert [repr(progress.record) for progress in seen] == [*map(repr, result.trace)][1:]
    assert seen[-1].trace is result.trace
    assert seen[-1].theta is net.theta
    assert (first[0] != first[1]).any()
    assert_array_equal(first[-1], net.theta)


def test_one_callback_needs_no_list():
    X, y = classes(40)
    seen = []
    small_net().fit(X, y, epochs=2, callbacks=seen.append)
    assert len(seen) == 2


def test_a_callback_may_change_the_parameters():
    X, y = classes(40)
    net = small_net()

    def freeze_first_biases(progress):
        progress.network.biases[0][:] = 7

    net.fit(X, y, epochs=3, callbacks=[freeze_first_biases], seed=0)
    assert_array_equal(net.biases[0], 7)


@pytest.mark.parametrize(
    "optimizer", [Adam(), LBFGS(), [Adam(), LBFGS()]], ids=["Adam", "LBFGS", "both"]
)
def test_stop_iteration_in_a_callback_ends_the_fit(optimizer):
    X, y = classes(40)
    net = small_net()
    thetas = []

    def stop(progress):
        thetas.append(progress.theta.copy())
        if progress.record.epoch == 2:
            raise StopIteration("enough")

    result = net.fit(X, y, optimizer=optimizer, callbacks=[stop], seed=0)
    assert result.status == Status.STOPPED
    assert result.success
    assert result.message == "enough"
    assert result.n_iter == 2
    assert_array_equal(net.theta, thetas[-1])


def test_other_exceptions_of_a_callback_come_through():
    X, y = classes(40)
    with pytest.raises(ZeroDivisionError):
        small_net().fit(X, y, callbacks=[lambda progress: 1 / 0])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("optimizer", [Adam(0.01), LBFGS()], ids=["Adam", "LBFGS"])
def test_target_loss(optimizer):
    X, y = classes(40)
    result = small_net().fit(X, y, optimizer=optimizer, epochs=500, target_loss=0.3, seed=0)
    assert result.status == Status.TARGET_REACHED
    assert result.success
    assert result.trace["objective"][-1] <= 0.3 < result.trace["objective"][-2]
    assert "0.3" in result.message


def test_time_limit_within_an_epoch_leaves_theta_as_it_is(chunk_by_chunk, monkeypatch):
    """Each of five mini-batches takes a second; the look at the start is off the clock."""
    advance, now = sweep.Sweep.advance, [0.0]

    def in_a_second(self, *arguments):
        now[0] += 1
        return advance(self, *arguments)

    monkeypatch.setattr(sweep.Sweep, "advance", in_a_second)
    monkeypatch.setattr(monitor, "clock", lambda: now[0])
    X, y = classes(68)
    net = small_net()
    trajectory, _ = twin_of(net, X, y, batches_in_order(68, 16, 1), "SGD")
    result = net.fit(
        X, y, optimizer=SGD(0.1), batch_size=16, epochs=9, shuffle=False, time_limit=0.5
    )
    assert result.status == Status.TIME_LIMIT
    assert result.success
    assert (result.n_iter, result.n_grad_evals, len(result.trace)) == (0, 1, 1)
    assert_allclose(net.theta, trajectory[0], rtol=1e-12)


def test_time_limit_of_a_solver_leaves_the_best_point():
    X, y = classes(68)
    net = small_net()
    before = net.theta.copy()
    result = net.fit(X, y, optimizer=LBFGS(), time_limit=1e-9)
    assert result.status == Status.TIME_LIMIT
    assert_array_equal(net.theta, before)


def test_the_clock_stands_still_during_callbacks(monkeypatch):
    """Each look at this clock takes a second, each callback a thousand."""
    now = [0.0]

    def clock():
        now[0] += 1
        return now[0]

    def dawdle(progress):
        now[0] += 1000

    monkeypatch.setattr(monitor, "clock", clock)
    X, y = classes(40)
    result = small_net().fit(X, y, epochs=5, time_limit=100.0, callbacks=[dawdle])
    assert result.status == Status.COMPLETED
    assert result.seconds < 50
    result = small_net().fit(X, y, epochs=500, time_limit=100.0, callbacks=[dawdle])
    assert result.status == Status.TIME_LIMIT
    assert 90 < result.seconds < 130


@compiled_only
@pytest.mark.parametrize("n_threads", [0, 1], ids=["main thread", "another thread"])
def test_kernels_are_compiled_and_loaded_off_the_clock(n_threads, monkeypatch):
    """Here every call of the compiled loop takes a second, after an hour for its kernel."""
    now, advance = [0.0], sweep.Sweep.advance

    def compile_slowly():
        now[0] += 3600

    def with_a_new_kernel(self, *arguments):
        compiling.undisturbed(compile_slowly)
        now[0] += 1
        return advance(self, *arguments)

    monkeypatch.setattr(compiling, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(sweep.Sweep, "advance", with_a_new_kernel)
    X, y = classes(40)
    options = {"epochs": 3, "batch_size": None, "time_limit": 10.0}
    if n_threads:
        (result,) = fit_many([small_net()], X, y, n_threads=n_threads, **options)
    else:
        result = small_net().fit(X, y, **options)
    assert now[0] > 4 * 3600
    assert result.status == Status.COMPLETED
    # But for rounding: the hours are subtracted again.
    assert_allclose(result.trace["seconds"], [0, 1, 2, 3], atol=1e-9)


# Accidents: numbers that are not finite


FITS_IN_A_ROW = {
    "the same again": [{}, {}],
    "a full batch": [{"batch_size": None}, {"batch_size": None}],
    "other sizes of batches": [{"batch_size": 16}, {"batch_size": 20}, {"batch_size": 16}],
    "other rows": [{"rows": 60}, {"rows": 50}, {"rows": 60}],
    "other penalties": [{"l2": 0.1}, {}, {"l1": 0.01}],
    "other orders": [{}, {"shuffle": False}, {"shuffle": "replacement"}, {}],
    "another optimizer": [{"optimizer": AdamW()}, {"optimizer": AdamW(weight_decay=0.5)}],
    "other factors": [{}, {"optimizer": Adam(factors={"bias": 0.1})}, {}],
    "a solver": [{"optimizer": LBFGS(), "batch_size": "auto"}, {"batch_size": None}],
}


@pytest.mark.parametrize("fits", FITS_IN_A_ROW.values(), ids=FITS_IN_A_ROW)
@pytest.mark.parametrize("pieces", [{}, {"norm": "batch", "dropout": 0.2}], ids=["plain", "pieces"])
def test_fits_in_a_row_end_as_those_of_networks_that_are_new_to_it(fits, pieces):
    """What is kept of a fit is for the network and its copies; one from a pickle has nothing."""
    X, y = classes(60)
    net = MLP([6, 9, 5, 3], output="softmax", dtype="float64", seed=1, **pieces)
    if pieces and isinstance(fits[0].get("optimizer"), LBFGS):
        pytest.skip("solvers refuse random networks")
    for given in fits:
        options = {"batch_size": 16, "epochs": 2, "seed": 0} | given
        rows = options.pop("rows", 60)
        new, copy = pickle.loads(pickle.dumps(net)), net.copy()
        result, *others = (one.fit(X[:rows], y[:rows], **options) for one in (net, new, copy))
        for one, other in zip((new, copy), others, strict=True):
            assert_array_equal(one.theta, net.theta)
            assert other.loss == result.loss
            assert_array_equal(other.trace["objective"], result.trace["objective"])


def test_a_fit_leaves_its_sweeps_to_the_next_one(monkeypatch):
    X, y = classes(60)
    net = small_net()
    net.fit(X, y, batch_size=16, epochs=1)
    monkeypatch.delattr(sweep, "Sweep")  # nothing makes another one
    net.fit(X, y, batch_size=16, epochs=1)
    net.copy().fit(X, y, batch_size=16, epochs=1)


def test_fits_do_not_keep_more_than_a_few_sweeps_alive():
    X, y = classes(60)
    kept = sweep.KeptSweeps(2, most_bytes=1 << 20)
    problem = objective.Objective(small_net(), X, y).problem
    made = []
    for _ in range(3):
        net = small_net()
        one = kept.take(net, problem, 16, gather=True)
        kept.keep(one, net)
        made.append((net, one))
    (first, oldest), *others = made
    assert kept.take(first, problem, 16, gather=True) is not oldest
    assert all(kept.take(net, problem, 16, gather=True) is one for net, one in others)
    too_large = sweep.KeptSweeps(2, most_bytes=oldest.n_bytes - 1)
    too_large.keep(oldest, first)
    assert too_large.take(first, problem, 16, gather=True) is not oldest


def captured(net, X, y, **options):
    """Result of a fit and the parameters at the start and after each epoch."""
    thetas = [net.theta.copy()]
    result = net.fit(X, y, callbacks=[lambda p: thetas.append(p.theta.copy())], **options)
    return result, thetas


@pytest.mark.parametrize("clip_norm", [None, 1e300])
@both_precisions
def test_divergence_ends_with_the_best_parameters(clip_norm, dtype, overflow):
    X, y = classes(60)
    net = MLP([6, 8, 1], dtype=dtype, seed=0)
    start = net.loss(X, y)
    result, thetas = captured(
        net, X, y, optimizer=SGD(1e9), epochs=50, batch_size=8, clip_norm=clip_norm, seed=0
    )
    assert result.status == Status.NOT_FINITE == "not finite"
    assert not result.success
    assert "not finite; theta is back at the best finite one" in result.message
    assert np.isfinite(net.theta).all()
    assert result.loss == net.loss(X, y) <= start
    assert any((theta == net.theta).all() for theta in thetas)


@dataclass(frozen=True)
class Rates(Schedule):
    """A learning rate for each epoch, as given."""

    rates: tuple

    def values(self, t):
        return np.array(self.rates)[t.astype(int)]


@pytest.mark.parametrize(
    ("rates", "best"),
    [([0.05, 0.05, 0.05, 1e308, 1e308], 3), ([0.05, 0.05, 20.0, 1e308, 1e308], 2)],
    ids=["the last finite epoch", "an epoch before"],
)
def test_late_divergence_goes_back_to_the_best_epoch(rates, best, overflow):
    X, _ = classes(60)
    y = X @ np.linspace(-1, 1, 6)
    net = MLP([6, 1], dtype="float64", seed=0)
    options = {"loss": "absolute_error", "batch_size": 8, "epochs": 5, "seed": 0}
    result, thetas = captured(net, X, y, optimizer=SGD(Rates(tuple(rates))), **options)
    assert result.status == Status.NOT_FINITE
    assert result.n_iter >= 3
    assert result.trace["objective"].argmin() == best
    assert_array_equal(net.theta, thetas[best])
    assert_array_equal(result.theta, thetas[best])


def test_infinite_parameters_that_a_rectifier_hides(overflow):
    """The hidden bias falls to -inf, the unit is off and the objective finite all the same."""
    net = MLP([1, 1, 1], dtype="float32")
    net.theta = start = [1, 0, 100, 0]
    options = {"loss": "absolute_error", "optimizer": SGD(1e37), "epochs": 3}
    result = net.fit([[1e-20]], [-5], **options)
    assert result.status == Status.NOT_FINITE
    assert_array_equal(net.theta, start)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_overflows_where_the_loss_does_not(clip_norm, overflow):
    net = MLP([1, 1, 1], dtype="float32")
    net.theta = start = np.array([1e-30, 0, 1e10, 0], np.float32)
    result = net.fit([[1e30]], [0], loss="absolute_error", optimizer=SGD(), clip_norm=clip_norm)
    assert result.status == Status.NOT_FINITE
    assert_array_equal(net.theta, start)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "scipy(method='BFGS')"])
def test_a_start_that_is_not_finite(optimizer, overflow):
    net = MLP([1, 1, 1], activation="exponential", dtype="float32")
    net.theta = start = [1, 0, 1, 0]
    result = net.fit([[1e3]], [0], optimizer=optimizer)
    assert result.status == Status.NOT_FINITE
    assert np.isnan(result.loss)
    assert result.n_iter == 0
    assert_array_equal(net.theta, start)


def test_a_list_of_optimizers_ends_with_divergence(overflow):
    X, y = classes(60)
    net = MLP([6, 8, 1], dtype="float64", seed=0)
    result = net.fit(X, y, optimizer=[SGD(1e9), Adam()], epochs=50, batch_size=8, seed=0)
    assert result.status == Status.NOT_FINITE
    assert result.n_iter < 50


# Accidents: Ctrl-C


@pytest.fixture
def interrupt_after(monkeypatch, chunk_by_chunk):
    """Makes Ctrl-C arrive during a mini-batch of the given number."""

    def install(n_calls):
        advance, calls = sweep.Sweep.advance, []

        def interrupted(self, mode, *args, **options):
            finite = advance(self, mode, *args, **options)
            if mode != codes.EVALUATE:
                calls.append(None)
                if len(calls) == n_calls:
                    signal.raise_signal(signal.SIGINT)
            return finite

        monkeypatch.setattr(sweep.Sweep, "advance", interrupted)

    return install


def test_ctrl_c_goes_back_to_the_last_finished_epoch(interrupt_after):
    """Five mini-batches an epoch: the third epoch is cut short."""
    X, y = classes(68)
    net = small_net()
    interrupt_after(12)
    result, thetas = captured(net, X, y, epochs=9, batch_size=16, seed=0)
    assert result.status == Status.INTERRUPTED == "interrupted"
    assert result.message == "interrupted by the user"
    assert not result.success
    assert (result.n_iter, result.n_grad_evals) == (2, 12)
    assert_array_equal(net.theta, thetas[2])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_the_first_epoch_goes_back_to_the_start(interrupt_after):
    X, y = classes(68)
    net = small_net()
    interrupt_after(2)
    result, thetas = captured(net, X, y, epochs=9, batch_size=16, seed=0)
    assert result.status == Status.INTERRUPTED
    assert len(thetas) == 1
    assert_array_equal(net.theta, thetas[0])


def test_ctrl_c_in_a_solver_goes_back_to_the_last_iterate(interrupt_after):
    X, y = classes(68)
    net = small_net()
    interrupt_after(4)
    result, thetas = captured(net, X, y, optimizer=LBFGS())
    assert result.status == Status.INTERRUPTED
    assert result.n_iter >= 1
    assert_array_equal(net.theta, thetas[-1])
    assert result.loss == result.trace["objective"][-1]


def test_ctrl_c_ends_a_list_of_optimizers(interrupt_after):
    X, y = classes(68)
    interrupt_after(2)
    result = small_net().fit(X, y, optimizer=[SGD(), LBFGS()], epochs=3, batch_size=16)
    assert (result.status, result.n_iter) == (Status.INTERRUPTED, 0)


@pytest.mark.parametrize(
    "options",
    [{"optimizer": Adam(), "batch_size": 16}, {"optimizer": LBFGS()}],
    ids=["Adam", "LBFGS"],
)
def test_ctrl_c_after_the_last_epoch(options, monkeypatch):
    """It arrives while the objective is evaluated at the end, too late to cut anything short."""
    X, y = classes(68)
    net, uninterrupted = small_net(), small_net()
    options = options | {"epochs": 2, "seed": 0}
    message = uninterrupted.fit(X, y, **options).message
    value = objective.Objective.value

    def interrupted(self, *arguments):
        signal.raise_signal(signal.SIGINT)
        return value(self, *arguments)

    monkeypatch.setattr(objective.Objective, "value", interrupted)
    result, thetas = captured(net, X, y, **options)
    assert result.status == Status.INTERRUPTED
    assert result.message == f"{message}; interrupted by the user"
    assert_array_equal(result.theta, thetas[-1])
    assert_array_equal(net.theta, uninterrupted.theta)


def test_ctrl_c_too_late_to_be_told_by_the_result(monkeypatch):
    """It goes on as what it would be just after the fit."""
    X, y = classes(40)
    outcome = monitor.Monitor.outcome

    def too_late(self, *arguments):
        told = outcome(self, *arguments)
        signal.raise_signal(signal.SIGINT)
        return told

    monkeypatch.setattr(monitor.Monitor, "outcome", too_late)
    with pytest.raises(KeyboardInterrupt):
        small_net().fit(X, y, epochs=2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("optimizer", [Adam(), LBFGS()], ids=["Adam", "LBFGS"])
def test_keyboard_interrupt_in_a_callback(optimizer):
    X, y = classes(68)
    net = small_net()
    thetas = []

    def interrupt(progress):
        thetas.append(progress.theta.copy())
        if len(thetas) == 3:
            raise KeyboardInterrupt

    result = net.fit(X, y, optimizer=optimizer, callbacks=[interrupt], seed=0)
    assert result.status == Status.INTERRUPTED
    assert_array_equal(net.theta, thetas[-1])


def test_a_handler_of_the_users_own_stays(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGINT, lambda *details: heard.append(details))
    try:
        X, y = classes(40)
        result = small_net().fit(
            X, y, epochs=3, callbacks=[lambda progress: signal.raise_signal(signal.SIGINT)]
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(heard) == 3
    assert result.status == Status.COMPLETED


def test_training_in_another_thread_than_the_main_one():
    X, y = classes(40)
    net, elsewhere = small_net(), small_net()
    net.fit(X, y, epochs=3, seed=0)
    thread = threading.Thread(target=elsewhere.fit, args=(X, y), kwargs={"epochs": 3, "seed": 0})
    thread.start()
    thread.join()
    assert_array_equal(elsewhere.theta, net.theta)


@compiled_only
def test_a_real_ctrl_c_during_a_long_fit(tmp_path):
    """A signal from outside: an epoch takes about half a second, all of them a week."""
    script = tmp_path / "long_fit.py"
    script.write_text("""
import json, os, signal, threading
import numpy as np
import fastmlp

rng = np.random.default_rng(0)
X = rng.normal(size=(200_000, 20)).astype("float32")
net = fastmlp.MLP([20, 32, 1], seed=0)
thetas = [net.theta.copy()]

def callback(progress):
    thetas.append(progress.theta.copy())
    if len(thetas) == 2:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

result = net.fit(X, X[:, 0], epochs=10**6, batch_size=16, callbacks=[callback], seed=0)
same = bool((net.theta == thetas[-1]).all())
print(json.dumps([result.status, result.n_iter, len(thetas) - 1, same]))
""")
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert run.returncode == 0, run.stderr
    status, n_iter, n_callbacks, same = json.loads(run.stdout)
    assert status == "interrupted"
    assert n_iter == n_callbacks >= 1
    assert same


# Bad arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": "adamm"}, ValueError, "optimizer must be one of sgd, .*, got 'adamm'"),
        ({"optimizer": "adam(lr=1)"}, ValueError, "adam has the parameters .*, got 'lr'"),
        ({"optimizer": Adam}, TypeError, "optimizer must be one of fastmlp's, such as"),
        ({"optimizer": 3}, TypeError, "optimizer must be one of fastmlp's, such as .*, got 3"),
        ({"optimizer": []}, ValueError, "optimizer must not be an empty list"),
        ({"optimizer": [Adam(), None]}, TypeError, "optimizer must be one of .*, got None"),
        (
            {"optimizer": [Adam(), LBFGS(bounds=(np.zeros(3), 1))]},
            ValueError,
            r"bounds must be numbers or arrays of the shape \(131,\), got \(3,\)",
        ),
        (
            {"optimizer": "scipy(method='CG', options={'maxiter': 3})"},
            ValueError,
            "options must not have maxiter, which max_iterations stands for",
        ),
        ({"loss": "hinge"}, ValueError, "loss 'hinge' needs an output that can be negative"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer of at least 1, got 1.5"),
        (
            {"optimizer": LBFGS(), "batch_size": 16},
            ValueError,
            "batch_size must not be given for LBFGS, .*: it is for stochastic optimizers, got 16",
        ),
        (
            {"optimizer": "stochastic_lbfgs+bfgs", "batch_size": None},
            ValueError,
            "batch_size must not be given for BFGS, StochasticLBFGS, .*, got None",
        ),
        ({"optimizer": "lbfgs", "clip_norm": 1.0}, ValueError, "clip_norm must not be given for"),
        ({"optimizer": "lbfgs", "shuffle": False}, ValueError, "shuffle must not be given for"),
        ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": True}, TypeError, "epochs must be an integer of at least 1, got True"),
        ({"epochs": "3"}, TypeError, "epochs must be an integer of at least 1, got '3'"),
        ({"l1": -1}, ValueError, "l1 must be a number of at least 0, got -1"),
        ({"l2": np.nan}, ValueError, "l2 must be a number of at least 0, got nan"),
        ({"sample_weight": [1, 2]}, ValueError, r"sample_weight must have the shape \(40,\)"),
        ({"shuffle": "yes"}, ValueError, "shuffle must be True, False or 'replacement'"),
        ({"shuffle": 1}, ValueError, "or a fastmlp.Windowed, got 1"),
        ({"shuffle": None}, ValueError, "or a fastmlp.Windowed, got None"),
        ({"clip_norm": 0}, ValueError, "clip_norm must be a positive number, got 0"),
        ({"clip_norm": "1"}, TypeError, "clip_norm must be a positive number, got '1'"),
        ({"validation_data": 3}, ValueError, r"validation_data must be \(X, y\) or .*, got int"),
        ({"validation_data": ([1],)}, ValueError, r"validation_data must be \(X, y\) or"),
        (
            {"validation_data": (np.ones((2, 3)), [0, 1])},
            ValueError,
            r"validation_data: X must have the shape \(n, 6\)",
        ),
        (
            {"validation_data": (np.ones((2, 6)), ["a", "b"])},
            TypeError,
            "validation_data: y must hold real numbers",
        ),
        (
            {"validation_data": (np.ones((2, 6)), [0, 1], [1, -1])},
            ValueError,
            "validation_data: sample_weight must not be negative",
        ),
        ({"callbacks": 3}, TypeError, "callbacks must be a sequence of callables, got 3"),
        ({"callbacks": [3]}, TypeError, r"callbacks must be a sequence of callables, got \[3\]"),
        ({"time_limit": 0}, ValueError, "time_limit must be a positive number, got 0"),
        ({"time_limit": "1s"}, TypeError, "time_limit must be a positive number, got '1s'"),
        ({"target_loss": np.nan}, ValueError, "target_loss must be a finite number, got nan"),
        ({"target_loss": "low"}, TypeError, "target_loss must be a finite number, got 'low'"),
        ({"progress": "yes"}, TypeError, "progress must be True or False, got 'yes'"),
        ({"n_threads": 0}, ValueError, "n_threads must be an integer of at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be None or an integer from 0 up, got -1"),
        ({"seed": "a"}, TypeError, "seed must be None or an integer from 0 up, got 'a'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_changes(options, error, message):
    X, y = classes(40)
    net = small_net()
    before = net.theta.copy()
    with pytest.raises(error, match=message):
        net.fit(X, y, **options)
    assert_array_equal(net.theta, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_only_a_network_can_be_trained():
    with pytest.raises(TypeError, match=r"net must be a fastmlp\.MLP, got str"):
        fit("net", [[1]], [1])


def test_a_network_that_is_not_finite_cannot_be_trained():
    net = small_net()
    net.theta[5] = np.nan
    with pytest.raises(ValueError, match="theta must be finite, got nan at index 5"):
        net.fit(*classes(40))


# Accuracy


@compiled_only
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": Adam(), "epochs": 60, "batch_size": 32},
        {"optimizer": LBFGS(), "epochs": 200, "l2": 1e-3},
    ],
    ids=["Adam", "LBFGS"],
)
def test_accuracy_on_held_out_digits(options):
    """At least 96.5 %, where k nearest neighbours and other plain methods are, too."""
    X, y = datasets.load_digits()
    order = np.random.default_rng(0).permutation(len(X))
    train, test = order[360:], order[:360]
    net = MLP([64, 64, 10], output="softmax", seed=0)
    net.fit(X[train], y[train], seed=0, **options)
    assert np.mean(net.predict(X[test]).argmax(axis=1) == y[test]) >= 0.965


def test_all_rows_may_be_said_of_a_solver_that_takes_them():
    X, y = np.random.default_rng(0).normal(size=(2, 20, 1))
    plain, said = (
        MLP([1, 3, 1], seed=0).fit(X, y, optimizer="lbfgs", epochs=3, **given).theta
        for given in ({}, {"batch_size": None})
    )
    assert_array_equal(said, plain)
