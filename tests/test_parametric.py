"""Activations with a trainable number for each unit: prelu, and x + alpha (f(x) - x)."""

import pickle

import numpy as np
import pytest
import reference
import torch_trajectories as torchs
from marks import both_precisions, compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from standalones import standalone

from fastmlp import MLP, check_gradient, program_workspace
from fastmlp.kernels.stages import parametric
from fastmlp.network import PARAMETRIC

SIZES = (3, 5, 4, 2)
PAIRS = [("prelu", "parametric(mish)"), ("parametric(selu)", "prelu"), "parametric(tanh)"]


def network(activation, dtype="float64", seed=0, **options):
    """A network whose parameters are all random."""
    net = MLP(SIZES, activation=activation, dtype=dtype, seed=seed, **options)
    net.theta += np.random.default_rng(seed).normal(scale=0.3, size=net.n_params).astype(dtype)
    return net


def data(n=12):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 3)), rng.normal(size=(n, 2)), rng.uniform(0.5, 2, n)


# Kernels


def kernel_arguments(dtype, shape=(7, 19)):
    rng = np.random.default_rng(0)
    X, delta, values, slopes = rng.normal(size=(4, *shape)).astype(dtype)
    X[0, :3] = 0.0, -0.0, 1e-30
    return X, delta, values, slopes, rng.normal(size=shape[1]).astype(dtype)


@both_precisions
def test_prelu_is_that_of_the_twin(dtype):
    X, delta, _, _, alpha = kernel_arguments(dtype)
    eps = np.finfo(dtype).eps
    result, sums = np.empty_like(X), np.ones_like(alpha)
    standalone(parametric.prelu_forward)(X, alpha, result)
    assert_allclose(result, reference.prelu_forward(X, alpha), rtol=eps)
    expected, expected_sums = reference.prelu_backward(delta, X, alpha)
    standalone(parametric.prelu_backward)(delta, X, alpha, sums)
    assert_allclose(delta, expected, rtol=eps)
    # Of seven products below 9 and what was there: eight roundings of a sum below 64.
    assert_allclose(sums, 1 + expected_sums, rtol=0, atol=8 * 64 * eps)


@both_precisions
def test_parametric_activations_are_those_of_the_twins(dtype):
    X, delta, values, slopes, alpha = kernel_arguments(dtype)
    eps = np.finfo(dtype).eps
    begun = np.empty_like(X.ravel()), np.empty_like(X.ravel())
    standalone(parametric.begin_parametric)(X.ravel(), *begun)
    for found, expected in zip(begun, reference.begin_parametric(X.ravel()), strict=True):
        assert_array_equal(found, expected)
    result, change, sums = X.copy(), values.copy(), np.ones_like(alpha)
    standalone(parametric.parametric_forward)(result, alpha, change)
    expected, expected_change = reference.parametric_forward(X, alpha, values)
    assert_allclose(change, expected_change, rtol=eps)
    assert_allclose(result, expected, rtol=0, atol=32 * eps)
    expected, expected_sums = reference.parametric_backward(delta, change, slopes, alpha)
    standalone(parametric.parametric_backward)(delta, change, slopes, alpha, sums)
    assert_allclose(delta, expected, rtol=0, atol=64 * eps)
    assert_allclose(sums, 1 + expected_sums, rtol=0, atol=8 * 64 * eps)


def test_what_is_not_a_number_stays_so():
    X, result, alpha = np.full((1, 1), np.nan), np.ones((1, 1)), np.zeros(1)
    standalone(parametric.prelu_forward)(X, alpha, result)
    assert np.isnan(result).all()


# Parameters


def test_names_and_starts():
    net = MLP([3, 5, 4, 3, 2], activation=["prelu", "parametric( selu )", "relu"], seed=0)
    assert net.activations == ("prelu", "parametric(selu)", "relu", "identity")
    found = dict(net.parameters)
    assert list(found) == [
        "weights[0]",
        "biases[0]",
        "activation[0]",
        "weights[1]",
        "biases[1]",
        "activation[1]",
        "weights[2]",
        "biases[2]",
        "weights[3]",
        "biases[3]",
    ]
    assert_array_equal(found["activation[0]"], np.full(5, 0.25, np.float32))
    assert_array_equal(found["activation[1]"], np.ones(4, np.float32))
    # Weights start as with the activation itself.
    assert_array_equal(found["weights[0]"], MLP([3, 5, 2], seed=0).weights[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"activation": "parametric"},
            r"^activation must be one of .*got 'parametric'; did you mean 'parametric\(name\)'\?$",
        ),
        (
            {"activation": "parametric(softmax)"},
            r"^name in parametric\(name\) must be one of relu, .*got 'softmax'$",
        ),
        ({"activation": "prelu(0.1)"}, r"^activation 'prelu' takes no parameter"),
        (
            {"output": "prelu"},
            r"^output must be one of identity, .*got 'prelu'; did you mean 'relu'\?$",
        ),
        ({"output": "parametric(selu)"}, r"^output must be one of identity"),
    ],
)
def test_other_names_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MLP([3, 5, 1], **options)


# Outputs


@both_precisions
@pytest.mark.parametrize("name", PARAMETRIC)
def test_with_alpha_one_it_is_the_activation_and_with_zero_the_identity(name, dtype):
    X, _, _ = data(300)
    eps = np.finfo(dtype).eps
    for alpha, plain in ((1.0, name), (0.0, "identity")):
        net = MLP(SIZES, activation=f"parametric({name})", dtype=dtype, seed=0)
        dict(net.parameters)["activation[0]"][:] = alpha
        dict(net.parameters)["activation[1]"][:] = alpha
        other = MLP(SIZES, activation=plain, dtype=dtype, seed=0)
        for own, given in zip(
            (*net.weights, *net.biases), (*other.weights, *other.biases), strict=True
        ):
            given[:] = own
        expected = other.predict(X)
        # x + (f - x) loses what f has less than x; some dozens of roundings more.
        scale = max(1.0, float(np.abs(expected).max()))
        assert_allclose(net.predict(X), expected, rtol=0, atol=200 * eps * scale)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5])
def test_prelu_with_one_number_for_all_units_is_leaky_relu(alpha):
    X, _, _ = data()
    net = MLP(SIZES, activation="prelu", seed=0)
    for name, view in net.parameters:
        if name.startswith("activation"):
            view[:] = alpha
    leaky = MLP(SIZES, activation=f"leaky_relu({alpha})", seed=0)
    assert_allclose(net.predict(X), leaky.predict(X), rtol=1e-5, atol=1e-6)


# Gradients


def torch_outputs(named, X, activations):
    import torch

    functions = {
        "prelu": lambda x, a: torch.where(x > 0, x, a * x),
        "parametric(mish)": lambda x, a: x + a * (torch.nn.functional.mish(x) - x),
        "parametric(selu)": lambda x, a: x + a * (torch.selu(x) - x),
        "parametric(tanh)": lambda x, a: x + a * (torch.tanh(x) - x),
    }
    h = torch.tensor(X)
    for layer, name in enumerate(activations):
        h = h @ named[f"weights[{layer}]"] + named[f"biases[{layer}]"]
        h = functions[name](h, named[f"activation[{layer}]"])
    top = len(activations)
    return h @ named[f"weights[{top}]"] + named[f"biases[{top}]"]


def torch_objective(named, X, y, weights, activations, l2):
    import torch

    losses = 0.5 * ((torch_outputs(named, X, activations) - torch.tensor(y)) ** 2).sum(dim=1)
    weights = torch.tensor(weights)
    penalty = sum((v**2).sum() for name, v in named.items() if name.startswith("weights"))
    return (weights * losses).sum() / weights.sum() + l2 / 2 * penalty


def as_tensors(net):
    import torch

    return {
        name: torch.tensor(view.copy(), dtype=torch.float64, requires_grad=True)
        for name, view in net.parameters
    }


@pytest.mark.parametrize("activation", PAIRS)
def test_gradient_equals_that_of_torch(activation):
    pytest.importorskip("torch")
    net = network(activation)
    X, y, weights = data()
    named = as_tensors(net)
    expected = torch_objective(named, X, y, weights, net.activations[:-1], 0.1)
    expected.backward()
    value, gradient = net.loss_and_grad(X, y, sample_weight=weights, l2=0.1)
    of_torch = np.concatenate([named[name].grad.numpy().ravel() for name, _ in net.parameters])
    assert value == pytest.approx(expected.item(), rel=1e-13)
    assert np.linalg.norm(gradient - of_torch) <= 1e-12 * np.linalg.norm(of_torch)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", PARAMETRIC)
def test_gradient_is_that_of_differences(name, members):
    net = network([f"parametric({name})", "prelu"], members=members)
    X, y, weights = data()
    check = check_gradient(net, X, y, sample_weight=weights, l2=0.1, max_params=8)
    assert check.passed, check


@compiled_only
@pytest.mark.parametrize("written", torchs.METHODS)
def test_ten_steps_equal_those_of_torch(written):
    torch = pytest.importorskip("torch")
    net = network(("parametric(selu)", "parametric(mish)"))
    X, y, _ = data(60)
    named = as_tensors(net)

    def objective(rows):
        arguments = X[rows], y[rows], np.ones(6), net.activations[:-1], 0.01
        return torch_objective(named, *arguments)

    torchs.take_steps(torch, named, written, objective)
    net.fit(X, y, optimizer=written, epochs=1, batch_size=6, shuffle=False, l2=0.01)
    expected = np.concatenate([named[n].detach().numpy().ravel() for n, _ in net.parameters])
    # As in `test_trajectories`, with more parameters whose first gradients cancel.
    assert_allclose(net.theta, expected, rtol=0, atol=1e-10)


# Bits


def trained(dtype="float32", n_threads=1, epochs=3, **options):
    net = network(("prelu", "parametric(mish)"), dtype)
    X, y, weights = data(300)
    options = {"sample_weight": weights, "l2": 0.01, "n_threads": n_threads, "seed": 0, **options}
    net.fit(X, y, optimizer="adamw", epochs=epochs, batch_size=100, **options)
    return net


@compiled_only
@both_precisions
def test_no_bit_depends_on_the_number_of_threads(dtype, monkeypatch):
    monkeypatch.setattr(program_workspace, "GROUP_ROWS", 20)
    expected = trained(dtype)
    for n_threads in (2, 3, 4):
        assert_array_equal(trained(dtype, n_threads).theta, expected.theta)


def fingerprint():
    import hashlib

    thetas = [trained(dtype).theta.tobytes() for dtype in ("float32", "float64")]
    return hashlib.sha256(b"".join(thetas)).hexdigest()


@compiled_only
def test_a_resumed_fit_has_the_same_bits(tmp_path):
    path = tmp_path / "fit.checkpoint"
    trained(epochs=2, checkpoint=path)
    assert_array_equal(trained(epochs=4, checkpoint=path).theta, trained(epochs=4).theta)


def test_copies_are_the_same_network():
    net = network(("prelu", "parametric(selu)"))
    X, _, _ = data()
    for other in (net.copy(), pickle.loads(pickle.dumps(net)), net.redrawn(seed=1)):
        assert other.activations == net.activations
        assert [name for name, _ in other.parameters] == [name for name, _ in net.parameters]
    assert_array_equal(net.copy().predict(X), net.predict(X))
    assert_array_equal(pickle.loads(pickle.dumps(net)).predict(X), net.predict(X))
    assert (dict(other.parameters)["activation[0]"] == 0.25).all()
