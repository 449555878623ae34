"""Layer norm, batch norm and residual connections, held against NumPy and PyTorch."""

import numpy as np
import pytest
import reference
from marks import INTERPRETED, both_precisions
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import (
    MLP,
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    NAdam,
    RMSProp,
    check_gradient,
)
from fastmlp.kernels import gather
from fastmlp.kernels._jit import standalone
from fastmlp.kernels.stages import batch_norm, layer_norm, residual

SIZES = (5, 7, 7, 6, 3)
STATISTICS = [f"norm_{what}[{layer}]" for layer in range(3) for what in ("mean", "variance")]


def data(n=23, n_in=SIZES[0], n_out=SIZES[-1], dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(0.5, 2.0, (n, n_in)).astype(dtype)
    return X, rng.normal(size=(n, n_out)).astype(dtype)


def network(norm="layer", sizes=SIZES, seed=1, **options):
    """A network none of whose parameters and statistics is what it begins as."""
    options = {"activation": "tanh", "dtype": "float64", "norm": norm} | options
    net = MLP(sizes, seed=seed, **options)
    rng = np.random.default_rng(seed)
    net.theta += rng.normal(0.0, 0.2, net.n_params)
    for name, view in net.statistics.items():
        view[:] = rng.random(view.size) + (0.5 if "variance" in name else -0.5)
    return net


def parameter(net, name):
    return dict(net.parameters)[name]


# Kernels


def some(rng, shape, dtype):
    return rng.normal(0.3, 1.5, shape).astype(dtype)


def assert_near(given, expected, dtype, terms=1):
    """Equal but for some roundings of numbers of the order of 1, sums of so many `terms`."""
    for one, other in zip(given, expected, strict=True):
        assert_allclose(one, other, rtol=0, atol=100 * terms * np.finfo(dtype).eps)


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


@both_precisions
@pytest.mark.parametrize("n", [1, 3, 8, 21])
def test_layer_norm_of_rows_equals_its_twin(n, dtype):
    rng = np.random.default_rng(n)
    Z, gamma, beta = some(rng, (6, n), dtype), some(rng, n, dtype), some(rng, n, dtype)
    expected = reference.normalize_rows(*wide(Z, gamma, beta))
    result, inverses = np.empty_like(Z), np.empty(6, dtype)
    standalone(layer_norm.normalize_rows)(Z, gamma, beta, inverses, result)
    if n == 1:  # of one unit the variance is 0, and what is normed too
        assert not Z.any()
    assert_near((result, Z), expected[:2], dtype, n)
    assert_allclose(inverses, expected[2], rtol=1000 * np.finfo(dtype).eps)


@both_precisions
@pytest.mark.parametrize("n", [1, 3, 8, 21])
def test_layer_norm_back_equals_its_twin(n, dtype):
    rng = np.random.default_rng(n)
    delta, hats = some(rng, (6, n), dtype), some(rng, (6, n), dtype)
    gamma, inverses = some(rng, n, dtype), some(rng, 6, dtype)
    expected = reference.normalize_rows_back(*wide(delta, hats, gamma, inverses))
    gradients = np.ones(n, dtype), np.full(n, 2.0, dtype)
    standalone(layer_norm.normalize_rows_back)(delta, hats, gamma, inverses, *gradients)
    assert_near((delta,), expected[:1], dtype, n)
    assert_near(gradients, (expected[1] + 1, expected[2] + 2), dtype, n)


@both_precisions
def test_kernels_of_batch_norm_equal_their_twins(dtype):
    rng = np.random.default_rng(0)
    Z, delta = some(rng, (9, 5), dtype), some(rng, (9, 5), dtype)
    mean, sums, gamma, beta, slope = (some(rng, 5, dtype) ** 2 for _ in range(5))
    given = np.empty(5, dtype), np.empty(5, dtype)
    standalone(batch_norm.column_moments)(Z, *given)
    assert_near(given, reference.column_moments(*wide(Z)), dtype, 9)

    standalone(batch_norm.delta_sums)(delta, Z, *given)
    assert_near(given, reference.delta_sums(*wide(delta, Z)), dtype, 9)

    given = mean.copy(), sums.copy()
    expected = reference.add_moments(4, *wide(mean, sums), 3, *wide(gamma, beta))
    standalone(batch_norm.add_moments)(4.0, *given, 3.0, gamma, beta)
    assert_near(given, expected, dtype, 7)

    given = gamma.copy(), beta.copy()
    expected = reference.update_running(7, *wide(mean, sums, gamma, beta))
    standalone(batch_norm.update_running)(7.0, mean, sums, *given)
    assert_near(given, expected, dtype)

    given = np.empty(5, dtype)
    standalone(batch_norm.inverse_deviations)(sums, 7.0, given)
    assert_allclose(
        given, reference.inverse_deviations(sums, 7), rtol=1e-4 if dtype == "float32" else 1e-13
    )

    expected = reference.normalize_columns(*wide(Z, mean, sums, gamma, beta))
    result, hats = np.empty_like(Z), Z.copy()
    standalone(batch_norm.normalize_columns)(hats, mean, sums, gamma, beta, result)
    assert_near((result, hats), expected, dtype)

    before = delta.copy()
    standalone(batch_norm.normalize_columns_back)(before, hats, sums, gamma, mean, slope)
    expected = reference.normalize_columns_back(*wide(delta, hats, sums, gamma, mean, slope))
    assert_near((before,), (expected,), dtype, 10)


def test_kernels_of_vectors_equal_their_twins():
    x, y = np.array([1.0, 2.0, 4.0]), np.array([8.0, 16.0, 32.0])
    result = np.empty(3)
    standalone(residual.add_vectors)(x, y, result)
    assert_array_equal(result, reference.add_vectors(x, y))
    expected = reference.add_scaled(x, 0.5, y)
    standalone(batch_norm.add_scaled)(x, 0.5, y)
    assert_array_equal(y, expected)
    standalone(gather.copy_values)(x, result)
    assert_array_equal(result, reference.copy_values(x))


# What a network is


def test_theta_has_gamma_and_beta_after_a_layers_biases():
    net = MLP([3, 4, 5, 2], norm=["layer", None], seed=0)
    names = [name for name, _ in net.parameters]
    assert names[:4] == ["weights[0]", "biases[0]", "norm_scale[0]", "norm_shift[0]"]
    assert names[4:] == ["weights[1]", "biases[1]", "weights[2]", "biases[2]"]
    assert net.n_params == 12 + 4 + 4 + 4 + 25 + 10 + 2
    assert_array_equal(parameter(net, "norm_scale[0]"), 1)
    assert_array_equal(parameter(net, "norm_shift[0]"), 0)
    assert_array_equal(np.concatenate([view.ravel() for _, view in net.parameters]), net.theta)
    assert net.statistics == {}


def test_weights_are_those_of_a_network_without_norms():
    assert_array_equal(network(seed=3, norm=None).weights[2].shape, (7, 6))
    for layer in range(3):
        plain, normed = MLP(SIZES, seed=3), MLP(SIZES, seed=3, norm="batch", residual=True)
        assert_array_equal(plain.weights[layer], normed.weights[layer])


def test_statistics_begin_as_those_of_standardized_units():
    net = MLP(SIZES, norm="batch", seed=0)
    assert list(net.statistics) == STATISTICS
    assert_array_equal(net.statistics["norm_mean[2]"], np.zeros(6))
    assert_array_equal(net.statistics["norm_variance[0]"], np.ones(7))


def outputs_by_hand(net, X, activation, norms, residuals):
    """Outputs in NumPy, by running statistics."""
    a, named = X, dict(net.parameters) | net.statistics
    for layer, (W, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        z, given = a @ W + b, a
        if layer < len(norms) and norms[layer]:
            gamma, beta = named[f"norm_scale[{layer}]"], named[f"norm_shift[{layer}]"]
            if norms[layer] == "layer":
                z, *_ = reference.normalize_rows(z, gamma, beta)
            else:
                inverse = reference.inverse_deviations(named[f"norm_variance[{layer}]"], 1)
                mean = named[f"norm_mean[{layer}]"]
                z, _ = reference.normalize_columns(z, mean, inverse, gamma, beta)
        if layer == len(norms):
            return z
        a = reference.activation_forward(z, activation)
        if residuals[layer]:
            a = a + given
    raise AssertionError


ACTIVATIONS = ["identity", "relu", "tanh", "gelu", "leaky_relu(0.2)", "sigmoid"]
KINDS = [
    (("layer", "layer", "layer"), False),
    (("batch", "batch", "batch"), False),
    ((None, None, None), True),
    (("layer", None, "batch"), True),
    (("batch", "layer", None), True),
]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_predictions_are_those_of_numpy(norms, is_residual, activation):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, activation=activation, residual=is_residual)
    X, _ = data(n_in=sizes[0])
    residuals = [is_residual, is_residual, False]
    expected = outputs_by_hand(net, X, activation, norms, residuals)
    # Some hundred roundings of numbers of the order of 1.
    assert_allclose(net.predict(X), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_gradients_agree_with_central_differences(norms, is_residual, activation):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, activation=activation, residual=is_residual)
    X, y = data(n=9, n_in=sizes[0])
    weights = np.random.default_rng(5).random(9)
    check = check_gradient(net, X, y, sample_weight=weights, l1=0.01, l2=0.1)
    assert check.passed, str(check)
    assert {"norm_scale[0]"} <= set(check.errors) or norms[0] is None


def test_penalties_leave_gamma_and_beta_alone():
    net = network("layer")
    X, y = data()
    plain, penalized = net.loss_and_grad(X, y)[1], net.loss_and_grad(X, y, l1=0.5, l2=0.5)[1]
    start = 0
    for name, view in net.parameters:
        part = slice(start, start + view.size)
        start += view.size
        same = np.array_equal(plain[part], penalized[part])
        assert same != name.startswith("weights"), name


def test_decay_leaves_gamma_and_beta_alone():
    X, y = data(dtype="float32")
    start = network("layer", dtype="float32")
    ends = []
    for decay in (0.0, 0.5):
        net = start.copy()
        net.fit(X, y, optimizer=AdamW(weight_decay=decay), batch_size=None, epochs=1, seed=0)
        ends.append(net)
    for name, view in ends[0].parameters:
        same = np.array_equal(view, parameter(ends[1], name))
        assert same != name.startswith("weights"), name


# PyTorch


def torch_network(net, activation, norms, residuals):
    """The same network in PyTorch, as a function of a list of tensors: those of theta.

    Returns them by name, the running means and variances of batch norms by layer, and the function.
    """
    torch = pytest.importorskip("torch")
    named = {
        name: torch.tensor(np.array(view, np.float64), requires_grad=True)
        for name, view in net.parameters
    }
    running = {
        layer: [
            torch.tensor(net.statistics[f"norm_{what}[{layer}]"]) for what in ("mean", "variance")
        ]
        for layer, norm in enumerate(norms)
        if norm == "batch"
    }

    def forward(X, training):
        a = torch.tensor(X, dtype=torch.float64)
        for layer in range(len(norms) + 1):
            given, z = a, a @ named[f"weights[{layer}]"] + named[f"biases[{layer}]"]
            if layer == len(norms):
                return z
            if norms[layer] is not None:
                gamma, beta = named[f"norm_scale[{layer}]"], named[f"norm_shift[{layer}]"]
                if norms[layer] == "layer":
                    z = torch.nn.functional.layer_norm(z, z.shape[1:], gamma, beta)
                else:
                    z = torch.nn.functional.batch_norm(
                        z, *running[layer], gamma, beta, training=training
                    )
            a = z if activation == "identity" else getattr(torch.nn.functional, activation)(z)
            if residuals[layer]:
                a = a + given
        raise AssertionError

    return named, running, forward


def torch_loss(outputs, y):
    import torch

    return 0.5 * ((outputs - torch.tensor(y, dtype=torch.float64)) ** 2).sum(dim=1).mean()


def flat_gradient(named):
    return np.concatenate([tensor.grad.numpy().ravel() for tensor in named.values()])


def assert_relatively_near(given, expected, bound):
    assert np.linalg.norm(given - expected) <= bound * np.linalg.norm(expected)


@pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "gelu"])
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_gradients_are_those_of_torch(norms, is_residual, activation):
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, activation=activation, residual=is_residual)
    X, y = data(n_in=sizes[0])
    residuals = [is_residual, is_residual, False]
    named, _, forward = torch_network(net, activation, norms, residuals)
    loss = torch_loss(forward(X, training=False), y)
    loss.backward()
    value, gradient = net.loss_and_grad(X, y)
    assert value == pytest.approx(loss.item(), rel=1e-12)
    assert_relatively_near(gradient, flat_gradient(named), 1e-9)


@pytest.mark.parametrize("rows", [2, 23, 150, 700])
@pytest.mark.parametrize(("norms", "is_residual"), KINDS)
def test_a_step_of_gradient_descent_is_that_of_torch(norms, is_residual, rows):
    """In training, by the mini-batch's own statistics: theta moves by the gradient."""
    if INTERPRETED and rows > 30:
        pytest.skip("takes long without the compiler")
    sizes = (7, 7, 7, 6, 3) if is_residual else SIZES
    net = network(norms, sizes, residual=is_residual)
    X, y = data(rows, n_in=sizes[0])
    residuals = [is_residual, is_residual, False]
    named, running, forward = torch_network(net, "tanh", norms, residuals)
    torch_loss(forward(X, training=True), y).backward()
    before = net.theta.copy()
    rate = 0.5
    net.fit(X, y, optimizer=SGD(learning_rate=rate), batch_size=None, epochs=1, shuffle=False)
    # A difference of numbers some ten times as large.
    assert_relatively_near((before - net.theta) / rate, flat_gradient(named), 1e-9)
    for layer, (mean, variance) in running.items():
        given = [net.statistics[f"norm_{what}[{layer}]"] for what in ("mean", "variance")]
        assert_allclose(given[0], mean.numpy(), rtol=1e-12, atol=1e-13)
        assert_allclose(given[1], variance.numpy(), rtol=1e-12)


OPTIMIZERS = {
    "sgd": (SGD(learning_rate=0.05, momentum=0.9), "SGD", {"lr": 0.05, "momentum": 0.9}),
    "adam": (Adam(learning_rate=0.01), "Adam", {"lr": 0.01}),
    "adamw": (AdamW(learning_rate=0.01, weight_decay=0.1), "AdamW", {"lr": 0.01}),
    "rmsprop": (RMSProp(learning_rate=0.01, rho=0.9), "RMSprop", {"lr": 0.01, "alpha": 0.9}),
    "adagrad": (AdaGrad(learning_rate=0.05), "Adagrad", {"lr": 0.05}),
    "nadam": (NAdam(learning_rate=0.01), "NAdam", {"lr": 0.01}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_ten_steps_are_those_of_torch(norm, name):
    torch = pytest.importorskip("torch")
    optimizer, peer, options = OPTIMIZERS[name]
    norms, residuals = (norm,) * 3, [False, True, False]
    net = network(norms, residual=residuals)
    X, y = data(26)
    named, running, forward = torch_network(net, "tanh", norms, residuals)
    if "epsilon" in vars(optimizer):
        options = {**options, "eps": optimizer.epsilon}
    decay = getattr(optimizer, "weight_decay", 0.0)
    decayed = [tensor for key, tensor in named.items() if key.startswith("weights")]
    others = [tensor for key, tensor in named.items() if not key.startswith("weights")]
    groups = [
        {"params": decayed, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
    steps = getattr(torch.optim, peer)(groups, **options)
    for _ in range(5):
        for rows in (slice(0, 13), slice(13, 26)):
            steps.zero_grad()
            torch_loss(forward(X[rows], training=True), y[rows]).backward()
            steps.step()
    net.fit(X, y, optimizer=optimizer, batch_size=13, epochs=5, shuffle=False)
    expected = np.concatenate([tensor.detach().numpy().ravel() for tensor in named.values()])
    # Of gradients that are nearly zero, such as those of biases before a batch norm, which are
    # zero but for round-off, optimizers that divide by their size make steps of any sign.
    start, kept = 0, []
    for key, tensor in named.items():
        size = tensor.numel()
        is_idle = norm == "batch" and key.startswith("biases") and key != "biases[3]"
        if not (is_idle and name != "sgd"):
            kept.append(np.arange(start, start + size))
        start += size
    kept = np.concatenate(kept)
    assert_allclose(net.theta[kept], expected[kept], rtol=1e-7, atol=1e-9)
    # Means move with those biases; variances do not.
    for layer, (_, variance) in running.items():
        assert_allclose(net.statistics[f"norm_variance[{layer}]"], variance.numpy(), rtol=1e-7)
