"""Recurrent networks: backpropagation through time by hand, in NumPy and in torch; and all else.

The gradients of the worked steps stand in the comments. `reference` unrolls any such network in
NumPy, torch differentiates it by itself.
"""

import pickle

import numpy as np
import pytest
import reference
import torch_trajectories as torchs
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import (
    MLP,
    RNN,
    Objective,
    check_gradient,
    compare,
    fit_many,
    program_workspace,
)
from fastmlp.kernels import gather, program
from fastmlp.kernels.stages import recurrent

# Roundings of 1e-16 in sums of some hundred terms.
ROUND_OFF = 1e-12

# Of ten steps of an optimizer, for which see `test_trajectories`.
OF_TEN_STEPS = 1e-11

N_ROWS = 7 if INTERPRETED else 150
N_STEPS = 4 if INTERPRETED else 9


def data(net, seed=0, n=N_ROWS, n_steps=N_STEPS):
    """X, targets for the network's output, and lengths."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_steps, net.layer_sizes[0]))
    each = (n, n_steps) if net.sequence == "all" else (n,)
    if net.output == "softmax":
        y = rng.integers(0, net.layer_sizes[-1], each)
    else:
        y = rng.normal(size=(*each, net.layer_sizes[-1]))
    return X, y, rng.integers(1, n_steps + 1, n)


def network(sizes=(3, 5, 2), dtype="float64", **options):
    """A network whose biases are not 0."""
    net = RNN(sizes, dtype=dtype, seed=1, **options)
    rng = np.random.default_rng(4)
    for biases in net.biases:
        biases[:] = rng.normal(scale=0.1, size=biases.shape)
    return net


# By hand


def one_unit(**options):
    """h_t = 2 x_t + 3 h_{t-1} + 1, and the output is -h_2 + 0.5."""
    net = RNN([1, 1, 1], activation="identity", dtype="float64", **options)
    net.theta = [2, 3, 1, -1, 0.5]
    return net


def test_backpropagation_through_time_by_hand():
    # x = (1, 2): h_1 = 2 + 1 = 3, h_2 = 4 + 9 + 1 = 14, the output is -13.5.
    # The target is -15.5: the error is 2, the loss 2^2 / 2 = 2.
    # delta_2 = 2 * (-1) = -2, delta_1 = 3 delta_2 = -6.
    # W: delta_1 x_1 + delta_2 x_2 = -6 - 4 = -10. U: delta_2 h_1 = -6. b: -6 - 2 = -8.
    # The output layer: 2 h_2 = 28, and 2.
    X, y = [[[1.0], [2.0]]], [-15.5]
    net = one_unit()
    assert_array_equal(net.predict(X), [[-13.5]])
    loss, gradient = net.loss_and_grad(X, y)
    assert loss == 2
    assert_array_equal(gradient, [-10, -6, -8, 28, 2])


def test_truncation_by_hand():
    # As above with windows of one step: delta_1 = 0, so W: -4, b: -2, and U sees h_1 still.
    loss, gradient = one_unit(truncate=1).loss_and_grad([[[1.0], [2.0]]], [-15.5])
    assert loss == 2
    assert_array_equal(gradient, [-4, -6, -2, 28, 2])


def test_the_loss_of_each_step_by_hand():
    # Outputs are -h_1 + 0.5 = -2.5 and -13.5, targets -3.5 and -15.5: errors 1 and 2, and the mean
    # loss is (1/2 + 2) / 2 = 1.25. Deltas of the outputs are 1/2 and 1.
    # delta_2 = -1, delta_1 = -1/2 + 3 delta_2 = -3.5.
    # W: -3.5 - 2 = -5.5. U: -1 * 3 = -3. b: -4.5. Output: 3/2 + 14 = 15.5, and 1.5.
    net = one_unit(sequence="all")
    loss, gradient = net.loss_and_grad([[[1.0], [2.0]]], [[-3.5, -15.5]])
    assert loss == 1.25
    assert_array_equal(gradient, [-5.5, -3, -4.5, 15.5, 1.5])
    # Of a length of 1 only the first step: delta_1 = -1.
    loss, gradient = net.loss_and_grad([[[1.0], [2.0]]], [[-3.5, -15.5]], lengths=[1])
    assert loss == 0.5
    assert_array_equal(gradient, [-1, 0, -1, 3, 1])


def test_equal_weights_in_two_layers_have_the_sum_of_both_gradients():
    # w = 2 in both layers, x = 1.5: 3, then 6. The target is 5, the error 1.
    # Second layer: 1 * 3 = 3. First layer: 1 * 2 * 1.5 = 3. Their sum is d/dw (w^2 x - 5)^2 / 2.
    net = MLP([1, 1, 1], activation="identity", dtype="float64", tied=[(2, 1)])
    net.theta = [2, 0, 0]
    loss, gradient = net.loss_and_grad([[1.5]], [5.0])
    assert loss == 0.5
    assert gradient[0] == 6


def test_a_network_that_is_shown_one_step_is_an_mlp_with_equal_layers():
    """After x_1 comes nothing but 0: layers with the weights W, U, U are the same function."""
    net = network((3, 4, 2))
    W, U, b, V, c = (view for _, view in net.parameters)
    plain = MLP([3, 4, 4, 4, 2], activation="tanh", dtype="float64")
    for layer, (weights, biases) in enumerate([(W, b), (U, b), (U, b), (V, c)]):
        plain.weights[layer][:], plain.biases[layer][:] = weights, biases
    X, y, _ = data(net, n_steps=3)
    X[:, 1:] = 0
    loss, gradient = net.loss_and_grad(X, y)
    plain_loss, plain_gradient = plain.loss_and_grad(X[:, 0], y)
    assert_allclose(loss, plain_loss, rtol=ROUND_OFF)
    plain.theta = plain_gradient
    expected = [
        plain.weights[0],
        plain.weights[1] + plain.weights[2],
        sum(plain.biases[:3]),
        plain.weights[3],
        plain.biases[3],
    ]
    assert_allclose(gradient, np.concatenate([g.ravel() for g in expected]), atol=ROUND_OFF)


# In NumPy


def reference_evaluation(net, X, y, lengths=None, sample_weight=None):
    """Loss, gradient and outputs (n, T, n_out) by `reference`."""
    n, n_steps = X.shape[:2]
    weights = np.ones(n) if sample_weight is None else sample_weight * n / sample_weight.sum()
    lengths = np.full(n, n_steps) if lengths is None else lengths
    views = [view for _, view in net.parameters]
    below, passes = X.swapaxes(0, 1), []
    for layer, activation in enumerate(net.activations[:-1]):
        W, U, b = views[3 * layer : 3 * layer + 3]
        Z, H = reference.recurrent_forward(below, W, U, b, activation, lengths)
        passes.append((below, W, U, Z, H, activation))
        below = H
    V, c = views[-2:]
    outputs = below @ V + c
    losses = np.zeros(n)
    deltas = np.zeros(outputs.shape)
    by_step = net.sequence == "all"
    for t in range(n_steps):
        is_last = lengths - 1 == t
        counts = (t < lengths) / lengths if by_step else is_last.astype(float)
        targets = y[:, t] if by_step else y
        if net.output == "softmax":
            targets = np.eye(net.layer_sizes[-1])[targets]
            of_steps = -(targets * reference.log_softmax(outputs[t])).sum(1)
            slopes = reference.softmax_rows(outputs[t]) - targets
        else:
            slopes = outputs[t] - targets
            of_steps = (slopes**2).sum(1) / 2
        losses += counts * of_steps
        deltas[t] = slopes * (counts * weights / n)[:, np.newaxis]
    gradients = [
        np.einsum("tri,trj->ij", below, deltas),
        deltas.sum((0, 1)),
    ]
    deltas = deltas @ V.T
    for below, W, U, Z, H, activation in reversed(passes):
        *own, deltas = reference.recurrent_back(below, W, U, Z, H, deltas, activation, net.truncate)
        gradients = own + gradients
    if net.output == "softmax":
        outputs = np.array([reference.softmax_rows(z) for z in outputs])
    gradient = np.concatenate([g.ravel() for g in gradients])
    return (weights * losses).mean(), gradient, outputs.swapaxes(0, 1)


CASES = [
    pytest.param({"sequence": "last"}, (3, 5, 2), False, id="last"),
    pytest.param({"output": "softmax"}, (3, 5, 4, 3), True, id="last, lengths, two layers"),
    pytest.param(
        {"sequence": "all", "activation": "relu", "truncate": 3},
        (3, 5, 4, 2),
        True,
        id="all, lengths, truncated, two layers",
    ),
    pytest.param(
        {"sequence": "all", "activation": "gelu", "output": "softmax"},
        (3, 6, 3),
        True,
        id="all, classes, lengths, gelu",
    ),
    pytest.param(
        {"sequence": "all", "activation": ["sigmoid", "leaky_relu(0.2)"], "output": "softmax"},
        (1, 6, 17, 3),
        False,
        id="all, classes, two activations",
    ),
    pytest.param({"activation": "softplus"}, (1, 3, 1), True, id="one input, one output"),
    pytest.param({"truncate": 1}, (2, 33, 2), True, id="truncated at each step"),
]
every_case = pytest.mark.parametrize(("options", "sizes", "with_lengths"), CASES)


@every_case
def test_loss_and_gradient_equal_those_of_the_reference(options, sizes, with_lengths):
    net = network(sizes, **options)
    X, y, lengths = data(net)
    lengths = lengths if with_lengths else None
    loss, gradient, outputs = reference_evaluation(net, X, y, lengths)
    assert_allclose(net.loss(X, y, lengths=lengths), loss, rtol=ROUND_OFF)
    ours = net.loss_and_grad(X, y, lengths=lengths)
    assert_allclose(ours[0], loss, rtol=ROUND_OFF)
    assert_allclose(ours[1], gradient, rtol=0, atol=ROUND_OFF * np.abs(gradient).max())
    found = net.predict(X, lengths=lengths)
    ends = np.full(len(X), X.shape[1]) if lengths is None else lengths
    if net.sequence == "all":
        beyond = np.arange(X.shape[1]) >= ends[:, np.newaxis]
        assert_allclose(found, np.where(beyond[..., np.newaxis], 0, outputs), atol=ROUND_OFF)
    else:
        assert_allclose(found, outputs[np.arange(len(X)), ends - 1], atol=ROUND_OFF)


@every_case
def test_the_gradient_equals_central_differences(options, sizes, with_lengths):
    if "truncate" in options or sizes == (1, 6, 17, 3):
        pytest.skip("truncated gradients are not those of the loss; kinks, and many parameters")
    options = {**options, "activation": "tanh"}
    net = network(sizes, **options)
    X, y, lengths = data(net, n=6)
    check = check_gradient(net, X, y, lengths=lengths if with_lengths else None, l2=0.1)
    assert set(check.errors) == {name for name, _ in net.parameters}
    assert check.passed, check


def test_sample_weights_and_penalties():
    net = network(sequence="all")
    X, y, lengths = data(net)
    weights = np.random.default_rng(2).random(len(X))
    loss, gradient, _ = reference_evaluation(net, X, y, lengths, weights)
    factors = np.concatenate(
        [np.full(view.size, not name.startswith("biases")) for name, view in net.parameters]
    )
    decayed = factors * net.theta
    loss += 0.3 / 2 * (decayed**2).sum() + 0.2 * np.abs(decayed).sum()
    gradient += 0.3 * decayed + 0.2 * np.sign(decayed)
    ours = net.loss_and_grad(X, y, lengths=lengths, sample_weight=weights, l1=0.2, l2=0.3)
    assert_allclose(ours[0], loss, rtol=ROUND_OFF)
    assert_allclose(ours[1], gradient, rtol=0, atol=ROUND_OFF * np.abs(gradient).max())


@pytest.mark.parametrize("rows", [1, 2, 5, 13])
def test_blocks_of_any_number_of_rows(rows, monkeypatch):
    monkeypatch.setattr(program_workspace.ProgramWorkspace, "_block_rows", lambda *_: rows)
    net = network((3, 5, 4, 2), sequence="all")
    X, y, lengths = data(net, n=14)
    loss, gradient, _ = reference_evaluation(net, X, y, lengths)
    ours = net.loss_and_grad(X, y, lengths=lengths)
    assert_allclose(ours[0], loss, rtol=ROUND_OFF)
    assert_allclose(ours[1], gradient, rtol=0, atol=ROUND_OFF * np.abs(gradient).max())


def test_chunks_of_a_large_batch(monkeypatch):
    monkeypatch.setattr(program_workspace, "LARGEST_CHUNK", 5)
    net = network()
    X, y, lengths = data(net, n=17)
    loss, gradient, _ = reference_evaluation(net, X, y, lengths)
    ours = net.loss_and_grad(X, y, lengths=lengths)
    assert_allclose(ours[0], loss, rtol=ROUND_OFF)
    assert_allclose(ours[1], gradient, rtol=0, atol=ROUND_OFF * np.abs(gradient).max())


# Lengths


@pytest.mark.parametrize("sequence", ["last", "all"])
def test_what_comes_after_a_rows_length_is_not_looked_at(sequence):
    net = network(sequence=sequence, activation="relu", output="softmax")
    X, y, lengths = data(net)
    expected = net.loss_and_grad(X, y, lengths=lengths)
    outputs = net.predict(X, lengths=lengths)
    beyond = np.arange(X.shape[1]) >= lengths[:, np.newaxis]
    X[beyond] = np.nan
    if sequence == "all":
        y[beyond] = -100
    loss, gradient = net.loss_and_grad(X, y, lengths=lengths)
    assert loss == expected[0]
    assert_array_equal(gradient, expected[1])
    assert_array_equal(net.predict(X, lengths=lengths), outputs)


@pytest.mark.parametrize("sequence", ["last", "all"])
def test_full_lengths_are_as_good_as_none(sequence):
    net = network(sequence=sequence)
    X, y, _ = data(net)
    loss, gradient = net.loss_and_grad(X, y)
    with_lengths = net.loss_and_grad(X, y, lengths=np.full(len(X), X.shape[1]))
    assert with_lengths[0] == loss
    assert_array_equal(with_lengths[1], gradient)


def test_steps_that_follow_cannot_overflow():
    """A unit that doubles itself at each step: 2^2000 if it went on."""
    net = RNN([1, 1, 1], activation="identity", dtype="float64")
    net.theta = [1, 2, 0, 1, 0]
    X = np.zeros((2, 2000, 1))
    X[:, 0] = 1
    loss, gradient = net.loss_and_grad(X, [0.0, 0.0], lengths=[3, 1])
    assert loss == (16 + 1) / 4
    assert np.isfinite(gradient).all()


def test_one_network_takes_sequences_of_any_number_of_steps():
    net = network()
    for n_steps in (3, 1, 5, 3):
        X, y, _ = data(net, n=6, n_steps=n_steps)
        loss, _, outputs = reference_evaluation(net, X, y)
        assert_allclose(net.loss(X, y), loss, rtol=ROUND_OFF)
        assert_allclose(net.predict(X), outputs[:, -1], atol=ROUND_OFF)


# Against torch


def torch_loss(torch, net, parameters, X, y, lengths):
    """The loss by torch.nn.RNN, whose sequences are packed; `parameters` are its leaves."""
    rnn = torch.nn.RNN(
        net.layer_sizes[0],
        net.layer_sizes[1],
        num_layers=len(net.layer_sizes) - 2,
        nonlinearity=net.activations[0],
        batch_first=True,
        dtype=torch.float64,
    )
    own = {}
    for layer in range(len(net.layer_sizes) - 2):
        W, U, b = parameters[3 * layer : 3 * layer + 3]
        own |= {f"weight_ih_l{layer}": W.T, f"weight_hh_l{layer}": U.T, f"bias_ih_l{layer}": b}
        own[f"bias_hh_l{layer}"] = torch.zeros_like(b)
    rows = torch.tensor(X)
    ends = torch.full((len(X),), X.shape[1]) if lengths is None else torch.tensor(lengths)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        rows, ends, batch_first=True, enforce_sorted=False
    )
    if net.truncate is None:
        found, _ = torch.func.functional_call(rnn, own, (packed,))
        H, _ = torch.nn.utils.rnn.pad_packed_sequence(
            found, batch_first=True, total_length=X.shape[1]
        )
    else:  # window by window: h goes on, its gradient does not
        H, h = [], None
        for first in range(0, X.shape[1], net.truncate):
            h = None if h is None else h.detach()
            window = rows[:, first : first + net.truncate]
            found, h = torch.func.functional_call(rnn, own, (window, h))
            H.append(found)
        H = torch.cat(H, 1)
    V, c = parameters[-2:]
    cross_entropy, targets = torch.nn.functional.cross_entropy, torch.tensor(y)
    if net.sequence == "last":
        outputs = H[torch.arange(len(X)), ends - 1] @ V + c
        if net.output == "softmax":
            return cross_entropy(outputs, targets)
        return ((outputs - targets) ** 2).sum(1).mean() / 2
    outputs = H @ V + c
    if net.output == "softmax":
        losses = cross_entropy(outputs.swapaxes(1, 2), targets, reduction="none")
    else:
        losses = ((outputs - targets) ** 2).sum(2) / 2
    counts = torch.arange(X.shape[1]) < ends[:, None]
    return ((losses * counts).sum(1) / ends).mean()


def torch_leaves(torch, net):
    return [torch.tensor(view.copy(), requires_grad=True) for _, view in net.parameters]


def flat(parts):
    return np.concatenate([part.detach().numpy().ravel() for part in parts])


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sequence", ["last", "all"])
@pytest.mark.parametrize("truncate", [None, 2])
@pytest.mark.parametrize("output", ["identity", "softmax"])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_gradients_equal_those_of_torch(activation, sequence, truncate, output, with_lengths):
    torch = pytest.importorskip("torch")
    options = {"activation": activation, "sequence": sequence, "output": output}
    net = network((3, 6, 6, 4), truncate=truncate, **options)
    X, y, lengths = data(net)
    lengths = lengths if with_lengths else None
    if truncate is not None and len(net.layer_sizes) > 3:
        # torch's windows cut both layers at once, as ours do.
        assert X.shape[1] > 2 * truncate or INTERPRETED
    leaves = torch_leaves(torch, net)
    expected = torch_loss(torch, net, leaves, X, y, lengths)
    expected.backward()
    loss, gradient = net.loss_and_grad(X, y, lengths=lengths)
    of_torch = flat([leaf.grad for leaf in leaves])
    assert_allclose(loss, expected.item(), rtol=1e-12)
    assert_allclose(gradient, of_torch, rtol=0, atol=1e-12 * np.abs(of_torch).max())


@pytest.mark.parametrize("written", torchs.METHODS)
def test_ten_steps_of_every_optimizer_equal_those_of_torch(written):
    torch = pytest.importorskip("torch")
    net = network(sequence="all", output="softmax")
    n_rows = torchs.N_STEPS * torchs.BATCH_SIZE
    X, y, lengths = data(net, n=n_rows, n_steps=4)
    name, keywords = torchs.METHODS[written]
    leaves = torch_leaves(torch, net)
    is_bias = [name.startswith("biases") for name, _ in net.parameters]
    groups = [
        {"params": [leaf for leaf, of_bias in zip(leaves, is_bias, strict=True) if of_bias == flag]}
        for flag in (False, True)
    ]
    groups[0]["weight_decay"] = torchs.WEIGHT_DECAY if name == "AdamW" else 0.0
    groups[1]["weight_decay"] = 0.0
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which NAdam keeps a product
    try:
        optimizer = getattr(torch.optim, name)(groups, lr=torchs.LEARNING_RATE, **keywords)
        for first in range(0, n_rows, torchs.BATCH_SIZE):
            rows = slice(first, first + torchs.BATCH_SIZE)
            loss = torch_loss(torch, net, leaves, X[rows], y[rows], lengths[rows])
            weights = groups[0]["params"]
            loss = loss + torchs.L2 / 2 * sum((W**2).sum() for W in weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finally:
        torch.set_default_dtype(before)
    options = {"batch_size": torchs.BATCH_SIZE, "epochs": 1, "shuffle": False, "l2": torchs.L2}
    net.fit(X, y, lengths=lengths, optimizer=written, **options)
    assert_allclose(net.theta, flat(leaves), rtol=0, atol=OF_TEN_STEPS)


# Fits


def test_a_step_of_gradient_descent_goes_along_the_gradient():
    net = network(sequence="all")
    X, y, lengths = data(net)
    _, gradient = net.loss_and_grad(X, y, lengths=lengths)
    before = net.theta.copy()
    net.fit(X, y, lengths=lengths, optimizer="sgd(learning_rate=0.1)", batch_size=None, epochs=1)
    assert_allclose(before - net.theta, 0.1 * gradient, atol=1e-15)


@compiled_only
def test_it_learns_what_needs_memory():
    """Whether the first step was positive, ten steps later: no step but the first tells."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 10, 1))
    y = (X[:, 0, 0] > 0).astype(int)
    net = RNN([1, 16, 2], output="softmax", seed=0)
    net.fit(
        X[:500], y[:500], optimizer="adam(learning_rate=0.01)", epochs=30, batch_size=32, seed=0
    )
    assert (net.predict(X[500:]).argmax(axis=1) == y[500:]).mean() > 0.9


@compiled_only
@pytest.mark.parametrize("optimizer", ["lbfgs", "bfgs", "conjugate_gradient", "stochastic_lbfgs"])
def test_solvers_lower_the_objective(optimizer):
    net = network(sequence="all")
    X, y, lengths = data(net)
    before = net.loss(X, y, lengths=lengths)
    result = net.fit(X, y, lengths=lengths, optimizer=optimizer, epochs=20, seed=0)
    assert_allclose(result.loss, net.loss(X, y, lengths=lengths), rtol=1e-9)
    assert result.loss < 0.9 * before


@pytest.mark.parametrize("sequence", ["last", "all"])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_the_gauss_newton_matrix_is_of_the_outputs_that_count(sequence, with_lengths):
    """Against central differences of the outputs, whose error is of the order of 1e-10."""
    net = network((2, 3, 2), sequence=sequence)
    X, y, lengths = data(net, n=6, n_steps=4)
    lengths = lengths if with_lengths else None
    value, gradient, hessian = Objective(net, X, y, lengths=lengths).gauss_newton()
    expected = net.loss_and_grad(X, y, lengths=lengths)
    assert_allclose(value, expected[0], rtol=ROUND_OFF)
    assert_allclose(gradient, expected[1], atol=ROUND_OFF)
    step, theta, columns = 1e-6, net.theta.copy(), []
    for i in range(net.n_params):
        outputs = []
        for sign in (1, -1):
            net.theta[i] = theta[i] + sign * step
            outputs.append(net.predict(X, lengths=lengths))
        net.theta[i] = theta[i]
        columns.append((outputs[0] - outputs[1]) / (2 * step))
    J = np.moveaxis(columns, 0, -1)
    if sequence == "all":  # the mean over the steps of a row; those that do not count are 0
        counts = np.full(len(X), X.shape[1]) if lengths is None else lengths
        J /= np.sqrt(counts)[:, np.newaxis, np.newaxis, np.newaxis]
    J = J.reshape(-1, net.n_params)
    assert_allclose(hessian, J.T @ J / len(X), atol=1e-8)


def test_validation_data_may_have_lengths():
    net = network(sequence="all")
    X, y, lengths = data(net)
    held_out = data(net, seed=1)
    result = net.fit(
        X, y, lengths=lengths, epochs=2, seed=0, validation_data=(*held_out[:2], None, held_out[2])
    )
    expected = net.loss(*held_out[:2], lengths=held_out[2])
    assert_allclose(result.trace["validation_loss"][-1], expected, rtol=1e-12)


def fitted(n_threads=1, dtype="float32"):
    """Bits of a fit of which two or more groups of rows share the work."""
    net = network((5, 33, 17, 3), dtype=dtype, sequence="all", output="softmax", truncate=5)
    X, y, lengths = data(net, n=230, n_steps=7)
    options = {"epochs": 2, "batch_size": 100, "seed": 3, "n_threads": n_threads}
    net.fit(X, y, lengths=lengths, optimizer="adam(learning_rate=0.01)", **options)
    return net.theta.tobytes() + net.predict(X, lengths=lengths, n_threads=n_threads).tobytes()


@compiled_only
@both_precisions
def test_bits_do_not_depend_on_the_number_of_threads(dtype, monkeypatch):
    monkeypatch.setattr(program_workspace, "GROUP_ROWS", 16)
    monkeypatch.setattr("fastmlp.sweep.choose_parts", lambda flops, n_threads: n_threads)
    bits = [fitted(n_threads, dtype) for n_threads in (1, 2, 3, 4)]
    assert len(set(bits)) == 1


# A network like any other


@both_precisions
@pytest.mark.parametrize("options", [{}, {"sequence": "all", "truncate": 3, "init": "he_normal"}])
def test_copies_files_and_pickles_are_the_same_network(options, dtype, tmp_path):
    net = network((3, 5, 4, 2), dtype=dtype, **options)
    X, _, lengths = data(net)
    path = tmp_path / "model.safetensors"
    net.save(path)
    for other in (net.copy(), RNN.load(path), pickle.loads(pickle.dumps(net))):
        assert type(other) is RNN
        assert other.architecture() == net.architecture()
        assert repr(other) == repr(net)
        assert other.theta.tobytes() == net.theta.tobytes()
        assert not np.shares_memory(other.theta, net.theta)
        assert_array_equal(other.predict(X, lengths=lengths), net.predict(X, lengths=lengths))
    redrawn = net.redrawn(0)
    assert redrawn.architecture() == net.architecture()
    assert (redrawn.recurrent[0] != net.recurrent[0]).all()


def test_files_of_one_kind_are_not_of_the_other(tmp_path):
    path = tmp_path / "model.safetensors"
    network().save(path)
    with pytest.raises(ValueError, match="recurrent network: load it with RNN"):
        MLP.load(path)
    MLP([3, 4, 2]).save(path)
    with pytest.raises(ValueError, match="load it with MLP"):
        RNN.load(path)


def test_a_checkpoint_resumes_with_the_same_bits(tmp_path):
    path = tmp_path / "fit.checkpoint"
    net, other = network(sequence="all"), network(sequence="all")
    X, y, lengths = data(net)
    options = {"lengths": lengths, "seed": 0, "batch_size": 3}
    net.fit(X, y, epochs=4, **options)
    other.fit(X, y, epochs=2, checkpoint=path, **options)
    with pytest.raises(ValueError, match="data"):
        other.fit(X, y, epochs=4, checkpoint=path, **{**options, "lengths": None})
    other.fit(X, y, epochs=4, checkpoint=path, **options)
    assert other.theta.tobytes() == net.theta.tobytes()


def test_parameters_are_named_and_views_of_theta():
    net = RNN([3, 5, 4, 2], seed=0)
    shapes = {name: view.shape for name, view in net.parameters}
    assert shapes == {
        "weights[0]": (3, 5),
        "recurrent[0]": (5, 5),
        "biases[0]": (5,),
        "weights[1]": (5, 4),
        "recurrent[1]": (4, 4),
        "biases[1]": (4,),
        "weights[2]": (4, 2),
        "biases[2]": (2,),
    }
    assert net.n_params == sum(np.prod(shape) for shape in shapes.values())
    for views in (net.weights, net.recurrent, net.biases):
        assert all(np.shares_memory(view, net.theta) for view in views)
    assert [view.shape for view in net.recurrent] == [(5, 5), (4, 4)]
    assert f"{15 + 25 + 5}" in repr(net)


@both_precisions
def test_recurrent_weights_start_orthogonal_or_as_init_says(dtype):
    net = RNN([3, 40, 2], dtype=dtype, seed=0)
    U = net.recurrent[0].astype(np.float64)
    assert_allclose(U @ U.T, np.eye(40), atol=40 * np.finfo(dtype).eps)
    assert_array_equal(net.recurrent[0], RNN([3, 40, 2], dtype=dtype, seed=0).recurrent[0])
    # Uniform on +-sqrt(6 / (40 + 40)), by Glorot and Bengio.
    U = RNN([3, 40, 2], dtype=dtype, init="glorot_uniform", seed=0).recurrent[0]
    limit = np.sqrt(6 / 80)
    assert 0.95 * limit < np.abs(U).max() <= limit * (1 + 1e-6)


def test_many_networks_and_restarts():
    net = network(sequence="all")
    X, y, lengths = data(net)
    options = {"epochs": 2, "batch_size": 3}
    nets, alone = [network(sequence="all") for _ in range(2)], network(sequence="all")
    rows = [np.arange(5), np.arange(2, 6)]
    fit_many(nets, X, y, rows=rows, seeds=[5, 6], lengths=lengths, **options)
    alone.fit(X[2:6], y[2:6], lengths=lengths[2:6], seed=6, n_threads=1, **options)
    assert alone.theta.tobytes() == nets[1].theta.tobytes()
    result = net.fit(X, y, lengths=lengths, restarts=2, seed=0, **options)
    assert result.loss == net.loss(X, y, lengths=lengths)


def test_compare_takes_recurrent_networks():
    net = network(output="softmax", sequence="all")
    X, y, _ = data(net)
    found = compare(net, X, y, ["adam", "lbfgs"], passes=2, validation_data=(X, y))
    run = found.runs["adam"][0]
    accuracy = (run.network.predict(X).argmax(axis=2) == y).mean()
    assert_allclose(run.score, accuracy, rtol=1e-12)


def mean_score(net, X, y, lengths):
    """Accuracy, or the root of the mean squared error, row by row."""
    means = []
    for x, target, end in zip(X, y, lengths, strict=True):
        (found,) = net.predict(x[np.newaxis, :end])
        target = target[:end] if net.sequence == "all" else target
        is_right = found.argmax(axis=-1) == target if net.output == "softmax" else None
        means.append(np.mean((found - target) ** 2 if is_right is None else is_right))
    return np.mean(means) if net.output == "softmax" else np.sqrt(np.mean(means))


@pytest.mark.parametrize("output", ["identity", "softmax"])
@pytest.mark.parametrize("sequence", ["last", "all"])
def test_compare_heeds_lengths(sequence, output):
    """What comes after them, here not even finite, plays no part in objectives or scores."""
    net = network(sequence=sequence, output=output)
    X, y, lengths = data(net, n=20)
    X[np.arange(X.shape[1]) >= lengths[:, np.newaxis]] = np.nan
    options = {"passes": 1, "batch_size": 8, "lengths": lengths}
    run = compare(net, X, y, ["sgd"], **options).runs["sgd"][0]
    start = run.result.trace[0].objective
    assert_allclose(start, net.loss(X, y, lengths=lengths), rtol=ROUND_OFF)
    assert_allclose(run.score, mean_score(run.network, X, y, lengths), rtol=ROUND_OFF)
    held_out = X[:7], y[:7], None, lengths[:7]
    run = compare(net, X, y, ["sgd"], validation_data=held_out, **options).runs["sgd"][0]
    assert_allclose(run.score, mean_score(run.network, X[:7], y[:7], lengths[:7]), rtol=ROUND_OFF)


# Refusals


def refused(match, function, *arguments, error=ValueError, **options):
    with pytest.raises(error, match=match) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("match", "arguments", "error"),
    [
        ("layer_sizes must name at least one hidden layer", {"layer_sizes": [3, 2]}, ValueError),
        ("sequence must be one of last, all", {"sequence": "first"}, ValueError),
        ("sequence must be one of last, all", {"sequence": None}, TypeError),
        ("truncate must be an integer of at least 1", {"truncate": 0}, ValueError),
        ("truncate must be an integer of at least 1", {"truncate": 1.5}, TypeError),
        ("activation must be one of", {"activation": "softmax"}, ValueError),
    ],
)
def test_bad_networks(match, arguments, error):
    refused(match, RNN, **{"layer_sizes": [3, 4, 2], **arguments}, error=error)


X_OF_TWO = np.zeros((2, 3, 3))


@pytest.mark.parametrize(
    ("match", "X", "lengths"),
    [
        (r"X must have the shape \(n, T, 3\)", np.zeros((2, 3)), None),
        (r"X must have the shape \(n, T, 3\)", np.zeros((2, 3, 2)), None),
        (r"X must have the shape \(n, T, 3\)", np.zeros((2, 3, 3, 1)), None),
        ("X must have at least one row, and one step", np.zeros((0, 3, 3)), None),
        ("X must have at least one row, and one step", np.zeros((2, 0, 3)), None),
        (r"lengths must have the shape \(2,\)", X_OF_TWO, [1]),
        ("lengths must be from 1 to 3, the steps of X, got 0 for row 1", X_OF_TWO, [1, 0]),
        ("lengths must be from 1 to 3, the steps of X, got 4 for row 0", X_OF_TWO, [4, 1]),
        ("lengths must be whole numbers, got 1.5 for row 0", X_OF_TWO, [1.5, 1]),
        ("lengths must be finite", X_OF_TWO, [np.nan, 1]),
        (r"X must be finite, got nan at index \(1, 2, 0\)", np.full((2, 3, 3), np.nan), [1, 3]),
    ],
)
def test_bad_sequences(match, X, lengths):
    X = X.copy()
    if np.isnan(X).any():
        X[np.isnan(X)] = 0
        X[1, 2, 0] = np.nan
    net = network()
    before = net.theta.copy()
    refused(match, net.predict, X, lengths=lengths)
    for function in (net.loss, net.loss_and_grad, net.fit):
        refused(match, function, X, np.zeros((len(X), 2)), lengths=lengths)
    assert_array_equal(net.theta, before)


@pytest.mark.parametrize(
    ("match", "options", "y"),
    [
        (r"y must have the shape \(2, 3, 2\)", {"sequence": "all"}, np.zeros((2, 3))),
        (r"y must have the shape \(2, 2\)", {}, np.zeros((2, 3, 2))),
        (
            r"y must have the shape \(2, 3\) for class indices or \(2, 3, 2\)",
            {"sequence": "all", "output": "softmax"},
            np.zeros(2),
        ),
        (
            "y must hold class indices from 0 to 1, got 2",
            {"sequence": "all", "output": "softmax"},
            np.full((2, 3), 2),
        ),
        (
            "y must hold probabilities that sum to 1",
            {"sequence": "all", "output": "softmax"},
            np.zeros((2, 3, 2)),
        ),
    ],
)
def test_bad_targets(match, options, y):
    refused(match, network(**options).loss, X_OF_TWO, y)
    if options:
        refused(match, network(**options).loss, X_OF_TWO, y, lengths=[2, 3])


def test_what_makes_no_sense_for_sequences():
    net = network()
    X, y, lengths = data(net)
    refused("standardize must be False for a recurrent", net.fit, X, y, standardize=True)
    with pytest.raises(ValueError, match="feature_names must be None for a recurrent"):
        net.feature_names = ["a", "b", "c"]
    pandas = pytest.importorskip("pandas")
    refused(r"X must have the shape \(n, T, 3\)", net.fit, pandas.DataFrame(X[:, 0]), y)
    refused("lengths must be None", MLP([3, 2]).fit, X[:, 0], y, lengths=lengths)
    refused("lengths must be None", compare, MLP([3, 2]), X[:, 0], y, ["sgd"], lengths=lengths)


# Kernels


def test_copy_times_turns_rows_into_steps():
    copy_times = standalone(gather.copy_times)
    rng = np.random.default_rng(0)
    order, n_times, n = rng.permutation(9), 4, 3
    for has_lengths in (False, True):
        source = rng.normal(size=(9, n_times * n + has_lengths))
        for ordered in (False, True):
            copied, lengths = np.full((n_times * 5, n), np.nan), np.full(5 * has_lengths, np.nan)
            copy_times(source.ravel(), order, 2, ordered, n_times, lengths, copied)
            rows = order[2:7] if ordered else np.arange(2, 7)
            steps, rest = reference.copy_times(source, rows, n_times, n)
            assert_array_equal(copied.reshape(n_times, 5, n), steps)
            assert_array_equal(lengths, rest.ravel())


def test_rows_whose_sequence_is_over_are_cleared():
    clear_late_rows = standalone(recurrent.clear_late_rows)
    lengths = np.array([3.0, 1.0, 2.0])
    for t in range(3):
        Z = np.arange(1.0, 7).reshape(3, 2)
        expected = reference.clear_late_rows(lengths, t, Z)
        clear_late_rows(lengths, t, Z)
        assert_array_equal(Z, expected)


def test_last_steps_are_taken_and_given():
    take_last = standalone(recurrent.take_last)
    give_last = standalone(recurrent.give_last)
    rng = np.random.default_rng(0)
    H, delta = rng.normal(size=(4, 3, 2)), rng.normal(size=(3, 2))
    for lengths in ([4, 1, 2], []):
        last, deltas = np.full((3, 2), np.nan), np.full((12, 2), np.nan)
        ends = lengths or [4, 4, 4]
        take_last(H.reshape(12, 2), np.array(lengths, np.float64), last)
        assert_array_equal(last, reference.take_last(H, ends))
        give_last(delta, np.array(lengths, np.float64), deltas)
        assert_array_equal(deltas.reshape(4, 3, 2), reference.give_last(delta, ends, 4))


def test_losses_of_valid_steps_are_kept():
    keep_valid = standalone(program.keep_valid)
    rng = np.random.default_rng(0)
    lengths = np.array([4.0, 1.0, 2.0])
    for f in range(4):
        losses, delta = rng.normal(size=3), rng.normal(size=(3, 2))
        expected = reference.keep_valid(lengths, f, 4, losses, delta)
        keep_valid(lengths, f, 4, losses, delta)
        assert_allclose(losses, expected[0], rtol=1e-15)
        assert_allclose(delta, expected[1], rtol=1e-15)


@pytest.mark.parametrize("optimizer", ["lbfgs", "levenberg_marquardt"])
def test_solvers_refuse_gradients_that_are_truncated(optimizer):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(8, 4, 2)), rng.normal(size=8)
    net = RNN([2, 3, 1], truncate=2, seed=0)
    with pytest.raises(ValueError, match=r"one of .*Adam.* with truncate, whose"):
        net.fit(X, y, optimizer=optimizer)
