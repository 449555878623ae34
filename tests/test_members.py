"""Members: networks in one that share weights, with factors, biases and output layers of their own.

torch trains the same network, written out member by member in `torch_outputs`.
"""

import pickle

import numpy as np
import pytest
import reference
import torch_trajectories as torchs
from marks import both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import MLP, check_gradient, program_workspace
from fastmlp.kernels.stages import members

SIZES = (3, 5, 4, 5, 2)


def network(k=3, activation="tanh", dtype="float64", seed=0, **options):
    """A network whose parameters are all random, biases and factors too."""
    net = MLP(SIZES, activation=activation, dtype=dtype, members=k, seed=seed, **options)
    net.theta += np.random.default_rng(seed).normal(scale=0.3, size=net.n_params).astype(dtype)
    return net


def data(n=12, n_out=2, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, SIZES[0])), rng.normal(size=(n, n_out)), rng.uniform(0.5, 2, n)


# Kernels


def kernel_arguments(dtype, k=3, rows=5, n=19):
    """Inputs of all and of each member, factors, biases, deltas."""
    rng = np.random.default_rng(0)
    shapes = [(rows, n), (k * rows, n), (k, n), (k, n), (k * rows, n)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@both_precisions
@pytest.mark.parametrize("shared", [True, False])
def test_inputs_are_those_of_the_twins(dtype, shared):
    X, own, R, _, delta = kernel_arguments(dtype)
    X = X if shared else own
    eps = 4 * np.finfo(dtype).eps
    result = np.empty_like(delta)
    standalone(members.member_inputs)(X, R, result)
    assert_allclose(result, reference.member_inputs(X, R, shared), rtol=eps)
    sums = np.ones_like(R)
    standalone(members.member_inputs_gradient)(X, delta, sums)
    # Of five products, in eps of the largest that they may come to.
    expected = 1 + reference.member_inputs_gradient(X, delta, len(R), shared)
    assert_allclose(sums, expected, rtol=0, atol=10 * 9 * eps)
    for adds in (False, True):
        below = np.ones_like(X)
        standalone(members.member_inputs_back)(delta, R, adds, below)
        expected = adds + reference.member_inputs_back(delta, R, shared)
        assert_allclose(below, expected, rtol=0, atol=10 * 9 * eps)


@both_precisions
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_outputs_are_those_of_the_twins(dtype, slope):
    _, Z, S, B, delta = kernel_arguments(dtype)
    eps = 4 * np.finfo(dtype).eps
    slope = np.dtype(dtype).type(slope)
    result = np.empty_like(Z)
    standalone(members.member_outputs)(Z, S, B, slope, result)
    assert_allclose(result, reference.member_outputs(Z, S, B, slope), rtol=0, atol=9 * eps)
    below, sums = delta.copy(), np.ones((2 * len(S), Z.shape[1]), dtype)
    standalone(members.member_outputs_back)(below, Z, S, B, slope, sums)
    expected, expected_sums = reference.member_outputs_back(delta, Z, S, B, slope)
    assert_allclose(below, expected, rtol=0, atol=9 * eps)
    assert_allclose(sums, 1 + expected_sums, rtol=0, atol=10 * 9 * eps)


def test_what_is_not_a_number_stays_so():
    Z, one = np.full((1, 1), np.nan), np.ones((1, 1))
    standalone(members.member_outputs)(Z, one, one, 0.0, Z)
    assert np.isnan(Z).all()


# Parameters


def test_names_and_starts():
    net = MLP([3, 5, 4, 2], members=3, seed=0)
    shapes = {
        "member_inputs[0]": (3, 3),
        "weights[0]": (3, 5),
        "member_outputs[0]": (3, 5),
        "biases[0]": (3, 5),
        "member_inputs[1]": (3, 5),
        "weights[1]": (5, 4),
        "member_outputs[1]": (3, 4),
        "biases[1]": (3, 4),
    }
    for m in range(3):
        shapes[f"weights[2][{m}]"], shapes[f"biases[2][{m}]"] = (4, 2), (2,)
    found = dict(net.parameters)
    assert {name: view.shape for name, view in found.items()} == shapes
    assert sum(view.size for view in found.values()) == net.n_params
    assert set(np.unique(found["member_inputs[0]"])) == {-1.0, 1.0}
    for name, view in found.items():
        if name in ("member_inputs[1]", "member_outputs[0]", "member_outputs[1]"):
            assert (view == 1).all()
        if name.startswith("biases"):
            assert (view == 0).all()
    assert not np.array_equal(found["weights[2][0]"], found["weights[2][1]"])
    assert [w.shape for w in net.weights] == [(3, 5), (5, 4), (3, 4, 2)]
    assert [b.shape for b in net.biases] == [(3, 5), (3, 4), (3, 2)]
    for m in range(3):
        assert_array_equal(net.weights[2][m], found[f"weights[2][{m}]"])
        net.biases[2][m] = m
        assert (found[f"biases[2][{m}]"] == m).all()
    assert "4 -> 2" in repr(net)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3"])
def test_other_numbers_of_members_are_refused(value):
    with pytest.raises((ValueError, TypeError), match=r"^members must"):
        MLP([3, 5, 1], members=value)


def test_members_are_asked_for_by_true_or_false():
    with pytest.raises(TypeError, match=r"^members must be True or False, got 3"):
        network().predict(np.zeros((1, 3)), members=3)


# Outputs


@both_precisions
@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu(0.2)", "gelu", "identity"])
def test_outputs_are_those_of_plain_networks(activation, dtype):
    """A member is a plain network whose weights are its factors times those that are shared."""
    net = network(activation=activation, dtype=dtype, output="softmax")
    X, _, _ = data(300)
    outputs = net.predict(X, members=True)
    assert outputs.shape == (300, 3, 2)
    found = dict(net.parameters)
    top = len(SIZES) - 2
    for m in range(3):
        plain = MLP(SIZES, activation=activation, dtype="float64", output="softmax")
        for layer in range(top):
            r, s = found[f"member_inputs[{layer}]"][m], found[f"member_outputs[{layer}]"][m]
            plain.weights[layer][:] = np.float64(r)[:, None] * net.weights[layer] * s
            plain.biases[layer][:] = net.biases[layer][m]
        plain.weights[top][:], plain.biases[top][:] = net.weights[top][m], net.biases[top][m]
        # A few dozen roundings of numbers of order one.
        assert_allclose(outputs[:, m], plain.predict(X), rtol=0, atol=100 * np.finfo(dtype).eps)
    mean = np.float64(outputs).mean(axis=1)
    assert_allclose(net.predict(X), mean, rtol=0, atol=4 * np.finfo(dtype).eps)


def test_a_plain_network_is_one_member():
    net = MLP([3, 4, 2], seed=0)
    X, _, _ = data()
    assert_array_equal(net.predict(X, members=True)[:, 0], net.predict(X))


def test_the_loss_is_the_mean_of_the_losses_of_members():
    net = network(output="softmax")
    X, y, weights = data()
    classes = y.argmax(axis=1)
    probabilities = net.predict(X, members=True)[np.arange(len(X)), :, classes]
    losses = -np.log(probabilities).mean(axis=1)
    expected = np.average(losses, weights=weights)
    assert net.loss(X, classes, sample_weight=weights) == pytest.approx(expected, rel=1e-13)


# Gradients


def torch_outputs(named, X, k, activation):
    """Outputs of each member, (k, n, n_out), from the parameters by name."""
    h = X[None].expand(k, *X.shape)
    layer = 0
    while f"member_inputs[{layer}]" in named:
        r, s = named[f"member_inputs[{layer}]"], named[f"member_outputs[{layer}]"]
        W, b = named[f"weights[{layer}]"], named[f"biases[{layer}]"]
        h = activation(s[:, None] * ((r[:, None] * h) @ W) + b[:, None])
        layer += 1
    tops = [(named[f"weights[{layer}][{m}]"], named[f"biases[{layer}][{m}]"]) for m in range(k)]
    import torch

    return torch.stack([h[m] @ W + b for m, (W, b) in enumerate(tops)])


def torch_objective(named, X, y, weights, k, activation, l2):
    """The objective of squared errors."""
    import torch

    outputs = torch_outputs(named, torch.tensor(X), k, activation)
    losses = 0.5 * ((outputs - torch.tensor(y)) ** 2).sum(dim=2).mean(dim=0)
    weights = torch.tensor(weights)
    own = {id(W): W for name, W in named.items() if name.startswith("weights")}
    return (weights * losses).sum() / weights.sum() + l2 / 2 * sum(
        (W**2).sum() for W in own.values()
    )


def as_tensors(net, tied=()):
    import torch

    named = {
        name: torch.tensor(view.copy(), dtype=torch.float64, requires_grad=True)
        for name, view in net.parameters
    }
    for later, first in tied:
        named[f"weights[{later - 1}]"] = named[f"weights[{first - 1}]"]
    return named


TIED_SIZES = (3, 4, 4, 4, 2)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("tied", [(), ((3, 2),)])
def test_gradient_equals_that_of_torch(activation, tied):
    torch = pytest.importorskip("torch")
    net = MLP(TIED_SIZES, activation=activation, members=3, dtype="float64", tied=tied, seed=2)
    net.theta += np.random.default_rng(3).normal(scale=0.3, size=net.n_params)
    X, y, weights = data()
    named = as_tensors(net, tied)
    expected = torch_objective(named, X, y, weights, 3, getattr(torch, activation), 0.1)
    expected.backward()
    value, gradient = net.loss_and_grad(X, y, sample_weight=weights, l2=0.1)
    of_torch = np.concatenate([named[name].grad.numpy().ravel() for name, _ in net.parameters])
    assert value == pytest.approx(expected.item(), rel=1e-13)
    assert np.linalg.norm(gradient - of_torch) <= 1e-12 * np.linalg.norm(of_torch)


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_gradient_is_that_of_differences(activation, output):
    net = network(activation=activation, output=output)
    X, y, weights = data()
    target = y.argmax(axis=1) if output == "softmax" else y
    check = check_gradient(net, X, target, sample_weight=weights, l1=0.01, l2=0.1, max_params=8)
    assert check.passed, check


def test_a_network_without_hidden_layers_has_members():
    net = MLP([3, 2], members=2, dtype="float64", seed=0)
    X, y, _ = data()
    assert check_gradient(net, X, y).passed


@compiled_only
@pytest.mark.parametrize("written", torchs.METHODS)
def test_ten_steps_equal_those_of_torch(written):
    torch = pytest.importorskip("torch")
    net = network(activation="tanh")
    X, y, _ = data(60)
    named = as_tensors(net)

    def objective(rows):
        return torch_objective(named, X[rows], y[rows], np.ones(6), 3, torch.tanh, 0.01)

    torchs.take_steps(torch, named, written, objective)
    net.fit(X, y, optimizer=written, epochs=1, batch_size=6, shuffle=False, l2=0.01)
    expected = np.concatenate([named[n].detach().numpy().ravel() for n, _ in net.parameters])
    # As in `test_trajectories`, with more parameters whose first gradients cancel.
    assert_allclose(net.theta, expected, rtol=0, atol=1e-10)


# Bits


def trained(dtype="float32", n_threads=1, epochs=3, **options):
    net = network(k=4, activation="relu", dtype=dtype)
    X, y, weights = data(300)
    net.fit(
        X,
        y,
        optimizer="adamw",
        epochs=epochs,
        batch_size=100,
        sample_weight=weights,
        l2=0.01,
        n_threads=n_threads,
        seed=0,
        **options,
    )
    return net


@compiled_only
@both_precisions
def test_no_bit_depends_on_the_number_of_threads(dtype, monkeypatch):
    monkeypatch.setattr(program_workspace, "GROUP_ROWS", 20)
    X, y, _ = data(300)
    expected = trained(dtype)
    _, gradient = expected.loss_and_grad(X, y, n_threads=1)
    for n_threads in (2, 3, 4):
        net = trained(dtype, n_threads)
        assert_array_equal(net.theta, expected.theta)
        assert_array_equal(net.loss_and_grad(X, y, n_threads=n_threads)[1], gradient)
        assert_array_equal(net.predict(X, n_threads=n_threads), expected.predict(X, n_threads=1))


def fingerprint():
    import hashlib

    thetas = [trained(dtype).theta.tobytes() for dtype in ("float32", "float64")]
    return hashlib.sha256(b"".join(thetas)).hexdigest()


@compiled_only
def test_a_gradient_of_many_chunks_is_the_same_but_for_rounding(monkeypatch):
    X, y, weights = data(300)
    net = network()
    _, expected = net.loss_and_grad(X, y, sample_weight=weights)
    monkeypatch.setattr(program_workspace, "LARGEST_CHUNK", 70)
    monkeypatch.setattr(program_workspace, "BLOCK_BYTES", 1)
    _, gradient = net.copy().loss_and_grad(X, y, sample_weight=weights)
    # Sums of 300 terms in another order.
    assert np.linalg.norm(gradient - expected) <= 300 * 2**-52 * np.linalg.norm(expected)


@compiled_only
def test_a_resumed_fit_has_the_same_bits(tmp_path):
    expected = trained(epochs=4)
    path = tmp_path / "fit.checkpoint"
    trained(epochs=2, checkpoint=path)
    assert_array_equal(trained(epochs=4, checkpoint=path).theta, expected.theta)


def test_copies_are_the_same_network():
    net = network(activation="relu")
    X, _, _ = data()
    for other in (net.copy(), pickle.loads(pickle.dumps(net))):
        assert_array_equal(other.predict(X, members=True), net.predict(X, members=True))
        assert [name for name, _ in other.parameters] == [name for name, _ in net.parameters]
        other.theta[:] = 0
        assert net.theta.any()
