"""Dropout: its random bits, what it does to a fit, and what it leaves alone.

Masks are those of `reference.dropout_mask`, whose generator is held against published vectors.
Torch and finite differences, given these masks, say what a fit with them comes to.
"""

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
import reference
import torch_trajectories as torchs
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    Categorical,
    CosineAnnealing,
    ExponentialDecay,
    FlatCosine,
    InverseTime,
    LinearDecay,
    StepDecay,
    WarmUp,
    check_gradient,
    compare,
    fit_many,
    program_workspace,
    sweep,
)
from fastmlp.kernels import codes, records
from fastmlp.kernels._jit import call_worker
from fastmlp.kernels.philox import philox
from fastmlp.kernels.program import stage_addresses
from fastmlp.kernels.stages import dropout
from fastmlp.kernels.view import record
from fastmlp.order import random_order
from fastmlp.schedules import BY_NAME, CosineLog
from fastmlp.written import parse_schedule, write_schedule

# Roundings of 1e-16 in sums of some ten terms, times what cancels in a difference of thetas.
ROUND_OFF = 1e-11

SIZES = (4, 7, 6, 3)
P = (0.3, 0.6)
P_INPUT = 0.2
N_ROWS = 24 if INTERPRETED else 60


def data(seed=0, n=N_ROWS, sizes=SIZES):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, sizes[0])), rng.integers(0, sizes[-1], n)


def network(activation="tanh", dtype="float64", sizes=SIZES, **pieces):
    """A network whose biases are not 0: where all units are dropped, they are off relu's kink."""
    pieces = pieces or {"dropout": P, "input_dropout": P_INPUT}
    net = MLP(sizes, activation=activation, output="softmax", dtype=dtype, seed=1, **pieces)
    rng = np.random.default_rng(4)
    for biases in net.biases:
        biases[:] = rng.normal(scale=0.1, size=biases.shape)
    return net


def mask_seed(rng):
    """What a fit draws first of all if its network has dropout."""
    return int(rng.integers(2**63))


# The generator


# Of the file kat_vectors of Random123, the authors' own library: counter, key, result.
PUBLISHED = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0"),
]
RESULTS = [
    "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    "408f276d 41c83b0e a20bc7c6 6d5451fd",
    "d16cfe09 94fdcceb 5001e420 24126ea1",
]


def words(text):
    return [int(word, 16) for word in text.split()]


def joined(low, high):
    return np.uint64(low + (high << 32))


@pytest.mark.parametrize(("given", "result"), list(zip(PUBLISHED, RESULTS, strict=True)))
def test_the_generator_gives_the_published_numbers(given, result):
    counter, key = map(words, given)
    assert_array_equal(reference.philox([counter], key)[0], words(result))
    bits = np.empty(2, np.uint64)
    standalone(philox)(joined(*counter[:2]), joined(*counter[2:]), joined(*key), bits)
    assert_array_equal(bits.astype("<u8").view("<u4"), words(result))


def test_counters_in_a_row_carry_into_the_upper_half():
    n, first, stream, key = 37, 2**32 - 20, (5, 2**31 + 7), (2**32 - 1, 3)
    bits = np.empty(2 * n, np.uint64)
    standalone(philox)(np.uint64(first), joined(*stream), joined(*key), bits)
    numbers = first + np.arange(n, dtype=np.uint64)
    counters = [(number % 2**32, number // 2**32, *stream) for number in numbers.tolist()]
    assert_array_equal(bits.astype("<u8").view("<u4"), reference.philox(counters, key).ravel())


@both_precisions
@pytest.mark.parametrize("limit", [1, 6554, 32768, 65535])
def test_units_are_dropped_below_the_limit(limit, dtype):
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 2**16, 1001).astype(np.uint16)
    halves[:3] = limit - 1, limit, 2**16 - 1
    values = rng.normal(size=1001).astype(dtype)
    expected = reference.drop(values, halves, limit)
    standalone(dropout.drop)(values, halves, limit)
    # The factor is rounded to the dtype once, the product once more.
    assert_allclose(values, expected, rtol=2 * np.finfo(dtype).eps, atol=0)


def test_dropping_keeps_nan_for_a_fit_to_notice():
    values = np.array([np.nan, np.nan])
    standalone(dropout.drop)(values, np.array([0, 2**16 - 1], np.uint16), 100)
    assert np.isnan(values).all()


@pytest.mark.parametrize("number", [0.0, 1.0, 9830.0, 65535.0, 65536.0])
@pytest.mark.parametrize("factor", [0.0, 1e-6, 0.15, 0.5, 1.0])
def test_the_limit_is_the_nearest_and_never_all(number, factor):
    limit = standalone(dropout.drop_limit)(number, factor)
    assert limit == reference.drop_limit(number, factor)
    assert 0 <= limit < 2**16


@pytest.mark.parametrize(("update", "key", "f"), [(0, 0, 0), (2**32 + 5, 3, 2), (17, 65535, 65535)])
def test_streams_tell_updates_layers_and_matrices_apart(update, key, f):
    stream = standalone(dropout.mask_stream)(update, key, f)
    assert int(stream) == reference.mask_stream(update, key, f)


# Masks


def test_the_share_of_dropped_units_is_the_probability():
    n_rows, n_units, p = 200, 130, 0.3
    dropped = reference.dropout_mask(12345, 7, 1, range(n_rows), n_units, p) == 0
    # Five standard deviations of a binomial number, of all and of each unit.
    spread = np.sqrt(p * (1 - p))
    assert abs(dropped.mean() - p) < 5 * spread / np.sqrt(dropped.size)
    assert (abs(dropped.mean(axis=0) - p) < 5 * spread / np.sqrt(n_rows)).all()
    assert (abs(dropped.mean(axis=1) - p) < 5 * spread / np.sqrt(n_units)).all()


def test_masks_of_other_updates_layers_rows_and_seeds_are_not_correlated():
    n_rows, n_units = 100, 64
    first = (2**40 + 5, 3, 1, range(n_rows), n_units, 0.5)
    others = {
        "seed": (2**40 + 6, *first[1:]),
        "upper half of the seed": (2**41 + 5, *first[1:]),
        "update": (first[0], 4, *first[2:]),
        "layer": (*first[:2], 2, *first[3:]),
        "rows": (*first[:3], range(1, n_rows + 1), *first[4:]),
        "epoch's next rows": (*first[:3], range(n_rows, 2 * n_rows), *first[4:]),
    }
    mask = reference.dropout_mask(*first)
    compared = {name: reference.dropout_mask(*other) for name, other in others.items()}
    compared["member"] = reference.dropout_mask(*first, f=1)
    compared["units"] = np.roll(mask, 1, axis=1)
    for name, other in compared.items():
        correlation = np.corrcoef(mask.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / np.sqrt(mask.size), name
    # The same row in another mini-batch is the same row.
    again = reference.dropout_mask(*first[:3], range(10, 20), *first[4:])
    assert_array_equal(again, mask[10:20])


def test_expectations_stay():
    """Of the first layer's gradient, linear in the masks of the inputs: its mean over updates."""
    n = 2000
    X, y = np.ones((n, 1)), np.zeros(n)
    net = MLP([1, 1], dtype="float64", input_dropout=0.25)
    net.theta[:] = 0.0, 1.0
    net.fit(X, y, optimizer=SGD(1e-9), batch_size=1, epochs=1, seed=0)
    # Each update takes 1e-9 times the input, which is 0 or 4/3, of spread sqrt(1/3).
    mean = -net.theta[0] / 1e-9 / n
    assert abs(mean - 1.0) < 5 * np.sqrt(1 / 3 / n)


# Against torch and finite differences


class Masks:
    """Those of a fit of a network, by update and places in the epoch."""

    def __init__(self, seed, sizes, dropout, input_dropout):
        self.seed, self.sizes = seed, sizes
        self.probabilities = (input_dropout, *dropout)

    def __call__(self, update, places):
        return [
            reference.dropout_mask(self.seed, update, key, places, n, p)
            for key, (n, p) in enumerate(zip(self.sizes, self.probabilities, strict=False))
        ]


def objective(parameters, masks, activation, X, Y, weights):
    """Mean cross-entropy of softmax outputs, in NumPy."""
    A = X * masks[0]
    for layer, (W, b) in enumerate(parameters):
        A = A @ W + b
        if layer < len(parameters) - 1:
            A = reference.activation_forward(A, activation) * masks[layer + 1]
    losses = np.logaddexp.reduce(A, axis=1) - A[np.arange(len(A)), Y]
    return np.average(losses, weights=weights)


def layers_of(theta, sizes):
    parameters, start = [], 0
    for n_in, n_out in pairwise(sizes):
        W = theta[start : start + n_in * n_out].reshape(n_in, n_out)
        start += n_in * n_out
        parameters.append((W, theta[start : start + n_out]))
        start += n_out
    return parameters


def first_gradient(net, X, y, **options):
    """The gradient in the first update, from a step of the length 1 times it."""
    before = net.theta.copy()
    options = {"batch_size": len(X), "shuffle": False, "seed": 5, **options}
    net.fit(X, y, optimizer=SGD(1.0), epochs=1, **options)
    return before - net.theta


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_the_gradient_is_that_of_the_objective_with_these_masks(activation):
    X, y = data()
    net = network(activation)
    theta = net.theta.copy()
    masks = Masks(mask_seed(np.random.default_rng(5)), SIZES, P, P_INPUT)(0, range(len(X)))

    def value(x):
        return objective(layers_of(x, SIZES), masks, activation, X, y, None)

    step = 1e-6
    differences = [
        (value(theta + e) - value(theta - e)) / (2 * step) for e in step * np.eye(theta.size)
    ]
    # Central differences lose half of the digits.
    assert_allclose(first_gradient(net, X, y), differences, rtol=0, atol=1e-8)


TORCH = {
    "identity": lambda torch, x: x,
    "relu": lambda torch, x: torch.relu(x),
    "leaky_relu": lambda torch, x: torch.nn.functional.leaky_relu(x, 0.01),
    "sigmoid": lambda torch, x: torch.sigmoid(x),
    "tanh": lambda torch, x: torch.tanh(x),
    "elu": lambda torch, x: torch.nn.functional.elu(x),
    "selu": lambda torch, x: torch.selu(x),
    "gelu": lambda torch, x: torch.nn.functional.gelu(x),
    "silu": lambda torch, x: torch.nn.functional.silu(x),
    "mish": lambda torch, x: torch.nn.functional.mish(x),
    "softplus": lambda torch, x: torch.nn.functional.softplus(x),
    "exponential": lambda torch, x: torch.exp(x),
}


class TorchFit:
    """A network in torch, with masks that it is given."""

    def __init__(self, theta, sizes, activation="tanh"):
        self.torch = pytest.importorskip("torch")
        self.activation = TORCH[activation]
        self.layers = [
            tuple(self.torch.tensor(part.copy()).requires_grad_() for part in layer)
            for layer in layers_of(theta, sizes)
        ]

    def loss(self, X, y, masks, weights=None):
        torch = self.torch
        A = torch.tensor(X) * torch.tensor(masks[0])
        for layer, (W, b) in enumerate(self.layers):
            A = A @ W + b
            if layer < len(self.layers) - 1:
                A = self.activation(torch, A) * torch.tensor(masks[layer + 1])
        losses = torch.nn.functional.cross_entropy(A, torch.tensor(y), reduction="none")
        return losses.mean() if weights is None else (losses * torch.tensor(weights)).mean()

    def gradient(self, *args):
        self.loss(*args).backward()
        return self._vector([part.grad for layer in self.layers for part in layer])

    def theta(self):
        return self._vector([part.detach() for layer in self.layers for part in layer])

    def _vector(self, parts):
        return np.concatenate([part.numpy().ravel() for part in parts])

    def optimizer(self, written):
        name, keywords = torchs.METHODS[written]
        decay = torchs.WEIGHT_DECAY if name == "AdamW" else 0.0
        groups = [
            {"params": [W for W, _ in self.layers], "weight_decay": decay},
            {"params": [b for _, b in self.layers], "weight_decay": 0.0},
        ]
        return getattr(self.torch.optim, name)(groups, lr=torchs.LEARNING_RATE, **keywords)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("activation", TORCH)
def test_gradients_equal_those_of_torch(activation):
    X, y = data()
    weights = np.random.default_rng(2).random(len(X)) + 0.1
    net = network(activation)
    net.theta *= 0.3  # for exponentials of exponentials
    masks = Masks(mask_seed(np.random.default_rng(5)), SIZES, P, P_INPUT)(0, range(len(X)))
    expected = TorchFit(net.theta, SIZES, activation).gradient(
        X, y, masks, weights / weights.mean()
    )
    assert relative(first_gradient(net, X, y, sample_weight=weights), expected) < 1e-9


def test_gradients_of_float32_networks():
    X, y = data()
    net = network("gelu", dtype="float32")
    masks = Masks(mask_seed(np.random.default_rng(5)), SIZES, P, P_INPUT)(0, range(len(X)))
    expected = TorchFit(net.theta.astype(np.float64), SIZES, "gelu").gradient(X, y, masks)
    # A thousandth, at most, of theta is a gradient: 1e-7 of theta are 1e-5 of that and more.
    assert relative(first_gradient(net, X, y).astype(np.float64), expected) < 1e-4


@pytest.mark.parametrize(
    ("rows", "chunk", "block"),
    [(60, 4096, 3), (60, 16, 512), (60, 7, 2), (1, 1, 1)],
    ids=["blocks", "chunks", "chunks of blocks", "one row"],
)
def test_masks_do_not_depend_on_blocks_or_chunks(rows, chunk, block, monkeypatch):
    monkeypatch.setattr(program_workspace, "LARGEST_CHUNK", chunk)
    monkeypatch.setattr(program_workspace, "FEWEST_BLOCK_ROWS", block)
    monkeypatch.setattr(program_workspace, "BLOCK_BYTES", 1)
    X, y = data(n=rows)
    net = network()
    masks = Masks(mask_seed(np.random.default_rng(5)), SIZES, P, P_INPUT)(0, range(rows))
    expected = TorchFit(net.theta, SIZES).gradient(X, y, masks)
    assert relative(first_gradient(net, X, y), expected) < 1e-9


def torch_fit(written, theta, X, y, masks, order, batch_size, n_epochs):
    """Theta after epochs of mini-batches, the same order of rows in each."""
    fit = TorchFit(theta, SIZES)
    torch = fit.torch
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # NAdam keeps a product in it
    update = 0
    try:
        optimizer = fit.optimizer(written)
        for _ in range(n_epochs):
            for first in range(0, len(X), batch_size):
                rows = order[first : first + batch_size]
                optimizer.zero_grad()
                fit.loss(
                    X[rows], y[rows], masks(update, range(first, first + len(rows)))
                ).backward()
                optimizer.step()
                update += 1
    finally:
        torch.set_default_dtype(before)
    return fit.theta()


@pytest.mark.parametrize("written", torchs.METHODS)
def test_ten_steps_equal_those_of_torch(written):
    """Two epochs of five: a row's place in an epoch comes again, the update's number does not."""
    X, y = data(n=50)
    net = network()
    masks = Masks(mask_seed(np.random.default_rng(5)), SIZES, P, P_INPUT)
    expected = torch_fit(written, net.theta, X, y, masks, np.arange(50), 10, 2)
    net.fit(X, y, optimizer=written, epochs=2, batch_size=10, shuffle=False, seed=5)
    assert_allclose(net.theta, expected, rtol=0, atol=ROUND_OFF)


def test_masks_go_by_the_place_in_the_order_that_an_epoch_has():
    X, y = data(n=50)
    net = network()
    rng = np.random.default_rng(5)
    masks, order = Masks(mask_seed(rng), SIZES, P, P_INPUT), random_order(rng, 50)
    expected = torch_fit("sgd(learning_rate=0.05)", net.theta, X, y, masks, order, 8, 1)
    net.fit(X, y, optimizer="sgd(learning_rate=0.05)", epochs=1, batch_size=8, seed=5)
    assert_allclose(net.theta, expected, rtol=0, atol=ROUND_OFF)


STEPS, BLOCKS = 3, 3 + len(records.STEP.names)


@standalone
def do_step(at, tables, work, is_back):
    step, block = record(tables, STEPS, records.STEP), record(tables, BLOCKS, records.BLOCK)
    call_worker(at, step, block, work, work, is_back)


@both_precisions
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("training", [0, 1])
def test_a_step_of_several_matrices(training, in_place, dtype):
    """As of the members of a network, or of the times of a sequence."""
    factor, n_units, rows, limit = 3, 5, 7, 2**14
    steps, blocks = records.new(records.STEP, 1), records.new(records.BLOCK, 1)
    step, block = steps[0], blocks[0]
    n = factor * rows * n_units
    step.n_in = step.n_out = n_units
    step.factor, step.key, step.goes_back = factor, 4, codes.OVERWRITES
    step.output, step.input_delta = (0 if in_place else n), 2 * n
    step.output_delta, step.saved, step.constant = 2 * n, 4 * n, 8 * n
    block.rows, block.block_rows, block.place, block.training = rows, rows + 2, 11, training
    block.update, block.seed, block.dropout = 2**33 + 6, 2**62 + 9, 0.5
    work = np.random.default_rng(0).normal(size=8 * n + 1).astype(dtype)
    work[step.constant] = limit
    values, deltas = work[:n].copy(), work[2 * n : 3 * n].copy()
    tables = np.concatenate([[0] * STEPS, records.numbers(steps), records.numbers(blocks)])
    address, _ = stage_addresses("dropout", np.dtype(dtype))
    for is_back in (0, 1):
        do_step(address, tables, work, is_back)
    mask = [
        reference.dropout_mask(block.seed, block.update, 4, range(11, 18), n_units, 0.25, f=f)
        for f in range(factor)
    ]
    mask = np.ravel(mask) if training else np.ones(n)
    close = {"rtol": 2 * np.finfo(dtype).eps, "atol": 0}
    assert_allclose(work[step.output :][:n], values * mask, **close)
    assert_allclose(work[2 * n : 3 * n], deltas * mask, **close)
    if not in_place:
        assert_array_equal(work[:n], values)


# Schedules


@pytest.mark.parametrize("per", ["fit", "epoch", "update"])
def test_a_schedule_says_the_probability_of_each_update(per):
    X, y = data(n=40)
    schedule = {
        "fit": FlatCosine(0.6),
        "epoch": StepDecay(0.6, factor=0.5, every=1),
        "update": LinearDecay(0.6, final=0.0, until=9, per="update"),
    }[per]
    t = {"fit": np.arange(12) / 12, "epoch": np.arange(12) // 4, "update": np.arange(12)}[per]
    values = schedule.values(t.astype(np.float64))
    seed = mask_seed(np.random.default_rng(5))

    def masks(update, places):
        return Masks(seed, SIZES, [values[update]] * 2, 0.25)(update, places)

    net = network(dropout=schedule, input_dropout=0.25)
    expected = torch_fit("sgd(learning_rate=0.05)", net.theta, X, y, masks, np.arange(40), 10, 3)
    options = {"batch_size": 10, "shuffle": False, "seed": 5}
    net.fit(X, y, optimizer="sgd(learning_rate=0.05)", epochs=3, **options)
    assert_allclose(net.theta, expected, rtol=0, atol=ROUND_OFF)


ALL_SCHEDULES = [
    StepDecay(0.3, factor=0.5, every=3),
    ExponentialDecay(0.3, rate=0.1, per="update"),
    CosineAnnealing(0.3, period=np.float64(5), restarts=False),
    LinearDecay(0.3, final=0.1, until=7),
    InverseTime(0.3),
    CosineLog(0.3, cycles=2),
    FlatCosine(0.15),
    WarmUp(3, ExponentialDecay(0.3, rate=0.1)),
]


@pytest.mark.parametrize("schedule", ALL_SCHEDULES, ids=lambda one: type(one).__name__)
def test_a_network_keeps_its_schedule_in_writing(schedule):
    assert {type(one) for one in ALL_SCHEDULES} == set(BY_NAME.values())
    written = write_schedule(schedule)
    assert parse_schedule(written) == schedule
    net = network(dropout=schedule)
    kept = json.loads(json.dumps(net.architecture()))
    assert kept["dropout"] == written
    again = MLP.from_architecture(kept, net.theta)
    assert again.architecture() == net.architecture()
    assert network(dropout=written).architecture() == kept


# Whatever dropout must not change


@pytest.mark.parametrize(
    "pieces", [{"dropout": P, "input_dropout": 0.2}, {"dropout": FlatCosine(0.4)}]
)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_only_updates_drop(activation, pieces):
    X, y = data()
    net, plain = network(activation, **pieces), network(activation, dropout=0.0)
    assert plain._program is None
    plain.theta = net.theta
    assert_allclose(net.predict(X), plain.predict(X), rtol=1e-12)
    assert_allclose(net.loss(X, y), plain.loss(X, y), rtol=1e-12)
    value, gradient = net.loss_and_grad(X, y)
    expected, plain_gradient = plain.loss_and_grad(X, y)
    assert_allclose(value, expected, rtol=1e-12)
    assert_allclose(gradient, plain_gradient, rtol=0, atol=1e-13)
    if activation == "tanh":
        assert check_gradient(net, X[:10], y[:10]).passed
    result = net.fit(X, y, epochs=1, validation_data=(X, y), seed=0, optimizer=SGD(1e-9))
    # Of theta that has hardly moved: the trace's loss of validation is without dropout.
    assert_allclose(result.trace["validation_loss"][-1], expected, rtol=1e-6)
    assert_allclose(result.loss, expected, rtol=1e-6)
    assert abs(result.trace["objective"][-1] / expected - 1) > 1e-3


def test_a_fit_without_dropout_draws_nothing_more():
    """The order of its rows is the first that is drawn."""
    X, y = data(n=50)
    net, other = network(dropout=0.0), network(dropout=0.0)
    options = {"optimizer": "sgd", "epochs": 1, "batch_size": 8}
    net.fit(X, y, seed=5, **options)
    order = random_order(np.random.default_rng(5), 50)
    other.fit(X[order], y[order], shuffle=False, **options)
    # A copy of rows is the same rows.
    assert_array_equal(net.theta, other.theta)


def fitted(n_threads=1, dtype="float32", sizes=(20, 33, 17, 3), **pieces):
    """Bits of a fit of 4 groups and more in each mini-batch."""
    X, y = data(n=130, sizes=sizes)
    pieces = pieces or {"dropout": (0.5, 0.1), "input_dropout": 0.1}
    net = network("relu", dtype, sizes, **pieces)
    options = {"epochs": 3, "batch_size": 50, "seed": 3, "n_threads": n_threads}
    net.fit(X, y, optimizer="adam", **options)
    return net.theta.tobytes().hex()


class AsTeam(sweep.Pace):
    """Always goes as a team where it may."""

    def next(self):
        return self._ways[0], 1e18


@compiled_only
@both_precisions
def test_no_bit_depends_on_the_number_of_threads(dtype, monkeypatch):
    monkeypatch.setattr(program_workspace, "GROUP_ROWS", 8)
    monkeypatch.setattr(program_workspace, "FEWEST_BLOCK_ROWS", 3)
    monkeypatch.setattr(program_workspace, "BLOCK_BYTES", 1)
    monkeypatch.setattr(sweep, "Pace", AsTeam)
    bits = [fitted(n_threads, dtype) for n_threads in (1, 2, 3, 4)]
    assert bits[1:] == bits[:1] * 3


@pytest.mark.parametrize("pieces", [{}, {"dropout": FlatCosine(0.4)}], ids=["constant", "schedule"])
def test_a_fit_that_is_taken_up_again_has_the_same_masks(pieces, tmp_path):
    X, y = data()
    options = {"optimizer": "adam", "batch_size": 16, "seed": 1}
    whole, first, resumed = (network(**pieces) for _ in range(3))
    path = tmp_path / "fit.checkpoint"

    def stop(progress):
        if progress.record.epoch == 3:
            raise KeyboardInterrupt

    expected = whole.fit(X, y, epochs=6, **options)
    first.fit(X, y, epochs=6, checkpoint=path, callbacks=stop, **options)
    options["seed"] = 2  # the checkpoint has its own
    result = resumed.fit(X, y, epochs=6, checkpoint=path, **options)
    assert_array_equal(resumed.theta, whole.theta)
    assert_array_equal(result.trace["objective"], expected.trace["objective"])


def test_optimizers_in_turn_have_masks_of_their_own():
    """As each counts its updates from 0, one seed would give both the same masks."""
    X, y = data()
    options = {"batch_size": len(X), "shuffle": False}
    net, twice = network(), network()
    net.fit(X, y, optimizer=[SGD(0.1, epochs=1), SGD(0.1, epochs=1)], seed=5, **options)
    rng = np.random.default_rng(5)
    for _ in range(2):
        seed = mask_seed(rng)
        masks = Masks(seed, SIZES, P, P_INPUT)(0, range(len(X)))
        gradient = TorchFit(twice.theta, SIZES).gradient(X, y, masks)
        twice.theta -= 0.1 * gradient
    assert_allclose(net.theta, twice.theta, rtol=0, atol=ROUND_OFF)


def test_networks_fitted_together_are_as_fitted_alone():
    X, y = data()
    nets, alone = ([network("relu"), network(dropout=0.5)] for _ in range(2))
    options = {"optimizer": "adam", "epochs": 2, "batch_size": 16}
    fit_many(nets, X, y, seeds=[3, 4], n_threads=2, **options)
    for net, other, seed in zip(nets, alone, (3, 4), strict=True):
        other.fit(X, y, seed=seed, n_threads=1, **options)
        assert_array_equal(net.theta, other.theta)


@pytest.mark.parametrize("pieces", [{}, {"dropout": FlatCosine(0.4)}], ids=["constant", "schedule"])
def test_files_pickles_and_copies_keep_dropout(pieces, tmp_path):
    X, y = data()
    net = network(**pieces)
    net.save(tmp_path / "net")
    options = {"optimizer": "adam", "epochs": 1, "batch_size": 16, "seed": 0}
    others = [MLP.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), net.copy()]
    net.fit(X, y, **options)
    for other in others:
        assert other.architecture() == net.architecture()
        other.fit(X, y, **options)
        assert_array_equal(other.theta, net.theta)


# Refusals


@pytest.mark.parametrize(
    ("pieces", "error", "sentence"),
    [
        (
            {"dropout": 1.0},
            ValueError,
            "dropout must be a probability in .* or a Schedule, got 1.0",
        ),
        ({"dropout": -0.1}, ValueError, "dropout must be a probability in"),
        ({"dropout": True}, ValueError, "dropout must be a probability in"),
        ({"dropout": None}, ValueError, "dropout must be a probability in"),
        ({"dropout": [0.1]}, ValueError, "one probability for each of the 2 hidden layers, got 1"),
        ({"dropout": [0.1, np.nan]}, ValueError, r"dropout\[1\] must be a probability in .* nan"),
        ({"dropout": [0.1, FlatCosine(0.1)]}, ValueError, r"dropout\[1\] must be a probability"),
        ({"dropout": "0.1"}, ValueError, "dropout: schedule must be written as name"),
        ({"dropout": "flat"}, ValueError, "dropout: schedule must be one of"),
        ({"dropout": FlatCosine(1.0)}, ValueError, "dropout must stay below 1, .* reaches 1.0"),
        ({"dropout": CosineLog(1.5)}, ValueError, "dropout must stay below 1, .* reaches 1.5"),
        ({"dropout": WarmUp(3, 2.0)}, ValueError, "dropout must stay below 1, .* reaches 2.0"),
        ({"input_dropout": 1.0}, ValueError, "input_dropout must be a probability in .*, got 1.0"),
        ({"input_dropout": FlatCosine(0.1)}, ValueError, "input_dropout must be a probability"),
    ],
)
def test_bad_probabilities_are_refused(pieces, error, sentence):
    with pytest.raises(error, match=sentence):
        network(**pieces)


def test_a_schedule_that_no_file_can_hold_is_refused():
    class Own(FlatCosine):
        pass

    with pytest.raises(TypeError, match=r"dropout must be a schedule of fastmlp's own.*got Own"):
        network(dropout=Own(0.1))


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
def test_solvers_refuse_a_random_objective(name):
    X, y = data()
    net = network(**{name: 0.1})
    before = net.theta.copy()
    sentence = f"optimizer must be one of .*Adam.* for a network with {name}, whose .*, got LBFGS"
    with pytest.raises(ValueError, match=sentence):
        net.fit(X, y, optimizer=[Adam(epochs=1), LBFGS()])
    with pytest.raises(ValueError, match=sentence):
        compare(net, X, y, {"both": [Adam(epochs=1), LBFGS()]}, passes=2)
    assert_array_equal(net.theta, before)


# One-hot inputs


@pytest.mark.parametrize("members", [1, 2])
def test_inputs_of_one_hot_columns_are_dropped_like_others(members):
    """A step on all rows is that of the dense network on the one-hot matrix times the mask."""
    rng, n, counts = np.random.default_rng(0), 40, (5, 3)
    X = np.column_stack([rng.normal(size=n), *(rng.integers(0, c, n) for c in counts)])
    y = rng.normal(size=n)
    inputs = [Categorical(1, counts[0]), Categorical(2, counts[1])]
    options = {"dtype": "float64", "seed": 0, "members": members}
    net = MLP([3, 6, 1], inputs=inputs, input_dropout=0.4, **options)
    codes = np.column_stack([X[:, 1], 5 + X[:, 2]]).astype(int)
    dense = np.column_stack([X[:, :1], np.zeros((n, 8))])
    dense[np.arange(n)[:, None], 1 + codes] = 1.0
    seed = mask_seed(np.random.default_rng(5))
    dense[:, :1] *= reference.dropout_mask(seed, 0, 0, range(n), 1, 0.4)
    dense[:, 1:] *= reference.dropout_mask(seed, 0, 2**16 - 1, range(n), 8, 0.4)
    same = MLP([9, 6, 1], **options)
    factors = dict(same.parameters).get("member_inputs[0]")
    if factors is not None:  # of the numeric and of the one-hot inputs, apart
        own = dict(net.parameters)
        factors[:] = np.hstack([own["member_inputs[0]"], own["member_inputs[0].one_hot"]])
    shared = {**dict(same.parameters)}
    for name, view in net.parameters:
        if not name.startswith("member_inputs[0]"):
            shared[name][:] = view
    step = {"optimizer": SGD(learning_rate=0.5), "batch_size": None, "epochs": 1, "seed": 5}
    net.fit(X, y, **step)
    same.fit(dense, y, **step)
    for name, view in net.parameters:
        if not name.startswith("member_inputs[0]"):
            # Sums of some ten terms in another order.
            assert_allclose(view, shared[name], rtol=1e-12, atol=1e-13)
